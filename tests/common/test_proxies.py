"""Both programs' clients through real proxies, over real TLS: what arrives, and what is said."""

import contextlib
import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from examples.certificates import Certified, certify
from proxies.forward import ForwardProxy, forward_proxy
from proxies.hostile import head, hostile_server
from proxies.server import Handler, http_server

from aggregator.operator.client import OperatorClient
from bank_node.config import TlsFiles
from bank_node.http.client import AggregatorClient
from bank_node.http.retry import RetryPolicy
from fraudfed.errors import ConfigurationError, TransportError
from fraudfed.http.connections import HttpConnections
from fraudfed.http.failures import unreachable
from fraudfed.http.trust import read_trust

HEALTH = b'{"protocol_version":2,"status":"ok","version":"1"}'
ROSTER = b'{"protocol_version":2,"members":[],"removals":[]}'
VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")
VARIABLES += ("SSL_CERT_FILE",)
NAMED = "agg.corp.example"


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


class _Aggregator(Handler):
    def do_GET(self) -> None:
        self.answer(HEALTH if self.path == "/v1/health" else ROSTER)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return certify(tmp_path_factory.mktemp("authority"), "authority")


Serving = Callable[..., contextlib.AbstractContextManager[str]]


@pytest.fixture
def serving(authority: Certified, tmp_path: Path) -> Serving:
    """Give what serves an aggregator over https with a certificate for a host."""

    @contextlib.contextmanager
    def serve(host: str = "localhost", *, address: str = "127.0.0.1") -> Iterator[str]:
        with http_server(_Aggregator, _shows(tmp_path, authority, host), address=address) as url:
            yield url

    return serve


def _shows(directory: Path, authority: Certified, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certify(directory, f"for-{host}", authority, host=host).files)
    return context


def ask_as_bank(url: str, ca_file: Path | None) -> None:
    tls = TlsFiles(ca_file=None if ca_file is None else str(ca_file))
    with AggregatorClient(url, tls=tls, retry=RetryPolicy(patience_seconds=0.0)) as client:
        assert client.health().status == "ok"


def ask_as_operator(url: str, ca_file: Path | None) -> None:
    with OperatorClient(url, "the-operators-token", ca_file=ca_file) as client:
        assert client.roster().members == ()


Asking = Callable[[str, Path | None], None]


@pytest.fixture(params=[ask_as_bank, ask_as_operator], ids=["bank", "operator"])
def ask(request: pytest.FixtureRequest) -> Asking:
    found: Asking = request.param
    return found


def refusal(ask: Asking, url: str, ca_file: Path | None) -> str:
    """Return the one line with which a call fails."""
    with pytest.raises(TransportError) as failure:
        ask(url, ca_file)
    text = str(failure.value)
    assert "\n" not in text
    return text


def test_https_goes_through_the_named_proxy_and_past_it_where_exempted(
    ask: Asking, serving: Serving, authority: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = ForwardProxy()
    with serving("127.0.0.1") as url, forward_proxy(proxy):
        url = url.replace("localhost", "127.0.0.1")
        monkeypatch.setenv("HTTPS_PROXY", proxy.address)  # without a scheme
        ask(url, authority.certificate_file)
        assert proxy.targets == [url.removeprefix("https://")]
        assert b"/v1/" not in proxy.seen
        for exempting in ("127.0.0.0/8", "10.0.0.0/8, 127.0.0.1", "*"):
            monkeypatch.setenv("NO_PROXY", exempting)
            ask(url, authority.certificate_file)
        assert len(proxy.asked) == 1


@needs_ipv6
def test_an_ipv6_address_stands_in_brackets_in_connect_and_host(
    ask: Asking, serving: Serving, authority: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = ForwardProxy()
    with serving("::1", address="::1") as url, forward_proxy(proxy):
        monkeypatch.setenv("https_proxy", proxy.url)
        ask(url, authority.certificate_file)
        place = url.removeprefix("https://")
        ((target, headers),) = proxy.asked
        assert target == headers["host"] == place
        assert place.startswith("[::1]:")
        monkeypatch.setenv("no_proxy", "fd00::/8,0:0::1")
        ask(url, authority.certificate_file)
        assert len(proxy.asked) == 1


def test_a_name_is_resolved_by_the_proxy_alone_and_may_end_with_a_dot(
    ask: Asking, serving: Serving, authority: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(NAMED) as url, forward_proxy(proxy := ForwardProxy()):
        port = int(url.rpartition(":")[2])
        proxy.places = {f"{name}:{port}": ("127.0.0.1", port) for name in (NAMED, f"{NAMED}.")}
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        ask(f"https://{NAMED}:{port}", authority.certificate_file)
        ask(f"https://{NAMED.upper()}.:{port}", authority.certificate_file)
        assert proxy.targets == [f"{NAMED}:{port}", f"{NAMED}.:{port}"]


@pytest.mark.parametrize(
    ("named", "user"),
    [("alice:s3cret", "alice:s3cret"), ("a%40b:p%3A%2F%23%25", "a@b:p:/#%"), ("alice", "alice:")],
)
def test_user_and_password_go_to_the_proxy_alone(
    ask: Asking,
    serving: Serving,
    authority: Certified,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
    user: str,
) -> None:
    heard: list[str] = []
    monkeypatch.setattr(
        _Aggregator, "log_message", lambda it, *_: heard.append(str(it.headers).lower())
    )
    proxy = ForwardProxy(user=user)
    with forward_proxy(proxy), serving() as url:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{named}@{proxy.address}")
        ask(url, authority.certificate_file)
    ((_, headers),) = proxy.asked
    assert "proxy-authorization" in headers
    assert "authorization: bearer" not in str(headers).lower()
    (told,) = heard
    assert "user-agent: fraudfed" in told
    assert "proxy-authorization" not in told


@pytest.mark.parametrize(
    ("named", "offers", "said"),
    [
        (
            "",
            ('Basic realm="x"',),
            "asks for user and password (407)); write them into HTTPS_PROXY",
        ),
        ("alice:hunter2@", ("Basic",), "refuses user and password of HTTPS_PROXY (407)"),
        ("alice:hunter2@", ("Negotiate", "NTLM"), "asks for negotiate, ntlm (407), only basic"),
        ("", (), "asks for user and password (407)"),
    ],
)
def test_a_proxy_that_asks_who_calls_is_one_line(
    ask: Asking, monkeypatch: pytest.MonkeyPatch, named: str, offers: tuple[str, ...], said: str
) -> None:
    proxy = ForwardProxy(user="alice:other", offers=offers)
    with forward_proxy(proxy):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{named}{proxy.address}")
        text = refusal(ask, f"https://{NAMED}:8443", None)
    assert said in text
    assert f"https://{NAMED}:8443: aggregator not reachable through the proxy {proxy.url}" in text
    assert "hunter2" not in text
    # Nobody asks again with what was refused.
    assert len(proxy.asked) == 1


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, f"the proxy answers 403 Forbidden to CONNECT {NAMED}:8443); ask for"),
        (502, "to CONNECT agg.corp.example:8443); check that URL and port are right"),
        (503, "the proxy answers 503"),
        (400, "the proxy answers 400"),
    ],
)
def test_a_proxy_that_refuses_is_one_line(
    ask: Asking, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    with forward_proxy(proxy := ForwardProxy(refusal=status)):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert said in refusal(ask, f"https://{NAMED}:8443", None)


NO_PROXIES = {
    "nothing": b"",
    "a page": b"<html>hello</html>\r\n\r\n",
    "mail": b"220 mail.corp ESMTP\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nA: b\r\n",
}


@pytest.mark.parametrize("answer", NO_PROXIES.values(), ids=NO_PROXIES)
def test_what_is_no_proxy_is_said(
    ask: Asking, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    with hostile_server(lambda sock, _: sock.sendall(answer)) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        text = refusal(ask, f"https://{NAMED}:8443", None)
    assert f"through the proxy {server.url} of HTTPS_PROXY" in text


def test_a_proxys_answer_is_bounded(ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    def drown(sock: socket.socket, _request: bytes) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            sock.sendall(b"X-Filler: " + b"x" * 60000 + b"\r\n")

    with hostile_server(drown) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        with pytest.raises(Exception, match=r"above 32768 bytes|got more than") as failure:
            ask(f"https://{NAMED}:8443", None)
    assert "\n" not in str(failure.value)


def test_bytes_behind_the_proxys_answer_are_nobodys(
    ask: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a proxy sends in advance of TLS is no answer of an aggregator."""
    forged = head("200 OK") + head(Content_Length=len(HEALTH)) + HEALTH
    with hostile_server(lambda sock, _: sock.sendall(forged)) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        text = refusal(ask, f"https://{NAMED}:8443", None)
    # They reach TLS, which knows them for what they are.
    assert "[SSL" in text
    assert "EOF" not in text


@pytest.mark.parametrize(("status", "times"), [(407, 1), (403, 1), (502, 3), (503, 3)])
def test_what_is_refused_for_good_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch, status: int, times: int
) -> None:
    """By a bank, which asks again while its patience lasts."""
    ticks = iter(range(100))
    patient = RetryPolicy(patience_seconds=8.0, clock=lambda: float(next(ticks)), sleep=str)
    with forward_proxy(proxy := ForwardProxy(refusal=status)):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        url = f"https://{NAMED}:8443"
        with (
            AggregatorClient(url, retry=patient) as client,
            pytest.raises(TransportError, match=f"{status}"),
        ):
            client.health()
    assert len(proxy.asked) == 1 if times == 1 else len(proxy.asked) >= times


def test_a_proxy_that_is_away_is_told_from_an_aggregator_that_is(
    ask: Asking, authority: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"https://localhost:{port}"
    for environment, said in (
        ({}, "not reachable without a proxy (HTTPS_PROXY is not set) ("),
        (
            {"HTTPS_PROXY": f"http://u:hunter2@127.0.0.1:{port}"},
            f"through the proxy http://127.0.0.1:{port} of HTTPS_PROXY (the proxy cannot be",
        ),
        (
            {"HTTPS_PROXY": "http://u:hunter2@127.0.0.1:9", "NO_PROXY": "localhost"},
            "not reachable without a proxy (NO_PROXY exempts it by 'localhost')",
        ),
        (
            {"HTTPS_PROXY": f"http://127.0.0.1:{port}", "NO_PROXY": "localhost:8443"},
            "'localhost:8443' does not exempt it",
        ),
    ):
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            text = refusal(ask, url, authority.certificate_file)
        assert said in text
        assert "hunter2" not in text


def test_a_proxy_over_https_carries_tls_in_tls(
    ask: Asking,
    serving: Serving,
    authority: Certified,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    company = certify(tmp_path, "company")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certify(tmp_path, "proxy", company).files)
    proxy = ForwardProxy(user="alice:s3cret")
    with serving() as url, forward_proxy(proxy, context):
        monkeypatch.setenv("HTTPS_PROXY", f"https://alice:s3cret@{proxy.address}")
        assert "no TLS with the proxy: certificate verify failed" in refusal(
            ask, url, authority.certificate_file
        )
        assert proxy.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(company.certificate_file))
        ask(url, authority.certificate_file)
        assert b"/v1/" not in proxy.seen
        # The company's root opens the way to the proxy alone.
        other = certify(tmp_path, "other")
        assert "certificate verify failed" in refusal(ask, url, other.certificate_file)


def test_large_bodies_go_both_ways_through_tls_in_tls(
    authority: Certified, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Echo(Handler):
        def do_POST(self) -> None:
            self.answer(self.body()[::-1])

    body = bytes(range(256)) * 8192  # 2 MiB, more than any buffer on the way
    shown = _shows(tmp_path, authority, "localhost")
    trust = read_trust(authority.certificate_file)
    with http_server(Echo, shown) as url, forward_proxy(proxy := ForwardProxy(), shown):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        connections = HttpConnections(url, trust=trust)
        with contextlib.closing(connections):
            for _ in range(2):
                answer = connections.send(
                    "POST",
                    "/v1/x",
                    headers={},
                    body=body,
                    answer_seconds=30,
                    answer_bytes=len(body),
                )
                assert answer.content == body[::-1]
    assert len(proxy.asked) == 1, "the connection was kept"


class _Dripping(Handler):
    def do_CONNECT(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.connection.settimeout(0.02)
            self.connection.sendall(b"\x16\x03\x03\x40\x00")  # a record of TLS begins
            while True:
                self.connection.sendall(b"\x02")
                with contextlib.suppress(TimeoutError):
                    if not self.connection.recv(65536):
                        return


@pytest.mark.parametrize("over", ["http", "https"])
def test_a_byte_now_and_then_does_not_hold_a_handshake(
    authority: Certified, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, over: str
) -> None:
    """The deadline is one for the whole way, also inside the TLS with a proxy."""
    monkeypatch.setattr("fraudfed.http.connections._CONNECT_SECONDS", 0.3)
    context = _shows(tmp_path, authority, "localhost") if over == "https" else None
    with http_server(_Dripping, context) as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        connections = HttpConnections(
            f"https://{NAMED}:8443", trust=read_trust(authority.certificate_file)
        )
        with contextlib.closing(connections), pytest.raises(OSError):
            connections.send("GET", "/", headers={}, body=None, answer_seconds=0.3, answer_bytes=10)


def test_errors_of_tls_name_host_proxy_and_roots(
    ask: Asking,
    serving: Serving,
    authority: Certified,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    other = certify(tmp_path, "other").certificate_file
    with serving() as url, forward_proxy(proxy := ForwardProxy()):
        text = refusal(ask, url, other)
        assert f"{url}: aggregator not reachable without a proxy" in text
        assert f"held against the roots of {other} (--ca-file)); give the root" in text
        assert "held against the system's roots)" in refusal(ask, url, None)
        monkeypatch.setenv("SSL_CERT_FILE", str(other))
        assert f"the system's roots and those of {other} (SSL_CERT_FILE)" in refusal(ask, url, None)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate_file))
        ask(url, None)
        by_number = url.replace("localhost", "127.0.0.1")
        assert "call it by a name that its certificate holds" in refusal(ask, by_number, None)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        text = refusal(ask, url, other)
        assert f"through the proxy {proxy.url} of HTTPS_PROXY (certificate verify failed" in text
        assert "if the proxy opens TLS" in text
    with http_server(_Aggregator) as plain:
        monkeypatch.delenv("HTTPS_PROXY")
        text = refusal(ask, plain.replace("http:", "https:"), None)
        assert "check that https is served at this port" in text


def test_a_bundle_is_read_whole_or_refused(
    ask: Asking, serving: Serving, authority: Certified, tmp_path: Path
) -> None:
    pem = authority.certificate_file.read_text()
    others = "".join(certify(tmp_path, f"o{n}").certificate_file.read_text() for n in range(3))
    bundle = tmp_path / "bundle.pem"
    whole = {
        "last": others + pem,
        "first": pem + others,
        "remarks": f"# Wurzel für Müller\nissuer=x\n{others}\n\n# ours\n{pem}",
        "dos": (others + pem).replace("\n", "\r\n"),
        "mark": "\ufeff" + pem + others,
        "twice": pem + pem,
        "key": others + authority.key_file.read_text() + pem,
    }
    with serving() as url:
        for text in whole.values():
            bundle.write_bytes(text.encode())
            ask(url, bundle)
        broken = {
            "cut": others + pem[:200],
            "indented": others + "  " + pem.replace("\n", "\n  "),
            "one line": others.rstrip() + pem,
            "damaged": others + pem.replace(pem.splitlines()[2], "!" * 64),
            "empty": "",
            "key": authority.key_file.read_text(),
        }
        for text in broken.values():
            bundle.write_bytes(text.encode())
            with pytest.raises(
                ConfigurationError, match=r"bundle\.pem: cannot be used as --ca-file"
            ):
                ask(url, bundle)


def test_a_file_of_ssl_cert_file_that_cannot_be_used_is_an_error(
    ask: Asking, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """OpenSSL says nothing, and no certificate would be valid."""
    (tmp_path / "text.pem").write_text("no certificate")
    for name in ("none.pem", "text.pem"):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
        with pytest.raises(ConfigurationError, match=f"{name}: cannot be used as SSL_CERT_FILE"):
            ask("https://localhost:9", None)


def test_localhost_that_is_another_machine_is_not_called_over_plain_http(
    ask: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a resolver or a hosts file can make it."""

    class Elsewhere:
        def getpeername(self) -> tuple[str, int]:
            return ("192.0.2.7", 80)

        def setsockopt(self, *_: int) -> None:
            """Nothing to set."""

        def close(self) -> None:
            """Nothing to close."""

        def sendall(self, _data: object) -> None:
            pytest.fail("something was sent")

    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: Elsewhere())
    assert "localhost is 192.0.2.7 here" in refusal(ask, "http://localhost:8765", None)


def test_every_kind_of_failure_says_the_way(authority: Certified) -> None:
    connections = HttpConnections(f"https://{NAMED}", trust=read_trust(authority.certificate_file))
    for error in (
        ConnectionRefusedError(111, "Connection refused"),
        TimeoutError("timed out"),
        socket.gaierror(-2, "Name or service not known"),
        http.client.RemoteDisconnected("gone"),
        ssl.SSLError(1, "[SSL: X] x"),
        OSError(),
    ):
        text = unreachable(connections.route, error)
        assert text.startswith(f"https://{NAMED}: aggregator not reachable without a proxy")
        assert text.count("; ") == 1
