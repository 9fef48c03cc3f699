"""Measures YzmaDB beside what it is compared with, on this machine, in this run.

Each comparison is a function in a rows_*.py; README.md says what it measures and how.
A whole run takes about an hour: ten minutes of overwrites, the rest loading and turns."""

import argparse
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys

from machine import description, version_of
from report import Table
from suite import Sizes, Suite, comparisons

import rows_get  # noqa: F401  the order of the table
import rows_put  # noqa: F401
import rows_mixed  # noqa: F401
import rows_watch  # noqa: F401
import rows_store  # noqa: F401
import rows_cluster  # noqa: F401
import rows_follow  # noqa: F401

HERE = pathlib.Path(__file__).parent
FREE_BYTES = 20 << 30  # what a whole run may need for a while


def revision() -> str:
    """Of what is measured; with a plus when files, the table itself aside, differ from it."""
    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(HERE.parent), *words], capture_output=True, text=True)

    same = git("diff", "--quiet", "HEAD", "--", ".", ":!bench/RESULTS.md").returncode == 0
    return (git("rev-parse", "--short", "HEAD").stdout.strip() or "no revision") + ("" if same else "+")


def chosen(names: list[str]) -> list[str]:
    """Comparisons by name, or by what their names begin with: "get" is all of get-*."""
    found: list[str] = []
    for name in names:
        matches = [c for c in comparisons if c == name] or [c for c in comparisons if c.startswith(name + "-")]
        if not matches:
            raise SystemExit(f"bench: no comparison {name}; there are {', '.join(comparisons)}")
        found += matches
    return found or list(comparisons)


def sizes_of(args: argparse.Namespace) -> Sizes:
    sizes = Sizes.quick() if args.quick else Sizes()
    given = {name: value for name in ("scale", "rounds", "seconds") if (value := getattr(args, name)) is not None}
    return dataclasses.replace(sizes, **given)


def how_of(sizes: Sizes, binary: pathlib.Path | None) -> str:
    """What is unlike a whole run."""
    other = [f"binary {binary.name}"] if binary else []
    if sizes != Sizes():
        other.append(f"{sizes.rounds} rounds of {sizes.seconds:g} s, {sizes.scale:g} of the keys")
    return ", ".join(other)


def preface(suite: Suite, load_before: float) -> list[str]:
    return [
        "Written by `make bench`; README.md beside it says what each row measures and how. Ratios count; figures",
        "belong to the machine. A figure is a median, with the quartiles of its turns in brackets; a ratio is the",
        "median of the ratios of neighbouring turns.",
        "",
        f"* {description(suite.folder)}; servers on core {suite.cores.server}, clients on core {suite.cores.client}",
        f"* {version_of(str(suite.binary), '--version')}; {version_of('nginx', '-v')}; "
        f"{version_of('redis-server', '--version').split(' sha=')[0]}; {version_of('etcd', '--version')}; "
        f"{version_of('wrk', '-v').split(' [')[0]}",
        f"* {suite.rounds} pairs of turns of {suite.sizes.seconds:g} s ({suite.sizes.few_rounds} of what takes long); "
        f"values of 128 bytes unless a row says otherwise",
        f"* load average before: {load_before:.1f} (well above 0: something else ran too; \"others\" in a row is what "
        "else used the processors during it, in shares of a core)",
    ]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--build", default="build", type=pathlib.Path, help="Meson's build folder")
    add("--yzma", type=pathlib.Path, help="measure this binary instead of the build folder's")
    add("--quick", action="store_true",
        help="few short turns on few keys, under 8 minutes: tries the bench itself")
    add("--scale", type=float, help="share of the keys and operations (1)")
    add("--rounds", type=int, help="pairs of turns (15)")
    add("--seconds", type=float, help="length of a turn (2)")
    add("--folder", type=pathlib.Path, help="where servers keep their files: a folder on a disk (/var/tmp)")
    add("--out", type=pathlib.Path, help="write the table there; rows of comparisons that did not run stay")
    add("--record", action="store_true", help="the same with bench/RESULTS.md, as a whole run does anyway")
    add("names", nargs="*", metavar="NAME", help="only these: " + ", ".join(comparisons))
    return parser.parse_args()


def run(suite: Suite, names: list[str]) -> list[str]:
    """All of them, whatever happens to one; returns those that did not come to an end."""
    failed = []
    for name in names:
        print(f"== {name}", file=sys.stderr, flush=True)
        try:
            comparisons[name](suite)
        except (SystemExit, OSError, subprocess.SubprocessError, KeyError, ValueError) as problem:
            print(f"bench: {name}: {problem}", file=sys.stderr, flush=True)
            suite.add(name, "did not come to its end", str(problem).splitlines()[0][:200], reached=False)
            failed.append(name)
        finally:
            suite.clean()
    return failed


def stop(signal_number: int, _frame: object) -> None:
    raise KeyboardInterrupt(signal_number)


def main() -> int:
    args = parse()
    signal.signal(signal.SIGTERM, stop)
    sizes, names, load_before = sizes_of(args), chosen(args.names), os.getloadavg()[0]
    out = args.out or (HERE / "RESULTS.md" if args.record or (not args.names and sizes == Sizes()) else None)
    suite = Suite(args.build, args.yzma, sizes, args.folder, Table(revision(), how_of(sizes, args.yzma)))
    if shutil.disk_usage(suite.folder).free < FREE_BYTES * sizes.scale:
        suite.note(f"less than {FREE_BYTES * sizes.scale / 2**30:.1f} GiB free in {suite.folder}: may not suffice")
    try:
        failed = run(suite, names)
        if out:
            suite.table.write(out, preface(suite, load_before), list(comparisons), names)
    finally:
        shutil.rmtree(suite.folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
