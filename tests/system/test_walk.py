"""The README's walk with its two files, its commands and curl, as it stands there;
where a configuration is looked for; Join and Block."""
import json
import os
import shlex
import subprocess
import unittest

from harness import BINARY, PATIENCE, START_WITHIN, Api, SystemTest, free_ports, is_free, start_process, until

FIRST = """{
  "API": {"Bind": "127.0.0.1:8080"},
  "Peering": {
    "Name": "pacha",
    "BindPort": 37001,
    "BindAddr": "127.0.0.1",
    "AdvertisePort": 37001,
    "AdvertiseAddress": "127.0.0.1",
    "Federation": {"NodeName": "pacha", "APIIngress": "127.0.0.1:37002"}
  },
  "Server": {"DBPath": "yzma.db"}
}
"""
SECOND = """{
  "API": {"Bind": "127.0.0.1:8081"},
  "Peering": {
    "Name": "kronk",
    "BindPort": 37003,
    "BindAddr": "127.0.0.1",
    "AdvertisePort": 37003,
    "AdvertiseAddress": "127.0.0.1",
    "Federation": {"NodeName": "kronk", "APIIngress": "127.0.0.1:37004"}
  },
  "Server": {"DBPath": "yzma2.db"}
}
"""
PORTS = ("8080", "8081", "37001", "37002", "37003", "37004")


class Walk(SystemTest):
    """Everything happens in one folder, with the commands of the README."""

    def setUp(self):
        super().setUp()
        self.ports = {}
        if not all(is_free("127.0.0.1", int(port)) for port in PORTS):
            first = free_ports(len(PORTS), "127.0.0.1")
            self.ports = {port: str(first + i) for i, port in enumerate(PORTS)}
        self.write("yzma.json", FIRST)
        self.write("yzma2.json", SECOND)
        self.write("dat.json", '{"foo":"bar"}')

    def translate(self, text):
        for port, other in self.ports.items():
            text = text.replace(port, other)
        return text

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w") as file:
            file.write(self.translate(text))

    def yzma(self, command):
        """Starts `./yzma ...`."""
        program, *args = shlex.split(self.translate(command))
        self.assertEqual(program, "./yzma")
        path = os.path.join(self.folder, "log")
        with open(path, "ab") as log:
            process = start_process([BINARY, *args], log, self.folder)

        def done():
            process.kill()
            process.wait()

        self.addCleanup(done)
        return process

    def curl(self, command):
        args = shlex.split(self.translate(command))
        return subprocess.run([*args, "-sS", "--max-time", "30"], cwd=self.folder, check=True, capture_output=True,
                              text=True).stdout

    def answers(self, command, text, within=10):
        until(lambda: self.curl(command) == text, within,
              lambda: f"{command} answers {text}, not {self.curl(command)}")

    def wait_up(self, port):
        def up():
            try:
                return "ok" in self.curl(f"curl http://localhost:{port}/health")
            except subprocess.CalledProcessError:
                return False
        until(up, START_WITHIN, f"port {port} answers")

    def test_the_walk(self):
        """Two nodes, a value, its delete, joining and leaving."""
        self.yzma("./yzma -c yzma.json")
        self.wait_up("8080")
        self.yzma("./yzma -c yzma2.json -j 127.0.0.1:37001")
        self.wait_up("8081")

        self.assertEqual(self.curl("curl -X POST -d @dat.json http://localhost:8080/keys/foo"),
                         '{"Status":"ok","Error":"","Data":"added foo"}')
        self.answers("curl -X GET http://localhost:8081/keys/foo",
                     '{"Status":"ok","Error":"","Data":{"foo":"bar"}}')
        self.assertEqual(self.curl("curl -X DELETE http://localhost:8081/keys/foo"),
                         '{"Status":"ok","Error":"","Data":"deleted foo"}')
        until(lambda: json.loads(self.curl("curl http://localhost:8080/keys/foo"))["Status"] == "error", 10,
              "the delete arrives")

        self.assertEqual(json.loads(self.curl("curl -X POST http://localhost:8081/cluster/leave"))["Status"], "ok")
        joined = json.loads(self.curl(
            """curl -X POST -d '{"Peers":["127.0.0.1:37001"]}' http://localhost:8081/cluster/join"""))
        self.assertEqual(joined, {"Status": "ok", "Error": "", "Data": {"Joined": 1, "Failed": []}})
        self.curl("curl -X POST -d @dat.json http://localhost:8081/keys/again")
        self.answers("curl http://localhost:8080/keys/again", '{"Status":"ok","Error":"","Data":{"foo":"bar"}}')


class WhereItLooks(SystemTest):
    """No -c: ./yzma.json, then ~/.yzma/yzma.json (then /etc/yzma), then the defaults."""

    def start(self, home):
        log_path = os.path.join(self.folder, "log")
        with open(log_path, "wb") as log:
            process = start_process([BINARY], log, self.folder, env={**os.environ, "HOME": home})

        def done():
            process.kill()
            process.wait()

        self.addCleanup(done)
        return process

    def config(self, folder):
        """A file that makes a node; returns the address of its API."""
        node = self.node(os.path.basename(folder))
        node.write_config()
        os.makedirs(folder, exist_ok=True)
        os.replace(node.config_path, os.path.join(folder, "yzma.json"))
        return node.api_address

    def wait_answer(self, address):
        def up():
            api = Api(address)
            try:
                return api.call("GET", "/health").status == 200
            except OSError:
                return False
            finally:
                api.close()
        until(up, START_WITHIN, f"{address} answers")

    def test_home(self):
        """Nothing in the working folder: the one of the home folder is read."""
        home = os.path.join(self.folder, "home")
        address = self.config(os.path.join(home, ".yzma"))
        self.start(home)
        self.wait_answer(address)

    def test_working_folder_before_home(self):
        """The one in the working folder wins."""
        home = os.path.join(self.folder, "home")
        self.config(os.path.join(home, ".yzma"))
        address = self.config(self.folder)
        self.start(home)
        self.wait_answer(address)

    def test_a_broken_file_is_not_passed_over(self):
        """A file that is there and cannot be used stops the start, although a good
        one would follow."""
        home = os.path.join(self.folder, "home")
        self.config(os.path.join(home, ".yzma"))
        with open(os.path.join(self.folder, "yzma.json"), "w") as file:
            file.write("{")
        process = self.start(home)
        self.assertEqual(process.wait(START_WITHIN * PATIENCE), 1)


class JoinAndBlock(SystemTest):
    def test_join_of_the_file(self):
        """Peering.Join does what -j does."""
        pacha = self.node("pacha").start()
        kronk = self.node("kronk", {"Peering.Join": [pacha.gossip]}).start()
        pacha.put("groove", "thrown off")
        until(lambda: kronk.value("groove") == "thrown off", 10, "the value arrives")

    def test_join_before_the_peer_is_there(self):
        """What could not be joined at the start is tried again."""
        pacha = self.node("pacha")
        kronk = self.node("kronk", {"Peering.Join": [pacha.gossip]}).start()
        pacha.start()
        until(lambda: kronk.sees(pacha) == "alive" and pacha.sees(kronk) == "alive", 30, "they meet")

    def test_block(self):
        """A blocked name is no member, and gets no data; the others do."""
        pacha = self.node("pacha", {"Peering.Block": ["yzma"]}).start()
        kronk = self.node("kronk", {"Peering.Join": [pacha.gossip]}).start()
        yzma = self.node("yzma", {"Peering.Join": [pacha.gossip]}).start()
        pacha.put("secret", 1)
        until(lambda: kronk.value("secret") == "1", 10, "the value arrives at one that is not blocked")
        refused = yzma.join(pacha)
        self.assertNotEqual(pacha.sees(yzma), "alive")
        self.assertIsNone(yzma.value("secret"), refused)


if __name__ == "__main__":
    unittest.main()
