"""A node with nothing to do takes little memory and next to no CPU."""
import sys
import time
import unittest

from harness import SANITIZED, SystemTest

RSS_MAX_KIB = 20 * 1024
LOOK_FOR = 2  # seconds
TRAFFIC_FOR = 60  # of these, two exchanges of each node
TRAFFIC_NODES = 16
TRAFFIC_MAX = 5000  # bits per second and node, mean
TICKS_MAX = 10  # of 1/100 s: 5 % of one core


class Idle(SystemTest):
    @unittest.skipIf(SANITIZED, "a sanitizer's own memory is no measure")
    def test_memory_alone(self):
        node = self.node().start()
        node.put("k", 1)
        self.assertLess(node.rss_kib(), RSS_MAX_KIB)

    @unittest.skipIf(SANITIZED, "a sanitizer's own memory is no measure")
    def test_memory_in_a_cluster(self):
        cluster = self.cluster("pacha", "kronk", "yzma")
        cluster[0].put("k", 1)
        cluster.wait_equal()
        for node in cluster:
            self.assertLess(node.rss_kib(), RSS_MAX_KIB, node.name)

    def test_no_busy_loop(self):
        """How much a process does in a time can only be seen after that time: the one
        place that sleeps."""
        cluster = self.cluster("pacha", "kronk")
        cluster[0].put("k", 1)
        cluster.wait_equal()
        alone = self.node("alone").start()
        nodes = [*cluster, alone]
        before = [node.cpu_ticks() for node in nodes]
        time.sleep(LOOK_FOR)
        used = [node.cpu_ticks() - ticks for node, ticks in zip(nodes, before)]
        self.assertLess(max(used), TICKS_MAX, used)

    @unittest.skipIf(SANITIZED, "sixteen of them would be too slow to form a cluster in peace")
    def test_traffic(self):
        """What sixteen nodes send: payload of UDP and TCP, exchanges and replication
        included, with the profile that is the default."""
        names = [f"node{i}" for i in range(TRAFFIC_NODES)]
        cluster = self.cluster(*names, settings={"Peering.Profile": "lan"})

        def sent():
            counters = [node.counters() for node in cluster]
            return sum(c["net_datagram_bytes_sent"] + c["net_stream_bytes_sent"] for c in counters)

        before = sent()
        start = time.monotonic()
        time.sleep(TRAFFIC_FOR)
        bits = (sent() - before) * 8 / (time.monotonic() - start) / TRAFFIC_NODES
        print(f"{bits:.0f} bit/s and node", file=sys.stderr)
        self.assertLess(bits, TRAFFIC_MAX)


if __name__ == "__main__":
    unittest.main()
