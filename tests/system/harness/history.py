"""What clients did and were told, and what must follow from it.

Clients write with tokens only, so each write replaces exactly the versions that its
client saw; and no two writes have the same value. Then it is known of each version who
saw it when it was replaced, and the promises can be checked on every single answer:

* What a node has removed, by a write that it acknowledged or by an answer that no longer
  had what an earlier one had, does not return on that node.
* An answer to a token has all that the token stands for, or something that replaced it,
  and nothing that this client knows to be replaced: no reading backwards.
* Versions come latest stamp first.

and at the end, once all agree:

* A version that was acknowledged and that no write has seen is there, however old its
  stamp; one that an acknowledged write has seen is not, whatever the clocks said.
* Nothing is there that nobody wrote.

A write without an answer may have happened or not: it is held to neither.
"""
import threading


class Key:
    def __init__(self):
        self.written = set()  # all values ever sent
        self.acked = set()
        self.replaced = set()  # by an acknowledged operation that saw them
        self.perhaps = set()  # by any that was sent
        self.gone = {}  # node -> what it has shown to be removed
        self.shown = {}  # node -> what it has shown


class Session:
    """What one client knows of one key."""

    def __init__(self):
        self.token, self.seen, self.removed = None, frozenset(), set()


class History:
    def __init__(self):
        self.lock = threading.Lock()
        self.keys = {}
        self.wrong = []
        self.answers = 0  # writes acknowledged and reads answered
        self.refused = {}  # status -> how often

    def key(self, name):
        return self.keys.setdefault(name, Key())

    def blame(self, text):
        self.wrong.append(text)

    # ---- one operation, in two halves: before it is sent, and its answer -----------

    def before_read(self, node, name):
        with self.lock:
            key = self.key(name)
            return set(key.gone.get(node, ())), set(key.shown.get(node, ()))

    def after_read(self, node, name, session, before, versions):
        """versions: (value, stamp), in the order of the answer."""
        gone, shown = before
        values = frozenset(value for value, _ in versions)
        stamps = [stamp for _, stamp in versions]
        with self.lock:
            key = self.key(name)
            self.answers += 1
            if values & gone:
                self.blame(f"{name} at {node}: {sorted(values & gone)} had been removed there")
            if values - key.written:
                self.blame(f"{name} at {node}: {sorted(values - key.written)} was never written")
            if session.token:
                back = values & session.removed
                if back:
                    self.blame(f"{name} at {node}: {sorted(back)} is read again behind a token")
                missing = session.seen - values - key.perhaps
                if missing:
                    self.blame(f"{name} at {node}: {sorted(missing)} is missing behind a token")
            if stamps != sorted(stamps, reverse=True):
                self.blame(f"{name} at {node}: the order of stamps is {stamps}")
            key.gone.setdefault(node, set()).update(shown - values)
            key.shown.setdefault(node, set()).update(values)
        if session.token:
            session.removed |= session.seen - values
        session.seen = values

    def before_write(self, name, session, value):
        """value: None for a delete."""
        with self.lock:
            key = self.key(name)
            key.perhaps |= session.seen
            if value is not None:
                key.written.add(value)

    def after_write(self, node, name, session, value):
        with self.lock:
            key = self.key(name)
            self.answers += 1
            key.replaced |= session.seen
            key.gone.setdefault(node, set()).update(session.seen)
            if value is not None:
                key.acked.add(value)
        session.removed |= session.seen
        session.seen = frozenset() if value is None else frozenset({value})

    def refuse(self, status):
        with self.lock:
            self.refused[status] = self.refused.get(status, 0) + 1

    # ---- the end ----------------------------------------------------------------------

    def check_end(self, held):
        """held: key -> values, the same on all nodes."""
        wrong = list(self.wrong)
        for name, key in self.keys.items():
            values = held.get(name, frozenset())
            lost = key.acked - key.perhaps - values
            revived = values & key.replaced
            if lost:
                wrong.append(f"{name}: {sorted(lost)} was acknowledged and replaced by nobody, and is lost")
            if revived:
                wrong.append(f"{name}: {sorted(revived)} was replaced, and is back")
            if values - key.written:
                wrong.append(f"{name}: {sorted(values - key.written)} was never written")
        return wrong


def held(node, names):
    """Key -> (value, stamp, writer) of all versions."""
    found = {}
    for name in names:
        answer = node.get(name, siblings="true")
        if answer.status != 404:
            versions = node.expect(200, answer).data["Versions"]
            found[name] = [(v["Value"].split()[0], v["Stamp"], v["Node"]) for v in versions]
    return found


def assert_agreed(test, history, nodes, names):
    """All hold the same, and what the history asks for."""
    first, *others = [held(node, names) for node in nodes]
    for other in others:
        test.assertEqual(other, first)
    plain = {name: frozenset(v[0] for v in versions) for name, versions in first.items()}
    test.assertEqual(history.check_end(plain), [])
