"""The operator's client against servers, proxies and files that want its token."""

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from examples.certificates import Certified, certify
from federations.server_process import assert_fails, run_command, write_secret
from proxies.forward import ForwardProxy, forward_proxy, opening_proxy
from proxies.hostile import Answering, head, hostile_server

from aggregator.operator.client import OperatorClient, read_token
from fraudfed.errors import ConfigurationError, FraudFedError, ProtocolError, TransportError

TOKEN = "the-operators-token"
MIB = 1024 * 1024


@pytest.mark.parametrize(
    "url",
    [
        "http://aggregator.example:8765",
        "http://127.0.0.1.example.org",
        "http://localhost@example.org",
        "https://user:hunter2@example.org",
        "ftp://localhost",
        "localhost:8765",
        "https://example.org/?a=1",
        "https://exa mple.org",
        "",
    ],
)
def test_a_token_goes_to_no_address_that_a_bank_would_not_call(url: str) -> None:
    with pytest.raises(ConfigurationError) as failure:
        OperatorClient(url, TOKEN)
    assert "hunter2" not in str(failure.value)


def test_control_without_the_rule_of_addresses_a_token_goes_in_the_clear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fraudfed.http.address._is_loopback", lambda host: True)
    OperatorClient("http://aggregator.example:8765", TOKEN)


def test_an_address_of_the_environment_has_the_same_rules(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_secret(tmp_path / "token", TOKEN)
    monkeypatch.setenv("AGGREGATOR_TOKEN_FILE", str(tmp_path / "token"))
    for url in ("http://192.0.2.1:8765", "http://agg.example", "https://u:p@agg.example"):
        monkeypatch.setenv("AGGREGATOR_URL", url)
        result = run_command("banks", "list")
        assert_fails(result, 2, "aggregator URL")
    monkeypatch.setenv("AGGREGATOR_URL", "https://agg.example")
    monkeypatch.setenv("ALL_PROXY", "socks5h://user:hunter2@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.org")
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    result = run_command("banks", "list")
    assert_fails(result, 2, "ALL_PROXY", "socks5h")
    assert "hunter2" not in result.stderr


@contextmanager
def _own_proxy(directory: Path) -> Iterator[tuple[str, Certified, list[bytes]]]:
    """Give a proxy that opens TLS: its address, the authority of what it shows, what it reads."""
    authority = certify(directory, "company")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certify(directory, "opener", authority).files)
    heard: list[bytes] = []
    with opening_proxy(context, heard) as url:
        yield url, authority, heard


def _ask_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, *, trusting: bool
) -> list[bytes]:
    """Return what a proxy that opens TLS reads of a request."""
    with _own_proxy(tmp_path) as (address, authority, heard):
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, address)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        roots = authority if trusting else certify(tmp_path, "consortium")
        with (
            OperatorClient(url, TOKEN, ca_file=roots.certificate_file) as client,
            pytest.raises(TransportError),
        ):
            client.list_runs()
    return heard


def test_a_proxy_that_opens_tls_reads_no_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert _ask_through(monkeypatch, tmp_path, "https://localhost:1", trusting=False) == []


def test_control_a_proxy_whose_root_is_trusted_reads_the_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (heard,) = _ask_through(monkeypatch, tmp_path, "https://localhost:1", trusting=True)
    assert TOKEN.encode() in heard


def test_a_token_on_this_machine_goes_through_no_proxy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"http://localhost:{port}"
    with forward_proxy(seeing := ForwardProxy()):
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, seeing.url)
        with OperatorClient(url, TOKEN) as client, pytest.raises(TransportError):
            client.list_runs()
    assert seeing.asked == []
    assert seeing.seen == b""


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_token_follows_no_redirect(status: int) -> None:
    with (
        hostile_server(lambda sock, _: sock.sendall(head(Content_Length=0))) as other,
        hostile_server(
            lambda sock, _: sock.sendall(head(f"{status} Go", Location=other.url, Content_Length=0))
        ) as first,
        OperatorClient(first.url, TOKEN) as client,
        pytest.raises(ProtocolError, match=f"status {status} and leads to {other.url}"),
    ):
        client.list_runs()
    assert len(first.requests) == 1
    assert other.requests == []


def _without_end(sock: socket.socket, _request: bytes) -> None:
    sock.sendall(head())
    while True:
        sock.sendall(b" " * MIB)


TOO_MUCH: dict[str, tuple[Answering, str]] = {
    "without end": (_without_end, "above the 2097152 bytes"),
    "announced": (lambda sock, _: sock.sendall(head(Content_Length=10**10)), "announces more"),
    "compressed": (
        lambda sock, _: sock.sendall(head(Content_Encoding="gzip", Content_Length=2) + b"\x1f\x8b"),
        "compressed",
    ),
    "nested": (
        lambda sock, _: sock.sendall(head(Content_Length=MIB) + b"[" * MIB),
        "recursion limit",
    ),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_an_answer_to_an_operator_is_bounded_too(case: str) -> None:
    answering, message = TOO_MUCH[case]
    with (
        hostile_server(answering) as server,
        OperatorClient(server.url, TOKEN) as client,
        pytest.raises(ProtocolError, match=message) as failure,
    ):
        client.roster()
    assert "\n" not in str(failure.value)


def test_an_answer_to_an_operator_has_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.operator.client._ANSWER_SECONDS", 0.4)

    def drip(sock: socket.socket, _request: bytes) -> None:
        sock.sendall(head(Content_Length=1000))
        sock.settimeout(0.1)
        while True:
            sock.sendall(b" ")
            try:
                if not sock.recv(1):
                    return
            except TimeoutError:
                pass

    with (
        hostile_server(drip) as server,
        OperatorClient(server.url, TOKEN) as client,
        pytest.raises(TransportError, match=r"in time|timed out"),
    ):
        client.roster()


def test_a_problem_document_cannot_repaint_the_operators_terminal() -> None:
    body = json.dumps(
        {
            "type": "urn:fraudfed:problem:conflict",
            "title": "t",
            "status": 409,
            "detail": "\x1b[2J\nerror: none\u202e",
        }
    ).encode()
    answering = head("409 C", "application/problem+json", Content_Length=len(body)) + body
    with (
        hostile_server(lambda sock, _: sock.sendall(answering)) as server,
        OperatorClient(server.url, TOKEN) as client,
        pytest.raises(FraudFedError) as failure,
    ):
        client.roster()
    assert str(failure.value) == r"\x1b[2J\x0aerror: none\u202e"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    write_secret(path, TOKEN)
    assert read_token(path) == TOKEN
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"mode {mode:04o}.*chmod 600"):
        read_token(path)
