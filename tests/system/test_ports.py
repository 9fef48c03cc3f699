"""yzma import and yzma export on the real binary: recorded exports of other stores, there and
back between nodes, and what breaks in the middle: the node, the connection, the file."""
import base64
import datetime
import json
import os
import socket
import subprocess
import threading

from harness import HOST, SystemTest, until
from harness.node import BINARY
from harness.wait import PATIENCE

EXPORTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors", "exports")


def recorded(name):
    return os.path.join(EXPORTS, name)


class Cutter:
    """A server in front of a node that ends connections in the middle: the n-th after so many
    bytes of the answer; the others go through."""

    def __init__(self, target, limits):
        self.target, self.limits, self.connections = target, list(limits), 0
        self.socket = socket.create_server((HOST, 0))
        self.address = "%s:%d" % self.socket.getsockname()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            limit = self.limits.pop(0) if self.limits else 1 << 60
            threading.Thread(target=self.carry, args=(client, limit), daemon=True).start()

    def carry(self, client, limit):
        host, port = self.target.rsplit(":", 1)
        with client, socket.create_connection((host, int(port))) as node:
            threading.Thread(target=self.pump, args=(client, node), daemon=True).start()
            while limit > 0 and (piece := node.recv(min(limit, 65536))):
                client.sendall(piece)
                limit -= len(piece)
            client.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def pump(source, target):
        try:
            while piece := source.recv(65536):
                target.sendall(piece)
        except OSError:
            pass

    def close(self):
        self.socket.close()


class Ports(SystemTest):
    def setUp(self):
        super().setUp()
        self.environment = {k: v for k, v in os.environ.items() if k != "YZMA_SERVER"}
        self.environment["HOME"] = self.folder

    def yzma(self, server, *args, code=0, stdin=b""):
        done = subprocess.run([BINARY, *args, "-s", getattr(server, "api_address", server)], cwd=self.folder, input=stdin,
                              capture_output=True, timeout=60 * PATIENCE, env=self.environment, check=False)
        self.assertEqual(done.returncode, code, (args, done.stdout[-1000:], done.stderr))
        return done.stdout, done.stderr.decode()

    def lines(self, server, *args):
        return self.yzma(server, "export", *args)[0].splitlines(keepends=True)

    def held(self, node, prefix=""):
        """{key: (what record.py says of it)}"""
        found = {}
        for line in self.lines(node, "--prefix", prefix):
            line = json.loads(line)
            value = base64.b64decode(line["Value64"]) if "Value64" in line else None
            shown = {"Hex": value.hex()} if "Type" in line else {"Data": json.loads(value) if value else line["Value"]}
            if "Type" in line:
                self.assertEqual(line["Type"], "application/octet-stream")
            if "Expires" in line:
                moment = datetime.datetime.fromisoformat(line["Expires"].replace("Z", "+00:00"))
                shown["Expires"] = round(moment.timestamp() * 1000)
            found[line["Key"]] = shown
        return found

    def expected(self, name):
        with open(recorded(name)) as file:
            return json.load(file)

    # ---- other stores ------------------------------------------------------------------

    def test_etcd(self):
        node = self.node().start()
        out, err = self.yzma(node, "import", "--from", "etcd", recorded("etcd-3.4.json"), code=3)
        self.assertEqual(out, b"11 imported, 0 expired before, 1 left out\n")
        self.assertIn("its key is longer than 480 bytes", err)
        self.assertIn("1 keys had a lease", err)
        self.assertEqual(self.held(node), self.expected("etcd-3.4.expected.json"))

    def test_redis(self):
        node = self.node().start()
        with open(recorded("redis-7.0.rdb"), "rb") as file:
            out, err = self.yzma(node, "import", "--from", "redis", "--json", stdin=file.read() + b"f" * 40, code=3)
        expected = self.expected("redis-7.0.expected.json")
        self.assertEqual(json.loads(out), {"Imported": len(expected), "Expired": 0, "LeftOut": 4})
        for words in ("it is a stream", "left out ??: its key is not UTF-8", "an element is not UTF-8", "longer than 480 bytes"):
            self.assertIn(words, err)
        found = self.held(node)
        for key, value in expected.items():
            if "Set" in value:  # in any order
                value["Data"] = value.pop("Set")
                found[key]["Data"].sort()
        self.assertEqual(found, expected)

    def test_consul_and_couchdb(self):
        node = self.node().start()
        out, err = self.yzma(node, "import", "--from", "consul", "--into", "c/", recorded("consul.json"))
        self.assertEqual(out, b"7 imported, 0 expired before, 0 left out\n")
        self.assertIn("1 keys had flags", err)
        found = self.held(node, "c/")
        self.assertEqual(found["c/app/config"], {"Data": {"debug": False}})
        self.assertEqual(found["c/app/greeting"], {"Hex": "hello, wörld".encode().hex()})
        self.assertEqual(found["c/quote\"d/ä"], {"Data": [1, 2]})
        self.assertEqual(found["c/folder/"], {"Hex": ""})
        out, err = self.yzma(node, "import", "--from", "couchdb", "--prefix", "k", recorded("couchdb.json"))
        self.assertEqual(out, b"1 imported, 0 expired before, 0 left out\n")
        self.assertIn("1 documents had attachments", err)
        self.yzma(node, "import", "--from", "couchdb", recorded("couchdb.json"))
        self.assertEqual(node.get("5f2c").body,  # as it was written
                         b'{"Status":"ok","Error":"","Data":{"name":"Pacha","age":12345678901234567890,"share":1.10,'
                         b'"tags":[],"nested":{"_id":"stays"}}}')
        self.yzma(node, "import", "--from", "consul", "--type", "text/plain", "--into", "t/", recorded("consul.json"))
        self.assertEqual(node.call("GET", "/keys/t/app/greeting?raw=true").headers["Content-Type"], "text/plain")

    def test_what_is_no_export(self):
        node = self.node().start()
        for kind, text, words in (("etcd", b"{}", 'it has no "kvs"'), ("redis", b"hello, world", "no RDB file"),
                                  ("consul", b"[{", "at byte 2"),
                                  ("yzma", b'{"Key":"a","Value":1}\n{"Key":1}', "line 2")):
            err = self.yzma(node, "import", "--from", kind, code=1, stdin=text)[1]
            self.assertIn(words, err)
        self.assertIn("must be etcd", self.yzma(node, "import", "--from", "riak", code=2)[1])
        self.assertEqual(self.lines(node), [b'{"Key":"a","Value":1}\n'])  # what stood before the bad line
        self.assertIn("No such file", self.yzma(node, "import", "nothing", code=1)[1])
        with socket.socket() as nobody:
            nobody.bind((HOST, 0))
            self.yzma("%s:%d" % nobody.getsockname(), "import", stdin=b'{"Key":"a","Value":1}', code=1)

    # ---- there and back ------------------------------------------------------------------

    def fill(self, node, count):
        ops = "".join(json.dumps({"Key": f"k/{i:05}", "Value": {"n": i, "text": "x" * 50}}) + "\n" for i in range(count))
        self.assertEqual(node.expect(200, node.call("POST", "/import", ops.encode())).data["Imported"], count)

    def test_there_and_back(self):
        one, other = self.node("one").start(), self.node("other").start()
        self.fill(one, 3000)
        one.call("PUT", "/keys/image?expires=2100-01-01T00:00:00Z", bytes(range(256)), {"Content-Type": "image/png"})
        one.call("PUT", "/keys/odd%0A%22key", b'{\n"a": 1.0\n}')
        one.put("very/deep", b"[" * 512 + b"]" * 512)
        path = os.path.join(self.folder, "dump.ndjson")
        self.assertEqual(self.yzma(one, "export", path)[0], f"3003 exported to {path}\n".encode())
        self.assertIn("exists", self.yzma(one, "export", path, code=1)[1])
        self.assertEqual(self.yzma(other, "import", path)[0], b"3003 imported, 0 expired before, 0 left out\n")
        whole = self.lines(one)
        self.assertEqual(self.lines(other), whole)
        # The file is only a part, cut in a line: it goes on behind the last key that is whole.
        with open(path, "r+b") as file:
            file.truncate(len(b"".join(whole[:1000])) + 10)
        self.assertEqual(self.yzma(one, "export", "--resume", path)[0], f"2003 exported to {path}\n".encode())
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"".join(whole))
        # The first records are there already.
        third = self.node("third").start()
        self.yzma(third, "import", path, "--skip", "2990")
        self.assertEqual(self.lines(third), whole[2990:])

    # ---- what breaks ----------------------------------------------------------------------

    def test_an_export_goes_on_where_it_broke(self):
        node = self.node().start()
        self.fill(node, 3000)
        cutter = Cutter(node.api_address, [100, 70000, 0, 150001])
        self.addCleanup(cutter.close)
        self.assertEqual(self.lines(cutter.address), self.lines(node))
        self.assertEqual(cutter.connections, 5)

    def test_an_import_outlives_the_node_that_takes_it(self):
        """The node is killed in the middle; one that the node does not answer is sent again."""
        node = self.node().start()
        records = [json.dumps({"Key": f"k/{i:05}", "Value": i}) + "\n" for i in range(5000)]
        importing = subprocess.Popen([BINARY, "import", "-s", node.api_address], stdin=subprocess.PIPE, cwd=self.folder,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment, text=True)
        self.addCleanup(importing.kill)
        importing.stdin.write("".join(records[:2500]))
        importing.stdin.flush()
        until(lambda: node.api.list(count="true").data["Count"] >= 2000, 60, "two pieces are in")
        node.kill9()
        feeding = threading.Thread(target=lambda: (importing.stdin.write("".join(records[2500:])), importing.stdin.close()))
        feeding.start()
        node.start()
        feeding.join(60 * PATIENCE)
        importing.wait(90 * PATIENCE)
        self.assertEqual(importing.returncode, 0, importing.stderr.read())
        importing.stderr.close()
        self.assertEqual(importing.stdout.read(), "5000 imported, 0 expired before, 0 left out\n")
        importing.stdout.close()
        self.assertEqual(self.lines(node), [r.replace(": ", ":").replace(", ", ",").encode() for r in records])

    def test_a_record_that_the_node_refuses_is_left_out(self):
        node = self.node(settings={"API.MaxValueBytes": "1KiB"}).start()
        records = [json.dumps({"Key": f"k{i}", "Value": "x" * (2000 if i % 3 == 1 else 10)}) + "\n" for i in range(9)]
        out, err = self.yzma(node, "import", stdin="".join(records).encode(), code=3)
        self.assertEqual(out, b"6 imported, 0 expired before, 3 left out\n")
        self.assertEqual([line.split()[3] for line in err.splitlines()[:3]], ["k1:", "k4:", "k7:"])
        self.assertIn("API.MaxValueBytes", err)
        self.assertEqual(list(self.held(node)), ["k0", "k2", "k3", "k5", "k6", "k8"])


if __name__ == "__main__":
    import unittest
    unittest.main()
