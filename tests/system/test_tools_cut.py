"""yzma compact and yzma restore on a disk that loses power, or fails, at each of their changes
and syncs in turn: what is there afterwards is one whole store, or none, and the next run
finishes."""
import os
import shutil
import subprocess
import unittest

from harness import SANITIZED, Power, SystemTest, fill, until
from harness.node import BINARY

STEPS_MIN, STEPS_MAX = 15, 400  # a run of either has some dozens


def tool(*args, prefix=()):
    return subprocess.run([*prefix, BINARY, *args], capture_output=True, text=True, timeout=120)


@unittest.skipUnless(os.environ.get("YZMA_POWER_LIBRARY"), "YZMA_POWER_LIBRARY is not set")
@unittest.skipIf(SANITIZED, "it is about the order on disk; test_tools.py runs the same code sanitized")
class ToolsCut(SystemTest):
    def doctor(self, node):
        done = tool("doctor", "-c", node.config_path)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def at_each_step(self, node, command, between):
        """The power is cut in the midst of the n-th change or sync, for each n, and then
        each fails once."""
        power = Power(node.folder)
        for n in range(1, STEPS_MAX):
            done = tool(*command, "-c", node.config_path, prefix=power.prefix(cut=n, seed=n))
            if done.returncode >= 0:
                self.assertEqual(done.returncode, 0, done.stderr)
                break  # it has fewer steps
            until(lambda: power.report() is not None, 20, "the cut has taken its toll")
            between(f"cut at {n}: {power.report()}")
        self.assertGreater(n, STEPS_MIN)
        self.assertLess(n, STEPS_MAX - 1)
        between("not cut")
        for n in range(1, STEPS_MAX):
            done = tool(*command, "-c", node.config_path, prefix=power.prefix(fail=n))
            if "libpower" not in done.stderr:
                self.assertEqual(done.returncode, 0, done.stderr)
                break
            self.assertIn(done.returncode, (0, 1), done.stderr)  # some need not succeed
            between(done.stderr)
        self.assertGreater(n, STEPS_MIN)

    def prepared(self):
        node = self.node("one").start()
        fill(node, {f"k{i}": "x" * (i * 100) for i in range(30)})
        for i in range(0, 30, 3):
            node.delete(f"k{i}")
        return node, node.everything(), node.status()["Replica"]

    def test_compact(self):
        node, held, replica = self.prepared()
        node.kill9()  # some of it is in the log alone
        runs = []

        def check(what):  # the next run reads it all, too: the doctor looks at every fourth
            runs.append(what)
            if len(runs) % 4 == 0:
                self.doctor(node)

        self.at_each_step(node, ["compact"], check)
        self.doctor(node)
        self.assertEqual([name for name in os.listdir(node.folder) if "compact" in name], [])
        node.start()
        self.assertEqual(node.everything(), held)
        self.assertEqual(node.status()["Replica"], replica)

    def test_restore(self):
        node, held, replica = self.prepared()
        path = os.path.join(self.folder, "one.backup")
        self.assertEqual(tool("backup", path, "-c", node.config_path).returncode, 0)
        node.term()
        other = self.node("other")
        other.write_config()
        made = []

        def check(what):
            if os.path.exists(other.db_path):
                self.doctor(other)
                made.append(what)
                os.remove(other.db_path)
                shutil.rmtree(other.db_path + "-log")  # the doctor's

        self.at_each_step(other, ["restore", path], check)
        self.assertIn("not cut", made)
        self.assertEqual([name for name in os.listdir(other.folder) if "restore" in name], [])
        other.start()
        self.assertEqual(other.everything(), held)
        self.assertNotEqual(other.status()["Replica"], replica)


if __name__ == "__main__":
    unittest.main()
