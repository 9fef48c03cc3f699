"""A reader of changes: GET /watch over a socket of its own."""
import json
import socket
from urllib.parse import urlencode

from .wait import PATIENCE, until


class Watch:
    """A stream, as NDJSON or as server-sent events. `events` are the objects that came,
    notes included; `cursor` is the last one given."""

    def __init__(self, node, sse=False, headers=None, receive_buffer=None, **params):
        host, port = node.api_address.rsplit(":", 1)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(30 * PATIENCE)
        self.sock.connect((host, int(port)))
        lines = [f"GET /watch?{urlencode(params)} HTTP/1.1", f"Host: {node.api_address}"]
        if sse:
            lines.append("Accept: text/event-stream")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.sse, self.raw, self.text = sse, b"", b""
        self.events, self.cursor, self.ended, self.closed = [], None, False, False
        until(lambda: self._take_head() or not self._read(), 30, "the head of the answer")
        self._take_apart()

    def close(self):
        self.sock.close()

    def _take_head(self):
        if b"\r\n\r\n" not in self.raw:
            return False
        head, self.raw = self.raw.split(b"\r\n\r\n", 1)
        first, *headers = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in headers)}
        return True

    def _read(self):
        """More bytes; False at the end."""
        data = self.sock.recv(65536)
        self.raw += data
        self.closed = not data
        return bool(data)

    def _chunks(self):
        while b"\r\n" in self.raw:
            size, rest = self.raw.split(b"\r\n", 1)
            length = int(size, 16)
            if len(rest) < length + 2:
                return
            assert rest[length:length + 2] == b"\r\n"
            self.text += rest[:length]
            self.raw = rest[length + 2:]
            self.ended |= length == 0

    def _lines(self):
        *lines, self.text = self.text.split(b"\n")
        for line in lines:
            event = json.loads(line)
            self.cursor = event.get("Cursor", self.cursor)
            self.events.append(event)

    def _messages(self):
        *messages, self.text = self.text.split(b"\n\n")
        for message in messages:
            fields = dict(line.split(": ", 1) for line in message.decode().split("\n") if ": " in line)
            self.cursor = fields.get("id", self.cursor)
            if "data" in fields:
                event = json.loads(fields["data"])
                assert event["Kind"] == fields["event"]
                self.events.append(event)

    def _take_apart(self):
        if self.status == 200:
            self._chunks()
            (self._messages if self.sse else self._lines)()

    def more(self):
        """Waits for bytes and takes them apart."""
        alive = self._read()
        self._take_apart()
        return alive and not self.ended

    def wait(self, condition, what="events"):
        """Until condition(self) holds."""
        while not condition(self):
            assert self.more(), f"the stream ended, still waiting for {what}: {self.events[-5:]}"
        return self

    def wait_end(self):
        while self.more():
            pass
        return self

    def keys(self):
        """The last state of each key that was shown: its value, None where deleted."""
        state = {}
        for event in self.events:
            if event["Kind"] in ("put", "delete"):
                state[event["Key"]] = event.get("Value")
        return state

    def kinds(self):
        return [event["Kind"] for event in self.events if event["Kind"] != "heartbeat"]
