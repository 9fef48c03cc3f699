"""Five masters in five network namespaces under load, and what networks, machines and
operators do to them: partitions of all shapes, freezes, kill -9, clocks that jump, leaves
and joins, a newcomer. Each answer is checked against the history of all of them
(harness/history.py), and at the end all agree.

YZMA_SEED repeats a run's choices (not its timing). Short: each misfortune once.
YZMA_SOAK=SECONDS goes on with random ones, two at a time, for so long.
"""
import http.client
import itertools
import json
import os
import random
import signal
import sys
import threading
import time
import unittest

from harness import SANITIZED, Api, Cluster, SystemTest, key_path, linked, net, until
from harness.history import History, Session, assert_agreed

SEED = int(os.environ.get("YZMA_SEED") or time.time_ns() % 1000000)
SOAK = float(os.environ.get("YZMA_SOAK", 0))
ABANDON = "YZMA_TEST_ABANDON"  # a run that is killed in its midst
NAMES = ("pacha", "kronk", "yzma", "kuzco", "tipo")
KEYS = [f"key/{i}" for i in range(60)]
CLIENTS_EACH = 2
PAUSE = 0.01  # between two calls of a client: ten of them are to leave the nodes some CPU
# Those whose clocks jump; every look at a clock costs them some microseconds.
CLOCKS = ("kronk", "kuzco") if net.clocks_can_be_set() and not SANITIZED else ()
CLOCK_JUMP_MAX = 5 * 3600


class Client(threading.Thread):
    """Reads and writes with tokens, mostly at home, sometimes elsewhere."""

    def __init__(self, name, home, nodes, history, seed):
        super().__init__(daemon=True)
        self.label, self.home, self.nodes, self.history = name, home, nodes, history
        self.chance, self.count, self.sessions, self.apis = random.Random(seed), 0, {}, {}
        self.stopping, self.error, self.acked = threading.Event(), None, 0
        self.start()

    def run(self):
        try:
            while not self.stopping.wait(PAUSE):
                self.once()
        except Exception as error:  # shown by the test
            self.error = error

    def once(self):
        node = self.home if self.chance.random() < 0.85 else self.chance.choice(self.nodes)
        name = self.chance.choice(KEYS)
        if self.chance.random() < 0.03:
            self.sessions.pop(name, None)  # somebody who comes without a token
        session = self.sessions.setdefault(name, Session())
        draw = self.chance.random()
        if session.token is None or draw < 0.45:
            self.read(node, name, session)
        else:
            self.write(node, name, session, delete=draw > 0.85)

    def call(self, node, method, name, session, body=None, **params):
        """The answer, or None: nobody knows."""
        api = self.apis.setdefault(node.name, Api(node.api_address, timeout=3))
        headers = {"X-Yzma-Context": session.token} if session.token else {}
        try:
            answer = api.call(method, key_path(name, wait="30ms", **params), body, headers)
        except (OSError, http.client.HTTPException):
            return None
        if answer.status not in (200, 404):
            self.history.refuse(answer.status)
            return None
        return answer

    def read(self, node, name, session):
        before = self.history.before_read(node.name, name)
        answer = self.call(node, "GET", name, session, siblings="true")
        if answer is None:
            return
        versions = [] if answer.status == 404 else [(v["Value"].split()[0], v["Stamp"])
                                                    for v in answer.data["Versions"]]
        self.history.after_read(node.name, name, session, before, versions)
        session.token = answer.headers["X-Yzma-Context"]

    def write(self, node, name, session, delete):
        self.count += 1
        value = None if delete else f"{self.label}-{self.count}"
        padding = " " + "x" * self.chance.choice((0, 100, 5000))
        self.history.before_write(name, session, value)
        answer = self.call(node, "DELETE" if delete else "POST", name, session,
                           None if delete else json.dumps(value + padding))
        if answer is None:
            # Perhaps it happened: the session cannot tell what it has replaced.
            self.sessions.pop(name)
            return
        self.history.after_write(node.name, name, session, value)
        session.token = answer.headers["X-Yzma-Context"]
        self.acked += 1

    def finish(self):
        self.stopping.set()
        self.join()
        for api in self.apis.values():
            api.close()
        if self.error:
            raise self.error


class Networks(SystemTest):
    maxDiff = None

    def setUp(self):
        super().setUp()
        self.chance = random.Random(SEED)
        self.done, self.clients, self.history = [], [], History()
        self.net = net.Net(len(NAMES) + 1)
        self.addCleanup(self.net.done)
        self.five = [self.join_net(number, name) for number, name in enumerate(NAMES, 1)]
        self.newcomer = self.join_net(len(NAMES) + 1, "chaca")

    def join_net(self, number, name):
        # Rows go as soon as all have them: walks and floors are to be at work, too.
        node = self.net.node(number, os.path.join(self.folder, name), name,
                             {"Server.History": "0s", "Server.MemoryTable": "1MiB"}, clock=name in CLOCKS)
        self.nodes.append(node)
        self.addCleanup(node.done)
        return node

    def numbers(self, nodes):
        return [node.number for node in nodes]

    def progress(self, count, nodes=None):
        """The load goes on by so much, at each of these."""
        clients = [c for c in self.clients if c.home in (nodes or self.five)]
        goal = {c: c.acked + count for c in clients}
        until(lambda: all(c.acked >= goal[c] or c.error for c in clients), 120,
              lambda: "the load goes on: " + str([(c.label, goal[c] - c.acked) for c in clients]))

    def missed(self, of, by):
        """Waits until each of `by` takes somebody of `of` for suspect or dead."""
        def all_miss():
            return all(any(b.sees(o) != "alive" for o in of) for b in by)
        until(all_miss, 60, "it is noticed")

    def rejoin(self, node, peers):
        """Until it is through: in the worst of it a call may time out."""
        until(lambda: node.join(*peers).status == 200, 60, lambda: f"{node.name} joins: {node.join(*peers)!r}")

    # ---- what happens to them: each a generator that does it, waits at its yield, undoes it

    def isolated(self):
        victim = self.chance.choice(self.five)
        others = [n for n in self.five if n is not victim]
        self.net.cut([pair for o in others for pair in ((o.number, victim.number), (victim.number, o.number))])
        self.missed([victim], others)
        yield
        self.net.heal()

    def one_way(self):
        """One that is heard by all and hears nobody, or the other way round."""
        victim = self.chance.choice(self.five)
        others = self.numbers(n for n in self.five if n is not victim)
        hears = self.chance.random() < 0.5
        self.net.cut([(victim.number, o) if hears else (o, victim.number) for o in others])
        yield
        self.net.heal()

    def ring(self):
        """Each has only its two neighbours."""
        order = self.numbers(self.chance.sample(self.five, len(self.five)))
        near = {(a, b) for a, b in zip(order, order[1:] + order[:1])}
        near |= {(b, a) for a, b in near}
        self.net.cut([pair for pair in itertools.permutations(order, 2) if pair not in near])
        yield
        self.net.heal()

    def halves(self):
        """A majority and a minority."""
        order = self.chance.sample(self.five, len(self.five))
        two, three = order[:2], order[2:]
        self.net.cut([pair for a in two for b in three
                      for pair in ((a.number, b.number), (b.number, a.number))])
        self.missed(two, three)
        yield
        self.net.heal()

    def flapping(self):
        for _ in range(6):
            a, b = self.numbers(self.chance.sample(self.five, 2))
            self.net.cut([(a, b), (b, a)] if self.chance.random() < 0.5 else [(a, b)])
            self.progress(2)
            self.net.heal()
        yield

    def frozen(self):
        victim = self.chance.choice(self.five)
        victim.signal(signal.SIGSTOP)
        self.missed([victim], [n for n in self.five if n is not victim])
        yield victim
        victim.signal(signal.SIGCONT)

    def killed(self):
        victim = self.chance.choice(self.five)
        victim.kill9()
        yield victim
        victim.start()

    def clock(self):
        """A clock that is hours wrong, and jumps back."""
        victim = self.chance.choice([n for n in self.five if n.name in CLOCKS])
        victim.set_clock(self.chance.choice((-1, 1)) * self.chance.randrange(120, CLOCK_JUMP_MAX))
        until(lambda: abs(self.clock_error(victim)) > 60, 30, "it is wrong")
        yield
        victim.set_clock(0)
        until(lambda: abs(self.clock_error(victim)) < 60, 30, "it is right again")

    def clock_error(self, node):
        """By how many seconds the stamps that it gives are off."""
        name = f"probe/{self.chance.randrange(1 << 60)}"
        node.put(name, 0)
        stamp = node.get(name, siblings="true").data["Versions"][0]["Stamp"]
        node.delete(name)
        return (int(stamp, 16) >> 16) / 1000 - time.time()

    def left(self):
        victim = self.chance.choice(self.five)
        victim.leave()
        yield
        others = [n for n in self.five if n is not victim]
        self.rejoin(victim, others)

    def joined(self):
        """A newcomer, filled under load; then it leaves for good, or comes back."""
        fresh = not self.newcomer.running
        if fresh:
            self.newcomer.start("-j", self.five[0].gossip)
            until(lambda: linked(self.newcomer) >= 1, 60, "it joins")
        else:
            self.rejoin(self.newcomer, self.five)
        yield
        until(lambda: self.newcomer.call("GET", "/ready").status == 200, 60, "it is filled")
        self.newcomer.leave()

    # ---- the run -------------------------------------------------------------------------

    def suffer(self, kinds):
        """Several at a time, one begun after the other, undone in the other order."""
        running, dead = [], []
        self.done.append([kind.__name__ for kind in kinds])
        for kind in kinds:
            each = kind()
            victim = next(each)
            running.append(each)
            dead += [victim] if victim else []
        self.progress(self.chance.randrange(5, 20), [n for n in self.five if n not in dead])
        for each in reversed(running):
            for _ in each:
                raise AssertionError("it waits once")
        for client in self.clients:
            if client.error:
                raise client.error
        self.assertEqual(self.history.wrong, [])

    def agree(self):
        """Everything is well again: all hold the same, and what the history asks for."""
        for client in self.clients:
            client.finish()
        self.clients.clear()
        if self.newcomer.running:
            self.rejoin(self.newcomer, self.five)
        nodes = [n for n in (*self.five, self.newcomer) if n.running]
        cluster = Cluster(nodes)
        cluster.wait_formed(120)
        cluster.wait_equal(120)
        assert_agreed(self, self.history, nodes, KEYS)

    def employ(self):
        batch = len(self.done)
        for node in self.five:
            for i in range(CLIENTS_EACH):
                self.clients.append(Client(f"{node.name}{i}-{batch}", node, self.five, self.history,
                                           self.chance.randrange(1 << 60)))

    def test_misfortunes(self):
        self.five[0].start()
        for node in self.five[1:]:
            node.start("-j", self.five[0].gossip)
        Cluster(self.five).wait_formed(60)
        kinds = [self.isolated, self.one_way, self.ring, self.halves, self.flapping, self.frozen, self.killed,
                 self.left, self.joined]
        if CLOCKS:
            kinds.append(self.clock)
        self.chance.shuffle(kinds)
        self.employ()
        if os.environ.get(ABANDON):
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            self.progress(20)
            for kind in kinds:
                self.suffer([kind])
            self.agree()
            self.soak(kinds)
            self.assertGreater(self.history.answers, 1000)
        except BaseException:
            print(f"seed {SEED}: {self.done}", file=sys.stderr)
            raise
        finally:
            print(f"{self.history.answers} answers checked; refused: {self.history.refused}", file=sys.stderr)
            for client in self.clients:
                client.stopping.set()

    def soak(self, kinds):
        ends = time.monotonic() + SOAK
        networks = {self.isolated, self.one_way, self.ring, self.halves, self.flapping}
        while time.monotonic() < ends:
            self.employ()
            self.progress(10)
            for _ in range(8):
                first = self.chance.choice(kinds)
                # One shape of the network at a time, and nobody is waited for who cannot hear.
                second = self.clock if first in networks and self.clock in kinds else None
                self.suffer([first] if second is None or self.chance.random() < 0.3 else [second, first])
            self.agree()


def main():
    """Outside: that an abandoned run leaves nothing, then the run, which leaves nothing."""
    if os.environ.get(net.INSIDE):
        unittest.main()
    for settings in ({ABANDON: "1"}, {}):
        mark = net.new_mark()
        code = net.inside(mark=mark, **settings)
        if code == net.SKIPPED:
            sys.exit(code)
        until(lambda: not net.left_behind(mark), 20, lambda: f"nothing is left of the run: {net.left_behind(mark)}")
        if not settings:
            sys.exit(code)
        assert code == -signal.SIGKILL, f"the abandoned run ended with {code}"


if __name__ == "__main__":
    main()
