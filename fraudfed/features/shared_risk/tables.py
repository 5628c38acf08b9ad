"""The daily sketches of a risk run, summed over all banks: its result, and where it stands.

Canonical bytes: equal tables give equal bytes on every machine, and nothing else is read back.
They are a ``fraudfed.container`` of::

    length of the head (4 bytes), head: canonical JSON of specification and hash key's name
    number of days (4)
    for each day, first the sketch of payments, then those of frauds and of corrections:
        bytes of one counter (1): 0 for a sketch of zeros, else 1, 2, 4 or 8
        counters, row after row

Numbers are little-endian. Counters take as few bytes as the largest of a sketch needs: most days
need one. Those of a run with privacy may be negative: two's complement, as narrow. A general
compressor would do better, but its bytes change with its version, and banks
vote on the hash of these.
"""

import json
from dataclasses import dataclass

import numpy as np

from fraudfed.container import Container
from fraudfed.errors import ProtocolError, StateError
from fraudfed.features.shared_risk.sketch import CountArray
from fraudfed.foreign_json import parse_foreign
from fraudfed.wire.messages import RiskSpec, parse

_CONTAINER = Container(
    magic=b"fraudfed risk tables\n",
    version=1,
    what="risk tables",
    advice="take another copy, or update them anew",
)
_SOURCE = "risk tables"
_LENGTH_BYTES = 4
#: More than any consortium enters for one day: no counter and no row of a sketch holds more.
MAX_DAY_TOTAL = 1 << 40
#: A description of a risk run is far shorter.
_MOST_HEAD_BYTES = 64 * 1024
_COUNTERS: dict[int, np.dtype[np.integer]] = {size: np.dtype(f"<u{size}") for size in (1, 2, 4, 8)}
_SIGNED: dict[int, np.dtype[np.integer]] = {size: np.dtype(f"<i{size}") for size in (1, 2, 4, 8)}


@dataclass(frozen=True, eq=False)
class DayTable:
    """What all banks entered for one day.

    Attributes
    ----------
    transactions : ndarray of shape (n_rows, transaction_width), of an integer type
        Unsigned; signed with noise, where it may be negative.
    frauds : ndarray of shape (n_rows, fraud_width), of an integer type
    corrections : ndarray of shape (n_rows, fraud_width), of an integer type
        Reports that were taken back on the day, under columns rotated by the report's day. Zeros
        in a run with privacy.
    """

    transactions: CountArray
    frauds: CountArray
    corrections: CountArray


@dataclass(frozen=True, eq=False)
class RiskTables:
    """The tables of a run's first days, at its end of all.

    Attributes
    ----------
    spec : RiskSpec
    key_id : bytes of length 16
        ``hash_key_id`` of the key that places identifiers in the sketches.
    days : tuple of DayTable
        From ``spec.first_day`` on.
    """

    spec: RiskSpec
    key_id: bytes
    days: tuple[DayTable, ...] = ()

    @property
    def n_steps(self) -> int:
        """Finished steps of the run."""
        return -(-len(self.days) // self.spec.days_per_step)

    @property
    def n_days(self) -> int:
        """Days of the run."""
        return self.spec.last_day - self.spec.first_day + 1

    @property
    def is_complete(self) -> bool:
        """Whether every day of the run is there."""
        return len(self.days) == self.n_days

    @property
    def _types(self) -> dict[int, np.dtype[np.integer]]:
        return _COUNTERS if self.spec.privacy is None else _SIGNED

    def _size_of(self, sketch: CountArray) -> int:
        return _counter_bytes(sketch) if self.spec.privacy is None else _signed_bytes(sketch)

    def to_bytes(self) -> bytes:
        """Return canonical bytes."""
        head = _head(self.spec, self.key_id)
        parts = [_length(len(head)), head, _length(len(self.days))]
        for day in self.days:
            for sketch in (day.transactions, day.frauds, day.corrections):
                size = self._size_of(sketch)
                parts.append(bytes([size]))
                if size:
                    parts.append(sketch.astype(self._types[size]).tobytes())
        return _CONTAINER.pack(*parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> "RiskTables":
        """Read what ``to_bytes`` has written.

        The checksum finds damage, not forgery: compare the hash of tables from elsewhere with what
        the banks have signed. Even forged bytes raise nothing but ``StateError``, and no array is
        allocated that they do not hold.

        Raises
        ------
        StateError
            If the bytes are not tables, damaged, cut off, or not canonical.
        """
        reader = _Reader(_CONTAINER.unpack(data, source=_SOURCE))
        head = reader.take(reader.length())
        try:
            fields = parse_foreign(head, most_bytes=_MOST_HEAD_BYTES)
            spec = parse(RiskSpec, fields["spec"], source="risk tables")
            key_id = bytes.fromhex(fields["key_id"])
        except (ValueError, KeyError, TypeError, ProtocolError) as error:
            raise _damaged(f"the head is malformed ({error})") from None
        if head != _head(spec, key_id) or len(key_id) != 16:
            raise _damaged("the head is not in canonical form")
        of_frauds = (spec.n_rows, spec.fraud_width)
        shapes = ((spec.n_rows, spec.transaction_width), of_frauds, of_frauds)
        read = reader.sketch if spec.privacy is None else reader.signed_sketch
        n_days = reader.length()
        tables = cls(spec, key_id)
        if n_days > tables.n_days or (n_days % spec.days_per_step and n_days != tables.n_days):
            raise _damaged(f"it has {n_days} of {tables.n_days} days")
        days = tuple(DayTable(*(read(shape) for shape in shapes)) for _ in range(n_days))
        reader.finish()
        return cls(spec, key_id, days)


def packed(sketch: CountArray) -> CountArray:
    """Return a sketch in the narrowest unsigned type that holds its counters.

    Parameters
    ----------
    sketch : ndarray of shape (depth, width), of an integer type, at least 0
    """
    size = _counter_bytes(sketch)
    return sketch.astype(np.dtype(f"u{max(size, 1)}"))


def packed_signed(sketch: CountArray) -> CountArray:
    """Return a sketch with noise in the narrowest signed type that holds its counters."""
    return sketch.astype(np.dtype(f"i{max(_signed_bytes(sketch), 1)}"))


def _signed_bytes(sketch: CountArray) -> int:
    least, most = int(sketch.min()), int(sketch.max())
    if least == most == 0:
        return 0
    return next(
        size for size in _SIGNED if -(1 << (8 * size - 1)) <= least <= most < 1 << (8 * size - 1)
    )


def _counter_bytes(sketch: CountArray) -> int:
    largest = int(sketch.max())
    if largest == 0:
        return 0
    return next(size for size in _COUNTERS if largest < 1 << (8 * size))


def _head(spec: RiskSpec, key_id: bytes) -> bytes:
    described = spec.model_dump(mode="json")
    if spec.privacy is None:
        # Tables without privacy are the bytes that they were before there was any.
        del described["privacy"]
    fields = {"spec": described, "key_id": key_id.hex()}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _length(value: int) -> bytes:
    return value.to_bytes(_LENGTH_BYTES, "little")


def _damaged(what: str) -> StateError:
    return _CONTAINER.damaged(what, source=_SOURCE)


class _Reader:
    """Takes parts off the front of bytes; raises StateError where they do not fit."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, n_bytes: int) -> bytes:
        if n_bytes > len(self._data) - self._at:
            raise _damaged("they end too early")
        self._at += n_bytes
        return self._data[self._at - n_bytes : self._at]

    def length(self) -> int:
        return int.from_bytes(self.take(_LENGTH_BYTES), "little")

    def sketch(self, shape: tuple[int, int]) -> CountArray:
        size = self.take(1)[0]
        if size == 0:
            # One byte of memory, whatever shape the bytes claim.
            return np.broadcast_to(np.uint8(0), shape)
        if size not in _COUNTERS:
            raise _damaged(f"a counter has {size} bytes")
        raw = self.take(size * shape[0] * shape[1])
        # In the byte order of this machine.
        counters = np.frombuffer(raw, dtype=_COUNTERS[size]).astype(np.dtype(f"u{size}"))
        if _counter_bytes(counters) != size:
            raise _damaged("a sketch is not in canonical form")
        counters = counters.reshape(shape)
        if int(counters.max()) > MAX_DAY_TOTAL:
            raise _damaged("a counter is above what a day can hold")
        totals = counters.sum(axis=1, dtype=np.int64)
        if (totals != totals[0]).any() or totals[0] > MAX_DAY_TOTAL:
            raise _damaged("the rows of a sketch do not hold the entries of one day")
        return counters

    def signed_sketch(self, shape: tuple[int, int]) -> CountArray:
        size = self.take(1)[0]
        if size == 0:
            return np.broadcast_to(np.int8(0), shape)
        if size not in _SIGNED:
            raise _damaged(f"a counter has {size} bytes")
        raw = self.take(size * shape[0] * shape[1])
        counters = np.frombuffer(raw, dtype=_SIGNED[size]).astype(np.dtype(f"i{size}"))
        if _signed_bytes(counters) != size:
            raise _damaged("a sketch is not in canonical form")
        if max(-int(counters.min()), int(counters.max())) > MAX_DAY_TOTAL:
            raise _damaged("a counter is above what a day can hold")
        return counters.reshape(shape)

    def finish(self) -> None:
        if self._at != len(self._data):
            raise _damaged(f"{len(self._data) - self._at} bytes too many")
