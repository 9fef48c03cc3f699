"""What reads suffer from writes beside them: p99 of GETs with writers and without.

The writers' generator shares the readers' core and gives way to it, so that what the
readers wait for is the server."""

import statistics

from generator import Result, Running, busy, p99s, rates
from servers import Yzma
from suite import Suite, comparison, json_text
from turns import Pairs

KEYS = 1_000_000
VALUE = 128
LARGE = 16 << 20
LEAD_SECONDS = 0.3  # the writers begin before the readers warm up, and end after them
STEADY_RATE = 2000  # a second: far below what saturates


class Reads:
    """GETs alone, and GETs while something is written."""

    def __init__(self, suite: Suite, node: Yzma, keys: int, *options: object):
        self.suite, self.node, self.keys, self.options = suite, node, keys, options
        self.written: list[Result] = []

    def alone(self) -> Result:
        return self.suite.generator.run(self.node, "/keys/k{n}", "-r", "-k", self.keys, *self.options)

    def beside(self, target: str, *options: object) -> Result:
        with self._start(target, *options) as writers:
            result = self.alone()
            self.written.append(writers.finish())
        return result

    def _start(self, target: str, *options: object) -> Running:
        return self.suite.generator.start(self.node, target, "-m", "POST", "-w", LEAD_SECONDS, *options, nice=True,
                                          seconds=self.suite.sizes.seconds + 0.5 + LEAD_SECONDS)

    def add(self, name: str, what: str, beside: Pairs[Result], wanted: bool, writers: str) -> None:
        ratio = beside.ratio(lambda r: r.p99_us)
        self.suite.add(name, what, f"{p99s(beside.ours())} at {rates(beside.ours())}, {writers}",
                       f"alone: {p99s(beside.theirs())} at {rates(beside.theirs())}", ratio.text("{:.2f}"),
                       "at most 3" if wanted else "", ratio.median <= 3 if wanted else None,
                       f"with writers: {busy(beside.ours())}; alone: {busy(beside.theirs())}")


@comparison("get-while-puts")
def get_while_puts(suite: Suite) -> None:
    """64 readers beside 64 writers; and, for information, readers that ask for little."""
    keys = suite.sizes.keys(KEYS)
    put = ("-r", "-k", keys, *json_text(VALUE))
    with suite.yzma(suite.store_with(keys, VALUE), core=suite.cores.server) as node:
        for name, what, options, wanted in (
                ("get-while-puts", "GET, 64 connections, while 64 writers run", (), True),
                ("get-while-puts/steady", f"GET at {STEADY_RATE:,}/s, while 64 writers run", ("-q", STEADY_RATE),
                 False)):
            reads = Reads(suite, node, keys, *options)
            pairs = Pairs.by_turns(suite.rounds, lambda: reads.beside("/keys/k{n}", *put), reads.alone)
            reads.add(name, what, pairs, wanted, f"while {rates(reads.written)} were written")


@comparison("get-while-large")
def get_while_large(suite: Suite) -> None:
    """Small GETs while one connection puts values of 16 MiB, one after the other."""
    keys = suite.sizes.keys(KEYS)
    put = ("-c", 1, "-k", 4, "-f", *json_text(LARGE))
    with suite.yzma(suite.store_with(keys, VALUE), core=suite.cores.server) as node:
        reads = Reads(suite, node, keys)
        pairs = Pairs.by_turns(suite.rounds, lambda: reads.beside("/keys/large{n}", *put), reads.alone)
        for n in range(4):
            node.client().ok("DELETE", f"/keys/large{n:09}")
    large = statistics.median(r.per_second for r in reads.written) * LARGE / 2**20
    reads.add("get-while-large", "GET, 64 connections, while 16 MiB values are put", pairs, True,
              f"while {large:,.0f} MiB/s were written")
