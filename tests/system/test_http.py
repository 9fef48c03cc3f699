"""The API of the real binary under bad input: the stored value stays, the
connection stays usable. (The units test the many forms; this tests that they
are wired up.)"""
import json
import socket
import time
import unittest

from harness import SANITIZED, SystemTest, exact, until

MIB = 1 << 20
VALUE_MAX = 16 * MIB


class Http(SystemTest):
    def setUp(self):
        super().setUp()
        self.one = self.node().start()

    def refused(self, status, answer):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        self.assertEqual(answer.json["Status"], "error")
        self.assertTrue(answer.error)
        return answer

    def test_what_is_refused_changes_nothing(self):
        """All on one connection, which never closes."""
        api = self.one.client()
        self.addCleanup(api.close)
        api.put("kept", {"v": 1})
        sock = api.connection.sock
        long_key = "k" * 481
        cases = (
            (400, "POST", "/keys/kept", b'{"v":'),
            (400, "POST", "/keys/kept", b""),
            (400, "POST", "/keys/kept", b'{"v": "\xc0\xaf"}'),
            (400, "POST", "/keys/kept", b'"\xed\xa0\x80"'),
            (400, "POST", "/keys/kept", b"\xef\xbb\xbf1"),
            (400, "POST", "/keys/kept", b"[" * 513 + b"]" * 513),
            (400, "POST", "/keys/kept", b"01"),
            (400, "POST", "/keys/kept", b"1 2"),
            (400, "GET", "/keys/kept%", None),
            (400, "GET", "/keys/kept%zz", None),
            (400, "GET", "/keys/kept%00", None),
            (400, "DELETE", "/keys/kept%ff", None),
            (400, "DELETE", "/keys/", None),
            (400, "GET", "/keys?limit=0&count=true", None),
            (400, "GET", "/keys/kept?raw=true&siblings=true", None),
            (400, "POST", "/keys/kept?ttl=0", b"1"),
            (400, "POST", "/keys/kept?touch=true", b""),
            (400, "POST", "/keys/kept?expires=2020-01-01T00:00:00Z", b"1"),
            (400, "POST", "/keys/kept?w=0", b"1"),
            (400, "DELETE", "/keys", None),
            (400, "POST", "/batch", b'{"Ops":[{"Op":"delete"}]}'),
            (409, "POST", "/batch", b'{"Ops":[{"Op":"delete","Key":"kept","IfMatch":"\\"x\\""}]}'),
            (400, "GET", "/keys?limit=1&limit=2", None),
            (400, "GET", "/keys?colour=red", None),
            (414, "POST", "/keys/" + long_key, b"1"),
            (404, "GET", "/elsewhere", None),
            (404, "GET", "/keys/absent", None),
            (405, "PATCH", "/keys/kept", b"1"),
            (405, "POST", "/cluster/members", b""),
            (405, "PUT", "/batch", b""),
            (405, "DELETE", "/conflicts", None),
            (400, "POST", "/cluster/join", b"[]"),
            (400, "POST", "/cluster/join", b'{"Peers":[]}'),
            (400, "POST", "/cluster/join", b'{"Peers":["nowhere:"]}'),
            (400, "POST", "/cluster/join", b"{"),
        )
        for status, method, path, body in cases:
            with self.subTest(method=method, path=path[:40], body=body and body[:40]):
                self.refused(status, api.call(method, path, body))
                self.assertIs(api.connection.sock, sock)
        answer = api.call("POST", "/keys/kept", b"v=1", {"Content-Type": "nothing"})
        self.refused(415, answer)
        self.assertIn("GET", api.call("PATCH", "/keys/kept", b"1").headers["Allow"])
        self.assertEqual(api.get("kept").body, b'{"Status":"ok","Error":"","Data":{"v": 1}}')
        self.assertIs(api.connection.sock, sock)

    def test_unreachable_peer(self):
        """An error in the envelope, within ten seconds."""
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            peer = f"127.0.0.1:{nobody.getsockname()[1]}"
            answer = self.refused(502, self.one.join(peer))
        self.assertEqual(answer.data["Joined"], 0)
        self.assertEqual(answer.data["Failed"][0]["Peer"], peer)
        self.assertTrue(answer.data["Failed"][0]["Error"])

    def test_bytes_come_back_as_they_were(self):
        """Numbers of any size, white space, duplicate names, lone surrogates."""
        for text in ("1e400", "-0.0", "1" * 5000, "0.1e-99999", ' {"a" :\t1, "a": 2 } ', r'"\ud800"', '"\u20ac"',
                     "null", "[" * 512 + "]" * 512):
            with self.subTest(text[:40]):
                self.one.put("exact", text.encode())
                self.assertEqual(self.one.get("exact").body.decode(),
                                 f'{{"Status":"ok","Error":"","Data":{text}}}')

    def test_keys_of_all_kinds(self):
        """What may be a key is one, and is listed."""
        keys = ["a", "a/b", "a//b", "../x", "k" * 480, "schl\u00fcssel", "with space", "q?x=1", "100%", "+", "#"]
        for key in keys:
            self.one.call("POST", "/keys/" + escaped(key), json.dumps(key))
        self.assertEqual(self.one.everything(), {key: key for key in keys})
        for key in keys:
            self.assertEqual(exact(self.one.call("GET", "/keys/" + escaped(key)).body)["Data"], key)

    def test_too_large(self):
        """Told by Content-Length: refused at once, and the connection closes. The
        largest value that is allowed is taken."""
        with socket.create_connection(self.one.api_address.split(":")) as sock:
            sock.settimeout(30)
            sock.sendall(f"POST /keys/big HTTP/1.1\r\nHost: x\r\nContent-Length: {VALUE_MAX + 1}\r\n\r\n".encode())
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer[:100])
        self.assertEqual(self.one.get("big").status, 404)
        self.one.put("big", json_text(VALUE_MAX))
        self.assertEqual(len(self.one.get("big").body), VALUE_MAX + len('{"Status":"ok","Error":"","Data":}'))

    def test_slow_request(self):
        """A request that dribbles in is cut off as a whole, and others are served
        meanwhile."""
        self.one.term()
        self.one.settings["API.RequestTimeout"] = "1s"
        self.one.start()
        with socket.create_connection(self.one.api_address.split(":")) as sock:
            sock.sendall(b"POST /keys/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")

            def ended():
                self.one.put("other", 1)
                try:
                    sock.sendall(b" ")
                    return sock.recv(4096, socket.MSG_DONTWAIT) == b""
                except BlockingIOError:
                    return False
                except OSError:
                    return True

            started = time.monotonic()
            until(ended, 15, "the connection is cut off")
            self.assertGreater(time.monotonic() - started, 0.9)
        self.assertEqual(self.one.get("slow").status, 404)

    def test_foreign_origin(self):
        """A web page of somewhere else may not write here."""
        answer = self.one.api.put("kept", 1, headers={"Origin": "http://evil.example"})
        self.refused(403, answer)
        self.one.put("kept", 2, headers={"Origin": f"http://{self.one.api_address}"})
        self.assertEqual(self.one.value("kept"), "2")

    def test_pipelined(self):
        """Requests sent at once are answered in their order."""
        count = 50
        requests = b"".join(
            f"POST /keys/p{i} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{i % 10}".encode() for i in range(count))
        last = b"GET /keys/p49 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        with socket.create_connection(self.one.api_address.split(":")) as sock:
            sock.settimeout(30)
            sock.sendall(requests + last)
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
        added = [f'"added p{i}"'.encode() for i in range(count)]
        places = [answer.find(text) for text in added]
        self.assertNotIn(-1, places)
        self.assertEqual(places, sorted(places))
        self.assertTrue(answer.endswith(b'"Data":9}'), answer[-100:])


    def test_too_many_connections(self):
        """Beyond the limit nobody new is served, those who are in go on; when some have
        gone, there is room again."""
        self.one.term()
        self.one.settings["API.MaxConnections"] = 20
        self.one.start()
        socks = [socket.create_connection(self.one.api_address.split(":")) for _ in range(60)]
        self.one.put("k", 1)
        for sock in socks:
            sock.close()
        api = self.one.client()
        self.addCleanup(api.close)
        self.assertEqual(api.put("k", 2).status, 200)


class Tokens(SystemTest):
    def test_a_token_carries_a_write_to_another_node(self):
        """Read your own write through another node: it waits until it has it."""
        pacha, kronk = self.cluster("pacha", "kronk")
        for i in range(50):
            token = pacha.put("counter", i).headers["X-Yzma-Context"]
            answer = kronk.get("counter", headers={"X-Yzma-Context": token}, wait="10s")
            self.assertEqual(exact(answer.body)["Data"], str(i))

    def test_a_token_replaces_only_what_it_saw(self):
        """A write with a token of an older read leaves the newer version beside it."""
        one = self.node().start()
        token = one.put("k", "first").headers["X-Yzma-Context"]
        one.put("k", "second")
        one.put("k", "third", headers={"X-Yzma-Context": token})
        self.assertEqual({value for _, _, value in one.siblings("k")}, {'"second"', '"third"'})
        self.assertEqual(one.value("k"), "third")
        one.put("k", "last")
        self.assertEqual(len(one.siblings("k")), 1)

    def test_tokens_that_cannot_be(self):
        """Malformed, of another key, or of a future that does not come."""
        one = self.node("one").start()
        other = self.node("other").start()
        ahead = other.put("k", 1).headers["X-Yzma-Context"]
        elsewhere = one.put("elsewhere", 1).headers["X-Yzma-Context"]
        for token in ("%%%", "AAAA", "x" * 200):
            self.assertEqual(one.get("k", headers={"X-Yzma-Context": token}).status, 400)
        self.assertEqual(one.api.put("k", 2, headers={"X-Yzma-Context": elsewhere}).status, 400)
        late = one.get("k", headers={"X-Yzma-Context": ahead}, wait="50ms")
        self.assertEqual(late.status, 503)
        self.assertIsNone(one.value("k"))


class Large(SystemTest):
    def test_large_values_replicate(self):
        """Up to 16 MiB, both ways, byte for byte."""
        pacha, kronk = self.cluster("pacha", "kronk")
        sizes = (2, 65535, MIB, 5 * MIB + 1) if SANITIZED else (2, 65535, MIB, 5 * MIB + 1, VALUE_MAX)
        for i, size in enumerate(sizes):
            source, target = (pacha, kronk) if i % 2 else (kronk, pacha)
            source.put(f"large/{size}", json_text(size))
            until(lambda: target.get(f"large/{size}").status == 200, 30, f"{size} bytes arrive")
            self.assertEqual(target.get(f"large/{size}").body, source.get(f"large/{size}").body)


def json_text(size):
    """A JSON string of exactly so many bytes."""
    pattern = b"0123456789abcdef" * (size // 16 + 1)
    return b'"' + pattern[:size - 2] + b'"'


def escaped(key):
    return "".join(chr(b) if b < 128 and chr(b).isalnum() or chr(b) in "/._-~+" else f"%{b:02X}" for b in key.encode())


if __name__ == "__main__":
    unittest.main()
