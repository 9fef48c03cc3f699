"""Counters and sets: three nodes add, remove and delete at once, through restarts and
kills; and neither is seen as a key."""
import json
import subprocess
import threading
import unittest
from urllib.parse import quote, urlencode

from harness import SANITIZED, SystemTest, until
from harness.node import BINARY

ADDS = 40 if SANITIZED else 150


def tool(*args):
    done = subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def add(node, name, n, **params):
    answer = node.call("POST", "/counters/" + name + ("?" + urlencode(params) if params else ""),
                       json.dumps({"Add": n}).encode())
    assert answer.status in (200, 202), answer
    return answer


def number(node, name):
    answer = node.call("GET", "/counters/" + name)
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

    def add(self, n):
        """A call that finds no node has added nothing, and is made again."""
        body = json.dumps({"Add": n}).encode()

        def done():
            try:
                answer = self.api.call("POST", "/counters/" + self.name_, body)
            except ConnectionRefusedError:
                return False
            except Exception:  # the node was killed in between
                self.perhaps.append(n)
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
        self.assertEqual(cluster[2].call("DELETE", "/sets/tags").data, {"Deleted": 5})
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
        self.assertEqual(node.call("DELETE", "/keys?prefix=").data, {"Deleted": 3})
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


if __name__ == "__main__":
    unittest.main()
