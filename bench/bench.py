"""Measures YzmaDB beside what it is compared with, on this machine, in this run.

A figure alone says little about a program: machines, kernels and neighbours
differ. So two candidates take turns (A B B A A B ..), each turn a few seconds, and
what counts is the median of the ratios of neighbouring turns: what disturbs the
machine for longer disturbs both. Where nothing is compared the figure stands
against a bound in plain units (milliseconds, MB).

Servers run on loopback, in a folder of their own that is removed afterwards, and
are stopped by their process ids. Where a comparison says "one core" the server is
pinned to the first and the load generator, which then polls, to the second."""

import argparse
import datetime
import http.client
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
VALUE = json.dumps({"name": "kuzco", "text": "x" * 160}, separators=(",", ":"))  # 190 bytes
READY_SECONDS = 20


def free_ports(count):
    """Ports that nobody listens on now, next to each other (gossip, replication)."""
    while True:
        first = 20000 + int.from_bytes(os.urandom(2), "big") % 20000
        try:
            for port in range(first, first + count):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    with socket.socket(socket.AF_INET, kind) as s:
                        s.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue


class Server:
    """A process that answers HTTP on self.port; a context manager."""

    def __init__(self, bench, name, port, command, core=None):
        self.name, self.port = name, port
        if core is not None:
            command = ["taskset", "-c", str(core)] + command
        self.log = open(bench.folder / f"{name}-{port}.log", "w")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, cwd=bench.folder)
        self.wait_ready()

    def wait_ready(self):
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        sys.exit(f"bench: {self.name} did not start:\n{open(self.log.name).read()}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def cpu_seconds(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no VmRSS")


class Client:
    """One keep-alive connection."""

    def __init__(self, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.http.connect()
        self.http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, method, path, body=None):
        self.http.request(method, path, body)
        answer = self.http.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data else None


class Bench:
    def __init__(self, build, quick):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="yzma-bench-"))
        self.yzma_binary = (build / "yzma").resolve()
        self.load_binary = (build / "bench" / "load").resolve()
        self.rounds, self.seconds = (3, 1.5) if quick else (15, 2)
        self.rows = []
        self.nodes = 0
        self.load_before = os.getloadavg()[0]

    # ---- candidates ----------------------------------------------------------

    def yzma(self, core=None, join=None):
        self.nodes += 1
        api = free_ports(1)
        gossip = free_ports(2)
        name = f"n{self.nodes}"
        config = {
            "API": {"Bind": f"127.0.0.1:{api}"},
            "Peering": {"Name": name, "BindAddr": "127.0.0.1", "BindPort": gossip,
                        "AdvertiseAddress": "127.0.0.1", "Join": [join] if join else []},
            "Server": {"DBPath": str(self.folder / f"{name}.db"), "Log": {"Level": "warn"}},
        }
        if core is not None:
            config["API"]["Threads"] = 1
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(config))
        server = Server(self, name, api, [str(self.yzma_binary), "-c", str(file)], core)
        server.gossip = f"127.0.0.1:{gossip}"
        return server

    def nginx(self, core):
        port = free_ports(1)
        folder = self.folder / "nginx"
        folder.mkdir(exist_ok=True)
        temp = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in
                       ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(f"""
            worker_processes 1; daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
            events {{ worker_connections 1024; }}
            http {{ access_log off; keepalive_requests 1000000000; {temp}
                server {{ listen 127.0.0.1:{port};
                    location / {{ default_type application/json; return 200 '{envelope(VALUE)}'; }} }} }}""")
        return Server(self, "nginx", port, ["nginx", "-c", str(folder / "nginx.conf")], core)

    def etcd(self):
        port = free_ports(2)
        client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
        return Server(self, "etcd", port, [
            "etcd", "--name", "bench", "--data-dir", str(self.folder / "etcd"), "--log-level", "error",
            "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", f"bench={peer}"])

    # ---- measuring -----------------------------------------------------------

    def load(self, server, path, *options, core=None):
        command = [str(self.load_binary), "-d", str(self.seconds), *options, f"127.0.0.1:{server.port}", path]
        if core is not None:
            command = ["taskset", "-c", str(core)] + command
        cpu_before = server.cpu_seconds()
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(f"bench: {server.name}: {run.stdout}{run.stderr}")
        result = json.loads(run.stdout)
        result["cpu_us"] = (server.cpu_seconds() - cpu_before) * 1e6 / result["sent"]
        return result

    def in_turns(self, ours, theirs):
        """Both by turns: (ours, theirs) of each pair of neighbouring turns."""
        pairs = []
        for turn in range(self.rounds):
            if turn % 2 == 0:
                pairs.append((ours(), theirs()))
            else:
                pairs.append(tuple(reversed((theirs(), ours()))))
        return pairs

    def add(self, name, here, beside, ratio, wanted, good):
        self.rows.append((name, here, beside, ratio, wanted, "yes" if good else "**no**"))
        print(f"{name}: {here}; {beside}; {ratio}; wanted {wanted}: {'yes' if good else 'NO'}", flush=True)

    def add_pairs(self, name, pairs, other, wanted):
        def figures(side):
            def median(figure):
                return statistics.median(figure(pair[side]) for pair in pairs)
            return (f"{median(lambda r: r['per_second']):,.0f}/s, p99 {median(lambda r: r['us']['p99']) / 1000:.1f} ms, "
                    f"{median(lambda r: r['cpu_us']):.1f} us of CPU each")

        ratio = statistics.median(ours["per_second"] / theirs["per_second"] for ours, theirs in pairs)
        self.add(name, figures(0), f"{other}: {figures(1)}", f"{ratio:.2f}", f"at least {wanted}", ratio >= wanted)

    # ---- the comparisons -----------------------------------------------------

    def get(self):
        """GET, 64 keep-alive connections, the server on one core, beside nginx's `return 200`."""
        keys = 10000
        with self.yzma(core=0) as yzma, self.nginx(core=0) as nginx:
            self.load(yzma, "/keys/k{n}", "-m", "POST", "-b", VALUE, "-n", str(keys), "-k", str(keys))
            options = ("-p", "-k", str(keys), "-r", "-e", '"kuzco"')
            self.add_pairs("GET, 64 connections, server on one core", self.in_turns(
                lambda: self.load(yzma, "/keys/k{n}", *options, core=1),
                lambda: self.load(nginx, "/keys/k{n}", *options, core=1)), "nginx `return 200`", 0.80)

    def put(self):
        """POST, 64 connections, durable before the answer, beside etcd through its JSON gateway."""
        keys = 100000
        value64 = "eHh4" * (len(VALUE) // 3)  # as many bytes, in base64
        with self.yzma() as yzma, self.etcd() as etcd:
            self.add_pairs("POST, 64 connections, durable", self.in_turns(
                lambda: self.load(yzma, "/keys/k{n}", "-m", "POST", "-b", VALUE, "-k", str(keys), "-r"),
                lambda: self.load(etcd, "/v3/kv/put", "-m", "POST", "-k", str(keys), "-r",
                                  "-b", '{"key":"{b64}","value":"%s"}' % value64)), "etcd", 0.6)

    def overwritten(self):
        """GET of a key overwritten 10,000 times, beside a key written once."""
        with self.yzma(core=0) as yzma:
            self.load(yzma, "/keys/hot", "-m", "POST", "-b", VALUE, "-n", "10000")
            self.load(yzma, "/keys/cold", "-m", "POST", "-b", VALUE, "-n", "1", "-c", "1")
            self.add_pairs("GET of a key overwritten 10,000 times", self.in_turns(
                lambda: self.load(yzma, "/keys/hot", "-p", core=1),
                lambda: self.load(yzma, "/keys/cold", "-p", core=1)), "a key written once", 0.9)

    def memory(self):
        """Memory of an idle node."""
        with self.yzma() as yzma:
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline:
                time.sleep(0.5)  # whatever it still does at its start
            rss = yzma.rss_mb()
            self.add("idle memory", f"{rss:.1f} MB", "", "", "under 20 MB", rss < 20)

    def pair_of_nodes(self):
        a = self.yzma()
        b = self.yzma(join=a.gossip)
        probe, deadline = Client(a.port), time.monotonic() + READY_SECONDS
        assert probe.call("POST", "/keys/probe", "1")[0] == 200
        far = Client(b.port)
        while far.call("GET", "/keys/probe")[0] != 200:
            if time.monotonic() > deadline:
                sys.exit("bench: two nodes did not find each other")
            time.sleep(0.05)
        return a, b

    def visible(self):
        """From the answer to a write on A until B shows it, both idle otherwise."""
        a, b = self.pair_of_nodes()
        with a, b:
            here, there, times = Client(a.port), Client(b.port), []
            for n in range(self.rounds * 20):
                time.sleep(0.02)  # idle in between
                start = time.perf_counter()
                assert here.call("POST", "/keys/news", str(n))[0] == 200
                answered = time.perf_counter()
                while there.call("GET", "/keys/news")[1]["Data"] != n:
                    if time.perf_counter() - start > 10:
                        sys.exit("bench: a write on A did not reach B within 10 s")
                times.append((time.perf_counter() - start, answered - start))
            total = statistics.median(t for t, _ in times) * 1000
            write = statistics.median(w for _, w in times) * 1000
            worst = max(t for t, _ in times) * 1000
            self.add("write on A visible on B, idle", f"{total:.2f} ms median from sending, {worst:.1f} at most",
                     f"the write itself: {write:.2f} ms", "", "under 5 ms", total < 5)

    def rapid(self):
        """10,000 rapid writes on A: how long after the last one B has them all."""
        a, b = self.pair_of_nodes()
        with a, b:
            there, behind, rates = Client(b.port), [], []
            for n in range(self.rounds):
                done = self.load(a, f"/keys/r{n}-{{n}}", "-m", "POST", "-b", VALUE, "-n", "10000", "-k", "10000")
                start, held = time.monotonic(), 0
                while held < 10000:
                    held = len(there.call("GET", f"/keys?prefix=r{n}-&limit=10000")[1]["Data"]["Keys"])
                    if time.monotonic() - start > 30:
                        sys.exit(f"bench: B held {held} of 10,000 after 30 s")
                behind.append(time.monotonic() - start)
                rates.append(done["per_second"])
            late = statistics.median(behind)
            self.add("10,000 rapid writes on A, all at B", f"{late * 1000:.0f} ms after the last, median; "
                     f"{max(behind) * 1000:.0f} at most", f"written at {statistics.median(rates):,.0f}/s", "",
                     "within 1 s", late < 1)


COMPARISONS = ("visible", "rapid", "get", "put", "overwritten", "memory")


def envelope(value):
    return '{"Status":"ok","Error":"","Data":%s}' % value


def version_of(command):
    try:
        run = subprocess.run(command, capture_output=True, text=True)
        return (run.stdout + run.stderr).splitlines()[0]
    except (OSError, IndexError):
        return "not installed"


def cpu_name():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def write_results(bench, path):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lines = [
        "# Measured", "",
        "Written by `make bench` (bench/bench.py says how). Ratios count; figures belong to the machine.", "",
        f"* {datetime.date.today()}, {os.cpu_count()} cores of {cpu_name()}, {memory:.0f} GiB, "
        f"Linux {platform.release()}",
        f"* {version_of([str(bench.yzma_binary), '--version'])}; {version_of(['nginx', '-v'])}; "
        f"{version_of(['etcd', '--version'])}",
        f"* {bench.rounds} pairs of turns of {bench.seconds} s; medians, of ratios and of figures; values of {len(VALUE)} bytes",
        f"* load average before: {bench.load_before:.1f} (well above 0: something else ran too)",
        "", "| | YzmaDB | beside it | ratio | wanted | reached |", "|---|---|---|---|---|---|",
    ] + ["| " + " | ".join(row) + " |" for row in bench.rows]
    path.write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns, to try the bench itself")
    parser.add_argument("--out", default=HERE / "RESULTS.md", type=pathlib.Path)
    parser.add_argument("names", nargs="*", choices=[[], *COMPARISONS], help="only these")
    args = parser.parse_args()
    bench = Bench(args.build, args.quick)
    try:
        for name in args.names or COMPARISONS:
            getattr(bench, name)()
        if not args.names:
            write_results(bench, args.out)
    finally:
        shutil.rmtree(bench.folder)


if __name__ == "__main__":
    main()
