"""Much to send at once: walks that are killed on either side, what a return costs,
what packing saves, and what the node says of it."""
import random
import unittest

from harness import SANITIZED, Cluster, SystemTest, fill, until

RECORDS = 11000  # a blank node walks from 10,000 operations on
RECORD_BYTES = 200 if SANITIZED else 2000
CHANGED, CHANGED_BYTES = 300, 500


def words(count):
    return ("the secret lab of the empress " * (count // 30 + 1))[:count]


def dense(seed, count):
    return "".join(random.Random(seed).choices([chr(c) for c in range(35, 91)], k=count))


class Walks(SystemTest):
    def setUp(self):
        super().setUp()
        self.pacha = self.node("pacha").start()
        self.held = {f"record/{i:05}": words(RECORD_BYTES) for i in range(RECORDS)}
        fill(self.pacha, self.held)
        self.kronk = self.node("kronk")

    def walk(self):
        return self.kronk.status()["Walk"]

    def equal(self):
        self.assertEqual(Cluster([self.pacha, self.kronk]).wait_equal(60), self.held)

    def seen_in_walk(self):
        """What the status says of kronk's walk when it has some keys; True when that is over already."""
        walk = self.walk()
        return walk if walk and walk["KeysDone"] else self.kronk.counters()["walks_finished"] == 1

    def kill_amid_walk(self, victim):
        """kill -9 of what victim() names, while kronk has some keys and not all. A quick walk may be over
        before it is seen, or hit: then another node walks."""
        for attempt in range(20):
            self.kronk = self.node(f"kronk{attempt}").start("-j", self.pacha.gossip)
            walk = until(self.seen_in_walk, 30, "a part of the walk is done")
            if walk is not True and walk["Phase"] == "records":
                victim().kill9()
                if self.kronk.running:
                    self.kronk.wait_log("event=link_lost")
                if "event=walk_finished" not in self.kronk.log():
                    return
                if not self.pacha.running:
                    self.pacha.start()
            if self.kronk.running:
                self.kronk.term()
        self.fail("no walk was hit")

    def test_the_receiver_is_killed(self):
        """kill -9 in the midst of a walk: it goes on where it stood."""
        self.kill_amid_walk(lambda: self.kronk)
        self.kronk.start("-j", self.pacha.gossip)
        self.equal()
        self.kronk.wait_counters(walks_started=0, walks_finished=1)

    def test_the_source_is_killed(self):
        """kill -9 of the only source: the walk waits for it, and goes on."""
        self.kill_amid_walk(lambda: self.pacha)
        done = self.walk()["KeysDone"]
        self.pacha.start()
        self.equal()
        self.assertGreater(done, 0)
        self.kronk.wait_counters(walks_started=1, walks_finished=1)

    def test_it_is_told(self):
        """The log and the status page say what it was, and packing made it small."""
        self.kronk.start("-j", self.pacha.gossip)
        self.equal()
        self.kronk.wait_log(f"event=walk_finished keys={RECORDS} rows={RECORDS} ")
        self.pacha.wait_log("event=caught_up peer=kronk")
        link, = self.kronk.status()["Links"]
        self.assertEqual(link["Protocol"], 4)
        self.assertGreater(link["In"]["RawBytes"], RECORDS * RECORD_BYTES)
        self.assertLess(link["In"]["WireBytes"], link["In"]["RawBytes"] / 2)
        self.assertLessEqual(link["In"]["WalkBytes"] + link["In"]["DeltaBytes"], link["In"]["WireBytes"])
        there, = self.pacha.status()["Links"]
        self.assertEqual(there["Out"]["WalkBytes"], link["In"]["WalkBytes"])


class Return(SystemTest):
    def test_bytes(self):
        """With compression off: at most 1.2 times the changed keys and values."""
        cluster = self.cluster("pacha", "kronk", "yzma", settings={"Peering.Compression": "off"})
        pacha, _, yzma = cluster
        fill(pacha, {f"record/{i:05}": dense(i, CHANGED_BYTES) for i in range(3000)})
        cluster.wait_equal()
        yzma.kill9()
        changed = {f"record/{i:05}": dense(-i, CHANGED_BYTES) for i in range(CHANGED)}
        fill(pacha, changed)
        yzma.start()
        cluster.wait_equal()
        yzma.wait_log("event=caught_up_with peer=pacha")
        data = sum(len(key) + len(value) + 2 for key, value in changed.items())
        links = yzma.status()["Links"]
        self.assertLessEqual(sum(link["In"]["DeltaBytes"] for link in links), 1.2 * data)
        self.assertGreaterEqual(sum(link["In"]["DeltaBytes"] for link in links), data)
        self.assertEqual(yzma.status()["Counters"]["walks_started"], 0)
        yzma.wait_log(f"operations={CHANGED} bytes=")


if __name__ == "__main__":
    unittest.main()
