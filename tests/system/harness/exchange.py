"""What goes out of a store and into one: exports, imports, polls of changes."""
from urllib.parse import urlencode


def export(node, **params):
    answer = node.call("GET", "/export?" + urlencode(params))
    assert answer.status == 200, answer
    return answer.body


def take_in(node, lines):
    return node.call("POST", "/import", lines, {"Content-Type": "application/x-ndjson"})


def poll(node, **params):
    answer = node.call("GET", "/watch?" + urlencode(params))
    assert answer.status == 200, answer
    return answer.data
