"""Readers of the changes: what they cost while nothing happens, and what they cost those
who write."""

import json
import pathlib
import subprocess
import statistics
from typing import Any

from generator import Result, busy, p99s, rates
from servers import Yzma
from suite import Suite, comparison, json_text
from turns import Pairs

IDLE = 10_000
IDLE_KIB_MAX = 16
BUSY = 1_000
RATE = 100  # writes a second
VALUE = 128
KEYS = 10_000
WITHIN = 0.1  # a tenth


class Watchers:
    """Many streams of one node, in a process that gives way to the generator on its core."""

    def __init__(self, suite: Suite, node: Yzma, count: int, path: str = "/watch"):
        binary = pathlib.Path(suite.generator.load_binary).with_name("watchers")
        self.process = subprocess.Popen(
            ["taskset", "-c", str(suite.cores.client), "chrt", "--idle", "0", str(binary), node.address, path, str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit(f"{node.state()}\nthe watchers did not get their streams")

    def finish(self) -> dict[str, Any]:
        out, _ = self.process.communicate("", timeout=60)
        return json.loads(out)

    def __enter__(self) -> "Watchers":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@comparison("watch-idle")
def watch_idle(suite: Suite) -> None:
    """Memory of a node with many streams in which nothing happens, less the same node before."""
    count = suite.sizes.keys(IDLE)
    with suite.yzma(core=suite.cores.server) as node:
        with Watchers(suite, node, min(100, count)):  # what the first ones make stays
            pass
        before = node.memory_mb()
        with Watchers(suite, node, count):
            after = node.memory_mb()
            open_now = node.client().status()["Counters"]["api_watchers"]
    kib = {name: (after[name] - before[name]) * 1024 / count for name in after}
    most = max(kib.values())
    suite.add("watch-idle", f"{count:,} idle streams, each", f"{most:.2f} KiB ({open_now:,} open)", "", "",
              f"under {IDLE_KIB_MAX} KiB", most < IDLE_KIB_MAX and open_now >= count)


def write(suite: Suite, node: Yzma) -> Result:
    return suite.generator.run(node, "/keys/k{n}", "-m", "POST", "-r", "-k", KEYS, "-c", 8, "-q", RATE,
                               *json_text(VALUE))


@comparison("watch-busy")
def watch_busy(suite: Suite) -> None:
    """Writers at a fixed rate, with and without streams of all keys."""
    count = max(10, int(BUSY * min(1, suite.sizes.scale * 10)))
    came: list[dict[str, Any]] = []
    with suite.yzma() as node:

        def watched() -> Result:
            with Watchers(suite, node, count) as watchers:
                result = write(suite, node)
                came.append(watchers.finish())
            return result

        write(suite, node)
        pairs = Pairs.by_turns(suite.rounds, watched, lambda: write(suite, node))
    rate, p99 = pairs.ratio(lambda r: r.per_second), pairs.ratio(lambda r: r.p99_us)
    reached = abs(rate.median - 1) <= WITHIN and p99.median <= 1 + WITHIN
    lines = statistics.median(c["lines"] / count for c in came)
    age = {p: statistics.median(c["age_us"][p] for c in came) / 1000 for p in ("p50", "p99", "max")}
    suite.add("watch-busy", f"POST at {RATE}/s, while {count:,} streams show all keys",
              f"{p99s(pairs.ours())} at {rates(pairs.ours())}; {lines:,.0f} lines a stream and turn, "
              f"{age['p50']:.0f} ms after their stamps (p99 {age['p99']:.0f}, max {age['max']:.0f})",
              f"without: {p99s(pairs.theirs())} at {rates(pairs.theirs())}",
              f"rate {rate.text('{:.2f}')}, p99 {p99.text('{:.2f}')}", "within a tenth", reached,
              f"with: {busy(pairs.ours())}; without: {busy(pairs.theirs())}")
