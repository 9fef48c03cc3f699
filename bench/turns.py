"""Two candidates by turns (A B B A A B ..), and what is made of their figures.

A figure alone says little: machines, kernels and neighbours differ. What disturbs the
machine for longer than a turn disturbs both of a pair, so the median of the ratios of
pairs is steadier than the ratio of medians."""

import dataclasses
import statistics
from typing import Callable, Generic, Sequence, TypeVar

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Spread:
    """A median, and the quartiles around it."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        if len(values) == 1:
            return Spread(values[0], values[0], values[0])
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return Spread(low, statistics.median(values), high)

    def text(self, form: str = "{:,.0f}", scale: float = 1) -> str:
        """"12 (11 to 14)"."""
        low, median, high = (form.format(v * scale) for v in (self.low, self.median, self.high))
        return f"{median} ({low} to {high})"


@dataclasses.dataclass
class Pairs(Generic[T]):
    """Neighbouring turns: (ours, theirs)."""

    pairs: list[tuple[T, T]]

    @staticmethod
    def by_turns(rounds: int, ours: Callable[[], T], theirs: Callable[[], T]) -> "Pairs[T]":
        pairs = []
        for turn in range(rounds):
            if turn % 2 == 0:
                first = ours()
                pairs.append((first, theirs()))
            else:
                first = theirs()
                pairs.append((ours(), first))
        return Pairs(pairs)

    def ours(self) -> list[T]:
        return [a for a, _ in self.pairs]

    def theirs(self) -> list[T]:
        return [b for _, b in self.pairs]

    def ratio(self, figure: Callable[[T], float]) -> Spread:
        return Spread.of([figure(a) / max(figure(b), 1e-9) for a, b in self.pairs])

    def where(self, both: Callable[[T], bool]) -> "Pairs[T]":
        return Pairs([pair for pair in self.pairs if both(pair[0]) and both(pair[1])])
