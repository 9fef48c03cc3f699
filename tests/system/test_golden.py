"""What released formats look like, kept as files: stores open with all that is in them,
frames of the first protocols are understood by the program of today (those of today's:
tests/unit/test_golden_frames.c). tests/golden/README.md
says how they were made.

YZMA_OLD names an older program: three nodes of it are then upgraded one by one under
load; without it that test is left out."""
import base64
import glob
import os
import socket
import struct
import tarfile
import time
import unittest

from harness import Cluster, SystemTest, Writer, until

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
OLD = os.environ.get("YZMA_OLD")
HELLO, REFUSE, CLOCK, HEARTBEAT, ROWS = 1, 2, 3, 4, 5


def frame(protocol, name):
    with open(os.path.join(GOLDEN, f"protocol-{protocol}", f"{name}.hex")) as file:
        return bytes.fromhex("".join(line.strip() for line in file if not line.startswith("#")))


class Golden(SystemTest):
    def opened(self, number):
        node = self.node(f"store-{number}")
        with tarfile.open(os.path.join(GOLDEN, f"store-{number}.tar.gz")) as archive:
            archive.extractall(node.folder)
        return node.start()

    def assert_whole(self, node):
        expected = {f"key/{i:02}": {"n": str(i), "text": "golden"} for i in range(30)}
        expected.update({"plain": "2", "large": "x" * 20000})
        held = node.everything()
        self.assertIn(held.pop("two"), ("1", "2"))
        self.assertEqual(held, expected)
        self.assertEqual(len(node.siblings("two")), 2)

    def test_stores(self):
        """Format 1 (no log; it is taken over) and format 2, each as a kill -9 left it."""
        for number in (1, 2):
            with self.subTest(format=number):
                node = self.opened(number)
                self.assert_whole(node)
                node.put("plain", 2)
                node.restart(kill=True)
                self.assert_whole(node)

    def assert_all_spaces(self, node):
        """What tests/golden/make_store.py put there, and nothing of what it removed."""
        expected = {f"key/{i:02}": {"n": str(i), "text": "golden"} for i in range(30)}
        expected.update({"plain": "2", "large": "x" * 20000, "ends": []})
        held = node.everything()
        self.assertEqual(held.pop("image"), (base64.b64encode(bytes(range(256))).decode(), "image/png"))
        self.assertIn(held.pop("two"), ("1", "2"))
        self.assertEqual(held, expected)
        self.assertEqual(len(node.siblings("two")), 2)
        ends = node.call("HEAD", "/keys/ends").headers["X-Yzma-Expires"]
        self.assertTrue(ends.startswith("2100-01-01T00:00:00"), ends)
        for path, value in (("/counters/visits", 42), ("/counters/debts", -7)):
            self.assertEqual(node.expect(200, node.call("GET", path)).data, value)
        node.expect(404, node.call("GET", "/counters/gone"))
        elements = node.expect(200, node.call("GET", "/sets/colours")).data["Elements"]
        self.assertEqual(sorted(map(str, elements)), ["blue", "red", "{'rgb': [0, 0, 255]}"])

    def test_store_with_all_spaces(self):
        """Keys with types and ends, counters, sets and deletes, in LMDB and in the log: opened,
        used, and given to a peer."""
        old = self.opened("2-spaces")
        self.assert_all_spaces(old)
        self.assertEqual(old.counters()["store_records_damaged"], 0)
        fresh = self.node("fresh").start("-j", old.gossip)
        Cluster([old, fresh]).wait_equal()
        self.assert_all_spaces(fresh)
        fresh.expect(200, fresh.call("POST", "/counters/visits", b'{"Add":1}'))
        until(lambda: old.call("GET", "/counters/visits").data == 43, 20, "counters go on")

    def test_stores_are_copied_to_peers(self):
        """What an old store holds goes to others, conflicts and deletes as well."""
        old = self.opened(1)
        fresh = self.node("fresh").start("-j", old.gossip)
        Cluster([old, fresh]).wait_equal()
        self.assert_whole(fresh)

    def read_frame(self, sock):
        head = self.read(sock, 12)
        return head[4], self.read(sock, struct.unpack(">I", head[:4])[0])

    def read(self, sock, count):
        data = b""
        while len(data) < count:
            piece = sock.recv(count - len(data))
            self.assertTrue(piece, "the node has closed")
            data += piece
        return data

    def test_protocols(self):
        """A peer that speaks as it did then: its hello is answered, its rows are stored,
        and it is sent nothing that it could not read."""
        for protocol in (1, 2):
            with self.subTest(protocol=protocol):
                node = self.node(f"protocol-{protocol}").start()
                for i in range(200):
                    node.put(f"to send/{i}", "x" * 500)
                host, port = node.replication.split(":")
                with socket.create_connection((host, int(port)), timeout=30) as sock:
                    sock.sendall(frame(protocol, "hello") + frame(protocol, "rows") + frame(protocol, "clock"))
                    until(lambda: node.value("from kronk") is not None, 20, lambda: node.log())
                    kinds, deadline = set(), time.monotonic() + 20
                    while not {HELLO, CLOCK, ROWS} <= kinds and time.monotonic() < deadline:
                        kind, _ = self.read_frame(sock)
                        kinds.add(kind)
                    self.assertNotIn(REFUSE, kinds)
                    self.assertLessEqual({HELLO, CLOCK, ROWS}, kinds)
                    sock.sendall(frame(protocol, "left"))
                self.assertEqual(node.value("from kronk"), ["1", "2"])

    def test_all_frames_have_whole_bodies(self):
        """The files are what they are taken for."""
        paths = glob.glob(os.path.join(GOLDEN, "protocol-*", "*.hex"))
        self.assertGreater(len(paths), 8)
        for path in paths:
            protocol, name = path.split(os.sep)[-2:]
            data = frame(protocol[-1], name[:-4])
            self.assertEqual(struct.unpack(">I", data[:4])[0], len(data) - 12, path)

    @unittest.skipUnless(OLD, "YZMA_OLD names no older program")
    def test_upgrade_one_by_one(self):
        """Old and new side by side, under load: nothing is lost, all agree, each time."""
        cluster = Cluster([self.node(name, binary=OLD) for name in ("pacha", "kronk", "yzma")]).start()
        writers, number = [], 0
        for node in (None, *cluster):
            if node:
                self.assertEqual(node.term(), 0)
                node.binary = os.path.abspath(os.environ.get("YZMA", "build/yzma"))
                node.start()
            load = [Writer(each, f"{number}/{each.name}") for each in cluster]
            writers += load
            number += 1
            until(lambda: all(w.count > 100 for w in load), 60, "the load goes on")
            for w in load:
                w.finish()
                self.assertEqual(w.refused, [])
            cluster.wait_formed(60)
            held = cluster.wait_equal(60)
            for w in writers:
                self.assertEqual(w.check(held), [])


if __name__ == "__main__":
    unittest.main()
