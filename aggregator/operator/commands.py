"""The operator's commands against a running aggregator."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from aggregator.operator.client import OperatorClient, read_token
from fraudfed.consortium.public.fingerprint import fingerprint
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import (
    DropRequest,
    InviteRequest,
    ModelVisibility,
    RiskEntity,
    RiskSpec,
    Roster,
    RunKind,
    RunSpec,
    RunStatus,
    parse,
)

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path, dir_okay=False)
_DAY = click.DateTime(formats=["%Y-%m-%d"])
_JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")


def utc(seconds: int) -> str:
    """Return a time as people read it."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _client_options(command: F) -> F:
    """Add the options of ``_client``."""
    for option in (
        click.option(
            "--client-certificate",
            type=_FILE,
            metavar="FILE",
            help="Certificate and key (PEM), if the aggregator asks for one.",
        ),
        click.option(
            "--ca-file",
            type=_FILE,
            metavar="FILE",
            help="Root certificates to trust (PEM) instead of the system's.",
        ),
        click.option(
            "--token-file",
            required=True,
            type=_FILE,
            metavar="FILE",
            help="File with an API token (DIR/operator.token).",
        ),
        click.option(
            "--url",
            default="http://127.0.0.1:8765",
            show_default=True,
            help="Address of the aggregator.",
        ),
    ):
        command = option(command)
    return command


#: What ``_client_options`` adds and ``_client`` takes.
_CLIENT_OPTIONS = ("url", "token_file", "ca_file", "client_certificate")


def _risk_option(field: str, text: str) -> Callable[[F], F]:
    """Add the option of a number of ``RiskSpec``, which checks it and has its default."""
    return click.option(
        f"--{field.replace('_', '-')}",
        type=int,
        default=RiskSpec.model_fields[field].default,
        show_default=True,
        help=text,
    )


@contextlib.contextmanager
def _client(
    url: str, token_file: Path, ca_file: Path | None, client_certificate: Path | None
) -> Iterator[OperatorClient]:
    with OperatorClient(
        url, read_token(token_file), ca_file=ca_file, client_certificate=client_certificate
    ) as client:
        yield client


@click.group(no_args_is_help=False)
def invites() -> None:
    """Invite banks."""


@invites.command(name="create")
@_client_options
@click.option("--name", required=True, help="Name of the bank.")
@click.option(
    "--valid-seconds",
    type=click.IntRange(1, 90 * 86_400),
    default=7 * 86_400,
    show_default=True,
    help="How long the invitation can be used.",
)
@_JSON_OPTION
def create_invite(name: str, valid_seconds: int, as_json: bool, **connection: Any) -> None:
    """Invite a bank and print the code, which works once and is not shown again."""
    request = parse(InviteRequest, {"name": name, "valid_seconds": valid_seconds}, source="options")
    with _client(**connection) as client:
        invite = client.create_invite(request)
    if as_json:
        click.echo(invite.model_dump_json(indent=2))
        return
    click.echo(invite.code)
    click.echo(f"for bank {invite.name}, until {utc(invite.expires_at)}", err=True)


@click.group(no_args_is_help=False)
def banks() -> None:
    """List and remove the members of the consortium."""


@banks.command(name="list")
@_client_options
@_JSON_OPTION
def list_banks(as_json: bool, **connection: Any) -> None:
    """List the members with their fingerprints."""
    with _client(**connection) as client:
        _print_roster(client.roster(), as_json=as_json)


@banks.command(name="remove")
@_client_options
@click.argument("name")
@_JSON_OPTION
def remove_bank(name: str, as_json: bool, **connection: Any) -> None:
    """Remove a bank: its key epochs are superseded, runs that wait for it end."""
    with _client(**connection) as client:
        _print_roster(client.remove_bank(name), as_json=as_json)


def _print_roster(roster: Roster, *, as_json: bool) -> None:
    if as_json:
        click.echo(roster.model_dump_json(indent=2))
        return
    for member in roster.members:
        shown = fingerprint(member.name, member.signing_key, member.agreement_key)
        click.echo(f"{member.name}  {shown}")


@click.group(no_args_is_help=False)
def epochs() -> None:
    """Show key epochs."""


@epochs.command(name="show")
@_client_options
@click.argument("epoch", type=click.IntRange(min=1), required=False)
@_JSON_OPTION
def show_epoch(epoch: int | None, as_json: bool, **connection: Any) -> None:
    """Show the newest key epoch, or number EPOCH."""
    with _client(**connection) as client:
        status = client.key_epoch(epoch)
    if as_json:
        click.echo(status.model_dump_json(indent=2))
        return
    announced = status.key_epoch
    done = [one.bank for one in status.acknowledged]
    missing = [member.name for member in announced.roster if member.name not in done]
    _print_lines(
        {
            "epoch": announced.epoch,
            "state": status.state.value,
            "steward": announced.steward,
            "banks": ", ".join(member.name for member in announced.roster),
            "acknowledged": ", ".join(done) or "-",
            "not yet": ", ".join(missing) or "-",
            "public key": announced.public_key.fingerprint,
        }
    )


@click.group(no_args_is_help=False)
def runs() -> None:
    """Open, list, show and end runs."""


@runs.command(name="create")
@_client_options
@click.option(
    "--spec",
    "spec_path",
    required=True,
    type=_FILE,
    metavar="FILE",
    help="Run description, JSON (message RunSpec).",
)
def create_run(spec_path: Path, **connection: Any) -> None:
    """Open a run and print its id."""
    try:
        text = spec_path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"run description {spec_path} cannot be read: {error.strerror}; give a JSON file"
        ) from None
    spec = parse(RunSpec, text, source=str(spec_path))
    with _client(**connection) as client:
        click.echo(client.create_run(spec).run_id)


@runs.command(name="create-risk")
@_client_options
@click.argument("first_day", type=_DAY, metavar="FIRST_DAY")
@click.argument("last_day", type=_DAY, metavar="LAST_DAY")
@click.option(
    "--delay-days",
    required=True,
    type=int,
    help="Days between a payment and its entry: the label delay of the models, rounded up.",
)
@click.option("--name", default=None, help="Name of the run.  [default: risk and the days]")
@click.option(
    "--key-epoch", default=None, type=click.IntRange(min=1), help="[default: the newest key epoch]"
)
@click.option(
    "--entity",
    "entities",
    multiple=True,
    type=click.Choice([entity.value for entity in RiskEntity]),
    help="What is counted; may be repeated.  [default: everything]",
)
@_risk_option("depth", "Rows of each sketch.")
@_risk_option("transaction_width", "Columns of the sketch of payments, a power of two.")
@_risk_option("fraud_width", "Columns of the sketch of frauds, a power of two.")
@_risk_option("min_customers", "Customers of a bank that an entity needs before it is counted.")
@_risk_option("days_per_step", "Days that are summed together.")
@click.option(
    "--min-cohort",
    default=RunSpec.model_fields["min_cohort"].default,
    show_default=True,
    type=int,
    help="The run never goes on with fewer banks.",
)
def create_risk_run(
    first_day: datetime,
    last_day: datetime,
    name: str | None,
    key_epoch: int | None,
    min_cohort: int,
    entities: tuple[str, ...],
    **options: Any,
) -> None:
    """Open a run over the daily risk tables from FIRST_DAY to LAST_DAY (UTC); print its id.

    A day is one of entry: payments are entered --delay-days after their own day.
    """
    connection = {key: options.pop(key) for key in _CLIENT_OPTIONS}
    risk = {
        "first_day": _day_number(first_day),
        "last_day": _day_number(last_day),
        "entities": entities or tuple(RiskEntity),
        **options,
    }
    with _client(**connection) as client:
        epoch = client.key_epoch(None).key_epoch.epoch if key_epoch is None else key_epoch
        description = {
            "name": name or f"risk {first_day:%Y-%m-%d}..{last_day:%Y-%m-%d}",
            "key_epoch": epoch,
            "kind": RunKind.RISK,
            "risk": risk,
            "model_visibility": ModelVisibility.MEMBERS,
            "min_cohort": min_cohort,
        }
        spec = parse(RunSpec, description, source="options")
        click.echo(client.create_run(spec).run_id)


def _day_number(day: datetime) -> int:
    """Return days since 1970-01-01."""
    return int(day.replace(tzinfo=UTC).timestamp()) // 86_400


@runs.command(name="list")
@_client_options
@_JSON_OPTION
def list_runs(as_json: bool, **connection: Any) -> None:
    """List all runs, newest first."""
    with _client(**connection) as client:
        found = client.list_runs()
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    for status in found.runs:
        waits = _waits(status)
        click.echo(
            f"{status.run_id}  {status.state:<9}  {_present(status)}/{len(status.cohort)} "
            f"banks  {status.round_number} rounds  {status.spec.name}"
            + (f"  (waits for {waits})" if waits else "")
        )


@runs.command(name="show")
@_client_options
@click.argument("run_id")
@_JSON_OPTION
def show_run(run_id: str, as_json: bool, **connection: Any) -> None:
    """Show one run."""
    with _client(**connection) as client:
        _print_status(client.show_run(run_id), as_json=as_json)


_REASON_OPTION = click.option(
    "--reason", required=True, help="Stands in the audit log, which every bank of the run can read."
)


@runs.command(name="cancel")
@_client_options
@click.argument("run_id")
@_REASON_OPTION
@_JSON_OPTION
def cancel_run(run_id: str, reason: str, as_json: bool, **connection: Any) -> None:
    """End a run for all its banks, without a model."""
    _check_reason(reason)
    with _client(**connection) as client:
        _print_status(client.cancel_run(run_id, reason), as_json=as_json)


@runs.command(name="drop-bank")
@_client_options
@click.argument("run_id")
@click.argument("bank")
@_REASON_OPTION
@_JSON_OPTION
def drop_bank(run_id: str, bank: str, reason: str, as_json: bool, **connection: Any) -> None:
    """Let the other banks go on without BANK, from the last step they all have; it may come back.

    What was summed with BANK in the step that is done again shows BANK's part by difference: once
    per drop, so drop no bank that is only slow.
    """
    _check_reason(reason)
    request = parse(DropRequest, {"bank": bank, "reason": reason}, source="options")
    with _client(**connection) as client:
        _print_status(client.drop_bank(run_id, request), as_json=as_json)


def _check_reason(reason: str) -> None:
    if not 1 <= len(reason) <= 2000:
        raise ConfigurationError(f"--reason has {len(reason)} characters, expected 1 to 2000")


def _present(status: RunStatus) -> int:
    """Return how many banks take part, at the start how many of them have joined."""
    return len(set(status.generation.banks) & set(status.members))


def _waits(status: RunStatus) -> str:
    """Return what is waited for and from whom, empty if nothing is."""
    waits = status.waits_for
    if waits is None:
        return ""
    what = {"join": "joining", "ready": "agreement"}.get(waits.what, waits.what)
    return f"{what} of {', '.join(waits.banks)}"


def _print_status(status: RunStatus, *, as_json: bool) -> None:
    if as_json:
        click.echo(status.model_dump_json(indent=2))
        return
    _print_lines(
        {
            "run": status.run_id,
            "name": status.spec.name,
            "kind": status.spec.kind.value,
            "state": status.state.value,
            "key epoch": status.spec.key_epoch,
            "joined": f"{', '.join(status.members) or '-'} ({len(status.members)} of "
            f"{len(status.cohort)})",
            "takes part": f"{', '.join(status.generation.banks)} "
            f"(generation {status.generation.number})",
            "comes in next": ", ".join(status.waiting) or "-",
            "contributed": ", ".join(status.contributed) or "-",
            "waits for": _waits(status) or "-",
            "rounds": status.round_number,
            "ciphertexts": status.ciphertexts,
            "bytes received": status.bytes_received,
            "model": status.model_sha256 or "-",
            "failure": status.failure or "-",
        }
    )


def _print_lines(lines: dict[str, object]) -> None:
    for name, value in lines.items():
        click.echo(f"{name + ':':<16}{value}")


#: Groups of commands, for the command ``aggregator``.
GROUPS = (invites, banks, epochs, runs)
