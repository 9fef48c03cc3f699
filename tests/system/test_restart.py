"""Restarts: a node finds its cluster again by itself and is who it was, wherever
it comes back; who left stays away until it joins."""
import os
import shutil
import unittest

from harness import SystemTest, linked, until


def names(node):
    return sorted(node.members())


def settle(cluster):
    """An acknowledged write: what each noted of the others before it is durable, too."""
    for node in cluster:
        node.put(f"settled/{node.name}", 1)


class WholeCluster(SystemTest):
    def test_all_stop_and_come_back(self):
        """By SIGTERM, then by kill -9; no -j at the restart. The same three members,
        no ghosts, and new writes go round."""
        cluster = self.cluster("pacha", "kronk", "yzma")
        before = names(cluster[0])
        held = {}
        for number, kill in enumerate((False, True)):
            for node in cluster:
                held[f"{number}/{node.name}"] = "before"
                node.put(f"{number}/{node.name}", "before")
            cluster.wait_equal()
            for node in cluster:
                node.kill9() if kill else self.assertEqual(node.term(), 0)
            for node in cluster:
                node.start()
            cluster.wait_formed()
            for node in cluster:
                self.assertEqual(names(node), before)
                held[f"{number}/{node.name}/after"] = "after"
                node.put(f"{number}/{node.name}/after", "after")
            self.assertEqual(cluster.wait_equal(), held)

    def test_one_after_the_other(self):
        """A rolling restart under the eyes of the others."""
        cluster = self.cluster("pacha", "kronk", "yzma")
        before = names(cluster[0])
        for node in cluster:
            node.restart()
            node.put(node.name, "back")
            cluster.wait_formed()
        self.assertEqual(cluster.wait_equal(), {node.name: "back" for node in cluster})
        self.assertEqual(names(cluster[0]), before)


class NewAddress(SystemTest):
    def test_after_kill(self):
        """Killed and back at other ports: accepted at once, as the same member."""
        pacha, kronk, yzma = cluster = self.cluster("pacha", "kronk", "yzma")
        before = names(pacha)
        settle(cluster)
        kronk.kill9()
        kronk.take_ports()
        kronk.start()
        kronk.put("from", "elsewhere")
        until(lambda: pacha.value("from") == yzma.value("from") == "elsewhere", 5, "its writes arrive at once")

        def listed():
            return all(node.members()[kronk.member_name]["Address"] == kronk.gossip
                       and node.sees(kronk) == "alive" for node in (pacha, yzma))

        until(listed, 5, "the others list it at its new address")
        self.assertEqual([names(node) for node in cluster], [before] * 3)
        cluster.wait_formed()
        pacha.put("back", 1)
        until(lambda: kronk.value("back") == "1", 10, "it hears the others")

    def test_killed_when_it_has_joined(self):
        """A first join is answered when it is on disk: killed at that moment, it finds its way
        back to an address where nobody knows it any more."""
        one, two = self.node("one").start(), self.node("two").start()
        answer = two.join(one)
        two.kill9()
        self.assertEqual(answer.status, 200, answer)
        one.kill9()
        os.unlink(one.db_path)
        shutil.rmtree(one.db_log)
        for node in (one, two):
            node.start()
        until(lambda: one.sees(two) == "alive", 10, "it has come by itself")

    def test_all_but_one_moved(self):
        """Two of three come back elsewhere; the one that stayed is what they know."""
        cluster = self.cluster("pacha", "kronk", "yzma")
        before = names(cluster[0])
        settle(cluster)
        for node in cluster.nodes[1:]:
            node.kill9()
        for node in cluster.nodes[1:]:
            node.take_ports()
            node.start()
        cluster.wait_formed()
        for node in cluster:
            node.put(node.name, 1)
        cluster.wait_equal()
        self.assertEqual([names(node) for node in cluster], [before] * 3)


class Leave(SystemTest):
    def test_leave_survives_a_restart(self):
        """Who left stays up alone, keeps its data, exchanges nothing, also after
        restarts; and joins again with all that it wrote meanwhile."""
        pacha, kronk, yzma = cluster = self.cluster("pacha", "kronk", "yzma")
        pacha.put("before", 1)
        cluster.wait_equal()
        yzma.leave()
        until(lambda: pacha.sees(yzma) == kronk.sees(yzma) == "left", 10, "the others list it as left")

        def apart(number):
            # That what pacha writes reaches kronk tells that there was time enough.
            yzma.put(f"alone/{number}", number)
            pacha.put(f"together/{number}", number)
            until(lambda: kronk.value(f"together/{number}") == str(number), 10, "those who stayed exchange")
            self.assertIsNone(yzma.value(f"together/{number}"))
            self.assertIsNone(pacha.value(f"alone/{number}"))
            self.assertEqual(linked(yzma), 0)
            self.assertEqual(yzma.value("before"), "1")

        apart(1)
        yzma.restart()
        apart(2)
        yzma.restart(kill=True)
        apart(3)
        self.assertEqual(pacha.sees(yzma), "left")

        answer = yzma.expect(200, yzma.join(pacha))
        self.assertEqual(answer.data, {"Joined": 1, "Failed": []})
        cluster.wait_formed()
        held = cluster.wait_equal()
        self.assertEqual(sorted(held), ["alone/1", "alone/2", "alone/3", "before", "together/1", "together/2",
                                        "together/3"])
        yzma.restart()
        cluster.wait_formed()

    def test_leave_alone(self):
        """A node that never met anyone leaves and joins like any other."""
        one = self.node("one").start()
        one.leave()
        other = self.node("other").start()
        other.put("k", 1)
        one.expect(200, one.join(other))
        until(lambda: one.value("k") == "1", 10, "the value arrives")


if __name__ == "__main__":
    unittest.main()
