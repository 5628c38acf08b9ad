"""Sum what all banks have counted; every bank runs this and ends with the same counts.

Law: the sums depend on what all banks enter together, not on how it is split over them. All passes
through ``Communicator.sum``, in two rounds: payments by week, and by day and channel, which bound
what follows, and everything else at once. Which sums are made depends on the description alone.
"""

import base64
import json
from typing import Any, Final

import numpy as np

from fraudfed.boosting.bounds.pooled_counts import MAX_POOLED_ROWS
from fraudfed.communicator import Communicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import StateError
from fraudfed.evaluation.drift.metrics import DriftMetric
from fraudfed.evaluation.drift.rows import HOUR
from fraudfed.evaluation.drift.watch import Watch
from fraudfed.evaluation.pooled_counts import SumOfParts
from fraudfed.foreign_json import parse_foreign
from fraudfed.held_sums import hold_counted

_VERSION: Final = 1
_MOST_BYTES: Final = 256 << 20


class PooledWatch:
    """Summed counts of all banks, with canonical bytes.

    Attributes
    ----------
    watch : Watch
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    @property
    def n_steps(self) -> int:
        """Finished steps of the run, which has one."""
        return 1

    @property
    def payments(self) -> int:
        """Payments of all weeks, as entered."""
        return int(self.watch.totals.counts[:, -1, 0].sum())

    def to_bytes(self) -> bytes:
        """Return canonical bytes: one line of JSON, counts as base64 of 64-bit integers."""
        document = {
            "version": _VERSION,
            "counts": {
                metric.name: base64.b64encode(metric.counts.astype("<i8").tobytes()).decode()
                for metric in self.watch.metrics
            },
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, *, empty: Watch) -> "PooledWatch":
        """Read what ``to_bytes`` has written.

        Parameters
        ----------
        data : bytes
        empty : Watch
            Of the run's weeks and features; the counts are put into it.

        Raises
        ------
        StateError
            If the bytes are no counts of such a watch, or not canonical.
        """
        found = cls(empty)
        try:
            document: dict[str, Any] = parse_foreign(data, most_bytes=_MOST_BYTES)
            for metric in empty.metrics:
                raw = base64.b64decode(document["counts"][metric.name], validate=True)
                counts = np.frombuffer(raw, dtype="<i8").astype(np.int64)
                metric.counts = counts.reshape(metric.counts.shape)
            is_canonical = found.to_bytes() == data and _is_true(empty)
        except (ValueError, KeyError, TypeError, AttributeError):
            is_canonical = False
        if not is_canonical:
            raise StateError(
                "pooled monitoring counts: cannot be read, or are of another run; take them from "
                "their run again, or restore them from a backup"
            )
        return found


def pool_watch(own: Watch, communicator: Communicator) -> PooledWatch:
    """Sum what all banks enter.

    Parameters
    ----------
    own : Watch
        What this bank enters; all may be 0.
    communicator : Communicator

    Raises
    ------
    SumError
        If an opened sum is none of payments.
    FraudFedError
        If a sum fails.
    """
    pooled = Watch(own.weeks, own.features, slot_seconds=own.slot_seconds)
    first = SumOfParts()
    wholes: tuple[DriftMetric, ...] = (own.totals, own.traffic)
    for whole in wholes:
        first.add(whole.counts[..., 0], MAX_POOLED_ROWS)
    payments = first.sum(communicator, label="monitor:payments")
    for found in payments:
        hold_counted(bool(((found >= 0) & (found <= MAX_POOLED_ROWS)).all()))
    bounds = _bounds(pooled, *payments)
    rest = SumOfParts()
    for metric, bound in zip(own.metrics, bounds, strict=True):
        if metric in wholes:
            rest.add(metric.counts[..., 1:], bound[..., 1:])
        else:
            rest.add(metric.counts, bound)
    found_of_rest = rest.sum(communicator, label="monitor:counts")
    for at, (metric, counts) in enumerate(zip(pooled.metrics, found_of_rest, strict=True)):
        parts = [payments[at][..., None], counts] if at < len(wholes) else [counts]
        metric.counts = np.concatenate(parts, axis=-1)
    hold_counted(_is_true(pooled))
    return PooledWatch(pooled)


def _bounds(watch: Watch, by_week: Int64Array, by_slot: Int64Array) -> list[Int64Array]:
    """Return what each count is at most.

    Every bound is of a count that banks enter as it is: the sum of what they enter of days may be
    less than what they enter of the week, as small counts are entered as 0.

    Parameters
    ----------
    watch : Watch
    by_week : ndarray of shape (n_weeks, n_channels + 1), dtype=int64
        Payments, over all channels in the last entry.
    by_slot : ndarray of shape (n_slots, n_channels), dtype=int64
        Payments.
    """
    by_scores_week = watch.slot_seconds != HOUR

    def spread(whole: Int64Array, like: Int64Array) -> Int64Array:
        shape = whole.shape + (1,) * (like.ndim - whole.ndim)
        bound: Int64Array = np.broadcast_to(whole.reshape(shape), like.shape)
        return bound

    return [
        spread(by_week, watch.totals.counts),
        spread(by_slot, watch.traffic.counts),
        spread(by_slot, watch.absences.counts),
        spread(by_week[:, :-1] if by_scores_week else by_slot, watch.scores.counts),
        spread(by_week[:, -1], watch.by_feature.counts),
        spread(by_week[:, -1], watch.frauds.counts),
    ]


def _is_true(watch: Watch) -> bool:
    """Tell whether parts are within their wholes, as they are for all payments."""
    bounds = _bounds(watch, watch.totals.counts[..., 0], watch.traffic.counts[..., 0])
    within = all(
        bool((metric.counts >= 0).all() and (metric.counts <= bound).all())
        for metric, bound in zip(watch.metrics, bounds, strict=True)
    )
    # By now at least those of the week's own end; alerted ones are among all.
    frauds = watch.frauds.counts
    grows = bool((frauds[:, :, 0] <= frauds[:, :, 1]).all())
    return within and grows and bool((frauds[..., 1] <= frauds[..., 0]).all())
