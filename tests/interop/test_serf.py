"""Our nodes beside Debian's serf agent: a member among its members, where
Peering.DelegateVersion says what serf asks of them. What serf tells its own kind by
user messages and states is ignored here, and counted."""
import base64
import json
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))
from harness import HOST, SystemTest, free_ports, linked, start_process, tail, until  # noqa: E402

DELEGATE = "2,5,5"  # what serf 0.9.4 announces: it understands 2 to 5 and speaks 5
KEYS = [base64.b64encode(bytes(range(n))).decode() for n in (16, 24, 32)]


class Serf:
    """An agent in a process of its own."""

    def __init__(self, name, folder, *flags):
        self.name, self.flags = name, flags
        port = free_ports(2)
        self.address, self.rpc = f"{HOST}:{port}", f"{HOST}:{port + 1}"
        self.log_path = os.path.join(folder, f"{name}.log")
        self.folder, self.process = folder, None

    def start(self, *flags):
        with open(self.log_path, "ab") as log:
            self.process = start_process(
                ["serf", "agent", f"-node={self.name}", f"-bind={self.address}", f"-rpc-addr={self.rpc}",
                 "-profile=local", "-log-level=debug", *self.flags, *flags], log, self.folder)
        until(lambda: self.run("info").returncode == 0, 15, f"{self.name} answers")
        return self

    def run(self, command, *args):
        return subprocess.run(["serf", command, f"-rpc-addr={self.rpc}", *args], capture_output=True, text=True,
                              timeout=30)

    def status(self, node):
        """How it lists a node of ours; None for not at all."""
        answer = self.run("members", "-format=json")
        for member in json.loads(answer.stdout)["members"] if answer.returncode == 0 else []:
            if member["name"].startswith(node.name + "-"):
                return member["status"]
        return None

    def log(self):
        return tail(self.log_path, lines=None)

    def done(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()


class BesideSerf(SystemTest):
    def serf(self, name="serf", *flags):
        serf = Serf(name, self.folder, *flags)
        self.addCleanup(serf.done)
        return serf

    def ours(self, name="ours", **more):
        return self.node(name, {"Peering.DelegateVersion": DELEGATE, **more})

    def sees(self, node, serf):
        member = node.members().get(serf.name)
        return member and member["Status"]

    def wait_both(self, node, serf):
        until(lambda: self.sees(node, serf) == "alive" and serf.status(node) == "alive", 20,
              lambda: f"both list both: {node.members()}, {serf.run('members').stdout}")

    def pair(self):
        ours = self.ours().start()
        serf = self.serf().start(f"-join={ours.gossip}")
        self.wait_both(ours, serf)
        return ours, serf

    def assert_clean(self, ours):
        counters = ours.counters()
        for name in ("swim_messages_malformed", "swim_messages_unknown_type", "swim_packets_bad_crc",
                     "swim_streams_malformed", "swim_streams_unknown_type", "swim_exchanges_incompatible",
                     "swim_packets_wrong_key", "swim_packets_unsealed", "swim_streams_wrong_key"):
            self.assertEqual((name, counters[name]), (name, 0))

    # ---- joining -----------------------------------------------------------------

    def test_theirs_joins_ours(self):
        ours, serf = self.pair()
        member = ours.members()["serf"]
        self.assertEqual((member["Address"], member["DelegateProtocol"]), (serf.address, "2-5/5"))
        self.assertIsNone(member["Replication"])
        self.assert_clean(ours)

    def test_ours_joins_theirs(self):
        """By -j and by call; and ours meet through it, and exchange."""
        serf = self.serf().start()
        one = self.ours("one").start("-j", serf.address)
        two = self.ours("two").start()
        self.assertEqual(two.expect(200, two.join(serf.address)).data["Joined"], 1)
        until(lambda: one.sees(two) == "alive" and linked(one) == 1, 15, "ours meet through theirs")
        one.put("k", "v")
        until(lambda: two.value("k") == "v", 10, "the value arrives")
        for node in (one, two):
            self.wait_both(node, serf)
            self.assertEqual(len(node.status()["Links"]), 1)

    def test_without_its_versions(self):
        """Refused at both ends, with the same reason."""
        plain = self.node("plain").start()
        serf = self.serf().start()
        answer = plain.join(serf.address)
        self.assertEqual(answer.status, 502)
        self.assertIn("speaks delegate version", answer.data["Failed"][0]["Error"])
        self.assertIn("reason=\"incompatible versions: ", plain.log())
        until(lambda: "delegate protocol version" in serf.log() and "incompatible" in serf.log(), 10, "serf says why")
        self.assertNotEqual(serf.run("join", plain.gossip).returncode, 0)
        until(lambda: "event=peer_refused" in plain.log(), 10, "ours says why")
        self.assertEqual(len(plain.members()), 1)

    def test_sealed(self):
        """serf agent -encrypt, with keys of each size."""
        for key in KEYS:
            with self.subTest(key=len(key)):
                ours = self.ours(f"ours{len(key)}", **{"Peering.Keys": [key]}).start()
                serf = self.serf(f"serf{len(key)}", f"-encrypt={key}").start(f"-join={ours.gossip}")
                self.wait_both(ours, serf)
                self.assert_clean(ours)

    # ---- going -------------------------------------------------------------------

    def test_ours_is_killed(self):
        """Found failed, and alive again when it is back."""
        ours, serf = self.pair()
        ours.kill9()
        until(lambda: serf.status(ours) == "failed", 30, lambda: f"serf misses it: {serf.run('members').stdout}")
        ours.start()
        self.wait_both(ours, serf)

    def test_theirs_is_killed(self):
        ours, serf = self.pair()
        serf.process.kill()
        until(lambda: self.sees(ours, serf) == "dead", 30, lambda: f"it is dead: {ours.members()}")
        serf.process.wait()
        serf.start(f"-join={ours.gossip}")
        self.wait_both(ours, serf)

    def test_theirs_leaves(self):
        ours, serf = self.pair()
        self.assertEqual(serf.run("leave").returncode, 0)
        until(lambda: self.sees(ours, serf) == "left", 15, lambda: f"it has left: {ours.members()}")
        self.assertNotIn("event=member_suspect", ours.log())

    def test_ours_leaves(self):
        """serf calls those failed that go without its own message; it does not suspect them."""
        ours, serf = self.pair()
        ours.leave()
        until(lambda: serf.status(ours) in ("failed", "left"), 10, "serf lets it go")
        self.assertNotIn("Suspect", serf.log())
        ours.expect(200, ours.join(serf.address))
        self.wait_both(ours, serf)

    def test_two_and_two(self):
        """One of each is killed, and the others notice; those stay."""
        ours = [self.ours(f"ours{i}") for i in range(2)]
        theirs = [self.serf(f"serf{i}") for i in range(2)]
        ours[0].start()
        theirs[0].start(f"-join={ours[0].gossip}")
        theirs[1].start(f"-join={theirs[0].address}")
        ours[1].start("-j", theirs[1].address)
        for node in ours:
            for serf in theirs:
                self.wait_both(node, serf)
        ours[1].kill9()
        theirs[1].process.kill()
        until(lambda: theirs[0].status(ours[1]) == "failed", 40, "theirs misses ours")
        until(lambda: self.sees(ours[0], theirs[1]) == "dead", 40, "ours misses theirs")
        self.wait_both(ours[0], theirs[0])

    # ---- staying -----------------------------------------------------------------

    def test_events_and_queries(self):
        """serf's own messages, by datagram and as the state of exchanges: ignored, counted."""
        ours, serf = self.pair()
        before = ours.counters()["swim_user_messages_ignored"]
        self.assertEqual(serf.run("event", "deploy", "42").returncode, 0)
        until(lambda: ours.counters()["swim_user_messages_ignored"] > before, 10, "an event is counted")
        before = ours.counters()["swim_user_messages_ignored"]
        serf.run("query", "-timeout=1s", "load")
        until(lambda: ours.counters()["swim_user_messages_ignored"] > before, 10, "a query is counted")
        exchanges = ours.counters()["swim_exchanges"]
        self.assertEqual(serf.run("join", ours.gossip).returncode, 0)
        self.assertGreater(ours.counters()["swim_exchanges"], exchanges)
        self.wait_both(ours, serf)
        self.assert_clean(ours)

    def test_new_tags(self):
        """serf changes its tags, which are its meta: taken, and nobody leaves."""
        ours, serf = self.pair()
        before = ours.members()["serf"]["Incarnation"]
        self.assertEqual(serf.run("tags", "-set", "role=db").returncode, 0)
        until(lambda: ours.members()["serf"]["Incarnation"] > before, 10, "the news arrives")
        self.assertEqual(self.sees(ours, serf), "alive")


if __name__ == "__main__":
    unittest.main()
