"""An aggregator under a path of its host: behind a proxy that takes the prefix away, or leaves it.

The service, its commands and the bank's are real; what stands between them is a real proxy.
"""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from federations.commands import run_in_process
from federations.fake_banks import DocumentedClient, Federation, HttpCall, TestKey, sum_round
from federations.server_process import ServerProcess, assert_fails, run_command
from proxies.reverse import PrefixProxy

from aggregator.config import ServiceConfig
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from bank_node.cli import main as bank_node
from fraudfed.errors import ConfigurationError
from fraudfed.http.address import check_prefix

pytestmark = pytest.mark.e2e

HEALTHCHECK = Path(__file__).parents[2] / "deploy" / "healthcheck.py"
#: What a proxy says where it stands, and what a stranger could say as well.
_CLAIMS = (
    "X-Forwarded-Prefix: /elsewhere\r\nX-Script-Name: /elsewhere\r\n"
    "SCRIPT_NAME: /v1\r\nPATH_INFO: /v1/health\r\nX-Original-URI: /v1/health\r\n"
)


@dataclass(frozen=True)
class Site:
    """A running aggregator and the proxy under whose path it stands."""

    server: ServerProcess
    proxy: PrefixProxy
    state: StateDirectory

    @property
    def url(self) -> str:
        return self.proxy.url

    def operate(self, *arguments: str) -> str:
        """Run a command of the operator to its good end, and return what it prints."""
        token = str(self.state.operator_token)
        done = run_command(*arguments, "--url", self.url, "--token-file", token)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(
    params=[("/fraudfed", True), ("/one/two-2/v1", False)],
    ids=["taken away", "left"],
)
def site(request: pytest.FixtureRequest, state: StateDirectory) -> Iterator[Site]:
    prefix, strips = request.param
    options = () if strips else ("--path-prefix", prefix)
    # gunicorn would take this for a prefix, too.
    environment = {"SCRIPT_NAME": "/v1"}
    with ServerProcess(state.path, options=options, environment=environment) as server:
        upstream = server.url.removesuffix(prefix)
        with PrefixProxy(upstream, prefix, strips=strips, added=_CLAIMS) as proxy:
            yield Site(server, proxy, state)
        assert server.stop() == 0
    assert "Traceback" not in server.log()


def test_rounds_and_commands_under_a_path(site: Site, key: TestKey, tmp_path: Path) -> None:
    """Whatever headers claim of the path, from a proxy of this machine or from a caller."""
    _sum_and_replay(site, key)
    _run_commands(site, tmp_path)


def _sum_and_replay(site: Site, key: TestKey) -> None:
    call = HttpCall(site.url)
    federation = Federation(call, site.state.operator_token.read_text().strip(), key)
    banks = federation.start()
    assert sum_round(banks, 0, [[1], [2], [3]]) == [6]
    # Signed is the path behind the prefix: with it, the signature is of another request.
    prefix = httpx.URL(site.url).path
    assert prefix.startswith("/")
    path = "/v1/roster"
    wrong = banks[0].signed_headers("GET", prefix + path, body=None, headers={})
    assert call("GET", path, headers=wrong).status == 401
    good = banks[0].signed_headers("GET", path, body=None, headers={})
    assert call("GET", path, headers=good).status == 200
    # A nonce is taken once, by whichever way it comes.
    assert call("GET", path, headers=good).status == 401
    straight = HttpCall(site.server.url)
    assert straight("GET", path, headers=good).status == 401
    for each in (call, straight):
        each.http.close()


def _run_commands(site: Site, tmp_path: Path) -> None:
    code = site.operate("invites", "create", "--name", "alder-bank").split()[-1]
    directory = str(tmp_path / "bank")
    url = site.url + "/"  # as people write it
    options = ("--name", "alder-bank", "--aggregator", url, "--invite", code)
    joined = run_in_process(bank_node, "bank-node", "join", "--state", directory, *options)
    assert joined.returncode == 0, joined.stderr
    assert f"at {site.url};" in joined.stdout
    assert "alder-bank" in site.operate("banks", "list")
    for command in (("runs", "list"), ("roster",), ("audit", "verify", "--against-aggregator")):
        done = run_in_process(bank_node, "bank-node", *command, "--state", directory)
        assert done.returncode == 0, done.stderr
    # The bank writes down what it signs, the aggregator what it serves: one path.
    written = (tmp_path / "bank" / "audit.log").read_text().splitlines()
    paths = {json.loads(line).get("path") for line in written} - {None}
    assert {"/v1/banks", "/v1/roster"} <= paths
    assert "path=/v1/banks status=201" in site.server.log()


def test_outside_its_prefix_the_service_says_where_it_stands(state: StateDirectory) -> None:
    with ServerProcess(state.path, options=("--path-prefix", "/fraudfed")) as server:
        assert state.url_file.read_text().strip() == server.url
        assert server.url.endswith("/fraudfed")
        host = server.url.removesuffix("/fraudfed")
        for path in ("/v1/health", "/fraudfed", "/fraudfedx/v1/health", "//fraudfed/v1/health"):
            answer = httpx.get(host + path)
            assert answer.status_code == 404, path
            assert "stands under /fraudfed (--path-prefix); call" in answer.json()["detail"]
        assert _raw_status(server.port, "/fraudfed/../v1/health") == 404
        command = [sys.executable, str(HEALTHCHECK), "--state", str(state.path)]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout
        token = ("--token-file", str(state.operator_token))
        assert_fails(run_command("banks", "list", "--url", host, *token), 8, "stands under")
        server.stop()


def _raw_status(port: int, target: str) -> int:
    """Return the status of an address that httpx would clean."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", target)
        return connection.getresponse().status
    finally:
        connection.close()


PREFIXES = [
    "/a//b",
    "//a",
    "a",
    "/a%20b",
    "/a/",
    "/",
    "/a/../b",
    "/.",
    "/a b",
    "/ä",
    "/a?b",
    "/a;b",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_that_a_proxy_may_change_is_refused_before_anything_starts(
    state: StateDirectory, prefix: str
) -> None:
    result = run_command("serve", "--state", str(state.path), "--path-prefix", prefix)
    assert_fails(result, 2, "path_prefix", "no '//', no '%'")
    assert not state.url_file.exists()


@pytest.mark.parametrize("prefix", ["", "/fraudfed", "/a/b_c/d.e~f-1"])
def test_prefixes_that_are_taken(prefix: str) -> None:
    assert check_prefix(prefix, what="") == prefix
    assert ServiceConfig(path_prefix=prefix).path_prefix == prefix


def test_a_prefix_that_a_header_claims_is_not_added_to_what_is_verified(
    store: Store, key: TestKey
) -> None:
    """A request that is signed for another path than it is sent to."""
    app = create_app(ServiceConfig(), store, Waiters())
    bank = Federation(DocumentedClient(app), "", key).stranger("bank-a")
    headers = bank.signed_headers("GET", "/elsewhere/v1/roster", body=None, headers={})
    claimed = {**headers, "X-Forwarded-Prefix": "/elsewhere"}
    assert bank.call("GET", "/v1/roster", headers=claimed).status == 401


def test_a_service_without_its_prefix_says_what_is_missing(store: Store) -> None:
    call = DocumentedClient(create_app(ServiceConfig(), store, Waiters()))
    answer = call("GET", "/one/two/v1/health", check=False)
    assert answer.problem() == (404, "not-found")
    assert "stands under /one/two, serve with --path-prefix" in answer.json()["detail"]
    assert "see /v1/openapi.json" in call("GET", "/v1/x", check=False).json()["detail"]


def test_what_is_no_prefix_is_an_error_of_settings() -> None:
    with pytest.raises(ConfigurationError, match="path '/a%2Fb' is no prefix"):
        check_prefix("/a%2Fb", what="path")
