"""Clients that write for as long as they are let, and remember what was acknowledged."""
import http.client
import threading


class Writer(threading.Thread):
    """Puts rising numbers into keys of its own, one after the other, until told to
    stop or until the node does not answer. Between `acked` and `sent` lies what
    may or may not have happened."""

    def __init__(self, node, prefix, keys=20, padding=100, after=0):
        super().__init__(daemon=True)
        self.api = node.client()
        self.keys = [f"{prefix}/{i}" for i in range(keys)]
        self.padding = "x" * padding
        self.after = after  # its numbers are above
        self.acked, self.sent = {}, {}
        self.refused = []
        self.stopping = threading.Event()
        self.start()

    @property
    def count(self):
        return sum(self.acked.values())

    def run(self):
        number = self.after
        while not self.stopping.is_set():
            number += 1
            for key in self.keys:
                self.sent[key] = number
                try:
                    answer = self.api.put(key, {"n": number, "padding": self.padding})
                except (OSError, http.client.HTTPException):
                    return
                if answer.status != 200:
                    self.refused.append(answer)
                    return
                self.acked[key] = number

    def finish(self):
        self.stopping.set()
        self.join()
        self.api.close()

    def check(self, held):
        """What is wrong with `held` (key -> value with numbers as written)."""
        wrong = []
        for key, acked in self.acked.items():
            found = int(held[key]["n"]) if key in held else 0
            if not acked <= found <= self.sent[key]:
                wrong.append(f"{key} is {found}, acknowledged {acked}, sent {self.sent[key]}")
        return wrong


def fill(node, items, threads=8):
    """Puts all of key -> value, from several connections."""
    items = list(items.items())
    failed = []

    def work(part):
        api = node.client()
        try:
            for key, value in part:
                answer = api.put(key, value)
                if answer.status != 200:
                    failed.append((key, answer))
        except Exception as error:  # shown by the assertion below
            failed.append(error)
        finally:
            api.close()

    workers = [threading.Thread(target=work, args=(items[i::threads],)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failed, f"{len(failed)} failed, such as {failed[0]}"
