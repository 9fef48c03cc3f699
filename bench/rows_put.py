"""Writes, durable before the answer: beside Redis with `appendfsync always`, beside
etcd, and one at a time beside what the disk takes for a single fdatasync."""

import statistics
from typing import Callable

from generator import Result, busy, cpus, rates
from rows_get import VALUE, value64_bytes
from servers import Etcd, Redis, Server
from suite import Suite, comparison, json_text
from turns import Pairs, Spread

KEYS = 1_000_000
WHAT = "POST, 64 connections, durable, one core"


def put_yzma(suite: Suite, node: Server, *options: object) -> Result:
    keys = suite.sizes.keys(KEYS)
    return suite.generator.run(node, "/keys/k{n}", "-m", "POST", "-r", "-k", keys, *json_text(VALUE), *options)


def add(suite: Suite, name: str, other: str, wanted: float, server: Server, turn: Callable[[], Result]) -> None:
    with server, suite.yzma(core=suite.cores.server) as node:
        pairs = Pairs.by_turns(suite.rounds, lambda: put_yzma(suite, node), turn)
    ratio = pairs.ratio(lambda r: r.per_second)

    def side(results: list[Result]) -> str:
        p99 = statistics.median(r.p99_us for r in results) / 1000
        return f"{rates(results)}, p99 {p99:.1f} ms, {cpus(results)}"

    suite.add(name, WHAT, side(pairs.ours()), f"{other}: {side(pairs.theirs())}", ratio.text("{:.2f}"),
              f"at least {wanted}", ratio.median >= wanted,
              f"ours: {busy(pairs.ours())}; {other}: {busy(pairs.theirs())}")


@comparison("put-redis")
def put_redis(suite: Suite) -> None:
    server = Redis(suite.folder, suite.cores.server, durable=True)
    add(suite, "put-redis", "Redis SET, appendfsync always", 1, server, lambda: suite.generator.run(
        server, "SET k{n}", "-r", "-k", suite.sizes.keys(KEYS), *json_text(VALUE)))


@comparison("put-etcd")
def put_etcd(suite: Suite) -> None:
    server = Etcd(suite.folder, suite.cores.server)
    add(suite, "put-etcd", "etcd put", 3, server, lambda: suite.generator.run(
        server, "/v3/kv/put", "-m", "POST", "-r", "-k", suite.sizes.keys(KEYS), "-v", value64_bytes(VALUE), "-b",
        '{"key":"{b64}","value":"{v64}"}'))


@comparison("put-alone")
def put_alone(suite: Suite) -> None:
    """One connection: the answer's time is a fdatasync and whatever we add to it."""
    with suite.yzma(core=suite.cores.server) as node:
        results: list[Result] = []

        def post() -> float:
            results.append(put_yzma(suite, node, "-c", 1))
            return results[-1].p50_us

        pairs = Pairs.by_turns(suite.rounds, post, lambda: suite.generator.fdatasync_us(suite.folder))
    ratio = pairs.ratio(lambda us: us)
    suite.add("put-alone", "POST, 1 connection, median", Spread.of(pairs.ours()).text() + " us",
              f"fdatasync: {Spread.of(pairs.theirs()).text()} us", ratio.text("{:.2f}"), "at most 1.5",
              ratio.median <= 1.5, busy(results))
