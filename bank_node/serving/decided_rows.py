"""Decisions of the log as arrays: for outcomes by week, and for monitoring.

Law: a decision scored by the model under watch enters with the features that its bins stand for
(``bank_node.decisions.bins``), and with the very margin that was logged. Of other decisions only
what needs no features enters: that they came, their channel, their action, and what became of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from bank_node.decisions.bins import row_of
from bank_node.decisions.decision import Decision
from bank_node.policy import Action
from bank_node.serving.ladder import Step
from bank_node.serving.watched_rows import NO_CHANNEL
from fraudfed.boosting.model import Model
from fraudfed.evaluation.drift.outcomes import DecidedRows
from fraudfed.evaluation.drift.rows import MONITORED_CHANNELS, MONITORED_KINDS, MonitoredRows
from fraudfed.payments.fraud_kinds import OTHER, fraud_kind_of

#: Decisions that are turned into arrays at once: bounds the memory of their features.
_BATCH: Final = 1 << 16
_STOPPED: Final = (Action.HOLD, Action.BLOCK)
_PLACES: Final = {name: at for at, name in enumerate(MONITORED_CHANNELS)}


@dataclass(frozen=True)
class KnownFraud:
    """What is known of a fraud.

    Attributes
    ----------
    report_time : int
        UTC epoch seconds.
    fraud_kind : str or None
        None: nobody said.
    """

    report_time: int
    fraud_kind: str | None = None

    @property
    def kind(self) -> int:
        """Position in ``MONITORED_KINDS``."""
        if self.fraud_kind is None:
            return len(MONITORED_KINDS) - 1
        return MONITORED_KINDS.index(fraud_kind_of(self.fraud_kind) or OTHER)


#: What is known of a transaction; None unless it is a fraud.
FraudOf = Callable[[str], KnownFraud | None]


def decided_rows(decisions: Sequence[Decision], fraud_of: FraudOf) -> DecidedRows:
    """Return decisions as outcomes count them."""
    frauds = [fraud_of(each.transaction_id) for each in decisions]
    return DecidedRows(
        event_time=np.array([each.event_time for each in decisions], dtype=np.int64),
        amount_minor=np.array([each.amount_minor for each in decisions], dtype=np.int64),
        is_alert=np.array([Action(each.action).is_alert for each in decisions], dtype=np.bool_),
        is_stopped=np.array([each.action in _STOPPED for each in decisions], dtype=np.bool_),
        report_time=np.array([-1 if f is None else f.report_time for f in frauds], dtype=np.int64),
    )


def watched_decisions(
    decisions: Iterable[Decision],
    fraud_of: FraudOf,
    *,
    watched: str,
    models: Mapping[str, Model],
) -> Iterator[tuple[MonitoredRows, DecidedRows]]:
    """Yield decisions as monitoring counts them, some at a time.

    Parameters
    ----------
    decisions : iterable of Decision
    fraud_of : callable
    watched : str
        Digest of the model under watch. The margins of others are not compared with its own.
    models : mapping of str to Model
        By digest, those whose features are the same by name, the one under watch among them.

    Raises
    ------
    StateError
        If bins are damaged.
    """
    rest = iter(decisions)
    while part := list(islice(rest, _BATCH)):
        yield _monitored(part, fraud_of, watched, models), decided_rows(part, fraud_of)


def _monitored(
    part: Sequence[Decision], fraud_of: FraudOf, watched: str, models: Mapping[str, Model]
) -> MonitoredRows:
    schema = models[watched].schema
    n_categories = np.array(schema.n_categories, dtype=np.int64)
    features = np.full((len(part), n_categories.size), np.nan, dtype=np.float32)
    # A payment whose features are not known is a fallback of some kind, and none that lacks them.
    is_fallback = np.ones(len(part), dtype=np.bool_)
    margins = np.full(len(part), np.nan, dtype=np.float32)
    for at, each in enumerate(part):
        model = models.get(each.model_sha256 or "")
        if each.step != Step.FULL or model is None or not each.bins:
            continue
        features[at], is_fallback[at] = row_of(each.bins, model), False
        if each.model_sha256 == watched and each.margin is not None:
            margins[at] = each.margin
    # A code beyond the model's own is one that it does not know.
    is_unknown = (n_categories > 0) & (features >= n_categories)
    features[is_unknown] = np.nan
    frauds = [fraud_of(each.transaction_id) for each in part]
    return MonitoredRows(
        event_time=np.array([each.event_time for each in part], dtype=np.int64),
        channel=np.array([_PLACES.get(e.channel or "", NO_CHANNEL) for e in part], dtype=np.int64),
        margins=margins,
        is_alert=np.array([Action(each.action).is_alert for each in part], dtype=np.bool_),
        is_fallback=is_fallback,
        features=features,
        is_unknown=is_unknown,
        report_time=np.array([-1 if f is None else f.report_time for f in frauds], dtype=np.int64),
        fraud_kind=np.array([0 if f is None else f.kind for f in frauds], dtype=np.int64),
    )
