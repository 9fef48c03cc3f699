"""Runs the load generator and the probes beside it, and reads what they print."""

import dataclasses
import json
import pathlib
import resource
import statistics
import subprocess
import time
from typing import Any, Sequence

from machine import busy_seconds
from servers import Server
from turns import Spread

SATURATED = 0.95  # of a core


@dataclasses.dataclass(frozen=True)
class Result:
    """Of one turn of load."""

    per_second: float
    p50_us: float
    p99_us: float
    cpu_us: float  # of the server, per request
    server_busy: float  # shares of a core
    client_busy: float
    others_busy: float  # what ran on the machine besides the two
    missed: int  # of a fixed rate: requests that were due and not sent

    @staticmethod
    def read(text: str, others_busy: float) -> "Result":
        r = json.loads(text)
        return Result(r["per_second"], r["us"]["p50"], r["us"]["p99"], r["server_cpu_us"] / max(r["requests"], 1),
                      r["server_busy"], r["client_busy"], others_busy, r["missed"])


class Running:
    """A generator at work; as a context it is ended should the block fail."""

    def __init__(self, command: list[str], server: Server):
        self.command, self.server = command, server
        self.machine, self.cpu, self.children, self.start = self._spent()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def _spent(self) -> tuple[float, float, float, float]:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return busy_seconds(), self.server.cpu_seconds(), usage.ru_utime + usage.ru_stime, time.monotonic()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def finish(self, timeout: float = 3600) -> Result:
        out, err = self.process.communicate(timeout=timeout)
        if self.process.returncode != 0:
            raise SystemExit(f"{self.server.state()}\n{' '.join(self.command)[:500]}\n{out}{err[:500]}")
        machine, cpu, children, now = self._spent()
        others = (machine - self.machine) - (cpu - self.cpu) - (children - self.children)
        return Result.read(out, max(0.0, others / (now - self.start)))


class Generator:
    """The generators of one build, with the length of a turn."""

    def __init__(self, build: pathlib.Path, server_core: int, client_core: int, seconds: float):
        self.load_binary = build / "bench" / "load"
        self.visible_binary = build / "bench" / "visible"
        self.fdatasync_binary = build / "bench" / "fdatasync"
        self.server_core, self.client_core, self.seconds = server_core, client_core, seconds

    def start(self, server: Server, target: str, *options: Any, seconds: float | None = None,
              nice: bool = False, pinned: bool = True) -> Running:
        """nice: gives way to another generator on its core, whose latencies are measured."""
        command = ["taskset", "-c", str(self.client_core)] if pinned else []
        command += ["nice", "-n", "19"] if nice else []
        command += [self.load_binary, "-P", server.protocol, "-z", server.pid, "-d", seconds or self.seconds, *options,
                    server.address, target]
        return Running([str(word) for word in command], server)

    def run(self, server: Server, target: str, *options: Any, **how: Any) -> Result:
        with self.start(server, target, *options, **how) as running:
            return running.finish()

    def fdatasync_us(self, folder: pathlib.Path) -> float:
        """The median of one durable write of 300 bytes."""
        out = subprocess.run(["taskset", "-c", str(self.server_core), str(self.fdatasync_binary),
                              str(folder / "fdatasync"), str(self.seconds)], check=True, capture_output=True, text=True)
        return json.loads(out.stdout)["us"]["p50"]

    def visible(self, a: Server, b: Server, core: int, seconds: float) -> dict[str, Any]:
        run = subprocess.run(["taskset", "-c", str(core), str(self.visible_binary), a.protocol, a.address, b.address,
                              str(seconds)], capture_output=True, text=True)
        if run.returncode != 0:
            raise SystemExit(f"{a.name}: {run.stdout}{run.stderr}")
        return json.loads(run.stdout)


# ---- how results are said -----------------------------------------------------


def rates(results: Sequence[Result]) -> str:
    return Spread.of([r.per_second for r in results]).text() + "/s"


def p99s(results: Sequence[Result]) -> str:
    return "p99 " + Spread.of([r.p99_us for r in results]).text("{:.2f}", 1e-3) + " ms"


def cpus(results: Sequence[Result]) -> str:
    return Spread.of([r.cpu_us for r in results]).text("{:.1f}") + " us of CPU each"


def busy(results: Sequence[Result]) -> str:
    """Which side was at its limit, and how busy each was."""
    server, client, others = (statistics.median(figure(r) for r in results) for figure in (
        lambda r: r.server_busy, lambda r: r.client_busy, lambda r: r.others_busy))
    side = "server" if server >= SATURATED else "client" if client >= SATURATED else "neither"
    return f"{side} (server {server:.0%}, client {client:.0%}, others {others:.0%})"
