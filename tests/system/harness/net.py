"""Nodes that are each in a network namespace of their own, joined by a bridge: networks
that can be cut between any two, in either direction.

All of it hangs on processes. The test runs in a namespace of its own (inside()), each
node's namespace is held by a process that dies with the test, and the kernel takes a
namespace down, with its interfaces and rules, when its last process ends. So nothing is
left behind however the test ends, and nothing of the machine's own network is touched.
So it is with /dev/shm, where faketime leaves something of each process.
"""
import os
import shutil
import subprocess
import sys
import uuid

from .node import Node, start_process
from .wait import until

INSIDE = "YZMA_TEST_NETWORK"  # holds a mark that all processes of one run inherit
SKIPPED = 77
NET = "10.77.0"  # in a namespace of its own: nobody else's
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def run(*command, text=None):
    subprocess.run(command, input=text, text=True, check=True, capture_output=True, timeout=60)


def _probe(command):
    script = "mount -t tmpfs tmpfs /dev/shm && ip link set lo up && ip link add br0 type bridge && ip link add v1 type veth peer name v2 " \
             "&& nft add table inet probe && unshare -n true"
    try:
        return subprocess.run([*command, "sh", "-c", script], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def inside(*args, mark=None, **settings):
    """Runs this program in a network namespace of its own, until it ends. Returns its exit
    code; SKIPPED, with a word about it, where such are not permitted."""
    commands = (["unshare", "-n", "-m"], ["unshare", "-r", "-n", "-m"])
    able = [c for c in commands if shutil.which("unshare") and shutil.which("nft") and _probe(c)]
    if not able:
        print("SKIPPED: no network namespaces with veth, bridges and nftables here", flush=True)
        return SKIPPED
    environment = dict(os.environ, **settings, **{INSIDE: mark or new_mark()})
    return subprocess.run(["setpriv", "--pdeathsig", "KILL", *able[0], "sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && ip link set lo up && exec "$@"', "sh",
                           sys.executable, *sys.argv, *args], env=environment).returncode


def new_mark():
    return uuid.uuid4().hex


def left_behind(mark):
    """The processes that carry the mark: those of a run that is to be over."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if f"{INSIDE}={mark}".encode() in file.read().split(b"\0"):
                    found.append(pid)
        except OSError:
            pass
    return found


def clocks_can_be_set():
    return os.path.exists(FAKETIME)


class NetNode(Node):
    """A node at an address of its own; with `clock` one that can be set."""

    def __init__(self, net, number, folder, name, settings=None, clock=False):
        self.net, self.number = net, number
        self.address = f"{NET}.{number}"
        self.clock_path = folder + "-clock"
        super().__init__(folder, name, settings)
        self.prefix = ["nsenter", "-t", str(net.holders[number].pid), "-n"]
        if clock:
            self.set_clock(0)
            self.prefix += ["env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={self.clock_path}",
                            "FAKETIME_CACHE_DURATION=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_DISABLE_SHM=1"]

    def take_ports(self):
        self.gossip, self.replication, self.api_address = (f"{self.address}:{p}" for p in (7946, 7947, 8080))
        self.settings.update({"API.Bind": self.api_address, "Peering.BindAddr": self.address,
                              "Peering.AdvertiseAddress": self.address, "Peering.BindPort": 7946})

    def set_clock(self, seconds):
        """Its wall clock is so far from the machine's, within a second from now."""
        with open(self.clock_path + ".new", "w") as file:
            file.write(f"{seconds:+d}\n")
        os.replace(self.clock_path + ".new", self.clock_path)


class Net:
    """`count` namespaces, numbered from 1, and which of them hears which."""

    def __init__(self, count):
        self.holders, self.deaf = {}, {}
        run("sh", "-c", f"ip link add br0 type bridge && ip addr add {NET}.254/24 dev br0 && ip link set br0 up")
        for number in range(1, count + 1):
            self.add(number)

    def add(self, number):
        own = os.readlink("/proc/self/ns/net")
        holder = start_process(["unshare", "-n", "sleep", "infinity"], subprocess.DEVNULL, "/")
        self.holders[number] = holder
        until(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own, 10, "the namespace")
        run("sh", "-c", f"ip link add v{number} type veth peer name eth0 netns {holder.pid} && "
                        f"ip link set v{number} master br0 up && nsenter -t {holder.pid} -n sh -c '"
                        f"ip link set lo up && ip addr add {NET}.{number}/24 dev eth0 && ip link set eth0 up && "
                        f"nft add table inet wall && nft add chain inet wall arrives "
                        f'"{{ type filter hook input priority 0; }}"' "'")
        self.deaf[number] = frozenset()

    def node(self, number, folder, name, settings=None, clock=False):
        return NetNode(self, number, folder, name, settings, clock)

    def cut(self, pairs):
        """From now on nothing of a reaches b, for each (a, b) of these numbers; all else flows."""
        for number, holder in self.holders.items():
            deaf = frozenset(a for a, b in pairs if b == number and a != number)
            if deaf == self.deaf[number]:
                continue
            rules = "flush chain inet wall arrives\n"
            if deaf:
                sources = ", ".join(f"{NET}.{a}" for a in sorted(deaf))
                rules += f"add rule inet wall arrives ip saddr {{ {sources} }} drop\n"
            run("nsenter", "-t", str(holder.pid), "-n", "nft", "-f", "-", text=rules)
            self.deaf[number] = deaf

    def heal(self):
        self.cut(())

    def done(self):
        for holder in self.holders.values():
            holder.kill()
            holder.wait()
        subprocess.run(["ip", "link", "del", "br0"], capture_output=True)
