"""Payments looked at by a cluster's workers: everything that is wrong with them.

::

    part        -> what is wrong with it; its payments if nothing is; identifiers by bucket
    buckets     -> how many identifiers are repeated, and where the first of them are

What comes to this machine of a part is its ``Look``: of rows nothing but the values that a report
names.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from bank_node.data.looks.look import Look, Looks, Reading, look_at
from fraudfed.dask_engine.payments import HeldPayments
from fraudfed.dask_engine.requests import Answer, packed, unpacked
from fraudfed.dask_engine.work import Work
from fraudfed.dtypes import BoolArray
from fraudfed.errors import FraudFedError
from fraudfed.intake.repeated import Repeated, divided_identifiers, repeated_rows
from fraudfed.intake.transactions import AmongMany
from fraudfed.reading.file import DataFile
from fraudfed.reading.partitions import Partition, rows_before

if TYPE_CHECKING:
    from distributed import Future

#: A row's place among all parts: the number of its part, and this many bits for its row.
_ROW_BITS: Final = 40


@dataclass(frozen=True)
class _Part:
    """Where a part comes from, and how it is read."""

    partition: Partition
    how: Reading
    rows_before: int


class WorkerLooks:
    """Payments that workers have read and checked.

    Parameters
    ----------
    work : Work
    file : DataFile
    partitions : sequence of Partition
        Of it; each has a row.
    how : Reading
    n_buckets : int
        Of identifiers.
    """

    def __init__(
        self,
        work: Work,
        file: DataFile,
        partitions: Sequence[Partition],
        how: Reading,
        *,
        n_buckets: int,
    ) -> None:
        self.work = work
        self.looks = Looks(file, for_training=how.for_training)
        self._n_buckets = n_buckets
        self._parts = [
            packed(_Part(part, how, before))
            for part, before in zip(partitions, rows_before(partitions), strict=True)
        ]
        self._checked = [
            self.work.give("check", _check, number, part) for number, part in enumerate(self._parts)
        ]

    def raise_problems(self) -> None:
        """Raise everything that is wrong; raises as ``looks.Looks.raise_any``."""
        for look in self.each("tell", _tell, self._checked):
            self.looks.add(look)
        repeated = self._repeated()
        if self.looks.wants_repeated(repeated):
            rows: dict[int, list[int]] = {}
            for place in repeated.first:
                number, row = divmod(place, 1 << _ROW_BITS)
                rows.setdefault(number, []).append(row)
            again = [
                self.work.give("check-again", _check_again, number, self._parts[number], these)
                for number, these in sorted(rows.items())
            ]
            self.looks.add_repeated(repeated, self._sorted(again))
        self.looks.raise_any()

    def payments(self) -> "list[Future]":
        """Give out the payments of all parts, which workers keep no longer than they need them."""
        held = [self.work.give("payments", _payments, each) for each in self._checked]
        self._checked = []
        return held

    def each(self, what: str, function: Callable[..., Answer], *parts: "Sequence[Future]") -> Any:
        """Return what each part says, in their order."""
        return self._sorted(
            [self.work.give(what, function, *given) for given in zip(*parts, strict=True)]
        )

    def _repeated(self) -> Repeated:
        n_buckets = self._n_buckets
        divided = [self.work.give("divide-ids", _divide, each, n_buckets) for each in self._checked]
        found = []
        for bucket in range(n_buckets):
            chunks = [self.work.give("take-ids", _take, each, bucket) for each in divided]
            found.append(self.work.give("check-ids", _check_ids, *chunks))
        return Repeated.together(value_of(self.work.receive(found)))

    def _sorted(self, given: "list[Future]") -> list[Any]:
        found = value_of(self.work.receive(given))
        return [value for _, value in sorted(found, key=lambda pair: int(pair[0]))]


def value_of(answer: Answer) -> Any:
    """Return what parts say together; raises what the first of them has refused for."""
    if answer.refusal is not None:
        raise answer.refusal
    return answer.value


# What workers call. What Dask writes to its logs of these is nothing of a row.


class _Checked:
    """A part that was checked: what is wrong with it, its payments if nothing is, identifiers."""

    def __init__(
        self, number: int, look: Look, rows: pd.DataFrame | None, among: AmongMany
    ) -> None:
        self.number = number
        self.look = look
        self.rows = rows
        self.identifiers: pd.Series[str] = among.identifiers
        self.is_wrong: BoolArray = among.is_wrong

    def __repr__(self) -> str:
        return f"<payments of part {self.number}>"

    def __sizeof__(self) -> int:
        rows = 0 if self.rows is None else int(self.rows.memory_usage(deep=True).sum())
        return rows + int(self.identifiers.memory_usage(deep=True))


class _Divided:
    """Identifiers by bucket, or those of one bucket."""

    def __init__(self, tables: Sequence[Any]) -> None:
        self.tables = tables

    def __repr__(self) -> str:
        return "<identifiers>"

    def __sizeof__(self) -> int:
        return sum(int(each.nbytes) for each in self.tables)


def _check(number: int, message: bytes) -> _Checked | Answer:
    part: _Part = unpacked(message)
    among = AmongMany(part.rows_before)
    try:
        look, rows = _look(part, among)
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=number)
    return _Checked(number, look, rows, among)


def _check_again(number: int, message: bytes, repeated: Sequence[int]) -> Answer:
    part: _Part = unpacked(message)
    among = AmongMany(part.rows_before, np.array(repeated, dtype=np.int64) + part.rows_before)
    try:
        return Answer([(number, _look(part, among)[0])])
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=number)


def _look(part: _Part, among: AmongMany) -> tuple[Look, pd.DataFrame | None]:
    return look_at(part.partition.open(), part.how, among)


def _tell(checked: _Checked | Answer) -> Answer:
    return checked if isinstance(checked, Answer) else Answer([(checked.number, checked.look)])


def _divide(checked: _Checked | Answer, n_buckets: int) -> _Divided | Answer:
    if isinstance(checked, Answer):
        return checked
    rows = np.arange(len(checked.identifiers), dtype=np.int64)
    places = (checked.number << _ROW_BITS) + rows
    return _Divided(
        divided_identifiers(checked.identifiers, checked.is_wrong, places, n_buckets=n_buckets)
    )


def _take(divided: _Divided | Answer, bucket: int) -> _Divided | Answer:
    return divided if isinstance(divided, Answer) else _Divided([divided.tables[bucket]])


def _check_ids(*chunks: _Divided | Answer) -> Answer:
    tables: list[Any] = []
    for chunk in chunks:
        if isinstance(chunk, Answer):
            return chunk
        tables += chunk.tables
    return Answer([repeated_rows(pa.concat_tables(tables))])


def _payments(checked: _Checked | Answer) -> HeldPayments | Answer:
    if isinstance(checked, Answer):
        return checked
    if checked.rows is None:
        raise ValueError("payments are wanted that were refused")
    return HeldPayments(checked.number, checked.rows)
