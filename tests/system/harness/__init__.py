"""The harness of the system tests: real nodes on loopback, driven from outside."""
from . import net
from .api import Answer, Api, exact, key_path
from .case import SystemTest
from .cluster import Cluster, linked
from .load import Writer, fill
from .node import BINARY, HOST, SANITIZED, START_WITHIN, STOP_WITHIN, Node, free_ports, is_free, start_process, tail
from .power import Power
from .wait import PATIENCE, until

__all__ = ["Answer", "Api", "BINARY", "Cluster", "HOST", "Node", "PATIENCE", "Power", "SANITIZED", "START_WITHIN",
           "STOP_WITHIN", "SystemTest", "Writer", "exact", "fill", "free_ports", "is_free", "key_path", "linked", "net",
           "start_process", "tail", "until"]
