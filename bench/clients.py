"""Small clients for what is asked once; load comes from the generator."""

import http.client
import json
import socket
from typing import Any


class Http:
    """One keep-alive connection to a node."""

    def __init__(self, port: int, timeout: float = 60):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
        """The status, and what the envelope carries."""
        self.connection.request(method, path, body)
        answer = self.connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data)["Data"] if data else None

    def ok(self, method: str, path: str, body: str | None = None) -> Any:
        status, data = self.call(method, path, body)
        if status != 200:
            raise SystemExit(f"{method} {path}: {status} {data}")
        return data

    def status(self) -> dict[str, Any]:
        return self.ok("GET", "/cluster/status")

    def count_keys(self, prefix: str = "") -> int:
        count, after = 0, ""
        while True:
            page = self.ok("GET", f"/keys?limit=10000&prefix={prefix}&after={after}")
            count += len(page["Keys"])
            after = page["Next"]
            if not after:
                return count


class Resp:
    """One connection to a Redis, for commands with one line or one string in answer."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.file = self.socket.makefile("rb")

    def call(self, *words: str) -> str:
        text = f"*{len(words)}\r\n" + "".join(f"${len(w.encode())}\r\n{w}\r\n" for w in words)
        self.socket.sendall(text.encode())
        line = self.file.readline().decode().rstrip("\r\n")
        if line.startswith("-"):
            raise SystemExit(f"redis: {' '.join(words)}: {line}")
        if line.startswith("$"):
            return self.file.read(int(line[1:]) + 2)[:-2].decode()
        return line[1:]

    def info(self, section: str) -> dict[str, str]:
        lines = (line.partition(":") for line in self.call("INFO", section).splitlines())
        return {name: value for name, colon, value in lines if colon}
