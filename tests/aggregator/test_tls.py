"""TLS by configuration: certificate, key, and optionally certificates of the clients."""

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from federations.fake_banks import TestKey, sum_round
from federations.server_process import ServerProcess, run_command

from aggregator.config import ServiceConfig
from aggregator.service.server import tls_context
from aggregator.service.state_directory import StateDirectory
from fraudfed.errors import ConfigurationError

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test, and what it has signed."""

    directory: Path
    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def create(cls, directory: Path, name: str) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, name, key, key, is_authority=True)
        authority = cls(directory, name, key, certificate)
        authority.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return authority

    @property
    def file(self) -> Path:
        return self.directory / f"{self.name}.pem"

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate for 127.0.0.1 and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, self.name, key, self.key, is_authority=False)
        paths = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths


def _certificate(
    name: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        # Python 3.13 checks strictly (RFC 5280): key identifiers, and a key usage of authorities.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(signer, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("authority"), "root")


def test_a_round_over_https(state: StateDirectory, key: TestKey, authority: Authority) -> None:
    certificate, private = authority.issue("server")
    options = ("--tls-certificate", str(certificate), "--tls-key", str(private))
    trusting = ssl.create_default_context(cafile=authority.file)
    with ServerProcess(state.path, options=options, verify=trusting) as server:
        assert server.url.startswith("https://")
        banks = server.federation(state.path, key).start()
        assert sum_round(banks, 0, [[1], [2], [3]]) == [6]
        # Nobody is served who does not speak TLS, or answered who does not trust the root.
        with pytest.raises(httpx.TransportError):
            httpx.get(server.url.replace("https", "http") + "/v1/health")
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url + "/v1/health")
        login = ["--url", server.url, "--token-file", str(state.operator_token)]
        assert run_command("runs", "list", *login).returncode == 6
        trusted = run_command("runs", "list", *login, "--ca-file", str(authority.file))
        assert trusted.returncode == 0, trusted.stderr
        assert server("GET", "/v1/health").status == 200
        assert server.stop() == 0
    assert "Traceback" not in server.log()


def test_clients_show_a_certificate_when_asked(
    state: StateDirectory, authority: Authority, tmp_path: Path
) -> None:
    certificate, private = authority.issue("server")
    options = ["--tls-certificate", str(certificate), "--tls-key", str(private)]
    options += ["--client-ca", str(authority.file)]
    client = authority.issue("bank-a")
    stranger = Authority.create(tmp_path, "other").issue("bank-a")

    def trusting(files: tuple[Path, Path] | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=authority.file)
        if files is not None:
            context.load_cert_chain(*files)
        return context

    verify = trusting(client)
    with ServerProcess(state.path, options=tuple(options), verify=verify) as server:
        assert server("GET", "/v1/health").status == 200
        for files in (None, stranger):
            with pytest.raises(httpx.TransportError):
                httpx.get(server.url + "/v1/health", verify=trusting(files))
        both = tmp_path / "both.pem"
        both.write_bytes(client[0].read_bytes() + client[1].read_bytes())
        login = ["--url", server.url, "--token-file", str(state.operator_token)]
        login += ["--ca-file", str(authority.file)]
        assert run_command("runs", "list", *login).returncode == 6
        shown = run_command("runs", "list", *login, "--client-certificate", str(both))
        assert shown.returncode == 0, shown.stderr
    assert "Traceback" not in server.log()


def test_unusable_certificates_are_one_line(
    state: StateDirectory, authority: Authority, tmp_path: Path
) -> None:
    certificate, private = authority.issue("server")
    _, other_key = authority.issue("other")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        serialization.load_pem_private_key(private.read_bytes(), None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    for files in (
        {"tls_certificate": tmp_path / "none"},
        {"tls_certificate": empty},
        {"tls_certificate": certificate},
        {"tls_certificate": certificate, "tls_key": other_key},
        {"tls_certificate": certificate, "tls_key": locked},
        {"tls_certificate": certificate, "tls_key": private, "client_ca": empty},
        {"tls_certificate": certificate, "tls_key": private, "client_ca": tmp_path / "none"},
    ):
        with pytest.raises(ConfigurationError, match="cannot be used"):
            tls_context(ServiceConfig.model_validate(files))
    assert tls_context(ServiceConfig()) is None
    result = run_command("serve", "--state", str(state.path), "--tls-key", str(private))
    assert result.returncode == 2
    assert "need tls_certificate" in result.stderr
    assert result.stderr.count("\n") == 1
