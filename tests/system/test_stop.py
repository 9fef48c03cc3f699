"""SIGTERM and SIGINT: what is in flight is answered, the others are told, the exit
code is 0, all within five seconds."""
import http.client
import signal
import socket
import unittest

from harness import SystemTest, Writer, until

HEAD = b"POST /keys/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"


class Stop(SystemTest):
    def connect(self, node):
        sock = socket.create_connection(node.api_address.split(":"))
        sock.settimeout(30)
        self.addCleanup(sock.close)
        return sock

    def turns_away(self, node):
        """True once a new connection gets no answer."""
        api = node.client()
        try:
            api.call("GET", "/health")
            return False
        except (OSError, http.client.HTTPException):
            return True
        finally:
            api.close()

    def test_in_flight(self):
        """A request that is half here when the signal comes is still answered, and
        what it stored is stored."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                node = self.node(number.name).start()
                node.put("whole", 1)
                sock = self.connect(node)
                sock.sendall(HEAD % b"half" + b"[1,2")
                until(lambda: node.counters().get("api_in_flight", 0) >= 2, 5, "the head has been read")
                node.signal(number)
                until(lambda: self.turns_away(node), 5, "no new connections")
                sock.sendall(b",3,45]")
                self.assertTrue(sock.recv(4096).startswith(b"HTTP/1.1 200 "))
                self.assertEqual(node.wait_end(), 0)
                node.start()
                self.assertEqual(node.value("half"), ["1", "2", "3", "45"])

    def test_requests_that_never_end(self):
        """They do not hold it up."""
        node = self.node().start()
        socks = [self.connect(node) for _ in range(20)]
        for i, sock in enumerate(socks):
            sock.sendall((HEAD % b"half" + b"[1")[:10 + 5 * i])
        until(lambda: node.counters().get("api_in_flight", 0) >= 2, 5, "some heads have been read")
        self.assertEqual(node.term(), 0)

    def test_right_after_the_start(self):
        """While its threads have hardly begun, again and again."""
        node = self.node()
        for _ in range(30):
            node.start()
            self.assertEqual(node.term(), 0)

    def test_twice(self):
        """A second signal while it stops changes nothing."""
        node = self.node().start()
        node.signal(signal.SIGTERM)
        node.signal(signal.SIGINT)
        node.signal(signal.SIGTERM)
        self.assertEqual(node.wait_end(), 0)

    def test_under_load(self):
        """Every write that was acknowledged until the end is there at the return."""
        node = self.node().start()
        writers = [Writer(node, f"w{i}") for i in range(8)]
        until(lambda: sum(writer.count for writer in writers) > 300, 30, "the load runs")
        self.assertEqual(node.term(), 0)
        for writer in writers:
            writer.finish()
        node.start()
        held = node.everything()
        for writer in writers:
            self.assertEqual(writer.check(held), [])

    def test_the_others_are_told(self):
        """They list it as left, not as suspect or dead, and its return is a delta."""
        pacha, kronk, yzma = cluster = self.cluster("pacha", "kronk", "yzma")
        pacha.put("k", 1)
        cluster.wait_equal()
        self.assertEqual(yzma.term(), 0)
        until(lambda: pacha.sees(yzma) == kronk.sees(yzma) == "left", 3, "they list it as left")
        kronk.put("k", 2)
        yzma.start()
        cluster.wait_formed()
        self.assertEqual(cluster.wait_equal(), {"k": "2"})
        self.assertEqual(yzma.counters()["walks_started"], 0)

    def test_hangup_goes_on(self):
        """SIGHUP takes the new log level and block list, and the node goes on."""
        node = self.node().start()
        node.put("k", 1)
        node.settings["Server.Log"] = {"Level": "debug"}
        node.write_config()
        node.signal(signal.SIGHUP)
        until(lambda: "debug" in node.log(), 5, "it says so")
        self.assertEqual(node.value("k"), "1")
        with open(node.config_path, "w") as file:
            file.write("{")
        node.signal(signal.SIGHUP)
        until(lambda: "yzma.json:" in node.log(), 5, "a broken file is told")
        self.assertEqual(node.value("k"), "1")


if __name__ == "__main__":
    unittest.main()
