"""What cannot start says why in one line, exits with 1, and leaves the folder as
it was: every file's bytes, and no file more."""
import hashlib
import os
import shutil
import socket
import unittest

from harness import SANITIZED, START_WITHIN, SystemTest, tail

ENDED_BADLY = 1


def picture(folder):
    """Path -> hash of all that is in it, but for the log, and of the lock file only
    that it is there: LMDB counts its readers in it."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            if name.endswith("-lock"):
                found[os.path.relpath(path, folder)] = None
            elif name != "log":
                with open(path, "rb") as file:
                    found[os.path.relpath(path, folder)] = hashlib.sha256(file.read()).hexdigest()
    return found


class StartFaults(SystemTest):
    def refused(self, node, *says, args=None, prefix=()):
        """Starts it, and expects one line that says all of `says`; nothing touched."""
        if args is None:
            node.write_config()
            args = ["-c", node.config_path]
        open(node.log_path, "w").close()
        before = picture(node.folder)
        node.launch(args, prefix)
        code = node.wait_end(START_WITHIN)
        # A machine that gives fewer descriptors than the defaults want is told of before.
        lines = [line for line in tail(node.log_path).splitlines() if "event=few_descriptors" not in line]
        said = "\n".join(lines)
        self.assertEqual(code, ENDED_BADLY, said)
        self.assertEqual(len(lines), 1, said)
        for text in says:
            self.assertIn(text, said)
        self.assertEqual(picture(node.folder), before)

    def used(self, name="node"):
        """A node that ran, holds a value and was stopped."""
        node = self.node(name).start()
        node.put("kept", {"as": "it was"})
        self.assertEqual(node.term(), 0)
        return node

    def still_there(self, node):
        node.start()
        self.assertEqual(node.value("kept"), {"as": "it was"})

    # ---- the configuration ------------------------------------------------------

    def test_configurations(self):
        """Unknown keys, wrong types, impossible values, broken JSON: file, key, reason."""
        node = self.node()
        cases = (
            ('{"Peering": {"BindPrt": 7946}}', "Peering.BindPrt"),
            ('{"Nothing": {}}', "Nothing"),
            ('{"Peering": {"BindPort": "abc"}}', "Peering.BindPort"),
            ('{"Peering": {"BindPort": 70000}}', "Peering.BindPort"),
            ('{"API": {"RequestTimeout": 30}}', "API.RequestTimeout"),
            ('{"API": {"MaxValueBytes": "16 elephants"}}', "API.MaxValueBytes"),
            ('{"Server": {"DBPath": 7}}', "Server.DBPath"),
            ('{"Peering": {"Profile": "moon"}}', "Peering.Profile"),
            ('{"Peering": {"Name": "a", "name": "b"}}', "ame"),
            ('{"Peering": {"Name": "a"}', "yzma.json:"),
            ("", "yzma.json"),
        )
        for text, says in cases:
            with self.subTest(text):
                with open(node.config_path, "w") as file:
                    file.write(text)
                self.refused(node, "yzma.json", says, args=["-c", node.config_path])

    def test_no_such_file(self):
        """A file that was named must be there."""
        node = self.node()
        self.refused(node, "absent.json", args=["-c", os.path.join(node.folder, "absent.json")])

    # ---- ports -------------------------------------------------------------------

    def taken(self, address, kind):
        host, port = address.split(":")
        sock = socket.socket(socket.AF_INET, kind)
        self.addCleanup(sock.close)
        sock.bind((host, int(port)))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        return port

    def test_ports_in_use(self):
        """Each of them, with a store that exists, and without one."""
        used = self.used()
        for what, kind in (("api_address", socket.SOCK_STREAM), ("gossip", socket.SOCK_DGRAM),
                           ("gossip", socket.SOCK_STREAM), ("replication", socket.SOCK_STREAM)):
            fresh = self.node(f"fresh-{what}-{kind.name}")
            for node in (used, fresh):
                with self.subTest(what=what, kind=kind.name, node=node.name):
                    node.take_ports()
                    port = self.taken(getattr(node, what), kind)
                    self.refused(node, port, "in use")
        used.take_ports()
        self.still_there(used)

    # ---- the store ---------------------------------------------------------------

    def test_store_locked(self):
        """A second node on the same file is refused, and the first goes on."""
        first = self.node("first").start()
        first.put("kept", {"as": "it was"})
        second = self.node("second", {"Server.DBPath": first.db_path})
        self.refused(second, first.db_path, "in use")
        first.put("more", 1)
        first.restart()
        self.assertEqual(first.value("kept"), {"as": "it was"})

    def test_newer_format(self):
        """The format number in the file, raised: refused, untouched."""
        node = self.used()
        with open(node.db_path, "rb") as file:
            store = file.read()
        number = b"format" + (2).to_bytes(4, "big")
        self.assertIn(number, store)
        with open(node.db_path, "wb") as file:
            file.write(store.replace(number, b"format" + (77).to_bytes(4, "big")))
        self.refused(node, node.db_path, "77")
        with open(node.db_path, "r+b") as file:
            file.write(store)
        self.still_there(node)

    def test_newer_format_in_front_of_nothing(self):
        """However the newer program keeps what is in front of its file, and though it was
        killed: neither file nor log is touched, and none is made."""
        node = self.node().start()
        node.put("kept", {"as": "it was"})
        node.kill9()
        log, aside = node.db_path + "-log", node.db_path + "-aside"
        with open(node.db_path, "rb") as file:
            store = file.read()
        self.assertIn(b"front", store)
        newer = store.replace(b"format" + (2).to_bytes(4, "big"), b"format" + (77).to_bytes(4, "big"))
        self.assertNotEqual(newer, store)
        for with_log in (True, False):
            for content in (newer, newer.replace(b"front", b"frxnt")):
                with self.subTest(with_log=with_log, front=b"front" in content):
                    with open(node.db_path, "r+b") as file:
                        file.write(content)
                    if not with_log and os.path.exists(log):
                        os.rename(log, aside)
                    if os.path.exists(node.db_path + "-lock"):
                        os.unlink(node.db_path + "-lock")
                    self.refused(node, node.db_path, "77")
        os.rename(aside, log)
        with open(node.db_path, "r+b") as file:
            file.write(store)
        self.still_there(node)

    def test_not_a_store(self):
        """Files of other programs stay what they are."""
        node = self.node()
        for content in (b"hello\n", b"SQLite format 3\0" + bytes(8192), bytes(100000)):
            with self.subTest(content[:20]):
                with open(node.db_path, "wb") as file:
                    file.write(content)
                self.refused(node, node.db_path)

    def test_cut_store(self):
        """A store of which the end is missing is refused, and not made worse."""
        node = self.node().start()
        node.put("large", "x" * 1000000)
        self.assertEqual(node.term(), 0)
        for keep in (500000, 40960, 8192, 5000, 4096, 100):
            with self.subTest(keep):
                os.truncate(node.db_path, keep)
                self.refused(node, node.db_path)

    def test_folders_that_do_not_serve(self):
        """No such folder; below a file; a folder for a file."""
        node = self.node()
        file_path = os.path.join(node.folder, "file")
        open(file_path, "w").close()
        folder_path = os.path.join(node.folder, "sub")
        os.mkdir(folder_path)
        for path in (os.path.join(node.folder, "absent", "yzma.db"), os.path.join(file_path, "yzma.db"),
                     folder_path):
            with self.subTest(path):
                node.settings["Server.DBPath"] = path
                self.refused(node, path)

    @unittest.skipIf(SANITIZED, "the sanitizers' libraries are not for everyone to read")
    def test_unwritable_folder(self):
        """As a user who may not write there, with a store that exists and without."""
        used = self.used()
        fresh = self.node("fresh")
        prefix = ()
        os.chmod(self.folder, 0o755)
        if os.getuid() == 0:  # for whom modes do not count
            prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
            binary = os.path.join(self.folder, "yzma")
            shutil.copy(used.binary, binary)
            used.binary = fresh.binary = binary
        for node in (used, fresh):
            with self.subTest(node.name):
                node.write_config()
                os.chmod(node.config_path, 0o644)
                os.chmod(node.folder, 0o555)
                if os.path.exists(node.db_path):
                    os.chmod(node.db_path, 0o444)
                self.refused(node, node.db_path, "ermission denied", args=["-c", node.config_path], prefix=prefix)
                os.chmod(node.folder, 0o755)
                if os.path.exists(node.db_path):
                    os.chmod(node.db_path, 0o644)
        self.still_there(used)

    def test_address_of_another_machine(self):
        """An address that this machine does not have."""
        node = self.node()
        node.settings["Peering.BindAddr"] = "192.0.2.1"  # RFC 5737: nobody has it
        self.refused(node, "192.0.2.1")


if __name__ == "__main__":
    unittest.main()
