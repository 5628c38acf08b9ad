"""At the newcomer: hold its payments against the other banks', and find a threshold on them.

The threshold is the lowest score from which on no more payments of this bank's last 28 days are
alerted on than its people can look into: the model was made of other banks' payments, and how many
alerts a score stands for differs from bank to bank. It needs no label.
"""

from dataclasses import dataclass

import numpy as np

from bank_node.checking.against import ComparedFile
from bank_node.data.contract import load_features
from bank_node.serving.scorer import Scorer
from bank_node.state.adopted import AdoptedScoring
from fraudfed.errors import DataError
from fraudfed.evaluation.plan import PAYMENTS_PER_ALERT
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.gate.alerts import threshold
from fraudfed.intake.windows import contract_columns
from fraudfed.reading.location import Location
from fraudfed.wire.messages import DataContract

#: Of payments that the threshold is from.
THRESHOLD_DAYS = 28


@dataclass(frozen=True)
class OwnPayments:
    """The newcomer's file, and how to read it.

    Attributes
    ----------
    path : Path
    mapping : Mapping or None
    alerts_per_day : float or None
        None: one payment in 200.
    """

    path: Location
    mapping: Mapping | None = None
    alerts_per_day: float | None = None


def require_no_mistake(compared: ComparedFile, path: Location) -> None:
    """Refuse data that differ from the other banks' as a mistake does.

    Raises
    ------
    DataError
    """
    mistakes = [each for each in compared.differences if each.is_mistake]
    if mistakes:
        first, more = mistakes[0], len(mistakes) - 1
        raise DataError(
            f"{path}: column {first.column}: {first.what}{f' (and {more} more)' if more else ''}; "
            f"against the other banks of run {compared.run_id} that looks like a mistake of the "
            f"mapping, and nothing was adopted: {first.what_to_do}"
        )


def scoring_of(
    scorer: Scorer, contract: DataContract, own: OwnPayments, *, shared: SharedRisk | None
) -> AdoptedScoring:
    """Score this bank's last 28 days and return where its alerts begin.

    Parameters
    ----------
    scorer : Scorer
    contract : DataContract
        Of payments.
    own : OwnPayments
    shared : SharedRisk or None
        The adopted tables, with this bank's own.

    Raises
    ------
    DataError
        If the payments do not meet the contract, or more of them share the highest score than may
        be alerted on.
    """
    built = load_features(own.path, contract, mapping=own.mapping, shared=shared)
    last = int(built.event_time.max())
    recent = built.take(built.event_time > last - THRESHOLD_DAYS * SECONDS_PER_DAY)
    scores = scorer.scores(contract_columns(recent, contract))
    first = int(recent.event_time.min())
    # A file of less than 28 days has alerts for the days that it reaches over.
    days = min(THRESHOLD_DAYS, (last - first) // SECONDS_PER_DAY + 1)
    if own.alerts_per_day is None:
        alerts = max(1, len(scores) // PAYMENTS_PER_ALERT)
    else:
        alerts = max(1, int(own.alerts_per_day * days))
    found = threshold(scores, alerts)
    if not 0 < found < 1:
        top = int(np.count_nonzero(scores == scores.max()))
        raise DataError(
            f"{own.path}: {top} of the last {days} days' {len(scores)} payments share the highest "
            f"score, expected at most the {alerts} that may be alerted on; give more alerts with "
            "--alerts-per-day, or more payments"
        )
    return AdoptedScoring(
        first_event=first, last_event=last, payments=len(scores), alerts=alerts, threshold=found
    )
