"""The command ``aggregator``. Exit codes are those of ``fraudfed.errors``."""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click

from aggregator.audit.log import AuditHead
from aggregator.caller import Role
from aggregator.config import load_config, with_options
from aggregator.monitoring.logs import LogFormat, configure_logging
from aggregator.operator import commands as operator_commands
from aggregator.operator.commands import utc
from aggregator.service.app import declared_endpoints
from aggregator.service.backup import back_up
from aggregator.service.openapi import openapi_document
from aggregator.service.server import is_loopback, listen, serve, tls_context, url_of
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from aggregator.storage.database import Database
from fraudfed import __version__
from fraudfed.console import run_command
from fraudfed.errors import ConfigurationError

_log = logging.getLogger(__name__)

_STATE_OPTION = click.option(
    "--state",
    "state_path",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="State directory of the aggregator.",
)

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="aggregator")
@click.option("--quiet", is_flag=True, help="Log warnings and errors only.")
@click.option(
    "--log-format",
    type=click.Choice([item.value for item in LogFormat]),
    default=LogFormat.TEXT.value,
    show_default=True,
    help="Log lines for people, or one JSON object each.",
)
def cli(quiet: bool, log_format: str) -> None:
    """Combine the ciphertexts of banks and keep runs and models."""
    configure_logging(LogFormat(log_format), quiet=quiet)


@cli.command()
@_STATE_OPTION
@click.option(
    "--database",
    "database_url",
    metavar="URL",
    help="Keep all in this empty PostgreSQL database; '-' reads the URL from standard input.  "
    "[default: a SQLite file in DIR]",
)
def init(state_path: Path, database_url: str | None) -> None:
    """Create the database, the audit key and the operator's token in DIR."""
    state = StateDirectory(state_path)
    if database_url == "-":
        # A command line can be seen by every user of the machine.
        database_url = sys.stdin.readline().strip()
    state.create(database_url)
    made = state.database if database_url is None else f"database {state.dialect().name}"
    click.echo(f"created {made}; the operator's token is in {state.operator_token}")


@cli.command()
@_STATE_OPTION
def migrate(state_path: Path) -> None:
    """Bring the database to this program's schema version, all or nothing."""
    state = StateDirectory(state_path)
    dialect = state.dialect()
    with state.locked():
        before, after = Database.migrate(dialect)
    told = f"is at schema version {after}" if before == after else f"went from {before} to {after}"
    click.echo(f"database {dialect.name} {told}")


@cli.command()
@_STATE_OPTION
@click.option("--out", "target", required=True, type=_FILE, metavar="FILE", help="File to make.")
def backup(state_path: Path, target: Path) -> None:
    """Copy the SQLite database into a new file, also while it is served."""
    state = StateDirectory(state_path)
    back_up(state, target)
    click.echo(
        f"copied {state.database} to {target}; {state.audit_key} and {state.operator_token} belong "
        "to a back-up, too: they are secret, copy them once to a safe place"
    )


@cli.command(name="serve")
@_STATE_OPTION
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
    help="Requests worked on at once, without those that wait for other banks.  [default: 64]",
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
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Settings, JSON.",
)
@click.option(
    "--insecure-allow-small-keys",
    is_flag=True,
    help="Accept key epochs with Paillier keys below 2048 bits. For tests only.",
)
@click.option(
    "--tls-certificate",
    type=_FILE,
    metavar="FILE",
    help="Serve https with this certificate (PEM, with those between it and a root).",
)
@click.option(
    "--tls-key",
    type=_FILE,
    metavar="FILE",
    help="Private key of the certificate (PEM); if it is not in the certificate's file.",
)
@click.option(
    "--client-ca",
    type=_FILE,
    metavar="FILE",
    help="Ask every client for a certificate of one of these roots (PEM).",
)
def serve_command(
    state_path: Path,
    host: str,
    port: int,
    threads: int | None,
    workers: int | None,
    config_path: Path | None,
    insecure_allow_small_keys: bool,
    tls_certificate: Path | None,
    tls_key: Path | None,
    client_ca: Path | None,
) -> None:
    """Serve the API until SIGTERM or SIGINT."""
    options = {
        "threads": threads,
        "workers": workers,
        "insecure_allow_small_keys": insecure_allow_small_keys or None,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
        "client_ca": client_ca,
    }
    given = {name: value for name, value in options.items() if value is not None}
    config = with_options(load_config(config_path), given)
    tls = tls_context(config)
    state = StateDirectory(state_path)
    # Before the lock: a directory that was never initialised gets no lock file.
    with contextlib.closing(state.open_store(check=True)) as store:
        if config.workers > 1 and not store.database.is_shared:
            raise ConfigurationError(
                f"--workers {config.workers}: database {store.database.dialect.name} is a SQLite "
                "file, which one process serves; serve with 1 worker, or keep the aggregator in "
                "PostgreSQL (`aggregator init --database URL`)"
            )
    with state.locked():
        listener = listen(host, port)
        url = url_of(listener, tls=tls is not None)
        if tls is None and not is_loopback(listener):
            _log.warning(
                "%s is reached over plain http from other machines; bank nodes refuse that: give "
                "--tls-certificate, or put a TLS proxy in front",
                url,
            )

        def announce() -> None:
            click.echo(f"aggregator listening on {url}")
            sys.stdout.flush()

        serve(state, config, listener, tls=tls, on_ready=announce)
    _log.info("aggregator stopped")


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document of the API."""
    click.echo(json.dumps(openapi_document(declared_endpoints()), indent=2))


@cli.group(no_args_is_help=False)
def tokens() -> None:
    """Make, list and revoke API tokens, on the state directory."""


@tokens.command(name="create")
@_STATE_OPTION
@click.option(
    "--role",
    type=click.Choice([Role.OPERATOR.value, Role.VIEWER.value]),
    required=True,
    help="An operator may do all that the API offers; a viewer may only read.",
)
@click.option("--name", required=True, help="Name of the token, as the audit log shows it.")
def create_token(state_path: Path, role: str, name: str) -> None:
    """Make a token and print it; it is not shown again."""
    with _opened(state_path) as store:
        click.echo(store.tokens.create(name, Role(role)))


@tokens.command(name="list")
@_STATE_OPTION
def list_tokens(state_path: Path) -> None:
    """List all tokens, revoked ones too."""
    with _opened(state_path) as store:
        for token in store.tokens.listed():
            ended = "" if token.revoked_at is None else f", revoked {utc(token.revoked_at)}"
            click.echo(f"{token.name}  {token.role}  made {utc(token.created_at)}{ended}")


@tokens.command(name="revoke")
@_STATE_OPTION
@click.argument("name")
def revoke_token(state_path: Path, name: str) -> None:
    """End a token; a running service refuses it from now on."""
    with _opened(state_path) as store:
        store.tokens.revoke(name)
    click.echo(f"token {name} is revoked")


@cli.group(no_args_is_help=False)
def audit() -> None:
    """Check and show the audit log, on the state directory."""


@audit.command(name="verify")
@_STATE_OPTION
@click.option(
    "--expect",
    "expected",
    metavar="ENTRIES:HASH",
    help="End of the log as an earlier verify printed it; it must still be in the log.",
)
def verify_audit(state_path: Path, expected: str | None) -> None:
    """Check every entry's hash, place and signature, and that nothing stored lacks its entry."""
    with _opened(state_path) as store:
        head = store.audit.verify(expected=None if expected is None else _head(expected))
        click.echo(
            f"audit log verifies: {head.entries} entries, end {head.entries}:{head.hash}, "
            f"audit key {store.audit.public_key}"
        )


@audit.command(name="show")
@_STATE_OPTION
@click.option("--run", "run_id", metavar="ID", help="Only entries of this run.")
@click.option(
    "--start",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of the first entry.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per entry.")
def show_audit(state_path: Path, run_id: str | None, start: int, as_json: bool) -> None:
    """Print entries without checking them."""
    with _opened(state_path) as store:
        while page := store.audit.entries(run_id=run_id, start=start):
            for entry in page:
                body = "" if entry.body_sha256 is None else f"  body {entry.body_sha256}"
                click.echo(
                    entry.model_dump_json()
                    if as_json
                    else f"{entry.seq}  {utc(entry.time)}  {entry.status.value:<8}  {entry.kind}  "
                    f"{entry.actor}  {entry.subject}  {entry.detail}{body}"
                )
            start = page[-1].seq + 1


@contextlib.contextmanager
def _opened(state_path: Path) -> Iterator[Store]:
    store = StateDirectory(state_path).open_store()
    try:
        yield store
    finally:
        store.close()


def _head(text: str) -> AuditHead:
    match = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text)
    if match is None:
        raise ConfigurationError(
            f"--expect {text!r}: give ENTRIES:HASH as `aggregator audit verify` printed it"
        )
    return AuditHead(int(match[1]), match[2])


for _group in operator_commands.GROUPS:
    cli.add_command(_group)


def main() -> NoReturn:
    """Entry point of the ``aggregator`` command."""
    run_command(cli, prog_name="aggregator")


if __name__ == "__main__":
    main()
