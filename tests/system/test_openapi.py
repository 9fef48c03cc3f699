"""docs/openapi.yaml against the program: it is a valid OpenAPI 3.1 document, has every
path, method and parameter that the source has and no other, every answer of a running
node is one that it describes, and every path, parameter, status, form and schema in it
is exercised here, but for what says why it is not. And docs/HTTP.md names all calls
and all counters."""
import base64
import json
import os
import re
import socket
import unittest
from urllib.parse import quote, urlencode

import yaml
from jsonschema import Draft202012Validator

from harness import SystemTest, until
from harness.watch import Watch

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PAGE = os.path.join(ROOT, "docs", "openapi.yaml")
METHODS = ("get", "put", "post", "delete", "head", "patch", "options", "trace")
FOREIGN = {"Origin": "http://evil.example"}
SEAL = [base64.b64encode(bytes(range(n, n + 16))).decode() for n in range(3)]
ABSENT_SEAL = "00000000"
NO_HEAD = {"/watch", "/cluster/backup"}  # the page says so
ANY_LENGTH = {"importLines"}  # and of any type


def text_of(*path):
    with open(os.path.join(ROOT, *path)) as file:
        return file.read()


def routes_of_source():
    """{path: {method: parameters}}, read from the tables of src/http."""
    target, head, params = (text_of("src", "http", name) for name in ("target.c", "head.c", "params.c"))
    path_of = {route: path for path, route in re.findall(r'{"(/[^"]*)",\s*(ROUTE_\w+)}', target)}
    path_of = {route: path + "{key}" * path.endswith("/") for route, path in path_of.items()}
    name_of = {param: name for name, param in re.findall(r'{"(\w+)",\s*(PARAM_\w+),', params)}
    calls = {}
    table = re.search(r"handlers\[\] = {(.*?)\n};", head, re.S).group(1)
    for row in re.findall(r"{(ROUTE_.*?)}", table, re.S):
        taken = {name_of[p] for p in re.findall(r"PARAM_\w+", row) if p in name_of}
        for verb in re.findall(r"VERB_(\w+)", row):
            calls.setdefault(path_of[re.match(r"\w+", row).group()], {})[verb.lower()] = taken
    return path_of, calls


class Page:
    """The document, with every reference looked up."""

    def __init__(self, text):
        self.root = yaml.safe_load(text)
        self.used = set()  # references that were looked up
        self.operations = {}  # operationId -> (path, method, operation, parameters)
        for path, item in self.root["paths"].items():
            for method in METHODS:
                if method in item:
                    operation = item[method]
                    shared = item.get("parameters", []) + operation.get("parameters", [])
                    parameters = {(p["in"], p["name"]): p for p in map(self.resolve, shared)}
                    assert operation["operationId"] not in self.operations, operation["operationId"]
                    self.operations[operation["operationId"]] = (path, method, operation, parameters)

    def resolve(self, node):
        """The node with all references in it replaced, which none of them is part of."""
        if isinstance(node, list):
            return [self.resolve(part) for part in node]
        if not isinstance(node, dict):
            return node
        whole = {key: self.resolve(value) for key, value in node.items() if key != "$ref"}
        if "$ref" in node:
            self.used.add(node["$ref"])
            target = self.root
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            whole = {**self.resolve(target), **whole}
        return whole

    def response(self, operation_id, status):
        """None for one that is not documented."""
        found = self.operations[operation_id][2]["responses"].get(str(status))
        return None if found is None else self.resolve(found)


class Document(unittest.TestCase):
    """What needs no node: the rules of OpenAPI 3.1 that a page of this kind can break."""

    def setUp(self):
        with open(PAGE) as file:
            self.page = Page(file.read())
        self.root = self.page.root

    def test_its_shape(self):
        self.assertRegex(self.root["openapi"], r"^3\.1\.\d+$")
        self.assertTrue(self.root["info"]["title"] and self.root["info"]["version"])
        self.assertEqual(set(self.root) - {"openapi", "info", "servers", "tags", "paths", "components"}, set())
        tags = {tag["name"] for tag in self.root["tags"]}
        for path, item in self.root["paths"].items():
            self.assertTrue(path.startswith("/"), path)
            self.assertEqual(set(item) - {*METHODS, "parameters", "summary", "description"}, set(), path)
        for name, (path, method, operation, parameters) in self.page.operations.items():
            with self.subTest(name):
                self.assertEqual(set(operation) - {"operationId", "tags", "summary", "description", "parameters",
                                                   "requestBody", "responses"}, set())
                self.assertLessEqual(set(operation["tags"]), tags)
                self.assertEqual({n for place, n in parameters if place == "path"}, set(re.findall(r"{(.*?)}", path)))
                for (place, _), parameter in parameters.items():
                    self.assertIn(place, ("path", "query", "header", "cookie"))
                    self.assertIn("schema", parameter)
                    self.assertTrue(parameter.get("required") or place != "path")
                self.assertTrue(operation["responses"])
                for status in operation["responses"]:
                    self.assertRegex(status, r"^[1-5]\d\d$")
                    self.assertTrue(self.page.response(name, status)["description"])
                if "requestBody" in operation:
                    self.assertNotIn(method, ("get", "head", "delete"))
                    self.assertTrue(self.page.resolve(operation["requestBody"])["content"])

    def test_its_schemas(self):
        """Each is a JSON Schema of 2020-12, and each component is used."""
        count = 0
        for node in walk(self.page.resolve(self.root)):
            if "schema" in node:
                Draft202012Validator.check_schema(node["schema"])
                count += 1
        self.assertGreater(count, 50)
        self.page.resolve(self.root["paths"])
        for kind, components in self.root["components"].items():
            for name in components:
                self.assertIn(f"#/components/{kind}/{name}", self.page.used)


class Source(unittest.TestCase):
    """What the source has is described, and nothing else."""

    def setUp(self):
        with open(PAGE) as file:
            self.page = Page(file.read())
        self.path_of, self.calls = routes_of_source()

    def test_the_tables_are_read_whole(self):
        named = set(re.findall(r"^    (ROUTE_\w+),", text_of("src", "http", "target.h"), re.M)) - {"ROUTE_NONE"}
        self.assertEqual(set(self.path_of), named)
        self.assertEqual(set(self.calls), set(self.path_of.values()))
        self.assertEqual(sum(map(len, self.calls.values())), len(re.findall(
            r"VERB_\w+", re.search(r"handlers\[\] = {(.*?)\n};", text_of("src", "http", "head.c"), re.S).group(1))))

    def test_every_call_is_described(self):
        described = {}
        for path, method, _, parameters in self.page.operations.values():
            described.setdefault(path, {})[method] = {name for place, name in parameters if place == "query"}
        for path, methods in self.calls.items():
            self.assertEqual("get" in methods and "head" not in methods, path in NO_HEAD, path)
            if "head" not in described.get(path, {}):
                methods.pop("head", None)  # described once for all
        self.assertEqual(described, self.calls)

    def test_every_call_is_in_the_table(self):
        table = text_of("docs", "HTTP.md").split("## Calls\n")[1].split("\n* ")[0]
        rows = [row.split("|")[1:3] for row in table.splitlines() if row.startswith("| `")]
        listed = {}
        for call, parameters in rows:
            parts = re.findall(r"`([^`]*)`", call)
            methods = {word.lower() for part in parts for word in re.findall(r"[A-Z]{2,}", part)}
            first = next(part for part in parts if "/" in part).split()[-1]
            for part in parts:
                path = part.split()[-1] if "/" in part else None
                if path and path not in self.calls:
                    path = first.rsplit("/", 1)[0] + path  # the rest is the first one's
                for method in methods if path else ():
                    listed.setdefault(path, {})[method] = set(re.findall(r"`(\w+)`", parameters))
        self.assertEqual(listed, self.calls)


def walk(node):
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(part)


class Answers(SystemTest):
    def setUp(self):
        super().setUp()
        with open(PAGE) as file:
            self.page = Page(file.read())
        self.statuses, self.parameters, self.forms, self.bodies = set(), set(), set(), set()
        settings = {"Server.Conflict": "siblings", "Peering.Keys": SEAL[:1], "Server.MaxVersions": 3}
        self.one = self.node("one", settings).start()
        self.other = self.node("other", settings)
        self.forgetful = self.node("ahead", {"Server.History": "1ms", "API.MaxValueBytes": "64KiB"}).start()
        self.old_cursor = self.forgetful.call("GET", "/watch?poll=1ms").data["Cursor"]
        self.ahead = self.forgetful.put("k", 1).headers["X-Yzma-Context"]
        self.late_cursor = self.forgetful.call("GET", "/watch?poll=1ms").data["Cursor"]

    # ---- one call, held against its description -------------------------------------

    def ask(self, name, status, path=None, query=None, headers=None, body=None, node=None, chunked=False):
        template, method, operation, parameters = self.page.operations[name]
        target = template
        for key, value in (path or {}).items():
            target = target.replace("{" + key + "}", quote(value, safe="/"))
        if query:
            target += "?" + urlencode(query)
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        answer = (node or self.one).call(method.upper(), target, body, headers)
        where = f"{name} {target[:200]} -> {answer!r}"
        self.assertEqual(answer.status, status, where)
        described = self.page.response(name, status)
        self.assertIsNotNone(described, where)
        self.statuses.add((name, status))
        given = [("path", n) for n in path or {}] + [("query", n) for n in query or {}]
        given += [("header", n) for n in headers]
        self.parameters.update((name, *g) for g in given)
        if status < 300:  # what was taken is what is described
            self.check_request(operation, parameters, path, query, headers, body, where, name)
        self.check_headers(described, answer, where)
        if method != "head":
            self.check_body(name, status, described, answer, where)
        return answer

    def check_request(self, operation, parameters, path, query, headers, body, where, name):
        for place, values in (("path", path), ("query", query), ("header", headers)):
            for key, value in (values or {}).items():
                if place == "header" and key in ("Accept", "Content-Type", "Origin"):
                    continue
                parameter = parameters.get((place, key))
                self.assertIsNotNone(parameter, where)
                typed = as_typed(value)
                right = any(Draft202012Validator(parameter["schema"]).is_valid(v) for v in (value, typed))
                self.assertTrue(right, f"{key} of {where}")
        if body is not None and "requestBody" in operation:
            content = self.page.resolve(operation["requestBody"])["content"]
            kind = (headers or {}).get("Content-Type", "application/json").split(";")[0]
            described = content.get(kind) or content.get("*/*")
            self.bodies.add((name, kind if kind in content else "*/*"))
            self.assertIsNotNone(described, where)
            if kind == "application/json":
                self.validate(described["schema"], json.loads(body), where)

    def check_headers(self, described, answer, where):
        for name, header in described.get("headers", {}).items():
            value = answer.headers[name]
            if header.get("required"):
                self.assertIsNotNone(value, f"{name} of {where}")
            if value is not None:
                self.validate(header["schema"], value, where)
        documented = {n.lower() for n in described.get("headers", {})}
        if answer.status < 300 and documented:
            for name in answer.headers:
                if name.lower() == "etag" or name.lower().startswith("x-yzma-"):
                    self.assertIn(name.lower(), documented, where)

    def check_body(self, name, status, described, answer, where):
        content = described.get("content")
        if not content:
            self.assertEqual(answer.body, b"", where)
            return
        kind = answer.headers["Content-Type"].split(";")[0]
        form = kind if kind in content else "*/*"
        self.assertIn(form, content, where)
        if kind == "application/json" and not answer.headers["Content-Security-Policy"]:
            self.count_schema(name, status, form, content[form]["schema"], answer.json, where)
        elif kind == "application/x-ndjson":
            for line in answer.body.splitlines():
                self.count_schema(name, status, form, content[form]["schema"], json.loads(line), where)
        else:
            form = "*/*" if kind == "application/json" else form
            self.forms.add((name, status, form, 0))

    def count_schema(self, name, status, form, schema, value, where):
        """Of several that it may be, which one it is."""
        for i, one in enumerate(schema.get("anyOf") or schema.get("oneOf") or [schema]):
            if Draft202012Validator(one).is_valid(value):
                self.forms.add((name, status, form, i))
        self.validate(schema, value, where)

    def validate(self, schema, value, where):
        problems = [e.message[:300] for e in Draft202012Validator(schema).iter_errors(value)]
        self.assertEqual(problems, [], where[:400])

    # ---- the calls ------------------------------------------------------------------

    def test_all_that_is_described(self):
        self.for_all()
        self.values()
        self.versions()
        self.refusals()
        self.methods()
        self.listings()
        self.batches()
        self.counted()
        self.sets()
        self.lines()
        self.watches()
        self.tools()
        self.cluster()
        self.counters()
        self.check_nothing_is_left()

    def for_all(self):
        """What every call refuses alike; and a condition every write that judges none."""
        for name, (path, method, operation, parameters) in self.page.operations.items():
            key = {"key": "k"} if "{key}" in path else None
            self.ask(name, 400, key, {"colour": "red"})
            self.ask(name, 403, key, headers=FOREIGN)
            if "414" in operation["responses"]:
                self.ask(name, 414, {"key": "k" * 481})
            for header in ("If-Match", "If-None-Match"):
                if method in ("post", "put", "delete") and ("header", header) not in parameters:
                    query = {"prefix": "k"} if name == "deleteKeys" else None
                    self.assertIn(header, self.ask(name, 400, key, query, {header: "*"}).error)

    def values(self):
        k = {"key": "a/k"}
        for put in ("putKey", "postKey"):
            for query in ({}, {"ttl": "90s"}, {"expires": "2100-01-31T12:00:00+01:00"}, {"wait": "500ms"},
                          {"w": "1"}, {"w": "majority"}, {"w": "all"}, {"mode": "replace"}):
                self.ask(put, 200, k, {"mode": "replace", **query}, body=b"[1]")
            self.ask(put, 200, k, body=b"2", headers={"Content-Type": "application/x-www-form-urlencoded",
                                                      "If-None-Match": '"other"', "If-Match": self.tag(k)})
            self.ask(put, 200, k, {"touch": "true", "ttl": "1h"})
            self.ask(put, 404, {"key": "absent"}, {"touch": "true", "ttl": "1h"})
            self.ask(put, 202, k, {"w": "2", "wait": "0", "mode": "replace"}, body=b"3")
            context = self.ask("getKey", 200, k).headers["X-Yzma-Context"]
            self.ask(put, 200, k, headers={"X-Yzma-Context": context}, body=b"4")
        self.ask("putKey", 200, {"key": "image"}, {"ttl": "1h"}, {"Content-Type": "image/png"}, b"\x89PNG")
        self.ask("postKey", 200, {"key": "text"}, None, {"Content-Type": "text/plain"}, b"")
        for get in ("getKey", "headKey"):
            self.ask(get, 200, k)
            self.ask(get, 200, {"key": "image"})
            self.ask(get, 200, {"key": "image"}, {"raw": "true"})
            self.ask(get, 200, {"key": "text"}, None, {"Accept": "text/*"})
            self.ask(get, 200, k, {"wait": "1s", "siblings": "true"}, {"If-Match": self.tag(k)})
            self.ask(get, 304, k, None, {"If-None-Match": self.tag(k)})
            self.ask(get, 412, k, None, {"If-Match": '"0123456789abcdef"'})
            self.ask(get, 404, {"key": "absent"})

    def tag(self, key):
        return self.one.call("GET", "/keys/" + key["key"]).headers["ETag"]

    def versions(self):
        c = {"key": "conflict"}
        for value in (b"1", b"[2]"):
            self.ask("putKey", 200, c, {"mode": "add"}, body=value)
        self.ask("postKey", 200, c, {"mode": "add"}, {"Content-Type": "text/plain"}, b"three")
        for get in ("getKey", "headKey"):
            context = self.ask(get, 300, c).headers["X-Yzma-Context"]
            self.ask(get, 300, c, None, {"Accept": "multipart/mixed", "X-Yzma-Context": context})
            self.ask(get, 200, c, {"siblings": "true"}, {"X-Yzma-Context": context})
            self.ask(get, 200, c, {"siblings": "true"}, {"Accept": "multipart/mixed"})
        for put in ("putKey", "postKey"):
            self.ask(put, 409, c, body=b"4")
        self.one.wait_log("event=too_many_versions key=conflict")
        self.assertEqual(self.one.log().count("event=too_many_versions key=conflict"), 1)
        for listing in ("listConflicts", "headConflicts"):
            self.ask(listing, 200, None, {"prefix": "con", "after": "a", "limit": "5"})
        self.ask("deleteKey", 200, c, {"w": "1"}, {"X-Yzma-Context": context, "If-Match": self.tag(c)})
        self.ask("putKey", 200, c, body=b"1")
        self.ask("deleteKey", 202, c, {"w": "2", "wait": "10ms"}, {"If-None-Match": '"x"'})
        self.ask("deleteKey", 200, c)

    def refusals(self):
        k = {"key": "a/k"}
        late = {"X-Yzma-Context": self.ahead}
        for name in ("getKey", "headKey", "putKey", "postKey", "deleteKey"):
            body = b"1" if name.startswith("p") else None
            self.ask(name, 503, {"key": "k"}, {"wait": "0"}, late, body)
            if body or name == "deleteKey":
                self.ask(name, 412, k, None, {"If-Match": '"0123456789abcdef"'}, body)
            if body:
                self.ask(name, 415, k, None, {"Content-Type": "nothing"}, body)
        for name, (path, _, operation, _) in self.page.operations.items():
            if "requestBody" in operation and name not in ANY_LENGTH:
                self.too_large(name)
                if path != "/keys/{key}":
                    key = {"key": "k"} if "{key}" in path else None
                    self.ask(name, 415, key, None, {"Content-Type": "text/plain"}, b"{}")

    def methods(self):
        """Those of each path, as a node tells them."""
        described = {}
        for path, method, _, _ in self.page.operations.values():
            described.setdefault(path, set()).add(method.upper())
        for path, methods in described.items():
            if "GET" in methods and path not in NO_HEAD:
                methods.add("HEAD")
            answer = self.one.call("PATCH", path.replace("{key}", "k"))
            self.assertEqual(answer.status, 405, path)
            self.assertEqual(set(answer.headers["Allow"].split(", ")), methods, path)

    def too_large(self, name):
        """By its Content-Length, so without sending it."""
        path, method, _, _ = self.page.operations[name]
        with socket.create_connection(self.one.api_address.split(":")) as sock:
            sock.settimeout(30)
            sock.sendall(f"{method.upper()} {path.replace('{key}', 'k')} HTTP/1.1\r\nHost: x\r\n"
                         f"Content-Length: {1 << 30}\r\n\r\n".encode())
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer[:100])
        schema = self.page.response(name, 413)["content"]["application/json"]["schema"]
        self.count_schema(name, 413, "application/json", schema, json.loads(answer.split(b"\r\n\r\n", 1)[1]), name)
        self.statuses.add((name, 413))

    def listings(self):
        for name in ("listKeys", "headKeys"):
            self.ask(name, 200)
            self.ask(name, 200, None, {"prefix": "", "after": "a", "end": "zz", "limit": "2", "values": "true"})
            self.ask(name, 200, None, {"reverse": "true", "delimiter": "/", "values": "true"})
            self.ask(name, 200, None, {"limit": "0", "values": "true", "delimiter": "/"})
            self.ask(name, 200, None, {"count": "true"})
        late = {"X-Yzma-Context": self.ahead}
        for name in ("listKeys", "headKeys", "listConflicts", "headConflicts", "deleteKeys"):
            self.ask(name, 503, None, {"wait": "0", "prefix": ""}, late)
            self.ask(name, 200, None, {"wait": "0", "prefix": "absent/"}, {"X-Yzma-Context": self.context_of("a/k")})

    def context_of(self, key):
        return self.ask("getKey", 200, {"key": key}).headers["X-Yzma-Context"]

    def batches(self):
        ops = [{"Op": "put", "Key": "b/1", "Value": 1, "TTL": "90s", "IfNoneMatch": "*"},
               {"Op": "put", "Key": "b/2", "Value64": "AAEC", "Type": "image/png", "Expires": "2100-01-01T00:00:00Z"},
               {"Op": "put", "Key": "b/3", "Value": [], "Mode": "add"},
               {"Op": "delete", "Key": "a/k", "IfMatch": "*"}]
        self.ask("postBatch", 503, None, {"wait": "0"}, {"X-Yzma-Context": self.ahead}, {"Ops": ops})
        self.ask("postBatch", 200, None, {"wait": "1s"}, {"X-Yzma-Context": self.context_of("a/k")}, {"Ops": ops})
        self.ask("postBatch", 409, body={"Ops": ops})
        self.ask("postBatch", 200, None, {"w": "1"}, body={"Ops": ops[2:3]})
        self.ask("postBatch", 202, None, {"w": "2", "wait": "0"}, body={"Ops": ops[2:3]})
        self.ask("deleteKeys", 200, None, {"prefix": "b/"})

    def counted(self):
        visits, late = {"key": "a/visits"}, {"X-Yzma-Context": self.ahead}
        self.assertEqual(self.ask("addToCounter", 200, visits, body={"Add": 7}).data, 7)
        context = self.ask("addToCounter", 200, visits, {"w": "1", "wait": "1s"}, body={"Add": -9}).headers
        self.ask("addToCounter", 202, visits, {"w": "2", "wait": "0"}, body={"Add": 0})
        context = {"X-Yzma-Context": context["X-Yzma-Context"]}
        self.ask("addToCounter", 200, visits, None, context, {"Add": 1})
        for body in ({"Add": 1.5}, {"Add": "1"}, {"Add": 1, "More": 1}, {}, [], {"Add": 1 << 63}):
            self.ask("addToCounter", 400, visits, body=body)
        self.ask("addToCounter", 409, visits, body={"Add": -(1 << 63)})
        for get in ("getCounter", "headCounter"):
            self.ask(get, 200, visits, {"wait": "1s"}, context)
            self.ask(get, 404, {"key": "absent"})
            self.ask(get, 503, visits, {"wait": "0"}, late)
        for listing in ("listCounters", "headCounters"):
            self.ask(listing, 200, None, {"prefix": "a/", "after": "a", "limit": "5"})
            self.ask(listing, 400, None, {"prefix": "a" * 461})
            self.ask(listing, 200, None, {"wait": "1s"}, context)
            self.ask(listing, 503, None, {"wait": "0"}, late)
        mine = {"X-Yzma-Context": self.forgetful.call("POST", "/counters/k", b'{"Add":1}').headers["X-Yzma-Context"]}
        self.ask("addToCounter", 503, {"key": "k"}, {"wait": "0"}, mine, {"Add": 1})
        self.ask("deleteCounter", 503, {"key": "k"}, {"wait": "0"}, mine)
        self.ask("deleteCounter", 200, visits, {"w": "1"}, context)
        self.ask("addToCounter", 200, visits, body={"Add": 1})
        self.ask("deleteCounter", 202, visits, {"w": "2", "wait": "1ms"})
        self.ask("deleteCounter", 200, visits)  # nothing is left

    def sets(self):
        tags = {"key": "a/tags"}
        change = {"Add": ["red", {"x": [1]}], "Remove": ["blue"]}
        self.assertEqual(self.ask("changeSet", 200, tags, body=change).data, {"Added": 2, "Removed": 0})
        self.ask("changeSet", 200, tags, {"w": "1", "wait": "1s"}, body={"Add": []})
        self.ask("changeSet", 202, tags, {"w": "2", "wait": "0"}, body={"Add": ["red"]})
        for body in ({}, {"Add": 1}, {"Add": [], "More": []}, {"Add": [1], "Remove": [1]}, []):
            self.ask("changeSet", 400, tags, body=body)
        for get in ("getSet", "headSet"):
            context = self.ask(get, 200, tags, {"limit": "1", "wait": "1s"}).headers["X-Yzma-Context"]
            self.ask(get, 200, tags, {"after": 32 * "0"}, {"X-Yzma-Context": context})
            self.ask(get, 200, tags, {"count": "true"})
            self.ask(get, 200, tags, {"member": '{ "x" : [1] }'})
            self.ask(get, 404, tags, {"member": '"blue"'})
            self.ask(get, 503, tags, {"wait": "0"}, {"X-Yzma-Context": self.ahead})
            for wrong in ({"member": "red"}, {"after": "x"}, {"member": "1", "count": "true"}):
                self.ask(get, 400, tags, wrong)
        seen, late = {"X-Yzma-Context": context}, {"X-Yzma-Context": self.ahead}
        for listing in ("listSets", "headSets"):
            self.ask(listing, 200, None, {"prefix": "a/", "after": "a", "limit": "5"})
            self.ask(listing, 200, None, {"wait": "1s"}, seen)
            self.ask(listing, 503, None, {"wait": "0"}, late)
        self.ask("changeSet", 200, tags, {"wait": "1s"}, seen, {"Remove": ["blue"]})
        self.ask("changeSet", 503, tags, {"wait": "0"}, late, {"Remove": ["red"]})
        self.ask("deleteSet", 503, tags, {"wait": "0"}, late)
        self.assertEqual(self.ask("deleteSet", 200, tags, {"wait": "1s"}, seen).data, {"Deleted": 2})

    def lines(self):
        form = {"Content-Type": "application/x-ndjson"}
        line = '{"Key":"i/1","Value":1}\n'
        sibling = '{"Key":"i/1","Value64":"AAEC","Type":"image/png","Sibling":true}\n'
        expiring = '{"Key":"i/2","Value":[],"Expires":"2100-01-01T00:00:00Z"}\n'
        self.ask("importLines", 200, None, None, form, (line + sibling + expiring).encode())
        self.ask("importLines", 200, None, {"after": "i/2"}, form, line.encode())
        self.ask("importLines", 400, None, None, form, b"{}")
        self.ask("importLines", 409, None, None, form, (line + 3 * sibling).encode())
        self.ask("importLines", 413, None, None, form, b" " * (200 << 10), node=self.forgetful)
        mixed = b'{"Counter":"i/c","Value":-7}\n{"Set":"i/s","Element":{"x":[]}}\n'
        self.ask("importLines", 200, None, None, form, mixed)
        context = {"X-Yzma-Context": self.context_of("i/2")}
        for name in ("exportLines", "headExport"):
            self.ask(name, 200)
            self.ask(name, 200, None, {"prefix": "i", "after": "a", "end": "z", "siblings": "true"})
            for space in ("keys", "counters", "sets"):
                self.ask(name, 200, None, {"space": space, "prefix": "i/", "wait": "1s"}, context)
            self.ask(name, 200, None, {"space": "all", "contexts": "true"})
            self.ask(name, 200, None, {"space": "all", "from": "sets", "after": "i/s", "member": '{"x":[]}'})
            self.ask(name, 503, None, {"wait": "0"}, {"X-Yzma-Context": self.ahead})
            self.ask(name, 400, None, {"space": "sets", "siblings": "true"})
        events = b'{"Kind":"put","Space":"sets","Key":"i/s","Element":1}\n{"Kind":"delete","Key":"i/2"}\n'
        self.ask("importLines", 200, None, None, form, events)

    def watches(self):
        for key in ("w/1", "w/2"):
            self.one.put(key, {"x": 1})
        self.one.call("PUT", "/keys/w/3?ttl=1h", b"\x00", {"Content-Type": "image/png"})
        self.ask("watchKeys", 200, None, {"poll": "1ms", "since": "0", "prefix": "w/", "values": "false"})
        begun = self.ask("watchKeys", 200, None, {"poll": "10s", "since": "0", "prefix": "w/"}).data
        self.assertEqual([e["Key"] for e in begun["Events"] if e["Kind"] == "put"], ["w/1", "w/2", "w/3"])
        empty = self.ask("watchKeys", 200, None, {"poll": "1ms"}).data
        self.one.delete("w/1")
        self.ask("watchKeys", 200, None, {"poll": "10s", "since": "0"}, {"Last-Event-ID": empty["Cursor"]})
        self.ask("watchKeys", 503, None, {"poll": "1ms", "since": self.late_cursor})
        until(lambda: self.forgetful.call("GET", f"/watch?poll=1ms&since={self.old_cursor}").status == 410, 60,
              "history is gone")
        self.ask("watchKeys", 410, None, {"poll": "1ms", "since": self.old_cursor}, node=self.forgetful)
        self.stream("application/x-ndjson", "listed", since="0", prefix="w/")
        self.stream("application/x-ndjson", "behind", since=self.late_cursor)
        context = {"X-Yzma-Context": self.context_of("w/2")}
        for space, kinds in (("counters", ["put", "delete"]), ("sets", ["put", "put", "delete"])):
            now = self.ask("watchKeys", 200, None, {"poll": "1ms", "wait": "1s", "space": space}, context).data
            self.one.call("POST", "/counters/w", b'{"Add":1}')
            self.one.call("POST", "/counters/w/1", b'{"Add":1}')
            self.one.call("DELETE", "/counters/w/1")
            self.one.call("POST", "/sets/w", b'{"Add":[[],2,3]}')
            self.one.call("POST", "/sets/w", b'{"Remove":[3]}')
            query = {"poll": "10s", "space": space, "since": now["Cursor"]}
            events = self.ask("watchKeys", 200, None, query).data["Events"]
            self.assertEqual([e["Kind"] for e in events], kinds)
            self.stream("application/x-ndjson", "listed", since="0", space=space)
        self.ask("watchKeys", 200, None, {"poll": "10s", "since": "0", "space": "sets", "key": "w"})
        self.stream("application/x-ndjson", "listed", since="0", space="all")
        self.ask("watchKeys", 503, None, {"poll": "1s", "wait": "0"}, {"X-Yzma-Context": self.ahead})
        self.stream("text/event-stream", "listed", sse=True, since="0", prefix="w/")

    def stream(self, form, kind, **how):
        """A watch that does not end by itself, until an event of this kind."""
        watch = Watch(self.one, **how)
        self.addCleanup(watch.close)
        self.assertEqual((watch.status, watch.headers["content-type"]), (200, form))
        watch.wait(lambda w: kind in w.kinds())
        schema = self.page.response("watchKeys", 200)["content"][form]["schema"]
        if how.get("sse"):
            self.forms.add(("watchKeys", 200, form, 0))
        for event in watch.events if not how.get("sse") else ():
            self.count_schema("watchKeys", 200, form, schema, event, f"{form} {event}")

    def tools(self):
        self.ask("getBackup", 200)
        self.ask("getBackup", 200, None, {"after": ""})
        self.ask("getBackup", 200, None, {"row": 48 * "0"})
        for name in ("getDigest", "headDigest"):
            self.ask(name, 200)
            self.ask(name, 200, None, {"after": "a", "through": "z", "limit": "2", "list": "true"})
        whole = self.ask("getDigest", 200, None, {"limit": "10000", "list": "true"}).data
        self.assertTrue(whole["Keys"] and whole["End"])

    def by_hand(self):
        """The other one is gone."""
        here, gone = self.one.status()["Replica"], self.other.status()["Replica"]
        for name in ("forgetReplica", "retireReplica"):
            self.ask(name, 404, body={"Replica": "nobody"})
            self.ask(name, 409, body={"Replica": gone})
        self.ask("retireReplica", 409, body={"Replica": here})
        self.other.kill9()
        until(lambda: [link["State"] for link in self.one.status()["Links"] if link["Replica"] == gone][0]
              in ("down", "dialing"), 30, "it is missed")
        for name in ("forgetReplica", "retireReplica"):
            self.ask(name, 200, body={"Replica": gone})
        self.ask("pauseReplication", 200)
        self.ask("getReady", 503)
        self.ask("resumeReplication", 200)

    def counters(self):
        """Each is named on the page about them."""
        told = set(re.findall(r"`(\w+)`", text_of("docs", "HTTP.md").split("## Counters\n")[1].split("\n## ")[0]))
        self.assertGreater(len(self.one.counters()), 100)
        self.assertEqual(sorted(set(self.one.counters()) - told), [])

    def cluster(self):
        self.ask("getHealth", 200)
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            self.ask("joinCluster", 502, body={"Peers": [f"127.0.0.1:{nobody.getsockname()[1]}"]})
        self.other.start()
        for node in (self.one, self.other):
            self.ask("addToCounter", 200, {"key": "full"}, body={"Add": (1 << 63) - 1}, node=node)
        self.ask("joinCluster", 200, body={"Peers": [self.other.gossip, "127.0.0.1:1"]})
        until(lambda: self.one.sees(self.other) == "alive" and self.one.call("GET", "/ready").status == 200, 30,
              "both are there")
        until(lambda: self.other.sees(self.one) == "alive", 30, "both are there")
        until(lambda: self.one.call("GET", "/counters/full").status == 409, 30, "it holds what both have added")
        for name in ("getCounter", "headCounter"):
            self.ask(name, 409, {"key": "full"})
        self.ask("listCounters", 200)
        for name in ("listMembers", "getStatus", "listSealingKeys", "getReady"):
            self.ask(name, 200)
        self.ask("installSealingKey", 200, body={"Key": SEAL[1]})
        self.ask("useSealingKey", 200, body={"Key": SEAL[1], "Force": True})
        self.ask("useSealingKey", 404, body={"Key": ABSENT_SEAL})
        self.ask("removeSealingKey", 200, body={"Key": SEAL[0]})
        self.ask("removeSealingKey", 404, body={"Key": ABSENT_SEAL})
        self.ask("removeSealingKey", 409, body={"Key": SEAL[1]})
        unsealed = self.node("unsealed").start()
        self.ask("installSealingKey", 409, body={"Key": SEAL[0]}, node=unsealed)
        self.ask("useSealingKey", 409, body={"Key": SEAL[0]}, node=unsealed)
        self.by_hand()
        self.ask("leaveCluster", 200)

    # ---- what was described and not met ------------------------------------------------

    def check_nothing_is_left(self):
        left = []
        for name, (_, method, operation, parameters) in self.page.operations.items():
            left += [f"parameter {name} {place} {key}" for place, key in parameters
                     if (name, place, key) not in self.parameters]
            body = self.page.resolve(operation.get("requestBody", {}))
            left += [f"body {name} {kind}" for kind in body.get("content", {}) if (name, kind) not in self.bodies]
            for status in operation["responses"]:
                response = self.page.response(name, status)
                if "x-not-exercised" in response:
                    self.assertNotIn((name, int(status)), self.statuses, "it is exercised")
                    continue
                if (name, int(status)) not in self.statuses:
                    left.append(f"status {name} {status}")
                for form, content in (response.get("content", {}) if method != "head" else {}).items():
                    schema = content["schema"]
                    for i in range(len(schema.get("anyOf") or schema.get("oneOf") or [schema])):
                        broken_off = (form, i) == ("application/x-ndjson", 2)  # test_http_values.c
                        if (name, int(status), form, i) not in self.forms and not broken_off:
                            left.append(f"form {name} {status} {form} {i}")
        self.assertEqual(left, [])


def as_typed(value):
    """A parameter's text as the type that a schema speaks of."""
    if value in ("true", "false"):
        return value == "true"
    return int(value) if re.fullmatch(r"\d+", value) else value


if __name__ == "__main__":
    unittest.main()
