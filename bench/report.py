"""What was measured, as a table in Markdown that later runs of single rows amend."""

import dataclasses
import datetime
import pathlib

HEAD = ("| row | what | YzmaDB | beside it | ratio | wanted | reached | saturated | run |",
        "|---|---|---|---|---|---|---|---|---|")


@dataclasses.dataclass
class Row:
    name: str  # of the comparison, with more behind a slash when it gives several rows
    what: str
    ours: str
    beside: str = ""
    ratio: str = ""
    wanted: str = ""
    reached: bool | None = None  # None: nothing is wanted
    saturated: str = ""
    run: str = ""

    def line(self) -> str:
        reached = "" if self.reached is None else "yes" if self.reached else "**no**"
        cells = (self.name, self.what, self.ours, self.beside, self.ratio, self.wanted, reached, self.saturated,
                 self.run)
        return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


class Table:
    def __init__(self, revision: str, how: str) -> None:
        self.rows: list[Row] = []
        self.run = f"{datetime.datetime.now():%Y-%m-%d %H:%M}, {revision}{', ' + how if how else ''}"

    def add(self, row: Row) -> None:
        row.run = self.run
        self.rows.append(row)
        print(row.line(), flush=True)

    def write(self, path: pathlib.Path, preface: list[str], order: list[str], ran: list[str]) -> None:
        """Writes the rows of the comparisons that ran; of the others those that the file has."""
        kept = [line for line in lines_of(path) if comparison_of(line) in set(order) - set(ran)]
        lines = sorted([row.line() for row in self.rows] + kept, key=lambda line: order.index(comparison_of(line)))
        path.write_text("\n".join(["# Measured", "", *preface, "", *HEAD, *lines]) + "\n")


def comparison_of(line: str) -> str:
    return line.split("|")[1].strip().split("/")[0]


def lines_of(path: pathlib.Path) -> list[str]:
    """A table's lines, without its head; none of a table with other columns."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line.startswith("| ") and line.count("|") == HEAD[0].count("|")]
