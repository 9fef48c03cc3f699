"""Records that cannot be read here, sent by a program that writes a later format
(tests/programs): they are kept, durably and as they came, the clock waits for them, and
the program that can read them applies them, with nobody's help."""
import os
import subprocess
import unittest

from harness import BINARY, Cluster, SystemTest, until

LATER = os.path.abspath(os.path.join(os.environ.get("YZMA_PROGRAMS", "build/tests/programs"), "yzma-later"))
WRITTEN = 8


class Quarantine(SystemTest):
    def setUp(self):
        super().setUp()
        self.values = {f"new/{i}": {"n": str(i), "padding": "y" * 100} for i in range(WRITTEN)}

    def later(self, name="yzma"):
        return self.node(name, binary=LATER)

    def written(self, node):
        """Nine operations, of which one is a delete."""
        for key, value in self.values.items():
            node.put(key, value)
        node.put("shared", "of the later one")
        return node.status()["Replica"]

    def quarantine(self, node):
        return node.status()["Quarantine"]

    def assert_held(self, node, origin, count):
        until(lambda: self.quarantine(node)["Records"] == count, 20,
              lambda: f"{count} records are kept: {self.quarantine(node)}")
        self.assertGreater(self.quarantine(node)["Bytes"], count * 100)
        self.assertEqual(node.clock().get(origin, 0), 0)
        for key in self.values:
            self.assertEqual(node.get(key).status, 404)

    def test_kept_until_it_can_be_read(self):
        """Through kill -9 and the death of the sender; then the upgraded program applies
        all of it alone, and gives it on."""
        yzma = self.later().start()
        origin = self.written(yzma)
        kronk = self.node("kronk").start("-j", yzma.gossip)
        kronk.wait_log("event=record_quarantined")
        self.assert_held(kronk, origin, WRITTEN + 1)
        kronk.put("own", 1)
        until(lambda: yzma.value("own") == "1", 20, "the other direction goes on")
        self.assertEqual(kronk.get("shared").status, 404)
        kronk.put("shared", "of the earlier one")
        yzma.delete("new/0")
        until(lambda: self.quarantine(kronk)["Records"] == WRITTEN + 2, 20, "so is the record of a delete")
        kronk.kill9()
        yzma.kill9()
        kronk.start()
        self.assert_held(kronk, origin, WRITTEN + 2)
        self.assertEqual(kronk.value("own"), "1")

        done = subprocess.run([BINARY, "backup", os.path.join(self.folder, "backup"), "-c", kronk.config_path],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"without {WRITTEN + 2} records of a newer program", done.stdout)

        kronk.kill9()
        kronk.binary = LATER
        kronk.start()
        self.values.pop("new/0")
        until(lambda: self.quarantine(kronk) == {"Records": 0, "Bytes": 0}, 20,
              lambda: f"it is applied: {self.quarantine(kronk)}")
        held = kronk.everything()
        self.assertEqual(len(kronk.siblings("shared")), 2)
        self.assertIn(held.pop("shared"), ("of the earlier one", "of the later one"))
        self.assertEqual(held, {**self.values, "own": "1"})
        self.assertEqual(kronk.clock()[origin], WRITTEN + 2)
        yzma.start()
        Cluster([yzma, kronk]).wait_equal()

    def test_full(self):
        """What does not fit ends the link, with a reason; nothing is claimed and nothing is
        lost, and a node with more room, and one that can read it, are well."""
        yzma = self.later().start()
        origin = self.written(yzma)
        kronk = self.node("kronk", {"Peering.QuarantineMax": 500}).start("-j", yzma.gossip)
        kronk.wait_log("event=quarantine_full", 20)
        reason = "sends records that cannot be read here, and the quarantine is full"
        for node in (kronk, yzma):
            until(lambda: any(reason in link["Error"] for link in node.status()["Links"]), 20,
                  lambda: f"{node.name} says why: {node.status()['Links']}")
        until(lambda: kronk.counters()["sync_quarantine_full"] >= 1, 20, "it is counted")
        kept = self.quarantine(kronk)
        self.assertLessEqual(kept["Bytes"], 500)
        self.assertGreater(kept["Records"], 0)
        self.assertEqual(kronk.clock().get(origin, 0), 0)
        kronk.put("own", 1)
        self.assertEqual(kronk.value("own"), "1")
        self.assertLess(kronk.log().count("event=link_refused"), 5, "it is not asked all the time")
        kronk.kill9()
        kronk.settings["Peering.QuarantineMax"] = "64MiB"
        kronk.start()
        self.assert_held(kronk, origin, WRITTEN + 1)
        until(lambda: yzma.value("own") == "1", 20, "its own writes got out")


if __name__ == "__main__":
    unittest.main()
