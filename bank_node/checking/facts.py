"""What ``check-data`` counts of rows that meet the contract; the facts of parts add up.

Law: ``together`` is associative, and facts of all parts are those of all rows at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from bank_node.data.contract_terms import KnownFrauds
from fraudfed.dtypes import Int64Array
from fraudfed.features.table import FeatureTable
from fraudfed.intake.pieced_windows import total_counts
from fraudfed.intake.windows import WindowCounts, Windows
from fraudfed.wire.messages import DataContract

if TYPE_CHECKING:
    from bank_node.data.contract import TrainingRows
    from bank_node.data.streamed_table import StreamedTraining


@dataclass(frozen=True, eq=False)
class Facts:
    """Counts of some rows. Never leave the bank.

    Attributes
    ----------
    rows_read : int
    rows, frauds_trained : int
        To train on, and those of them with label 1.
    n_missing : ndarray of shape (n_features,), dtype=int64
        Of the rows to train on: how many have no value.
    counts, periods : mapping
        As in ``Windows``.
    population : int or None
        Payments in the contract's population; None if it is everybody's.
    frauds : KnownFrauds or None
        Of the population, in the order of the rows; None for a plain table.
    """

    rows_read: int
    rows: int
    frauds_trained: int
    n_missing: Int64Array
    counts: Mapping[str, WindowCounts]
    periods: Mapping[str, tuple[int, int]]
    population: int | None
    frauds: KnownFrauds | None

    @classmethod
    def of_windows(
        cls,
        windows: Windows,
        *,
        rows_read: int,
        population: int | None = None,
        frauds: KnownFrauds | None = None,
    ) -> "Facts":
        """Count windows."""
        train = windows.train
        return cls(
            rows_read=rows_read,
            rows=train.n_rows,
            frauds_trained=int(np.count_nonzero(train.labels == 1)),
            n_missing=np.count_nonzero(np.isnan(train.features), axis=0).astype(np.int64),
            counts=windows.counts,
            periods=windows.periods,
            population=population,
            frauds=frauds,
        )

    @classmethod
    def of_rows(cls, rows: "TrainingRows") -> "Facts":
        """Count rows in memory."""
        return cls.of_windows(
            rows.windows,
            rows_read=rows.rows_read,
            population=rows.population,
            frauds=rows.frauds,
        )

    @classmethod
    def of_streamed(cls, rows: "StreamedTraining") -> "Facts":
        """Return what was counted of a plain table that was read a piece at a time."""
        windows = rows.windows
        return cls(
            rows_read=rows.rows_read,
            rows=windows.train.n_rows,
            frauds_trained=windows.train.n_positives,
            n_missing=windows.n_missing,
            counts=windows.counts,
            periods=windows.periods,
            population=None,
            frauds=None,
        )

    @classmethod
    def together(cls, parts: Sequence["Facts"]) -> "Facts":
        """Add up the facts of parts, in their order; at least one."""
        first = parts[0]
        known = [each.frauds for each in parts if each.frauds is not None]
        return cls(
            rows_read=sum(each.rows_read for each in parts),
            rows=sum(each.rows for each in parts),
            frauds_trained=sum(each.frauds_trained for each in parts),
            n_missing=np.sum([each.n_missing for each in parts], axis=0, dtype=np.int64),
            counts=total_counts(each.counts for each in parts),
            periods=joined_periods([each.periods for each in parts]),
            population=(
                None if first.population is None else sum(each.population or 0 for each in parts)
            ),
            frauds=_joined_frauds(known) if known else None,
        )

    @property
    def labels_seen(self) -> tuple[float, ...]:
        """The labels that rows to train on have, ascending."""
        clean = (0.0,) if self.frauds_trained < self.rows else ()
        return (*clean, 1.0) if self.frauds_trained else clean


@dataclass(frozen=True, eq=False)
class BuiltFacts:
    """What is counted of features; the facts of parts add up.

    Attributes
    ----------
    rows : int
    first, last : int
        Event time, UTC epoch seconds; 0 without rows.
    n_missing : ndarray of shape (n_features,), dtype=int64
        In the order of the contract.
    """

    rows: int
    first: int
    last: int
    n_missing: Int64Array

    @classmethod
    def of(cls, built: FeatureTable, contract: DataContract) -> "BuiltFacts":
        """Count the payments of some features."""
        nan = dict(zip(built.names, np.isnan(built.values).sum(axis=0).tolist(), strict=True))
        times = built.event_time
        return cls(
            rows=built.n_rows,
            first=int(times.min()) if built.n_rows else 0,
            last=int(times.max()) if built.n_rows else 0,
            n_missing=np.array([nan[spec.name] for spec in contract.features], dtype=np.int64),
        )

    @classmethod
    def together(cls, parts: Sequence["BuiltFacts"]) -> "BuiltFacts":
        """Add up the facts of parts; at least one of them has rows."""
        some = [each for each in parts if each.rows]
        return cls(
            sum(each.rows for each in some),
            min(each.first for each in some),
            max(each.last for each in some),
            np.sum([each.n_missing for each in some], axis=0, dtype=np.int64),
        )


def joined_periods(
    parts: Sequence[Mapping[str, tuple[int, int]]],
) -> dict[str, tuple[int, int]]:
    """Return from when to when each window has rows in any of some parts."""
    found: dict[str, tuple[int, int]] = {}
    for periods in parts:
        for name, (first, last) in periods.items():
            before = found.get(name, (first, last))
            found[name] = (min(before[0], first), max(before[1], last))
    return found


def _joined_frauds(parts: Sequence[KnownFrauds]) -> KnownFrauds:
    def said(texts: Sequence[list[str | None] | None]) -> list[str | None] | None:
        if any(each is None for each in texts):
            return None
        return list(chain.from_iterable(each or () for each in texts))

    return KnownFrauds(
        event_time=np.concatenate([each.event_time for each in parts]),
        label_time=np.concatenate([each.label_time for each in parts]),
        kinds=said([each.kinds for each in parts]),
        end=max(each.end for each in parts),
        channels=said([each.channels for each in parts]),
    )
