#!/usr/bin/env python3
"""Makes a golden store with the program of today, for a format that is new:
store-NAME.tar.gz. tests/system/test_golden.py says what it must hold.

Usage: YZMA=build/yzma python3 tests/golden/make_store.py NAME     (NAME: 2-spaces)
"""
import gzip
import json
import os
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))
from harness import Node, until  # noqa: E402

FAR = "2100-01-01T00:00:00Z"
OLD = 1767225600  # of the files in the archive


def fill(node):
    """All that a store can hold, some of it in LMDB, the rest in the log."""
    def call(method, path, body, **headers):
        node.expect(200, node.call(method, path, body, headers))

    for i in range(30):
        node.put(f"key/{i:02}", {"n": i, "text": "golden"})
    node.put("plain", 1)
    node.put("plain", 2)
    node.put("gone/early", 1)
    node.delete("gone/early")
    call("PUT", "/keys/two?mode=add", b"1")
    call("PUT", "/keys/two?mode=add", b"2")
    call("PUT", "/keys/image", bytes(range(256)), **{"Content-Type": "image/png"})
    call("PUT", f"/keys/ends?expires={FAR}", b"[]")
    call("POST", "/counters/visits", b'{"Add":41}')
    call("POST", "/sets/colours", b'{"Add":["red","green",{"rgb":[0,0,255]}]}')
    until(lambda: node.counters()["apply_generations"] > 0, 60, "the log is applied")
    node.put("large", "x" * 20000)
    node.put("gone/late", 1)
    node.delete("gone/late")
    call("POST", "/counters/visits", b'{"Add":1}')
    call("POST", "/counters/debts", b'{"Add":-7}')
    call("POST", "/counters/gone", b'{"Add":5}')
    call("DELETE", "/counters/gone", None)
    call("POST", "/sets/colours", b'{"Add":["blue"],"Remove":["green"]}')


def pack(folder, path):
    def plain(info):
        info.uid = info.gid = 0
        info.uname = info.gname = "root"
        info.mtime = OLD
        return info

    with gzip.GzipFile(path, "wb", mtime=OLD) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("yzma.db", "yzma.db-log"):
            archive.add(os.path.join(folder, name), name, filter=plain)


def main():
    name = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="yzma-golden-") as folder:
        node = Node(folder)
        try:
            node.start()
            fill(node)
            node.kill9()
        finally:
            node.done()
        pack(folder, os.path.join(HERE, f"store-{name}.tar.gz"))


if __name__ == "__main__":
    main()
