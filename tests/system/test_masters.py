"""Three masters: whatever is written wherever, they end equal."""
import random
import threading
import unittest

from harness import SANITIZED, SystemTest, Writer, until

KEYS = [f"shared/{i}" for i in range(40)]
OPERATIONS = 150 if SANITIZED else 500


class Client(threading.Thread):
    """Puts, overwrites and deletes at random on the shared keys, through all nodes."""

    def __init__(self, seed, nodes):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.apis = [node.client() for node in nodes]
        self.failed = []
        self.start()

    def run(self):
        try:
            for i in range(OPERATIONS):
                self.operation(i)
        except Exception as error:
            self.failed.append(error)
        finally:
            for api in self.apis:
                api.close()

    def operation(self, i):
        api, key = self.random.choice(self.apis), self.random.choice(KEYS)
        chance = self.random.random()
        if chance < 0.25:
            answer = api.delete(key)
        elif chance < 0.45:  # as one does who read first
            token = api.get(key).headers["X-Yzma-Context"]
            answer = api.put(key, {"by": self.name, "i": i}, headers={"X-Yzma-Context": token})
        else:
            answer = api.put(key, {"by": self.name, "i": i, "text": "x" * self.random.randrange(500)})
        if answer.status != 200:
            self.failed.append(answer)


class Masters(SystemTest):
    def compare(self, cluster):
        held = cluster.wait_equal()
        for key in KEYS:
            siblings = [node.siblings(key) for node in cluster]
            self.assertEqual(siblings[0], siblings[1], key)
            self.assertEqual(siblings[0], siblings[2], key)
            self.assertEqual(len(siblings[0]) > 0, key in held)
        return held

    def test_mixed_load(self):
        """Four clients on the same keys, at once, through all three."""
        cluster = self.cluster("pacha", "kronk", "yzma")
        clients = [Client(seed, cluster) for seed in range(4)]
        for client in clients:
            client.join()
        self.assertEqual([client.failed for client in clients], [[]] * len(clients))
        self.compare(cluster)

        for key in KEYS:  # and one who overwrites all that is there has the last word
            cluster[1].put(key, "last")
        self.assertEqual(set(self.compare(cluster).values()), {"last"})
        self.assertEqual({len(cluster[0].siblings(key)) for key in KEYS}, {1})

    def test_delete_against_writes_elsewhere(self):
        """Deleting on one what others have just written: whatever wins, it wins
        everywhere, and a last delete leaves nothing anywhere."""
        cluster = self.cluster("pacha", "kronk", "yzma")
        for i in range(50):
            for node, key in zip(cluster, KEYS):
                node.put(key, i)
            for node, key in zip(cluster, KEYS[1:] + KEYS[:1]):
                node.delete(key)
        self.compare(cluster)
        for key in KEYS:
            cluster[2].delete(key)
        self.assertEqual(self.compare(cluster), {})

    def test_kill_one_under_load(self):
        """Writers on all three, kill -9 of one, twice: nothing acknowledged is lost,
        on none of them."""
        cluster = self.cluster("pacha", "kronk", "yzma")
        writers = []
        for round_number, victim in enumerate((cluster[2], cluster[0])):
            load = [Writer(node, f"{round_number}/{node.name}") for node in cluster]
            until(lambda: all(writer.count > 100 for writer in load), 30, "the load runs")
            victim.kill9()
            survivors = [writer for writer, node in zip(load, cluster) if node is not victim]
            before = sum(writer.count for writer in survivors)
            until(lambda: sum(writer.count for writer in survivors) > before + 100, 30,
                  "the others go on taking writes")
            victim.start()
            for writer in load:
                writer.finish()
            writers += load
            cluster.wait_formed()
            held = cluster.wait_equal()
            for writer in writers:
                self.assertEqual((writer.check(held), writer.refused), ([], []))


if __name__ == "__main__":
    unittest.main()
