"""What the comparisons share: sizes, prepared stores, and the table they fill."""

import dataclasses
import pathlib
import sys
from typing import Any, Callable

from generator import Generator, Result
from machine import Cores, work_folder
from report import Row, Table
from servers import Redis, Store, Yzma, stop_all

KEY_BYTES = 10  # k000000000
PRELOAD_CONNECTIONS = 256  # many wait for the same disk write


def json_text(value_bytes: int) -> list[str]:
    """Options of the generator for a JSON text of so many bytes, quotes included."""
    return ["-b", '"{v}"', "-v", str(value_bytes - 2)]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much of everything. Scaled down it is a test of the bench, not a measurement."""

    rounds: int = 15
    seconds: float = 2
    few_rounds: int = 3  # of what takes long
    scale: float = 1
    minute_seconds: float = 60
    visible_seconds: float = 4

    @staticmethod
    def quick() -> "Sizes":
        return Sizes(rounds=3, seconds=1, few_rounds=2, scale=0.02, minute_seconds=2, visible_seconds=1.5)

    def keys(self, full: int) -> int:
        return max(1000, int(full * self.scale))


class Suite:
    def __init__(self, build: pathlib.Path, binary: pathlib.Path | None, sizes: Sizes, folder: pathlib.Path | None,
                 table: Table):
        self.sizes, self.table, self.cores = sizes, table, Cores()
        self.binary = (binary or build / "yzma").resolve()
        self.folder = work_folder(folder, build)
        self.generator = Generator(build.resolve(), self.cores.server, self.cores.client, sizes.seconds)
        self.stores_made = 0
        self.stores: list[Store] = []
        self.prepared: dict[tuple[int, int], Store] = {}

    @property
    def rounds(self) -> int:
        return self.sizes.rounds

    def add(self, *args: Any, **fields: Any) -> None:
        self.table.add(Row(*args, **fields))

    def new_store(self) -> Store:
        self.stores_made += 1
        self.stores.append(Store(self.folder / f"n{self.stores_made}.db"))
        return self.stores[-1]

    def yzma(self, store: Store | None = None, **how: Any) -> Yzma:
        return Yzma(self.folder, self.binary, store or self.new_store(), **how)

    def store_with(self, keys: int, value_bytes: int) -> Store:
        """A stopped node's store with the keys k000000000 .. and their values of seed 0.

        Made once and then shared: those who use it write no other values there."""
        if (keys, value_bytes) not in self.prepared:
            store = self.new_store()
            with self.yzma(store) as node:
                self.preload(node, keys, value_bytes)
            self.prepared[keys, value_bytes] = store
        return self.prepared[keys, value_bytes]

    def preload(self, node: Yzma, keys: int, value_bytes: int) -> Result:
        return self._preload(node, "/keys/k{n}", keys, "-m", "POST", *json_text(value_bytes))

    def preload_redis(self, redis: Redis, keys: int, value_bytes: int) -> Result:
        return self._preload(redis, "SET k{n}", keys, *json_text(value_bytes))

    def _preload(self, server: Any, target: str, keys: int, *options: str) -> Result:
        result = self.generator.run(server, target, *options, "-n", keys, "-k", keys, "-c", PRELOAD_CONNECTIONS,
                                    pinned=False)
        self.note(f"{keys:,} keys loaded into {server.name} at {result.per_second:,.0f}/s")
        return result

    def clean(self) -> None:
        """Ends what a comparison left running, and removes its stores."""
        stop_all()
        for store in self.stores:
            if store not in self.prepared.values():
                store.remove()
        self.stores = list(self.prepared.values())

    def note(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)


Comparison = Callable[[Suite], None]
comparisons: dict[str, Comparison] = {}


def comparison(name: str) -> Callable[[Comparison], Comparison]:
    """Makes a function one that can be run by this name; files are imported in the table's order."""

    def register(function: Comparison) -> Comparison:
        comparisons[name] = function
        return function

    return register
