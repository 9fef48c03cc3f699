"""kill -9 at any moment, hundreds of times in a row, the applier busy: nothing that
was acknowledged is lost. The memory table is the smallest there is and values are
large, so that generations freeze, are applied and dropped all the time, and each
kill finds some of that half done. YZMA_KILLS sets another number of kills."""
import os
import random
import time
import unittest

from harness import SANITIZED, SystemTest, Writer

KILLS = int(os.environ.get("YZMA_KILLS", 20 if SANITIZED else 200))
WRITERS, KEYS, PADDING = 4, 25, 8000  # about a megabyte in a third of a second
LIFE_MAX = 0.4  # seconds


class KillLoop(SystemTest):
    def test_hundreds_of_kills(self):
        chance = random.Random(KILLS)
        node = self.node("node", {"Server.MemoryTable": "1MiB"}).start()
        replica = node.status()["Replica"]
        acked, applied, replayed = {}, 0, 0
        for number in range(1, KILLS + 1):
            # The same keys each time, with rising numbers: what counts is the last
            # acknowledged one of any life, wherever it lies.
            load = [Writer(node, f"{i}", KEYS, PADDING, after=number * 10000) for i in range(WRITERS)]
            time.sleep(chance.uniform(0.02, LIFE_MAX))  # a moment, not a condition: any will do
            if number % 10 == 0:
                applied += node.counters()["apply_generations"]
            node.kill9()
            for writer in load:
                writer.finish()
                acked.update(writer.acked)
            node.start()
            replayed += "event=log_replayed" in node.log()
            held = {key: int(value["n"]) for key, value in node.everything().items()}
            for writer in load:
                self.assertEqual(writer.refused, [])
                most = {key: writer.sent.get(key, acked.get(key, 0)) for key in writer.keys}
                wrong = [(key, acked.get(key, 0), held.get(key, 0), most[key]) for key in writer.keys
                         if not acked.get(key, 0) <= held.get(key, 0) <= most[key]]
                self.assertEqual(wrong, [], f"after kill {number}: key, acknowledged, found, sent")
            acked.update(held)  # a start has shown it: it may not go any more
        self.assertEqual(node.status()["Replica"], replica)
        self.assertGreater(applied, 0, "the applier was never at work")
        self.assertGreater(replayed, 0, "no start found anything in the log")


if __name__ == "__main__":
    unittest.main()
