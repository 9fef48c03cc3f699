"""The servers that are measured: each a child process, on loopback, with its files in
the bench's folder; stopped by its process id, and by the kernel should the bench die."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from http.client import HTTPException
from typing import Any, Callable

from clients import Http, Resp
from machine import disk_bytes, free_ports

running: "list[Server]" = []

WAIT_SECONDS = 300  # nothing takes so long: a start with a log to replay, a walk


class Server:
    """A process that listens on self.port. As a context it is stopped at the end."""

    protocol = "http"

    def __init__(self, folder: pathlib.Path, name: str, port: int, command: list[str], core: int | None,
                 wait: bool = True, nice: bool = False):
        self.name, self.port = name, port
        pin = ["taskset", "-c", str(core)] if core is not None else []
        pin += ["nice", "-n", "19"] if nice else []
        self.log_path = folder / f"{name}-{port}.log"
        self.spawned = time.monotonic()
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *pin, *command], cwd=folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        running.append(self)
        if wait:
            self.wait_for(self.accepts)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def wait_for(self, condition: Callable[[], bool], pause: float = 0.005) -> float:
        """Seconds from the spawn until the condition holds."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                state = self.state()
                self.kill()
                raise SystemExit(f"what was waited for did not come: {state}")
            time.sleep(pause)
        return time.monotonic() - self.spawned

    def state(self) -> str:
        """For people: whether it runs, and what it said last."""
        ended = self.process.poll()
        said = self.log_path.read_text()[-1000:].strip()
        return f"{self.name} {'runs' if ended is None else f'ended with {ended}'}; it said: {said or 'nothing'}"

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self in running:
            running.remove(self)

    def kill(self) -> None:
        """As a crash of the process: it is told nothing."""
        self.process.kill()
        self.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def cpu_seconds(self) -> float:
        fields = open(f"/proc/{self.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> dict[str, float]:
        """VmRSS and its parts, RssAnon and RssFile."""
        found = {}
        for line in open(f"/proc/{self.pid}/status"):
            name, _, value = line.partition(":")
            if name in ("VmRSS", "RssAnon", "RssFile"):
                found[name] = int(value.split()[0]) / 1024
        return found


def stop_all() -> None:
    """Whatever still runs after a comparison that failed."""
    for server in reversed(running.copy()):
        server.stop()


class Store:
    """The files of one node."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def parts(self) -> list[pathlib.Path]:
        """The data file, its lock, and the folder of the log."""
        candidates = [self.path.with_name(self.path.name + suffix) for suffix in ("", "-lock", "-log")]
        return [part for part in candidates if part.exists()]

    def disk_bytes(self) -> int:
        return disk_bytes(*self.parts())

    def compacted_bytes(self) -> int:
        """The size of a compacted copy of LMDB's file; the node must be stopped."""
        copy = self.path.with_name(self.path.name + "-copy")
        subprocess.run(["mdb_copy", "-n", "-c", str(self.path), str(copy)], check=True)
        size = disk_bytes(copy)
        copy.unlink()
        return size

    def remove(self) -> None:
        for part in self.parts():
            shutil.rmtree(part) if part.is_dir() else part.unlink()


class Yzma(Server):
    """A node. Settings are merged into the configuration, section by section. nice: gives way to a generator on
    its core."""

    def __init__(self, folder: pathlib.Path, binary: pathlib.Path, store: Store, core: int | None = None,
                 join: str | None = None, wait: bool = True, ports: tuple[int, int] | None = None,
                 nice: bool = False, **settings: dict[str, Any]):
        self.store, self.settings, self.core = store, settings, core
        self.ports = ports or (free_ports(1), free_ports(2))
        api, gossip = self.ports
        self.gossip = f"127.0.0.1:{gossip}"
        config: dict[str, dict[str, Any]] = {
            "API": {"Bind": f"127.0.0.1:{api}"},
            "Peering": {"Name": store.path.stem, "BindAddr": "127.0.0.1", "BindPort": gossip,
                        "AdvertiseAddress": "127.0.0.1"},
            "Server": {"DBPath": str(store.path), "Log": {"Level": "warn"}},
        }
        if core is not None:
            config["API"]["Threads"] = 1
        for section, values in settings.items():
            config[section].update(values)
        file = folder / f"{store.path.stem}.json"
        file.write_text(json.dumps(config))
        command = [str(binary), "-c", str(file)] + (["-j", join] if join else [])
        super().__init__(folder, store.path.stem, api, command, core, wait, nice)

    def client(self) -> Http:
        return Http(self.port)

    def answers_health(self) -> bool:
        try:
            return Http(self.port).call("GET", "/health")[0] == 200
        except (OSError, HTTPException):
            return False

    def is_catching_up(self) -> bool:
        """Has it taken some of what it lacks, and not yet all?"""
        status, data = self.client().call("GET", "/ready")
        return status == 503 and data.get("KeysDone", 0) > 0

    def has_all_of(self, other: "Yzma") -> bool:
        """Ready, and its clock at or above the other's, which takes no writes now."""
        try:
            here, there = self.client(), other.client()
            if here.call("GET", "/ready")[0] != 200:
                return False
            own = here.status()["Clock"]
            return all(own.get(replica, 0) >= counter for replica, counter in there.status()["Clock"].items())
        except (OSError, HTTPException):
            return False  # it does not listen yet

    def bytes_from_peers(self) -> int:
        """What came in over its links since it started."""
        return sum(link["BytesIn"] for link in self.client().status()["Links"])


class Nginx(Server):
    """Answers every path with the same text, from memory: what HTTP itself costs."""

    def __init__(self, folder: pathlib.Path, core: int | None, text: str):
        port = free_ports(1)
        home = folder / "nginx"
        home.mkdir(exist_ok=True)
        temp = "".join(f"{kind}_temp_path {home}/{kind};" for kind in
                       ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (home / "nginx.conf").write_text(f"""
            worker_processes 1; daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
            events {{ worker_connections 1024; }}
            http {{ access_log off; keepalive_requests 1000000000; {temp}
                server {{ listen 127.0.0.1:{port};
                    location / {{ default_type application/json; return 200 '{text}'; }} }} }}""")
        super().__init__(folder, "nginx", port, ["nginx", "-c", str(home / "nginx.conf")], core)


class Redis(Server):
    """In memory only, or with its append-only file synced before each answer."""

    protocol = "resp"

    def __init__(self, folder: pathlib.Path, core: int | None, durable: bool = False, replica_of: int | None = None):
        port = free_ports(1)
        home = folder / f"redis-{port}"
        home.mkdir()
        self.home = home
        options = ["--port", port, "--bind", "127.0.0.1", "--dir", home, "--save", "", "--loglevel", "warning",
                   "--appendonly", "yes" if durable else "no", "--appendfsync", "always",
                   "--auto-aof-rewrite-percentage", "0", "--repl-diskless-sync-delay", "0"]
        if replica_of is not None:
            options += ["--replicaof", f"127.0.0.1 {replica_of}"]
        super().__init__(folder, "redis", port, ["redis-server", *map(str, options)], core)

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def is_synced(self) -> bool:
        info = Resp(self.port).info("replication")
        return info["master_link_status"] == "up" and info["master_sync_in_progress"] == "0"


class Etcd(Server):
    """One member; spoken to through its JSON gateway."""

    def __init__(self, folder: pathlib.Path, core: int | None):
        port = free_ports(2)
        client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
        self.home = folder / f"etcd-{port}"
        super().__init__(folder, "etcd", port, [
            "etcd", "--name", "bench", "--data-dir", str(self.home), "--log-level", "error",
            "--quota-backend-bytes", str(8 << 30), "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"bench={peer}"],
            core)

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.home, ignore_errors=True)
