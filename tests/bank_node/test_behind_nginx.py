"""An aggregator of two workers on PostgreSQL behind a real nginx, under a path of its host.

One nginx with three servers: that of the documentation; one as a company's gateway may be, which
takes the path away, keeps no connection and waits for no answer; and one that takes small bodies.
"""

import json
import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pandas as pd
import pytest
from examples.certificates import certify
from federations import postgres
from federations.bank_process import finish
from federations.bank_states import Aggregator, Banks
from federations.postgres import Cluster
from federations.server_process import ServerProcess, run_command
from proxies import nginx

from bank_node.data.contract import load_training_rows
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.intake.windows import windows_by_share
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import AuditKey, RunState, parse

pytestmark = [pytest.mark.e2e, nginx.needs_nginx]

PREFIX = "/fraudfed"
#: Of the gateway, in seconds: any longer wait for other banks is cut.
READ_SECONDS = 2


@dataclass(frozen=True)
class Site:
    """A running aggregator, and the three ways to it."""

    server: ServerProcess
    documented: Aggregator
    gateway: Aggregator
    narrow: Aggregator


def gateway(port: int) -> str:
    """Return a proxy that takes the path away, with time-outs below a long poll's."""
    return f"""
    server {{
        listen 127.0.0.1:{port};
        keepalive_timeout 1s;
        client_max_body_size 0;
        location {PREFIX}/ {{
            proxy_pass http://aggregator/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-Prefix {PREFIX};
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_request_buffering on;
            proxy_next_upstream off;
            proxy_read_timeout {READ_SECONDS}s;
        }}
    }}
"""


def narrow(port: int) -> str:
    """Return the documented server with nginx's own least friendly limit of a body."""
    server = nginx.in_the_clear(nginx.documented_server(), port)
    return re.sub(r"client_max_body_size [^;]*;", "client_max_body_size 1k;", server)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with postgres.started() as found:
        yield found


@pytest.fixture(scope="module")
def site(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home, root = (tmp_path_factory.mktemp(name) for name in ("nginx", "aggregator"))
    state, settings = root / "state", root / "settings.json"
    assert run_command("init", "--state", str(state), "--database", cluster.url()).returncode == 0
    settings.write_text(json.dumps({"trusted_proxies": ["127.0.0.1"]}))
    options = ("--workers", "2", "--config", str(settings))
    with ServerProcess(state, group_options=("--quiet",), options=options) as server:
        ports = [nginx.free_port() for _ in range(3)]
        upstream = f"127.0.0.1:{server.port}"
        documented = nginx.in_the_clear(nginx.documented_server(), ports[0])
        # As the page has it, a service under a path knows its prefix; here one service stands
        # behind all three, so that the proxy takes it away.
        taken = "proxy_pass http://aggregator/;"
        servers = [documented, gateway(ports[1]), narrow(ports[2])]
        servers = [re.sub(r"proxy_pass http://[^;]*;", taken, one) for one in servers]
        configuration = nginx.around(*servers, upstream=upstream, home=home)
        with nginx.started(configuration, home, *ports):
            token = (state / "operator.token").read_text().strip()
            ways = [Aggregator(f"http://127.0.0.1:{port}{PREFIX}", token, root) for port in ports]
            yield Site(server, *ways)
            for way in ways:
                for client in way.clients:
                    client.close()
        assert server.stop() == 0
    assert "Traceback" not in server.log()


PARAMETERS = {"num_boost_round": 3, "max_depth": 2, "max_bin": 8, "early_stopping_rounds": 2}


def write_rows(directory: Path, make_rows) -> list[Path]:
    files = [directory / f"{seed}.parquet" for seed in range(3)]
    for seed, file in enumerate(files):
        make_rows(seed, n_rows=40 + 30 * seed).to_parquet(file)
    return files


def model_alone(files: list[Path], contract, directory: Path) -> bytes:
    """Return the model of all rows on one machine, without a service or a proxy."""
    pooled = directory / "pooled.parquet"
    pd.concat([pd.read_parquet(file) for file in files]).to_parquet(pooled)
    windows = windows_by_share(load_training_rows(pooled, contract).table, seed=0, select=True)
    params = BoosterParams.parse(PARAMETERS)
    return train(
        params, windows.train, SoloCommunicator(), validation=windows.validation
    ).model.to_json()


@pytest.mark.parametrize("way", ["documented", "gateway"])
def test_three_banks_train_through_nginx_to_the_model_of_the_pooled_rows(
    site: Site, key_package, make_rows, make_spec, contract, tmp_path: Path, way: str
) -> None:
    aggregator: Aggregator = getattr(site, way)
    banks = Banks(tmp_path, aggregator, key_package)
    spec = make_spec(banks.key_epoch.epoch, parameters=PARAMETERS)
    banks.run_id = aggregator.create_run(spec)
    files = write_rows(tmp_path, make_rows)
    processes = [
        banks.train(name, file) for name, file in zip(banks.names[:2], files, strict=False)
    ]
    if way == "gateway":
        # The two wait for the third longer than the gateway waits for an answer.
        time.sleep(2 * READ_SECONDS)
    processes.append(banks.train(banks.names[2], files[2]))
    ended = [finish(process, 300) for process in processes]
    assert [one.code for one in ended] == [0, 0, 0], [one.err for one in ended]
    # A connection that a proxy has closed, or an answer that it gave up, is nothing to tell of.
    lines = [json.loads(line) for one in ended for line in one.err.splitlines()]
    told = [line["message"] for line in lines if line["level"] in ("WARNING", "ERROR")]
    assert [one for one in told if not one.startswith("INSECURE: ")] == []
    status = aggregator.status(banks.run_id)
    assert status.state is RunState.FINISHED
    models = {
        (banks.state(name) / "runs" / banks.run_id / "model.json").read_bytes()
        for name in banks.names
    }
    assert models == {model_alone(files, contract, tmp_path)}


def test_the_api_document_says_where_a_trusted_proxy_has_the_service(site: Site) -> None:
    told = httpx.get(f"{site.gateway.url}/v1/openapi.json").json()["servers"]
    assert told == [{"url": PREFIX}]
    # The documented proxy adds nothing; and what a caller says is passed on, so it is not believed
    # where the proxy is not one that sets it: here it is a trusted one, and the prefix is checked.
    for claim, expected in (("/a//b", "/"), ("javascript:", "/"), ("/a%2f", "/")):
        headers = {"X-Forwarded-Prefix": claim}
        answer = httpx.get(f"{site.documented.url}/v1/openapi.json", headers=headers)
        assert answer.json()["servers"] == [{"url": expected}]


def test_pages_work_under_the_path(site: Site) -> None:
    """Redirects, links, files and cookies: a browser stays below the prefix."""
    with httpx.Client(follow_redirects=True) as browser:
        front = browser.get(f"{site.gateway.url}/")
        assert front.status_code == 200
        assert front.url.path == f"{PREFIX}/pages/sign-in"
        for name in ("style.css", "icon.svg"):
            assert browser.get(front.url.join(name)).status_code == 200
        hidden = re.search(r'name="form_token" value="([^"]+)"', front.text)
        assert hidden
        form = {"form_token": hidden[1], "token": site.gateway.operator_token}
        signed_in = browser.post(front.url.join("sign-in"), data=form)
        assert (signed_in.status_code, signed_in.url.path) == (200, f"{PREFIX}/pages/")
        paths = {cookie.path for cookie in browser.cookies.jar}
        assert paths == {f"{PREFIX}/pages"}
        assert not re.search(r'(?:href|src|action)="/', signed_in.text)


def test_a_body_above_the_proxys_limit_names_the_limit_and_its_setting(
    site: Site, key_package, make_spec, tmp_path: Path
) -> None:
    """Neither side's program is at fault: the message says whose setting it is."""
    banks = Banks(tmp_path, site.documented, key_package)
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(site.narrow.operator_token)
    spec = tmp_path / "spec.json"
    spec.write_text(make_spec(banks.key_epoch.epoch).model_dump_json())
    where = ("--url", site.narrow.url, "--token-file", str(token))
    refused = run_command("runs", "create", "--spec", str(spec), *where)
    assert refused.returncode == 8
    (error,) = [one for one in refused.stderr.splitlines() if one.startswith("error: ")]
    for words in (site.narrow.url, "HTTP 413", "nginx: client_max_body_size", "max_body_bytes"):
        assert words in error


def test_a_connection_that_a_proxy_has_closed_is_not_an_error(site: Site, tmp_path: Path) -> None:
    aggregator = site.gateway
    aggregator.empty()
    member = aggregator.member("alder-bank")
    for _ in range(2):
        assert [one.name for one in member.client.roster().members] == ["alder-bank"]
        time.sleep(1.5)  # longer than keepalive_timeout
    assert parse(AuditKey, site.documented.operator("GET", "/v1/audit/key"), source="test")


def test_the_deployed_configuration_serves_over_tls(site: Site, tmp_path: Path) -> None:
    port = nginx.free_port()
    certificate, key = certify(tmp_path, "server", host="127.0.0.1").files
    server = nginx.deployed_server().replace("listen 8765 ssl", f"listen 127.0.0.1:{port} ssl")
    server = server.replace("/run/secrets/tls_certificate", str(certificate))
    server = server.replace("/run/secrets/tls_key", str(key))
    upstream = f"127.0.0.1:{site.server.port}"
    text = nginx.around(server, upstream=upstream, home=tmp_path)
    with nginx.started(text, tmp_path, port):
        url = f"https://127.0.0.1:{port}/v1/health"
        trust = ssl.create_default_context(cafile=certificate)
        assert httpx.get(url, verify=trust).json()["status"] == "ok"
