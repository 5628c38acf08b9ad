"""Which rows a run was begun with: a bank that is started again must train on the same.

With other rows the bank's parts of the later sums would not fit those of the earlier ones, and no
other bank could notice. No model depends on the order of rows or on the files that they lie in, so
neither does the digest: a table may be divided anew, and a query answer in another order.

Each row becomes two numbers of 64 bits, the sums over its words times a weight of their place
(Lemire, Kaser, "Strongly universal string hashing is fast", The Computer Journal 57, 2014, section
3), mixed as SplitMix64 mixes; over the rows they are added up modulo 2^64. This finds rows that
differ by mistake. It is no commitment: somebody who chooses rows could make two tables alike.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from typing import Final

import numpy as np

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import Float32Array, Int64Array, UInt64Array
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.intake.windows import Windows

_DOMAIN: Final = b"fraudfed training rows v2\0"
_WINDOWS_DOMAIN: Final = b"fraudfed windows v2\0"

#: Rows hashed at a time; what is made of them stays in the processor's cache.
_ROWS_AT_ONCE: Final = 1 << 12
#: The finaliser of SplitMix64, as in ``fraudfed.boosting.sampling``.
_MULTIPLIERS: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS: Final = (np.uint64(30), np.uint64(27), np.uint64(31))
_LOW_WORD: Final = np.uint64(0xFFFFFFFF)
_MISSING_BITS: Final = np.uint32(0x7FC00000)
#: Customers, cards and accounts of judged rows.
_N_CODES: Final = 3


def windows_digest(windows: Windows) -> str:
    """Return a SHA-256 over everything of all windows that a run can see, hexadecimal.

    Parameters
    ----------
    windows : Windows
        Of train, select and judge in this order; that a window is not there is part of it.
    """
    return joined_digest(data_digest(windows.train), windows.select, windows.judge)


def joined_digest(
    train: str,
    select: "JudgedRows | JudgedDigest | None",
    judge: "JudgedRows | JudgedDigest | None",
) -> str:
    """Return ``windows_digest`` where some of it is known already."""
    digest = hashlib.sha256(_WINDOWS_DOMAIN)
    digest.update(train.encode())
    for rows in (select, judge):
        known = JudgedDigest.of(rows) if isinstance(rows, JudgedRows) else rows
        digest.update(b"-" if known is None else known.hexdigest().encode())
    return digest.hexdigest()


def data_digest(table: TrainingTable) -> str:
    """Return a digest of everything of the rows that training can see, hexadecimal.

    Law: two tables have the same digest exactly when schema, bound of the weights, and the rows
    (features, label, weight) in whatever order are the same, bit by bit, except that a missing
    value is a missing value whatever the bits of its NaN; up to a collision of 128 bits that
    nobody looked for. Layout in memory and byte order of the machine do not matter.

    It is kept on this bank's disk only: a reader could test guesses of the rows with it.

    Parameters
    ----------
    table : TrainingTable
    """
    rows = RowsDigest(table.schema, max_weight=table.max_weight)
    rows.add(table)
    return rows.hexdigest()


class RowsDigest:
    """The digest of rows that come a piece at a time; ``data_digest`` says of what.

    Parameters
    ----------
    schema : FeatureSchema
    max_weight : float

    Attributes
    ----------
    n_rows : int
        So far.
    """

    def __init__(self, schema: FeatureSchema, *, max_weight: float) -> None:
        self._schema = schema
        self._max_weight = max_weight
        self._has_weights: bool | None = None
        self._sums = [0, 0]
        self.n_rows = 0

    def add(self, table: TrainingTable) -> None:
        """Add rows of the same schema, all of them with weights or all without."""
        has_weights = table.weights is not None
        if table.n_rows and self._has_weights not in (None, has_weights):
            raise ValueError("some rows have weights and others have none")
        if table.n_rows or self._has_weights is None:
            self._has_weights = has_weights
        for block in _blocks(table):
            for number, hashes in enumerate(block):
                self._sums[number] = _added(self._sums[number], hashes)
        self.n_rows += table.n_rows

    def merge(self, other: "RowsDigest") -> None:
        """Add what was collected elsewhere, of other rows of the same data."""
        if other.n_rows and self.n_rows and self._has_weights != other._has_weights:
            raise ValueError("some rows have weights and others have none")
        if other.n_rows or self._has_weights is None:
            self._has_weights = other._has_weights
        self._sums = [
            (own + more) % 2**64 for own, more in zip(self._sums, other._sums, strict=True)
        ]
        self.n_rows += other.n_rows

    def hexdigest(self) -> str:
        """Return the digest of the rows so far."""
        digest = hashlib.sha256(_DOMAIN)
        names = zip(self._schema.names, self._schema.n_categories, strict=True)
        for name, n_categories in names:
            text = name.encode()
            size = len(text).to_bytes(8, "little")
            digest.update(size + text + n_categories.to_bytes(8, "little"))
        digest.update(json.dumps(self._schema.categories).encode())
        digest.update(np.array(self._max_weight, dtype="<f8").tobytes())
        digest.update(bytes([bool(self._has_weights and self.n_rows)]))
        for number in (self.n_rows, *self._sums):
            digest.update(number.to_bytes(8, "little"))
        return digest.hexdigest()


class JudgedDigest:
    """The digest of judged rows with all that is known of them, in whatever order and pieces.

    Of codes it counts which rows have one in common, and not which number that is. So where rows
    have codes, 16 bytes of each are kept until the end, and the codes; else nothing of a row.

    Parameters
    ----------
    schema : FeatureSchema
    max_weight : float
    """

    def __init__(self, schema: FeatureSchema, *, max_weight: float) -> None:
        self._rows = RowsDigest(schema, max_weight=max_weight)
        self._known = b""
        self._n_values = 0
        self._sums = [0, 0]
        #: Of rows with codes, piece by piece: both numbers of each row, and its codes by name.
        self._kept: list[tuple[list[UInt64Array], dict[str, Int64Array | None]]] = []

    @classmethod
    def of(cls, rows: JudgedRows) -> "JudgedDigest":
        """Return the digest of rows that are all at hand, or of one piece."""
        found = cls(rows.schema, max_weight=rows.max_weight)
        found.add(rows)
        return found

    def add(self, rows: JudgedRows) -> None:
        """Add a piece of the same schema, of which the same is known as of the others."""
        outcomes = rows.outcomes
        table = TrainingTable(
            schema=rows.schema,
            features=rows.features,
            # NaN, for a censored row, is no label of training; here it is one of three values.
            labels=outcomes.labels,
            weights=rows.weights,
            max_weight=rows.max_weight,
        )
        values = {
            "is_blocked": outcomes.is_blocked,
            "event_time": outcomes.event_time,
            "amounts": outcomes.amounts,
            "is_first_seen": outcomes.is_first_seen,
            **{f"cell {name}": cells for name, cells in outcomes.cells.items()},
        }
        codes = {
            "customers": outcomes.customers,
            "cards": outcomes.cards,
            "accounts": outcomes.accounts,
        }
        known = b"".join(
            name.encode() + (b"\0-" if column is None else b"\0+")
            for name, column in sorted({**values, **codes}.items(), key=lambda pair: pair[0])
        )
        if self._known not in (b"", known):
            raise ValueError("more is known of some rows than of others")
        self._known, self._n_values = known, len(values)
        self._rows.add(table)
        if not rows.n_rows:
            return
        columns = [values[name] for name in sorted(values)]
        wholes = []
        for number, hashes in enumerate(map(np.concatenate, zip(*_blocks(table), strict=True))):
            weights = iter(self._weights(number))
            whole = hashes * next(weights)
            for column in columns:
                low, high = next(weights), next(weights)
                if column is not None:
                    words = np.ascontiguousarray(column, dtype=np.int64).view(np.uint64)
                    whole += low * (words & _LOW_WORD) + high * (words >> np.uint64(32))
            wholes.append(_mixed(whole))
        if any(column is not None for column in codes.values()):
            self._kept.append((wholes, codes))
            return
        for number, whole in enumerate(wholes):
            self._sums[number] = _added(self._sums[number], _mixed(whole))

    def merge(self, other: "JudgedDigest") -> None:
        """Add what was collected elsewhere, of other rows of the same data."""
        if self._known and other._known not in (b"", self._known):
            raise ValueError("more is known of some rows than of others")
        if other._known:
            self._known, self._n_values = other._known, other._n_values
        self._rows.merge(other._rows)
        self._sums = [
            (own + more) % 2**64 for own, more in zip(self._sums, other._sums, strict=True)
        ]
        self._kept += other._kept

    def hexdigest(self) -> str:
        """Return the digest of the rows so far."""
        digest = hashlib.sha256(self._rows.hexdigest().encode())
        digest.update(self._known)
        if not self._rows.n_rows:
            return digest.hexdigest()
        for number in (0, 1):
            total = self._sums[number]
            if self._kept:
                total = _added(total, self._shared(number))
            digest.update(total.to_bytes(8, "little"))
        return digest.hexdigest()

    def _shared(self, number: int) -> UInt64Array:
        """Add to each row's number what the row has in common with others."""
        whole = np.concatenate([wholes[number] for wholes, _ in self._kept])
        weights = iter(self._weights(number)[1 + 2 * self._n_values :])
        # The sum of the others' hashes without any code.
        shared = whole.copy()
        for name in sorted(self._kept[0][1]):
            weight, columns = next(weights), [codes[name] for _, codes in self._kept]
            there = [column for column in columns if column is not None]
            if there:
                shared += weight * _of_groups(whole, np.concatenate(there))
        return _mixed(shared)

    def _weights(self, number: int) -> tuple[np.uint64, ...]:
        return _weights(2 * (self._n_values + _N_CODES) + 1, 2 + number)


def _of_groups(hashes: UInt64Array, codes: Int64Array) -> UInt64Array:
    """Return for each row the mixed sum over the rows with its code; 0 for code -1."""
    # Codes may be hashes: their places among all codes are small.
    named, places = np.unique(codes, return_inverse=True)
    sums = np.zeros(named.size, dtype=np.uint64)
    np.add.at(sums, places.reshape(-1), hashes)
    sums = _mixed(sums)
    sums[named == -1] = 0
    found: UInt64Array = sums[places.reshape(-1)]
    return found


def _blocks(table: TrainingTable) -> Iterator[tuple[UInt64Array, UInt64Array]]:
    """Yield both numbers of each row, some rows after others."""
    columns: list[Float32Array] = [*table.features.T, table.labels]
    if table.weights is not None:
        columns.append(table.weights)
    first, second = (_weights(len(columns) + 1, number) for number in (0, 1))
    for start in range(0, table.n_rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, table.n_rows)
        one = np.full(stop - start, first[-1], dtype=np.uint64)
        two = np.full(stop - start, second[-1], dtype=np.uint64)
        for place, column in enumerate(columns):
            values = np.ascontiguousarray(column[start:stop])
            words = np.where(np.isnan(values), _MISSING_BITS, values.view(np.uint32))
            wide = words.astype(np.uint64)
            one += wide * first[place]
            two += wide * second[place]
        yield _mixed(one), _mixed(two)


def _mixed(values: UInt64Array) -> UInt64Array:
    mixed = values
    for shift, multiplier in zip(_SHIFTS, _MULTIPLIERS, strict=False):
        mixed = (mixed ^ (mixed >> shift)) * multiplier
    found: UInt64Array = mixed ^ (mixed >> _SHIFTS[2])
    return found


def _added(total: int, hashes: UInt64Array) -> int:
    return (total + int(np.add.reduce(hashes, dtype=np.uint64))) % 2**64


@cache
def _weights(count: int, number: int) -> tuple[np.uint64, ...]:
    """Return odd weights of the places of a row; the same in every process."""
    drawn = np.random.Generator(np.random.PCG64(number)).integers(0, 2**64, count, dtype=np.uint64)
    return tuple(drawn | np.uint64(1))
