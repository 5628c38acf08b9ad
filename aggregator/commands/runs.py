"""``aggregator runs``: open, list, show and end runs, at a running service."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from aggregator.commands.options import (
    CLIENT_OPTIONS,
    FILE,
    client_options,
    opened_client,
    print_lines,
)
from fraudfed.console import answers, examples, say
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import (
    DropRequest,
    ModelVisibility,
    RiskEntity,
    RiskSpec,
    RunCreated,
    RunKind,
    RunList,
    RunSpec,
    RunStatus,
    parse,
)

F = TypeVar("F", bound=Callable[..., Any])

_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.group()
def runs() -> None:
    """Open, list, show and end runs."""


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


def _show_status(status: RunStatus) -> None:
    print_lines(
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


def _risk_option(field: str, text: str) -> Callable[[F], F]:
    """Add the option of a number of ``RiskSpec``, which checks it and has its default."""
    return click.option(
        f"--{field.replace('_', '-')}",
        type=int,
        default=RiskSpec.model_fields[field].default,
        show_default=True,
        help=text,
    )


def _show_created(created: RunCreated) -> None:
    say(created.run_id)


@runs.command(
    name="create",
    epilog=examples("aggregator runs create --token-file DIR/operator.token --spec run.json"),
)
@client_options
@click.option(
    "--spec",
    "spec_path",
    required=True,
    type=FILE,
    metavar="FILE",
    help="Run description, JSON (message RunSpec).",
)
@answers(RunCreated, _show_created)
def create_run(spec_path: Path, **connection: Any) -> RunCreated:
    """Open a run and print its id."""
    try:
        text = spec_path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"run description {spec_path} cannot be read: {error.strerror}",
            what_to_do="give a JSON file",
        ) from None
    spec = parse(RunSpec, text, source=str(spec_path))
    with opened_client(**connection) as client:
        return client.create_run(spec)


@runs.command(
    name="create-risk",
    epilog=examples(
        "aggregator runs create-risk 2026-01-05 2026-02-01 --delay-days 7 \\",
        "    --token-file DIR/operator.token",
    ),
)
@client_options
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
    "--key-epoch",
    default=None,
    type=click.IntRange(min=1),
    help="Key epoch of the run.  [default: the newest]",
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
    help="The run never continues with fewer banks.",
)
@answers(RunCreated, _show_created)
def create_risk_run(
    first_day: datetime,
    last_day: datetime,
    name: str | None,
    key_epoch: int | None,
    min_cohort: int,
    entities: tuple[str, ...],
    **options: Any,
) -> RunCreated:
    """Open a run over the daily risk tables from FIRST_DAY to LAST_DAY (UTC); print its id.

    A day is one of entry: payments are entered --delay-days after their own day.
    """
    connection = {key: options.pop(key) for key in CLIENT_OPTIONS}
    risk = {
        "first_day": _day_number(first_day),
        "last_day": _day_number(last_day),
        "entities": entities or tuple(RiskEntity),
        **options,
    }
    with opened_client(**connection) as client:
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
        return client.create_run(spec)


def _day_number(day: datetime) -> int:
    """Return days since 1970-01-01."""
    return int(day.replace(tzinfo=UTC).timestamp()) // 86_400


def _show_runs(found: RunList) -> None:
    for status in found.runs:
        waits = _waits(status)
        say(
            f"{status.run_id}  {status.state:<9}  {_present(status)}/{len(status.cohort)} "
            f"banks  {status.round_number} rounds  {status.spec.name}"
            + (f"  (waits for {waits})" if waits else "")
        )


@runs.command(name="list")
@client_options
@answers(RunList, _show_runs)
def list_runs(**connection: Any) -> RunList:
    """List all runs, newest first."""
    with opened_client(**connection) as client:
        return client.list_runs()


@runs.command(name="show")
@client_options
@click.argument("run_id")
@answers(RunStatus, _show_status)
def show_run(run_id: str, **connection: Any) -> RunStatus:
    """Show one run."""
    with opened_client(**connection) as client:
        return client.show_run(run_id)


_reason_option = click.option(
    "--reason", required=True, help="Stands in the audit log, which every bank of the run can read."
)


@runs.command(name="cancel")
@client_options
@click.argument("run_id")
@_reason_option
@answers(RunStatus, _show_status)
def cancel_run(run_id: str, reason: str, **connection: Any) -> RunStatus:
    """End a run for all its banks, without a model."""
    _check_reason(reason)
    with opened_client(**connection) as client:
        return client.cancel_run(run_id, reason)


@runs.command(name="drop-bank")
@client_options
@click.argument("run_id")
@click.argument("bank")
@_reason_option
@answers(RunStatus, _show_status)
def drop_bank(run_id: str, bank: str, reason: str, **connection: Any) -> RunStatus:
    """Let the other banks continue without BANK, from the last step they all have.

    BANK may rejoin. What was summed with BANK in the step that is repeated shows BANK's part by
    difference: once per drop, so drop no bank that is only slow.
    """
    _check_reason(reason)
    request = parse(DropRequest, {"bank": bank, "reason": reason}, source="options")
    with opened_client(**connection) as client:
        return client.drop_bank(run_id, request)


def _check_reason(reason: str) -> None:
    if not 1 <= len(reason) <= 2000:
        raise ConfigurationError(f"--reason has {len(reason)} characters, expected 1 to 2000")
