"""What the API promises about values across nodes: sessions that hop, entity tags,
replicas waited for, conflicts, expiry, whole listings."""
import json
import random
import threading
import time
import unittest

from harness import SystemTest, until

CONTEXT = "X-Yzma-Context"


class Sessions(SystemTest):
    def test_a_session_hops_between_nodes(self):
        """A client that passes its context on reads its own writes, and never an older
        value after a newer one, whichever node it asks, while others write."""
        nodes = list(self.cluster("pacha", "kronk", "yzma"))
        rng = random.Random(6)
        stopping = threading.Event()

        def disturb():
            api = nodes[0].client()
            number = 0
            while not stopping.is_set():
                number += 1
                api.put(f"noise/{number % 50}", "x" * 2000)
            api.close()

        noise = threading.Thread(target=disturb)
        noise.start()
        try:
            seen, context, waited = 0, None, 0
            for step in range(120):
                node = rng.choice(nodes)
                headers = {CONTEXT: context} if context else {}
                if rng.random() < 0.5:
                    seen += 1
                    answer = node.call("PUT", "/keys/session?wait=20s", json.dumps(seen), headers)
                else:
                    answer = node.call("GET", "/keys/session?wait=20s", headers=headers)
                    if answer.status == 200:
                        self.assertEqual(answer.data, seen, f"step {step} at {node.name}")
                    else:
                        self.assertEqual((answer.status, seen), (404, 0))
                        continue
                self.assertEqual(answer.status, 200, answer)
                context = answer.headers[CONTEXT]
            waited = sum(node.counters()["api_waits"] for node in nodes)
        finally:
            stopping.set()
            noise.join()
        self.assertEqual(len(nodes[0].siblings("session")), 1)
        self.assertGreater(waited, 0)  # else it has shown nothing

    def test_what_is_missing_is_said(self):
        """A node that cannot have it says so within the wait, and serves others."""
        one, other = self.node("one").start(), self.node("other").start()
        context = other.put("k", 1).headers[CONTEXT]
        late = one.get("k", headers={CONTEXT: context}, wait="100ms")
        self.assertEqual(late.status, 503)
        self.assertIn("up to 0, not 1", late.error)
        one.put("kept", 1)
        calls = (("GET", "/keys?limit=0&", None), ("GET", "/keys?count=true&", None), ("GET", "/conflicts?", None),
                 ("POST", "/batch?", '{"Ops":[{"Op":"delete","Key":"kept"}]}'), ("DELETE", "/keys?prefix=&", None))
        for method, path, body in calls:
            late = one.call(method, path + "wait=0", body, {CONTEXT: context})
            self.assertEqual(late.status, 503, path)
            self.assertIn("up to 0, not 1", late.error)
            self.assertEqual(one.call(method, path + "wait=0", body, {CONTEXT: "none"}).status, 400)
        self.assertEqual(one.value("kept"), "1")

        def ask():
            waiting = one.client()
            answers.append(waiting.get("k", headers={CONTEXT: context}, wait="20s"))
            waiting.close()

        answers = []
        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        until(lambda: one.counters()["api_in_flight"] > 20, 20, "they wait")
        one.put("free", 1)
        self.assertEqual(one.join(other).status, 200)
        for thread in threads:
            thread.join()
        self.assertEqual({(a.status, a.data) for a in answers}, {(200, 1)})

        # What a batch or a refusal gives back stands for what was sent too.
        alone = self.node("alone").start()
        batch = one.call("POST", "/batch", calls[3][2], {CONTEXT: context})
        read = one.get("k", headers={CONTEXT: batch.headers[CONTEXT]})
        unmet = one.call("PUT", "/keys/k", b"2", {CONTEXT: read.headers[CONTEXT], "If-Match": '"none"'})
        self.assertEqual((batch.status, read.status, unmet.status), (200, 200, 412))
        for answer in (batch, unmet):
            late = alone.get("k", headers={CONTEXT: answer.headers[CONTEXT]}, wait="0")
            self.assertIn("replicas behind: 2", late.error)


class Across(SystemTest):
    def test_tags_replicas_and_types(self):
        """Two nodes that hold the same give the same ETag; ?w=all waits for both; a
        value of another type arrives as it was."""
        pacha, kronk = self.cluster("pacha", "kronk")
        image = bytes(range(256)) * 40
        answer = pacha.call("PUT", "/keys/image?w=all&wait=20s", image, {"Content-Type": "image/png"})
        self.assertEqual((answer.status, answer.data["Replicas"], answer.data["Known"]), (200, 2, 2), answer)
        there = kronk.call("GET", "/keys/image", headers={"Accept": "image/*"})
        self.assertEqual((there.status, there.body), (200, image))
        self.assertEqual(there.headers["Content-Type"], "image/png")
        for node in (pacha, kronk):
            head = node.call("HEAD", "/keys/image")
            self.assertEqual(head.headers["ETag"], answer.headers["ETag"])
            self.assertEqual(head.headers["X-Yzma-Size"], str(len(image)))

        # The condition holds at the other node too, and only once.
        tag = {"If-Match": answer.headers["ETag"]}
        self.assertEqual(kronk.call("PUT", "/keys/image", b"1", tag).status, 200)
        self.assertEqual(kronk.call("PUT", "/keys/image", b"2", tag).status, 412)
        until(lambda: pacha.value("image") == "1", 30, "it arrives")
        self.assertEqual(pacha.call("PUT", "/keys/image", b"2", tag).status, 412)

        # Without the other node the write stands, and says so.
        kronk.term()
        short = pacha.call("PUT", "/keys/alone?w=2&wait=200ms", b"1")
        self.assertEqual((short.status, short.data["Replicas"], short.data["Wanted"]), (202, 1, 2))
        self.assertEqual(pacha.value("alone"), "1")
        kronk.start()
        until(lambda: kronk.value("alone") == "1", 30, "it arrives after all")
        gone = pacha.call("DELETE", "/keys/alone?w=majority&wait=20s")
        self.assertEqual((gone.status, gone.data["Replicas"]), (200, 2))
        self.assertIsNone(kronk.value("alone"))

    def test_conflicts_under_siblings(self):
        """Both sides of a conflict are shown, listed and merged by one write."""
        settings = {"Server.Conflict": "siblings"}
        one, other = self.node("one", settings).start(), self.node("other", settings).start()
        one.put("k", "one")
        other.put("k", "other")
        one.put("alone", 1)
        self.assertEqual(one.join(other).status, 200)

        def conflicted(node):
            return node.call("GET", "/keys/k").status == 300

        until(lambda: conflicted(one) and conflicted(other), 30, "both see the conflict")
        found = one.call("GET", "/keys/k")
        self.assertEqual({v["Value"] for v in found.data["Versions"]}, {"one", "other"})
        self.assertEqual(found.headers["ETag"], other.call("GET", "/keys/k").headers["ETag"])
        listed = other.call("GET", "/conflicts").data
        self.assertEqual(listed, {"Keys": [{"Key": "k", "Versions": 2}], "Next": ""})
        parts = one.call("GET", "/keys/k", headers={"Accept": "multipart/mixed"})
        self.assertEqual(parts.status, 300)
        boundary = parts.headers["Content-Type"].split("boundary=")[1].encode()
        self.assertEqual(parts.body.count(b"--" + boundary), 3)
        merged = one.call("PUT", "/keys/k", b'"both"', {CONTEXT: found.headers[CONTEXT]})
        self.assertEqual(merged.status, 200)
        until(lambda: not conflicted(other), 30, "the merge arrives")
        self.assertEqual(other.value("k"), "both")
        self.assertEqual(other.call("GET", "/conflicts").data["Keys"], [])

    def test_expired_keys_vanish_everywhere(self):
        """Without a message, in reads and lists; a heartbeat keeps another one."""
        pacha, kronk = self.cluster("pacha", "kronk")
        pacha.call("PUT", "/keys/service/a?ttl=2s", b'"up"')
        pacha.call("PUT", "/keys/service/b?ttl=2s", b'"up"')
        until(lambda: len(kronk.everything()) == 2, 30, "they arrive")
        expires = kronk.call("HEAD", "/keys/service/a").headers["X-Yzma-Expires"]
        deadline = time.monotonic() + 60
        while kronk.value("service/a") is not None:
            self.assertEqual(kronk.call("PUT", "/keys/service/b?touch=true&ttl=60s").status, 200)
            self.assertLess(time.monotonic(), deadline)
        self.assertIsNone(pacha.value("service/a"))
        mine = pacha.put("service/a", 1).headers[CONTEXT]
        pacha.put("service/a", 2)
        stale = pacha.call("PUT", "/keys/service/a?touch=true&ttl=1s", headers={CONTEXT: mine})
        self.assertEqual(stale.status, 412)
        self.assertIn("no longer there", stale.error)
        self.assertIsNone(pacha.call("HEAD", "/keys/service/a").headers["X-Yzma-Expires"])
        pacha.delete("service/a")
        self.assertEqual(pacha.value("service/b"), "up")
        self.assertEqual([k["Key"] for k in pacha.call("GET", "/keys").data["Keys"]], ["service/b"])
        self.assertRegex(expires, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


class Whole(SystemTest):
    def test_batches_and_whole_listings(self):
        """Ten thousand keys by one call, listed, counted and deleted by one each; and
        the other node has them."""
        pacha, kronk = self.cluster("pacha", "kronk")
        ops = [{"Op": "put", "Key": f"n/{i:05}", "Value": i} for i in range(9999)]
        ops.append({"Op": "put", "Key": "image", "Value64": "AAEC", "Type": "image/png"})
        answer = pacha.call("POST", "/batch?w=2&wait=20s", json.dumps({"Ops": ops}))
        self.assertEqual((answer.status, answer.data["Result"]), (200, {"Operations": 10000, "Deleted": 0}))
        there = kronk.call("GET", "/keys?limit=0&values=true",
                           headers={CONTEXT: answer.headers[CONTEXT]})
        lines = [json.loads(line) for line in there.body.splitlines()]
        self.assertEqual(lines[0], {"Key": "image", "Value64": "AAEC", "Type": "image/png"})
        self.assertEqual(lines[1:], [{"Key": op["Key"], "Value": op["Value"]} for op in ops[:-1]])
        self.assertEqual(kronk.call("GET", "/keys?count=true&prefix=n/").data, {"Count": 9999})
        folders = kronk.call("GET", "/keys?delimiter=/&reverse=true").data
        self.assertEqual((folders["Folders"], folders["Keys"]), (["n/"], [{"Key": "image"}]))
        refused = pacha.call("POST", "/batch", json.dumps({"Ops": [
            {"Op": "delete", "Key": "n/00000"}, {"Op": "put", "Key": "image", "Value": 1, "IfNoneMatch": "*"}]}))
        self.assertEqual((refused.status, refused.data["Index"], refused.data["Key"]), (409, 1, "image"))
        too_many = json.dumps({"Ops": ops + [{"Op": "delete", "Key": "x"}]})
        self.assertEqual(pacha.call("POST", "/batch", too_many).status, 413)
        self.assertEqual(pacha.call("DELETE", "/keys?prefix=n/").data, {"Deleted": 9999})
        until(lambda: kronk.call("GET", "/keys?count=true").data == {"Count": 1}, 60, "gone there too")
        self.assertEqual(len(pacha.everything()), 1)


if __name__ == "__main__":
    unittest.main()
