"""``runs create --like RUN --without BANK``: the same training again, as if a bank had never been.

Training is deterministic, so the model of the others' rows alone is exactly what they would have
got: nothing of the bank is left in it. The price is that two models of the same rows stand side by
side, and their difference speaks of that bank.
"""

import sys
from collections.abc import Iterator

import click

from aggregator.commands.creating.run_options import LEAST_COHORT
from aggregator.operator.client import OperatorClient
from fraudfed.console import say
from fraudfed.errors import ConfigurationError, NotFoundError
from fraudfed.wire.messages import KeyEpochStatus, RunKind, RunSpec, RunState, RunStatus


def run_to_repeat(client: OperatorClient, run_id: str, without: tuple[str, ...]) -> RunStatus:
    """Return a finished run that banks are to be taken out of.

    Raises
    ------
    ConfigurationError
        If there is none, it is not finished, or a bank took no part in it.
    """
    where = f"--like {run_id}"
    try:
        status = client.show_run(run_id)
    except (NotFoundError, ConfigurationError) as error:
        raise ConfigurationError(f"{where}: {error}") from None
    if status.state is not RunState.FINISHED:
        raise ConfigurationError(
            f"{where}: is {status.state.value}, expected a finished run ('aggregator runs list')"
        )
    if not without:
        raise ConfigurationError(
            f"{where}: name the bank to leave out with --without, one of {', '.join(status.cohort)}"
        )
    absent = [bank for bank in without if bank not in status.members]
    if absent:
        raise ConfigurationError(
            f"--without {absent[0]}: took no part in run {run_id}, so nothing of it is in the "
            f"result; expected one of {', '.join(status.members)}"
        )
    return status


def repeated(
    status: RunStatus,
    epoch: KeyEpochStatus,
    *,
    without: tuple[str, ...],
    name: str | None,
    shared_risk: tuple[str, ...],
) -> RunSpec:
    """Return the description of a run again, without some banks.

    A bank that has left the consortium is not in the epoch's roster, and need not be left out.

    Raises
    ------
    ConfigurationError
        If too few banks stay.
    """
    spec = status.spec
    roster = tuple(member.name for member in epoch.key_epoch.roster)
    added = sorted(set(roster) - set(status.cohort))
    left = [bank for bank in roster if bank in status.cohort and bank not in without]
    least = max(spec.min_cohort, LEAST_COHORT)
    if len(left) < least:
        raise ConfigurationError(
            f"--without {', '.join(without)}: {len(left)} banks of run {status.run_id} stay in key "
            f"epoch {epoch.key_epoch.epoch}, expected at least {least} (min_cohort)"
        )
    changes = {
        "name": f"{spec.name} without {', '.join(without)}"[:200] if name is None else name,
        "key_epoch": epoch.key_epoch.epoch,
        # Banks that came later are no part of what is repeated.
        "without": tuple(sorted({*added, *(bank for bank in without if bank in roster)})),
    }
    if shared_risk:
        if spec.contract is None:
            raise ConfigurationError(
                f"--shared-risk: run {status.run_id} is of kind {spec.kind} and uses no risk "
                "tables; leave the option out"
            )
        changes["contract"] = spec.contract.model_copy(update={"shared_risk": shared_risk})
    return spec.model_copy(update=changes)


def refuse_tables_with(client: OperatorClient, spec: RunSpec, without: tuple[str, ...]) -> None:
    """Refuse risk tables that hold counts of a bank that is left out.

    Raises
    ------
    ConfigurationError
        If there are any, or a run of tables is not known.
    """
    tables = () if spec.contract is None else spec.contract.shared_risk
    for run_id in tables:
        try:
            status = client.show_run(run_id)
        except (NotFoundError, ConfigurationError) as error:
            raise ConfigurationError(f"risk tables of run {run_id}: {error}") from None
        held = [bank for bank in without if bank in status.members]
        if held:
            raise ConfigurationError(
                f"risk tables of run {run_id}: hold counts of {', '.join(held)}, so features would "
                "still be made of them; repeat that run in the same way (--like "
                f"{run_id} --without {held[0]}), and give the new tables with --shared-risk"
            )


def ask_for_the_price(status: RunStatus, without: tuple[str, ...], *, agreed: bool) -> None:
    """Say what the second run costs and shows, and ask whether it shall be opened.

    Raises
    ------
    ConfigurationError
        If nobody is there to ask and ``--yes`` was not given, or the answer is no.
    """
    for line in _price(status, without):
        say(line, err=True)
    if agreed:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "nothing was opened, as nobody is there to ask; give --yes if the banks have agreed"
        )
    if not click.confirm("Have the banks agreed to this?", err=True):
        raise ConfigurationError("nothing was opened; ask the banks first")


def _price(status: RunStatus, without: tuple[str, ...]) -> Iterator[str]:
    names = ", ".join(without)
    yield (
        f"price: each other bank that sums the same rows or days again, now without {names}, pays "
        "one of its set_changes (bank.toml; 0 by default, then it takes no part)"
    )
    shown = (
        f"shown: members of both runs read sums with and without {names}; the difference is what "
    )
    if status.spec.kind is RunKind.RISK:
        yield f"{shown}{names} alone had entered, of every day: its tables"
        yield (
            f"not undone: what was trained with the tables of run {status.run_id}, and copies of "
            "them; repeat those trainings in the same way, with the new tables (--shared-risk)"
        )
        return
    yield (
        f"{shown}{names} alone had entered, of each step up to the first split that differs, and "
        "the two models show what it changed"
    )
    yield (
        f"not undone: what {names} helped to choose before, as parameters of a search, and copies "
        f"of the model of run {status.run_id}; let banks retire it ('bank-node models retire')"
    )
