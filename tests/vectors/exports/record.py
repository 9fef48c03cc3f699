"""Records the exports in this folder anew: starts an etcd and a Redis of their own on
loopback, loads them with what shows every form their exports have, and writes what their own
tools give, and beside it what a reader must find (NAME.expected.json), asked from the servers.

Usage: python3 record.py        (Debian: etcd-server etcd-client redis-server redis-tools)

Recorded with etcd and etcdctl 3.4.23, redis-server and redis-cli 7.0.15, of Debian 12."""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
LATE = 4102444800000  # 2100-01-01, in ms


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("it does not start")


def out(*command, stdin=None):
    return subprocess.run(command, input=stdin, capture_output=True, check=True,
                          env={**os.environ, "ETCDCTL_API": "3"}).stdout


def write(name, data):
    with open(os.path.join(HERE, name), "wb") as file:
        file.write(data)


def write_expected(name, expected):
    text = json.dumps(expected, indent=0, sort_keys=True, ensure_ascii=True)
    write(name + ".expected.json", text.encode() + b"\n")


def record_etcd(folder):
    client, peer = free_port(), free_port()
    url = f"http://127.0.0.1:{client}"
    server = subprocess.Popen(["etcd", "--data-dir", folder + "/etcd", "--listen-client-urls", url,
                               "--advertise-client-urls", url, "--listen-peer-urls", f"http://127.0.0.1:{peer}"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(client)
        control = ["etcdctl", "--endpoints", url]
        values = {"plain": b"hello", "json": b'{"a": [1, 2.50, "\xc3\xa4"]}', "number": b"12", "empty": b"",
                  "lines": b'{\n  "x": 1\n}', "binary": bytes(range(256)), "dir/with space": b'"s"',
                  "dir/\u00e4": b"null", "long/" + "k" * 400: b"1", "x" * 481: b"1", "big": b"0123456789abcdef" * 512}
        for key, value in values.items():
            # A value on the command line has no NUL; from standard input it may have any.
            out(*control, "put", key, *([] if value else [""]), stdin=value)
        lease = out(*control, "lease", "grant", "3600").split()[1].decode()
        out(*control, "put", "leased", "1", "--lease", lease)
        write("etcd-3.4.json", out(*control, "get", "", "--prefix", "-w", "json"))
        expected = {}
        for key in out(*control, "get", "", "--prefix", "--keys-only").decode().split("\n"):
            if key and len(key) <= 480:
                expected[key] = bytes_of(out(*control, "get", key, "--print-value-only")[:-1])
        write_expected("etcd-3.4", expected)
    finally:
        server.terminate()
        server.wait()


def bytes_of(value):
    """What GET shows of a value that was bytes there."""
    try:
        return {"Data": json.loads(value)}
    except ValueError:
        return {"Hex": value.hex()}


class Redis:
    """Speaks just enough of the protocol to give bytes as they are."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.file = self.sock.makefile("rb")

    def __call__(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.sock.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self.answer()

    def answer(self):
        line = self.file.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise SystemExit(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest


def load_redis(ask):
    ask("SET", "string", "hello")
    ask("SET", "json", '{"a":[1,2.50]}')
    for name, value in {"zero": 0, "byte": -7, "short": 30000, "int": -2000000000, "long": 1 << 40}.items():
        ask("SET", "number/" + name, value)
    ask("SET", "packed", "abcabcabd" * 500)
    ask("SET", b"binary", bytes(range(256)))
    ask("SET", "expiring", "1", "PXAT", LATE)
    ask("SET", b"\xff\xfe", "no UTF-8")
    ask("SET", "k" * 481, "1")
    ask("RPUSH", "list/small", "a", "1", "-1", "70000", 1 << 40, "x" * 100)
    ask("RPUSH", "list/large", *[f"element {i}" for i in range(700)])
    ask("RPUSH", "list/plain", "y" * 10000, "z")
    ask("SADD", "set/numbers", *range(-3, 4))
    ask("SADD", "set/wide", 1 << 40, 5, -70000)
    ask("SADD", "set/texts", *[f"member {i}" for i in range(20)])
    ask("SADD", "set/large", *[f"member {i}" for i in range(600)])
    ask("HSET", "hash/small", "name", "kronk", "age", 40, "long", "v" * 64, "negative", -300)
    ask("HSET", "hash/large", *[word for i in range(600) for word in (f"field{i}", i)])
    ask("HSET", "hash/packed", "f", "wxyz" * 200)
    ask("ZADD", "scores/small", 1, "one", 2.5, "two and a half", "-inf", "least", 1e20, "most", 0.1, "tenth")
    ask("ZADD", "scores/large", *[word for i in range(200) for word in (i / 8, f"m{i}")])
    ask("XADD", "stream", "1-1", "field", "value")
    ask("XGROUP", "CREATE", "stream", "group", "0")
    ask("XREADGROUP", "GROUP", "group", "consumer", "COUNT", "1", "STREAMS", "stream", ">")
    ask("SADD", b"set/binary", b"\xff")
    ask("PEXPIREAT", "hash/small", LATE)
    ask("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)")
    ask("SELECT", 2)
    ask("SET", "string", "of database 2")
    ask("SELECT", 0)


def shown(ask, key):
    """What a reader must make of a key; None: nothing."""
    kind = ask("TYPE", key)
    text = lambda b: b.decode()  # noqa: E731
    if kind == b"string":
        return bytes_of(ask("GET", key))
    if kind == b"list":
        return {"Data": list(map(text, ask("LRANGE", key, 0, -1)))}
    if kind == b"set":
        return {"Set": sorted(map(text, ask("SMEMBERS", key)))}
    if kind == b"hash":
        words = list(map(text, ask("HGETALL", key)))
        return {"Data": dict(zip(words[::2], words[1::2]))}
    if kind == b"zset":
        words = list(map(text, ask("ZRANGE", key, 0, -1, "WITHSCORES")))
        return {"Data": {m: s if "inf" in s else float(s) for m, s in zip(words[::2], words[1::2])}}
    return None


def record_redis(folder):
    port = free_port()
    server = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder,
                               "--save", "", "--list-max-listpack-size", "-1"], stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        ask = Redis(port)
        load_redis(ask)
        target = folder + "/recorded.rdb"
        out("redis-cli", "-p", str(port), "--rdb", target)
        shutil.copy(target, os.path.join(HERE, "redis-7.0.rdb"))
        expected = {}
        for database, prefix in ((0, ""), (2, "db2/")):
            ask("SELECT", database)
            for key in ask("KEYS", "*"):
                if len(key) > 480 or key in (b"\xff\xfe", b"set/binary"):
                    continue
                value = shown(ask, key)
                if value is not None:
                    end = ask("PEXPIRETIME", key)
                    expected[prefix + key.decode()] = {**value, **({"Expires": end} if end > 0 else {})}
        write_expected("redis-7.0", expected)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        record_etcd(folder)
        record_redis(folder)
