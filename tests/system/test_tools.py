"""The commands beside the node: backup and restore, doctor, compact. Each on the real
binary, also where it must refuse."""
import json
import os
import shutil
import subprocess
import unittest

from harness import SystemTest, fill, until
from harness.node import BINARY


def tool(*args, cwd=None):
    done = subprocess.run([BINARY, *args], cwd=cwd, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def flip(path, needle):
    """Changes one byte of the first place where needle stands in a file; False: nowhere."""
    with open(path, "r+b") as file:
        at = file.read().find(needle)
        if at < 0:
            return False
        file.seek(at)
        file.write(bytes([needle[0] ^ 1]))
    return True


class Tools(SystemTest):
    def backup(self, node):
        path = os.path.join(self.folder, f"{node.name}.backup")
        code, out, err = tool("backup", path, "-c", node.config_path)
        self.assertEqual(code, 0, err)
        return path

    def prepared(self, name):
        """A node that has a configuration and was never started."""
        node = self.node(name)
        node.write_config()
        return node

    def test_backup_and_restore(self):
        """What was acknowledged before is in it; the new replica is one more, and agrees
        with the old one once they have met."""
        one = self.node("one").start()
        fill(one, {f"k{i:05}": i for i in range(6000)})  # more than one piece
        one.delete("k00001")
        one.put("last", "before")
        held = one.everything()
        path = self.backup(one)
        one.put("after", "the backup")
        one.delete("k00002")

        other = self.prepared("other")
        code, out, err = tool("restore", path, "-c", other.config_path)
        self.assertEqual(code, 0, err)
        self.assertIn("with 6001 records", out)  # that of the deleted key included
        self.assertEqual(sorted(n for n in os.listdir(other.folder) if "restore" in n), [])
        code, out, err = tool("doctor", "-c", other.config_path)
        self.assertEqual((code, out.splitlines()[-1:]), (0, ["nothing was found"]), err)
        other.start()
        self.assertEqual(other.everything(), held)
        self.assertNotEqual(other.status()["Replica"], one.status()["Replica"])
        self.assertIn(one.status()["Replica"], other.clock())
        other.put("by other", 1)
        other.restart("-j", one.gossip)
        until(lambda: one.everything() == other.everything() and one.clock() == other.clock(), 20, "they agree")
        self.assertEqual(len(one.everything()), len(held) + 1)  # one more, one less, one more
        self.assertIsNone(other.everything().get("k00002"))

    def test_backups_that_are_not_whole(self):
        one = self.node("one").start()
        fill(one, {f"k{i}": i for i in range(100)})
        path = self.backup(one)
        self.assertEqual(tool("backup", path, "-c", one.config_path)[0], 1)  # it is there already
        with open(path, "rb") as file:
            whole = file.read()
        other = self.prepared("other")
        broken = path + ".broken"
        cuts = [0, 10, 32, 40, len(whole) // 2, len(whole) - 1]
        cases = [whole[:n] for n in cuts] + [whole + b"x"]
        cases += [whole[:n] + bytes([whole[n] ^ 4]) + whole[n + 1:] for n in (3, 20, 60, len(whole) - 5)]
        for number, case in enumerate(cases):
            with open(broken, "wb") as file:
                file.write(case)
            code, out, err = tool("restore", broken, "-c", other.config_path)
            self.assertEqual(code, 1, (number, out))
            self.assertIn(broken, err)
            self.assertEqual(os.listdir(other.folder), ["yzma.json"])
        self.assertIn("incomplete", tool("restore", self.cut(whole, broken), "-c", other.config_path)[2])
        self.assertEqual(tool("restore", path, "-c", other.config_path)[0], 0)
        code, _, err = tool("restore", path, "-c", other.config_path)
        self.assertEqual(code, 1)
        self.assertIn("exists", err)
        one.term()
        self.assertEqual(tool("backup", path + "2", "-c", one.config_path)[0], 1)
        self.assertEqual([n for n in os.listdir(self.folder) if n.startswith("one.backup2")], [])

    def cut(self, whole, path):
        with open(path, "wb") as file:
            file.write(whole[:-1])
        return path

    def test_a_damaged_tree(self):
        """A page of the file that is none any more ends LMDB's process: the doctor says so."""
        one = self.node("one").start()
        fill(one, {f"k{i:04}": "x" * 200 for i in range(300)})
        one.put("k0150", "needle-that-stands-in-one-place")
        one.term()
        self.assertEqual(tool("compact", "-c", one.config_path)[0], 0)
        with open(one.db_path, "r+b") as file:
            at = file.read().find(b"needle-that-stands")
            file.seek(at - at % 4096)
            file.write(bytes(4096))
        code, out, err = tool("doctor", "-c", one.config_path)
        self.assertEqual(code, 3, out + err)
        self.assertIn("damaged in its own structure", err)
        self.assertIn("move it and its log away", err)

    def test_a_doctor_that_nobody_listens_to(self):
        """Its check ends, and that is no damage."""
        one = self.node("one").start()
        one.term()
        there, here = os.pipe()
        os.close(there)
        with os.fdopen(here, "wb") as out:
            done = subprocess.run([BINARY, "doctor", "-c", one.config_path], stdout=out, stderr=subprocess.PIPE,
                                  text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("the check was ended", done.stderr)

    def test_a_damaged_record(self):
        """The doctor names it, the node does not serve it, and a peer's takes its place."""
        pacha, kronk = cluster = self.cluster("pacha", "kronk")
        kronk.put("good", 1)
        kronk.put("bad", "needle-that-stands-in-one-place")
        cluster.wait_equal()
        kronk.term()
        code, out, err = tool("doctor", "-c", kronk.config_path)
        self.assertEqual(code, 0, out + err)
        self.assertEqual(tool("compact", "-c", kronk.config_path)[0], 0)  # all of it is in the file then
        self.assertTrue(flip(kronk.db_path, b"needle-that-stands"))
        code, out, err = tool("doctor", "-c", kronk.config_path)
        self.assertEqual(code, 3, out + err)
        self.assertIn("key=bad", out)
        pacha.term()
        kronk.start()
        answer = kronk.call("GET", "/keys/bad")
        self.assertEqual(answer.status, 503)
        self.assertEqual(kronk.call("GET", "/keys/good").status, 200)
        pacha.start()
        until(lambda: kronk.call("GET", "/keys/bad").status == 200, 30, "a peer's record is there")
        kronk.wait_counters(records_repaired=1)
        cluster.wait_equal()
        kronk.term()
        self.assertEqual(tool("doctor", "-c", kronk.config_path)[0], 0)

    def test_compact(self):
        """The file gets smaller, the replica stays what it is, and a copy is no way around
        that."""
        node = self.node("one").start()
        for turn in range(4):
            fill(node, {f"k{i:04}": "x" * 300 + str(turn) for i in range(1500)})
        for i in range(1400):
            node.delete(f"k{i:04}")
        small = [{"Op": "put", "Key": f"s{i}", "Value": i} for i in range(6000)]  # with a page for each: 24 MiB
        self.assertEqual(node.call("POST", "/batch", json.dumps({"Ops": small}).encode()).status, 200)
        held, replica = node.everything(), node.status()["Replica"]
        code, _, err = tool("compact", "-c", node.config_path)
        self.assertEqual(code, 1)  # it is in use
        self.assertEqual(tool("doctor", "-c", node.config_path)[0], 1)
        node.kill9()
        code, out, err = tool("compact", "-c", node.config_path)
        self.assertEqual(code, 0, err)
        after, before = (int(word) for word in out.replace(",", "").split() if word.isdigit())
        self.assertLess(after, min(before, 16 << 20))
        self.assertEqual([n for n in os.listdir(node.folder) if "compact" in n], [])
        self.assertEqual(tool("doctor", "-c", node.config_path)[0], 0)
        node.start()
        self.assertEqual(node.everything(), held)
        self.assertEqual(node.status()["Replica"], replica)
        node.put("goes", "on")
        node.term()

        shutil.copy(node.db_path, node.db_path + ".copy")
        os.replace(node.db_path + ".copy", node.db_path)
        code, _, err = tool("compact", "-c", node.config_path)
        self.assertEqual(code, 1)
        self.assertIn("not the file that it was", err)
        node.start()
        self.assertNotEqual(node.status()["Replica"], replica)

    def test_compare(self):
        pacha, kronk = cluster = self.cluster("pacha", "kronk")
        fill(pacha, {f"k{i:05}": i for i in range(2500)})
        cluster.wait_equal()
        code, out, err = tool("doctor", "--compare", pacha.api_address, kronk.api_address)
        self.assertEqual((code, out), (0, "no key differs\n"), err)
        alone = self.node("alone").start()
        alone.put("k00000", "another operation")
        code, out, err = tool("doctor", "--compare", alone.api_address, self.node("more").start().api_address)
        self.assertEqual(code, 3, err)
        self.assertEqual(out, "differs: k00000\n")
        self.assertIn("1 keys differ", err)
        self.assertEqual(tool("doctor", "--compare", pacha.api_address, "127.0.0.1:1")[0], 1)


if __name__ == "__main__":
    unittest.main()
