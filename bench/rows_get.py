"""Reads: random GETs of 1,000,000 keys with values of 128 bytes, 64 connections, the
server on one core, beside what answers the same from memory.

The generator polls on a core of its own, so that waking it costs the server nothing."""

import json
import re
import statistics
import subprocess
from typing import Callable

from generator import SATURATED, Result, busy, cpus, p99s, rates
from servers import Etcd, Nginx, Redis, Server
from suite import Suite, comparison, json_text
from turns import Pairs

KEYS = 1_000_000
VALUE = 128
WHAT = "GET, random keys, 64 connections, one core"


def envelope_of(value_bytes: int) -> str:
    """As long as an answer of ours."""
    return '{"Status":"ok","Error":"","Data":"%s"}' % ("x" * (value_bytes - 2))


def get_yzma(suite: Suite, node: Server, keys: int) -> Result:
    return suite.generator.run(node, "/keys/k{n}", "-p", "-r", "-k", keys, "-v", VALUE - 2, "-e", '"Data":"{v}"')


def beside(suite: Suite, theirs: Callable[[Suite, int], tuple[Server, Callable[[], Result]]]) -> Pairs[Result]:
    """Ours and theirs by turns, on the same core."""
    keys = suite.sizes.keys(KEYS)
    with suite.yzma(suite.store_with(keys, VALUE), core=suite.cores.server) as node:
        server, turn = theirs(suite, keys)
        with server:
            return Pairs.by_turns(suite.rounds, lambda: get_yzma(suite, node, keys), turn)


def add_rate(suite: Suite, name: str, other: str, pairs: Pairs[Result], wanted: float) -> None:
    ratio = pairs.ratio(lambda r: r.per_second)
    suite.add(name, WHAT, f"{rates(pairs.ours())}, {p99s(pairs.ours())}",
              f"{other}: {rates(pairs.theirs())}, {p99s(pairs.theirs())}", ratio.text("{:.2f}"), f"at least {wanted}",
              ratio.median >= wanted, f"ours: {busy(pairs.ours())}; {other}: {busy(pairs.theirs())}")


def nginx(suite: Suite, keys: int) -> tuple[Server, Callable[[], Result]]:
    server = Nginx(suite.folder, suite.cores.server, envelope_of(VALUE))
    return server, lambda: suite.generator.run(server, "/keys/k{n}", "-p", "-r", "-k", keys, "-e", '"Data":"x')


@comparison("get-nginx")
def get_nginx(suite: Suite) -> None:
    """Rate in the pairs where both servers used their core up, and CPU per request in all."""
    pairs = beside(suite, nginx)
    full = pairs.where(lambda r: r.server_busy >= SATURATED)
    if full.pairs:
        add_rate(suite, "get-nginx/rate", f"nginx `return 200` ({len(full.pairs)} of {len(pairs.pairs)} pairs count)",
                 full, 0.85)
    else:
        suite.add("get-nginx/rate", WHAT, rates(pairs.ours()), f"nginx `return 200`: {rates(pairs.theirs())}",
                  "no pair with both servers' core 95 % busy", "at least 0.85", False,
                  f"ours: {busy(pairs.ours())}; nginx: {busy(pairs.theirs())}")
    cost = pairs.ratio(lambda r: r.cpu_us)
    suite.add("get-nginx/cpu", WHAT, cpus(pairs.ours()), f"nginx: {cpus(pairs.theirs())}", cost.text("{:.2f}"),
              "at most 1.25", cost.median <= 1.25)


def etcd(suite: Suite, keys: int) -> tuple[Server, Callable[[], Result]]:
    server = Etcd(suite.folder, suite.cores.server)
    preload_etcd(suite, server, keys)
    return server, lambda: suite.generator.run(server, "/v3/kv/range", "-m", "POST", "-p", "-r", "-k", keys, "-b",
                                               '{"key":"{b64}"}', "-e", '"kvs"')


def value64_bytes(value_bytes: int) -> int:
    """Of base64 for a value of about so many bytes."""
    return (value_bytes + 2) // 3 * 4


def preload_etcd(suite: Suite, server: Etcd, keys: int) -> None:
    """In transactions of 100, the quickest way in."""
    at_once = 100
    puts = [{"requestPut": {"key": "{b64+%d}" % i, "value": "{v64+%d}" % i}} for i in range(at_once)]
    result = suite.generator.run(server, "/v3/kv/txn", "-m", "POST", "-v", value64_bytes(VALUE), "-b",
                                 json.dumps({"success": puts}, separators=(",", ":")), "-n", -(-keys // at_once), "-k",
                                 -(-keys // at_once) * at_once, "-N", at_once, pinned=False)
    suite.note(f"{keys:,} keys loaded into etcd at {result.per_second * at_once:,.0f}/s")


@comparison("get-etcd")
def get_etcd(suite: Suite) -> None:
    add_rate(suite, "get-etcd", "etcd range", beside(suite, etcd), 10)


def redis(suite: Suite, keys: int) -> tuple[Server, Callable[[], Result]]:
    server = Redis(suite.folder, suite.cores.server)
    suite.preload_redis(server, keys, VALUE)
    return server, lambda: suite.generator.run(server, "GET k{n}", "-p", "-r", "-k", keys, "-v", VALUE - 2, "-e",
                                               '"{v}"')


@comparison("get-redis")
def get_redis(suite: Suite) -> None:
    add_rate(suite, "get-redis", "Redis GET", beside(suite, redis), 1)


@comparison("get-hot")
def get_hot(suite: Suite) -> None:
    """A key that was overwritten 10,000 times, beside one written once."""
    put = ("-m", "POST", *json_text(VALUE))
    with suite.yzma(core=suite.cores.server) as node:
        suite.generator.run(node, "/keys/hot", *put, "-n", 10000)
        suite.generator.run(node, "/keys/cold", *put, "-n", 1, "-c", 1)
        pairs = Pairs.by_turns(suite.rounds, lambda: suite.generator.run(node, "/keys/hot", "-p"),
                               lambda: suite.generator.run(node, "/keys/cold", "-p"))
    ratio = pairs.ratio(lambda r: r.per_second)
    suite.add("get-hot", "GET of a key overwritten 10,000 times", rates(pairs.ours()),
              f"written once: {rates(pairs.theirs())}", ratio.text("{:.2f}"), "at least 0.9", ratio.median >= 0.9,
              busy(pairs.ours()))


@comparison("generator")
def generator(suite: Suite) -> None:
    """Checks the measuring itself: our generator beside wrk, on the same nginx."""
    def wrk() -> float:
        seconds = max(1, round(suite.sizes.seconds))
        run = subprocess.run(["taskset", "-c", str(suite.cores.client), "wrk", "-t1", "-c64", f"-d{seconds}s",
                              f"http://{server.address}/"], check=True, capture_output=True, text=True)
        found = re.search(r"Requests/sec:\s+([\d.]+)", run.stdout)
        assert found, run.stdout
        return float(found.group(1))

    with Nginx(suite.folder, suite.cores.server, envelope_of(VALUE)) as server:
        pairs = Pairs.by_turns(suite.rounds, lambda: suite.generator.run(server, "/", "-p").per_second, wrk)
    ratio = pairs.ratio(lambda rate: rate)
    suite.add("generator", "what our generator gets out of nginx", f"{statistics.median(pairs.ours()):,.0f}/s",
              f"wrk, one thread: {statistics.median(pairs.theirs()):,.0f}/s", ratio.text("{:.2f}"), "at least 1",
              ratio.median >= 1)
