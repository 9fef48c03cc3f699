"""A firewall that lets TCP through and not UDP: the node stays a member, data flows,
and both ends say which way is blocked. Runs in a network namespace of its own, with
nftables; left out where there is neither."""
import os
import shutil
import subprocess
import sys
import unittest

from harness import SystemTest, until

INSIDE = "YZMA_TEST_NAMESPACE"


def namespace():
    """The command that makes one, or None."""
    for command in (["unshare", "-n"], ["unshare", "-r", "-n"]):
        script = "ip link set lo up && nft add table inet probe"
        try:
            made = subprocess.run([*command, "sh", "-c", script], capture_output=True, timeout=20)
        except OSError:
            continue
        if made.returncode == 0:
            return command
    return None


def nft(rules):
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def port(node):
    return node.gossip.rsplit(":", 1)[1]


@unittest.skipUnless(os.environ.get(INSIDE), "no network namespace with nftables")
class UdpBlocked(SystemTest):
    def setUp(self):
        super().setUp()
        nft("add table inet wall\n"
            "add chain inet wall arrives { type filter hook input priority 0; }\n"
            "flush chain inet wall arrives\n")
        self.addCleanup(nft, "flush chain inet wall arrives\n")

    def block(self, *matches):
        nft("".join(f"add rule inet wall arrives udp {match} drop\n" for match in matches))

    def blocked(self, node, other):
        """What the node says of UDP with the other."""
        return next(m["UDPBlocked"] for name, m in node.members().items() if name.startswith(other.name + "-"))

    def wait_blocked(self, expected, *pairs):
        def seen():
            return [self.blocked(node, other) for node, other in pairs]

        until(lambda: seen() == expected, 60, lambda: f"{expected}, not {seen()}")

    def assert_quiet(self, cluster):
        """Nobody was suspected, and data flows."""
        for node in cluster:
            self.assertEqual([node.sees(other) for other in cluster], ["alive"] * len(cluster))
            self.assertNotIn("event=member_suspect", node.log())
        cluster[0].put("k", 1)
        cluster.wait_equal()

    def test_one_way(self):
        """What is sent to kronk does not arrive; what it sends does."""
        pacha, kronk, yzma = cluster = self.cluster("pacha", "kronk", "yzma")
        self.block(f"dport {port(kronk)}")
        self.wait_blocked(["to", "to", "from", "from"], (pacha, kronk), (yzma, kronk), (kronk, pacha), (kronk, yzma))
        self.assert_quiet(cluster)
        pacha.wait_log(f'cause="UDP to {kronk.member_name} blocked"')
        kronk.wait_log(f'cause="UDP from {pacha.member_name} blocked"')

        nft("flush chain inet wall arrives\n")
        self.wait_blocked(["", ""], (pacha, kronk), (kronk, pacha))
        pacha.wait_log("event=udp_open")

    def test_both_ways(self):
        """A node without UDP joins, stays and is heard of by TCP alone."""
        pacha, kronk = cluster = self.cluster("pacha", "kronk")
        self.block(f"dport {port(kronk)}", f"sport {port(kronk)}")
        self.wait_blocked(["from", "from"], (pacha, kronk), (kronk, pacha))
        self.assert_quiet(cluster)
        yzma = self.node("yzma").start("-j", kronk.gossip)
        until(lambda: pacha.sees(yzma) == "alive", 60, "the new node is heard of")
        self.assertEqual(kronk.sees(yzma), "alive")


if __name__ == "__main__":
    if not os.environ.get(INSIDE) and shutil.which("nft") and shutil.which("unshare"):
        command = namespace()
        if command:
            os.environ[INSIDE] = "1"
            os.execvp(command[0], [*command, "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
                                   sys.executable, *sys.argv])
    unittest.main()
