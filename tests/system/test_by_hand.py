"""What an operator does by hand: forget, retire, pause, and a new id for a store."""
import subprocess
import unittest

from harness import SystemTest, fill, until
from harness.node import BINARY
from harness.watch import Watch


def run(*args):
    done = subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def states(node, replica):
    return [link["State"] for link in node.status()["Links"] if link["Replica"] == replica]


class ByHand(SystemTest):
    def test_forget_and_retire(self):
        pacha, kronk, yzma = cluster = self.cluster("pacha", "kronk", "yzma")
        fill(yzma, {f"k{i}": i for i in range(10)})
        cluster.wait_equal()
        name, replica = yzma.member_name, yzma.status()["Replica"]
        self.assertEqual(pacha.call("POST", "/cluster/forget", b"{}").status, 400)
        self.assertEqual(pacha.call("POST", "/cluster/forget", b'{"Replica":"nobody"}').status, 404)
        code, text = run("forget", name, "-a", pacha.api_address)
        self.assertEqual(code, 1)
        self.assertIn("connected", text)
        yzma.kill9()
        until(lambda: states(pacha, replica)[0] in ("down", "dialing") and
              states(kronk, replica)[0] in ("down", "dialing"), 30, "it is missed")
        self.assertEqual(run("forget", name, "-a", pacha.api_address)[0], 0)
        until(lambda: states(pacha, replica) == states(kronk, replica) == ["forgotten"], 30, "both let go of it")
        self.assertEqual(run("retire", replica, "-a", kronk.api_address)[0], 0)
        until(lambda: all([r["Done"] for r in n.status()["Retired"]] == [True] for n in (pacha, kronk)), 30,
              "the id is ended on both")
        yzma.start()
        cluster.wait_formed()
        self.assertEqual(len(cluster.wait_equal()), 10)
        self.assertNotEqual(yzma.status()["Replica"], replica)

    def test_pause(self):
        pacha, kronk = cluster = self.cluster("pacha", "kronk")
        self.assertEqual(run("pause", "-a", kronk.api_address)[0], 0)
        self.assertEqual(kronk.call("GET", "/ready").status, 503)
        pacha.put("k", 1)
        kronk.restart()
        until(lambda: kronk.status()["Paused"] and any(link["Waiting"] for link in kronk.status()["Links"]), 30,
              "what came waits")
        self.assertEqual(kronk.get("k").status, 404)
        # readers of changes: its own go on, those of others are waited for
        there = Watch(pacha, since="0").wait(lambda w: "listed" in w.kinds())
        here, behind = Watch(kronk, since="0"), Watch(kronk, since=there.cursor)
        for watch in (there, here, behind):
            self.addCleanup(watch.close)
        behind.wait(lambda w: "behind" in w.kinds())
        kronk.put("own", 2)
        here.wait(lambda w: w.keys().get("own") == 2)
        self.assertNotIn("k", here.keys())
        self.assertEqual(behind.keys(), {})
        self.assertEqual(kronk.call("POST", "/cluster/resume").status, 200)
        for watch in (there, here):
            watch.wait(lambda w: w.keys() == {"k": 1, "own": 2})
        behind.wait(lambda w: w.keys().get("own") == 2)  # the other one it had been shown
        self.assertEqual(cluster.wait_equal(), {"k": "1", "own": "2"})

    def test_a_new_id(self):
        """Not while it runs; then under a new one with all its data, and nobody waits for
        the old one."""
        pacha, kronk = cluster = self.cluster("pacha", "kronk")
        fill(kronk, {f"k{i}": i for i in range(10)})
        held = cluster.wait_equal()
        replica = kronk.status()["Replica"]
        code, text = run("reidentify", "-c", kronk.config_path)
        self.assertEqual(code, 1, text)
        kronk.term()
        code, text = run("reidentify", "-c", kronk.config_path)
        self.assertEqual(code, 0, text)
        self.assertIn(replica, text)
        kronk.start()
        cluster.wait_formed()
        self.assertNotEqual(kronk.status()["Replica"], replica)
        kronk.put("more", 1)
        self.assertEqual(cluster.wait_equal(), {**held, "more": "1"})
        until(lambda: states(pacha, replica) == ["left"], 30, "nobody waits for the former id")


if __name__ == "__main__":
    unittest.main()
