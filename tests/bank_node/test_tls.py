"""https with an authority of one's own, and client certificates, against a real TLS server."""

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

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
