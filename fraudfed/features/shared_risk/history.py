"""Windows over what all banks entered, looked up in the tables of one or more runs.

A window of N days before day t is the sum, over the days of entry t - lag - N to t - lag - 1, of
the estimates of each day: the least counter of each day first, then the sum. Adding the sketches up
first and taking the least counter of the sum would also be at or above the truth, but never nearer:
the sum of minima is at most the minimum of sums.

A report that was taken back on day r counts in no window that ends on r or later. On each day of
entry no more is taken back than was reported there, so no window is below 0, and a correction hides
reports of its own day only.

A payment sees the tables as they stood on its day t: those of runs whose last day lies at least 1 +
lag days before t, and of these, for each day of entry, the newest. What it needs and no run had yet
(in a batch of past days, whose tables were made in one run long afterwards) it sees in the oldest
run that has the day: what banks enter for a day does not depend on when they look, so that is the
table that would have been published in time by the banks of that run. So a run that comes later
never changes a feature that an earlier one gives.

Tables with noise (runs with privacy) are looked up by ``noised``: their counts may lie below the
truth. They are never mixed with exact ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fraudfed.dtypes import Int64Array, UInt32Array
from fraudfed.errors import DataError
from fraudfed.features.shared_risk.noised import day_variance, settled, unbiased
from fraudfed.features.shared_risk.sketch import (
    CountArray,
    columns_of,
    estimate,
    hash_identifiers,
    hash_key_id,
    rotated,
)
from fraudfed.features.shared_risk.tables import DayTable, RiskTables
from fraudfed.wire.messages import RiskEntity

#: Identifiers looked up at once: bounds the running totals to this many for each day.
_BLOCK = 1 << 14


@dataclass(frozen=True, eq=False)
class KeyedTables:
    """The tables of a run with the key that finds identifiers in them. Never leaves the bank.

    Attributes
    ----------
    tables : RiskTables
    hash_key : bytes of length 32

    Raises
    ------
    DataError
        If the tables were made under another key: every look-up would find another identifier.
    """

    tables: RiskTables
    hash_key: bytes

    def __post_init__(self) -> None:
        found = hash_key_id(self.hash_key)
        if found != self.tables.key_id:
            raise DataError(
                f"risk tables were made under hash key {self.tables.key_id.hex()}, got key "
                f"{found.hex()}; use the key of the run's key epoch"
            )


@dataclass(frozen=True, eq=False)
class WindowCounts:
    """Counts over windows, of each question.

    Attributes
    ----------
    transactions, frauds : ndarray of shape (n_windows, n_questions), dtype=int64
        At or above the truth, except that days without a table count as empty, that a correction
        may meet another identifier's in every row of a sketch, and that noise goes both ways.
    """

    transactions: Int64Array
    frauds: Int64Array


@dataclass(frozen=True, eq=False)
class _Published:
    """The table of a day out of one run, and the day of payment from which on it stands."""

    run: KeyedTables
    table: DayTable
    stands_from: int


@dataclass(frozen=True, eq=False)
class _TakenBack:
    """Reports of one day of entry that were taken back on another, by identifier."""

    reported: int
    entered: int
    counts: Int64Array


class SharedRisk:
    """The tables of one or more risk runs, as one history of days.

    Parameters
    ----------
    runs : sequence of KeyedTables
        At least one. Of runs that end on the same day, a later element replaces an earlier one.
    publication_lag_days : int
        Days from the end of a day of entry until its table is in use.

    Attributes
    ----------
    delay_days : int
        Between a payment and its day of entry; the same in all tables.
    entities : tuple of RiskEntity
        What each of the tables counts by.
    publication_lag_days : int
    is_noised : bool
        Whether all tables are of runs with privacy; else none is.
    first_day, last_day : int
        First and last day of entry that is covered, days since 1970-01-01 UTC.

    Raises
    ------
    DataError
        If there are no tables, or they differ in delay, or some have noise and some do not.
    ValueError
        If the lag is negative.
    """

    def __init__(self, runs: Sequence[KeyedTables], *, publication_lag_days: int = 1) -> None:
        if publication_lag_days < 0:
            raise ValueError(f"publication_lag_days is {publication_lag_days}, expected 0 or more")
        if not runs:
            raise DataError("no risk tables are given, expected those of one run or more")
        specs = [run.tables.spec for run in runs]
        delays = sorted({spec.delay_days for spec in specs})
        if len(delays) > 1:
            raise DataError(
                f"risk tables differ in delay ({' and '.join(map(str, delays))} days), expected "
                "one for all; choose runs of one delay"
            )
        self.delay_days = delays[0]
        noised = {spec.privacy is not None for spec in specs}
        if len(noised) > 1:
            raise DataError(
                "some risk tables carry noise and some are exact, expected one kind: exact ones "
                "show what the noise hides; choose runs of one kind"
            )
        self.is_noised = noised == {True}
        self.entities = tuple(
            entity for entity in RiskEntity if all(entity in spec.entities for spec in specs)
        )
        self.publication_lag_days = publication_lag_days
        # Oldest first; of one period, in the order that was given.
        ordered = sorted(
            runs, key=lambda run: (run.tables.spec.last_day, run.tables.spec.first_day)
        )
        self._days: dict[int, list[_Published]] = {}
        for run in ordered:
            for offset, day in enumerate(run.tables.days):
                entered = run.tables.spec.first_day + offset
                stands_from = run.tables.spec.last_day + 1 + publication_lag_days
                published = self._days.setdefault(entered, [])
                if published and published[-1].stands_from == stands_from:
                    # Made for the same days, it is a correction.
                    published.pop()
                published.append(_Published(run, day, stands_from))
        # Days of payment from which on the choice of a table may be another one.
        self._changes = sorted(
            {each.stands_from for found in self._days.values() for each in found[1:]}
        )
        self._corrected = sorted(
            entered
            for entered, found in self._days.items()
            if any(bool(each.table.corrections.any()) for each in found)
        )
        self.first_day = min(self._days, default=specs[0].first_day)
        self.last_day = max(self._days, default=specs[0].first_day - 1)

    def check_delay(self, risk_delay_days: int) -> None:
        """Check that payments were entered the risk delay after their own day.

        Parameters
        ----------
        risk_delay_days : int
            As in the data contract.

        Raises
        ------
        DataError
        """
        if self.delay_days != risk_delay_days:
            raise DataError(
                f"risk tables enter payments {self.delay_days} days after their own, expected "
                f"the {risk_delay_days} of risk_delay_days; choose tables of that delay"
            )

    def check_entity(self, entity: RiskEntity) -> None:
        """Refuse an entity that the tables do not count by; raises DataError."""
        if entity not in self.entities:
            raise DataError(
                f"risk tables do not count by {entity.value}, only by "
                f"{', '.join(self.entities)}; choose a run that does"
            )

    def missing_days(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the days from ``first`` to ``last`` without a table, as closed ranges."""
        ranges: list[tuple[int, int]] = []
        for day in range(first, last + 1):
            if day in self._days:
                continue
            if ranges and ranges[-1][1] == day - 1:
                ranges[-1] = (ranges[-1][0], day)
            else:
                ranges.append((day, day))
        return ranges

    def seen(self, entered: int, day: int) -> tuple[KeyedTables, DayTable] | None:
        """Return the run, and its table of a day of entry, that payments of ``day`` see."""
        found = self._table_of(entered, day)
        return None if found is None else (found.run, found.table)

    def windows(
        self,
        entity: RiskEntity,
        identifiers: Sequence[str],
        codes: Int64Array,
        days: Int64Array,
        *,
        widths: Sequence[int],
    ) -> WindowCounts:
        """Count over windows of days of entry that end the publication lag before a day.

        Parameters
        ----------
        entity : RiskEntity
            One of ``entities``.
        identifiers : sequence of str, of length n_identifiers
            Distinct; each is hashed once for each hash key.
        codes : ndarray of shape (n_questions,), dtype=int64
            Index of the identifier of each question.
        days : ndarray of shape (n_questions,), dtype=int64
            Day t of each question: a window holds the days from t - lag - width to t - lag - 1.
        widths : sequence of int
            Days.

        Raises
        ------
        DataError
            If the tables do not count by the entity.
        """
        self.check_entity(entity)
        found = WindowCounts(
            transactions=np.zeros((len(widths), codes.size), dtype=np.int64),
            frauds=np.zeros((len(widths), codes.size), dtype=np.int64),
        )
        # Payments of one era see the same table of each day.
        eras = np.searchsorted(self._changes, days, side="right")
        order = np.lexsort((codes, eras))
        for era in np.unique(eras).tolist():
            of_era = order[slice(*np.searchsorted(eras[order], [era, era + 1]))]
            self._fill(found, entity, identifiers, codes, days, of_era, widths)
        return found

    def _fill(
        self,
        found: WindowCounts,
        entity: RiskEntity,
        identifiers: Sequence[str],
        codes: Int64Array,
        days: Int64Array,
        order: Int64Array,
        widths: Sequence[int],
    ) -> None:
        """Answer the questions of one era, which ``order`` sorts by identifier."""
        ascending = codes[order]
        for start in range(0, len(identifiers), _BLOCK):
            block = identifiers[start : start + _BLOCK]
            low, high = ascending.searchsorted([start, start + _BLOCK])
            rows = order[low:high]
            if rows.size == 0:
                continue
            asked = days[rows] - self.publication_lag_days
            # Days without a table add nothing.
            first = max(int(asked.min()) - max(widths), self.first_day)
            stop = max(min(int(asked.max()), self.last_day + 1), first)
            places = _Places(entity, block)
            for kind, counts in (("transactions", found.transactions), ("frauds", found.frauds)):
                if self.is_noised:
                    asked_rows = (rows, codes[rows] - start, asked)
                    self._fill_noised(
                        counts,
                        kind,
                        places,
                        range(first, stop),
                        int(days[rows[0]]),
                        asked_rows,
                        widths,
                    )
                    continue
                total = self._running_total(kind, places, range(first, stop), int(days[rows[0]]))
                which = codes[rows] - start
                end = np.clip(asked, first, stop) - first
                for index, width in enumerate(widths):
                    begin = np.clip(asked - width, first, stop) - first
                    counts[index, rows] = total[end, which] - total[begin, which]
                if kind == "frauds":
                    day = int(days[rows[0]])
                    for corrected in self._taken_back(total, places, range(first, stop), day):
                        _take_back(counts, corrected, rows, which, asked, widths)

    def _fill_noised(
        self,
        counts: Int64Array,
        kind: str,
        places: "_Places",
        span: range,
        day: int,
        questions: tuple[Int64Array, Int64Array, Int64Array],
        widths: Sequence[int],
    ) -> None:
        """Answer questions from tables with noise, changing ``counts`` in place.

        ``questions`` are their numbers, their identifiers, and the days behind their windows.
        """
        rows, which, asked = questions
        total = np.zeros((len(span) + 1, len(places.identifiers)), dtype=np.int64)
        variance = np.zeros(len(span) + 1, dtype=np.int64)
        for index, entered in enumerate(span):
            total[index + 1], variance[index + 1] = total[index], variance[index]
            seen = self._table_of(entered, day)
            if seen is not None:
                spec = seen.run.tables.spec
                row = getattr(seen.table, kind)[spec.entities.index(places.entity)]
                columns = places.columns(seen.run.hash_key, (1, row.size))[0]
                total[index + 1] += unbiased(row, columns)
                variance[index + 1] += day_variance(spec, kind=kind)
        end = np.clip(asked, span.start, span.stop) - span.start
        for index, width in enumerate(widths):
            begin = np.clip(asked - width, span.start, span.stop) - span.start
            counts[index, rows] = settled(
                total[end, which] - total[begin, which], variance[end] - variance[begin], kind=kind
            )

    def _taken_back(
        self, total: Int64Array, places: "_Places", span: range, day: int
    ) -> Iterator[_TakenBack]:
        """Yield what corrections take back of the reports of each day of ``span``.

        ``total`` is what ``_running_total`` says of the frauds of the span.
        """
        corrected = [r for r in self._corrected if span.start <= r < span.stop]
        for reported in span:
            if not corrected or reported > corrected[-1]:
                return
            found = total[reported - span.start + 1] - total[reported - span.start]
            if not found.any():
                continue
            so_far = np.zeros_like(found)
            for entered in corrected:
                seen = None if entered < reported else self._table_of(entered, day)
                if seen is None:
                    continue
                sketch: CountArray = seen.table.corrections
                columns = places.columns(seen.run.hash_key, sketch.shape, rotation=reported)
                before = np.minimum(found, so_far)
                so_far += estimate(sketch, columns)
                counts = np.minimum(found, so_far) - before
                if counts.any():
                    yield _TakenBack(reported, entered, counts)

    def _table_of(self, entered: int, day: int) -> _Published | None:
        """Return the table of a day of entry that payments of a day see; None if there is none."""
        published = self._days.get(entered)
        if published is None:
            return None
        standing = [each for each in published if each.stands_from <= day]
        return standing[-1] if standing else published[0]

    def _running_total(self, kind: str, places: "_Places", span: range, day: int) -> Int64Array:
        """Return estimates added up over the days of ``span``, none of them first.

        ``day`` is that of a payment, any of an era.

        Returns
        -------
        ndarray of shape (len(span) + 1, n_identifiers), dtype=int64
        """
        total = np.zeros((len(span) + 1, len(places.identifiers)), dtype=np.int64)
        for index, entered in enumerate(span):
            total[index + 1] = total[index]
            seen = self._table_of(entered, day)
            if seen is not None:
                sketch: CountArray = getattr(seen.table, kind)
                columns = places.columns(seen.run.hash_key, sketch.shape)
                total[index + 1] += estimate(sketch, columns)
        return total


class _Places:
    """Where identifiers lie in sketches, worked out once for each key and each size."""

    def __init__(self, entity: RiskEntity, identifiers: Sequence[str]) -> None:
        self.identifiers = identifiers
        self.entity = entity
        self._hashes: dict[tuple[bytes, int], UInt32Array] = {}
        self._columns: dict[tuple[bytes, tuple[int, ...]], list[Int64Array]] = {}

    def columns(
        self, hash_key: bytes, shape: tuple[int, ...], *, rotation: int = 0
    ) -> list[Int64Array]:
        """Return the counters of the identifiers in each row of a sketch of a shape."""
        depth, width = shape
        if rotation:
            hashes = rotated(self._hashed(hash_key, depth), rotation)
            return [columns_of(hashes, row, width=width) for row in range(depth)]
        if (hash_key, shape) not in self._columns:
            hashes = self._hashed(hash_key, depth)
            self._columns[hash_key, shape] = [
                columns_of(hashes, row, width=width) for row in range(depth)
            ]
        return self._columns[hash_key, shape]

    def _hashed(self, hash_key: bytes, depth: int) -> UInt32Array:
        if (hash_key, depth) not in self._hashes:
            self._hashes[hash_key, depth] = hash_identifiers(
                self.entity, self.identifiers, hash_key=hash_key, depth=depth
            )
        return self._hashes[hash_key, depth]


def _take_back(
    counts: Int64Array,
    corrected: _TakenBack,
    rows: Int64Array,
    which: Int64Array,
    asked: Int64Array,
    widths: Sequence[int],
) -> None:
    """Take reports back from the windows that hold their day and end on the correction's or later.

    Parameters
    ----------
    counts : ndarray of shape (n_windows, n_questions), dtype=int64
        Changed in place.
    corrected : _TakenBack
    rows, which, asked : ndarray of shape (n,), dtype=int64
        Of each question: its number, its identifier, and the day behind its windows.
    widths : sequence of int
    """
    taken = corrected.counts[which]
    known = (taken > 0) & (asked > corrected.entered)
    if not known.any():
        return
    for index, width in enumerate(widths):
        holds = known & (asked - width <= corrected.reported)
        counts[index, rows[holds]] -= taken[holds]
