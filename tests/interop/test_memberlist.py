"""Our nodes and the real memberlist in one cluster: each joins, lists, misses and
lets go the other as it does its own kind."""
import base64
import json
import os
import subprocess
import sys
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))
from harness import HOST, SystemTest, free_ports, linked, until  # noqa: E402

KEY16, KEY24, KEY32 = (base64.b64encode(bytes(range(n))).decode() for n in (16, 24, 32))
PEER = os.path.abspath(os.environ.get("PEER", "build/interop/peer"))


HAS_LABELS = "-label" in subprocess.run([PEER, "-help"], capture_output=True, text=True).stderr


class Peer:
    """A memberlist node in a process of its own."""

    def __init__(self, name, *flags, address=None):
        self.name = name
        self.address = address or f"{HOST}:{free_ports(1)}"
        self.events = []
        host, port = self.address.split(":")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", PEER, "-name", name, "-bind", host, "-port", port, "-profile", "local",
             "-log", *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        until(lambda: self.said("ready"), 10, f"{name} is ready")

    def read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def said(self, event, since=0):
        return [e for e in self.events[since:] if e["ev"] == event]

    def log(self):
        return [e["line"] for e in self.said("log")]

    def command(self, line):
        self.process.stdin.write(line + "\n")

    def members(self):
        """Name -> what it says of each that it takes for alive."""
        since = len(self.events)
        self.command("members")
        found = until(lambda: self.said("members", since), 5, "it lists its members")
        return {m["name"]: m for m in found[0]["members"]}

    def lists(self, node):
        return any(name.startswith(node.name + "-") for name in self.members())

    def done(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()


class Memberlist(SystemTest):
    def peer(self, name="real", *flags):
        peer = Peer(name, *flags)
        self.addCleanup(peer.done)
        return peer

    def peer_at(self, name, address, *flags):
        peer = Peer(name, *flags, address=address)
        self.addCleanup(peer.done)
        return peer

    def sees(self, node, peer):
        member = node.members().get(peer.name)
        return member and member["Status"]

    def wait_both(self, node, peer):
        until(lambda: self.sees(node, peer) == "alive" and peer.lists(node), 15,
              lambda: f"both list both: {node.members()}, {peer.members()}, {peer.log()[-5:]}")

    def pair(self, *flags):
        """Ours, and theirs joined to it."""
        ours = self.node("ours").start()
        real = self.peer("real", "-join", ours.gossip, *flags)
        self.wait_both(ours, real)
        return ours, real

    # ---- joining ---------------------------------------------------------------

    def test_theirs_joins_ours(self):
        ours, real = self.pair()
        self.assertEqual(ours.members()["real"]["Address"], real.address)
        ((name, seen),) = ((n, m) for n, m in real.members().items() if n != "real")
        self.assertEqual((name, seen["addr"]), (ours.member_name, ours.gossip))
        self.assertEqual(json.loads(seen["meta"])["APIIngress"], ours.replication)

    def test_ours_joins_theirs(self):
        real = self.peer()
        ours = self.node("ours").start("-j", real.address)
        self.wait_both(ours, real)

    def test_join_by_call(self):
        real = self.peer()
        ours = self.node("ours").start()
        self.assertEqual(ours.expect(200, ours.join(real.address)).data["Joined"], 1)
        self.wait_both(ours, real)

    def test_every_protocol_version(self):
        """Versions 1 to 5, compressed and not."""
        ours = self.node("ours").start()
        for version in range(1, 6):
            for compress in ("true", "false"):
                with self.subTest(version=version, compress=compress):
                    real = self.peer(f"real-{version}-{compress}", "-protocol", str(version),
                                     f"-compress={compress}", "-join", ours.gossip)
                    self.wait_both(ours, real)

    def test_no_replica(self):
        """A real memberlist is a member and no replica; ours beside it still exchange,
        also when they meet only through it."""
        real = self.peer()
        one = self.node("one").start("-j", real.address)
        two = self.node("two").start("-j", real.address)
        until(lambda: one.sees(two) == "alive" and linked(one) == 1, 15, "ours meet through theirs")
        one.put("k", "v")
        until(lambda: two.value("k") == "v", 10, "the value arrives")
        self.wait_both(two, real)
        self.assertEqual(len(one.status()["Links"]), 1)

    # ---- sealed ------------------------------------------------------------------

    def test_sealed(self):
        """Keys of each size; versions 1 (which pads) to 5, compressed and not; packets and
        streams of both kinds, and pings by stream."""
        for key in (KEY16, KEY24, KEY32):
            ours = self.node(f"ours-{len(key)}", {"Peering.Keys": [key]}).start()
            for version in (1, 2, 5):
                for compress in ("true", "false"):
                    with self.subTest(key=len(key), version=version, compress=compress):
                        real = self.peer(f"real-{len(key)}-{version}-{compress}", "-key", key, "-protocol", str(version),
                                         f"-compress={compress}", "-join", ours.gossip)
                        self.wait_both(ours, real)
                        self.clean(ours, real)

    def clean(self, ours, *peers):
        """Neither had anything to complain about."""
        counters = ours.counters()
        for name in ("swim_packets_wrong_key", "swim_packets_unsealed", "swim_packets_encrypted", "swim_packets_labelled",
                     "swim_streams_wrong_key", "swim_streams_unsealed", "swim_streams_malformed",
                     "swim_messages_malformed", "swim_packets_bad_crc"):
            self.assertEqual(counters[name], 0, name)
        for real in peers:
            self.assertFalse([line for line in real.log() if "[ERR]" in line])

    def test_ours_speaks_every_version(self):
        """Ours at 1 to 5, sealed: of version 1 it pads."""
        for version in range(1, 6):
            with self.subTest(version=version):
                ours = self.node(f"ours-{version}", {"Peering.Keys": [KEY16], "Peering.ProtocolVersion": version}).start()
                if version == 1:  # clusters of version 1 have one port
                    port = ours.gossip.rsplit(":", 1)[1]
                    host = "127.%d.%d.250" % (os.getpid() >> 8 & 0xFF, os.getpid() & 0xFF)
                    real = self.peer_at(f"real-{version}", f"{host}:{port}", "-key", KEY16, "-protocol", "1", "-join",
                                        ours.gossip)
                else:
                    real = self.peer(f"real-{version}", "-key", KEY16, "-join", ours.gossip)
                self.wait_both(ours, real)
                self.clean(ours, real)

    def test_three_and_three(self):
        """Three of each, sealed, some of each joined by the other kind; one of each is killed,
        and all others notice."""
        ours = [self.node(f"ours{i}", {"Peering.Keys": [KEY16]}) for i in range(3)]
        ours[0].start()
        theirs = [self.peer("real0", "-key", KEY16, "-join", ours[0].gossip)]
        ours[1].start("-j", theirs[0].address)
        ours[2].start("-j", ours[1].gossip)
        theirs += [self.peer("real1", "-key", KEY16, "-join", theirs[0].address),
                   self.peer("real2", "-key", KEY16, "-join", ours[2].gossip)]
        for node in ours:
            for real in theirs:
                self.wait_both(node, real)
        ours[2].kill9()
        theirs[2].process.kill()
        until(lambda: not any(real.lists(ours[2]) for real in theirs[:2]), 40, "theirs miss ours")
        until(lambda: all(self.sees(node, theirs[2]) == "dead" for node in ours[:2]), 40, "ours miss theirs")
        for node in ours[:2]:
            for real in theirs[:2]:
                self.wait_both(node, real)
        self.clean(ours[0], *theirs[:1])

    def test_another_key_is_refused(self):
        """Both ways, and each side says why."""
        ours = self.node("ours", {"Peering.Keys": [KEY16]}).start()
        real = self.peer("real", "-key", KEY32)
        plain = self.peer("plain")
        for peer, why in ((real, "decrypt"), (plain, "encrypt")):
            answer = ours.join(peer.address)
            self.assertEqual(answer.status, 502)
            self.assertIn(why, answer.data["Failed"][0]["Error"])
            since = len(peer.events)
            peer.command(f"join {ours.gossip}")
            until(lambda: peer.said("joined", since), 15, "it has tried")
            self.assertIn("crypt", peer.said("joined", since)[0]["error"])
        self.assertEqual(len(ours.members()), 1)
        self.assertIn("event=peer_refused", ours.log())

    def test_key_change(self):
        """Theirs is moved by hand, ours by call; both understand each other at each step."""
        ours = self.node("ours", {"Peering.Keys": [KEY16]}).start()
        real = self.peer("real", "-key", f"{KEY16},{KEY32}", "-join", ours.gossip)
        self.wait_both(ours, real)
        body = json.dumps({"Key": KEY32})
        answer = ours.expect(200, ours.call("POST", "/cluster/keys/install", body))
        self.assertEqual(answer.data["Foreign"], ["real"])
        new, old = answer.data["Key"], answer.data["Keys"][0]["Key"]
        self.assertEqual(ours.call("POST", "/cluster/keys/use", json.dumps({"Key": new})).status, 409)
        ours.expect(200, ours.call("POST", "/cluster/keys/use", json.dumps({"Key": new, "Force": True})))
        before = ours.counters()["swim_exchanges"]
        real.command(f"join {ours.gossip}")  # still under the old one
        until(lambda: ours.counters()["swim_exchanges"] > before, 10, "they exchange")
        self.wait_both(ours, real)
        real.command(f"usekey {KEY32}")
        real.command(f"join {ours.gossip}")
        ours.expect(200, ours.call("POST", "/cluster/keys/remove", json.dumps({"Key": old, "Force": True})))
        before = ours.counters()["swim_exchanges"]
        real.command(f"join {ours.gossip}")
        until(lambda: ours.counters()["swim_exchanges"] > before, 10, "they exchange")
        self.wait_both(ours, real)
        self.clean(ours)

    def test_delegate_version(self):
        """What an application of memberlist asks of its members, as serf does."""
        ours = self.node("ours", {"Peering.DelegateVersion": "2,5,5"}).start()
        real = self.peer("real", "-delegate", "2,5,5", "-join", ours.gossip)
        self.wait_both(ours, real)
        stranger = self.peer("stranger")
        answer = ours.join(stranger.address)
        self.assertEqual(answer.status, 502)

    @unittest.skipUnless(HAS_LABELS, "this memberlist knows no labels")
    def test_labels(self):
        for key in ([], [KEY16]):
            with self.subTest(sealed=bool(key)):
                more = ["-key", key[0]] if key else []
                ours = self.node(f"ours{len(key)}", {"Peering.Label": "lab1", "Peering.Keys": key}).start()
                real = self.peer(f"real{len(key)}", "-label", "lab1", *more, "-join", ours.gossip)
                self.wait_both(ours, real)
                other = self.peer(f"other{len(key)}", "-label", "lab2", *more)
                self.assertEqual(ours.join(other.address).status, 502)
                self.clean(ours, real)

    # ---- going -----------------------------------------------------------------

    def test_ours_is_killed(self):
        """Theirs notices, as it notices its own kind."""
        ours, real = self.pair()
        ours.kill9()
        until(lambda: not real.lists(ours), 30, "theirs misses ours")
        self.assertTrue([line for line in real.log() if "Marking" in line and "failed" in line])

    def test_theirs_is_killed(self):
        """Ours suspects, then buries it."""
        ours, real = self.pair()
        real.process.kill()
        until(lambda: self.sees(ours, real) == "dead", 30, lambda: f"it is dead: {ours.members()}")

    def test_ours_stops(self):
        """SIGTERM is a leave: no suspicion. And it is taken back."""
        ours, real = self.pair()
        self.assertEqual(ours.term(), 0)
        until(lambda: not real.lists(ours), 5, "theirs lets it go")
        self.assertFalse([line for line in real.log() if "Suspect" in line or "Marking" in line])
        ours.start()
        self.wait_both(ours, real)

    def test_ours_leaves(self):
        """POST /cluster/leave, too; and joins again."""
        ours, real = self.pair()
        ours.leave()
        until(lambda: not real.lists(ours), 5, "theirs lets it go")
        self.assertFalse([line for line in real.log() if "Marking" in line])
        ours.expect(200, ours.join(real.address))
        self.wait_both(ours, real)

    def test_theirs_leaves(self):
        ours, real = self.pair()
        real.command("leave")
        until(lambda: self.sees(ours, real) == "left", 10, lambda: f"it has left: {ours.members()}")

    def test_ours_comes_back_after_kill(self):
        """It learns that it is thought dead, and says otherwise."""
        ours, real = self.pair()
        name = ours.member_name
        ours.kill9()
        until(lambda: not real.lists(ours), 30, "theirs misses ours")
        ours.start()
        self.wait_both(ours, real)
        self.assertIn(name, real.members())

    # ---- staying ---------------------------------------------------------------

    def test_compressed_states(self):
        """Push/pulls with a large user state, which go compressed."""
        ours, real = self.pair()
        real.command("statesize 30000")
        before = ours.counters()["swim_exchanges"]
        real.command(f"join {ours.gossip}")
        until(lambda: ours.counters()["swim_exchanges"] > before, 10, "they exchange their states")
        self.wait_both(ours, real)
        counters = ours.counters()
        self.assertEqual((counters["swim_streams_malformed"], counters["swim_compressions_bad"]), (0, 0))

    def test_tcp_fallback(self):
        """Theirs gets no UDP any more: both keep each other alive by TCP pings."""
        ours, real = self.pair()
        before = ours.counters()["swim_probes_saved_by_tcp"]
        real.command("drop udp")
        until(lambda: ours.counters()["swim_probes_saved_by_tcp"] >= before + 3, 30, "TCP pings save it")
        self.assertEqual(self.sees(ours, real), "alive")
        self.assertTrue(real.lists(ours))
        real.command("drop none")
        self.wait_both(ours, real)

    def test_cut_off_and_back(self):
        """Theirs is cut off until it is dead, and then is back: both list both again."""
        ours, real = self.pair()
        real.command("drop all")
        until(lambda: self.sees(ours, real) == "dead" and not real.lists(ours), 40, "each takes the other for dead")
        real.command("drop none")
        until(lambda: self.sees(ours, real) == "alive" and real.lists(ours), 60, "they find each other again")

    def test_ping(self):
        """Theirs asks ours by UDP, and gets its answer."""
        ours, real = self.pair()
        real.command(f"ping {ours.member_name}")
        until(lambda: real.said("pong"), 10, lambda: f"a pong: {real.said('error')}")

    def test_user_messages(self):
        """What applications of memberlist say to each other: ignored, counted."""
        ours, real = self.pair()
        before = ours.counters()["swim_user_messages_ignored"]
        real.command("broadcast hello")
        real.command(f"send {ours.member_name} hello by stream")
        until(lambda: ours.counters()["swim_user_messages_ignored"] > before, 10, "it is counted")
        self.wait_both(ours, real)

    def test_new_meta(self):
        """Theirs changes what it says of itself: taken, and nobody leaves."""
        ours, real = self.pair()
        before = ours.members()["real"]["Incarnation"]
        real.command("meta something else")
        until(lambda: ours.members()["real"]["Incarnation"] > before, 10, "the news arrives")
        self.assertEqual(self.sees(ours, real), "alive")


if __name__ == "__main__":
    unittest.main()
