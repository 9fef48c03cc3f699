"""Two nodes that know each other by IPv6 alone, and names that have an address of each kind."""
import os
import shlex
import socket
import subprocess
import unittest

from harness import HOST, SystemTest, linked, until


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


def free_port_v6(address="::1"):
    """Two in a row, for gossip and replication, free for TCP and UDP there; at "::" all
    addresses are meant, those of IPv4 too."""
    for port in range(21000 + os.getpid() % 4000 * 2, 32000, 2):
        socks = []
        try:
            for at in (port, port + 1):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    socks.append(socket.socket(socket.AF_INET6, kind))
                    socks[-1].bind((address, at))
            return port
        except OSError:
            continue
        finally:
            for sock in socks:
                sock.close()
    raise AssertionError("no free port at ::1")


def with_hosts(lines, folder):
    """The prefix that gives a program names of its own; None where that cannot be done."""
    path = os.path.join(folder, "hosts")
    with open(path, "w") as file:
        file.write(lines)
    script = f'mount --bind {shlex.quote(path)} /etc/hosts && exec "$@"'
    for command in (["unshare", "-m"], ["unshare", "-r", "-m"]):
        prefix = [*command, "sh", "-c", script, "sh"]
        try:
            if subprocess.run([*prefix, "true"], capture_output=True, timeout=20).returncode == 0:
                return prefix
        except OSError:
            continue
    return None


@unittest.skipUnless(has_ipv6(), "no IPv6 here")
class IPv6(SystemTest):
    def node_v6(self, name, settings=None):
        port = free_port_v6()
        node = self.node(name, {"Peering.BindAddr": "::1", "Peering.AdvertiseAddress": "::1",
                                "Peering.BindPort": port, **(settings or {})})
        node.gossip, node.replication = f"[::1]:{port}", f"[::1]:{port + 1}"
        return node

    def formed(self, one, two):
        until(lambda: one.sees(two) == "alive" and two.sees(one) == "alive" and linked(one) == linked(two) == 1, 15,
              lambda: f"both list both: {one.members()}, {two.members()}")

    def test_pair(self):
        """Join, write and read, probe, miss, return."""
        one = self.node_v6("one").start()
        two = self.node_v6("two").start("-j", one.gossip)
        self.formed(one, two)
        member = one.members()[two.member_name]
        self.assertEqual((member["Address"], member["APIIngress"]), (two.gossip, two.replication))
        one.put("k", "v")
        until(lambda: two.value("k") == "v", 10, "the value arrives")
        until(lambda: (one.members()[two.member_name]["RoundTripMs"] or 0) > 0, 15, "a ping was timed")
        two.kill9()
        until(lambda: one.sees(two) == "dead", 30, lambda: f"it is dead: {one.members()}")
        one.put("k", "w")
        two.start()  # without -j: it remembers
        self.formed(one, two)
        until(lambda: two.value("k") == "w", 10, "it catches up")

    def test_join_by_call(self):
        """Addresses as people write them, and as nobody can read them."""
        one, two = self.node_v6("one").start(), self.node_v6("two").start()
        for wrong in ("::1", "[::1", f"::1:{one.gossip.rsplit(':', 1)[1]}"):
            answer = two.join(wrong)
            self.assertEqual((wrong, answer.status), (wrong, 502))
            self.assertIn("host:port", answer.data["Failed"][0]["Error"])
        self.assertEqual(two.expect(200, two.join(one.gossip)).data["Joined"], 1)
        self.formed(one, two)

    def test_name_of_both_kinds(self):
        """A name with an A and an AAAA record: each address is tried, whichever answers."""
        prefix = with_hosts("::1 both.test\n" f"{HOST} both.test\n127.0.0.1 localhost\n", self.folder)
        if not prefix:
            self.skipTest("no mount namespace")
        four, six = self.node("four").start(), self.node_v6("six").start()
        for target in (four, six):
            with self.subTest(target=target.name):
                port = target.gossip.rsplit(":", 1)[1]
                # speaks both: bound to all, and known by the kind of address that the other can reach
                free = free_port_v6("::")
                node = self.node("by-name-" + target.name, {
                    "Peering.BindAddr": "::", "Peering.BindPort": free,
                    "Peering.AdvertiseAddress": HOST if target is four else "::1"})
                node.gossip, node.replication = f"{HOST}:{free}", f"{HOST}:{free + 1}"
                node.write_config()
                node.launch(["-c", node.config_path, "-j", f"both.test:{port}"], prefix)
                until(node.is_healthy, 15, "it answers")
                self.formed(node, target)


if __name__ == "__main__":
    unittest.main()
