"""A full disk: writes get 503, reads go on, deletes work, and with room again so
do writes, without a restart. The disk is a small tmpfs in a mount namespace of
this process, gone when it ends."""
import ctypes
import os
import subprocess
import unittest

from harness import SystemTest, Writer, until

CLONE_NEWNS = 0x20000
DISK_MIB = 24


def own_mounts():
    """A mount namespace of our own; None, or why there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        return os.strerror(ctypes.get_errno())
    done = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, text=True)
    return done.stderr.strip() or None


class DiskFull(SystemTest):
    def setUp(self):
        super().setUp()
        why = own_mounts()
        if why:
            self.skipTest(f"no mount namespace: {why}")
        self.disk = os.path.join(self.folder, "disk")
        os.mkdir(self.disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", self.disk], check=True)
        self.addCleanup(lambda: subprocess.run(["umount", self.disk], check=True))
        self.filler = os.path.join(self.disk, "filler")

    def fill_disk(self):
        with open(self.filler, "ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass

    def put_until_refused(self, node, value):
        """Key -> value of what was acknowledged, and the refusal."""
        acked = {}
        for i in range(100000):
            answer = node.api.put(f"k{i}", value)
            if answer.status != 200:
                return acked, answer
            acked[f"k{i}"] = value
        raise AssertionError("the disk does not fill")

    def test_full_and_room_again(self):
        """Filled from outside, then emptied again, twice."""
        node = self.node("full", {"Server.DBPath": os.path.join(self.disk, "yzma.db")}).start()
        node.put("kept", {"v": 1})
        for i in range(50):
            node.put(f"doomed/{i}", "x" * 10000)
        for round_number in range(2):
            self.fill_disk()
            acked, refusal = self.put_until_refused(node, "y" * 5000)
            self.assertEqual(refusal.status, 503)
            node.wait_log("event=store_full")
            self.assertTrue(refusal.error)
            self.assertTrue(refusal.headers["Retry-After"])
            self.assertEqual(node.value("kept"), {"v": "1"})
            self.assertEqual(node.call("GET", "/health").status, 200)
            for key, value in acked.items():
                self.assertEqual(node.value(key), value)

            if round_number == 0:
                for i in range(25):
                    node.delete(f"doomed/{i}")
            else:
                node.expect(200, node.call("DELETE", "/keys?prefix=doomed/"))
            for i in range(25 * round_number, 25 * round_number + 25):
                self.assertIsNone(node.value(f"doomed/{i}"))

            os.unlink(self.filler)
            until(lambda: node.api.put("back", round_number).status == 200, 10, "it takes writes again")
            for key in acked:
                node.delete(key)
        held = node.everything()
        node.restart()
        self.assertEqual(node.everything(), held)
        self.assertEqual(sorted(held), ["back", "kept"])

    def test_killed_while_full(self):
        """kill -9 on a full disk loses nothing, and it starts again there."""
        node = self.node("full", {"Server.DBPath": os.path.join(self.disk, "yzma.db")}).start()
        node.put("kept", 1)
        self.fill_disk()
        acked, _ = self.put_until_refused(node, "y" * 5000)
        held = {**acked, "kept": "1"}
        for key in list(acked)[:3]:
            node.kill9()
            self.fill_disk()
            node.start()
            self.assertEqual(node.everything(), held)
            node.delete(key)
            del held[key]
        os.unlink(self.filler)
        until(lambda: node.api.put("back", 1).status == 200, 10, "it takes writes again")
        self.assertEqual(node.everything(), {**held, "back": "1"})

    def test_cluster_goes_on(self):
        """One full node of two: the other takes writes, and they arrive when there is
        room again, also while it goes on writing."""
        full = self.node("full", {"Server.DBPath": os.path.join(self.disk, "yzma.db")}).start()
        other = self.node("other").start("-j", full.gossip)
        full.put("kept", 1)
        until(lambda: other.value("kept") == "1", 10, "they exchange")
        self.fill_disk()
        acked, _ = self.put_until_refused(full, "y" * 5000)
        load = Writer(other, "load", keys=5, padding=10)
        for i in range(20):
            other.put(f"meanwhile/{i}", "z" * 50000)
        self.assertEqual(full.value("kept"), "1")
        os.unlink(self.filler)
        until(lambda: full.value("meanwhile/19"), 30, "what was missed arrives under load")
        load.finish()
        self.assertEqual(load.refused, [])
        until(lambda: full.clock() == other.clock(), 30, "all arrives")
        self.assertEqual(full.everything(), other.everything())
        self.assertEqual(len(full.everything()), 21 + len(acked) + len(load.acked))

    def test_deletes_of_a_peer(self):
        """What another node deletes makes room here as well."""
        full = self.node("full", {"Server.MaxStoreBytes": "16MiB"}).start()
        other = self.node("other").start("-j", full.gossip)
        acked, refusal = self.put_until_refused(full, "y" * 100000)
        self.assertEqual(refusal.status, 503)
        until(lambda: other.clock() == full.clock(), 20, "the other has all of it")
        other.delete("k0")
        until(lambda: full.value("k0") is None, 10, "one is gone")
        self.assertEqual(other.call("DELETE", "/keys?prefix=k").data["Deleted"], len(acked) - 1)
        until(lambda: full.everything() == {}, 10, "all are")
        until(lambda: full.api.put("back", 1).status == 200, 10, "it takes writes again")

    def test_limit_of_the_configuration(self):
        """Server.MaxStoreBytes is met the same way, after a warning, and deletes make room:
        many at a time, and one by one."""
        node = self.node("limited", {"Server.MaxStoreBytes": "16MiB"}).start()
        number = iter(range(1000))
        for i in range(60):
            node.put(f"early/{next(number)}", "y" * 100000)
        self.assertFalse(node.status()["LowSpace"])

        def warned():
            node.put(f"early/{next(number)}", "y" * 40000)
            return node.status()["LowSpace"]

        until(warned, 60, "low space is told while there still is some")
        node.wait_log("event=low_space")
        self.assertGreater(node.counters()["store_low_space"], 0)
        acked, refusal = self.put_until_refused(node, "y" * 100000)
        self.assertEqual(refusal.status, 503)
        answer = node.call("DELETE", "/keys?prefix=early/")
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.data["Deleted"], next(number))
        for key in acked:
            node.delete(key)
        until(lambda: not node.status()["LowSpace"], 15, "there is room again")
        until(lambda: node.api.put("back", 1).status == 200, 10, "it takes writes again")
        self.assertEqual(node.everything(), {"back": "1"})


if __name__ == "__main__":
    unittest.main()
