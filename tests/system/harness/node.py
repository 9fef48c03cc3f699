"""One node: the real binary with a folder, a configuration and ports of its own.

Each test process uses a loopback address of its own, 127.x.y.z made of its
process id, so tests side by side cannot take each other's ports. The ports lie
below those that the kernel gives to outgoing connections.
"""
import json
import os
import re
import signal
import socket
import subprocess
import threading

from .api import Api, exact
from .wait import PATIENCE, until

BINARY = os.path.abspath(os.environ.get("YZMA", "build/yzma"))
SANITIZED = bool(os.environ.get("YZMA_SANITIZED"))
START_WITHIN = 15
STOP_WITHIN = 5  # what a stop is promised to take

_pid = os.getpid()
HOST = f"127.{_pid >> 16 & 0x7F}.{_pid >> 8 & 0xFF}.{_pid & 0xFF}"
if HOST in ("127.0.0.0", "127.0.0.1"):
    HOST = "127.128.0.1"
_next_port = 20000


def is_free(host, port):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((host, port))
            except OSError:
                return False
    return True


def free_ports(count, host=HOST):
    """The first of `count` free ports in a row."""
    global _next_port
    while True:
        first = _next_port
        _next_port += count
        if all(is_free(host, first + i) for i in range(count)):
            return first


def start_process(args, log, folder, **more):
    """A process that dies with this one (setpriv turns into it: the pid is its own).
    Only for the main thread: the tie is to the thread that starts it."""
    assert threading.current_thread() is threading.main_thread()
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *args], cwd=folder, stdin=subprocess.DEVNULL,
                            stdout=log, stderr=subprocess.STDOUT, **more)


FINDINGS = re.compile("(WARNING|ERROR): [A-Za-z]+Sanitizer|runtime error: ")


def tail(path, lines=40):
    """The last lines of a file, and before them the beginning of what a sanitizer found,
    which says what it is; None for all of them."""
    try:
        with open(path, errors="replace") as log:
            all_lines = log.readlines()
    except OSError as error:
        return f"({error})\n"
    if lines is None:
        return "".join(all_lines)
    found = next((i for i, line in enumerate(all_lines) if FINDINGS.search(line)), len(all_lines))
    last = max(len(all_lines) - lines, 0)
    return "".join(all_lines[found:min(found + lines, last)] + all_lines[last:])


def value_of(entry):
    """Of a listed key or version: JSON, or (base64, type)."""
    return entry["Value"] if "Value" in entry else (entry["Value64"], entry.get("Type"))


class Node:
    """`settings` go into the configuration by dotted name: {"API.Threads": 2}."""

    def __init__(self, folder, name="node", settings=None, binary=BINARY):
        self.folder, self.name, self.binary = folder, name, binary
        os.makedirs(folder, exist_ok=True)
        self.log_path = os.path.join(folder, "log")
        self.config_path = os.path.join(folder, "yzma.json")
        self.db_path = os.path.join(folder, "yzma.db")
        self.db_log = self.db_path + "-log"  # the store's log, a folder
        self.settings = {"Peering.Name": name, "Peering.Profile": "local", "Server.DBPath": self.db_path}
        self.process = None
        self.prefix = []  # a command that turns into the program: under what it is to run
        self.ending = False  # it was told to end
        self.args = []
        self.take_ports()
        self.settings.update(settings or {})
        self._api = self._api_of = None

    def take_ports(self):
        """New ones, used from the next start on."""
        first = free_ports(3)
        self.gossip, self.replication, self.api_address = (f"{HOST}:{first + i}" for i in range(3))
        self.settings.update({
            "API.Bind": self.api_address,
            "Peering.BindAddr": HOST,
            "Peering.AdvertiseAddress": HOST,
            "Peering.BindPort": first,
        })

    def log(self):
        """All that it has said so far."""
        return tail(self.log_path, lines=None)

    def wait_log(self, text, within=10):
        """Waits for a line that it writes while it does what was seen from outside."""
        until(lambda: text in self.log(), within, lambda: f"{self.name} says {text!r}, not:\n{self.log()[-2000:]}")

    def wait_counters(self, within=10, **expected):
        """Waits until the named counters have exactly these values: what is seen may come before it is counted."""
        def counted():
            counters = self.counters()
            return {name: counters[name] for name in expected}

        until(lambda: counted() == expected, within, lambda: f"{self.name} counts {expected}, not {counted()}")

    def write_config(self):
        config = {}
        for name, value in self.settings.items():
            *sections, key = name.split(".")
            section = config
            for part in sections:
                section = section.setdefault(part, {})
            section[key] = value
        with open(self.config_path, "w") as file:
            json.dump(config, file, indent=2)

    # ---- its life -------------------------------------------------------------

    def start(self, *args, wait=True):
        """args: more of the command line, such as "-j", "host:port"."""
        self.write_config()
        self.launch(["-c", self.config_path, *args])
        if wait:
            until(self.is_healthy, START_WITHIN, f"{self.name} answers /health")
        return self

    def launch(self, args, prefix=()):
        """No more than the process; prefix: as self.prefix, for this time."""
        assert not self.running
        self.ending = False
        with open(self.log_path, "ab") as log:
            self.process = start_process([*self.prefix, *prefix, self.binary, *args], log, self.folder)

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def is_healthy(self):
        if not self.running:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{tail(self.log_path)}")
        try:
            return self.call("GET", "/health").status == 200
        except OSError:
            return False

    def wait_ready(self, within=30):
        until(lambda: self.call("GET", "/ready").status == 200, within, lambda: f"{self.name} is ready: "
              + repr(self.call("GET", "/ready")))

    def wait_end(self, within=STOP_WITHIN):
        """The exit code of one that was told to end, or will by itself."""
        self.ending = True
        try:
            return self.process.wait(within * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {within * PATIENCE:g} s") from None

    def signal(self, number):
        self.ending |= number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
        if self.running:
            self.process.send_signal(number)

    def kill9(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def term(self):
        """Asks it to stop; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait_end()

    def restart(self, *args, kill=False):
        if kill:
            self.kill9()
        else:
            code = self.term()
            assert code == 0, f"{self.name} stopped with {code}"
        return self.start(*args)

    def done(self):
        """Ends it. Fails if it has ended by itself before; under a sanitizer it stops
        regularly, and fails if that finds anything."""
        if self._api:
            self._api.close()
        if self.process is None:
            return
        try:
            if self.process.poll() is not None:
                assert self.ending, f"{self.name} ended by itself with {self.process.returncode}"
            elif SANITIZED:
                self.signal(signal.SIGCONT)
                assert self.term() == 0, f"{self.name} stopped with {self.process.returncode}"
        finally:
            if self.running:
                self.process.kill()
            self.process.wait()

    # ---- its API --------------------------------------------------------------

    def client(self):
        """A connection of the caller's own."""
        return Api(self.api_address)

    @property
    def api(self):
        """The kept connection to the present process; for the main thread."""
        if self._api_of is not self.process:
            if self._api:
                self._api.close()
            self._api, self._api_of = self.client(), self.process
        return self._api

    def call(self, *args, **more):
        return self.api.call(*args, **more)

    def put(self, key, value, **more):
        return self.expect(200, self.api.put(key, value, **more))

    def get(self, key, **more):
        return self.api.get(key, **more)

    def delete(self, key, **more):
        return self.expect(200, self.api.delete(key, **more))

    def value(self, key):
        """The value with numbers as written, or None where there is none."""
        answer = self.get(key)
        if answer.status == 404:
            return None
        return exact(self.expect(200, answer).body)["Data"]

    def siblings(self, key):
        """The versions held, as a set that two nodes can be compared by."""
        answer = self.get(key, siblings="true")
        if answer.status == 404:
            return frozenset()
        versions = exact(self.expect(200, answer).body)["Data"]["Versions"]
        return frozenset((v["Node"], v["Stamp"], json.dumps(value_of(v))) for v in versions)

    def everything(self):
        """All keys with their values, page by page."""
        found, after = {}, ""
        while True:
            page = self.expect(200, self.api.list(after=after, limit=1000, values="true"))
            data = exact(page.body)["Data"]
            found.update((entry["Key"], value_of(entry)) for entry in data["Keys"])
            after = data["Next"]
            if not after:
                return found

    def join(self, *peers):
        addresses = [p.gossip if isinstance(p, Node) else p for p in peers]
        return self.call("POST", "/cluster/join", json.dumps({"Peers": addresses}))

    def leave(self):
        return self.expect(200, self.call("POST", "/cluster/leave"))

    def members(self):
        """Full member name -> what this node says of it."""
        data = self.expect(200, self.call("GET", "/cluster/members")).data
        return {member["Name"]: member for member in data["Members"]}

    def sees(self, other):
        """How this node lists the other: its Status, or None."""
        for name, member in self.members().items():
            if name.startswith(other.name + "-"):
                return member["Status"]
        return None

    @property
    def member_name(self):
        return next(name for name, member in self.members().items() if member["Self"])

    def status(self):
        return self.expect(200, self.call("GET", "/cluster/status")).data

    def counters(self):
        return self.status()["Counters"]

    def clock(self):
        return self.status()["Clock"]

    @staticmethod
    def expect(status, answer):
        if answer.status != status:
            raise AssertionError(f"expected {status}, got {answer!r}")
        return answer

    # ---- its process ----------------------------------------------------------

    def rss_kib(self, field="VmRSS"):
        with open(f"/proc/{self.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(field + ":"))

    def anonymous_kib(self):
        """Without the pages of the mapped store."""
        return self.rss_kib("RssAnon")

    def cpu_ticks(self):
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])  # utime and stime
