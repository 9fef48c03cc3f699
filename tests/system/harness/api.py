"""A client of one node's API: calls, answers, and a connection that is kept."""
import http.client
import json
import select
from urllib.parse import quote, urlencode


def exact(text):
    """JSON with every number kept as it is written."""
    return json.loads(text, parse_int=str, parse_float=str)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def data(self):
        return self.json["Data"]

    @property
    def error(self):
        return self.json["Error"]

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class Api:
    """For one thread at a time. Raises OSError or http.client.HTTPException when
    the connection does not bring an answer."""

    def __init__(self, address, timeout=60):
        host, port = address.rsplit(":", 1)
        self.connection = http.client.HTTPConnection(host, int(port), timeout=timeout)

    def close(self):
        self.connection.close()

    def call(self, method, path, body=None, headers=None):
        sock = self.connection.sock
        if sock is not None and readable(sock):
            self.connection.close()  # the server has ended it meanwhile
        try:
            self.connection.request(method, path, body=body, headers=headers or {})
            response = self.connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except BaseException:
            self.connection.close()
            raise

    def put(self, key, value, headers=None):
        """value: bytes as they are, anything else as JSON."""
        if not isinstance(value, bytes):
            value = json.dumps(value).encode()
        return self.call("POST", key_path(key), value, headers)

    def get(self, key, headers=None, **params):
        return self.call("GET", key_path(key, **params), headers=headers)

    def delete(self, key, headers=None):
        return self.call("DELETE", key_path(key), headers=headers)

    def list(self, **params):
        return self.call("GET", "/keys?" + urlencode(params))


def readable(sock):
    """Bytes or an end are there; unlike select, for descriptors of any number."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def key_path(key, **params):
    return "/keys/" + quote(key, safe="/") + ("?" + urlencode(params) if params else "")
