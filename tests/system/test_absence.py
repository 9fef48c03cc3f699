"""Absence and return: what was missed arrives, and nothing else; what was deleted
does not come back."""
import signal
import unittest

from harness import SANITIZED, SystemTest, fill, until

RECORDS = 400 if SANITIZED else 2000
RECORD_BYTES = 1000
MISSED = 40
FROZEN_VALUES, FROZEN_BYTES = 40, 2 << 20
FROZEN_EQUAL_WITHIN = 90  # 80 MiB through a small memory table: some 20 s beside a disk's other users
FROZEN_GROWTH_MAX_KIB = 48 * 1024  # of the 80 MiB written meanwhile


def bytes_in(node):
    return sum(link["BytesIn"] for link in node.status()["Links"])


class Absence(SystemTest):
    def setUp(self):
        super().setUp()
        self.cluster3 = self.cluster("pacha", "kronk", "yzma", settings={"Server.MemoryTable": "8MiB"})
        self.pacha, self.kronk, self.yzma = self.cluster3
        self.held = {f"record/{i:05}": "x" * RECORD_BYTES for i in range(RECORDS)}

    def equal(self):
        self.assertEqual(self.cluster3.wait_equal(), self.held)

    def test_return(self):
        """Overwrites and deletes while one is away, by kill -9 and by SIGTERM: both
        arrive, at the cost of what was missed."""
        fill(self.pacha, self.held)
        self.equal()
        for kill in (True, False):
            with self.subTest(kill=kill):
                if kill:
                    self.yzma.kill9()
                else:
                    self.assertEqual(self.yzma.term(), 0)
                keys = sorted(self.held)[:MISSED]
                for i, key in enumerate(keys):
                    node = (self.pacha, self.kronk)[i % 2]
                    if i % 4 < 2:
                        node.delete(key)
                        del self.held[key]
                    else:
                        self.held[key] = f"kill={kill}"
                        node.put(key, self.held[key])
                self.yzma.start()
                self.cluster3.wait_formed()
                self.equal()
                status = self.yzma.status()
                self.assertEqual(status["Counters"]["walks_started"], 0)
                # Each missed operation once, or twice where two peers were asked at
                # once; the greetings are some 1,000 bytes a link.
                self.assertLess(bytes_in(self.yzma), 2 * MISSED * 300 + 20000)
                self.assertGreater(bytes_in(self.yzma), 0)

    def test_written_while_away(self):
        """Both sides wrote meanwhile: both have all, and the deletes of neither come back."""
        fill(self.pacha, {f"record/{i:05}": 1 for i in range(100)})
        self.cluster3.wait_equal()
        self.yzma.kill9()
        others = self.pacha, self.kronk
        for i in range(50):
            others[i % 2].delete(f"record/{i:05}")
        # alone: nobody to talk to while it writes
        for node in others:
            node.kill9()
        self.yzma.start()
        for i in range(25, 75):
            self.yzma.put(f"record/{i:05}", 2)  # those below 50 are concurrent with the deletes: they win
        for i in range(90, 100):
            self.yzma.delete(f"record/{i:05}")
        for node in others:
            node.start()
        self.cluster3.wait_formed()
        held = self.cluster3.wait_equal()
        expected = {f"record/{i:05}": "2" if i < 75 else "1" for i in range(25, 90)}
        self.assertEqual(held, expected)

    def test_a_fourth(self):
        """A new node gets everything, and is ready only then; a key deleted before it
        came stays unknown to it."""
        fill(self.pacha, self.held)
        for i in range(50):
            self.kronk.delete(f"record/{i:05}")
            del self.held[f"record/{i:05}"]
        self.cluster3.wait_equal()
        fourth = self.node("fourth").start("-j", self.kronk.gossip)
        until(lambda: len(fourth.members()) == 4, 15, "it meets the others")
        fourth.wait_ready()
        self.cluster3.nodes.append(fourth)
        self.equal()
        fourth.put("from the fourth", "here")
        self.held["from the fourth"] = "here"
        self.equal()

    def test_through_another(self):
        """The origin is away when the absent one returns: the third hands it on."""
        self.yzma.kill9()
        missed = {f"missed/{i}": i for i in range(MISSED)}
        fill(self.pacha, missed)
        self.cluster3.wait_equal()
        self.pacha.kill9()
        self.yzma.start()
        held = {key: str(value) for key, value in missed.items()}
        until(lambda: self.yzma.everything() == held, 30, "what pacha wrote arrives by way of kronk")
        self.pacha.start()
        self.cluster3.wait_formed()
        self.assertEqual(self.cluster3.wait_equal(), held)

    def test_frozen(self):
        """A process that stands still, its connections open: the others bury it and go
        on, at a bounded cost of memory; thawed, it catches up and is alive again."""
        names = sorted(self.pacha.members())
        anonymous = self.pacha.anonymous_kib()
        self.yzma.signal(signal.SIGSTOP)
        for i in range(FROZEN_VALUES):
            self.pacha.put(f"large/{i}", "x" * FROZEN_BYTES)
        # The dead are listed for half a minute; on a busy disk the writes alone may take longer.
        until(lambda: all(node.sees(self.yzma) in ("dead", None) for node in (self.pacha, self.kronk)), 30,
              "they bury it")
        if not SANITIZED:
            self.assertLess(self.pacha.anonymous_kib() - anonymous, FROZEN_GROWTH_MAX_KIB)
        self.yzma.signal(signal.SIGCONT)
        self.cluster3.wait_formed()
        self.assertEqual(len(self.cluster3.wait_equal(within=FROZEN_EQUAL_WITHIN)), FROZEN_VALUES)
        self.assertEqual(sorted(self.pacha.members()), names)


if __name__ == "__main__":
    unittest.main()
