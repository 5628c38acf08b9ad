"""What the commands that open a run have in common: options, checks, and ``--dry-run``."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from aggregator.commands.output import RunOrSpec
from aggregator.operator.client import OperatorClient
from fraudfed.catalogue.estimate.estimate import estimate_run
from fraudfed.catalogue.estimate.setting import Setting
from fraudfed.catalogue.run_check import check_run
from fraudfed.console import say, say_json
from fraudfed.errors import NotFoundError, ProtocolError, RunDescriptionError, VersionError
from fraudfed.wire.messages import (
    KeyEpochState,
    KeyEpochStatus,
    Message,
    ModelVisibility,
    RunCreated,
    RunKind,
    RunSpec,
    parse,
)

F = TypeVar("F", bound=Callable[..., Any])

#: As ``RiskSpec.delay_days`` and the days of a ``DataContract``.
MOST_DELAY_DAYS = 1000
#: With two banks, the sum less a bank's own part is the other bank's.
LEAST_COHORT = 3
_SECONDS = click.IntRange(1, 30 * 86_400)

#: A day, or a second of it; UTC.
TIME = click.DateTime(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])
DAY = click.DateTime(formats=["%Y-%m-%d"])

#: The fields of ``RunSpec`` that ``run_options`` sets, apart from name and key epoch.
_FIELDS = (
    "min_cohort",
    "deadline_seconds",
    "join_deadline_seconds",
    "max_rejoins",
    "require_confirmed_roster",
)


def _default(field: str) -> Any:
    return RunSpec.model_fields[field].default


def number_option(message: type[Message], field: str, text: str) -> Callable[[F], F]:
    """Add the option of a number of a message, which checks it and has its default."""
    return click.option(
        f"--{field.replace('_', '-')}",
        type=int,
        default=message.model_fields[field].default,
        show_default=True,
        help=text,
    )


def run_options(command: F) -> F:
    """Add the options of every command that describes a run by options."""
    for option in (
        dry_run_option,
        click.option(
            "--require-confirmed-roster",
            is_flag=True,
            help="Take only banks whose people have confirmed every member's fingerprint.",
        ),
        click.option(
            "--max-rejoins",
            type=click.IntRange(0, 1000),
            default=_default("max_rejoins"),
            show_default=True,
            help="How often a bank that was dropped may rejoin.",
        ),
        click.option(
            "--join-deadline-seconds",
            type=_SECONDS,
            default=None,
            help="Begin without banks that have not joined by then.  [default: wait for all]",
        ),
        click.option(
            "--deadline-seconds",
            type=_SECONDS,
            default=_default("deadline_seconds"),
            show_default=True,
            help="Continue without a bank that others have waited for so long.",
        ),
        click.option(
            "--min-cohort",
            type=click.IntRange(LEAST_COHORT, 1000),
            default=_default("min_cohort"),
            show_default=True,
            help="The run never continues with fewer banks.",
        ),
        click.option(
            "--key-epoch",
            type=click.IntRange(1, 2**31 - 1),
            default=None,
            help="Key epoch of the run.  [default: the newest]",
        ),
        click.option("--name", default=None, help="Name of the run.  [default: kind and days]"),
    ):
        command = option(command)
    return command


dry_run_option = click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything and print the description (RunSpec); open nothing.",
)

visibility_option = click.option(
    "--visibility",
    type=click.Choice([item.value for item in ModelVisibility]),
    default=_default("model_visibility").value,
    show_default=True,
    help="Who may read the model: the operator, too, or the members alone.",
)


def given_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Take the fields of ``RunSpec`` out of a command's options."""
    return {field: options.pop(field) for field in _FIELDS}


def seconds_of(time: datetime) -> int:
    """Return UTC epoch seconds of a time that was typed without a zone."""
    return int(time.replace(tzinfo=UTC).timestamp())


def described(fields: Mapping[str, Any] | bytes, *, source: str) -> RunSpec:
    """Return a description of a run that banks could take part in.

    Parameters
    ----------
    fields : mapping or bytes
        Of the message ``RunSpec``, or its JSON.
    source : str
        The file, or "options".

    Raises
    ------
    RunDescriptionError
        If it is no ``RunSpec``, or no bank could take part.
    VersionError
        If it is of another version of the protocol.
    """
    try:
        spec = parse(RunSpec, fields, source=source, refusal=RunDescriptionError)
        check_run(spec)
    except VersionError:
        raise
    except ProtocolError as error:
        raise RunDescriptionError(str(error)) from None
    except RunDescriptionError as error:
        prefix = "" if str(error).startswith(source) else f"{source}: "
        raise RunDescriptionError(f"{prefix}{error}") from None
    if spec.min_cohort < LEAST_COHORT:
        raise RunDescriptionError(
            f"{source}: min_cohort is {spec.min_cohort}, expected at least {LEAST_COHORT}: the sum "
            "of two banks less a bank's own part is the other bank's"
        )
    return spec


def active_epoch(client: OperatorClient, number: int | None, *, source: str) -> KeyEpochStatus:
    """Return a key epoch that a run can be opened with, the newest without a number.

    Raises
    ------
    RunDescriptionError
        If there is none of that number, or it is not active.
    """
    try:
        found = client.key_epoch(number)
    except NotFoundError:
        what = "no key epoch yet" if number is None else f"no key epoch {number}"
        raise RunDescriptionError(
            f"{source}: there is {what} at this aggregator; 'aggregator epochs show' shows the "
            "newest, and 'bank-node keys create' at a bank makes the first"
        ) from None
    if found.state is not KeyEpochState.ACTIVE:
        missing = {m.name for m in found.key_epoch.roster} - {a.bank for a in found.acknowledged}
        waits = f", it waits for {', '.join(sorted(missing))}" if missing else ""
        raise RunDescriptionError(
            f"{source}: key epoch {found.key_epoch.epoch} is {found.state.value}{waits}; expected "
            "one that is active ('aggregator epochs show')"
        )
    return found


def open_run(
    client: OperatorClient, spec: RunSpec, epoch: KeyEpochStatus, *, source: str, dry_run: bool
) -> RunOrSpec:
    """Open a run, or return its description with ``dry_run``.

    Raises
    ------
    RunDescriptionError
        If it asks for more banks than its key epoch has.
    """
    n_banks = len(_cohort(spec, epoch))
    if spec.min_cohort > max(n_banks, LEAST_COHORT):
        raise RunDescriptionError(
            f"{source}: min_cohort is {spec.min_cohort}, key epoch {spec.key_epoch} has {n_banks} "
            "banks; ask for no more than these"
        )
    _tell_estimate(spec, epoch)
    if dry_run:
        return RunOrSpec(root=spec)
    return RunOrSpec(root=client.create_run(spec))


def _tell_estimate(spec: RunSpec, epoch: KeyEpochStatus) -> None:
    """Say what the run will cost at this cohort; nobody here knows how many rows there are."""
    if spec.kind in (RunKind.STATISTICS, RunKind.MONITOR):
        return
    setting = Setting(
        banks=len(_cohort(spec, epoch)),
        largest_share=1.0,
        key_bits=int(epoch.key_epoch.public_key.n, 16).bit_length(),
    )
    say(estimate_run(spec, setting).in_one_line(), err=True)


def _cohort(spec: RunSpec, epoch: KeyEpochStatus) -> list[str]:
    return [each.name for each in epoch.key_epoch.roster if each.name not in spec.without]


def show_run_or_spec(answer: RunOrSpec) -> None:
    """Print the run's id, or the whole description."""
    if isinstance(answer.root, RunCreated):
        say(answer.root.run_id)
    else:
        say_json(answer.root.model_dump_json(indent=2))
