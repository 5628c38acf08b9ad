"""Requests that nobody's client sends, drawn from a seeded grammar, and what an answer must be.

The law: whatever was sent, the answer is none of 5xx. A refusal is a problem document on one line,
or a page where the address is one of pages.
"""

import io
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

JSON = "application/json"
PROBLEM = "application/problem+json"
FORM = "application/x-www-form-urlencoded"
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "FETCH", "get")
MEDIA_TYPES = (
    *("", "text/plain", "application/xml", "application/json; charset=utf-16", "json", "*/*"),
    *("application/json, text/plain", "multipart/form-data", "multipart/form-data; boundary=x"),
    *(FORM, "application/octet-stream", "APPLICATION/JSON", "application/json;", "\x00"),
)
SEGMENTS = (
    *("%00", "%2e%2e", "..", ".", "%2f", "%5c", "%ff", "%c3%28", "%e2%80%ae", "%0d%0a", "%25"),
    *("a" * 201, "a" * 3000, ";x=1", "~", "%20", "*", "'", "%3Cb%3E", "-1", "9" * 30, "null"),
)
TEXTS = (
    *("", " ", "\x00", "a\x00b", "\n", "\x1b[2J", "\u202e", "\ufeff", "\U0001f4a3", "a" * 201),
    *("a" * 100_000, "../../etc/passwd", "' OR 1=1 --", "<script>", "%s%n", "NaN", "1e999"),
)
NUMBERS = (
    *(0, -0.0, -1, 0.1, 1e308, 5e-324, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63) - 1),
    *(10**30, 10**308, 10**309, 253402300800, 4102444800),
)
#: Text of JSON, or what resembles it, that no value of Python is written as.
LITERALS = (
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "9" * 400, "9" * 5000, "01"),
    *("-0", "1.", ".5", "0x10", "1_000", "+1", "'x'", "undefined", "True", r'"\ud800"', r'"\x00"'),
    *('"\\u0000"', '"\t"', '"', "{", "[", "[1,", '{"a"', '{"a":1,}', "[1 2]", "//", "nul", "{}{}"),
)
HEADERS = (
    ("Authorization", ("Bearer", "Bearer ", "Basic eDp5", "bearer \xff", "Bearer " + "x" * 2000)),
    ("X-Request-Id", ("", "a b", "\xff", "a" * 65, "%0a")),
    ("Cookie", ("x", "fraudfed-a=x.y", "fraudfed-a=.", "fraudfed-a=\xff.\xff", "a=b; " * 300)),
    ("Content-Encoding", ("gzip", "br", "identity")),
    ("Range", ("bytes=0-", "bytes=9-1", "x")),
    ("If-None-Match", ("*", '"', "W/x")),
    ("Expect", ("100-continue", "x")),
    ("Accept", ("text/html", "\xff", "*/*;q=2")),
    ("Host", ("", "[", "a b", "x:99999", "\xff")),
    ("X-Forwarded-For", ("x", "127.0.0.1, ::1")),
    ("Sec-Fetch-Site", ("cross-site", "")),
    ("Signature-Input", ("x", 'fraudfed=("@method");keyid="a"', "\xff")),
    ("Signature", ("x", "fraudfed=:AA==:")),
    ("Transfer-Encoding", ("chunked", "gzip, chunked", "x")),
)


@dataclass(frozen=True)
class Malformed:
    """A request; its target is sent as it is."""

    kind: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass
class Grammar:
    """Draws requests.

    Attributes
    ----------
    seed : int
    addresses : sequence of (str, str)
        Method and path, with ``{name}`` for parameters.
    bodies : mapping of str to dict
        What a path takes, to be changed at one place.
    headers : mapping of str to str
        What gets past the door; half of the requests have it.
    """

    seed: int
    addresses: Sequence[tuple[str, str]]
    bodies: Mapping[str, Any]
    headers: Mapping[str, str]
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._kinds: tuple[tuple[str, Callable[[], Malformed]], ...] = (
            ("bytes", lambda: self._with_body(self._bytes())),
            ("literal", lambda: self._with_body(self._literal())),
            ("deep", lambda: self._with_body(self._deep())),
            ("value", lambda: self._with_body(json.dumps(self._value(4)).encode())),
            ("field", self._field),
            ("repeated key", self._repeated),
            ("batch", self._batch),
            ("media type", self._media_type),
            ("method", lambda: self._request("method", method=self._one(METHODS))),
            ("path", self._path),
            ("query", self._query),
            ("header", self._header),
            ("form", self._form),
        )

    def draw(self) -> Malformed:
        """Return the next request."""
        kind, make = self._one(self._kinds)
        made = make()
        return Malformed(kind, made.method, made.target, made.headers, made.body)

    # Parts

    def _one(self, values: Sequence[Any]) -> Any:
        return values[self.rng.randrange(len(values))]

    def _filled(self, path: str) -> str:
        while "{" in path:
            before, _, rest = path.partition("{")
            path = before + self._one(("x", "1", "0", *SEGMENTS)) + rest.partition("}")[2]
        return path

    def _request(self, kind: str, **changes: Any) -> Malformed:
        method, path = self._one(self.addresses)
        headers = tuple(self.headers.items()) if self.rng.random() < 0.7 else ()
        found = {"method": method, "target": self._filled(path), "headers": headers, "body": b""}
        body = self.bodies.get(path)
        if body is not None:
            found |= {"headers": (*headers, ("Content-Type", JSON)), "body": self._sent(body)}
        return Malformed(kind, **{**found, **changes})

    def _sent(self, body: Any) -> bytes:
        return json.dumps(body).encode()

    def _reading(self) -> tuple[str, str]:
        found = [(m, p) for m, p in self.addresses if m in ("POST", "PUT")]
        method, path = self._one(found)
        return method, path

    def _with_body(self, body: bytes, media_type: str = JSON) -> Malformed:
        method, path = self._reading()
        headers = (*self.headers.items(), ("Content-Type", media_type))
        return Malformed("body", method, self._filled(path), headers, body)

    def _bytes(self) -> bytes:
        size = self._one((0, 1, 3, 20, 300, 5000))
        raw = self.rng.randbytes(size)
        text = json.dumps(self._one(list(self.bodies.values()))).encode()
        return self._one(
            (
                *(raw, b"\xff" + text, text[:-1], text + b"\x00", b"\xef\xbb\xbf" + text),
                *(text.decode().encode("utf-16"), text.replace(b'"', b'"\xc3\x28', 1), b"\x1f\x8b"),
            )
        )

    def _literal(self) -> bytes:
        literal = self._one(LITERALS)
        text = json.dumps(self._one(list(self.bodies.values())))
        place = text.find(":", self.rng.randrange(len(text))) + 1
        end = min(
            (at for at in (text.find(",", place), text.find("}", place)) if at > 0), default=0
        )
        whole = text[:place] + literal + text[end:] if place and end else literal
        return self._one(
            (literal, whole, f"[{literal}]", f'{{"{literal[:50]}": {literal}}}')
        ).encode("utf-8", "surrogatepass")

    def _deep(self) -> bytes:
        depth = self._one((100, 1000, 20_000))
        opened, closed = self._one((("[", "]"), ('{"a":', "}"), ('{"payments":[', "]}")))
        return (opened * depth + "1" + self._one((closed * depth, ""))).encode()

    def _value(self, depth: int) -> Any:
        kinds = 6 if depth else 4
        match self.rng.randrange(kinds):
            case 0:
                return self._one((None, True, False))
            case 1:
                return self._one(NUMBERS)
            case 2 | 3:
                return self._one(TEXTS)
            case 4:
                return [self._value(depth - 1) for _ in range(self.rng.randrange(3))]
            case _:
                return {
                    self._one(TEXTS)[:300]: self._value(depth - 1)
                    for _ in range(self.rng.randrange(3))
                }

    def _field(self) -> Malformed:
        path, body = self._one(list(self.bodies.items()))
        changed = self._changed(body)
        for _ in range(self.rng.randrange(2)):
            changed = self._changed(changed)
        return self._to(path, self._sent(changed))

    def _changed(self, body: Any) -> Any:
        """Change one place: a value, or a field that is missing or too much."""
        if isinstance(body, list) and body and self.rng.random() < 0.8:
            place = self.rng.randrange(len(body))
            return [*body[:place], self._changed(body[place]), *body[place + 1 :]]
        if isinstance(body, dict) and body and self.rng.random() < 0.9:
            name = self._one(sorted(body))
            match self.rng.randrange(5):
                case 0:
                    return {key: value for key, value in body.items() if key != name}
                case 1:
                    return {**body, self._one(TEXTS)[:300]: self._value(1)}
                case _:
                    return {**body, name: self._changed(body[name])}
        return self._value(2)

    def _repeated(self) -> Malformed:
        path, body = self._one(list(self.bodies.items()))
        text = json.dumps(body)
        if not isinstance(body, dict) or not body:
            return self._to(path, b'{"a":1,"a":2}')
        name = self._one(sorted(body))
        again = f"{json.dumps(name)}: {json.dumps(self._value(1))}"
        return self._to(path, (text[:-1] + ", " + again + "}").encode())

    def _batch(self) -> Malformed:
        path, body = self._one(list(self.bodies.items()))
        many = self._one((0, 1, 2, 1001))
        name = self._one(("payments", "labels", "identifiers", "x"))
        inner = self._one((body, [body], None, "x", 1, []))
        shape = self._one(
            ({name: [inner] * many}, [inner] * many, {name: inner}, {name: {"0": inner}}, {})
        )
        if self.rng.random() < 0.3 and isinstance(body, dict) and isinstance(shape, dict):
            shape = {**body, **shape}
        return self._to(path, self._sent(shape))

    def _to(self, path: str, body: bytes) -> Malformed:
        method = next((m for m, p in self.addresses if p == path and m in ("POST", "PUT")), "POST")
        headers = (*self.headers.items(), ("Content-Type", JSON))
        return Malformed("body", method, self._filled(path), headers, body)

    def _media_type(self) -> Malformed:
        path, body = self._one(list(self.bodies.items()))
        made = self._to(path, self._sent(body))
        headers = (*self.headers.items(), ("Content-Type", self._one(MEDIA_TYPES)))
        return Malformed("media type", made.method, made.target, headers, made.body)

    def _path(self) -> Malformed:
        _, path = self._one(self.addresses)
        parts = self._filled(path).split("/")
        for _ in range(1 + self.rng.randrange(2)):
            place = self.rng.randrange(1, len(parts) + 1)
            parts[place:place] = [self._one((*SEGMENTS, ""))]
        target = "/".join(parts)
        return self._request("path", target=self._one((target, target + "/", target.upper())))

    def _query(self) -> Malformed:
        made = self._request("query")
        name = self._one(
            ("", "wait", "day", "id", "next", "after", "limit", "%00", "%ff", "x" * 500)
        )
        value = self._one(("", "-1", "1e9", "NaN", "%ff", "%00", "2026-99-99", "9" * 400, "a&a=b"))
        return Malformed(
            "query", made.method, f"{made.target}?{name}={value}&{name}=", made.headers, made.body
        )

    def _header(self) -> Malformed:
        made = self._request("header")
        name, values = self._one(HEADERS)
        kept = tuple(pair for pair in made.headers if pair[0] != name)
        headers = (*kept, (name, self._one(values)))
        return Malformed("header", made.method, made.target, headers, made.body)

    def _form(self) -> Malformed:
        page = self._one(("sign-in", "sign-out", "approve", "lookup", "nowhere", ""))
        name = self._one(("form_token", "token", "hash", "next", "%00"))
        body = f"{name}={quote(str(self._one(TEXTS)[:70_000]))}&{name}=%ff".encode()
        headers = (("Content-Type", self._one((FORM, FORM, *MEDIA_TYPES))),)
        return Malformed("form", "POST", f"/pages/{page}", headers, body)


def send(app: Flask, request: Malformed) -> tuple[int, dict[str, str], bytes]:
    """Answer a request by an application, as its server would hand it over."""
    path, _, query = request.target.partition("?")
    builder = EnvironBuilder(
        method=request.method,
        input_stream=io.BytesIO(request.body),
        environ_overrides={"REMOTE_ADDR": "127.0.0.1"},
    )
    environ = builder.get_environ()
    builder.close()
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        environ["CONTENT_TYPE" if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    environ |= {
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": request.target,
        "CONTENT_LENGTH": str(len(request.body)),
    }
    answer, status, headers = run_wsgi_app(app.wsgi_app, environ)
    body = b"".join(answer)
    return int(status.split()[0]), {key.lower(): value for key, value in headers}, body


def judge(request: Any, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Hold an answer against the law."""
    shown = f"{request!r:.1500}"
    assert 200 <= status < 500, f"{status} {body[:1000]!r} to {shown}"
    if status < 400 or getattr(request, "method", "") == "HEAD":
        return
    media_type = headers.get("content-type", "")
    if media_type.startswith(("text/html", "text/plain")):
        assert request.target.startswith("/pages"), f"{media_type} to {shown}"
        return
    assert media_type == PROBLEM, f"{media_type!r} {body[:500]!r} to {shown}"
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["detail"].isprintable(), f"{problem['detail']!r} to {shown}"


def attack(app: Flask, grammar: Grammar, count: int) -> Counter[tuple[str, int]]:
    """Send so many requests, and return how many of each kind got each status."""
    found: Counter[tuple[str, int]] = Counter()
    for _ in range(count):
        request = grammar.draw()
        status, headers, body = send(app, request)
        judge(request, status, headers, body)
        found[request.kind, status] += 1
    return found
