"""Several nodes that are to be one cluster."""
from .wait import until


class Cluster:
    def __init__(self, nodes):
        self.nodes = list(nodes)

    def __getitem__(self, index):
        return self.nodes[index]

    def __iter__(self):
        return iter(self.nodes)

    def __len__(self):
        return len(self.nodes)

    def running(self):
        return [node for node in self.nodes if node.running]

    def start(self):
        """The first alone, the others by joining it."""
        self.nodes[0].start()
        for node in self.nodes[1:]:
            node.start("-j", self.nodes[0].gossip)
        self.wait_formed()
        return self

    def wait_formed(self, within=30):
        """Every running node lists all running ones as alive and has a link to each."""
        nodes = self.running()

        def formed():
            return all(
                all(node.sees(other) == "alive" for other in nodes) and linked(node) >= len(nodes) - 1
                for node in nodes)

        until(formed, within, lambda: "the cluster forms: " + str(
            [(node.name, {o.name: node.sees(o) for o in nodes}, linked(node)) for node in nodes]))

    def wait_equal(self, within=30, nodes=None):
        """All have seen the same operations, and hold the same. Returns what they hold."""
        nodes = nodes or self.running()

        def clocks():
            return [node.clock() for node in nodes]

        until(lambda: len({str(sorted(c.items())) for c in clocks()}) == 1, within,
              lambda: f"clocks equal: {clocks()}")
        held = nodes[0].everything()
        for node in nodes[1:]:
            other = node.everything()
            different = [k for k in held.keys() | other.keys() if held.get(k) != other.get(k)]
            assert not different, f"{nodes[0].name} and {node.name} differ in {len(different)} keys, " \
                                  f"such as {sorted(different)[:3]}"
        return held


def linked(node):
    return sum(link["State"] == "up" for link in node.status()["Links"])
