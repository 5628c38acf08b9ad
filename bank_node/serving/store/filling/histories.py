"""The packed histories of one division of keys, made of its records in whole columns."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bank_node.serving.store import packing
from bank_node.serving.store.filling.records import (
    NOBODY_KEY,
    PAYMENT,
    REPORT,
    Counted,
    Recorder,
    place_type,
)
from bank_node.serving.store.filling.spill import Records, grouped
from bank_node.serving.store.packing import (
    HEAD,
    NO_TIME,
    customer_head,
    entity_head,
    event_type,
    link_type,
    pack_entity,
    pack_place,
    pack_report,
)
from fraudfed.dtypes import Int64Array
from fraudfed.features.arrivals import KEY_BYTES, ArrivalFeatures
from fraudfed.features.history import CREDIT, NEVER, OUTFLOW, EntityHistory

_GREATEST = np.iinfo(np.int64).max
_WIDE_OTHERS, _LINKED = 2, 4


def parts_of(recorder: Recorder, division: int) -> Iterator[tuple[bytes, dict[int, bytes]]]:
    """Yield every key of a division and its parts; ``builder.latest`` is that of all records."""
    yield from _customers(recorder, division)
    for entity in recorder.entities:
        records = recorder.spill.take(entity.name, division, entity.dtype)
        yield from _entities(recorder.builder, entity, records)


def _customers(recorder: Recorder, division: int) -> Iterator[tuple[bytes, dict[int, bytes]]]:
    builder = recorder.builder
    records = recorder.spill.take("customer", division, PAYMENT)
    customer, keys = grouped(records["key"])
    time, kind = records["time"].astype(np.int64), records["kind"]
    met = _Met.of(customer, time, records["met"], keys.size)
    kept = time >= builder.oldest_kept
    order = np.flatnonzero(kept)
    order = order[np.lexsort([time[order], customer[order]])]
    amounts = records["amount"][order]
    events = {}
    for wide in (False, True):
        made = np.empty(order.size, event_type(wide_times=False, wide_others=wide))
        made["time"], made["kind"] = time[order], kind[order]
        made["low"], made["high"] = amounts & 0xFFFFFFFF, amounts >> 32
        with np.errstate(invalid="ignore", over="ignore"):
            made["other"] = met.index[order].astype(made["other"].dtype)
        events[wide] = (memoryview(made.tobytes()), made.dtype.itemsize)
    bounds = np.searchsorted(customer[order], np.arange(keys.size + 1)).tolist()
    first = _least(customer, time, keys.size).tolist()
    before = _before(customer, time, kind, ~kept, keys.size).tolist()
    places, reports = _places(recorder, division), _reports(recorder, division)
    for code in range(keys.size):
        key = keys[code].tobytes()
        start, stop = bounds[code : code + 2]
        low, high = met.bounds[code : code + 2]
        wide = high - low >= 0xFFFF
        rows, width = events[wide]
        there, heard = places.get(key, []), reports.get(key, [])
        head = customer_head(
            flags=_WIDE_OTHERS * wide,
            first=first[code],
            before=tuple(before[code]),
            counts=(stop - start, high - low, len(there), len(heard)),
            position=0,
        )
        data = b"".join(
            (
                head,
                rows[start * width : stop * width],
                met.keys[low * KEY_BYTES : high * KEY_BYTES],
                met.times[low * 4 : high * 4],
                *there,
                *heard,
            )
        )
        yield key, {HEAD: data}


@dataclass(frozen=True, eq=False)
class _Met:
    """Whom each customer met first when.

    Attributes
    ----------
    index : ndarray of shape (n_rows,), dtype=int64
        Of each row's other side among those of its customer; -1: none.
    keys, times : memoryview
        Of all customers one after another, packed.
    bounds : list of int
        Where each customer's begin.
    """

    index: Int64Array
    keys: memoryview
    times: memoryview
    bounds: list[int]

    @classmethod
    def of(cls, customer: Int64Array, time: Int64Array, met: Records, n_customers: int) -> "_Met":
        rows = [np.flatnonzero(met[:, side] != NOBODY_KEY) for side in (0, 1)]
        everyone = np.concatenate([met[there, side] for side, there in enumerate(rows)])
        codes, names = grouped(everyone)
        n_all = max(names.size, 1)
        of = np.concatenate([customer[there] for there in rows])
        found, which = np.unique(of * n_all + codes, return_inverse=True)
        met_at = _least(which, time[np.concatenate(rows)], found.size)
        bounds = np.searchsorted(found, np.arange(n_customers + 1) * n_all)
        index = np.full(time.size, -1, dtype=np.int64)
        there = rows[0]
        index[there] = which[: there.size] - bounds[customer[there]]
        packed = names[found % n_all].tobytes()
        times = met_at.astype("<u4").tobytes()
        return cls(index, memoryview(packed), memoryview(times), bounds.tolist())


def _least(codes: Int64Array, values: Int64Array, n_codes: int) -> Int64Array:
    """Return the least value of each code."""
    least = np.full(n_codes, _GREATEST, dtype=np.int64)
    np.minimum.at(least, codes, values)
    return least


def _before(
    customer: Int64Array,
    time: Int64Array,
    kind: "np.ndarray[tuple[int], np.dtype[np.uint8]]",
    forgotten: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    n_customers: int,
) -> Int64Array:
    """Return ``CustomerHistory.before`` of every customer, shape (n_customers, 4)."""
    before = np.full((n_customers, 4), NEVER, dtype=np.int64)
    for index, rows in enumerate(
        (forgotten, forgotten & (kind == CREDIT), forgotten & (kind == OUTFLOW))
    ):
        np.maximum.at(before[:, index], customer[rows], time[rows])
    left = np.flatnonzero(forgotten & (kind == OUTFLOW))
    left = left[(before[customer[left], 1] != NEVER) & (time[left] > before[customer[left], 1])]
    soonest = _least(customer[left], time[left], n_customers)
    before[:, 3] = np.where(soonest == _GREATEST, NEVER, soonest)
    return before


def _places(recorder: Recorder, division: int) -> dict[bytes, list[bytes]]:
    """Return the packed places of customers: the latest seconds, and the last one before."""
    if not recorder.place_widths:
        return {}
    widest = place_type(max(recorder.place_widths))
    records = np.concatenate(
        [
            recorder.spill.take(f"place{width}", division, place_type(width)).astype(widest)
            for width in sorted(recorder.place_widths)
        ]
    )
    customer, keys = grouped(records["key"])
    time = records["time"].astype(np.int64)
    last = np.full(keys.size, NEVER, dtype=np.int64)
    early = time < recorder.builder.oldest
    np.maximum.at(last, customer[early], time[early])
    wanted = np.flatnonzero(~early | (time == last[customer]))
    found: dict[bytes, dict[int, tuple[str, float, float]]] = {}
    for key, second, latitude, longitude, name in records[wanted].tolist():
        seconds = found.setdefault(key, {})
        place = (name.decode(), latitude, longitude)
        seconds[second] = max(seconds.get(second, place), place)
    return {
        key: [pack_place((second, *seconds[second])) for second in sorted(seconds)]
        for key, seconds in found.items()
    }


def _reports(recorder: Recorder, division: int) -> dict[bytes, list[bytes]]:
    """Return the packed reports of customers that a window may still hold."""
    oldest = recorder.builder.oldest - recorder.builder.longest_seconds
    found: dict[bytes, list[bytes]] = {}
    for key, payment, since, own in recorder.spill.take("report", division, REPORT).tolist():
        if since >= oldest:
            found.setdefault(key, []).append(pack_report(payment, since, bool(own)))
    return found


def _entities(
    builder: ArrivalFeatures, entity: Counted, records: Records
) -> Iterator[tuple[bytes, dict[int, bytes]]]:
    codes, keys = grouped(records["key"])
    time, since = records["time"].astype(np.int64), records["since"].astype(np.int64)
    previous = np.full(records.size, NEVER, dtype=np.int64)
    if entity.is_linked:
        customer, _ = grouped(records["customer"])
        by_pair = np.lexsort([time, customer, codes])
        same = (np.diff(codes[by_pair]) == 0) & (np.diff(customer[by_pair]) == 0)
        previous[by_pair[1:][same]] = time[by_pair[:-1][same]]
    frauds: dict[int, list[int]] = {}
    heard = (since != NO_TIME) & (since >= builder.oldest - builder.longest_seconds)
    for row in np.flatnonzero(heard).tolist():
        frauds.setdefault(int(codes[row]), []).append(int(since[row]))
    first = _least(codes, time, keys.size).tolist()
    kept = np.flatnonzero(time >= builder.oldest_kept)
    if not entity.counts_payments:
        kept = kept[:0]
    order = kept[np.lexsort([time[kept], codes[kept]])]
    bounds = np.searchsorted(codes[order], np.arange(keys.size + 1)).tolist()
    times, befores = time[order], previous[order]
    packed, width = _packed_events(times, befores, is_linked=entity.is_linked)
    for code in range(keys.size):
        start, stop = bounds[code : code + 2]
        known = sorted(frauds.get(code, []))
        since_first = first[code] if entity.counts_payments else NEVER
        if start == stop and not known:
            history = EntityHistory()
            history.first, history.is_linked = since_first, entity.is_linked
            if not builder.keeps(history):
                continue
        if stop - start > packing.MOST_IN_HEAD:
            history = EntityHistory()
            history.first, history.is_linked = since_first, entity.is_linked
            history.frauds = known
            history.times.frombytes(times[start:stop].tobytes())
            if history.is_linked:
                history.previous.frombytes(befores[start:stop].tobytes())
            yield keys[code].tobytes(), pack_entity(history, days=None)
            continue
        head = entity_head(
            flags=_LINKED * entity.is_linked,
            first=since_first,
            n_events=stop - start,
            n_frauds=len(known),
            position=0,
        )
        events = packed[start * width : stop * width]
        heard_at = np.array(known, "<u4").tobytes() if known else b""
        yield keys[code].tobytes(), {HEAD: b"".join((head, events, heard_at))}


def _packed_events(
    times: Int64Array, previous: Int64Array, *, is_linked: bool
) -> tuple[memoryview, int]:
    """Return the events of all entities, and the bytes of each."""
    whole = link_type(wide_times=False)
    events = np.empty(times.size, whole if is_linked else np.dtype([("time", whole["time"])]))
    events["time"] = times
    if is_linked:
        events["previous"] = np.where(previous < 0, NO_TIME, previous)
    return memoryview(events.tobytes()), events.dtype.itemsize
