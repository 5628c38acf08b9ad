"""Secrets on the way through a company's network: a proxy's password, an operator's token.

Real processes, a real proxy that asks who calls, real TLS. Whatever is written on the way, in good
and in bad cases and with the most talkative log, is searched for the secrets in every encoding in
which they travel.
"""

import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock
from urllib.parse import quote

import pytest
from examples.certificates import Certified, certify
from federations.server_process import ServerProcess, run_command, write_secret
from proxies.forward import ForwardProxy, forward_proxy

from aggregator.service.state_directory import StateDirectory
from fraudfed.http.route import Proxy

pytestmark = pytest.mark.e2e

HOST = "agg.corp.example"
USER, PASSWORD = "alice", "pa:ss/w@rd#9"
BIN = Path(sys.executable).parent


def encodings(password: str) -> list[str]:
    """Return every text in which the password travels."""
    pair = base64.b64encode(f"{USER}:{password}".encode()).decode()
    return [password, quote(password, safe=""), pair]


@dataclass(frozen=True)
class Site:
    """An aggregator under a name that the proxy alone can resolve."""

    server: ServerProcess
    proxy: ForwardProxy
    state: StateDirectory
    authority: Certified

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.server.port}"

    def environment(self, password: str) -> dict[str, str]:
        named = f"http://{USER}:{quote(password, safe='')}@{self.proxy.address}"
        kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        return {**kept, "HTTPS_PROXY": named, "NO_PROXY": "10.0.0.0/8"}

    def join(self, directory: Path, invite: str) -> list[str]:
        return [
            *("--log-level", "debug", "join", "--state", str(directory), "--name", "alder-bank"),
            *("--aggregator", self.url, "--invite", invite),
            *("--ca-file", str(self.authority.certificate_file)),
        ]

    def operate(self, *arguments: str) -> list[str]:
        token = str(self.state.operator_token)
        roots = str(self.authority.certificate_file)
        return [*arguments, "--url", self.url, "--token-file", token, "--ca-file", roots]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    state = StateDirectory(tmp_path / "aggregator")
    state.create()
    authority = certify(tmp_path, "authority")
    certificate, key = certify(tmp_path, "server", authority, host=HOST).files
    options = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    proxy = ForwardProxy(user=f"{USER}:{PASSWORD}")
    with ServerProcess(state.path, options=options) as server, forward_proxy(proxy):
        proxy.places = {f"{HOST}:{server.port}": ("127.0.0.1", server.port)}
        yield Site(server, proxy, state, authority)
        assert server.stop() == 0
    assert "Traceback" not in server.log()


def run_here(arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Return exit code and all that is printed by a command of the operator."""
    with mock.patch.dict(os.environ, environment, clear=True):
        done = run_command(*arguments)
    return done.returncode, done.stdout + done.stderr


def run_bank(arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Return exit code and all that is printed by a bank's real process."""
    done = subprocess.run(
        [str(BIN / "bank-node"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def written_below(directory: Path) -> bytes:
    return b"\0".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


def test_a_proxys_password_and_a_token_are_nowhere_but_where_they_belong(
    site: Site, tmp_path: Path
) -> None:
    good, bad = site.environment(PASSWORD), site.environment("wr@ng/9")
    printed = []
    asking = site.operate("invites", "create", "--name", "alder-bank", "--json")
    code, said = run_here(asking, good)
    assert code == 0, said
    invite = re.search(r'"code": ?"([^"]+)"', said)[1]  # type: ignore[index]
    printed.append(said)
    refused, said = run_bank(site.join(tmp_path / "bank", invite), bad)
    assert refused == 6
    assert f"through the proxy {site.proxy.url} of HTTPS_PROXY (the proxy refuses user" in said
    printed.append(said)
    code, said = run_bank(site.join(tmp_path / "bank", invite), good)
    assert code == 0, said
    printed.append(said)
    code, said = run_here(site.operate("banks", "list", "--json"), bad)
    assert code == 6
    printed.append(said)
    # Every call asked the proxy, and said who it is.
    assert set(site.proxy.targets) == {f"{HOST}:{site.server.port}"}
    assert all("proxy-authorization" in headers for _, headers in site.proxy.asked)
    for secret in (*encodings(PASSWORD), *encodings("wr@ng/9")):
        assert secret not in "".join(printed)
        assert secret.encode() not in written_below(tmp_path / "bank")
        assert secret.encode() not in written_below(site.state.path)
    token = site.state.operator_token.read_text().strip()
    assert token not in "".join(printed)
    assert token.encode() not in written_below(tmp_path / "bank")
    # What the proxy carried it could not read.
    assert token.encode() not in site.proxy.seen
    assert b"/v1/" not in site.proxy.seen


def test_control_a_proxy_that_is_printed_whole_gives_the_password_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Proxy, "__str__", lambda proxy: f"{proxy.host} {proxy.authorization}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    write_secret(tmp_path / "token", "a-token")
    options = ("--url", f"https://{HOST}", "--token-file", str(tmp_path / "token"))
    with forward_proxy(proxy := ForwardProxy(user="somebody:else")):
        named = f"http://{USER}:{quote(PASSWORD, safe='')}@{proxy.address}"
        monkeypatch.setenv("https_proxy", named)
        done = run_command("banks", "list", *options)
    assert done.returncode == 6, done.stderr
    assert encodings(PASSWORD)[-1] in done.stderr
