"""Forgetting on real stores: a deleted key leaves not a byte behind, and who was away for
longer than Peering.ForgetAfter comes back with what it wrote alone and with nothing else."""
import subprocess
import unittest

from harness import BINARY, SystemTest, fill, until

DOOMED = 400
PADDING = "x" * 300
PAGE = 4096
LEFT_MAX = 80 * 1024  # of a store with some keys; the deleted ones took twice that


def has_forgotten_all(node):
    status = node.status()
    return status["Floor"] == status["Clock"] and status["HoldsForgetting"] == []


class Forget(SystemTest):
    def store_bytes(self, node):
        """What is left of a stopped node's store: the pages of a compacted file that hold
        anything (it has blocks ahead of its growth)."""
        done = subprocess.run([BINARY, "compact", "-c", node.config_path], capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(node.db_path, "rb") as file:
            pages = iter(lambda: file.read(PAGE), b"")
            return b"".join(page for page in pages if page.strip(b"\0"))

    def test_away_for_too_long(self):
        cluster = self.cluster("pacha", "kronk", "yzma", settings={
            "Server.History": "0s", "Peering.ForgetAfter": "1s", "Server.MemoryTable": "1MiB"})
        pacha, kronk, yzma = cluster
        fill(pacha, {f"doomed/{i}": PADDING for i in range(DOOMED)})
        fill(kronk, {f"stays/{i}": i for i in range(20)})
        cluster.wait_equal()
        yzma.kill9()
        for i in range(20):
            kronk.delete(f"doomed/{i}")
        until(lambda: pacha.clock() == kronk.clock(), 10, "the first deletes arrive")
        answer = pacha.expect(200, pacha.call("DELETE", "/keys?prefix=doomed/"))
        self.assertEqual(answer.data["Deleted"], DOOMED - 20)
        until(lambda: pacha.clock() == kronk.clock() and has_forgotten_all(pacha) and has_forgotten_all(kronk), 60,
              lambda: f"all is forgotten: {[(n.status()['Floor'], n.status()['Clock']) for n in (pacha, kronk)]}")
        for node in (pacha, kronk):
            self.assertEqual(node.term(), 0)

        yzma.start()
        self.assertIsNotNone(yzma.value(f"doomed/{DOOMED - 1}"))
        for i in range(10):
            yzma.put(f"alone/{i}", i)
            yzma.put(f"doomed/{i}", "wanted after all")
        for i in range(5):
            yzma.delete(f"stays/{i}")
        for node in (pacha, kronk):
            left = self.store_bytes(node)
            self.assertNotIn(b"doomed/", left, node.name)
            self.assertIn(b"stays/", left, node.name)
            self.assertLess(len(left), LEFT_MAX, node.name)

        expected = {f"stays/{i}": str(i) for i in range(5, 20)}
        expected.update({f"alone/{i}": str(i) for i in range(10)})
        expected.update({f"doomed/{i}": "wanted after all" for i in range(10)})
        for node in (pacha, kronk):
            node.start()
        cluster.wait_formed()
        self.assertEqual(cluster.wait_equal(60), expected)
        self.assertGreater(yzma.counters()["walks_finished"], 0)


if __name__ == "__main__":
    unittest.main()
