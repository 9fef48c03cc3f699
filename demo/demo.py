#!/usr/bin/env python3
"""Three nodes on loopback, the records of Debian's iso-codes, and a death in
between: who holds what, and how long it takes them to agree.

Usage: make demo        (or: YZMA=build/yzma demo/demo.py)
"""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))
from harness import Cluster, Node, fill, until  # noqa: E402

RECORDS = "/usr/share/iso-codes/json"
# file -> the folder of its keys, and the fields that name a record, the first that it has
KINDS = {
    "iso_3166-1": ("country", ("alpha_2",)),
    "iso_3166-2": ("subdivision", ("code",)),
    "iso_3166-3": ("former-country", ("alpha_4",)),
    "iso_4217": ("currency", ("alpha_3",)),
    "iso_639-2": ("language", ("alpha_2", "alpha_3")),
    "iso_639-3": ("individual-language", ("alpha_3",)),
    "iso_639-5": ("language-family", ("alpha_3",)),
    "iso_15924": ("script", ("alpha_4",)),
}
NAMES = ("pacha", "kronk", "yzma")
WITHIN = 60
CONNECTIONS = 16  # that load, on each node


def read_records():
    """Key -> record, such as country/de."""
    records = {}
    for name, (folder, fields) in KINDS.items():
        path = os.path.join(RECORDS, name + ".json")
        if not os.path.exists(path):
            sys.exit(f"{path} is not there: apt-get install iso-codes")
        with open(path) as file:
            (entries,) = json.load(file).values()
        for entry in entries:
            code = next(entry[field] for field in fields if field in entry)
            records[f"{folder}/{code.lower()}"] = entry
    return records


def say(text):
    print(text, flush=True)


def step(text):
    say(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}")


def fingerprint(held):
    text = json.dumps(held, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def table(nodes):
    """What each node holds, by kind; the fingerprint is of all keys and values."""
    held = {node: node.everything() if node.running else None for node in nodes}
    folders = [folder for folder, _ in KINDS.values()]

    def row(title, cell):
        cells = "".join(f"{'away' if held[n] is None else cell(held[n]):>10}" for n in nodes)
        say(f"  {title:<26}{cells}")

    say("  " + " " * 26 + "".join(f"{node.name:>10}" for node in nodes))
    for folder in folders:
        row(folder + "/", lambda h, f=folder: f"{sum(key.startswith(f + '/') for key in h):,}")
    row("all", lambda h: f"{len(h):,}")
    row("fingerprint", fingerprint)
    return [fingerprint(h) for h in held.values() if h is not None]


def size_text(count):
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def agree(nodes, since):
    """Waits until all have seen the same operations; seconds since then."""
    until(lambda: len({str(sorted(node.clock().items())) for node in nodes}) == 1, WITHIN, "they agree")
    return time.monotonic() - since


def load(nodes, records):
    """A third through each node, all at once."""
    started = time.monotonic()
    items = list(records.items())
    shares = [dict(items[i::len(nodes)]) for i in range(len(nodes))]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(fill, nodes, shares, [CONNECTIONS] * len(nodes)))
    ended = time.monotonic()
    late = agree(nodes, ended)
    for node, share in zip(nodes, shares):
        say(f"  {len(share):,} records through {node.name}, each on its disk before the answer")
    say(f"  {len(items):,} in {ended - started:.1f} s; all three agreed {late * 1000:.0f} ms after the last")


def change(pacha, kronk, records):
    """Overwrites, deletes and additions; returns how many."""
    names = [key for key in records if key.startswith("currency/")]
    for key in names:
        pacha.put(key, {**records[key], "rate": 1})
    gone = [key for key in records if key.startswith("former-country/")]
    for key in gone:
        kronk.delete(key)
    new = {f"country/x{i}": {"name": f"Kingdom number {i}"} for i in range(10)}
    for key, value in new.items():
        kronk.put(key, value)
    say(f"  {len(names)} currencies overwritten through pacha")
    say(f"  {len(gone)} former countries deleted and {len(new)} countries founded through kronk")
    return len(names) + len(gone) + len(new)


def run(folder, stack):
    records = read_records()
    nodes = [Node(os.path.join(folder, name), name) for name in NAMES]
    for node in nodes:
        stack.callback(node.done)
    pacha, kronk, yzma = nodes

    step("Three nodes start, and find each other by gossip")
    started = time.monotonic()
    Cluster(nodes).start()
    for node in nodes:
        say(f"  {node.name:<6} API http://{node.api_address}")
    say(f"  one cluster after {time.monotonic() - started:.1f} s")

    step("The ISO codes are loaded, a third through each node")
    load(nodes, records)
    table(nodes)

    step("kill -9 yzma; the others go on")
    yzma.kill9()
    missed = change(pacha, kronk, records)
    agree([pacha, kronk], time.monotonic())
    table(nodes)

    step("yzma comes back, and is sent what it missed")
    started = time.monotonic()
    yzma.start()
    up = time.monotonic() - started
    late = agree(nodes, started)
    sent = sum(link["BytesIn"] for link in yzma.status()["Links"])
    prints = table(nodes)
    say(f"\n  it answered after {up * 1000:.0f} ms, and agreed with the others after {late * 1000:.0f} ms")
    say(f"  {missed} operations missed cost {size_text(sent)}; its store is "
        f"{size_text(os.path.getsize(yzma.db_path))}")
    if len(set(prints)) != 1:
        sys.exit("they do not hold the same")
    say("  all three hold the same, to the byte\n")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = tempfile.mkdtemp(prefix="yzma-demo-")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            run(folder, stack)
        except KeyboardInterrupt:
            sys.exit("stopped")
        except AssertionError as error:
            sys.exit(f"it went wrong: {error}")


if __name__ == "__main__":
    main()
