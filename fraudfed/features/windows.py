"""Counts and sums over time windows per key, for whole tables at once.

All events of all keys are laid on ONE int64 axis, key after key, with a gap between two keys that
is wider than any window::

    axis   |--key 0: t t  t---|....gap....|--key 1: t   tt t--|....gap....|--key 2 ...
           position = key * stride + (time - first time)

so that one binary search over the whole axis answers every key's question, and no Python loop
runs over keys or rows. Two laws carry everything:

* a window ``[t - delay - width, t - delay)`` holds the events between two binary searches;
* an *interval* ``(start, end]`` of a key covers ``t`` exactly if ``start < t <= end``. As every
  interval starts and ends on its own key's stretch, the number that cover ``t`` is
  ``#{starts < t} - #{ends < t}`` over the whole axis: the intervals of other keys cancel. Each
  start adds one to every later event and each end takes one away: a running total of changes.

Counts and sums are int64 and exact, so no result depends on the order of the rows. "Earlier"
always means at an earlier second: events of one second do not see each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fraudfed.dtypes import BoolArray, Int64Array


@dataclass(frozen=True, eq=False)
class Window:
    """One time window per event, as a slice of the sorted events.

    Attributes
    ----------
    first, stop : ndarray of shape (n_events,), dtype=int64
        The window of event ``i`` holds the sorted events ``first[i]`` to ``stop[i] - 1``.
    """

    first: Int64Array
    stop: Int64Array

    def count(self) -> Int64Array:
        """Return the number of events in each window; shape (n_events,), dtype=int64."""
        return self.stop - self.first

    def sum(self, total: Int64Array) -> Int64Array:
        """Return the sum of a value over each window.

        Parameters
        ----------
        total : ndarray of shape (n_events + 1,), dtype=int64
            :func:`running_total` of the value in sorted order.

        Returns
        -------
        ndarray of shape (n_events,), dtype=int64
            Exact as long as the sum itself fits: the running total over all keys may wrap
            around 2^64, the difference of two totals is right all the same.
        """
        return total[self.stop] - total[self.first]


@dataclass(frozen=True, eq=False)
class KeyedTimeline:
    """Events of many keys, sorted by key, then time. Build it with :meth:`of`.

    All arrays, given or returned, are in *sorted* order unless a docstring says otherwise;
    ``order`` leads back to the caller's rows: ``by_row[timeline.order] = in_sorted_order``.

    Attributes
    ----------
    order : ndarray of shape (n_events,), dtype=int64
        The caller's row of each sorted event.
    codes : ndarray of shape (n_events,), dtype=int64
        Key of each event.
    times : ndarray of shape (n_events,), dtype=int64
        Time of each event, epoch seconds.
    positions : ndarray of shape (n_events,), dtype=int64
        Position on the axis, ascending.
    origin : int
        The time that lies at the start of every key's stretch.
    stride : int
        Distance between the stretches of two neighbouring keys.
    lookback : int
        Longest ``delay + width`` that may be asked for, in seconds.
    """

    order: Int64Array
    codes: Int64Array
    times: Int64Array
    positions: Int64Array
    origin: int
    stride: int
    lookback: int

    @classmethod
    def of(cls, codes: Int64Array, times: Int64Array, *, lookback: int) -> "KeyedTimeline":
        """Lay events on the axis.

        Parameters
        ----------
        codes : ndarray of shape (n_events,), dtype=int64
            Keys as integers >= 0, as dense as possible.
        times : ndarray of shape (n_events,), dtype=int64
            Epoch seconds.
        lookback : int
            Longest ``delay + width`` that will be asked for, in seconds.

        Raises
        ------
        OverflowError
            If keys times time range do not fit into 62 bits.
        """
        if codes.size == 0:
            empty = np.empty(0, dtype=np.int64)
            return cls(empty, empty, empty, empty, origin=0, stride=1, lookback=lookback)
        origin = int(times.min())
        stride = int(times.max()) - origin + lookback + 1
        n_keys = int(codes.max()) + 1
        if n_keys * stride >= 1 << 62:
            raise OverflowError(
                f"{n_keys} keys over {stride} seconds do not fit on one int64 axis; "
                "expected fewer keys or a shorter time range, split the data by key"
            )
        unsorted = codes * stride + (times - origin)
        order = np.argsort(unsorted)
        return cls(
            order=order,
            codes=codes[order],
            times=times[order],
            positions=unsorted[order],
            origin=origin,
            stride=stride,
            lookback=lookback,
        )

    def only(self, chosen: BoolArray) -> "KeyedTimeline":
        """Return the timeline of some events; they need no sorting.

        Parameters
        ----------
        chosen : ndarray of shape (n_rows,), dtype=bool
            By the caller's row.
        """
        kept = chosen[self.order]
        return replace(
            self,
            order=self.order[kept],
            codes=self.codes[kept],
            times=self.times[kept],
            positions=self.positions[kept],
        )

    @property
    def n_events(self) -> int:
        """Number of events."""
        return int(self.positions.size)

    def with_ties_by(self, names: "pd.Series[str]") -> "KeyedTimeline":
        """Return the timeline with the events of one key and second in the order of ``names``.

        Parameters
        ----------
        names : Series of shape (n_rows,)
            Indexed by position as the caller's rows are. Looked at only where there are ties.
        """
        tied = np.zeros(self.n_events, dtype=np.bool_)
        equal = self.positions[1:] == self.positions[:-1]
        tied[1:] |= equal
        tied[:-1] |= equal
        where = np.flatnonzero(tied)
        if where.size == 0:
            return self
        rows = self.order[where]
        _, rank = np.unique(names.iloc[rows].to_numpy(dtype=object), return_inverse=True)
        order = self.order.copy()
        order[where] = rows[np.lexsort((rank, self.positions[where]))]
        return replace(self, order=order)

    def first_of_second(self) -> Int64Array:
        """Return the index of the first event of the same key and second, for each event.

        Returns
        -------
        ndarray of shape (n_events,), dtype=int64
        """
        index = np.arange(self.n_events, dtype=np.int64)
        starts = np.ones(self.n_events, dtype=np.bool_)
        np.not_equal(self.positions[1:], self.positions[:-1], out=starts[1:])
        return np.maximum.accumulate(np.where(starts, index, 0))

    def previous(self) -> Int64Array:
        """Return the index of an event of the same key at the latest earlier second, or -1.

        If several events share that second it is the last of them in sorted order; see
        :meth:`with_ties_by` if it matters which.

        Returns
        -------
        ndarray of shape (n_events,), dtype=int64
        """
        before = self.first_of_second() - 1
        same_key = self.codes[np.maximum(before, 0)] == self.codes
        return np.where((before >= 0) & same_key, before, -1)

    def previous_of(self, marked: BoolArray) -> Int64Array:
        """Return the index of a marked event of the same key at the latest earlier second, or -1.

        Parameters
        ----------
        marked : ndarray of shape (n_events,), dtype=bool

        Returns
        -------
        ndarray of shape (n_events,), dtype=int64
        """
        index = np.arange(self.n_events, dtype=np.int64)
        latest = np.maximum.accumulate(np.where(marked, index, -1))
        before = self.first_of_second() - 1
        found = np.where(before >= 0, latest[np.maximum(before, 0)], -1)
        same_key = self.codes[np.maximum(found, 0)] == self.codes
        return np.where((found >= 0) & same_key, found, -1)

    def next_of(self, marked: BoolArray) -> Int64Array:
        """Return the index of a marked event of the same key at the first later second, or -1.

        Parameters
        ----------
        marked : ndarray of shape (n_events,), dtype=bool

        Returns
        -------
        ndarray of shape (n_events,), dtype=int64
        """
        index = np.arange(self.n_events, dtype=np.int64)
        nobody = self.n_events
        first = np.full(self.n_events + 1, nobody, dtype=np.int64)
        first[:-1] = np.minimum.accumulate(np.where(marked, index, nobody)[::-1])[::-1]
        found = first[self.index_after(0)]
        there = np.flatnonzero(found < nobody)
        same_key = self.codes[found[there]] == self.codes[there]
        result = np.full(self.n_events, -1, dtype=np.int64)
        result[there[same_key]] = found[there[same_key]]
        return result

    def index_after(self, lead: int) -> Int64Array:
        """Count the events on the axis up to ``(key, time + lead)``, itself included, for each.

        The events of one key at times in ``(t, t + b]`` are those with sorted index from
        ``index_after(0)`` up to, not including, ``index_after(b)``.

        Parameters
        ----------
        lead : int
            Seconds, from 0 to ``lookback``.

        Raises
        ------
        ValueError
            If ``lead`` is out of range.
        """
        if not 0 <= lead <= self.lookback:
            raise ValueError(f"lead is {lead} seconds, expected 0 to the lookback {self.lookback}")
        return self.positions.searchsorted(self.positions + lead, side="right")

    def index_at(self, lag: int) -> Int64Array:
        """Count the events on the axis before ``(key, time - lag)``, for each event.

        The events of one key at times in ``[t - a, t - b)`` are those with sorted index from
        ``index_at(a)`` up to, not including, ``index_at(b)``.

        Parameters
        ----------
        lag : int
            Seconds, from 0 to ``lookback``.

        Returns
        -------
        ndarray of shape (n_events,), dtype=int64

        Raises
        ------
        ValueError
            If ``lag`` is out of range.
        """
        if not 0 <= lag <= self.lookback:
            raise ValueError(f"lag is {lag} seconds, expected 0 to the lookback {self.lookback}")
        if lag == 0:
            return self.first_of_second()
        # The needles ascend as the haystack does, so neighbouring searches share their cache lines.
        return self.positions.searchsorted(self.positions - lag)

    def windows(self, widths: Sequence[int], *, delay: int = 0) -> "list[Window]":
        """Return the windows ``[t - delay - width, t - delay)`` of every event's own key.

        Parameters
        ----------
        widths : sequence of int
            Seconds.
        delay : int
            Seconds; ``delay + width`` is at most ``lookback``.

        Returns
        -------
        list of Window
            One for each width.

        Raises
        ------
        ValueError
            If a window reaches back too far.
        """
        stop = self.index_at(delay)
        return [Window(first=self.index_at(delay + width), stop=stop) for width in widths]

    def covering(self, codes: Int64Array, starts: Int64Array, ends: Int64Array) -> Int64Array:
        """Count the intervals ``(start, end]`` of the same key that cover each event's time.

        Parameters
        ----------
        codes, starts, ends : ndarray of shape (n_intervals,), dtype=int64, in any order
            Key and epoch seconds. An interval with ``start >= end`` covers nothing. No start lies
            before the first event; what lies after the last event covers nothing more.

        Returns
        -------
        ndarray of shape (n_events,), dtype=int64
        """
        if self.n_events == 0:
            return np.zeros(0, dtype=np.int64)
        # A report may come long after the last event: it must not reach the next key's stretch.
        last = int(self.times.max())
        starts, ends = np.minimum(starts, last), np.minimum(ends, last)
        base = codes * self.stride - self.origin
        changes = np.zeros(self.n_events + 1, dtype=np.int64)
        for sign, times in ((1, np.minimum(starts, ends)), (-1, ends)):
            # Sorted, so that neighbouring searches share their cache lines.
            later = self.positions.searchsorted(np.sort(base + times), side="right")
            changes += sign * np.bincount(later, minlength=self.n_events + 1)
        return np.cumsum(changes[:-1])

    def distinct(self, members: Int64Array, *, width: int) -> Int64Array:
        """Count distinct ``members`` of the same key in ``[t - width, t)``, for each event.

        A member that shows up at ``e`` counts from the next second on, for ``width`` seconds or
        until it shows up again, whichever comes first. These intervals do not overlap, so the
        number that cover ``t`` is the number of distinct members.

        Parameters
        ----------
        members : ndarray of shape (n_events,), dtype=int64
            Integers >= 0; -1 for an event that shows nobody.
        width : int
            Seconds, at most ``lookback``.

        Returns
        -------
        ndarray of shape (n_events,), dtype=int64

        Raises
        ------
        ValueError
            If ``width`` is out of range.
        """
        if not 0 <= width <= self.lookback:
            raise ValueError(f"width is {width} seconds, expected 0 to {self.lookback}")
        shown = np.flatnonzero(members >= 0)
        if shown.size == 0:
            return np.zeros(self.n_events, dtype=np.int64)
        codes, members = self.codes[shown], members[shown]
        # Dense numbers for the pairs (key, member); which number a pair gets does not matter.
        pairs, _ = pd.factorize(codes * (int(members.max()) + 1) + members)
        of_pair = KeyedTimeline.of(pairs.astype(np.int64), self.times[shown], lookback=0)
        starts = of_pair.times
        ends = starts + width
        again = of_pair.codes[1:] == of_pair.codes[:-1]
        ends[:-1] = np.where(again, np.minimum(ends[:-1], starts[1:]), ends[:-1])
        return self.covering(codes[of_pair.order], starts, ends)


def running_total(values: Int64Array) -> Int64Array:
    """Return the sums of the first 0, 1, ..., n values; they wrap at 2^64.

    Parameters
    ----------
    values : ndarray of shape (n,), dtype=int64

    Returns
    -------
    ndarray of shape (n + 1,), dtype=int64
    """
    total = np.zeros(values.size + 1, dtype=np.int64)
    np.cumsum(values, out=total[1:])
    return total
