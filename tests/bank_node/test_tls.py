"""https with an authority of one's own, and client certificates, against a real TLS server."""

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization
from examples.certificates import Certified, certify
from proxies.server import Handler, http_server

from bank_node.config import TlsFiles
from bank_node.http.client import AggregatorClient
from bank_node.http.retry import RetryPolicy
from fraudfed.errors import ConfigurationError, TransportError

HEALTH = b'{"status":"ok","version":"1"}'


class _Health(Handler):
    def do_GET(self) -> None:
        self.answer(HEALTH)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Certified:
    return certify(tmp_path_factory.mktemp("ca"), "authority", None)


@pytest.fixture(scope="module")
def make_server(tmp_path_factory, authority) -> Iterator[object]:
    server_pair = certify(tmp_path_factory.mktemp("server"), "server", authority)
    running = contextlib.ExitStack()

    def make(*, ask_client: bool) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server_pair.certificate_file, server_pair.key_file)
        if ask_client:
            context.load_verify_locations(authority.certificate_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return running.enter_context(http_server(_Health, context))

    with running:
        yield make


def health(url: str, **files: Path) -> str:
    tls = TlsFiles(**{name: str(path) for name, path in files.items()})
    with AggregatorClient(url, tls=tls, retry=RetryPolicy(patience_seconds=0.3)) as client:
        return client.health().status


def test_an_authority_of_ones_own_is_trusted_and_no_other(make_server, authority, tmp_path) -> None:
    url = make_server(ask_client=False)
    assert health(url, ca_file=authority.certificate_file) == "ok"
    with pytest.raises(TransportError, match="certificate verify failed"):
        health(url)
    other = certify(tmp_path, "other", None)
    with pytest.raises(TransportError, match="certificate verify failed"):
        health(url, ca_file=other.certificate_file)
    by_number = url.replace("localhost", "127.0.0.1")
    with pytest.raises(TransportError, match="certificate verify failed"):
        health(by_number, ca_file=authority.certificate_file)


def test_a_client_certificate_is_shown_if_it_is_asked_for(make_server, authority, tmp_path) -> None:
    url = make_server(ask_client=True)
    bank = certify(tmp_path, "bank", authority)
    pair = {"client_certificate": bank.certificate_file, "client_key": bank.key_file}
    assert health(url, ca_file=authority.certificate_file, **pair) == "ok"
    with pytest.raises(TransportError):
        health(url, ca_file=authority.certificate_file)


def test_files_that_cannot_be_used_are_named(authority, tmp_path) -> None:
    url = "https://localhost:9"
    (tmp_path / "text").write_text("no certificate")
    other = certify(tmp_path, "other", authority)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        other.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    for files, named in (
        ({"ca_file": tmp_path / "none"}, "none"),
        ({"ca_file": tmp_path / "text"}, "text"),
        (
            {"client_certificate": authority.certificate_file, "client_key": other.key_file},
            "client certificate",
        ),
        (
            {"client_certificate": other.certificate_file, "client_key": encrypted},
            "not encrypted",
        ),
    ):
        with pytest.raises(ConfigurationError, match=named):
            health(url, **files)


class _Proxy(Handler):
    """Passes on what it cannot read: CONNECT, then bytes in both directions."""

    def do_CONNECT(self) -> None:
        self.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as upstream:
            self.send_response(200)
            self.end_headers()
            pair = [(self.connection, upstream), (upstream, self.connection)]
            threads = [threading.Thread(target=self.copy, args=ends) for ends in pair]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def copy(self, source: socket.socket, target: socket.socket) -> None:
        # Either end may hang up at any time.
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.seen.append(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy() -> Iterator[SimpleNamespace]:
    asked, seen = [], []
    with http_server(type("Proxy", (_Proxy,), {"asked": asked, "seen": seen})) as url:
        yield SimpleNamespace(asked=asked, seen=seen, server_port=int(url.rpartition(":")[2]))


def test_https_goes_through_the_proxy_of_the_environment(
    make_server, authority, proxy, monkeypatch
) -> None:
    url = make_server(ask_client=False)
    at = f"127.0.0.1:{proxy.server_port}"
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("https_proxy", f"http://user:p%40ss@{at}")
    assert health(url, ca_file=authority.certificate_file) == "ok"
    credentials = "Basic " + base64.b64encode(b"user:p@ss").decode()
    assert proxy.asked == [(url.removeprefix("https://"), credentials)]
    # The proxy sees TLS, and no request.
    assert proxy.seen
    assert b"/v1/health" not in b"".join(proxy.seen)
    with pytest.raises(TransportError, match="certificate verify failed"):
        health(url)
    monkeypatch.setenv("no_proxy", "localhost")
    asked = len(proxy.asked)
    assert health(url, ca_file=authority.certificate_file) == "ok"
    assert len(proxy.asked) == asked


def test_a_proxy_that_cannot_be_used_is_refused(monkeypatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("https_proxy", "socks5://user:hunter2@127.0.0.1:1080")
    with pytest.raises(ConfigurationError, match="socks5") as failure:
        health("https://localhost:9")
    assert "hunter2" not in str(failure.value)


def test_loopback_without_tls_goes_through_no_proxy(proxy, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with http_server(_Health) as url:
        assert health(url) == "ok"
    assert proxy.asked == []
