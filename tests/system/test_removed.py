"""The store's files are removed under a running node: what it acknowledged then would end with it,
so it acknowledges nothing more. What it holds can still be read, and backed up."""
import os
import shutil
import subprocess
import unittest

from harness import BINARY, SystemTest, fill, until


def remove_log(node):
    """The node may be at making its next file in it."""
    def is_gone():
        shutil.rmtree(node.db_log, ignore_errors=True)
        return not os.path.exists(node.db_log)
    until(is_gone, 10, "the log has gone")


class Removed(SystemTest):
    def check(self, remove):
        node = self.node().start()
        fill(node, {f"k{i}": i for i in range(20)})
        held = node.everything()
        remove(node)
        for i in range(3):
            answer = node.api.put(f"late/{i}", i)
            self.assertEqual(answer.status, 503, answer)
            self.assertIn("removed", answer.error)
        self.assertEqual(node.api.delete("k1").status, 503)
        node.wait_log("event=store_removed")
        self.assertEqual(node.everything(), held)

        backup = os.path.join(self.folder, "backup")
        other = self.node("other")
        other.write_config()
        for args in (("backup", backup, "-c", node.config_path), ("restore", backup, "-c", other.config_path)):
            done = subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
        other.start()
        self.assertEqual(other.everything(), held)

    def test_the_folder(self):
        def remove(node):
            os.unlink(node.db_path)
            os.unlink(node.db_path + "-lock")
            remove_log(node)
        self.check(remove)

    def test_the_file(self):
        self.check(lambda node: os.unlink(node.db_path))

    def test_the_log(self):
        self.check(remove_log)


if __name__ == "__main__":
    unittest.main()
