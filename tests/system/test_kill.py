"""An acknowledged write is on disk: kill -9 under load, again and again."""
import unittest

from harness import SANITIZED, SystemTest, Writer, until

ROUNDS = 3 if SANITIZED else 8


class Kill(SystemTest):
    def test_nothing_acknowledged_is_lost(self):
        """Eight writers; after each kill every acknowledged number is there, and the
        replica is the one it was."""
        one = self.node().start()
        replica = one.status()["Replica"]
        writers = []
        for round_number in range(ROUNDS):
            load = [Writer(one, f"{round_number}/{i}", keys=5) for i in range(8)]
            until(lambda: sum(writer.count for writer in load) > 200 * (round_number + 1), 30, "the load runs")
            one.kill9()
            for writer in load:
                writer.finish()
            writers += load
            one.start()
            held = one.everything()
            for writer in writers:
                self.assertEqual((writer.check(held), writer.refused), ([], []))
            self.assertEqual(one.status()["Replica"], replica)

    def test_deletes_too(self):
        """What was deleted and acknowledged stays deleted."""
        one = self.node().start()
        for round_number in range(ROUNDS):
            keys = [f"{round_number}/{i}" for i in range(50)]
            for key in keys:
                one.put(key, 1)
            for key in keys[:25]:
                one.delete(key)
            one.restart(kill=True)
            self.assertEqual(one.everything(), {f"{r}/{i}": "1" for r in range(round_number + 1)
                                                for i in range(25, 50)})

    def test_killed_while_starting(self):
        """A start that is cut off at any point does no harm."""
        one = self.node().start()
        one.put("kept", 1)
        replica = one.status()["Replica"]
        one.kill9()
        for _ in range(ROUNDS):
            one.start(wait=False)
            one.kill9()
        one.start()
        self.assertEqual(one.value("kept"), "1")
        self.assertEqual(one.status()["Replica"], replica)


if __name__ == "__main__":
    unittest.main()
