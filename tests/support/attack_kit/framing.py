"""What is no HTTP, or nearly: bytes for a socket, drawn from a seeded grammar."""

import contextlib
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_WAIT_SECONDS = 60.0
LINES = (
    *(b"GET /v1/health HTTP/0.9", b"GET /v1/health HTTP/9.9", b"GET /v1/health", b"GET"),
    *(
        b"GET  /v1/health HTTP/1.1",
        b"\x00 / HTTP/1.1",
        b"GET /\xff HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
    ),
    *(b"GET http://[ HTTP/1.1", b"GET http://x:99999/v1/health HTTP/1.1", b"CONNECT x:1 HTTP/1.1"),
    *(b"OPTIONS * HTTP/1.1", b"GET * HTTP/1.1", b"GET //x/v1/health HTTP/1.1", b"G\tT / HTTP/1.1"),
    *(b"GET /%zz HTTP/1.1", b"GET /?%00 HTTP/1.1", b"GET /#x HTTP/1.1", b"GET v1/health HTTP/1.1"),
    *(b"PRI * HTTP/2.0", b"GET /" + b"a" * 3900 + b" HTTP/1.1", b"A" * 60 + b" / HTTP/1.1"),
    *(b"get /v1/health http/1.1", b"GET /v1/health HTTP/1.1 x", b"\xef\xbb\xbfGET / HTTP/1.1"),
    *(b"POST /v1/score HTTP/1.1", b"POST /v1/banks HTTP/1.1", b"POST /pages/sign-in HTTP/1.1"),
    *(b"GET /v1/health HTTP/1.1", b"HEAD /v1/health HTTP/1.1", b"GET /pages/ HTTP/1.1"),
)
HEADERS = (
    *(b"Host: x", b"Host", b"Host : x", b": x", b" folded", b"X: a\r\n b", b"X\x00: 1", b"X: \x00"),
    *(
        b"X: \xff\xfe",
        b"X-Y_Z: 1",
        b"X_Y: 1",
        b"A B: 1",
        b"X: " + b"a" * 5000,
        b"Content-Length: -1",
    ),
    *(b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: 5, 5", b"Content-Length: x"),
    *(b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: +5", b"Content-Length: 0x5"),
    *(
        b"Content-Length: 99999999999999999999999",
        b"Content-Length: 4194305",
        b"Content-Length: 5_0",
    ),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Transfer-Encoding: x, chunked"),
    *(b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"Transfer-Encoding: chunked, chunked"),
    *(b"Expect: 100-continue", b"Expect: x", b"Connection: close, x", b"Connection: upgrade"),
    *(
        b"Upgrade: websocket",
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
        b"TE: trailers",
        b"Trailer: x",
    ),
    *(b"Content-Type: application/json", b"Content-Type: text/plain", b"Content-Encoding: gzip"),
    *(
        b"Proxy: x",
        b"X-Forwarded-Proto: https",
        b"Forwarded: for=x",
        b"SCRIPT_NAME: /x",
        b"Script-Name: /x",
    ),
    b"\r\n".join(b"X-%d: 1" % number for number in range(150)),
)
BODIES = (
    *(b"", b"hello", b"{}", b"\x00" * 5, b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\nhello\r\n0\r\n\r\n"),
    *(b"-1\r\n", b"ffffffffffffffff\r\nx", b"5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n", b"5\r\nhello"),
    *(
        b"0\r\n" + b"X: " + b"a" * 5000 + b"\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\n\r\n",
        b"x" * 70_000,
    ),
)
BYTES = (
    *(
        b"",
        b"\r\n",
        b"\n\n\n\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\x00" * 200,
    ),
    *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"*1\r\n$4\r\nPING\r\n\r\n"),
    *(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET /v1/health HTTP/1.1\r\n\r\n", b"a" * 9000),
)


@dataclass(frozen=True)
class Sent:
    """Bytes for a socket."""

    data: bytes

    @property
    def target(self) -> str:
        """The second word of the request line, as far as there is one."""
        words = self.data.split(b"\r\n", 1)[0].split()
        return words[1].decode("latin-1") if len(words) > 1 else ""


def draw(rng: random.Random) -> Sent:
    """Return what is no request, or one with something wrong."""

    def one(values: Sequence[Any]) -> Any:
        return values[rng.randrange(len(values))]

    if rng.random() < 0.1:
        return Sent(one((*BYTES, rng.randbytes(rng.randrange(1, 6000)))))
    end = b"\n" if rng.random() < 0.1 else b"\r\n"
    line = one(LINES[-6:]) if rng.random() < 0.6 else one(LINES)
    headers = [one(HEADERS) for _ in range(rng.randrange(4))]
    if rng.random() < 0.5:
        headers.insert(0, b"Host: x")
    whole = end.join((line, *headers)) + end + end + one(BODIES)
    if rng.random() < 0.2:
        whole = whole[: rng.randrange(len(whole) + 1)]
    if rng.random() < 0.2 and whole:
        place = rng.randrange(len(whole))
        whole = whole[:place] + rng.randbytes(1) + whole[place + 1 :]
    return Sent(whole)


def answer_of(port: int, sent: Sent) -> tuple[int, dict[str, str], bytes] | None:
    """Send it, say that nothing follows, and return the first answer; None without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=_WAIT_SECONDS) as sock:
        # It may end the connection before all is sent.
        with contextlib.suppress(OSError):
            sock.sendall(sent.data)
            sock.shutdown(socket.SHUT_WR)
        found = b""
        # A connection that is reset has taken the rest of the answer with it.
        with contextlib.suppress(ConnectionResetError):
            while piece := sock.recv(65536):
                found += piece
    head, whole, body = found.partition(b"\r\n\r\n")
    if not whole:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    length = headers.get("content-length")
    if length is not None and first.split()[1] != "100":
        body = body[: int(length)]
    return int(first.split()[1]), headers, body
