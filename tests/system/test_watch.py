"""The changes as clients follow them: streams and long polls, from node to node, over
restarts, and past the end of history."""
import base64
import json
import time
import unittest
from urllib.parse import urlencode

from harness import PATIENCE, SANITIZED, SystemTest, fill, until
from harness.watch import Watch

LARGE = 2 << 20  # bytes of a value that no socket takes at once


def poll(node, headers=None, **params):
    return node.call("GET", "/watch?" + urlencode(params), headers=headers)


class OneNode(SystemTest):
    def setUp(self):
        super().setUp()
        self.one = self.node("pacha", {"API.WatchHeartbeat": "200ms"}).start()

    def watch(self, **how):
        watch = Watch(self.one, **how)
        self.addCleanup(watch.close)
        return watch

    def test_lines(self):
        """From now on: puts and deletes with all there is to say of them."""
        self.one.put("before", 1)
        watch = self.watch()
        self.assertEqual((watch.status, watch.headers["content-type"]), (200, "application/x-ndjson"))
        self.one.put("a", {"x": "é"})
        self.one.call("PUT", "/keys/b", b"\x00\xff", {"Content-Type": "image/png"})
        self.one.call("PUT", "/keys/c", b'[1,\n2]')
        self.one.call("PUT", "/keys/d?ttl=1h", b"4")
        watch.wait(lambda w: "d" in w.keys())
        self.one.delete("a")
        watch.wait(lambda w: w.keys().get("a", 1) is None)
        a, b, c, d, gone = [e for e in watch.events if e["Kind"] != "heartbeat"]
        self.assertEqual((a["Kind"], a["Value"], a["Node"]), ("put", {"x": "é"}, self.one.member_name))
        self.assertEqual(len(a["Stamp"]), 16)
        self.assertEqual((b["Value64"], b["Type"]), (base64.b64encode(b"\x00\xff").decode(), "image/png"))
        self.assertEqual(base64.b64decode(c["Value64"]), b"[1,\n2]")
        self.assertIn("Expires", d)
        self.assertEqual((gone["Kind"], gone["Key"], gone["Node"]), ("delete", "a", self.one.member_name))
        self.assertTrue(all(event["Cursor"] for event in watch.events))

    def test_server_sent_events(self):
        """The same as server-sent events; a browser comes back with the last id, which
        counts more than what its URL says."""
        watch = self.watch(sse=True, prefix="a/", values="false")
        self.assertEqual(watch.headers["content-type"], "text/event-stream")
        for key in ("a/1", "b/1", "a/2"):
            self.one.put(key, key)
        watch.wait(lambda w: len(w.keys()) == 2)
        self.assertEqual(watch.keys(), {"a/1": None, "a/2": None})  # no values
        watch.close()
        self.one.put("a/3", 3)
        again = self.watch(sse=True, headers={"Last-Event-ID": watch.cursor}, since="0", prefix="a/")
        again.wait(lambda w: w.events)
        self.assertEqual(again.keys(), {"a/3": 3})

    def test_heartbeats_move_the_cursor(self):
        """A reader of a quiet prefix learns where it stands all the same."""
        watch = self.watch(prefix="quiet")
        watch.wait(lambda w: w.cursor)
        first = watch.cursor
        self.one.put("other", 1)
        watch.wait(lambda w: w.cursor != first)
        self.assertEqual(watch.kinds(), [])

    def test_few_are_told_at_once(self):
        """The rest that many streams make (tests/unit/test_watch_pace.c) is not for a few."""
        watches = [self.watch(prefix=prefix) for prefix in ("", "k", "other")]
        seconds = []
        for i in range(16):
            self.one.put("k", i)
            begun = time.monotonic()
            for watch in watches[:2]:
                watch.wait(lambda w: w.keys().get("k") == i)
            seconds.append(time.monotonic() - begun)
        # What a busy machine makes of one or the other says nothing.
        self.assertLess(sorted(seconds)[len(seconds) // 4], 0.1 * PATIENCE, seconds)

    def test_listing_first(self):
        """since=0: all that there is, in order, the end of it, and what comes."""
        keys = [f"k{i:04}" for i in range(1500)]
        fill(self.one, dict.fromkeys(keys, 1))
        watch = self.watch(since="0").wait(lambda w: "listed" in w.kinds())
        self.assertEqual([e["Key"] for e in watch.events if e["Kind"] == "put"], keys)
        self.one.put("new", 2)
        watch.wait(lambda w: "new" in w.keys())

    def test_large_values(self):
        """Values larger than a socket takes come whole, to each at his own speed."""
        watches = [self.watch(values=v, since="0") for v in ("true", "true", "false")]
        for watch in watches:
            watch.wait(lambda w: "listed" in w.kinds())
        value = "x" * LARGE
        for key in ("a", "b"):
            self.one.put(key, value)
        self.one.put("c", 1)
        for watch, expected in zip(watches, (value, value, None)):
            watch.wait(lambda w: "c" in w.keys())
            self.assertEqual([watch.keys()[key] for key in "ab"], [expected] * 2)

    def test_long_poll(self):
        """At once with what there is; else when something comes; else empty at the end."""
        begun = self.one.expect(200, poll(self.one, poll="1ms")).data
        self.assertEqual(begun["Events"], [])
        self.one.put("a", 1)
        data = self.one.expect(200, poll(self.one, poll="60s", since=begun["Cursor"])).data
        self.assertEqual([(e["Kind"], e["Key"], e["Value"]) for e in data["Events"]], [("put", "a", 1)])

        waiting = self.one.client()
        waiting.connection.request("GET", "/watch?" + urlencode(
            {"poll": "60s", "since": data["Cursor"], "prefix": "b"}))
        until(lambda: self.one.counters()["api_watchers"] == 1, 10, "the poll waits")
        self.one.put("a", 2)
        self.one.put("b", 3)
        answer = json.loads(waiting.connection.getresponse().read())["Data"]
        self.assertEqual([e["Key"] for e in answer["Events"]], ["b"])
        # kept alive, and nothing was left of the wait
        waiting.connection.request("GET", "/watch?poll=1ms&since=" + answer["Cursor"])
        self.assertEqual(json.loads(waiting.connection.getresponse().read())["Data"]["Events"], [])
        waiting.close()
        until(lambda: self.one.counters()["api_watchers"] == 0, 10, "nobody watches")

    def test_a_poll_ends_with_its_client(self):
        """Who hangs up takes no place for the rest of the time, and the others wait on."""
        stays = self.one.client()
        stays.connection.request("GET", "/watch?poll=5m")
        leaves = [self.one.client() for _ in range(20)]
        for client in leaves:
            client.connection.request("GET", "/watch?poll=5m")
        until(lambda: self.one.counters()["api_watchers"] == 21, 10, "all wait")
        for client in leaves:
            client.close()
        until(lambda: self.one.counters()["api_watchers"] == 1, 10, "one waits")
        self.one.put("k", 1)
        events = json.loads(stays.connection.getresponse().read())["Data"]["Events"]
        self.assertEqual([e["Key"] for e in events], ["k"])
        stays.close()

    def test_bad_use(self):
        """What is no cursor, out of range or unknown gets 400 naming it."""
        for query, named in (("since=x", "since"), ("since=", "since"), ("poll=0", "poll"), ("poll=11m", "poll"),
                             ("values=1", "values"), ("after=a", "after"), ("since=0&since=0", "since")):
            answer = self.one.call("GET", "/watch?" + query)
            self.assertEqual(answer.status, 400, query)
            self.assertIn(named, answer.error)
        self.assertEqual(poll(self.one, headers={"Last-Event-ID": "AAAA"}, poll="1ms").status, 400)
        self.assertEqual(self.one.call("POST", "/watch", b"").status, 405)

    def test_a_listing_is_of_its_prefix(self):
        """The place in one is none in the listing of other keys: those before it would be
        told to be absent."""
        fill(self.one, {"a": 1, "b/1": 1, "b/2": 1})
        watch = self.watch(since="0", prefix="b/").wait(lambda w: "b/1" in w.keys())
        middle = next(e["Cursor"] for e in watch.events if e.get("Key") == "b/1")
        for other in ("", "a", "b", "b/1"):
            answer = poll(self.one, since=middle, prefix=other, poll="1ms")
            self.assertEqual(answer.status, 400, answer)
            self.assertIn("prefix", answer.error)
        data = self.one.expect(200, poll(self.one, since=middle, prefix="b/", poll="1ms")).data
        self.assertEqual([(e["Kind"], e.get("Key")) for e in data["Events"]], [("put", "b/2"), ("listed", None)])
        # After it the cursor is a clock, for any keys.
        self.one.put("a", 2)
        data = self.one.expect(200, poll(self.one, since=data["Cursor"], prefix="a", poll="60s")).data
        self.assertEqual([(e["Kind"], e["Key"]) for e in data["Events"]], [("put", "a")])

    def test_stop_ends_streams(self):
        """A stop ends streams in good order, and does not wait for polls."""
        watch = self.watch()
        waiting = self.one.client()
        waiting.connection.request("GET", "/watch?poll=60s")
        until(lambda: self.one.counters()["api_watchers"] == 2, 10, "both watch")
        self.assertEqual(self.one.term(), 0)
        self.assertTrue(watch.wait_end().ended)
        self.assertEqual(json.loads(waiting.connection.getresponse().read())["Data"]["Events"], [])
        waiting.close()


class Limits(SystemTest):
    def test_too_many(self):
        """Above API.MaxWatchers: 503; room again when one has gone."""
        node = self.node("pacha", {"API.MaxWatchers": 2}).start()
        watches = [Watch(node) for _ in range(2)]
        for watch in watches:
            self.addCleanup(watch.close)
        answer = poll(node, poll="1ms")
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "1"))
        watches[0].close()
        until(lambda: poll(node, poll="1ms").status == 200, 10, "room for one more")
        self.assertGreaterEqual(node.counters()["api_watches_refused"], 1)

    def test_slow_reader(self):
        """Who takes nothing falls behind in the store and not in memory, and is dropped at
        the lag that is allowed; its cursor still holds. Others are not held up."""
        node = self.node("pacha", {"API.MaxWatchLag": 40}).start()
        slow = Watch(node, receive_buffer=4096)
        fast = Watch(node)
        self.addCleanup(slow.close)
        self.addCleanup(fast.close)
        slow.wait(lambda w: w.cursor)
        count, value = 80, "x" * 20000
        for i in range(count):
            node.put(f"k{i:04}", value)
            if i % 20 == 19:
                fast.wait(lambda w: f"k{i:04}" in w.keys())
        until(lambda: node.counters()["api_watches_dropped"] == 1, 20, "the slow one is dropped")
        slow.close()
        again = Watch(node, since=slow.cursor)
        self.addCleanup(again.close)
        again.wait(lambda w: len(w.keys()) == count)

    def test_gone(self):
        """A cursor older than history: 410 with one that begins with a listing."""
        node = self.node("pacha", {"Server.History": "1ms"}).start()
        cursor = node.expect(200, poll(node, poll="1ms")).data["Cursor"]
        for i in range(20):
            node.put(f"k{i}", i)
        # pruning takes place every ten seconds or so
        until(lambda: poll(node, poll="1ms", since=cursor).status == 410, 60, "history is gone")
        answer = poll(node, poll="1ms", since=cursor)
        self.assertIn("listing", answer.error)
        watch = Watch(node, since=cursor)
        self.assertEqual(watch.status, 410)
        watch.close()
        self.assertGreaterEqual(node.counters()["api_cursors_gone"], 3)
        watch = Watch(node, since=answer.data["Cursor"])
        self.addCleanup(watch.close)
        watch.wait(lambda w: "listed" in w.kinds())
        self.assertEqual(watch.keys(), {f"k{i}": i for i in range(20)})


class Nodes(SystemTest):
    def test_from_node_to_node(self):
        """A cursor holds on every node, over restarts and absences; a node that is behind
        it says so, and shows nothing before it has caught up."""
        cluster = self.cluster("pacha", "kronk")
        a, b = cluster
        watch = Watch(a, since="0").wait(lambda w: "listed" in w.kinds())
        a.put("k", 1)
        watch.wait(lambda w: w.keys().get("k") == 1)
        watch.close()
        watch = Watch(b, since=watch.cursor)
        b.put("k", 2)
        watch.wait(lambda w: w.keys().get("k") == 2)
        self.assertNotIn("listed", watch.kinds())
        watch.close()

        # b is away while a writes, and the reader sees it there
        self.assertEqual(b.term(), 0)
        a.put("k", 3)
        a.delete("k")
        a.put("l", 4)
        watch = Watch(a, since=watch.cursor).wait(lambda w: "l" in w.keys())
        self.assertEqual(watch.keys(), {"k": None, "l": 4})
        watch.close()
        # both restart, so that b is alone with what it has
        self.assertEqual(a.term(), 0)
        b.start()
        behind = Watch(b, since=watch.cursor).wait(lambda w: "behind" in w.kinds())
        self.addCleanup(behind.close)
        answer = poll(b, poll="1ms", since=watch.cursor)
        self.assertEqual(answer.status, 503)
        self.assertIn("has not seen", answer.error)
        waiting = b.client()
        waiting.connection.request("GET", f"/watch?poll=60s&since={watch.cursor}")
        b.put("m", 5)
        a.start()
        behind.wait(lambda w: "m" in w.keys())
        self.assertEqual(behind.keys(), {"m": 5})
        answer = json.loads(waiting.connection.getresponse().read())["Data"]
        self.assertEqual([e["Key"] for e in answer["Events"]], ["m"])
        waiting.close()
        # and what b wrote alone comes at a, from the cursor of before
        there = Watch(a, since=watch.cursor).wait(lambda w: "m" in w.keys())
        there.close()

    def test_many_readers(self):
        """Readers of all keys, each at another node and in another form, all see each
        key's last state."""
        cluster = self.cluster("pacha", "kronk")
        readers = [Watch(cluster[i % 2], sse=i % 4 < 2, prefix="" if i % 3 else "k1")
                   for i in range(20 if SANITIZED else 60)]
        for reader in readers:
            self.addCleanup(reader.close)
        for i in range(80):
            cluster[i % 2].put(f"k{i % 20}", i)
        held = cluster.wait_equal()
        for node in cluster:
            node.put("k1-end", 0)
        for i, reader in enumerate(readers):
            reader.wait(lambda w: sum(e.get("Key") == "k1-end" for e in w.events) >= 1)
            reader.wait(lambda w: all(str(w.keys().get(key)) == value for key, value in held.items()
                                      if key.startswith("" if i % 3 else "k1")))


if __name__ == "__main__":
    unittest.main()
