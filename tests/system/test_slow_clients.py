"""Clients that are slow, silent or many on purpose: the node serves others meanwhile, and
its memory stays within what its limits allow."""
import os
import resource
import select
import socket
import time
import unittest

from harness import SANITIZED, SystemTest, until

TIMEOUT = 3  # seconds of API.RequestTimeout here
BYTE_EACH = 0.25  # seconds: TIMEOUT has some, a request would need many more than it has
SLOW = 40  # of each kind
IDLE = 10000
SPARE = 300  # descriptors of this process beside those
# What the node may need for a connection that has never said anything, or has been served
# once: the library's own, its pool of 16 KiB, and ours.
CONNECTION_KIB_MAX = 24
RSS_SLACK_KIB = 16 << 10
VALUE = 1 << 20


def take_descriptors():
    """How many this process may open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def descriptors(node):
    return len(os.listdir(f"/proc/{node.pid}/fd"))


class SlowClients(SystemTest):
    def setUp(self):
        super().setUp()
        self.socks = []
        self.addCleanup(lambda: [sock.close() for sock in self.socks])

    def started(self, **settings):
        node = self.node("node", {f"API.{name}": value for name, value in settings.items()}).start()
        node.put("k", 1)
        return node

    def connect(self, node, count=1):
        host, port = node.api_address.split(":")
        made = [socket.create_connection((host, int(port)), timeout=30) for _ in range(count)]
        self.socks += made
        return made

    def serves(self, node, rounds=20):
        """Others are served, on connections of their own, reads and writes."""
        for number in range(rounds):
            api = node.client()
            try:
                node.expect(200, api.put("other", number))
                self.assertEqual(api.get("other").data, number)
            finally:
                api.close()

    def assert_memory(self, node, before, allowed):
        if not SANITIZED:
            self.assertLess(node.anonymous_kib() - before, allowed)

    def dribble(self, node, head, body):
        """Sends a byte now and then to many connections until the node has closed each."""
        before, memory = node.counters()["api_timeouts"], node.anonymous_kib()
        left = self.connect(node, SLOW)
        for sock in left:
            sock.sendall(head)
            sock.setblocking(False)
        body, at = body * SLOW * 100, 0
        began = time.monotonic()
        while left:
            self.assertLess(time.monotonic() - began, 60, f"{len(left)} are still open")
            for sock in list(left):
                try:
                    sock.send(body[at:at + 1])
                    if select.select([sock], [], [], 0)[0] and sock.recv(4096) == b"":
                        left.remove(sock)
                except OSError:
                    left.remove(sock)
            at += 1
            self.serves(node, 1)
            time.sleep(BYTE_EACH)
        until(lambda: node.counters()["api_timeouts"] - before >= SLOW, 20, "all are counted")
        self.assert_memory(node, memory, SLOW * CONNECTION_KIB_MAX + RSS_SLACK_KIB)

    def test_slow_headers(self):
        node = self.started(RequestTimeout=f"{TIMEOUT}s")
        self.dribble(node, b"GET /keys/k HTTP/1.1\r\nHost: a\r\nX-Long: ", b"x")

    def test_slow_bodies(self):
        """Sized, and in chunks; bytes that have come count, those announced do not."""
        node = self.started(RequestTimeout=f"{TIMEOUT}s")
        head = b"PUT /keys/slow HTTP/1.1\r\nHost: a\r\n"
        self.dribble(node, head + b"Content-Length: 10000\r\n\r\n", b" ")
        self.dribble(node, head + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")
        self.assertEqual(node.get("slow").status, 404)

    def test_never_reading(self):
        """Thousands of requests for a megabyte each, and not an answer is read. What waits
        in the node is one answer a connection, until its time is over."""
        node = self.started(RequestTimeout=f"{TIMEOUT}s")
        node.put("large", b'"' + b"x" * (VALUE - 2) + b'"')
        before, memory = node.counters()["api_timeouts"], node.anonymous_kib()
        few = descriptors(node) + 2
        for sock in self.connect(node, SLOW):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(b"GET /keys/large HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        peak = 0

        def cut():
            nonlocal peak
            self.serves(node, 1)
            peak = max(peak, node.anonymous_kib())
            return descriptors(node) <= few

        until(cut, 60, "they are cut off")
        self.assertGreater(node.counters()["api_timeouts"], before)
        if not SANITIZED:
            self.assertLess(peak - memory, SLOW * (2 * VALUE // 1024) + RSS_SLACK_KIB)

    def test_ten_thousand_idle(self):
        """Silent from the start, and silent after a first request."""
        if take_descriptors() < IDLE + SPARE:
            self.skipTest(f"fewer than {IDLE + SPARE} descriptors")
        node = self.started(MaxConnections=IDLE + 100, RequestTimeout="600s")
        memory = node.anonymous_kib()
        idle = self.connect(node, IDLE // 2)
        for sock in self.connect(node, IDLE // 2):
            sock.sendall(b"GET /keys/k HTTP/1.1\r\nHost: a\r\n\r\n")
            idle.append(sock)
        for sock in idle[IDLE // 2:]:
            self.assertIn(b"200 OK", sock.recv(4096))
        until(lambda: node.counters()["api_connections"] >= IDLE, 30, "all are accepted")
        self.serves(node)
        self.assert_memory(node, memory, IDLE * CONNECTION_KIB_MAX + RSS_SLACK_KIB)
        # Each of them is still good for a request.
        for sock in idle[::500]:
            sock.sendall(b"GET /keys/k HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertIn(b"200 OK", sock.recv(4096))

    def test_more_than_descriptors(self):
        """The node runs out of descriptors for new connections: those that it has are
        served, its peers keep exchanging, and it recovers by itself."""
        node = self.node("node", {"API.RequestTimeout": f"{TIMEOUT}s", "API.Threads": 2})
        node.prefix = ["prlimit", "--nofile=120:120"]
        node.start()
        peer = self.node("peer").start("-j", node.gossip)
        until(lambda: node.sees(peer) == "alive" and peer.sees(node) == "alive", 30, "they meet")
        kept = node.client()
        node.expect(200, kept.put("kept", 0))
        cpu = node.cpu_ticks()
        began = time.monotonic()
        self.connect(node, 300)

        def full():
            return descriptors(node) >= 115

        until(full, 20, lambda: f"it is full: {descriptors(node)}")
        for number in range(1, 50):
            node.expect(200, kept.put("kept", number))
        peer.put("from peer", 1)
        until(lambda: kept.get("from peer").status == 200, 20, "the peers still exchange")
        if not SANITIZED:
            spent = (node.cpu_ticks() - cpu) / (100 * (time.monotonic() - began))
            self.assertLess(spent, 0.7, "of a core: it does not spin")
        kept.close()
        # Silent ones go when their time is over; then others get in.
        until(lambda: self.gets_in(node), 60, "it accepts again")
        self.assertEqual(peer.sees(node), "alive")

    def gets_in(self, node):
        try:
            api = type(node.client())(node.api_address, timeout=2)
            return api.put("again", 1).status == 200
        except OSError:
            return False
        finally:
            api.close()


if __name__ == "__main__":
    unittest.main()
