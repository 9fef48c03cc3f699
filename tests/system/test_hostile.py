"""What a stranger sends to both ports, whole or in pieces, changes nothing: the
node serves, counts, and keeps its memory."""
import ctypes
import glob
import os
import random
import select
import socket
import struct
import time
import unittest

from harness import SANITIZED, SystemTest, until

HERE = os.path.dirname(os.path.abspath(__file__))
RSS_GROWTH_MAX_KIB = 8 * 1024
FRAMES_VERSION_BYTES = bytes(3)  # flags and two zeros, after the type
HELLO, ROWS, HEARTBEAT = 1, 5, 4
GIB4 = 0xFFFFFFFF


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def frame(kind, body, length=None):
    """One of replication: docs/PROTOCOL.md has the table."""
    head = bytes([kind]) + FRAMES_VERSION_BYTES
    return struct.pack(">I", len(body) if length is None else length) + head + struct.pack(
        ">I", crc32c(head + body)) + body


def vectors():
    """Packets and streams of the real memberlist."""
    found = {}
    for path in sorted(glob.glob(os.path.join(HERE, "..", "vectors", "memberlist", "*", "*.hex"))):
        with open(path) as file:
            text = "".join(line.strip() for line in file if not line.startswith("#"))
        found[os.path.basename(path)] = bytes.fromhex(text)
    assert found
    return found


def udp_buffers_of(pid):
    """SO_RCVBUF of each UDP socket of a process; nothing where that is not allowed."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    pidfd_open, pidfd_getfd = 434, 438
    process, sizes = syscall(pidfd_open, pid, 0), []
    if process < 0:
        return sizes
    for number in os.listdir(f"/proc/{pid}/fd"):
        if not os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
            continue
        copy = syscall(pidfd_getfd, process, int(number), 0)
        if copy < 0:
            continue
        with socket.socket(fileno=copy) as sock:
            if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_DGRAM:
                sizes.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
    os.close(process)
    return sizes


class Hostile(SystemTest):
    def setUp(self):
        super().setUp()
        self.pacha, self.kronk = self.cluster("pacha", "kronk")
        self.pacha.put("before", 1)
        until(lambda: self.kronk.value("before") == "1", 10, "they exchange")
        self.random = random.Random(7)

    def counted(self, prefix):
        return sum(value for name, value in self.pacha.counters().items()
                   if name.startswith(prefix) and not name.endswith(("_in", "_out", "_probes", "_exchanges")))

    def connect(self, address):
        sock = socket.create_connection(address.split(":"))
        sock.settimeout(30)
        self.addCleanup(sock.close)
        return sock

    def closed(self, sock, within=20):
        """Waits until the node has closed it."""
        def ended():
            if not select.select([sock], [], [], 0)[0]:
                return False
            try:
                return sock.recv(1 << 16) == b""
            except ConnectionResetError:
                return True
        until(ended, within, "the node closes the connection")

    def throw(self, address, data):
        """A connection of its own for it; the node may close at any byte."""
        with socket.create_connection(address.split(":")) as sock:
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def still_well(self):
        """It serves, and the two still exchange."""
        mark = self.random.randrange(1 << 30)
        self.pacha.put("after", mark)
        until(lambda: self.kronk.value("after") == str(mark), 20, "they still exchange")
        self.assertEqual(self.pacha.sees(self.kronk), "alive")
        self.assertEqual(self.kronk.sees(self.pacha), "alive")

    def test_datagrams(self):
        """Random bytes, prefixes and flipped bits of real packets, the largest there are."""
        before = self.counted("swim_")
        host, port = self.pacha.gossip.split(":")
        packets = [self.random.randbytes(self.random.randrange(1500)) for _ in range(1000)]
        packets += [bytes([kind]) + self.random.randbytes(40) for kind in range(256)]
        for data in vectors().values():
            packets += [data[:self.random.randrange(len(data))] for _ in range(5)]
            flipped = bytearray(data)
            flipped[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
            packets.append(bytes(flipped))
        packets += [self.random.randbytes(65000), b""]
        rss = None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for round_number in range(6):
                for i, packet in enumerate(packets):
                    sock.sendto(packet[:65000], (host, int(port)))
                    if i % 100 == 0:
                        self.pacha.status()  # it keeps up
                if round_number == 0:
                    rss = self.pacha.rss_kib()
        self.still_well()
        self.assertGreater(self.counted("swim_"), before + 500)
        self.grew_little(rss)

    def grew_little(self, rss_before):
        if not SANITIZED:
            self.assertLess(self.pacha.rss_kib() - rss_before, RSS_GROWTH_MAX_KIB)

    def test_a_burst_has_room(self):
        """The kernel keeps 2 MiB of datagrams, or what it may, while the node is at something else."""
        node = self.node().start()
        sizes = udp_buffers_of(node.pid)
        if not sizes or not os.path.exists("/proc/sys/net/core/rmem_max"):
            self.skipTest("its sockets cannot be looked at from here")
        with open("/proc/sys/net/core/rmem_max") as file:
            granted = 2 * min(int(file.read()), 2 << 20)  # the kernel counts its own part, too
        self.assertEqual(sizes, [granted])

    def test_streams_of_gossip(self):
        """The same over TCP: garbage, cut and flipped streams, lengths that lie."""
        before = self.counted("swim_stream")
        streams = [self.random.randbytes(self.random.randrange(1, 3000)) for _ in range(50)]
        for name, data in vectors().items():
            if "request" in name or "stream" in name:
                streams += [data[:self.random.randrange(1, len(data))] for _ in range(3)]
                flipped = bytearray(data)
                flipped[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
                streams.append(bytes(flipped))
        push_pull = 6
        header = b"\x83\xa5Nodes\xce\xff\xff\xff\xff\xacUserStateLen\xce\x7f\xff\xff\xff\xa4Join\xc2"
        streams.append(bytes([push_pull]) + header + b"x" * 5000)
        compressed = 9
        streams.append(bytes([compressed]) + b"\x82\xa4Algo\x00\xa3Buf\xdb\xff\xff\xff\xff" + b"x" * 5000)
        rss = None
        for round_number in range(4):
            for data in streams:
                self.throw(self.pacha.gossip, data)
            if round_number == 0:
                until(lambda: self.counted("swim_stream") > before, 20, "they are counted")
                rss = self.pacha.rss_kib()
        until(lambda: self.counted("swim_stream") > before + 100, 30, "they are counted")
        self.still_well()
        self.grew_little(rss)

    def test_frames(self):
        """Replication: what cannot be a hello closes the connection, whatever its
        header claims; nothing is allocated on its word."""
        before = self.counted("sync_")
        rss = self.pacha.rss_kib()
        frames = [
            frame(HELLO, b"", length=GIB4),
            frame(HELLO, b"x" * 1000, length=GIB4),
            frame(HELLO, b"not what a hello looks like"),
            frame(HELLO, b"YZMA" + bytes(40)),
            frame(HELLO, b"YZMA" + b"\xff" * 400),
            frame(ROWS, b"rows before the hello"),
            frame(HEARTBEAT, b""),
            frame(200, b"no such type"),
            frame(HELLO, b"YZMA")[:-1] + b"?",  # the checksum is wrong
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(512),
            *(self.random.randbytes(self.random.randrange(16, 4000)) for _ in range(50)),
        ]
        for data in frames:
            sock = self.connect(self.pacha.replication)
            try:
                sock.sendall(data)
            except OSError:
                pass  # it was closed in the midst
            self.closed(sock)
        self.assertGreater(self.counted("sync_"), before)
        self.still_well()
        self.grew_little(rss)

    def test_half_a_frame(self):
        """Headers and bodies that end in the middle, with the connection's end behind
        them or with silence: those that are silent are closed."""
        whole = frame(HELLO, b"YZMA" + bytes(60))
        for cut in range(0, len(whole), 5):
            self.throw(self.pacha.replication, whole[:cut])
        silent = [self.connect(address) for address in (self.pacha.replication, self.pacha.gossip) for _ in range(30)]
        for i, sock in enumerate(silent):
            sock.sendall(whole[:i % 20])
        self.still_well()
        for sock in silent:
            self.closed(sock, within=30)
        self.still_well()

    def test_a_byte_at_a_time(self):
        """Who dribbles is cut off by the whole time it takes, on both ports, and others
        are served meanwhile."""
        for address, data in ((self.pacha.replication, frame(HELLO, bytes(100000))),
                              (self.pacha.gossip, bytes([6]) + bytes(100000))):
            sock = self.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            dribble = iter(data)

            def ended():
                try:
                    sock.sendall(bytes([next(dribble)]))
                    return bool(select.select([sock], [], [], 0)[0]) and sock.recv(4096) == b""
                except OSError:
                    return True

            started = time.monotonic()
            until(ended, 30, f"{address} closes")
            self.still_well()
            self.assertLess(time.monotonic() - started, 60)

    def test_many_silent_connections(self):
        """Hundreds that never speak, on all three ports: they do not keep a new member out
        for long, nor clients."""
        socks = [self.connect(address) for address in (self.pacha.replication, self.pacha.gossip,
                                                       self.pacha.api_address) for _ in range(150)]
        yzma = self.node("yzma").start("-j", self.pacha.gossip)
        until(lambda: yzma.value("before") == "1", 30, "a new member gets the data")
        self.still_well()
        for sock in socks:
            sock.close()
        self.still_well()


if __name__ == "__main__":
    unittest.main()
