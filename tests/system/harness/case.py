"""What every system test stands on: a folder and nodes that are gone afterwards,
also after a failure, and the nodes' logs when one fails."""
import os
import shutil
import signal
import sys
import tempfile
import unittest

from .cluster import Cluster
from .node import BINARY, Node, tail

# Ended from outside, it still cleans up.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


class SystemTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.access(BINARY, os.X_OK):
            raise FileNotFoundError(f"{BINARY}: no such program; YZMA names it")

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="yzma-test-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.nodes = []
        self.addCleanup(self.show_logs)

    def node(self, name="node", settings=None, **more):
        """Not started yet."""
        node = Node(os.path.join(self.folder, name), name, settings, **more)
        self.nodes.append(node)
        self.addCleanup(node.done)
        return node

    def cluster(self, *names, settings=None):
        """Started and formed."""
        return Cluster([self.node(name, dict(settings or {})) for name in names]).start()

    def show_logs(self):
        """Cleanups run backwards: the nodes have ended, the folder is still there."""
        result = self._outcome.result
        bad = result.failures + result.errors
        if not any(getattr(test, "test_case", test) is self for test, _ in bad):
            return
        for node in self.nodes:
            print(f"--- the log of {node.name}:\n{tail(node.log_path)}", file=sys.stderr)
