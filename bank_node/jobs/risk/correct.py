"""Take back a report of fraud that turned out to be wrong.

What was entered for a day stays: a day that were counted again without the report would tell the
members, by the difference, which bank had made it. The correction is entered on the day on which
it is made, and readers of the tables take the report back from then on.
"""

import logging
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from bank_node.data.contract import load_transactions
from bank_node.data.risk_days import day_text
from bank_node.jobs.risk.history import risk_files
from bank_node.state.adopted import signers_of
from bank_node.state.corrections import MOST_REASON_CHARACTERS, KeptCorrection
from bank_node.state.directory import StateDirectory
from bank_node.state.risk_file import RiskFile
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.payments.columns import INBOUND
from fraudfed.reading.location import Location
from fraudfed.wire.messages import RiskEntity, RunKind

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WrongReport:
    """Which report is taken back, and why.

    Attributes
    ----------
    transaction_id : str
    reason : str
    day : int or None
        Of the correction, days since 1970-01-01 UTC; None: today.
    """

    transaction_id: str
    reason: str
    day: int | None = None


def correct(
    state: StateDirectory, wrong: WrongReport, *, data: Location, mapping: Mapping | None = None
) -> KeptCorrection:
    """Write a correction down: the next risk run over its day enters it.

    Parameters
    ----------
    state : StateDirectory
        Locked by this process, and unlocked.
    wrong : WrongReport
    data : Location
        File with the payment and its report, as it was counted.
    mapping : Mapping or None

    Raises
    ------
    DataError
        If the payment is not in the file, was not reported, or has nothing that is counted.
    ConfigurationError
        If the report was entered in no table that this bank helped to make, was taken back before,
        or the day is before the report, in the future, or counted already.
    StateError
        If something cannot be read or written.
    """
    reason = _checked_reason(wrong.reason)
    earlier = state.corrections().all()
    for kept in earlier:
        if kept.transaction_id == wrong.transaction_id:
            raise ConfigurationError(
                f"payment {wrong.transaction_id!r}: its report was taken back already, on "
                f"{day_text(kept.day)}; a report is taken back once"
            )
    now = int(time.time())
    today = now // SECONDS_PER_DAY
    day = today if wrong.day is None else wrong.day
    row = _row_of(load_transactions(data, mapping=mapping), wrong.transaction_id, source=data)
    made = KeptCorrection(
        transaction_id=wrong.transaction_id,
        event_day=int(row["event_time"]) // SECONDS_PER_DAY,
        report_day=_report_day(row, source=data),
        day=day,
        identifiers=_identifiers(row, source=data),
        reason=reason,
        at=now,
    )
    _check_day(state, made, today=today)
    identity = state.identity()
    # The note first: a correction without its reason must not exist.
    state.audit_log(identity).append(
        durable=True,
        event="noted",
        kind="correction",
        method="",
        path="",
        request_id=secrets.token_hex(16),
        body_bytes=0,
        note=f"report number {len(earlier) + 1} taken back from {day_text(day)} on: {reason}",
        time=now,
    )
    state.corrections().add(made)
    return made


def _checked_reason(text: str) -> str:
    reason = " ".join(text.split())
    if not 0 < len(reason) <= MOST_REASON_CHARACTERS or not reason.isprintable():
        raise ConfigurationError(
            f"reason: has {len(reason)} characters, expected 1 to {MOST_REASON_CHARACTERS} that "
            "can be printed; say why the report was wrong, without names or account numbers"
        )
    return reason


def _row_of(transactions: pd.DataFrame, transaction_id: str, *, source: Location) -> pd.Series:
    if "transaction_id" not in transactions.columns:
        raise DataError(
            f"{source}: has no column transaction_id, expected one that names each payment; map "
            "it with --map"
        )
    found = transactions[transactions["transaction_id"] == transaction_id]
    if found.empty:
        raise DataError(
            f"{source}: holds no payment {transaction_id!r}, expected the one whose report is "
            "taken back; name the file that was counted"
        )
    row = found.iloc[0]
    if row.get("direction") == INBOUND:
        raise DataError(
            f"{source}: payment {transaction_id!r} is incoming, and only outgoing ones are "
            "counted; the payer's bank takes its report back"
        )
    return row


def _report_day(row: pd.Series, *, source: Location) -> int:
    label = row.get("is_fraud")
    if label is None or pd.isna(label) or label != 1:
        raise DataError(
            f"{source}: payment {row['transaction_id']!r} has no report of fraud, expected "
            "is_fraud 1 as when it was counted; name the file that was counted"
        )
    return int(row["label_time"]) // SECONDS_PER_DAY


def _identifiers(row: pd.Series, *, source: Location) -> dict[RiskEntity, str]:
    found = {}
    for entity in RiskEntity:
        identifier = row.get(f"{entity.value}_id")
        if identifier is not None and not pd.isna(identifier):
            found[entity] = str(identifier)
    if not found:
        raise DataError(
            f"{source}: payment {row['transaction_id']!r} has no terminal, merchant or payee: its "
            "report was counted nowhere, and there is nothing to take back"
        )
    return found


def _check_day(state: StateDirectory, made: KeptCorrection, *, today: int) -> None:
    """Refuse a day on which the correction could not take back what was entered."""
    reported = max(made.event_day, made.report_day)
    if made.day < reported:
        raise ConfigurationError(
            f"day of correction: got {day_text(made.day)}, expected {day_text(reported)} or later: "
            "no report can be taken back before it is made"
        )
    if made.day > today:
        raise ConfigurationError(
            f"day of correction: got {day_text(made.day)}, expected {day_text(today)} or earlier"
        )
    files = risk_files(state)
    correction = made.correction
    for file in files:
        spec = file.keyed.tables.spec
        entered = correction.entered_on(spec.delay_days)
        if spec.first_day <= entered <= spec.last_day:
            raise ConfigurationError(
                f"day of correction: {day_text(entered)} was counted already, by run "
                f"{file.run_id}, and what was entered for a day stays; choose a later --day"
            )
    for run_id, first, last in _under_way(state):
        if first <= made.day <= last:
            raise ConfigurationError(
                f"day of correction: {day_text(made.day)} is being counted by run {run_id}; "
                "finish that first, or choose a later --day"
            )
    if not any(_entered(state, file, made) for file in files):
        raise ConfigurationError(
            f"payment {made.transaction_id!r}: its report of {day_text(reported)} was entered in "
            "no table that this bank helped to make; correct the label in your data instead"
        )


def _entered(state: StateDirectory, file: RiskFile, made: KeptCorrection) -> bool:
    """Tell whether this bank entered the report in the tables of a run."""
    spec = file.keyed.tables.spec
    if not spec.first_day <= made.correction.reported_on(spec.delay_days) <= spec.last_day:
        return False
    if not made.identifiers.keys() & set(spec.entities):
        return False
    return state.config.name in signers_of(state, file.run_id)


def _under_way(state: StateDirectory) -> Iterator[tuple[str, int, int]]:
    """Yield the risk runs that this bank has begun and not finished, with first and last day."""
    for run in state.known_runs(RunKind.RISK):
        if not signers_of(state, run.run_id):
            yield run.run_id, run.risk.first_day, run.risk.last_day
