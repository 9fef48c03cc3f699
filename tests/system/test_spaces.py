"""Counters and sets: three nodes add, remove and delete at once, through restarts and
kills; and neither is seen as a key."""
import http.client
import json
import subprocess
import threading
import unittest
from urllib.parse import quote, urlencode

from harness import SANITIZED, SystemTest, until
from harness.exchange import export, poll, take_in
from harness.node import BINARY
from harness.watch import Watch

ADDS = 40 if SANITIZED else 150


def tool(*args):
    done = subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def add(node, name, n, **params):
    answer = node.call("POST", "/counters/" + quote(name) + ("?" + urlencode(params) if params else ""),
                       json.dumps({"Add": n}).encode())
    assert answer.status in (200, 202), answer
    return answer


def number(node, name):
    answer = node.call("GET", "/counters/" + quote(name))
    return answer.data if answer.status == 200 else answer.status


def change(node, name, adds=(), removes=()):
    body = {"Add": list(adds), "Remove": list(removes)}
    answer = node.call("POST", "/sets/" + name, json.dumps(body).encode())
    assert answer.status == 200, answer
    return answer


def elements(node, name):
    """All of them, page by page, in a form that can be compared."""
    found, after = [], ""
    while True:
        query = {"limit": 7, **({"after": after} if after else {})}
        page = node.call("GET", f"/sets/{name}?" + urlencode(query)).data
        found += [json.dumps(e, sort_keys=True) for e in page["Elements"]]
        after = page["Next"]
        if not after:
            return sorted(found)


class Adder(threading.Thread):
    """Adds 1, 2, 3 .. through one node; an add whose answer is lost is one that may count."""

    def __init__(self, node, name):
        super().__init__(daemon=True)
        self.api, self.name_, self.sure, self.perhaps = node.client(), name, 0, []
        self.failed = None
        self.start()

    def run(self):
        try:
            for n in range(1, ADDS + 1):
                self.add(n)
        except Exception as error:
            self.failed = error
        finally:
            self.api.close()

    def answers(self):
        try:
            return self.api.call("GET", "/ready").status in (200, 503)
        except OSError:
            return False
        except http.client.HTTPException:
            return False

    def add(self, n):
        """A call that finds no node has added nothing, and is made again."""
        body = json.dumps({"Add": n}).encode()

        def done():
            try:
                answer = self.api.call("POST", "/counters/" + self.name_, body)
            except ConnectionRefusedError:
                return False
            except Exception:  # the node was killed in between, or is about to stop
                self.perhaps.append(n)
                until(self.answers, 60, "it answers again")
                return True
            if answer.status == 503:
                return False
            assert answer.status == 200, answer
            self.sure += n
            return True

        until(done, 60, f"{n} is added")


def sums_of(numbers):
    sums = {0}
    for n in numbers:
        sums |= {s + n for s in sums}
    return sums


class Counters(SystemTest):
    def test_adds_on_all_nodes_through_restarts(self):
        """Every add that was answered counts once; one that was cut off counts once or not at all."""
        cluster = self.cluster("pacha", "kronk", "yzma")
        adders = [Adder(node, "visits") for node in cluster]
        cluster[1].restart()
        cluster[2].restart(kill=True)
        cluster[0].restart(kill=True)
        for adder in adders:
            adder.join(120)
            self.assertIsNone(adder.failed)
        cluster.wait_formed()
        cluster.wait_equal()
        sure = sum(adder.sure for adder in adders)
        cut_off = [n for adder in adders for n in adder.perhaps]
        self.assertLess(len(cut_off), 12)
        numbers = [number(node, "visits") for node in cluster]
        self.assertEqual(len(set(numbers)), 1, numbers)
        self.assertIn(numbers[0] - sure, sums_of(cut_off))
        self.assertEqual(cluster.wait_equal(), {})  # no keys

    def test_a_delete_takes_back_what_it_saw(self):
        """Two nodes that do not hear each other delete the same and add more: what was added
        meanwhile stands, and what both deleted is gone once."""
        pacha, kronk = cluster = self.cluster("pacha", "kronk")
        add(pacha, "a", 5, w="all", wait="10s")
        add(kronk, "a", 6, w="all", wait="10s")
        add(pacha, "b", 1, w="all", wait="10s")
        self.assertEqual([number(node, "a") for node in cluster], [11, 11])
        for node in cluster:
            self.assertEqual(node.call("POST", "/cluster/pause").status, 200)
        for node, more in ((pacha, 100), (kronk, 1000)):
            add(node, "a", more)
            self.assertEqual(node.call("DELETE", "/counters/a").data, 0)
            self.assertEqual(number(node, "a"), 404)
            self.assertEqual(node.call("DELETE", "/counters/b").data, 0)
            add(node, "a", more + 1)
        for node in cluster:
            self.assertEqual(node.call("POST", "/cluster/resume").status, 200)
        until(lambda: [number(node, "a") for node in cluster] == [1102, 1102], 30,
              lambda: f"1102 on both, not {[number(node, 'a') for node in cluster]}")
        cluster.wait_equal()
        for node in cluster:
            self.assertEqual(number(node, "b"), 404)
            page = node.call("GET", "/counters").data
            self.assertEqual(page, {"Counters": [{"Key": "a", "Value": 1102}], "Next": ""})
        self.assertEqual(kronk.call("DELETE", "/counters/b").data, 0)  # nothing, and nothing is written

    def test_a_context_is_waited_for(self):
        """What one node has added is counted at the next one that is asked with its context."""
        pacha, kronk = self.cluster("pacha", "kronk")
        for n in range(1, 21):
            context = {"X-Yzma-Context": add(pacha, "a", 1).headers["X-Yzma-Context"]}
            self.assertEqual(kronk.call("GET", "/counters/a?wait=10s", headers=context).data, n)


class Sets(SystemTest):
    def test_an_add_wins(self):
        """Added at one and removed at another at once, an element stays; removed alone it goes."""
        pacha, kronk, _ = cluster = self.cluster("pacha", "kronk", "yzma")
        tags = ["red", "green", {"b": 1, "a": [2]}, 17, None]
        context = change(pacha, "tags", tags).headers["X-Yzma-Context"]
        for node in cluster:
            got = node.call("GET", "/sets/tags?count=true&wait=10s", headers={"X-Yzma-Context": context})
            self.assertEqual(got.data, {"Count": 5})
        for node in (pacha, kronk):
            self.assertEqual(node.call("POST", "/cluster/pause").status, 200)
        self.assertEqual(change(pacha, "tags", ["red", "blue"]).data, {"Added": 1, "Removed": 0})
        self.assertEqual(change(kronk, "tags", [], ["red", "green"]).data, {"Added": 0, "Removed": 2})
        for node in (pacha, kronk):
            self.assertEqual(node.call("POST", "/cluster/resume").status, 200)
        cluster.wait_equal()
        wanted = sorted(json.dumps(e, sort_keys=True) for e in ["red", "blue", *tags[2:]])
        for node in cluster:
            until(lambda: elements(node, "tags") == wanted, 30, lambda: f"{elements(node, 'tags')}")
            self.assertEqual(node.call("GET", "/sets/tags?member=" + quote(' "r\\u0065d" ')).data, True)
            self.assertEqual(node.call("GET", "/sets/tags?member=" + quote('{"a":[2],"b":1}')).status, 404)
            self.assertEqual(node.call("GET", "/sets").data, {"Sets": [{"Key": "tags"}], "Next": ""})
        gone = cluster[2].call("DELETE", "/sets/tags")
        self.assertEqual(gone.data, {"Deleted": 5})
        context = {"X-Yzma-Context": gone.headers["X-Yzma-Context"]}
        self.assertEqual(pacha.call("GET", "/sets/tags?count=true&wait=10s", headers=context).data, {"Count": 0})
        cluster.wait_equal()
        for node in cluster:
            self.assertEqual(node.call("GET", "/sets/tags").data, {"Elements": [], "Next": ""})
            self.assertEqual(node.call("GET", "/sets").data, {"Sets": [], "Next": ""})

    def test_many(self):
        """More elements than a transaction, a page or a slice holds; and sets around it."""
        node = self.node().start()
        for name in ("a", "many", "many!", "z"):
            change(node, name, [name])
        for first in range(0, 5000, 2500):
            change(node, "many", range(first, first + 2500))
        self.assertEqual(node.call("GET", "/sets/many?count=true").data, {"Count": 5001})
        page = node.call("GET", "/sets/many?limit=5000").data
        rest = node.call("GET", "/sets/many?after=" + page["Next"]).data
        self.assertEqual((len(page["Elements"]), len(rest["Elements"]), rest["Next"]), (5000, 1, ""))
        names, after = [], ""
        while len(names) < 10:
            page = node.call("GET", "/sets?limit=1&after=" + quote(after)).data
            names += [entry["Key"] for entry in page["Sets"]]
            after = page["Next"]
            if not after:
                break
        self.assertEqual(names, ["a", "many", "many!", "z"])
        self.assertEqual(node.call("DELETE", "/sets/many").data, {"Deleted": 5001})
        listed = node.call("GET", "/sets?prefix=many").data
        self.assertEqual(listed, {"Sets": [{"Key": "many!"}], "Next": ""})


class Apart(SystemTest):
    def test_no_space_shows_another(self):
        """The same names in all three; each call sees its own, and a backup has all."""
        node = self.node().start()
        for name in ("x", "x/1"):
            node.put(name, name)
            add(node, name, 3)
            change(node, name, [name])
        cursor = node.call("GET", "/watch?poll=1ms").data["Cursor"]
        add(node, "y", 1), change(node, "y", [1]), node.put("y", 1)
        events = node.call("GET", "/watch?poll=10s&since=" + cursor).data["Events"]
        self.assertEqual([event["Key"] for event in events], ["y"])
        begun = node.call("GET", "/watch?poll=10s&since=0").data["Events"]
        self.assertEqual([e.get("Key") for e in begun], ["x", "x/1", "y", None])
        keys = ["x", "x/1", "y"]
        self.assertEqual([e["Key"] for e in node.call("GET", "/keys").data["Keys"]], keys)
        self.assertEqual([e["Key"] for e in node.call("GET", "/keys?reverse=true").data["Keys"]], keys[::-1])
        self.assertEqual(node.call("GET", "/keys?count=true").data, {"Count": 3})
        self.assertEqual(len(node.call("GET", "/keys?limit=0").body.splitlines()), 3)
        listed = node.call("GET", "/counters").data["Counters"]
        self.assertEqual(listed, [{"Key": "x", "Value": 3}, {"Key": "x/1", "Value": 3}, {"Key": "y", "Value": 1}])
        gone = node.call("DELETE", "/keys?prefix=")
        self.assertEqual(gone.data, {"Deleted": 3})
        self.assertIn("X-Yzma-Context", gone.headers)
        self.assertNotIn("X-Yzma-Context", node.call("DELETE", "/keys?prefix=").headers)
        self.assertEqual((number(node, "x"), elements(node, "x")), (3, ['"x"']))
        self.check_tools(node)

    def check_tools(self, node):
        file = self.folder + "/backup"
        code, out, err = tool("backup", "-c", node.config_path, file)
        self.assertEqual(code, 0, err)
        other = self.node("other")
        other.write_config()
        code, out, err = tool("restore", "-c", other.config_path, file)
        self.assertEqual(code, 0, err)
        other.start()
        self.assertEqual((number(other, "x"), elements(other, "x/1")), (3, ['"x/1"']))
        code, out, err = tool("doctor", "--compare", node.api_address, other.api_address)
        self.assertEqual((code, out), (0, "no key differs\n"), err)
        add(other, "x", 1), change(other, "more", [1])
        code, out, err = tool("doctor", "--compare", node.api_address, other.api_address)
        self.assertEqual(code, 3, err)
        self.assertIn("differs: counter x\n", out)
        self.assertRegex(out, r"differs: element [0-9a-f]{32} of set more\n")


class Watches(SystemTest):
    def test_counters_and_elements(self):
        """Readers of the three spaces at once, as streams and as polls: each is shown its own, a
        counter by its number, an element with its hash, by which a removal names it."""
        node = self.node().start()
        add(node, "before", 2), change(node, "before", ["b"])
        watches = {space: Watch(node, space=space, since="0") for space in ("keys", "counters", "sets")}
        for watch in watches.values():
            self.addCleanup(watch.close)
            watch.wait(lambda w: "listed" in w.kinds())
        self.assertEqual([e["Kind"] for e in watches["keys"].events if e["Kind"] != "heartbeat"], ["listed"])
        cursors = {space: poll(node, space=space, poll="1ms")["Cursor"] for space in watches}
        add(node, "x", 3), node.put("x", 1), change(node, "x", ["red", {"a": 1}])
        for space, watch in watches.items():
            watch.wait(lambda w: "x" in w.keys())
        add(node, "x", -5), change(node, "x", [], ["red"])
        watches["counters"].wait(lambda w: w.keys().get("x") == -2)
        watches["sets"].wait(lambda w: "delete" in w.kinds())
        put, other, gone = [e for e in watches["sets"].events if e.get("Key") == "x"]
        self.assertEqual({json.dumps(e["Element"]) for e in (put, other)}, {'"red"', '{"a": 1}'})
        red = put if put["Element"] == "red" else other
        self.assertEqual((gone["Kind"], gone["Hash"], gone["Node"]), ("delete", red["Hash"], node.member_name))
        self.assertRegex(red["Hash"], "^[0-9a-f]{32}$")
        self.assertNotIn("Element", gone)
        node.call("DELETE", "/counters/x")
        watches["counters"].wait(lambda w: "delete" in w.kinds())
        self.assertEqual(watches["counters"].keys(), {"before": 2, "x": None})
        self.assertEqual(watches["keys"].keys(), {"x": 1})
        for space, shown in (("keys", ["put"]), ("counters", ["delete"]), ("sets", ["put", "delete"])):
            events = poll(node, space=space, poll="10s", since=cursors[space])["Events"]
            self.assertEqual(sorted(e["Kind"] for e in events), sorted(shown), space)
            self.assertEqual({e["Key"] for e in events}, {"x"})
        bare = poll(node, space="sets", poll="10s", since="0", values="false", prefix="bef")["Events"]
        self.assertEqual([sorted(e) for e in bare], [["Hash", "Key", "Kind", "Node", "Space", "Stamp"], ["Kind"]])

    def test_a_poll_waits_for_its_space(self):
        """Changes of the other spaces under the same name do not wake it."""
        node = self.node().start()
        for space, do in (("counters", lambda: add(node, "x", 1)), ("sets", lambda: change(node, "x", [1]))):
            waiting = node.client()
            waiting.connection.request("GET", f"/watch?poll=60s&prefix=x&space={space}")
            until(lambda: node.counters()["api_watchers"] == 1, 10, "the poll waits")
            shown = node.counters()["api_watch_events"]
            node.put("x", 1), add(node, "y", 1), change(node, "y", [1])
            do()
            events = json.loads(waiting.connection.getresponse().read())["Data"]["Events"]
            self.assertEqual([(e["Kind"], e["Key"]) for e in events], [("put", "x")])
            self.assertEqual(node.counters()["api_watch_events"], shown + 1)
            waiting.close()

    def test_from_node_to_node(self):
        """A cursor of any space holds at the next node, and none of its numbers is older there."""
        pacha, kronk = cluster = self.cluster("pacha", "kronk")
        cursor, seen, hashes = poll(pacha, space="counters", poll="1ms")["Cursor"], [], set()
        sets = poll(pacha, space="sets", poll="1ms")["Cursor"]
        for n in range(1, 11):
            writer, reader = cluster[n % 2], cluster[n // 2 % 2]
            add(writer, "a", 1), change(writer, "s", [n])
            while not seen or seen[-1] < n:
                data = poll(reader, space="counters", since=cursor, poll="10s")
                cursor = data["Cursor"]
                seen += [e["Value"] for e in data["Events"]]
            while len(hashes) < n:
                data = poll(reader, space="sets", since=sets, poll="10s")
                sets = data["Cursor"]
                hashes |= {e["Hash"] for e in data["Events"]}
        self.assertEqual(seen, sorted(seen))
        # a listing under way is one of its space
        middle = Watch(pacha, space="sets", since="0").wait(lambda w: w.keys())
        self.addCleanup(middle.close)
        begun = next(e["Cursor"] for e in middle.events if e["Kind"] == "put")
        for query in ("", "&space=counters", "&prefix=s"):
            answer = kronk.call("GET", f"/watch?poll=1ms&since={begun}{query}")
            self.assertEqual(answer.status, 400, query)
            self.assertIn("space", answer.error)
        rest = poll(kronk, space="sets", since=begun, poll="10s")["Events"]
        self.assertEqual([e["Kind"] for e in rest], 9 * ["put"] + ["listed"])


    def test_they_wait_for_a_context(self):
        """A stream, a poll and an export begin once the node has what their client has seen."""
        pacha, kronk = self.cluster("pacha", "kronk")
        self.assertEqual(kronk.call("POST", "/cluster/pause").status, 200)
        context, got = {"X-Yzma-Context": pacha.put("k", 1).headers["X-Yzma-Context"]}, {}

        def ask(name, target):
            client = kronk.client()
            got[name] = client.call("GET", target, headers=context)
            client.close()

        def watch():
            got["stream"] = Watch(kronk, since="0", wait="20s", headers=context)

        threads = [threading.Thread(target=watch), threading.Thread(target=ask, args=("export", "/export?wait=20s")),
                   threading.Thread(target=ask, args=("poll", "/watch?since=0&poll=1ms&wait=20s"))]
        for thread in threads:
            thread.start()
        until(lambda: kronk.counters()["api_waits"] == 3, 20, "all wait")
        self.assertEqual(got, {})
        self.assertEqual(kronk.call("POST", "/cluster/resume").status, 200)
        for thread in threads:
            thread.join(60)
        self.addCleanup(got["stream"].close)
        self.assertEqual(got["stream"].wait(lambda w: "listed" in w.kinds()).keys(), {"k": 1})
        self.assertEqual([e["Kind"] for e in got["poll"].data["Events"]], ["put", "listed"])
        self.assertEqual(got["export"].body, b'{"Key":"k","Value":1}\n')
        kronk.put("l", 2)
        got["stream"].wait(lambda w: w.keys().get("l") == 2)


class Exports(SystemTest):
    def test_a_store_is_restored(self):
        """Exports of the three spaces, one behind the other, make another store the same; taken in
        again they change nothing; and a counter that was there is brought to the number."""
        node, other = self.node("pacha").start(), self.node("kronk").start()
        numbers = {"a": 17, "b": -3, "max": (1 << 63) - 1, "min": -(1 << 63), "zero": 0, "é/ü": 5}
        for name, n in numbers.items():
            add(node, name, n)
        add(node, "gone", 1), node.call("DELETE", "/counters/gone")
        change(node, "s", ["red", {"x": [1, "\n"]}, None, 17]), change(node, "t", [1, 2], [3])
        node.put("k", "v")
        lines = b"".join(export(node, space=space) for space in ("keys", "counters", "sets"))
        self.assertEqual(lines.count(b"\n"), 1 + len(numbers) + 6)
        self.assertIn('{"Counter":"é/ü","Value":5}\n'.encode(), lines)
        self.assertIn(b'{"Set":"s","Element":{"x":[1,"\\n"]}}\n', lines)
        add(other, "a", 1000), change(other, "s", ["kept"])
        done = take_in(other, lines)
        self.assertEqual((done.status, done.data["Imported"], done.data["Key"]), (200, 13, "k"))
        self.assertEqual({n: number(other, n) for n in [*numbers, "gone"]}, {**numbers, "gone": 404})
        self.assertEqual(elements(other, "s"), sorted([*elements(node, "s"), '"kept"']))
        self.assertEqual(elements(other, "t"), ["1", "2"])
        self.assertEqual(export(other, space="counters"), export(node, space="counters"))
        before = other.status()["Clock"]
        again = take_in(other, export(node, space="counters"))
        self.assertEqual((again.status, again.data["Imported"]), (200, len(numbers)))
        self.assertEqual(other.status()["Clock"], before)  # nothing was written
        other.wait_counters(api_import_lines=13 + len(numbers), api_import_lines_refused=0, api_import_batches=2)
        self.check_tool(other, lines)

    def check_tool(self, node, lines):
        with open(self.folder + "/lines", "wb") as file:
            file.write(lines + b'{"Set":"s","Element":"%s"}\n' % (65535 * b"e"))
        code, out, err = tool("import", file.name, "--server", node.api_address, "--into", "copy/")
        self.assertEqual((code, out), (3, "13 imported, 0 expired before, 1 left out\n"), err)
        self.assertIn("left out copy/s: ", err)
        self.assertEqual(number(node, "copy/max"), (1 << 63) - 1)
        self.assertEqual(elements(node, "copy/t"), ["1", "2"])

    def test_parts(self):
        """By prefix, behind a name and before one; elements lie behind the name of their set."""
        node = self.node().start()
        for name in ("a", "b", "b!", "c"):
            add(node, name, 1), change(node, name, [name])
        for space, of in (("counters", "Counter"), ("sets", "Set")):
            def names(**params):
                return "".join(json.loads(line)[of] for line in export(node, space=space, **params).splitlines())
            self.assertEqual(names(), "abb!c")
            self.assertEqual(names(prefix="b"), "bb!")
            self.assertEqual(names(after="b"), "b!c" if space == "counters" else "bb!c")
            self.assertEqual(names(end="b!"), "ab")
            self.assertEqual(names(after="b!", end="c", prefix="b"), "" if space == "counters" else "b!")

    def test_many(self):
        """More than a slice, a batch or a transaction holds."""
        node, other = self.node("pacha").start(), self.node("kronk").start()
        lines = b"".join(b'{"Counter":"c%d","Value":%d}\n' % (n, n) for n in range(5000))
        lines += b"".join(b'{"Set":"s","Element":%d}\n' % n for n in range(5000))
        self.assertEqual(take_in(node, lines).data["Imported"], 10000)
        self.assertEqual(node.counters()["api_import_batches"], 10)
        out = export(node, space="counters") + export(node, space="sets")
        self.assertEqual(sorted(out.splitlines()), sorted(lines.splitlines()))
        context = take_in(other, out).headers["X-Yzma-Context"]
        got = other.call("GET", "/counters?limit=10000", headers={"X-Yzma-Context": context}).data["Counters"]
        self.assertEqual({e["Key"]: e["Value"] for e in got}, {f"c{n}": n for n in range(5000)})
        self.assertEqual(other.call("GET", "/sets/s?count=true").data, {"Count": 5000})

    def test_lines_that_are_refused(self):
        """Each with what is wrong in it; what stands before it is stored, what stands behind it not."""
        node = self.node().start()
        good = b'{"Counter":"a","Value":1}\n'
        for line, status, why in (
                (b'{"Counter":"b","Value":null}', 400, "Value"), (b'{"Counter":"b","Value":1.5}', 400, "Value"),
                (b'{"Counter":"b","Value":9223372036854775808}', 400, "Value"), (b'{"Counter":"b"}', 400, "Value"),
                (b'{"Counter":"b","Value":1,"Key":"b"}', 400, "Key"), (b'{"Counter":"","Value":1}', 400, "Counter"),
                (b'{"Counter":"b","Value":1,"Expires":"2100-01-01T00:00:00Z"}', 400, "Expires"),
                (b'{"Counter":"%s","Value":1}' % (461 * b"n"), 400, "460"), (b'{"Counter":7,"Value":1}', 400, "Counter"),
                (b'{"Set":"b"}', 400, "Element"), (b'{"Set":"b\\u0001","Element":1}', 400, "U+0001"),
                (b'{"Set":"b","Element":1,"Value":2}', 400, "Value"), (b'{"Key":"b","Element":1}', 400, "Element"),
                (b'{"Set":"b","Counter":"b","Value":1}', 400, "Set"),
                (b'{"Set":"b","Element":"%s"}' % (65535 * b"e"), 413, "64 KiB")):
            answer = take_in(node, good + line + b"\n" + good.replace(b'"a"', b'"b"'))
            self.assertEqual((answer.status, answer.data["Line"], answer.data["Lines"]), (status, 2, 1), answer)
            self.assertIn(why, answer.error)
        self.assertEqual([number(node, name) for name in "ab"], [1, 404])
        node.wait_counters(api_import_lines_refused=15, api_import_lines=15)

    def test_bad_use(self):
        node = self.node().start()
        for query, named in (("space=some", "space"), ("space=", "space"), ("space=sets&space=sets", "space"),
                             ("space=sets&prefix=" + 461 * "n", "prefix"),
                             ("space=counters&after=" + 461 * "n", "after"),
                             ("space=counters&end=" + 461 * "n", "end"), ("space=sets&siblings=true", "siblings")):
            answer = node.call("GET", "/export?" + query)
            self.assertEqual(answer.status, 400, query)
            self.assertIn(f'"{named}"', answer.error)
        self.assertEqual(export(node, space="keys", prefix=480 * "n"), b"")

    def test_a_number_that_does_not_fit(self):
        """What two nodes have added together is told as null, and no import takes that."""
        pacha, kronk = cluster = self.cluster("pacha", "kronk")
        for node in cluster:
            self.assertEqual(node.call("POST", "/cluster/pause").status, 200)
        for node in cluster:
            add(node, "full", (1 << 63) - 1)
        for node in cluster:
            self.assertEqual(node.call("POST", "/cluster/resume").status, 200)
        until(lambda: number(pacha, "full") == number(kronk, "full") == 409, 30, "both have added")
        self.assertEqual(export(pacha, space="counters"), b'{"Counter":"full","Value":null}\n')
        events = poll(kronk, space="counters", since="0", poll="10s")["Events"]
        self.assertEqual((events[0]["Key"], events[0]["Value"]), ("full", None))
        self.assertEqual(take_in(pacha, b'{"Counter":"full","Value":1}').status, 200)
        self.assertEqual(number(pacha, "full"), 1)


if __name__ == "__main__":
    unittest.main()
