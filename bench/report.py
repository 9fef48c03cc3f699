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
        cells = (self.name, self.what, self.ours, self.beside, self.ratio, self.wanted, reached, self.saturated, self.run)
        return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


class Table:
    def __init__(self, revision: str, how: str) -> None:
        self.rows: list[Row] = []
        self.run = f"{datetime.datetime.now():%Y-%m-%d %H:%M}, {revision}{', ' + how if how else ''}"

    def add(self, row: Row) -> None:
        row.run = self.run
        self.rows.append(row)
        print(row.line(), flush=True)

    def _kept(self, path: pathlib.Path) -> list[str]:
        """Lines of an earlier table that this run has no rows for."""
        mine = {row.name for row in self.rows}
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith("| ") and line.count("|") == HEAD[0].count("|")
                and line not in HEAD and line.split("|")[1].strip() not in mine]

    def write(self, path: pathlib.Path, preface: list[str], order: list[str], keep: bool) -> None:
        lines = [row.line() for row in self.rows] + (self._kept(path) if keep else [])

        def place(line: str) -> int:
            name = line.split("|")[1].strip().split("/")[0]
            return order.index(name) if name in order else len(order)

        path.write_text("\n".join(["# Measured", "", *preface, "", *HEAD, *sorted(lines, key=place)]) + "\n")
