"""Nodes among each other: a new one, one that comes back, and how soon a write on one
is seen on the other. Beside it a Redis primary with its replica."""

import dataclasses
import os
import statistics
import subprocess
import time
from typing import Any

from clients import Http, Resp
from generator import Result, busy
from machine import Cores
from servers import Redis, Server, Yzma
from suite import KEY_BYTES, Suite, comparison, json_text
from turns import Pairs, Spread

VALUE = 500
KEYS = 2_000_000
ABSENT_STEP = 1000  # each thousandth key changes during the absence
OTHER_SEED = 1
SMALL = 128


def check_keys(node: Yzma, other: Yzma, keys: int) -> None:
    counts = [n.client().count_keys("k") for n in (node, other)]
    if counts != [keys, keys]:
        raise SystemExit(f"{counts[0]:,} and {counts[1]:,} keys on two nodes, not {keys:,}")


# ---- a new node ---------------------------------------------------------------


class NewNode:
    """2,000,000 keys, 1 GB, of which a new node, or a new replica, takes a full copy."""

    def __init__(self, suite: Suite, keys: int, source: Yzma, primary: Redis):
        self.suite, self.keys, self.source, self.primary = suite, keys, source, primary
        self.core = suite.cores.second_alone

    def ours(self) -> float:
        store = self.suite.new_store()
        with self.suite.yzma(store, core=self.core, join=self.source.gossip, wait=False) as node:
            seconds = node.wait_for(lambda: node.has_all_of(self.source), pause=0.02)
            check_keys(node, self.source, self.keys)
            node.client().ok("POST", "/cluster/leave")  # so that nobody waits for it
        store.remove()
        return seconds

    def redis(self) -> float:
        with Redis(self.suite.folder, self.core, replica_of=self.primary.port) as replica:
            seconds = replica.wait_for(replica.is_synced, pause=0.02)
            held = int(Resp(replica.port).call("DBSIZE"))
            if held != self.keys:
                raise SystemExit(f"{held:,} keys on the Redis replica, not {self.keys:,}")
        return seconds

    def copy(self) -> float:
        """Copies the data file and makes the copy durable."""
        target = self.suite.folder / "copy"
        start = time.monotonic()
        subprocess.run(["taskset", "-c", str(self.core), "cp", "--reflink=never", self.source.store.path, target],
                       check=True)
        fd = os.open(target, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
        seconds = time.monotonic() - start
        target.unlink()
        return seconds


@comparison("new-node")
def new_node(suite: Suite) -> None:
    keys = suite.sizes.keys(KEYS)
    store = suite.store_with(keys, VALUE)
    with suite.yzma(store, core=suite.cores.server) as source, Redis(suite.folder, suite.cores.server) as primary:
        suite.preload_redis(primary, keys, VALUE)
        new = NewNode(suite, keys, source, primary)
        copies: list[float] = []

        def ours() -> float:
            copies.append(new.copy())
            return new.ours()

        pairs = Pairs.by_turns(suite.sizes.few_rounds, ours, new.redis)
    faster = pairs.ratio(lambda seconds: 1 / seconds)
    raw = keys * (KEY_BYTES + VALUE)
    seconds = Spread.of(pairs.ours())
    copy = statistics.median(copies)
    suite.add("new-node", f"a new node takes {keys:,} keys, {raw / 1e6:,.0f} MB",
              f"{seconds.text('{:.2f}')} s, {raw / 1e6 / seconds.median:,.0f} MB/s",
              f"Redis replica: {Spread.of(pairs.theirs()).text('{:.2f}')} s; `cp` and fsync: {copy:.2f} s, of whose "
              f"speed ours is {copy / seconds.median:.0%}", faster.text("{:.2f}"), "at least 0.5 of Redis's speed",
              faster.median >= 0.5)


# ---- a return -----------------------------------------------------------------


class Absence:
    """Two nodes with the same data, of which the second goes and comes back."""

    def __init__(self, suite: Suite, keys: int, compression: str):
        self.suite, self.keys = suite, keys
        self.settings: dict[str, Any] = {"Peering": {"Compression": compression}}
        self.stay = suite.yzma(suite.store_with(keys, VALUE), core=suite.cores.server, **self.settings)
        self.store = suite.new_store()
        self.seed = OTHER_SEED
        self.ports: tuple[int, int] | None = None
        with self.second(join=self.stay.gossip) as second:
            second.wait_for(lambda: second.has_all_of(self.stay), pause=0.05)

    def second(self, join: str | None = None) -> Yzma:
        node = self.suite.yzma(self.store, core=self.suite.cores.second_alone, join=join, wait=False,
                               ports=self.ports, **self.settings)
        self.ports = node.ports  # it comes back at its old addresses
        return node

    def once(self) -> tuple[float, float]:
        """Bytes on the wire to bytes changed; and seconds from its start."""
        changed = self.keys // ABSENT_STEP
        self.seed += 1
        self.suite.generator.run(self.stay, "/keys/k{n}", "-m", "POST", "-n", changed, "-k", self.keys, "-N",
                                 ABSENT_STEP, "-s", self.seed, *json_text(VALUE))
        with self.second() as second:
            seconds = second.wait_for(lambda: second.has_all_of(self.stay), pause=0.005)
            wire = second.bytes_from_peers()
        return wire / (changed * (KEY_BYTES + VALUE)), seconds

    def end(self) -> None:
        """Puts back what the others expect of the shared store."""
        self.suite.generator.run(self.stay, "/keys/k{n}", "-m", "POST", "-n", self.keys // ABSENT_STEP, "-k",
                                 self.keys, "-N", ABSENT_STEP, *json_text(VALUE))
        with self.second() as second:
            second.wait_for(lambda: second.has_all_of(self.stay), pause=0.05)
            second.client().ok("POST", "/cluster/leave")
        self.stay.stop()
        self.store.remove()


@comparison("return")
def come_back(suite: Suite) -> None:
    """0.1 % of 2,000,000 keys changed meanwhile."""
    keys = suite.sizes.keys(KEYS)
    for compression in ("off", "auto"):
        absence = Absence(suite, keys, compression)
        try:
            turns = [absence.once() for _ in range(suite.sizes.few_rounds + 2)]
            absence.end()
        finally:
            absence.stay.stop()
        wire, seconds = Spread.of([t[0] for t in turns]), Spread.of([t[1] for t in turns])
        wanted = compression == "off"
        suite.add(f"return/{compression}", f"return after {keys // ABSENT_STEP:,} of {keys:,} keys changed, "
                  f"Compression {compression}", f"{seconds.text('{:.2f}')} s from its start",
                  f"bytes received to bytes of changed keys and values ({VALUE}, random)", wire.text("{:.3f}"),
                  "at most 1.2, under 2 s" if wanted else "under 2 s",
                  seconds.median < 2 and (wire.median <= 1.2 or not wanted))


# ---- visible on the other -----------------------------------------------------


@dataclasses.dataclass
class Couple:
    """Two servers, of which the second follows, and how to write to the first."""

    first: Server
    second: Server
    target: str
    options: tuple[object, ...]

    def stop(self) -> None:
        self.second.stop()
        self.first.stop()


def nodes(suite: Suite, cores: Cores | None = None) -> Couple:
    """Two nodes that know each other."""
    a = suite.yzma(core=cores.server if cores else None)
    b = suite.yzma(core=cores.second_server if cores else None, join=a.gossip)
    a.client().ok("POST", "/keys/first", "1")
    b.wait_for(lambda: b.client().call("GET", "/keys/first")[0] == 200, pause=0.05)
    return Couple(a, b, "/keys/k{n}", ("-m", "POST"))


def redis_replicas(suite: Suite, cores: Cores) -> Couple:
    a = Redis(suite.folder, cores.server)
    b = Redis(suite.folder, cores.second_server, replica_of=a.port)
    b.wait_for(b.is_synced, pause=0.05)
    return Couple(a, b, "SET k{n}", ())


class Visibility:
    """Both couples under the same load: half of the smaller maximum."""

    def __init__(self, suite: Suite, couples: list[Couple]):
        self.suite = suite
        self.loads: dict[int, list[Result]] = {id(couple): [] for couple in couples}
        self.most = [statistics.median(self._load(c).finish().per_second for _ in range(3)) for c in couples]
        for couple in couples:  # a write is seen after all before it: the followers then have caught up
            suite.generator.visible(couple.first, couple.second, suite.cores.prober, 0.1)
        self.rate = min(self.most) / 2

    def _load(self, couple: Couple, *options: object, seconds: float | None = None):
        keys = self.suite.sizes.keys(100_000)
        return self.suite.generator.start(couple.first, couple.target, *couple.options, "-r", "-k", keys,
                                          *json_text(SMALL), *options, seconds=seconds)

    def turn(self, couple: Couple) -> dict[str, Any]:
        seconds = self.suite.sizes.visible_seconds
        with self._load(couple, "-q", self.rate, seconds=seconds + 0.5) as load:
            time.sleep(0.5)  # the generator warms up
            seen = self.suite.generator.visible(couple.first, couple.second, self.suite.cores.prober, seconds)
            self.loads[id(couple)].append(load.finish())
        return seen["seen_us"]

    def missed(self, couple: Couple) -> float:
        """The share of requests that the fixed rate asked for and that were not sent."""
        due = self.rate * (self.suite.sizes.visible_seconds + 1)
        return statistics.median(r.missed for r in self.loads[id(couple)]) / due


def milliseconds(turns: list[dict[str, Any]]) -> str:
    def of(name: str) -> str:
        return f"{name} {Spread.of([t[name] for t in turns]).text('{:.2f}', 1e-3)}"

    return f"{of('p50')}, {of('p99')} ms"


@comparison("visible")
def visible(suite: Suite) -> None:
    ours = nodes(suite, suite.cores)
    theirs = redis_replicas(suite, suite.cores)
    try:
        both = Visibility(suite, [ours, theirs])
        pairs = Pairs.by_turns(suite.rounds, lambda: both.turn(ours), lambda: both.turn(theirs))
        ratio, middle = pairs.ratio(lambda t: t["p99"]), pairs.ratio(lambda t: t["p50"])
        held = both.missed(ours) < 0.01 and both.missed(theirs) < 0.01
        suite.add("visible", f"write on A visible on B, at {both.rate:,.0f} writes/s, half of the smaller maximum",
                  milliseconds(pairs.ours()) + f"; at most {both.most[0]:,.0f}/s; durable",
                  "Redis primary and replica: " + milliseconds(pairs.theirs())
                  + f"; at most {both.most[1]:,.0f}/s; not durable" + ("" if held else "; **the rate was not held**"),
                  f"p99 {ratio.text('{:.2f}')}, p50 {middle.text('{:.2f}')}", "p99 at most 1",
                  held and ratio.median <= 1,
                  f"A: {busy(both.loads[id(ours)])}; primary: {busy(both.loads[id(theirs)])}")
    finally:
        ours.stop()
        theirs.stop()


@comparison("visible-idle")
def visible_idle(suite: Suite) -> None:
    couple = nodes(suite)
    try:
        turns = [suite.generator.visible(couple.first, couple.second, suite.cores.prober, suite.sizes.seconds)
                 for _ in range(suite.rounds)]
    finally:
        couple.stop()
    seen = Spread.of([t["seen_us"]["p50"] for t in turns])
    answered = Spread.of([t["answered_us"]["p50"] for t in turns])
    suite.add("visible-idle", "write on A visible on B, idle", seen.text("{:.2f}", 1e-3) + " ms, median from sending",
              f"the write itself: {answered.text('{:.2f}', 1e-3)} ms", f"{seen.median / answered.median:.2f}",
              "under 5 ms", seen.median < 5000)


@comparison("rapid")
def rapid(suite: Suite) -> None:
    """10,000 rapid writes on A: how long after the last one B has them all."""
    writes = 10000
    couple = nodes(suite)
    try:
        there, behind, rates = Http(couple.second.port), [], []
        for n in range(suite.rounds):
            done = suite.generator.run(couple.first, f"/keys/r{n}-{{n}}", "-m", "POST", *json_text(SMALL), "-n", writes,
                                       "-k", writes)
            start = time.monotonic()
            while (held := there.count_keys(f"r{n}-")) < writes:
                if time.monotonic() - start > 60:
                    raise SystemExit(f"B held {held:,} of {writes:,} keys after 60 s")
            behind.append(time.monotonic() - start)
            rates.append(done.per_second)
    finally:
        couple.stop()
    late = Spread.of(behind)
    suite.add("rapid", "10,000 rapid writes on A, all at B", late.text("{:.0f}", 1000) + " ms after the last",
              f"written at {Spread.of(rates).text()}/s", "", "within 1 s", late.median < 1)
