"""Keys that seal gossip, in real processes: a cluster forms, changes its keys by the
command line while it runs, and never shows one."""
import base64
import json
import signal
import subprocess
import unittest

from harness import SystemTest, linked, until

OLD = base64.b64encode(bytes(range(16))).decode()
NEW = base64.b64encode(bytes(range(32, 64))).decode()


class Keys(SystemTest):
    def sealed(self, name, **more):
        return self.node(name, {"Peering.Keys": [OLD], **more})

    def yzma(self, node, *args, stdin=None, ok=True):
        """`yzma keys`: what it prints."""
        done = subprocess.run([node.binary, "keys", *args, "-c", node.config_path], input=stdin, text=True,
                              capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 0 if ok else 1, done.stdout + done.stderr)
        return done.stdout if ok else done.stderr

    def names(self, node):
        return {k["Key"]: k for k in node.expect(200, node.call("GET", "/cluster/keys")).data["Keys"]}

    def test_rotation(self):
        nodes = [self.sealed(name) for name in ("one", "two", "three")]
        nodes[0].start()
        for node in nodes[1:]:
            node.start("-j", nodes[0].gossip)
        for node in nodes:
            until(lambda: len([m for m in node.members().values() if m["Status"] == "alive"]) == 3, 15,
                  "all are alive")
        (old,) = self.names(nodes[0])
        self.assertIn("held by 3 of 3, used by 3", self.yzma(nodes[1], "list"))
        self.yzma(nodes[1], "install", "-", stdin=NEW + "\n")
        (new,) = set(self.names(nodes[2])) - {old}
        self.assertIn("seals with this key", self.yzma(nodes[0], "remove", old, ok=False))
        self.yzma(nodes[2], "use", new)
        self.yzma(nodes[0], "remove", old)
        self.assertEqual(self.names(nodes[1]), {new: {"Key": new, "HeldBy": 3, "UsedBy": 3}})

        # The store has kept it: a restart comes back with the new one, though the file has the old.
        nodes[2].term()
        nodes[2].start()
        until(lambda: nodes[0].sees(nodes[2]) == "alive" and linked(nodes[2]) == 2, 15, "it is back")
        self.assertEqual(self.names(nodes[2])[new]["UsedBy"], 3)

        for node in nodes:
            for key in (OLD, NEW):
                self.assertNotIn(key, node.log())
            self.assertNotIn(NEW, json.dumps(node.call("GET", "/cluster/keys").data))

    def test_hangup_reads_keys_again(self):
        one, two = self.sealed("one"), self.sealed("two")
        one.start()
        two.start("-j", one.gossip)
        until(lambda: one.sees(two) == "alive", 15, "both are there")
        for keys in ([OLD, NEW], [NEW, OLD], [NEW]):
            for node in (one, two):
                node.settings["Peering.Keys"] = keys
                node.write_config()
                node.signal(signal.SIGHUP)
                until(lambda: len(self.names(node)) >= len(keys), 5, "it has read its keys")
        until(lambda: len(self.names(one)) == 1 and one.sees(two) == "alive" and two.sees(one) == "alive", 10,
              "both have the new key")

    def test_another_key(self):
        """Who has another key stays outside, and both say so."""
        one = self.sealed("one").start()
        two = self.node("two", {"Peering.Keys": [NEW]}).start()
        answer = two.join(one.gossip)
        self.assertEqual(answer.status, 502)
        self.assertIn("decrypt", answer.data["Failed"][0]["Error"])
        one.wait_log("event=peer_refused")
        plain = self.node("plain").start()
        answer = plain.join(one.gossip)
        self.assertEqual(answer.status, 502)

    def test_another_label(self):
        one = self.sealed("one", **{"Peering.Label": "lab1"}).start()
        two = self.sealed("two", **{"Peering.Label": "lab2"}).start()
        answer = two.join(one.gossip)
        self.assertEqual(answer.status, 502)
        self.assertIn("label", answer.data["Failed"][0]["Error"])
        three = self.sealed("three", **{"Peering.Label": "lab1"}).start("-j", one.gossip)
        until(lambda: one.sees(three) == "alive" and linked(one) == 1, 15, "the same label joins")

    def test_bad_calls(self):
        node = self.node("plain").start()
        self.assertEqual(node.expect(200, node.call("GET", "/cluster/keys")).data["Keys"], [])
        self.assertIn("not sealed", self.yzma(node, "list"))
        self.assertIn("in the clear", self.yzma(node, "install", NEW, ok=False))
        for body in (b"", b"{}", b"[]", b'{"Key":1}', b'{"Key":"x","More":1}', b'{"Key":"x","Key":"y"}'):
            self.assertEqual(node.call("POST", "/cluster/keys/use", body).status, 400, body)
        self.assertEqual(node.call("GET", "/cluster/keys/use").status, 405)


if __name__ == "__main__":
    unittest.main()
