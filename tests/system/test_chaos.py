"""Everything at once: four masters under load, and one misfortune after the other.
At the end they agree, and what was acknowledged is there.

YZMA_SEED repeats a run's choices (not its timing), YZMA_ROUNDS makes it longer.
"""
import http.client
import os
import random
import signal
import threading
import time
import unittest

from harness import SystemTest, Writer, until

SEED = int(os.environ.get("YZMA_SEED") or time.time_ns() % 1000000)
ROUNDS = int(os.environ.get("YZMA_ROUNDS") or 12)
SHARED = [f"shared/{i}" for i in range(30)]


class Quarreller(threading.Thread):
    """Overwrites and deletes the shared keys through whichever node answers."""

    def __init__(self, seed, addresses):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.addresses = addresses  # node -> its API's address now; others change it
        self.stopping = threading.Event()
        self.start()

    def run(self):
        while not self.stopping.is_set():
            api = self.random.choice(list(self.addresses)).client()
            try:
                for _ in range(20):
                    key = self.random.choice(SHARED)
                    if self.random.random() < 0.3:
                        api.delete(key)
                    else:
                        api.put(key, self.random.randrange(1000))
            except (OSError, http.client.HTTPException):
                pass  # it was down: another one
            finally:
                api.close()


class Chaos(SystemTest):
    def setUp(self):
        super().setUp()
        self.random = random.Random(SEED)
        self.four = self.cluster("pacha", "kronk", "yzma", "kuzco")
        self.writers = []  # all there ever were
        self.active = {}  # node -> its writer
        self.done = []
        for node in self.four:
            self.write_to(node)

    def write_to(self, node):
        writer = Writer(node, f"{len(self.writers)}/{node.name}", keys=5, padding=self.random.choice((10, 1000, 20000)))
        self.writers.append(writer)
        self.active[node] = writer

    def progress(self, nodes, count):
        """Waits until the load on each of them has gone on by so much."""
        goal = {node: self.active[node].count + count for node in nodes}
        until(lambda: all(self.active[node].count >= goal[node] for node in nodes), 60,
              lambda: "the load goes on: " + str([(node.name, goal[node] - self.active[node].count,
                                                   self.active[node].refused) for node in nodes]))

    # ---- misfortunes -------------------------------------------------------------

    def killed(self, node, others):
        node.kill9()
        self.progress(others, self.random.randrange(30))
        node.start()

    def stopped(self, node, others):
        self.assertEqual(node.term(), 0)
        self.progress(others, self.random.randrange(30))
        node.start()

    def moved(self, node, others):
        node.kill9()
        node.take_ports()
        self.progress(others, self.random.randrange(10))
        node.start()

    def frozen(self, node, others):
        node.signal(signal.SIGSTOP)
        self.progress(others, self.random.randrange(200))
        node.signal(signal.SIGCONT)

    def buried(self, node, others):
        name = node.member_name
        node.signal(signal.SIGSTOP)
        until(lambda: any(other.sees(node) in ("dead", "suspect") for other in others), 30,
              lambda: f"{node.name} is missed: " + str([(o.name, o.members().get(name)) for o in others]))
        node.signal(signal.SIGCONT)

    def left(self, node, others):
        node.leave()
        self.progress([node, *others], self.random.randrange(30))
        node.expect(200, node.join(*others))

    def all_killed(self, node, others):
        for each in self.random.sample([node, *others], len(others) + 1):
            each.kill9()
        for each in self.random.sample([node, *others], len(others) + 1):
            each.start()

    # ---- the run -----------------------------------------------------------------

    def test_chaos(self):
        kinds = (self.killed, self.stopped, self.moved, self.frozen, self.buried, self.left, self.all_killed)
        quarrellers = [Quarreller(SEED + i, self.four.nodes) for i in range(2)]
        try:
            for number in range(ROUNDS):
                node = self.random.choice(self.four.nodes)
                others = [other for other in self.four if other is not node]
                kind = self.random.choice(kinds)
                self.done.append((kind.__name__, node.name))
                self.progress(self.four, self.random.randrange(20))
                kind(node, others)
                for each in self.four:
                    if not self.active[each].is_alive():
                        self.active[each].finish()
                        self.write_to(each)
        finally:
            for thread in (*quarrellers, *self.active.values()):
                thread.stopping.set()
            for node in self.four:
                node.signal(signal.SIGCONT)
            for thread in quarrellers:
                thread.join()
            for writer in self.writers:
                writer.finish()
        with self.subTest(seed=SEED, done=self.done):
            self.four.wait_formed(60)
            held = self.four.wait_equal(60)
            self.assertEqual([writer.refused for writer in self.writers if writer.refused], [])
            for writer in self.writers:
                self.assertEqual(writer.check(held), [])
            for key in SHARED:
                self.assertEqual(len({node.siblings(key) for node in self.four}), 1, key)
            self.assertEqual({len(node.members()) for node in self.four}, {4})


if __name__ == "__main__":
    unittest.main()
