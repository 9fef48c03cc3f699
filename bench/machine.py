"""The machine that is measured on: cores, files, ports, names for the report."""

import os
import pathlib
import platform
import socket
import subprocess
import tempfile

IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")


class Cores:
    """Who runs where. Servers and clients never share a core when there are two.

    Two nodes of a cluster share the servers' core on a machine of two, while clients
    load them; where no client does (one node feeds another) each has its own."""

    def __init__(self) -> None:
        allowed = sorted(os.sched_getaffinity(0))
        self.count = len(allowed)
        self.server = allowed[0]
        self.client = allowed[-1]
        self.second_server = allowed[1] if self.count > 2 else allowed[0]
        self.prober = allowed[2] if self.count > 3 else self.client
        self.second_alone = allowed[1 % self.count]


def free_ports(count: int) -> int:
    """The first of some ports next to each other that nobody listens on now."""
    while True:
        first = 20000 + int.from_bytes(os.urandom(2), "big") % 12000  # below what the kernel gives to clients
        try:
            for port in range(first, first + count):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with socket.socket(socket.AF_INET, kind) as s:
                        s.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue


def filesystem_of(path: pathlib.Path) -> str:
    """The type of the file system that holds the path."""
    best, kind = pathlib.Path("/"), "unknown"
    for line in open("/proc/self/mounts"):
        _, mount, this_kind = line.split()[:3]
        mount = pathlib.Path(mount.replace("\\040", " "))
        if path.resolve().is_relative_to(mount) and len(mount.parts) >= len(best.parts):
            best, kind = mount, this_kind
    return kind


def disk_bytes_written(path: pathlib.Path) -> int | None:
    """What the disk that holds the path was given so far, by everybody; None where that is not told. (A process's
    own count, /proc/PID/io, takes a whole folio of the page cache for each page that becomes dirty in it: a
    hundred times what is written.)"""
    device = os.stat(path).st_dev
    try:
        fields = pathlib.Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    except OSError:
        return None
    return int(fields[6]) * 512  # Documentation/block/stat.rst: write sectors


def work_folder(wanted: pathlib.Path | None, build: pathlib.Path) -> pathlib.Path:
    """A new folder on a real disk: what is measured is durable writes."""
    for parent in [wanted] if wanted else [pathlib.Path("/var/tmp"), build]:
        if parent.is_dir() and filesystem_of(parent) not in IN_MEMORY:
            return pathlib.Path(tempfile.mkdtemp(prefix="yzma-bench-", dir=parent.resolve()))
    raise SystemExit("bench: the folder is in memory; name one on a disk with --folder")


def disk_bytes(*paths: pathlib.Path) -> int:
    """What files, and folders of files, occupy on the disk."""
    files = [f for path in paths for f in (path.rglob("*") if path.is_dir() else [path]) if f.is_file()]
    return sum(f.stat().st_blocks * 512 for f in files)


def busy_seconds() -> float:
    """CPU time that all cores together have spent on anything."""
    fields = [int(f) for f in open("/proc/stat").readline().split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def cpu_name() -> str:
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def description(folder: pathlib.Path) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"{os.cpu_count()} cores of {cpu_name()}, {memory:.0f} GiB, Linux {platform.release()}, "
            f"{filesystem_of(folder)}")


def version_of(*command: str) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True)
        return (run.stdout + run.stderr).splitlines()[0].strip()
    except (OSError, IndexError):
        return f"{command[0]} not installed"
