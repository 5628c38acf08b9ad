"""One identifier in the tables of all banks: windows of counts, and how far they may be off.

The count of a window is that of the features: of each day the least counter, added up. It is never
below what the banks entered (G. Cormode, S. Muthukrishnan, "An improved data stream summary: the
count-min sketch and its applications", Journal of Algorithms 55 (2005), pages 58-75, section 3.1),
except where corrections lower it, whose own sketch may be too high.

How far it may be above is read from the sketch itself, whose counters show how errors are
distributed (D. Ting, "Count-Min: Optimal Estimation and Tight Error Bounds using Empirical Error
Distributions", KDD 2018, pages 2319-2328, arXiv:1811.04150; the bound and its proof are ours). Let
all other identifiers have their columns. The hash puts this one under a column of each row, drawn
evenly and in each row by itself. So what the others add to its counter of a row is above ``e`` with
the share of the row's counters above ``e``, and the least of these additions is with the product of
the shares. The identifier's own count can only make shares larger. Hence an estimate is too high by
more than the least ``e`` whose product is at most ``1 - confidence`` with no more than that
probability. Theorem 1 of the first paper bounds the same by the total alone, and less closely.

The columns of an identifier are the same on every day, so days are not independent: the sketches of
a window are added up first, and the bound is that of their sum. Where days of a window lie in
sketches of several keys or sizes, each kind takes an equal part of the error (the union bound).

Of tables with noise (runs with privacy) an identifier has one counter, in the row of its kind. What
others and the noise add to it is drawn as in any other counter of the row, so the same bound holds
from below. From above there is the noise alone: others only add.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np

from fraudfed.dtypes import Int64Array, UInt32Array
from fraudfed.features.shared_risk.history import KeyedTables, SharedRisk
from fraudfed.features.shared_risk.noised import SCALE, day_variance, settled, unbiased
from fraudfed.features.shared_risk.sketch import hash_identifiers, rotated
from fraudfed.features.shared_risk.tables import DayTable
from fraudfed.wire.messages import RiskEntity

#: That a lower bound holds; the upper bound always does, unless reports were taken back.
CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Interval:
    """A count, and where what the banks entered lies.

    Attributes
    ----------
    count : int
        The estimate, as the features have it.
    lower, upper : int
        Ends of the interval. A lower end of 0 says nothing: not that there was nothing.
    """

    count: int
    lower: int
    upper: int

    @property
    def is_known(self) -> bool:
        """Whether anything can be said to be there."""
        return self.lower > 0


@dataclass(frozen=True)
class Window:
    """What all banks entered of one identifier in some days.

    Attributes
    ----------
    days : int
        Length of the window.
    missing : tuple of (int, int)
        Days of it without a table, as closed ranges: nothing is known of them.
    payments, frauds : Interval
        Of the other days.
    """

    days: int
    missing: tuple[tuple[int, int], ...]
    payments: Interval
    frauds: Interval


@dataclass(frozen=True, eq=False)
class _Layer:
    """Sketches of one key and size, of the days of a window that lie in such.

    Attributes
    ----------
    hash_key : bytes
    stack : ndarray of shape (depth, width, n_days), dtype=int64
        A counter's days lie side by side: a look-up reads few places of memory.
    excess : int
        What a count of the window may be too high by.
    days : list of int
        Of entry.
    """

    hash_key: bytes
    stack: Int64Array
    excess: int
    days: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Corrections:
    """Reports that were taken back on a day.

    Attributes
    ----------
    hash_key : bytes
    sketch : ndarray of shape (depth, width), dtype=int64
    excess : int
        What an estimate of it may be too high by.
    """

    hash_key: bytes
    sketch: Int64Array
    excess: int


#: Counters of the longest window, by kind of count, hash key and shape.
_Stacks: TypeAlias = dict[tuple[str, bytes, tuple[int, ...]], Int64Array]


class RiskLookup:
    """Windows that end with the newest day of some tables, made ready to be asked.

    Parameters
    ----------
    shared : SharedRisk
    widths : sequence of int
        Lengths of the windows, days.
    confidence : float
        Of the lower ends, between 0 and 1.
    last_day : int or None
        On which the windows end; None: the newest day of the tables.

    Attributes
    ----------
    last_day : int
        Days since 1970-01-01 UTC.
    runs : tuple of KeyedTables
        Whose tables the longest window holds.
    """

    def __init__(
        self,
        shared: SharedRisk,
        *,
        widths: Sequence[int],
        confidence: float = CONFIDENCE,
        last_day: int | None = None,
    ) -> None:
        if not 0.0 < confidence < 1.0:
            raise ValueError(f"confidence is {confidence}, expected one between 0 and 1")
        self.last_day = shared.last_day if last_day is None else last_day
        self._shared = shared
        self._widths = tuple(widths)
        self._failure = 1.0 - confidence
        # A payment of the day on which the last day is published: what stands then, stands here.
        self._asked = self.last_day + 1 + shared.publication_lag_days
        longest = max(widths)
        self._seen: dict[int, tuple[KeyedTables, DayTable]] = {}
        for day in range(self.last_day - longest + 1, self.last_day + 1):
            found = shared.seen(day, self._asked)
            if found is not None:
                self._seen[day] = found
        self.runs = tuple({id(run): run for run, _ in self._seen.values()}.values())
        self._missing = {
            width: tuple(shared.missing_days(self.last_day - width + 1, self.last_day))
            for width in self._widths
        }
        stacks: _Stacks = {}
        self._layers: dict[tuple[str, int], tuple[_Layer, ...]] = {}
        self._corrections: dict[int, _Corrections] = {}
        if shared.is_noised:
            return
        self._layers = {
            (kind, width): self._made(kind, width, stacks)
            for kind in ("transactions", "frauds")
            for width in sorted(self._widths, reverse=True)
        }
        corrected = {
            day: each for day, each in self._seen.items() if bool(each[1].corrections.any())
        }
        self._corrections = {
            day: _Corrections(
                run.hash_key,
                np.asarray(table.corrections, dtype=np.int64),
                likely_excess(
                    np.asarray(table.corrections, dtype=np.int64),
                    failure=self._failure / len(corrected),
                ),
            )
            for day, (run, table) in sorted(corrected.items())
        }

    def windows(self, entity: RiskEntity, identifier: str) -> tuple[Window, ...]:
        """Look one identifier up.

        Parameters
        ----------
        entity : RiskEntity
        identifier : str
            In canonical form.

        Raises
        ------
        DataError
            If the tables do not count by the entity.
        """
        self._shared.check_entity(entity)
        if self._shared.is_noised:
            return tuple(self._noised(entity, identifier, width) for width in self._widths)
        # Keyed hashes take longer than all else, and tables of one key share them.
        hashes = _Hashes(entity, identifier)
        return tuple(
            Window(
                days=width,
                missing=self._missing[width],
                payments=self._interval("transactions", width, hashes),
                frauds=self._interval("frauds", width, hashes),
            )
            for width in self._widths
        )

    def _noised(self, entity: RiskEntity, identifier: str, width: int) -> Window:
        """Look one identifier up in tables with noise."""
        hashes, found = _Hashes(entity, identifier), {}
        for kind in ("transactions", "frauds"):
            total = variance = 0
            sums: dict[tuple[bytes, int], tuple[int, Int64Array]] = {}
            for day in range(self.last_day - width + 1, self.last_day + 1):
                if day not in self._seen:
                    continue
                run, table = self._seen[day]
                spec = run.tables.spec
                row = getattr(table, kind)[spec.entities.index(entity)].astype(np.int64)
                at = int(hashes.of(run.hash_key, 1)[0, 0]) & (row.size - 1)
                total += int(unbiased(row, np.array([at], dtype=np.int64))[0])
                variance += day_variance(spec, kind=kind)
                _, before = sums.get((run.hash_key, row.size), (at, np.zeros_like(row)))
                sums[run.hash_key, row.size] = at, before + row
            lower = upper = 0
            for at, row in sums.values():
                excess = likely_excess(row[None], failure=self._failure / len(sums))
                lower += max(int(row[at]) - excess, 0)
                upper += int(row[at])
            deviations = NormalDist().inv_cdf(1.0 - self._failure)
            upper += math.ceil(deviations * math.sqrt(variance / SCALE))
            window = np.array([total], dtype=np.int64)
            count = int(settled(window, np.array([variance], dtype=np.int64), kind=kind)[0])
            most = max(count, upper, 0)
            found[kind] = Interval(count=count, lower=min(lower, count), upper=most)
        return Window(
            days=width,
            missing=self._missing[width],
            payments=found["transactions"],
            frauds=found["frauds"],
        )

    def _made(self, kind: str, width: int, longest: _Stacks) -> tuple[_Layer, ...]:
        groups: dict[tuple[bytes, tuple[int, ...]], list[int]] = {}
        for day in range(self.last_day - width + 1, self.last_day + 1):
            if day in self._seen:
                run, table = self._seen[day]
                groups.setdefault((run.hash_key, getattr(table, kind).shape), []).append(day)
        layers = []
        for (hash_key, shape), days in groups.items():
            # Windows end on one day, so the days of a shorter one are the last of the longest: a
            # view of its counters, which are in the processor's cache by then.
            if (kind, hash_key, shape) not in longest:
                longest[kind, hash_key, shape] = np.stack(
                    [getattr(self._seen[day][1], kind) for day in days], axis=-1, dtype=np.int64
                )
            stack = longest[kind, hash_key, shape][..., -len(days) :]
            excess = likely_excess(stack.sum(axis=-1), failure=self._failure / len(groups))
            layers.append(_Layer(hash_key, stack, excess, tuple(days)))
        return tuple(layers)

    def _interval(self, kind: str, width: int, hashes: "_Hashes") -> Interval:
        count = lower = upper = 0
        for layer in self._layers[kind, width]:
            depth, columns, _ = layer.stack.shape
            at = hashes.of(layer.hash_key, depth)[0] & np.uint32(columns - 1)
            counters = layer.stack[np.arange(depth), at]
            by_day = counters.min(axis=0)
            most = int(by_day.sum())
            least = max(int(counters.sum(axis=1).min()) - layer.excess, 0)
            taken, surely = (0, 0)
            if kind == "frauds" and self._corrections and most:
                taken, surely = self._taken_back(layer.days, by_day, hashes)
            count += most - taken
            upper += most - surely
            lower += max(min(least, most) - taken, 0)
        return Interval(count=count, lower=lower, upper=upper)

    def _taken_back(
        self, days: tuple[int, ...], by_day: Int64Array, hashes: "_Hashes"
    ) -> tuple[int, int]:
        """Return how many reports were taken back as it seems, and how many at least."""
        taken = surely = 0
        for day, found in zip(days, by_day.tolist(), strict=True):
            seems = least = 0
            for entered, made in self._corrections.items():
                if found and entered >= day:
                    depth, columns = made.sketch.shape
                    of_day = rotated(hashes.of(made.hash_key, depth), day)
                    at = of_day[0] & np.uint32(columns - 1)
                    one = int(made.sketch[np.arange(depth), at].min())
                    seems += one
                    least += max(one - made.excess, 0)
            taken += min(found, seems)
            surely += min(found, least)
        return taken, surely


class _Hashes:
    """Of one identifier, made once for each key and depth."""

    def __init__(self, entity: RiskEntity, identifier: str) -> None:
        self._entity, self._identifier = entity, identifier
        self._made: dict[tuple[bytes, int], UInt32Array] = {}

    def of(self, hash_key: bytes, depth: int) -> UInt32Array:
        """Return hashes; shape (1, depth), dtype=uint32."""
        if (hash_key, depth) not in self._made:
            self._made[hash_key, depth] = hash_identifiers(
                self._entity, [self._identifier], hash_key=hash_key, depth=depth
            )
        return self._made[hash_key, depth]


def likely_excess(sketch: Int64Array, *, failure: float) -> int:
    """Return what an estimate of a sketch is too high by at most, but for a probability.

    The least e with prod over rows of (share of the row's counters above e) <= ``failure``.

    Parameters
    ----------
    sketch : ndarray of shape (depth, width), dtype=int64
    failure : float
        Between 0 and 1.

    Returns
    -------
    int
    """
    ordered = np.sort(sketch, axis=1)
    width = sketch.shape[1]

    def exceeds(excess: int) -> bool:
        above = [width - int(row.searchsorted(excess, side="right")) for row in ordered]
        return bool(np.prod(np.array(above, dtype=np.float64) / width) > failure)

    low, high = 0, int(ordered.max(initial=0))
    while low < high:
        middle = (low + high) // 2
        if exceeds(middle):
            low = middle + 1
        else:
            high = middle
    return low
