"""A node with nothing to do takes little memory and next to no CPU."""
import time
import unittest

from harness import SANITIZED, SystemTest

RSS_MAX_KIB = 20 * 1024
LOOK_FOR = 2  # seconds
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


if __name__ == "__main__":
    unittest.main()
