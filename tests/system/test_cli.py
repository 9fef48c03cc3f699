"""The command line: every command on the real binary, against real nodes, and against servers
that break off where a real one seldom does."""
import base64
import fcntl
import json
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading
import unittest

from harness import HOST, SystemTest, free_ports, until
from harness.node import BINARY
from harness.wait import PATIENCE

PNG = bytes(range(256))


class BrokenServer:
    """Takes connections one by one, notes what was asked, and answers with `answer`, or not
    at all: then the connection ends after the request was read."""

    def __init__(self, answer=b""):
        self.asked, self.answer = [], answer
        self.socket = socket.create_server((HOST, free_ports(1)))
        self.address = "%s:%d" % self.socket.getsockname()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as file:
                head = []
                while (line := file.readline()) not in (b"\r\n", b""):
                    head.append(line.decode().strip())
                length = next((int(h.split(":")[1]) for h in head if h.lower().startswith("content-length:")), 0)
                self.asked.append((head[0], file.read(length).decode()))
                connection.sendall(self.answer)

    def close(self):
        self.socket.close()


def plain_answer(status, body):
    return (f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Connection: close\r\n\r\n{body}").encode()


class Cli(SystemTest):
    def setUp(self):
        super().setUp()
        self.servers = ""
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("YZMA_SERVER")}
        self.environment["HOME"] = self.folder

    def run_yzma(self, *args, stdin=b"", env=None):
        done = subprocess.run([BINARY, *args], cwd=self.folder, capture_output=True, timeout=60 * PATIENCE,
                              input=stdin, env={**self.environment, **(env or {})}, check=False)
        return done.returncode, done.stdout, done.stderr.decode()

    def yzma(self, *args, code=0, stdin=b"", env=None):
        """What it prints, of self.servers; bytes where they are no text."""
        found, out, err = self.run_yzma(*args, *(["-s", self.servers] if self.servers else []), stdin=stdin, env=env)
        self.assertEqual(found, code, (args, out, err))
        self.assertEqual(len(err.splitlines()), 1 if code else 0, err)
        try:
            return out.decode()
        except UnicodeDecodeError:
            return out

    def refused(self, *args, code=1, stdin=b""):
        """The line that tells why."""
        found, out, err = self.run_yzma(*args, *(["-s", self.servers] if self.servers else []), stdin=stdin)
        self.assertEqual(found, code, (args, out, err))
        self.assertEqual(len(err.splitlines()), 1, err)
        return err

    def lines(self, *args, **more):
        return [json.loads(line) for line in self.yzma(*args, "--json", **more).splitlines()]

    def write(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def one_node(self):
        node = self.node("pacha").start()
        self.servers = node.api_address
        return node

    def pair(self):
        cluster = self.cluster("pacha", "kronk")
        self.servers = ",".join(node.api_address for node in cluster)
        return cluster

    # ---- values ---------------------------------------------------------------

    def test_values(self):
        node = self.one_node()
        self.assertEqual(self.yzma("put", "a/b c", '{"x" : 1.0}'), "added a/b c\n")
        self.assertEqual(self.yzma("get", "a/b c"), '{"x" : 1.0}\n')
        self.assertEqual(node.call("GET", "/keys/a/b%20c").status, 200)
        self.yzma("put", "in", "-", stdin=b"[1,\n2]")
        self.assertEqual(self.yzma("get", "in"), "[1,\n2]\n")
        png = self.write("x.png", PNG)
        self.yzma("put", "png", "@" + png, "--type", "image/png")
        self.assertEqual(self.yzma("get", "png", "--raw"), PNG)
        self.yzma("put", "json", "--file", self.write("x.json", b"7"), "--ttl", "1h")
        (entry,) = self.lines("get", "json")
        self.assertEqual((entry["Key"], entry["Value"]), ("json", 7))
        self.assertIn("T", entry["Expires"])
        self.assertIn("Context", entry)
        (entry,) = self.lines("get", "png")
        self.assertEqual((base64.b64decode(entry["Value64"]), entry["Type"]), (PNG, "image/png"))
        self.assertIn("no such key: none", self.refused("get", "none", code=3))
        self.assertIn("no such key", self.refused("get", "none", "--json", code=3))

        self.assertIn("does not hold", self.refused("put", "json", "1", "--if-none-match", "*", code=3))
        etag = self.lines("get", "json")[0]["ETag"]
        self.yzma("put", "json", "8", "--if-match", etag)
        self.refused("put", "json", "9", "--if-match", etag, code=3)
        self.yzma("put", "json", "--touch", "--ttl", "2h")
        self.assertEqual(self.yzma("get", "json"), "8\n")
        context = self.yzma("get", "json", "--context").strip()
        (done,) = self.lines("put", "json", "10", "--with", context)
        self.assertEqual(done["Key"], "json")
        self.assertEqual(self.yzma("get", "json", "--with", done["Context"]), "10\n")
        self.assertIn("another key", self.refused("put", "other", "1", "--with", context))
        self.yzma("put", "new", "1", "--with", self.yzma("get", "new", "--context").strip())

        self.assertEqual(self.yzma("delete", "json", "none"), "deleted json\ndeleted none\n")
        self.refused("get", "json", code=3)

    def test_bad_values(self):
        """Told by their place in what the user wrote, before anything is asked."""
        self.servers = f"{HOST}:1"
        self.assertIn('no JSON, at line 1, column 1: unexpected character; a text is',
                      self.refused("put", "k", "hello"))
        self.assertIn("no JSON, at line 2, column 3:", self.refused("put", "k", '{"a":1,\n  b}'))
        path = self.write("bad.json", b'{"a":\n [1,]}')
        self.assertIn(f"{path}:2:5: no JSON: unexpected", self.refused("put", "k", "@" + path))
        self.assertIn("standard input:1:3:", self.refused("put", "k", "-", stdin=b"[1"))
        lines = b'{"Op":"delete","Key":"a"}\n\n{"Op":"delete","Key":}\n'
        self.assertIn("standard input:3:22:", self.refused("batch", "-", stdin=lines))
        self.assertIn("standard input:2:1:", self.refused("batch", "-", stdin=b'{"Ops":[\n}'))
        self.assertIn("No such file", self.refused("put", "k", "--file", "absent"))
        self.assertIn("must have one of VALUE", self.refused("put", "k", code=2))

    def test_lists(self):
        node = self.one_node()
        for i in range(30):
            node.put(f"l/{i:02}", {"i": i})
        node.call("PUT", "/keys/l/png", PNG, {"Content-Type": "image/png"})
        node.put("m", b'[1,\n2]')
        self.assertEqual(self.yzma("list", "l/0", "-n", "2"), "l/00\nl/01\n")
        self.assertEqual(self.yzma("list", "l/2", "-r", "-n", "1", "--values"), 'l/29\t{"i": 29}\n')
        self.assertEqual(self.yzma("list", "l/p", "-v"), "l/png\t(image/png)\n")
        self.assertEqual(self.yzma("list", "m", "-v"), "m\t[1, 2]\n")
        self.assertEqual(self.lines("list", "-d", "/"), [{"Folder": "l/"}, {"Key": "m"}])
        self.assertEqual(len(self.lines("list", "--after", "l/10", "--end", "l/13")), 2)
        self.assertEqual(self.yzma("count", "l/"), "31\n")
        self.assertEqual(self.lines("count"), [{"Count": 32}])
        # One that breaks off is gone on with at the next server, behind the last key.
        broken = BrokenServer(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"Key":"l/00"}\n{"Key":"l/01"}\n{"Key":"l/')
        self.addCleanup(broken.close)
        alone, self.servers = self.servers, f"{broken.address},{self.servers}"
        self.assertEqual(self.yzma("list", "l/", "-n", "4"), "l/00\nl/01\nl/02\nl/03\n")
        self.servers = alone
        self.assertEqual(self.yzma("delete", "--prefix", "l/"), "deleted 31\n")
        self.assertEqual(self.yzma("list"), "m\n")
        # On a terminal: a table, and colours unless they are not wanted.
        for colour in ("", "1"):
            shown = self.on_terminal("list", env={"NO_COLOR": colour, "TERM": "xterm"})
            self.assertIn("KEY", shown)
            self.assertEqual("\033" in shown, not colour)
        # What has no room beside the others stands below, or is cut.
        self.yzma("put", "k" * 75, '"value"')
        narrow = {"NO_COLOR": "1", "TERM": "xterm"}
        self.assertRegex(self.on_terminal("list", "k", "-v", env=narrow), r'k +\r\n    "value"\r\n')
        self.assertIn("is no JSON", self.refused("put", "m", "x"))

    def on_terminal(self, *args, env):
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        done = subprocess.run([BINARY, *args, "-s", self.servers], stdin=subprocess.DEVNULL, stdout=slave, check=True,
                              timeout=60 * PATIENCE, env={**self.environment, **env}, cwd=self.folder)
        os.close(slave)
        self.assertEqual(done.returncode, 0)
        shown = os.read(master, 65536).decode()
        os.close(master)
        return shown

    def test_batches_and_conflicts(self):
        node = self.one_node()
        operations = [{"Op": "put", "Key": f"b{i}", "Value": i} for i in range(3)]
        text = "".join(json.dumps(o) + "\n" for o in operations).encode()
        self.assertEqual(self.yzma("batch", "-", stdin=text), "3 operations, 0 deleted\n")
        array = json.dumps([{"Op": "delete", "Key": "b0"}], indent=1).encode()
        self.assertEqual(self.yzma("batch", self.write("ops", array)), "1 operations, 1 deleted\n")
        whole = json.dumps({"Ops": [{"Op": "put", "Key": "b1", "Value": 9, "IfNoneMatch": "*"}]}).encode()
        self.assertIn("operation 0: IfMatch or IfNoneMatch does not hold (counted from 0; its key: b1)", self.refused("batch", "-", code=3, stdin=whole))
        self.assertEqual(node.value("b1"), "1")

        self.assertEqual(self.yzma("conflicts"), "")
        self.yzma("put", "c", "1")
        self.yzma("put", "c", '"two"', "--add", "--type", "application/json")
        self.yzma("put", "c", "three", "--add", "--type", "text/plain")
        self.assertEqual(self.lines("conflicts"), [{"Key": "c", "Versions": 3}])
        self.assertIn("3  ", self.yzma("conflicts", "c"))
        whole = self.yzma("export", "--siblings").splitlines(keepends=True)
        self.assertEqual([json.loads(line).get("Sibling", False) for line in whole], [False] * 3 + [True] * 2)
        # What has not all versions of its last key, and half a line, begins with that key again.
        path = self.write("some", "".join(whole[:4]).encode() + b'{"Key":')
        self.assertEqual(self.yzma("export", "--siblings", "--resume", path), f"3 exported to {path}\n")
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.read(), "".join(whole))
        versions = self.yzma("get", "c", "--siblings").splitlines()
        self.assertEqual(len(versions), 4)
        self.assertEqual(self.yzma("resolve", "c").splitlines(), versions)
        (number,) = [line.split()[0] for line in versions if line.endswith('"two"')]
        self.assertIn("there are 3 versions", self.refused("resolve", "c", "--take", "4"))
        self.yzma("resolve", "c", "--take", number)
        self.assertEqual((self.yzma("get", "c"), self.yzma("conflicts")), ('"two"\n', ""))
        self.yzma("put", "c", "5", "--add")
        self.yzma("resolve", "c", "6")
        self.assertEqual(len(node.siblings("c")), 1)
        self.assertEqual(self.yzma("get", "c"), "6\n")

    # ---- the cluster ----------------------------------------------------------

    def test_cluster(self):
        pacha, kronk = self.node("pacha").start(), self.node("kronk").start()
        self.servers = kronk.api_address
        self.assertEqual(self.yzma("join", pacha.gossip), "joined 1 of 1\n")
        self.refused("join", f"{HOST}:1")
        replication = next(m["APIIngress"] for m in pacha.call("GET", "/cluster/members").data["Members"] if m["Self"])
        code, out, _ = self.run_yzma("join", pacha.api_address, replication, "-s", self.servers)
        wrong, garbled = sorted(out.decode().splitlines(), key=lambda line: "malformed" in line)
        self.assertEqual(code, 1)
        self.assertRegex(wrong, f"^failed: {pacha.api_address}: closed .* API of a node, that is {pacha.gossip}$")
        self.assertRegex(garbled, f"^failed: {replication}: malformed .* and not that of replication")
        until(lambda: kronk.sees(pacha) == "alive" and pacha.sees(kronk) == "alive", 15, "they are one cluster")
        until(lambda: [link["State"] for link in kronk.status()["Links"]] == ["up"], 15, "they are linked")
        rows = self.yzma("members").splitlines()
        self.assertEqual(len(rows), 3)
        self.assertTrue(any(r.startswith("pacha-") and " alive " in r and pacha.gossip in r for r in rows), rows)
        self.assertEqual(len(self.lines("members")[0]["Members"]), 2)
        self.assertEqual(self.yzma("put", "k", "1", "-w", "all", "--wait", "20s"),
                         "added k, on disk at 2 of 2 replicas\n")
        until(lambda: kronk.call("GET", "/ready").status == 200, 15, "it is ready")
        status = self.yzma("status")
        self.assertRegex(status, r"node +kronk-")
        self.assertRegex(status, r"ready +yes")
        self.assertRegex(status, r"members +2 alive")
        self.assertRegex(status, r"pacha-\S+ +up ")
        self.assertEqual(self.lines("status")[0]["Status"]["Replica"], kronk.status()["Replica"])
        self.assertIn("not sealed", self.yzma("keys", "list"))
        self.assertIn("in the clear", self.refused("keys", "install", "-", stdin=base64.b64encode(PNG[:16])))

        self.assertEqual(self.yzma("pause"), "paused\n")
        self.assertRegex(self.yzma("status"), "ATTENTION +paused")
        self.assertEqual(self.yzma("resume"), "resumed\n")
        pacha.term()
        self.assertIn("1 of 2 wanted", self.refused("put", "k", "2", "-w", "2", "--wait", "10ms", code=3))
        self.assertEqual(self.yzma("get", "k"), "2\n")
        self.assertEqual(self.yzma("leave"), "left the cluster\n")
        self.assertIn("no such replica", self.refused("forget", "nobody"))

    # ---- failover -------------------------------------------------------------

    def test_failover(self):
        """The next server where one does not answer, and nothing twice that must not be."""
        pacha, kronk = self.pair()
        self.yzma("put", "k", "1")
        until(lambda: kronk.get("k").status == 200, 15, "it is on both")
        pacha.kill9()
        self.assertEqual(self.yzma("get", "k"), "1\n")
        self.yzma("put", "k", "2")
        servers, self.servers = self.servers, ""
        self.assertEqual(self.yzma("get", "k", env={"YZMA_SERVER": servers}), "2\n")
        self.assertEqual(self.yzma("get", "k", "-c", kronk.config_path, env={"YZMA_SERVER": "nowhere:1"}), "2\n")
        self.assertIn("YZMA_SERVER: x: must be host:port",
                      self.run_yzma("get", "k", env={"YZMA_SERVER": "x"})[2])

        unavailable = BrokenServer(plain_answer(503, '{"Status":"error","Error":"busy","Data":null}'))
        silent = BrokenServer()
        self.addCleanup(unavailable.close)
        self.addCleanup(silent.close)
        self.servers = ",".join([unavailable.address, silent.address, kronk.api_address])
        self.assertEqual(self.yzma("get", "k"), "2\n")
        self.yzma("put", "k", "3")
        self.assertEqual(kronk.value("k"), "3")
        self.assertEqual([len(s.asked) for s in (unavailable, silent)], [2, 2])
        # A sum, a second version, a condition: once.
        self.assertIn("busy", self.refused("incr", "n", "5"))
        self.assertEqual(unavailable.asked[-1], ("POST /counters/n HTTP/1.1", '{"Add":5}'))
        self.assertIn("busy", self.refused("put", "k", "4", "--add"))
        self.assertEqual(len(silent.asked), 2)
        self.servers = ",".join([silent.address, kronk.api_address])
        self.assertIn("may have been done", self.refused("incr", "n", "5"))
        self.assertIn("may have been done", self.refused("put", "k", "5", "--if-match", "*"))
        self.assertEqual(kronk.value("k"), "3")
        self.servers = ",".join([f"{HOST}:1", silent.address])
        self.assertIn(f"no node answers at {HOST}:1 (Connection refused), {silent.address} (",
                      self.refused("get", "k"))

    def test_counters(self):
        """What is asked, and what is shown of an answer."""
        server = BrokenServer(plain_answer(200, '{"Status":"ok","Error":"","Data":-3}'))
        self.addCleanup(server.close)
        self.servers = server.address
        self.assertEqual(self.yzma("incr", "a/b"), "-3\n")
        self.assertEqual(self.yzma("incr", "a/b", "-4"), "-3\n")
        self.assertEqual(self.yzma("get", "a/b", "--counter"), "-3\n")
        self.yzma("delete", "a/b", "--counter")
        self.assertEqual([(ask.split(" HTTP")[0], body) for ask, body in server.asked],
                         [("POST /counters/a/b", '{"Add":1}'), ("POST /counters/a/b", '{"Add":-4}'),
                          ("GET /counters/a/b", ""), ("DELETE /counters/a/b", "")])
        self.refused("incr", "a", "much", code=2)

    def test_spaces(self):
        """What is asked of other name spaces than that of keys, and what is shown."""
        line = '{"Set":"s","Element":"red"}\n'
        server = BrokenServer(plain_answer(200, line))
        self.addCleanup(server.close)
        self.servers = server.address
        self.assertEqual(self.yzma("export", "--space", "sets", "--prefix", "s"), line)
        path = self.write("some", line.encode())
        self.yzma("export", "--space", "sets", "--resume", path)
        self.assertEqual([ask.split()[1] for ask, _ in server.asked],
                         ["/export?space=sets&prefix=s", "/export?space=sets&after=s&member=%22red%22"])
        self.assertEqual(self.yzma("export", "--space", "all", "--contexts"), line)
        self.yzma("export", "--space", "all", "--resume", self.write("all", b'{"Counter":"c","Value":1}\n'))
        self.assertEqual([ask.split()[1] for ask, _ in server.asked[2:]],
                         ["/export?space=all&contexts=true", "/export?space=all&from=counters&after=c"])
        for wrong in (["export", "--space", "sets", "--siblings"], ["export", "--space", "counters", "--contexts"],
                      ["export", "--space", "all", "--prefix", "s"], ["export", "--space", "all", "--end", "s"],
                      ["watch", "--space", "all", "s"], ["watch", "--space", "all", "--key", "s"],
                      ["watch", "s", "--key", "s"], ["list", "--space", "all"]):
            self.refused(*wrong, code=2)

        event = '{"Kind":"%s","Space":"sets","Key":"s","Hash":"9f86","Cursor":"AQ"%s}\n'
        watched = BrokenServer(plain_answer(200, event % ("put", ',"Element":"red"') + event % ("delete", "")))
        self.addCleanup(watched.close)
        self.servers = watched.address
        code, out, _ = self.run_yzma("watch", "--space", "sets", "-n", "2", "-s", self.servers)
        self.assertEqual((code, out), (0, b'put    s "red"\ndelete s (9f86)\n'))
        self.assertEqual(watched.asked[0][0].split()[1], "/watch?space=sets")
        code, out, _ = self.run_yzma("watch", "--space", "sets", "--key", "s", "-n", "2", "-s", self.servers)
        self.assertEqual((code, watched.asked[1][0].split()[1]), (0, "/watch?space=sets&key=s"))
        code, out, _ = self.run_yzma("watch", "--space", "all", "-n", "2", "-s", self.servers)
        self.assertEqual((code, out), (0, b'put    set      s "red"\ndelete set      s (9f86)\n'))

    def test_counters_and_sets(self):
        self.one_node()
        self.assertEqual((self.yzma("incr", "n/1", "7"), self.yzma("incr", "n/2", "-2")), ("7\n", "-2\n"))
        self.assertEqual(self.yzma("incr", "n/1", "-w", "all"), "8\n")
        self.assertEqual(self.yzma("get", "n/1", "--counter"), "8\n")
        self.assertEqual(self.yzma("list", "--space", "counters", "-v"), "n/1\t8\nn/2\t-2\n")
        self.assertEqual(self.lines("list", "n/2", "--space", "counters"), [{"Key": "n/2", "Value": -2}])
        self.assertIn("does not fit", self.refused("incr", "n/1", str(2**63 - 1), code=3))
        self.assertEqual(self.yzma("delete", "n/1", "--counter"), "deleted n/1\n")
        self.refused("get", "n/1", "--counter", code=3)

        self.assertEqual(self.yzma("set", "add", "tags", "--text", "red", "-5", "red"), "added 2 of 3\n")
        self.assertEqual(self.lines("set", "add", "tags", '{"a" : 1}', '"red"', "-w", "1"),
                         [{"Key": "tags", "Added": 1, "Removed": 0, "Replicas": 1, "Wanted": 1, "Known": 1}])
        self.assertEqual(sorted(self.yzma("set", "list", "tags").splitlines()), ['"-5"', '"red"', '{"a":1}'])
        self.assertEqual(sorted(self.yzma("set", "list", "tags", "--text").splitlines()), ["-5", "red", '{"a":1}'])
        self.assertEqual(self.yzma("set", "has", "tags", '{"a":1}'), "true\n")
        self.assertIn("no such element", self.refused("set", "has", "tags", "1", code=3))
        self.assertEqual(self.yzma("set", "remove", "tags", "--text", "red", "blue"), "removed 1 of 2\n")
        self.assertIn("standard input:3:2: no JSON", self.refused("set", "add", "tags", "-", stdin=b"1\n\n[\n"))
        self.assertEqual(self.lines("set", "count", "tags"), [{"Count": 2}])
        # More than a transaction takes, and more than a page has.
        many = "".join(f"{n}\n" for n in range(10001)).encode()
        self.assertEqual(self.yzma("set", "add", "n", "--file", self.write("many", many)), "added 10001 of 10001\n")
        self.assertEqual(sorted(self.yzma("set", "list", "n").splitlines(), key=int), many.decode().split())
        self.assertEqual(len(self.yzma("set", "list", "n", "-n", "1001").splitlines()), 1001)
        self.assertEqual(self.yzma("list", "--space", "sets"), "n\ntags\n")
        self.assertEqual(self.yzma("set", "delete", "n"), "deleted 10001\n")
        self.assertEqual(self.lines("list", "--space", "sets"), [{"Key": "tags"}])
        # Out, and into a store that has lost them.
        exported = [self.yzma("export", "--space", space) for space in ("counters", "sets")]
        self.assertEqual(exported[0], '{"Counter":"n/2","Value":-2}\n')
        self.yzma("delete", "n/2", "--counter")
        self.yzma("set", "delete", "tags")
        self.assertIn("3 imported", self.yzma("import", stdin="".join(exported).encode()))
        self.assertEqual([self.yzma("export", "--space", space) for space in ("counters", "sets")], exported)
        code, out, _ = self.run_yzma("watch", "n/", "--space", "counters", "--since", "0", "-n", "1", "-s", self.servers)
        self.assertEqual((code, out), (0, b"put    n/2 -2\n"))
        self.assertEqual(self.yzma("list"), "")

    def test_interrupted(self):
        """It stops, says how to go on, and ends by the signal, so that a shell's loop does too."""
        node = self.one_node()
        node.put("a", 1)
        node.put("b", 2)
        pieces = b"".join(b'{"Key":"i/%05d","Value":1}\n' % n for n in range(2500))
        process = self.popen("import", stdin=subprocess.PIPE)
        process.stdin.write(pieces)
        process.stdin.flush()
        until(lambda: node.get("i/01999").status == 200, 15, "two pieces are there")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(10 * PATIENCE), -signal.SIGINT)
        self.assertIn(b"interrupted; 2000 records are done: --skip 2000 goes on", process.stderr.read())
        self.assertEqual(node.get("i/02000").status, 404)

        busy = BrokenServer(plain_answer(503, '{"Status":"error","Error":"busy","Data":null}'))
        self.addCleanup(busy.close)
        path = os.path.join(self.folder, "all")
        process = self.popen("export", path, servers=busy.address)
        self.assertIn(b"busy: trying again", process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(10 * PATIENCE), -signal.SIGTERM)
        self.assertIn(b"interrupted; --resume goes on", process.stderr.read())
        self.assertIn("exported", self.yzma("export", path, "--resume"))
        with open(path, encoding="utf-8") as file:
            self.assertEqual(file.readline(), '{"Key":"a","Value":1}\n')

    def popen(self, *args, servers=None, **more):
        process = subprocess.Popen([BINARY, *args, "-s", servers or self.servers], env=self.environment,
                                   cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **more)
        for pipe in (process.stdin, process.stderr):
            if pipe:
                self.addCleanup(pipe.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    # ---- watching -------------------------------------------------------------

    def watch(self, *args):
        with open(os.path.join(self.folder, "watch.err"), "wb") as err:
            process = subprocess.Popen([BINARY, "watch", *args, "-s", self.servers], stdout=subprocess.PIPE, stderr=err,
                                       env=self.environment, cwd=self.folder)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process

    def test_watch_over_a_switch(self):
        pacha, kronk = self.pair()
        kronk.put("before", 1)
        until(lambda: pacha.get("before").status == 200, 15, "it is on both")
        watcher = self.watch("--since", "0", "--json")
        listed = [json.loads(watcher.stdout.readline()) for _ in range(2)]
        self.assertEqual([e["Kind"] for e in listed], ["put", "listed"])
        pacha.put("w/1", 1)
        event = json.loads(watcher.stdout.readline())
        self.assertEqual((event["Kind"], event["Key"], event["Value"]), ("put", "w/1", 1))
        until(lambda: kronk.get("w/1").status == 200, 15, "it is on both")
        pacha.kill9()
        kronk.put("w/2", 2)
        kronk.delete("w/1")
        seen = [json.loads(watcher.stdout.readline()) for _ in range(2)]
        self.assertEqual([(e["Kind"], e["Key"]) for e in seen], [("put", "w/2"), ("delete", "w/1")])
        watcher.send_signal(signal.SIGINT)
        self.assertEqual(watcher.wait(10 * PATIENCE), 0)

        self.servers = kronk.api_address
        self.assertEqual(self.lines("watch", "w/", "--since", listed[1]["Cursor"], "-n", "1")[0]["Key"], "w/2")
        code, out, err = self.run_yzma("watch", "--since", event["Cursor"], "-n", "2", "-s", self.servers)
        self.assertEqual((code, out), (0, b"put    w/2 2\ndelete w/1\n"))
        self.assertRegex(err, r"^cursor: \S+\n$")
        self.refused("watch", "--since", "nonsense")
        self.servers = f"{HOST}:1"
        self.refused("watch")

    def test_a_mirror(self):
        """What one node's watch prints another one's import takes as it comes; and an export of all that
        was cut off in the midst of a set goes on there."""
        node, other = self.node("pacha").start(), self.node("kronk").start()
        self.servers = node.api_address
        node.put("k", 1)
        self.yzma("incr", "n", "7")
        self.yzma("set", "add", "s", *(str(n) for n in range(10)))
        watcher = self.watch("--space", "all", "--since", "0", "--json")
        importer = subprocess.Popen([BINARY, "import", "-s", other.api_address], cwd=self.folder,
                                    stdin=watcher.stdout, stdout=subprocess.PIPE, env=self.environment)
        self.addCleanup(lambda: (importer.kill(), importer.wait(), importer.stdout.close()))
        until(lambda: other.call("GET", "/sets/s?count=true").data == {"Count": 10}, 15, "the set is there")
        node.delete("k")
        self.yzma("set", "remove", "s", "3")
        self.yzma("delete", "n", "--counter")
        until(lambda: other.call("GET", "/counters/n").status == 404, 15, "the last is deleted")
        whole = self.yzma("export", "--space", "all")
        self.servers = other.api_address
        self.assertEqual(self.yzma("export", "--space", "all"), whole)
        self.assertEqual(len(whole.splitlines()), 9)
        cut = self.write("cut", "".join(whole.splitlines(keepends=True)[:4]).encode() + b'{"Set":"s","El')
        self.assertEqual(self.yzma("export", "--space", "all", "--resume", cut), f"5 exported to {cut}\n")
        with open(cut) as file:
            self.assertEqual(file.read(), whole)
        watcher.send_signal(signal.SIGINT)
        self.assertEqual(watcher.wait(10 * PATIENCE), 0)
        self.assertEqual(importer.wait(10 * PATIENCE), 0)
        self.assertIn(b" imported", importer.stdout.read())

    def test_a_mirror_of_steady_changes(self):
        """Where events come without a rest the first of them does not wait for a piece to be full."""
        node = self.one_node()
        importer = subprocess.Popen([BINARY, "import", "-s", node.api_address], cwd=self.folder,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment)
        self.addCleanup(lambda: (importer.kill(), importer.wait(), importer.stdout.close()))
        events = (b'{"Kind":"put","Key":"k/%d","Value":%d}\n' % (n, n) for n in range(900))

        def taken_while_more_comes():
            importer.stdin.write(next(events))
            importer.stdin.flush()
            return node.call("GET", "/keys/k/0").status == 200

        until(taken_while_more_comes, 8, "the first is taken")
        importer.stdin.close()
        self.assertEqual(importer.wait(10 * PATIENCE), 0)
        self.assertIn(b" imported", importer.stdout.read())
        # what stops it is not told as if the next watch brought the same lines
        broken = self.refused("import", self.write("broken", next(events) + b"nonsense"))
        self.assertIn("line 2", broken), self.assertNotIn("--skip", broken)

    # ---- the program itself ---------------------------------------------------

    def test_bench(self):
        node = self.one_node()
        (result,) = self.lines("bench", "--seconds", "1", "--connections", "2", "--keys", "10", "--reads", "50")
        self.assertEqual((result["Errors"], result["Missing"]), (0, 0))
        self.assertGreater(min(result["ReadMicros"]["Requests"], result["WriteMicros"]["Requests"]), 0)
        self.assertGreaterEqual(result["ReadMicros"]["max"], result["ReadMicros"]["p50"])
        self.assertEqual(self.yzma("count", "yzma-bench/"), "10\n")
        node.term()
        self.refused("bench", "--seconds", "1")

    def test_configuration(self):
        path = self.write("c.json", b'{"API":{"Bind":"[::1]:81"},"Peering":{"Keys":["AAECAwQFBgcICQoLDA0ODw=="]}}')
        shown = self.yzma("config", "check", "-c", path)
        self.assertRegex(shown, r'\* +API.Bind +"\[::1\]:81"')
        self.assertRegex(shown, r' +API.MaxValueBytes +"16MiB"')
        self.assertNotIn("AAEC", shown)
        settings = self.lines("config", "check", "-c", path)[0]["Settings"]
        self.assertEqual((settings["Server.Log.Level"], settings["Peering.Keys"]), ("info", ["(a key)"]))
        self.assertIn("nonsense", self.refused("config", "check", "-c", self.write("d.json", b'{"nonsense":1}')))
        self.assertIn("no file: the defaults", self.yzma("config", "check"))
        self.assertIn("port 0", self.refused("get", "k", "-c", self.write("e.json", b'{"API":{"Bind":":0"}}')))

    def test_help(self):
        self.assertRegex(self.yzma("version"), r"^yzma \d+\.\d+\.\d+\n$")
        self.assertEqual(self.yzma("-V"), self.yzma("version"))
        self.assertEqual(self.yzma("--help"), self.yzma("help"))
        self.assertEqual(self.yzma("put", "--help"), self.yzma("help", "put"))
        self.assertIn("no such command", self.refused("help", "nothing", code=2))
        self.assertIn("no such command", self.refused("serve", code=2))
        for page in ("yzma", "yzma.json"):
            text = self.yzma("help", "--man", page)
            self.assertTrue(text.startswith(f".TH {page} "))
            if shutil.which("groff"):
                done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8"], input=text, text=True, timeout=60,
                                      capture_output=True, check=False)
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_completion(self):
        script = self.write("yzma.bash", self.yzma("help", "--completion", "bash").encode())
        subprocess.run(["bash", "-n", script], check=True, timeout=30)
        os.mkdir(os.path.join(self.folder, "sub"))

        def complete(*words):
            array = " ".join(f"'{w}'" for w in ("yzma", *words))
            done = subprocess.run(
                ["bash", "-c", f"source {script}; COMP_WORDS=({array}); COMP_CWORD={len(words)}; _yzma; "
                 'printf "%s\\n" "${COMPREPLY[@]}"'], capture_output=True, text=True, check=True, timeout=30,
                cwd=self.folder)
            return done.stdout.split()

        self.assertIn("watch", complete(""))
        self.assertEqual(sorted(complete("conf")), ["config", "conflicts"])
        self.assertEqual(complete("-s", "a:1", "wat"), ["watch"])
        self.assertEqual(set(complete("keys", "")), {"list", "install", "use", "remove"})
        self.assertEqual(complete("keys", "use", "--for"), ["--force"])
        self.assertEqual(complete("put", "k", "--if-n"), ["--if-none-match"])
        self.assertNotIn("--raw", complete("put", "-"))
        self.assertEqual(complete("put", "k", "@yz"), ["@yzma.bash"])
        self.assertEqual(complete("backup", "su"), ["sub"])
        self.assertEqual(complete("config", "check", "-c", "yz"), ["yzma.bash"])
        self.assertEqual(complete("put", "--ttl", ""), [])
        self.assertEqual(complete("list", "--space", "s"), ["sets"])
        self.assertEqual(complete("import", "--from", "=", "e"), ["etcd"])  # as bash takes words apart
        self.assertEqual(complete("-s", "a", ":", "1", "set", "li"), ["list"])
        self.assertEqual(complete("help", "set", "re"), ["remove"])
        zsh = self.write("_yzma", self.yzma("help", "--completion", "zsh").encode())
        if shutil.which("zsh"):
            subprocess.run(["zsh", "-n", zsh], check=True, timeout=30)


if __name__ == "__main__":
    unittest.main()
