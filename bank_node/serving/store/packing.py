"""Histories as bytes: 13 of a payment at its customer, 4 or 8 at each place that counts it.

All numbers are little-endian. A history of few payments is one part; an entity of many has a part
for each UTC day besides, so that a new payment changes few bytes. Times take 4 bytes as long as
they are before 2106, 8 then.
"""

import struct
from array import array
from collections.abc import Iterable, Mapping

import numpy as np

from fraudfed.errors import StateError
from fraudfed.features.arrivals import KEY_BYTES
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.history import NEVER, CustomerHistory, EntityHistory, Place

#: The part that every history has.
HEAD = -1
#: Above so many payments an entity is divided by days.
MOST_IN_HEAD = 512

CUSTOMER, ENTITY = b"c", b"e"
_WIDE_TIMES, _WIDE_OTHERS, _LINKED, _BY_DAYS = 1, 2, 4, 8
#: Times from here on take eight bytes, and in four it is none.
NO_TIME = 0xFFFFFFFF
_NO_OTHER = 0xFFFF

#: Kind, flags, position, first, the four seconds before, payments, entities met, places, reports.
_CUSTOMER = struct.Struct("<cBQq4qIIHH")
#: Kind, flags, position, first, payments in the head, frauds.
_ENTITY = struct.Struct("<cBQqII")
_PLACE = struct.Struct("<qddH")
_REPORT = struct.Struct("<16sqB")


def event_type(*, wide_times: bool, wide_others: bool) -> np.dtype[np.void]:
    """Return the record of one payment of a customer."""
    return np.dtype(
        [
            ("time", "<i8" if wide_times else "<u4"),
            ("low", "<u4"),
            ("high", "<i2"),
            ("kind", "u1"),
            ("other", "<u4" if wide_others else "<u2"),
        ]
    )


def link_type(*, wide_times: bool) -> np.dtype[np.void]:
    """Return the record of one payment at an entity that counts customers."""
    kind = "<i8" if wide_times else "<u4"
    return np.dtype([("time", kind), ("previous", kind)])


def customer_head(
    *,
    flags: int,
    first: int,
    before: tuple[int, int, int, int],
    counts: tuple[int, int, int, int],
    position: int,
) -> bytes:
    """Return the fixed bytes of a customer; ``counts`` of payments, met, places and reports."""
    return _CUSTOMER.pack(CUSTOMER, flags, position, first, *before, *counts)


def entity_head(*, flags: int, first: int, n_events: int, n_frauds: int, position: int) -> bytes:
    """Return the fixed bytes of an entity."""
    return _ENTITY.pack(ENTITY, flags, position, first, n_events, n_frauds)


def pack_customer(history: CustomerHistory) -> bytes:
    """Return a customer's history as bytes."""
    n_met, times = len(history.met_at), np.frombuffer(history.times, dtype=np.int64)
    latest = int(times[-1]) if times.size else 0
    wide_times = max(latest, max(history.met_at, default=0)) >= NO_TIME
    wide_others = n_met >= _NO_OTHER
    flags = _WIDE_TIMES * wide_times | _WIDE_OTHERS * wide_others
    events = np.empty(times.size, event_type(wide_times=wide_times, wide_others=wide_others))
    amounts = np.frombuffer(history.amounts, dtype=np.int64)
    events["time"] = times
    events["low"] = amounts & 0xFFFFFFFF
    events["high"] = amounts >> 32
    events["kind"] = np.frombuffer(history.kinds, dtype=np.uint8)
    # -1, nobody, becomes the greatest number.
    events["other"] = np.frombuffer(history.others, dtype=np.int32).astype(events["other"].dtype)
    counts = (times.size, n_met, len(history.places), len(history.reports))
    parts = [
        customer_head(
            flags=flags,
            first=history.first,
            before=history.before,
            counts=counts,
            position=history.position,
        ),
        events.tobytes(),
        *history.met,
        _packed_times(history.met_at, wide=wide_times),
    ]
    parts += map(pack_place, history.places)
    parts += [pack_report(key, since, own) for key, (since, own) in history.reports.items()]
    return b"".join(parts)


def pack_place(place: Place) -> bytes:
    """Return a place as bytes."""
    time, name, latitude, longitude = place
    text = name.encode("utf-8", "surrogatepass")
    return _PLACE.pack(time, latitude, longitude, len(text)) + text


def pack_report(payment: bytes, counts_from: int, own: bool) -> bytes:
    """Return the report of a payment as bytes."""
    return _REPORT.pack(payment, counts_from, own)


def unpack_customer(data: bytes) -> CustomerHistory:
    """Return a customer's history.

    Raises
    ------
    StateError
        If these are not the bytes of one.
    """
    try:
        return _unpack_customer(data)
    except (struct.error, ValueError, IndexError) as error:
        raise _damaged() from error


def _unpack_customer(data: bytes) -> CustomerHistory:
    fixed = _CUSTOMER.unpack_from(data)
    if fixed[0] != CUSTOMER:
        raise _damaged()
    history = CustomerHistory()
    flags, history.position, history.first = fixed[1:4]
    history.before = fixed[4:8]
    n_events, n_met, n_places, n_reports = fixed[8:]
    kind = event_type(wide_times=bool(flags & _WIDE_TIMES), wide_others=bool(flags & _WIDE_OTHERS))
    at = _CUSTOMER.size
    events = np.frombuffer(data, dtype=kind, count=n_events, offset=at)
    at += events.nbytes
    history.times.frombytes(events["time"].astype(np.int64).tobytes())
    amounts = events["low"].astype(np.int64) | (events["high"].astype(np.int64) << 32)
    history.amounts.frombytes(amounts.tobytes())
    history.kinds = bytearray(events["kind"].tobytes())
    others = events["other"].astype(np.int64)
    others[others == np.iinfo(events["other"].dtype).max] = -1
    history.others.frombytes(others.astype(np.int32).tobytes())
    for index in range(n_met):
        history.met[data[at : at + KEY_BYTES]] = index
        at += KEY_BYTES
    width = 8 if flags & _WIDE_TIMES else 4
    met_at = np.frombuffer(data, dtype=f"<{'i8' if width == 8 else 'u4'}", count=n_met, offset=at)
    history.met_at.frombytes(met_at.astype(np.int64).tobytes())
    at += width * n_met
    for _ in range(n_places):
        time, latitude, longitude, length = _PLACE.unpack_from(data, at)
        at += _PLACE.size
        name = data[at : at + length].decode("utf-8", "surrogatepass")
        history.places.append((time, name, latitude, longitude))
        at += length
    for _ in range(n_reports):
        key, since, own = _REPORT.unpack_from(data, at)
        history.reports[key] = (since, bool(own))
        at += _REPORT.size
    if at != len(data):
        raise _damaged()
    return history


def pack_entity(history: EntityHistory, *, days: Iterable[int] | None) -> dict[int, bytes]:
    """Return the parts of an entity's history.

    Parameters
    ----------
    history : EntityHistory
    days : iterable of int, or None
        The UTC days of which parts are wanted, if it is divided by days; None: all.
    """
    by_days = len(history.times) > MOST_IN_HEAD
    times = np.frombuffer(history.times, dtype=np.int64)
    latest = int(times[-1]) if times.size else 0
    wide = max(latest, max(history.frauds, default=0)) >= NO_TIME
    flags = _WIDE_TIMES * wide | _LINKED * history.is_linked | _BY_DAYS * by_days
    events = _events(history, wide=wide)
    n_events = 0 if by_days else times.size
    head = entity_head(
        flags=flags,
        first=history.first,
        n_events=n_events,
        n_frauds=len(history.frauds),
        position=history.position,
    )
    frauds = _packed_times(array("q", history.frauds), wide=wide)
    if not by_days:
        return {HEAD: head + events.tobytes() + frauds}
    parts = {HEAD: head + frauds}
    wanted = stored_days(history) if days is None else days
    for day in wanted:
        first, end = np.searchsorted(times, [day * SECONDS_PER_DAY, (day + 1) * SECONDS_PER_DAY])
        if first < end:
            parts[day] = bytes([wide]) + events[int(first) : int(end)].tobytes()
    return parts


def stored_days(history: EntityHistory) -> list[int]:
    """Return the UTC days of which a history has parts beside its head."""
    if len(history.times) <= MOST_IN_HEAD:
        return []
    days = np.frombuffer(history.times, dtype=np.int64) // SECONDS_PER_DAY
    found: list[int] = np.unique(days).tolist()
    return found


def unpack_entity(parts: Mapping[int, bytes]) -> EntityHistory:
    """Return an entity's history.

    Raises
    ------
    StateError
        If these are not the parts of one.
    """
    try:
        return _unpack_entity(parts)
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise _damaged() from error


def _unpack_entity(parts: Mapping[int, bytes]) -> EntityHistory:
    head = parts[HEAD]
    name, flags, position, first, n_events, n_frauds = _ENTITY.unpack_from(head)
    if name != ENTITY:
        raise _damaged()
    history = EntityHistory()
    history.position, history.first = position, first
    history.is_linked = bool(flags & _LINKED)
    wide = bool(flags & _WIDE_TIMES)
    kind = _entity_type(wide=wide, linked=history.is_linked)
    end = _ENTITY.size + n_events * kind.itemsize
    _add_events(history, np.frombuffer(head[_ENTITY.size : end], dtype=kind))
    if flags & _BY_DAYS:
        for day in sorted(part for part in parts if part != HEAD):
            part = parts[day]
            kind = _entity_type(wide=bool(part[0]), linked=history.is_linked)
            _add_events(history, np.frombuffer(part[1:], dtype=kind))
    frauds = np.frombuffer(head[end:], dtype="<i8" if wide else "<u4")
    if frauds.size != n_frauds:
        raise _damaged()
    history.frauds = frauds.tolist()
    return history


def _entity_type(*, wide: bool, linked: bool) -> np.dtype[np.void]:
    whole = link_type(wide_times=wide)
    return whole if linked else np.dtype([("time", whole["time"])])


def _events(history: EntityHistory, *, wide: bool) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    events = np.empty(len(history.times), _entity_type(wide=wide, linked=history.is_linked))
    events["time"] = np.frombuffer(history.times, dtype=np.int64)
    if history.is_linked:
        previous = np.frombuffer(history.previous, dtype=np.int64)
        events["previous"] = previous if wide else np.where(previous < 0, NO_TIME, previous)
    return events


def _add_events(
    history: EntityHistory, events: "np.ndarray[tuple[int], np.dtype[np.void]]"
) -> None:
    history.times.frombytes(events["time"].astype(np.int64).tobytes())
    if history.is_linked:
        previous = events["previous"].astype(np.int64)
        if events["previous"].dtype.itemsize == 4:
            previous[previous == NO_TIME] = NEVER
        history.previous.frombytes(previous.tobytes())


def _packed_times(times: "array[int]", *, wide: bool) -> bytes:
    return np.frombuffer(times, dtype=np.int64).astype("<i8" if wide else "<u4").tobytes()


def _damaged() -> StateError:
    return StateError(
        "feature store: a history cannot be read, expected what this release wrote; restore the "
        "store from a copy, or fill a new one with --warm"
    )
