"""One stream of all that a store holds: exported, watched, taken in elsewhere, and gone on with
where it broke off; and a watch of one thing alone."""
import json
import unittest
from urllib.parse import quote

from harness import SystemTest
from harness.exchange import export, poll, take_in
from harness.watch import Watch


def add(node, name, n):
    assert node.call("POST", "/counters/" + quote(name), json.dumps({"Add": n}).encode()).status == 200


def change(node, name, adds=(), removes=()):
    body = json.dumps({"Add": list(adds), "Remove": list(removes)}).encode()
    assert node.call("POST", "/sets/" + quote(name), body).status == 200


def fill(node):
    """Each of three names is in all spaces."""
    for name in ("a", "b", "c"):
        node.put(name, {"of": name}), add(node, name, 7), change(node, name, [name, [1, name], {"x": None}])
    node.call("PUT", "/keys/raw", b"\x00\xff", {"Content-Type": "image/png"})


def place_of(line):
    """Where an export of all goes on behind this line."""
    line = json.loads(line)
    if "Key" in line:
        return {"after": line["Key"]}
    if "Counter" in line:
        return {"from": "counters", "after": line["Counter"]}
    return {"from": "sets", "after": line["Set"], "member": json.dumps(line["Element"])}


class All(SystemTest):
    def test_exports(self):
        """Keys, counters and sets in one stream, that another store becomes the same by; behind each
        line of it the rest can be had."""
        node, other = self.node("pacha").start(), self.node("kronk").start()
        self.assertEqual(export(node, space="all"), b"")
        fill(node)
        lines = export(node, space="all")
        self.assertEqual(lines, b"".join(export(node, space=space) for space in ("keys", "counters", "sets")))
        each = lines.splitlines(keepends=True)
        self.assertEqual(len(each), 4 + 3 + 9)
        for i, line in enumerate(each):
            self.assertEqual(export(node, space="all", **place_of(line)), b"".join(each[i + 1:]), line)
        self.assertEqual(export(node, space="all", **{"from": "counters"}), b"".join(each[4:]))
        self.assertEqual(export(node, space="all", **{"from": "sets"}), b"".join(each[7:]))
        self.assertEqual(export(node, space="sets", after="b", member=' "b"'),
                         export(node, space="all", **{"from": "sets", "after": "b", "member": '"b"'}))
        self.assertEqual(take_in(other, lines).data["Imported"], len(each))
        self.assertEqual(export(other, space="all"), lines)

    def test_a_mirror(self):
        """What a watch of all shows is taken in as it comes, deletions too, and the other store is the
        same then; again, and nothing changes."""
        node, other = self.node("pacha").start(), self.node("kronk").start()
        fill(node), change(other, "b", ["kept"]), other.put("kept", 1)
        watch = Watch(node, space="all", since="0").wait(lambda w: "listed" in w.kinds())
        self.addCleanup(watch.close)
        spaces = [e.get("Space", "keys") for e in watch.events if e["Kind"] == "put"]
        self.assertEqual(spaces, 4 * ["keys"] + 3 * ["counters"] + 9 * ["sets"])
        node.call("DELETE", "/keys/a"), node.call("DELETE", "/counters/b")
        change(node, "c", ["new"], ["c"]), add(node, "a", -10), node.put("b", 2)
        watch.wait(lambda w: len([e for e in w.events if e["Kind"] in ("put", "delete")]) == 16 + 6)
        lines = "".join(json.dumps(e) + "\n" for e in watch.events).encode()
        done = take_in(other, lines)
        self.assertEqual((done.status, done.data["Lines"], done.data["Imported"]), (200, len(watch.events), 22))
        self.assertEqual(other.call("GET", "/keys/kept").data, 1)
        other.call("DELETE", "/keys/kept"), change(other, "b", [], ["kept"])
        self.assertEqual(export(other, space="all"), export(node, space="all"))
        self.assertEqual(other.call("GET", "/counters/b").status, 404)
        self.assertEqual(node.call("POST", "/import?after=b", b'{"Kind":"listed"}\n{"Kind":"delete","Key":"b"}').data,
                         {"Lines": 2, "Imported": 0, "Expired": 0, "Skipped": 1, "Key": ""})
        # a value that has ended on its way takes away what was there
        for line in (b'{"Kind":"put","Key":"b","Value":1,"Expires":"2001-01-01T00:00:00Z"}',
                     b'{"Kind":"delete","Space":"keys","Key":"c"}'):
            self.assertEqual(take_in(other, line).data["Imported"], 1)
        self.assertEqual([other.call("GET", "/keys/" + key).status for key in "bc"], [404, 404])

    def test_a_poll_of_all(self):
        """It is woken by changes of any space, and its cursor goes on where a reader of one stood."""
        node = self.node().start()
        cursor = poll(node, space="sets", poll="1ms")["Cursor"]
        for do, shown in ((lambda: node.put("k", 1), ("k", None)), (lambda: add(node, "n", 1), ("n", "counters")),
                          (lambda: change(node, "s", [1]), ("s", "sets"))):
            do()
            data = poll(node, space="all", poll="10s", since=cursor)
            cursor = data["Cursor"]
            self.assertEqual([(e["Key"], e.get("Space")) for e in data["Events"]], [shown])
        self.assertEqual(poll(node, space="all", poll="1ms", since=cursor)["Events"], [])

    def test_one_thing(self):
        """A key, a counter, a set alone, and none whose name only begins so: as streams, as polls, and
        from an event in the midst of a set's elements on, where a listing broke off."""
        node = self.node().start()
        for name in ("a", "ab", "a/"):
            node.put(name, name), add(node, name, 1), change(node, name, range(20))
        for space, count in (("keys", 1), ("counters", 1), ("sets", 21)):
            watch = Watch(node, space=space, key="a", since="0").wait(lambda w: "listed" in w.kinds())
            self.addCleanup(watch.close)
            self.assertEqual([e.get("Key") for e in watch.events[1:]], count * ["a"] + [None])
            now = poll(node, space=space, key="a", poll="1ms")["Cursor"]
            for name in ("ab", "a"):
                node.put(name, 2), add(node, name, 2), change(node, name, ["more"])
            watch.wait(lambda w: len(w.events) == 1 + count + 1 + 1)
            self.assertEqual(watch.events[-1]["Key"], "a")
            events = poll(node, space=space, key="a", poll="10s", since=now)["Events"]
            self.assertEqual([e["Key"] for e in events], ["a"])
            absent = poll(node, space=space, key="absent", poll="10s", since="0")["Events"]
            self.assertEqual(absent, [{"Kind": "listed"}])
        listed = [e for e in watch.events if e["Kind"] == "put"][:21]
        rest = poll(node, space="sets", key="a", poll="10s", since=listed[6]["Cursor"])["Events"]
        shown = {e["Hash"] for e in listed[:7] + rest if e["Kind"] == "put"}
        self.assertEqual((len(shown), rest[-1]["Kind"]), (21, "listed"))
        self.assertLess(len(rest), 17)
        for query, named in (("key=a&prefix=a", "prefix"), ("space=all&key=a", "key"), ("key=", "key"),
                             ("space=sets&key=a%01", "key"), ("space=counters&key=" + 461 * "n", "key"),
                             ("space=all&prefix=a", "prefix"), ("from=keys", "from"),
                             ("space=sets&key=ab&since=" + listed[6]["Cursor"], "key")):
            answer = node.call("GET", "/watch?poll=1ms&" + query)
            self.assertEqual(answer.status, 400, query)
            self.assertIn(f'"{named}"', answer.error, query)

    def contexts(self, node, **params):
        lines = [json.loads(line) for line in export(node, contexts="true", **params).splitlines()]
        return {line["Key"]: line["Context"] for line in lines if "Context" in line}

    def lines_of(self, node, key):
        return [json.loads(line)["Value"] for line in export(node, prefix=key, siblings="true").splitlines()]

    def test_contexts(self):
        """A line with its context replaces what was seen when it was written, and nothing that came
        since; in another cluster nothing was seen, and it stands beside what is there."""
        node, other = self.node("pacha").start(), self.node("kronk").start()
        for key in ("a", "b"):
            node.put(key, 1)
        lines = export(node, contexts="true")
        contexts = self.contexts(node, space="all")
        self.assertEqual((list(contexts), lines.count(b"\n")), (["a", "b"], 2))
        self.assertEqual(contexts["a"], node.get("a").headers["X-Yzma-Context"])
        node.call("PUT", "/keys/a?mode=add", b"2")
        both = export(node, prefix="a", siblings="true", contexts="true")
        self.assertEqual([line.count(b"Context") for line in both.splitlines()], [1, 0])
        self.assertEqual(take_in(node, lines.replace(b":1,", b":9,")).data["Imported"], 2)
        self.assertEqual((self.lines_of(node, "a"), self.lines_of(node, "b")), ([2, 9], [9]))
        self.assertEqual(take_in(node, both).status, 200)  # they saw 1 and 2: of those 2 is there
        self.assertEqual(self.lines_of(node, "a"), [9, 1, 2])
        # once more, as a client does that had no answer: nothing is put twice, siblings neither
        both = both.replace(b":1,", b":3,")
        for _ in range(2):
            self.assertEqual(take_in(node, both).data["Imported"], 2)
            self.assertEqual(self.lines_of(node, "a"), [9, 1, 2, 3])
        # another cluster
        other.put("a", 7)
        self.assertEqual(take_in(other, lines).data["Imported"], 2)
        self.assertEqual((self.lines_of(other, "a"), self.lines_of(other, "b")), ([7, 1], [1]))
        self.assertEqual(take_in(other, lines).status, 200)
        self.assertEqual((self.lines_of(other, "a"), self.lines_of(other, "b")), ([7, 1], [1]))
        # one that this node has not caught up with
        ahead = node.call("PUT", "/keys/c", b"1").headers["X-Yzma-Context"]
        self.assertEqual(take_in(node, json.dumps({"Key": "c", "Value": 2, "Context": ahead}).encode()).status, 200)
        self.assertEqual(self.lines_of(node, "c"), [2])
        for line, why in (({"Context": "AQ"}, "no context"), ({"Context": ""}, "empty"), ({"Context": 7}, "string"),
                          ({"Context": contexts["b"]}, "another key"),
                          ({"Context": contexts["a"], "Sibling": True}, "Sibling"),
                          ({"Context": contexts["a"], "Kind": "put"}, "event")):
            text = json.dumps({"Key": "a", "Value": 3, **line}).encode()
            answer = take_in(node, b'{"Key":"d","Value":1}\n' + text)
            self.assertEqual((answer.status, answer.data["Line"], answer.data["Lines"]), (400, 2, 1), line)
            self.assertIn("Context", answer.error), self.assertIn(why, answer.error)

    def test_long_lines(self):
        """However small values must be, a line may have the largest element, and a long context."""
        node = self.node(settings={"API.MaxValueBytes": "1KiB"}).start()
        change(node, 460 * "s", [65000 * "e"])
        lines = export(node, space="sets")
        change(node, 460 * "s", (), [65000 * "e"])
        self.assertEqual(take_in(node, lines).data["Imported"], 1)
        self.assertEqual(export(node, space="sets"), lines)
        refused = take_in(node, json.dumps({"Key": "k", "Value": 1000 * "v", "Context": 60000 * "A"}).encode())
        self.assertEqual((refused.status, refused.error), (400, 'line 1: "Context" is no context'))

    def test_a_context_ahead(self):
        """One of a replica that is known, and has not come so far here: 503 with the line, and it is
        taken once it has."""
        pacha, kronk = cluster = self.cluster("pacha", "kronk")
        pacha.put("a", 1), cluster.wait_equal()
        self.assertEqual(kronk.call("POST", "/cluster/pause").status, 200)
        pacha.put("a", 2)
        lines = export(pacha, contexts="true").replace(b":2,", b":3,")
        refused = take_in(kronk, lines)
        self.assertEqual((refused.status, refused.data["Line"], refused.data["Lines"]), (503, 1, 0))
        self.assertIn("Context", refused.error)
        self.assertEqual(kronk.call("POST", "/cluster/resume").status, 200)
        cluster.wait_equal()
        self.assertEqual(take_in(kronk, lines).status, 200)
        cluster.wait_equal()
        self.assertEqual([self.lines_of(node, "a") for node in cluster], [[3], [3]])

    def test_bad_use(self):
        node = self.node().start()
        for query, named in (("space=all&prefix=a", "prefix"), ("space=all&end=a", "end"), ("from=sets", "from"),
                             ("space=all&from=all", "from"), ("space=all&from=", "from"),
                             ("space=all&member=1", "member"), ("space=all&from=sets&member=1", "member"),
                             ("space=counters&after=a&member=1", "member"), ("after=a&member=1", "member"),
                             ("space=sets&contexts=true", "contexts"),
                             ("space=sets&after=a&member=red", "member"), ("space=sets&after=a&member=%zz", "member"),
                             ("space=all&from=sets&after=" + 461 * "n", "after"), ("key=a", "key")):
            answer = node.call("GET", "/export?" + query)
            self.assertEqual(answer.status, 400, query)
            self.assertIn(f'"{named}"', answer.error, query)
        self.assertEqual(export(node, space="all", after=480 * "n"), b"")
        good = b'{"Key":"a","Value":1}\n'
        for line, why in ((b'{"Kind":"put","Key":"b"}', "Value"), (b'{"Kind":"set","Key":"b"}', "Kind"),
                          (b'{"Kind":"put","Space":"all","Key":"b","Value":1}', "Space"),
                          (b'{"Kind":"put","Space":"sets","Key":"b","Value":1}', "Value"),
                          (b'{"Kind":"put","Space":"counters","Key":"b","Value":null}', "Value"),
                          (b'{"Kind":"put","Counter":"b","Value":1}', "Counter"), (b'{"Kind":"delete"}', "Key"),
                          (b'{"Kind":"delete","Space":"sets","Key":"b"}', "Hash"),
                          (b'{"Kind":"delete","Space":"sets","Key":"b","Hash":"12"}', "Hash"),
                          (b'{"Kind":"delete","Space":"sets","Key":"b","Hash":"%s"}' % (32 * b"0"), "Hash"),
                          (b'{"Kind":"damaged","Key":"b"}', "damaged"), (b'{"Kind":"put","Key":"b","Value":1,"Sibling":true}', "Sibling"),
                          (b'{"Key":"b","Value":1,"Cursor":"x"}', "Cursor"), (b'{"Key":"b","Value":1,"Space":"keys"}', "Space")):
            answer = take_in(node, good + line + b"\n" + good.replace(b'"a"', b'"b"'))
            self.assertEqual((answer.status, answer.data["Line"], answer.data["Lines"]), (400, 2, 1), line)
            self.assertIn(f'"{why}"', answer.error, line)
        self.assertEqual(node.call("GET", "/keys/b").status, 404)


if __name__ == "__main__":
    unittest.main()
