"""Three nodes are upgraded one by one under load: first from a program that speaks an older
protocol of replication to today's, then to one that writes records of a later format, which
those that are not upgraded yet keep unread (tests/programs). Every answer is checked
against the history of all of them. `make test-upgrade` does the same from real history."""
import os
import random
import sys
import time
import unittest

from harness import BINARY, Cluster, SystemTest, until
from harness.history import History, assert_agreed
from test_networks import KEYS, Client

SEED = int(os.environ.get("YZMA_SEED") or time.time_ns() % 1000000)
PROGRAMS = os.path.abspath(os.environ.get("YZMA_PROGRAMS", "build/tests/programs"))
EARLIER, LATER = (os.path.join(PROGRAMS, name) for name in ("yzma-earlier", "yzma-later"))
PROGRESS = 6  # operations of each client's between two upgrades


class Upgrade(SystemTest):
    def setUp(self):
        super().setUp()
        self.chance, self.history = random.Random(SEED), History()
        settings = {"Server.History": "0s", "Server.MemoryTable": "1MiB"}
        self.three = Cluster([self.node(name, dict(settings), binary=EARLIER) for name in ("pacha", "kronk", "yzma")])
        self.three.start()

    def progress(self, clients):
        goal = {c: c.acked + PROGRESS for c in clients}
        until(lambda: all(c.acked >= goal[c] or c.error for c in clients), 60,
              lambda: "the load goes on: " + str([(c.label, goal[c] - c.acked, c.error) for c in clients]))
        self.assertEqual(self.history.wrong, [])

    def upgrade(self, node, binary, kill):
        if kill:
            node.kill9()
        else:
            self.assertEqual(node.term(), 0)
        node.binary = binary
        node.start()

    def assert_agree(self):
        self.three.wait_formed(60)
        self.three.wait_equal(60)
        assert_agreed(self, self.history, self.three, KEYS)

    def roll(self, binary, batch):
        """One by one, in any order, one of them by kill -9; then all agree."""
        order = self.chance.sample(list(self.three), len(self.three))
        killed = self.chance.choice(order)
        clients = [Client(f"{node.name}-{batch}", node, self.three.nodes, self.history, self.chance.randrange(1 << 60))
                   for node in self.three]
        try:
            self.progress(clients)
            for node in order:
                self.upgrade(node, binary, node is killed)
                self.progress(clients)
        finally:
            for client in clients:
                client.stopping.set()
        for client in clients:
            client.finish()
        self.assert_agree()

    def test_one_by_one_under_load(self):
        try:
            for batch, binary in enumerate((BINARY, LATER)):
                self.roll(binary, batch)
        except BaseException:
            print(f"seed {SEED}", file=sys.stderr)
            raise
        self.assertTrue(any("event=record_quarantined" in node.log() for node in self.three))
        for node in self.three:
            self.assertEqual(node.status()["Quarantine"]["Records"], 0)
        self.assertGreater(self.history.answers, 100)


if __name__ == "__main__":
    unittest.main()
