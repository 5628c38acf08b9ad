"""``aggregator serve`` and ``aggregator openapi``: the service, and the description of its API."""

import contextlib
import json
import logging
import sys
from pathlib import Path

import click

from aggregator.audit.push import Collector
from aggregator.commands.options import FILE, state_option
from aggregator.commands.output import Listening, OpenApi
from aggregator.config import load_config, with_options
from aggregator.service.app import declared_endpoints
from aggregator.service.openapi import openapi_document
from aggregator.service.server import serve as serve_until_stopped
from aggregator.service.state_directory import StateDirectory
from fraudfed.console import answers, examples, json_option, say, say_json
from fraudfed.errors import ConfigurationError
from fraudfed.http.server.listening import is_loopback, listen, tls_context, url_of

_log = logging.getLogger(__name__)


@click.command(
    epilog=examples(
        "aggregator init --state DIR && aggregator serve --state DIR",
        "aggregator serve --state DIR --host 0.0.0.0 --tls-certificate site.pem --tls-key site.key",
    )
)
@state_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 picks a free one.",
)
@click.option(
    "--threads",
    type=click.IntRange(2, 1000),
    default=None,
    help="Requests worked on at once, not counting those that wait for other banks.  [default: 64]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=None,
    help="Processes that serve, each with these threads; more than 1 on PostgreSQL only.  "
    "[default: 1]",
)
@click.option(
    "--config",
    "config_path",
    type=FILE,
    metavar="FILE",
    help="Settings, JSON; docs/api.md lists them.",
)
@click.option(
    "--insecure-allow-small-keys",
    is_flag=True,
    help="Accept key epochs with Paillier keys below 2048 bits. For tests only.",
)
@click.option(
    "--two-operators",
    is_flag=True,
    help="Creating runs, dropping banks and removing members take two operators.",
)
@click.option(
    "--tls-certificate",
    type=FILE,
    metavar="FILE",
    help="Serve https with this certificate (PEM, with those between it and a root).",
)
@click.option(
    "--tls-key",
    type=FILE,
    metavar="FILE",
    help="Private key of the certificate (PEM); if it is not in the certificate's file.",
)
@click.option(
    "--client-ca",
    type=FILE,
    metavar="FILE",
    help="Ask every client for a certificate of one of these roots (PEM).",
)
@click.option(
    "--path-prefix",
    metavar="PATH",
    default=None,
    help="Path under which the proxy in front passes requests on, if it does not take it away.",
)
@json_option(Listening)
def serve(
    state_path: Path,
    host: str,
    port: int,
    threads: int | None,
    workers: int | None,
    config_path: Path | None,
    insecure_allow_small_keys: bool,
    two_operators: bool,
    tls_certificate: Path | None,
    tls_key: Path | None,
    client_ca: Path | None,
    path_prefix: str | None,
    as_json: bool,
) -> None:
    """Serve the API until SIGTERM or SIGINT."""
    options = {
        "threads": threads,
        "workers": workers,
        "insecure_allow_small_keys": insecure_allow_small_keys or None,
        "two_operators": two_operators or None,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
        "client_ca": client_ca,
        "path_prefix": path_prefix,
    }
    given = {name: value for name, value in options.items() if value is not None}
    config = with_options(load_config(config_path), given)
    tls = tls_context(config.tls_certificate, config.tls_key, config.client_ca)
    if config.audit_push is not None:
        Collector(config.audit_push)  # or its worker would say what is wrong
    state = StateDirectory(state_path)
    # Before the lock: a directory that was never initialised gets no lock file.
    with contextlib.closing(state.open_store(check=True)) as store:
        if config.workers > 1 and not store.database.is_shared:
            raise ConfigurationError(
                f"--workers {config.workers}: database {store.database.dialect.name} is a SQLite "
                "file, which one process serves",
                what_to_do="serve with 1 worker, or keep the aggregator in PostgreSQL "
                "(`aggregator init --database URL`)",
            )
    with state.locked():
        listener = listen(host, port)
        url = url_of(listener, tls=tls is not None) + config.path_prefix
        if tls is None and not is_loopback(listener):
            _log.warning(
                "%s is reached over plain http from other machines; bank nodes refuse that: give "
                "--tls-certificate, or put a TLS proxy in front",
                url,
            )

        def announce() -> None:
            listening = Listening(url=url)
            say(listening.model_dump_json() if as_json else f"aggregator listening on {url}")
            sys.stdout.flush()

        serve_until_stopped(state, config, listener, tls=tls, on_ready=announce)
    _log.info("aggregator stopped")


def _show_openapi(document: OpenApi) -> None:
    say_json(json.dumps(document.root, indent=2))


@click.command()
@answers(OpenApi, _show_openapi)
def openapi() -> OpenApi:
    """Print the OpenAPI document of the API."""
    return OpenApi.model_validate(openapi_document(declared_endpoints()))
