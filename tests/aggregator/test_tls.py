"""TLS by configuration: certificate, key, and optionally certificates of the clients."""

import ssl
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from examples.certificates import Certified, certify
from federations.fake_banks import HttpCall, TestKey, sum_round
from federations.server_process import ServerProcess, run_command

from aggregator.config import ServiceConfig
from aggregator.service.state_directory import StateDirectory
from fraudfed.errors import ConfigurationError
from fraudfed.http.server.listening import tls_context

pytestmark = pytest.mark.e2e

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return certify(tmp_path_factory.mktemp("authority"), "root", host=HOST)


def test_a_round_over_https(
    state: StateDirectory, key: TestKey, authority: Certified, tmp_path: Path
) -> None:
    certificate, private = certify(tmp_path, "server", authority, host=HOST).files
    options = ("--tls-certificate", str(certificate), "--tls-key", str(private))
    trusting = ssl.create_default_context(cafile=authority.certificate_file)
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
        trusted = run_command("runs", "list", *login, "--ca-file", str(authority.certificate_file))
        assert trusted.returncode == 0, trusted.stderr
        assert server("GET", "/v1/health").status == 200
        assert server.stop() == 0
    assert "Traceback" not in server.log()


def test_clients_show_a_certificate_when_asked(
    state: StateDirectory, authority: Certified, tmp_path: Path
) -> None:
    certificate, private = certify(tmp_path, "server", authority, host=HOST).files
    options = ["--tls-certificate", str(certificate), "--tls-key", str(private)]
    options += ["--client-ca", str(authority.certificate_file)]
    client = certify(tmp_path, "bank-a", authority).files
    stranger = certify(tmp_path, "stranger", certify(tmp_path, "other")).files

    def trusting(files: tuple[Path, Path] | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=authority.certificate_file)
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
        login += ["--ca-file", str(authority.certificate_file)]
        assert run_command("runs", "list", *login).returncode == 6
        shown = run_command("runs", "list", *login, "--client-certificate", str(both))
        assert shown.returncode == 0, shown.stderr
    assert "Traceback" not in server.log()


_WITHOUT_THE_CHECK = """\
import aggregator.api.handle as handle
handle.require_certificate_of = lambda bank, connection: None
"""


def _sends_with_anothers_certificate(
    state: StateDirectory,
    key: TestKey,
    authority: Certified,
    tmp_path: Path,
    environment: dict[str, str],
) -> list[int]:
    """Return the statuses of what bank-a sends: with its own certificate, and with bank-b's."""
    certificate, private = certify(tmp_path, "server", authority, host=HOST).files
    options = ["--tls-certificate", str(certificate), "--tls-key", str(private)]
    options += ["--client-ca", str(authority.certificate_file)]

    def trusting(name: str, host: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=authority.certificate_file)
        context.load_cert_chain(*certify(tmp_path, name, authority, host=host).files)
        return context

    verify = trusting("bank-a", "localhost")
    with ServerProcess(
        state.path, options=tuple(options), verify=verify, environment=environment
    ) as server:
        federation = server.federation(state.path, key)
        bank = federation.register("bank-a")
        statuses = [bank.request("GET", "/v1/roster").status]
        for name, host in (("bank-b", "localhost"), ("Bank-A", "bank-ab"), ("x", "bank-a")):
            other = HttpCall(server.url, verify=trusting(name, host))
            bank.call = other
            statuses.append(bank.request("GET", "/v1/roster").status)
            other.http.close()
        bank.call = server
        # A registration is bound as well; a token is its holder's, with any certificate.
        other_bank = federation.stranger("bank-c")
        statuses.append(other_bank.register(federation.invite("bank-c")).status)
        server.stop()
    assert "Traceback" not in server.log()
    return statuses


def test_a_client_certificate_is_its_banks(
    state: StateDirectory, key: TestKey, authority: Certified, tmp_path: Path
) -> None:
    """By the common name, or by a DNS name, and by no name that only resembles it."""
    found = _sends_with_anothers_certificate(state, key, authority, tmp_path, {})
    assert found == [200, 403, 403, 200, 403]


def test_control_without_the_comparison_any_certificate_passes(
    state: StateDirectory, key: TestKey, authority: Certified, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_WITHOUT_THE_CHECK)
    environment = {"PYTHONPATH": str(tmp_path)}
    found = _sends_with_anothers_certificate(state, key, authority, tmp_path, environment)
    assert found == [200] * 4 + [201]


def test_unusable_certificates_are_one_line(
    state: StateDirectory, authority: Certified, tmp_path: Path
) -> None:
    certificate, private = certify(tmp_path, "server", authority, host=HOST).files
    _, other_key = certify(tmp_path, "other", authority).files
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
        config = ServiceConfig.model_validate(files)
        with pytest.raises(ConfigurationError, match="cannot be used"):
            tls_context(config.tls_certificate, config.tls_key, config.client_ca)
    assert tls_context(None) is None
    result = run_command("serve", "--state", str(state.path), "--tls-key", str(private))
    assert result.returncode == 2
    assert "need tls_certificate" in result.stderr
    assert result.stderr.count("\n") == 1
