"""``bank-node adopt``: score on day one with a model that the other banks have made."""

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bank_node.checking.against import ComparedFile, show_compared
from bank_node.commands.options import (
    PATH,
    answers,
    data_option,
    map_option,
    passphrase_option,
    state_option,
)
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.console import Answer, examples, say

if TYPE_CHECKING:
    from fraudfed.features.mappings.mapping import Mapping
    from fraudfed.reading.location import Location


class ThresholdFound(Answer):
    """Where this bank's alerts begin.

    Attributes
    ----------
    threshold : float
        Score from which on a payment is warned of.
    payments : int
        Of the last 28 days.
    alerts : int
        Most of them that may be alerted on.
    first_event, last_event : int
        Their period, UTC epoch seconds.
    """

    threshold: float
    payments: int
    alerts: int
    first_event: int
    last_event: int


class AdoptedRun(Answer):
    """``adopt``.

    Attributes
    ----------
    run_id : str
    model_sha256 : str
        Of the result, as the banks have signed it.
    signed_by : tuple of str
    tables : tuple of str
        Runs of the risk tables that came with it.
    against : ComparedFile
    threshold : ThresholdFound or None
        None for a plain table, whose rows have no times.
    policy : str or None
        File of a warn-only policy by that threshold.
    stage : str
        Of the model at this bank.
    not_staged : str or None
        Why it is no challenger.
    """

    run_id: str
    model_sha256: str
    signed_by: tuple[str, ...]
    tables: tuple[str, ...]
    against: ComparedFile
    threshold: ThresholdFound | None
    policy: str | None
    stage: str
    not_staged: str | None


def _show(adopted: AdoptedRun) -> None:
    show_compared(adopted.against)
    run_id, found = adopted.run_id, adopted.threshold
    tables = f", with {len(adopted.tables)} risk tables" if adopted.tables else ""
    say(
        f"run {run_id}: adopted model {adopted.model_sha256[:16]}, signed by "
        f"{', '.join(adopted.signed_by)}{tables}"
    )
    if found is not None:
        first, last = (
            f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
            for at in (found.first_event, found.last_event)
        )
        say(
            f"threshold: {found.threshold:.6g} alerts on at most {found.alerts:,} of "
            f"{found.payments:,} payments from {first} to {last}"
        )
    if adopted.not_staged is None:
        say(f"stage: {adopted.stage}; it decides nothing until the gate lets it be promoted")
    else:
        say(f"stage: {adopted.stage}, as {adopted.not_staged}")
    score = f"bank-node score --run {run_id} --data FILE --out FILE"
    serve = (
        ""
        if adopted.policy is None
        else (f"; warn of payments with 'bank-node serve --run {run_id} --policy {adopted.policy}'")
    )
    say(f"Score a file with '{score}'{serve}.")
    say(
        "Once 50 cases of fraud are known here: "
        f"'bank-node evaluate --run {run_id} --data FILE', 'bank-node models promote {run_id}'."
    )


@click.command(
    epilog=examples(
        "bank-node adopt RUN_ID --state bank-d --data payments.parquet --from a.share "
        "--from b.share --from c.share --alerts-per-day 40",
    )
)
@click.argument("run_id")
@state_option
@data_option
@map_option
@click.option(
    "--from",
    "files",
    type=PATH,
    multiple=True,
    required=True,
    help="File of 'runs share'; one of each bank that signed the run.",
)
@click.option(
    "--alerts-per-day",
    type=click.FloatRange(min=0, min_open=True, max=1e9),
    default=None,
    help="Payments a day that this bank can look into.  [default: one payment in 200]",
)
@click.option(
    "--against",
    default=None,
    metavar="RUN",
    help="Hold the data against this statistics run of this bank.  [default: the shared one]",
)
@click.option(
    "--by", default=None, help="Who decides, for the history.  [default: the user's name here]"
)
@passphrase_option
@answers(AdoptedRun, _show)
def adopt(
    run_id: str,
    path: Path,
    data: "Location",
    mapping: "Mapping | None",
    files: tuple[Path, ...],
    alerts_per_day: float | None,
    against: str | None,
    by: str | None,
    passphrase_file: Path | None,
) -> AdoptedRun:
    """Take the model of RUN, in which this bank was not, as its banks have signed it."""
    from bank_node.adoption.adopt import adopt as adopt_run
    from bank_node.adoption.content import SealedShare
    from bank_node.adoption.setting_up import OwnPayments

    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    with state.locked():
        found = adopt_run(
            state,
            state.identity(),
            run_id,
            [SealedShare.read(file) for file in files],
            OwnPayments(data, mapping, alerts_per_day),
            against=against,
            by=_decider(by),
        )
    adopted, scoring = found.adopted, found.adopted.scoring
    return AdoptedRun(
        run_id=run_id,
        model_sha256=adopted.model_sha256,
        signed_by=adopted.members,
        tables=found.tables,
        against=found.compared,
        threshold=None
        if scoring is None
        else ThresholdFound(
            threshold=scoring.threshold,
            payments=scoring.payments,
            alerts=scoring.alerts,
            first_event=scoring.first_event,
            last_event=scoring.last_event,
        ),
        policy=found.policy,
        stage=found.stage.value,
        not_staged=found.not_staged,
    )


def _decider(by: str | None) -> str:
    if by is None:
        try:
            by = getpass.getuser()
        except (OSError, KeyError):
            by = ""
    return by
