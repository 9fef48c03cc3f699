"""How the other nodes keep up with one that is written to, and what it costs a node's own
writers when it takes what it missed."""

import threading
import time

from generator import Result, busy, p99s, rates
from servers import Yzma
from suite import Suite, comparison, json_text
from turns import Pairs, Spread

VALUE = 128
LAG_SECONDS = 20
LOOK_SECONDS = 0.25
MISSED = 500_000  # writes, of 500 bytes
MISSED_VALUE = 500
OWN_RATE = 200  # a second: those of a node that has other things to do
OWN_SECONDS = 3.0


# ---- lag ----------------------------------------------------------------------


class Lag:
    """Watches how far the others' clocks are behind the written node's, in its operations."""

    def __init__(self, written: Yzma, others: list[Yzma]):
        self.clients = [node.client() for node in (written, *others)]
        self.replica = self.clients[0].status()["Replica"]
        self.behind: list[int] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def look(self) -> int:
        """Of the one furthest behind. The others are asked first, so it is never too small a figure."""
        clocks = [client.status()["Clock"].get(self.replica, 0) for client in reversed(self.clients)]
        return clocks[-1] - min(clocks[:-1])

    def _watch(self) -> None:
        while not self.ended.wait(LOOK_SECONDS):
            self.behind.append(self.look())

    def __enter__(self) -> "Lag":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()


@comparison("lag")
def lag(suite: Suite) -> None:
    """Three nodes, 64 writers on one of them: the lag of the others while the load lasts."""
    seconds = max(4.0, LAG_SECONDS * min(1, suite.sizes.scale * 10))
    first = suite.yzma(core=suite.cores.server)
    others = [suite.yzma(core=suite.cores.second_alone, join=first.gossip) for _ in range(2)]
    first.client().ok("POST", "/keys/first", "1")
    for node in others:
        node.wait_for(lambda: node.has_all_of(first), pause=0.05)
    try:
        with Lag(first, others) as watch:
            load = suite.generator.run(first, "/keys/k{n}", "-m", "POST", "-r", "-k", suite.sizes.keys(1_000_000),
                                       *json_text(VALUE), seconds=seconds)
        end = time.monotonic()
        others[0].wait_for(lambda: watch.look() == 0, pause=0.02)
        drained = time.monotonic() - end
    finally:
        for node in (*others, first):
            node.stop()
    half = len(watch.behind) // 2
    early, late = (Spread.of([n / load.per_second for n in part]) for part in (watch.behind[:half],
                                                                              watch.behind[half:]))
    suite.add("lag", f"three nodes, 64 writers on one for {seconds:.0f} s: how far the furthest is behind",
              f"{late.text('{:.0f}', 1000)} ms of its writes in the second half, "
              f"{max(watch.behind) / load.per_second * 1000:.0f} at most; all there {drained * 1000:.0f} ms after the end",
              f"{early.text('{:.0f}', 1000)} ms in the first half; {load.per_second:,.0f} writes/s",
              f"{late.median / max(early.median, 1e-3):.2f}", "bounded: no longer in the second half by more than half",
              late.median <= max(1.5 * early.median, 0.1), busy([load]))


# ---- own writes while it takes what it missed ---------------------------------


@comparison("own-writes")
def own_writes(suite: Suite) -> None:
    """p99 of a node's own writes while it takes 500,000 that it missed, beside that of a quiet time.

    The node has a core of its own; who sends shares the generator's, and gives way to it."""
    missed = suite.sizes.keys(MISSED)
    stay = suite.yzma(core=suite.cores.client, nice=True)
    store = suite.new_store()
    ports = None
    pairs: list[tuple[Result, Result]] = []
    cut_short = 0

    def own(node: Yzma) -> Result:
        return suite.generator.run(node, "/keys/own{n}", "-m", "POST", "-q", OWN_RATE, "-c", 4, "-k", 1000,
                                   *json_text(VALUE), seconds=OWN_SECONDS)

    try:
        for turn in range(suite.sizes.few_rounds + 1):
            with suite.yzma(store, core=suite.cores.server, join=stay.gossip, ports=ports) as node:
                ports = node.ports
                during = None
                if turn:
                    node.wait_for(node.answers_health)
                    node.wait_for(node.is_catching_up)
                    during = own(node)
                cut_short += bool(turn) and node.has_all_of(stay)
                node.wait_for(lambda: node.has_all_of(stay), pause=0.05)
                if during is not None:
                    pairs.append((during, own(node)))
            suite.generator.run(stay, "/keys/k{n}", "-m", "POST", "-n", missed, "-k", missed, "-s", turn + 1,
                                *json_text(MISSED_VALUE), pinned=False)
    finally:
        stay.stop()
    both = Pairs(pairs)
    ratio = both.ratio(lambda r: r.p99_us)
    suite.add("own-writes", f"a node's own POSTs at {OWN_RATE}/s while it takes {missed:,} writes that it missed",
              f"{p99s(both.ours())} at {rates(both.ours())}" + (f"; **{cut_short} turns had ended before**" if cut_short
                                                                else ""),
              f"when it has them all: {p99s(both.theirs())}", ratio.text("{:.2f}"), "at most 3",
              ratio.median <= 3 and not cut_short, busy(both.ours()))
