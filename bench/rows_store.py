"""What the store does over time: overwrites for ten minutes, a start after a crash,
and memory."""

import re
import statistics
import time
from typing import Any

from generator import Result, busy
from machine import disk_bytes_written
from servers import Store, Yzma
from suite import KEY_BYTES, Suite, comparison, json_text
from turns import Spread

VALUE = 128
MEMORY_TABLE = 64 << 20  # Server.MemoryTable's default
MINUTES = 10
OPERATIONS = 1_000_000
REPLAY_WANTED = 500_000
IN_LOG_WANTED = 0.5  # what has lain in memory for some seconds is applied meanwhile: the rest is what counts
OTHER_SEED = 1  # other values than the prepared ones


@comparison("overwrites")
def overwrites(suite: Suite) -> None:
    """5,000,000 keys, overwritten at random by 64 writers for ten minutes."""
    keys = suite.sizes.keys(5_000_000)
    store = suite.new_store()
    with suite.yzma(store) as node:
        suite.preload(node, keys, VALUE)
    with suite.yzma(store, core=suite.cores.server) as node:
        written = disk_bytes_written(suite.folder)
        minutes: list[Result] = []
        for minute in range(MINUTES):
            minutes.append(suite.generator.run(node, "/keys/k{n}", "-m", "POST", "-r", "-k", keys, "-w", 0, "-s",
                                               OTHER_SEED + minute, *json_text(VALUE),
                                               seconds=suite.sizes.minute_seconds))
            suite.note(f"minute {minute + 1}: {minutes[-1].per_second:,.0f}/s")
        puts = sum(m.per_second for m in minutes) * suite.sizes.minute_seconds
        per_put = None if written is None else (disk_bytes_written(suite.folder) - written) / puts
        disk = store.disk_bytes()
    add_overwrites(suite, minutes, per_put)
    add_disk(suite, disk, store.compacted_bytes(), keys * (KEY_BYTES + VALUE))
    store.remove()


def add_overwrites(suite: Suite, minutes: list[Result], per_put: float | None) -> None:
    first, last = minutes[0].per_second, minutes[-1].per_second
    seconds = suite.sizes.minute_seconds
    to_disk = "" if per_put is None else f"; {per_put:,.0f} bytes written to the disk per put"
    unit = "minute" if seconds == 60 else f"{seconds:g} s"
    suite.add("overwrites/rate", f"random overwrites, 64 connections, {MINUTES} times one {unit}",
              f"last {unit}: {last:,.0f}/s; each: " + " ".join(f"{m.per_second:,.0f}" for m in minutes),
              f"first {unit}: {first:,.0f}/s{to_disk}", f"{last / first:.2f}",
              "at least 0.8", last / first >= 0.8, busy(minutes))


def add_disk(suite: Suite, disk: int, compacted: int, raw: int) -> None:
    bound = 2 * compacted + 2 * MEMORY_TABLE
    suite.add("overwrites/disk", "disk after the overwrites, log included",
              f"{disk / 2**20:,.0f} MiB, {disk / raw:.1f} times the raw keys and values",
              f"compacted copy: {compacted / 2**20:,.0f} MiB, {compacted / raw:.1f} times", f"{disk / compacted:.2f}",
              f"at most 2 copies and 2 memory tables: {bound / 2**20:,.0f} MiB", disk <= bound)


class CrashStart:
    """Starts after kill -9 with everything still in the log: the memory table is larger than it."""

    def __init__(self, suite: Suite, operations: int):
        self.suite, self.operations = suite, operations
        self.replayed: list[int] = []
        self.replay_ms: list[int] = []

    def start(self, store: Store, **how: Any) -> Yzma:
        return self.suite.yzma(store, Server={"MemoryTable": "2GiB", "Log": {"Level": "info"}}, **how)

    def seconds_to_health(self, store: Store) -> float:
        with self.start(store, core=self.suite.cores.server, wait=False) as node:
            seconds = node.wait_for(node.answers_health, pause=0.001)
            self._read_log(node)
            node.kill()  # else it would first apply everything
        return seconds

    def _read_log(self, node: Yzma) -> None:
        found = re.search(r"event=log_replayed.*?operations=(\d+)(?:.*?\bms=(\d+))?", node.log_path.read_text())
        self.replayed.append(int(found.group(1)) if found else 0)
        self.replay_ms.append(int(found.group(2) or 0) if found else 0)

    def after_crash(self) -> float:
        store = self.suite.new_store()
        with self.start(store) as node:
            self.suite.preload(node, self.operations, VALUE)
            node.kill()
        seconds = self.seconds_to_health(store)
        store.remove()
        return seconds

    def empty(self) -> float:
        store = self.suite.new_store()
        seconds = self.seconds_to_health(store)
        store.remove()
        return seconds


@comparison("crash-start")
def crash_start(suite: Suite) -> None:
    crash = CrashStart(suite, suite.sizes.keys(OPERATIONS))
    full, empty, rates = [], [], []
    for _ in range(suite.sizes.few_rounds):
        full.append(crash.after_crash())
        operations = crash.replayed[-1]
        empty.append(crash.empty())
        rates.append(operations / max(full[-1] - empty[-1], 1e-3))
    replayed = max(crash.replayed)
    its_log = f"{replayed:,} replayed, in {max(crash.replay_ms):,} ms by its log" if replayed else \
        "nothing replayed: no event=log_replayed in its log"
    suite.add("crash-start", f"start after kill -9 with {crash.operations:,} operations in the log",
              f"{Spread.of(full).text('{:.3f}')} s to /health; {its_log}",
              f"empty store: {Spread.of(empty).text('{:.3f}')} s", f"{Spread.of(rates).text()} operations/s",
              f"at least {REPLAY_WANTED:,}/s", replayed >= IN_LOG_WANTED * crash.operations
              and statistics.median(rates) >= REPLAY_WANTED)


def parts_of(memory: dict[str, float]) -> str:
    return f"{memory['VmRSS']:.1f} MB (anonymous {memory['RssAnon']:.1f}, file {memory['RssFile']:.1f})"


@comparison("memory-load")
def memory_load(suite: Suite) -> None:
    """The most that was resident while 64 readers and 64 writers run on 1,000,000 keys."""
    keys = suite.sizes.keys(1_000_000)
    seconds = max(2, 5 * suite.sizes.seconds)
    with suite.yzma(suite.store_with(keys, VALUE), core=suite.cores.server) as node:
        with suite.generator.start(node, "/keys/k{n}", "-r", "-k", keys, seconds=seconds) as gets, \
                suite.generator.start(node, "/keys/k{n}", "-r", "-k", keys, "-m", "POST", *json_text(VALUE),
                                      seconds=seconds) as puts:
            seen = [node.memory_mb()]
            while puts.process.poll() is None:
                time.sleep(0.1)
                seen.append(node.memory_mb())
            results = [gets.finish(), puts.finish()]
    most = max(seen, key=lambda memory: memory["VmRSS"])
    suite.add("memory-load", f"resident with {keys:,} keys under load", parts_of(most),
              f"at {results[0].per_second:,.0f} GET/s and {results[1].per_second:,.0f} POST/s; file: pages of the "
              "store that are mapped, which the kernel takes back when it needs them", "", "under 150 MB",
              most["VmRSS"] < 150, busy(results[:1]))


@comparison("memory-idle")
def memory_idle(suite: Suite) -> None:
    with suite.yzma() as node:
        time.sleep(5)  # whatever it still does at its start
        memory = node.memory_mb()
    suite.add("memory-idle", "resident, idle, empty", parts_of(memory), "", "", "under 20 MB", memory["VmRSS"] < 20)
