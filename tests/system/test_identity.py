"""Who a store is: copies and restored states take a new id, so that no operation is
ever named twice; nothing that the cluster holds is lost by it."""
import os
import shutil
import signal
import subprocess
import unittest

from harness import BINARY, SystemTest, fill, until

IMAGE = os.environ.get("YZMA_IMAGE_LIBRARY", "")  # tests/power/image.c


class Identity(SystemTest):
    def test_a_copied_store(self):
        """A second node on a copy of the first one's store is another replica; the two
        form a cluster, and both write."""
        one = self.node("one").start()
        fill(one, {f"k{i}": i for i in range(100)})
        one.term()
        other = self.node("other")
        shutil.copy(one.db_path, other.db_path)
        one.start()
        other.start("-j", one.gossip)
        self.assertNotEqual(one.status()["Replica"], other.status()["Replica"])
        one.put("by one", 1)
        other.put("by other", 2)
        until(lambda: one.everything() == other.everything() and one.clock() == other.clock(), 15, "they agree")
        self.assertEqual(len(one.everything()), 102)

    def old_state(self, restore):
        """What happens to a cluster of two when one falls back to an older state of its
        store by restore(kept path, store path)."""
        pacha, kronk = cluster = self.cluster("pacha", "kronk")
        kronk.put("old", 1)
        cluster.wait_equal()
        kronk.term()
        kept = kronk.db_path + ".kept"
        shutil.copy(kronk.db_path, kept)
        shutil.copytree(kronk.db_log, kept + "-log")
        kronk.start()
        cluster.wait_formed()
        replica = kronk.status()["Replica"]
        for i in range(20):
            kronk.put(f"later/{i}", i)
        kronk.delete("old")
        cluster.wait_equal()

        kronk.kill9()
        restore(kept, kronk.db_path)
        shutil.rmtree(kronk.db_log)
        shutil.move(kept + "-log", kronk.db_log)
        kronk.start()
        kronk.put("after", "the fall")
        cluster.wait_formed()
        held = cluster.wait_equal()
        expected = {f"later/{i}": str(i) for i in range(20)}
        expected["after"] = "the fall"
        self.assertEqual(held, expected)
        self.assertNotEqual(kronk.status()["Replica"], replica)
        pacha.put("and", "on")
        kronk.put("it", "goes")
        self.assertEqual(cluster.wait_equal(), {**expected, "and": "on", "it": "goes"})

    def test_an_old_file(self):
        """Another file under the same name, as a backup that was put back."""
        def restore(kept, store):
            shutil.move(kept, store)
        self.old_state(restore)

    def test_an_old_state_of_the_same_file(self):
        """The same file with older bytes, as after the disk was set back: only its
        peers can tell."""
        def restore(kept, store):
            with open(kept, "rb") as source, open(store, "r+b") as target:
                target.truncate()
                shutil.copyfileobj(source, target)
        self.old_state(restore)

    def test_an_old_state_that_wrote_alone(self):
        """Set back to a state of its present life, it writes more than it has lost before
        anybody meets it, and its peer was killed: only what the peer wrote down of it tells."""
        pacha, kronk = cluster = self.cluster("pacha", "kronk")
        kronk.put("old", 1)
        cluster.wait_equal()
        kept = kronk.db_path + ".kept"
        kronk.signal(signal.SIGSTOP)
        shutil.copy(kronk.db_path, kept)
        shutil.copytree(kronk.db_log, kept + "-log")
        kronk.signal(signal.SIGCONT)
        replica = kronk.status()["Replica"]
        expected = {f"later/{i}": str(i) for i in range(20)}
        for i in range(20):
            kronk.put(f"later/{i}", i)
        kronk.delete("old")
        cluster.wait_equal()

        for node in cluster:
            node.kill9()
        with open(kept, "rb") as source, open(kronk.db_path, "r+b") as target:
            target.truncate()
            shutil.copyfileobj(source, target)
        shutil.rmtree(kronk.db_log)
        shutil.move(kept + "-log", kronk.db_log)
        kronk.start()
        self.assertEqual(kronk.status()["Replica"], replica)
        for i in range(100):
            kronk.put(f"alone/{i}", i)
            expected[f"alone/{i}"] = str(i)
        pacha.start()
        cluster.wait_formed()
        self.assertEqual(cluster.wait_equal(), expected)
        self.assertNotEqual(kronk.status()["Replica"], replica)

    @unittest.skipUnless(IMAGE, "YZMA_IMAGE_LIBRARY is not set")
    def test_two_with_one_id(self):
        """An image of its disk runs beside a node: nothing in the file tells. The newcomer is
        refused, both say so and what to do, and then each has what the other wrote."""
        one, other = self.node("one"), self.node("other")
        one.prefix = other.prefix = ["env", f"LD_PRELOAD={IMAGE}"]
        one.start()
        fill(one, {f"k{i}": i for i in range(20)})
        self.assertEqual(one.term(), 0)
        shutil.copy(one.db_path, other.db_path)
        shutil.copytree(one.db_log, other.db_log)
        one.start()
        other.start()
        self.assertEqual(one.status()["Replica"], other.status()["Replica"])
        one.put("by one", 1)
        one.delete("k1")
        other.put("by other", 2)
        other.put("k2", "changed")
        other.delete("k3")
        refused = other.join(one)
        self.assertEqual(refused.status, 502, refused)
        self.assertIn("another node has our replica id", refused.data["Failed"][0]["Error"])
        for node in (one, other):
            node.wait_log("event=name_conflict")
            node.wait_log("event=duplicate_replica")
            node.wait_log("yzma reidentify")
        self.assertIsNone(one.value("by other"))
        self.assertIsNone(other.value("by one"))

        self.assertEqual(other.term(), 0)
        done = subprocess.run([*other.prefix, BINARY, "reidentify", "-c", other.config_path], capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        other.start("-j", one.gossip)
        until(lambda: other.sees(one) == one.sees(other) == "alive", 20, "they are two")
        until(lambda: one.clock() == other.clock(), 20, "they agree")
        expected = {f"k{i}": str(i) for i in range(20) if i not in (1, 3)}
        expected.update({"k2": "changed", "by one": "1", "by other": "2"})
        for node in (one, other):
            self.assertEqual(node.everything(), expected)
        self.assertNotEqual(one.status()["Replica"], other.status()["Replica"])

    def test_an_old_file_with_its_newer_log(self):
        """The same file with older bytes, but all of its log: nothing is lost, and it
        stays who it was."""
        node = self.node("kronk").start()
        node.put("before", 1)
        node.term()
        with open(node.db_path, "rb") as file:
            old = file.read()
        node.start()
        replica = node.status()["Replica"]
        fill(node, {f"k{i}": i for i in range(20)})
        node.kill9()
        with open(node.db_path, "r+b") as file:
            file.truncate()
            file.write(old)
        node.start()
        self.assertEqual(node.status()["Replica"], replica)
        self.assertEqual([node.value(f"k{i}") for i in range(20)], [str(i) for i in range(20)])

    def without_log(self, forget):
        """A node after 20 writes and a kill, its log as `forget` leaves it, started
        again; its peer. It takes the new id before it meets anybody, and what the peer
        knows comes back under the old one."""
        pacha, kronk = cluster = self.cluster("pacha", "kronk")
        fill(kronk, {f"k{i}": i for i in range(20)})
        held = cluster.wait_equal()
        replica = kronk.status()["Replica"]
        kronk.kill9()
        forget(kronk)
        kronk.start()
        cluster.wait_formed()
        self.assertNotEqual(kronk.status()["Replica"], replica)
        for node in cluster:
            self.assertEqual({name: node.counters()[name] for name in ("sync_forks_met", "sync_reidentified")},
                             {"sync_forks_met": 0, "sync_reidentified": 0})
        kronk.put("after", 1)
        self.assertEqual(cluster.wait_equal(), {**held, "after": "1"})

    def test_a_missing_log(self):
        """A store without its log takes a new id: its newest operations are elsewhere."""
        self.without_log(lambda node: shutil.rmtree(node.db_log))

    def test_an_emptied_log(self):
        def forget(node):
            for name in os.listdir(node.db_log):
                os.unlink(os.path.join(node.db_log, name))
        self.without_log(forget)

    def test_a_log_without_its_store(self):
        """The file alone is gone, and the log may hold what nobody else has: the start
        is refused, and says what to do."""
        node = self.node("kronk").start()
        node.put("k", 1)
        node.kill9()
        os.rename(node.db_path, node.db_path + ".away")
        node.start(wait=False)
        self.assertEqual(node.wait_end(30), 1)
        node.wait_log("another store")
        node.wait_log("move the folder away")
        os.rename(node.db_path + ".away", node.db_path)
        node.start()
        self.assertEqual(node.value("k"), "1")

    def test_a_lost_store(self):
        """The file is gone: a new replica, which gets everything back."""
        pacha, kronk = cluster = self.cluster("pacha", "kronk")
        fill(kronk, {f"k{i}": i for i in range(100)})
        held = cluster.wait_equal()
        kronk.kill9()
        for path in (kronk.db_path, kronk.db_path + "-lock"):
            os.unlink(path)
        shutil.rmtree(kronk.db_log)
        kronk.start("-j", pacha.gossip)
        cluster.wait_formed()
        self.assertEqual(cluster.wait_equal(), held)


if __name__ == "__main__":
    unittest.main()
