"""Features of payments that lie on a cluster: a shuffle by key, then one piece of work per bucket.

::

    part p    rows of a partition, as a worker has read them
    divided   of part p, what key group g looks at, by bucket                     (p, g)
    bucket    the rows of bucket b out of all parts -> the group's columns        (g, b)
    joined    part p with its columns out of every bucket                         (p)

Every arrow is a piece of work of Dask: rows travel from worker to worker, and what is lost with a
worker is made again. The code of a bucket is that which builds features in memory
(``features.by_key.groups``), and in a bucket the rows of the parts stand in the order of the parts.
So neither the number of buckets, nor that of parts, nor who works makes a difference to any bit.

A part that cannot be used has something else in its place, what is wrong with it; that is passed on
as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from fraudfed.dtypes import Float32Array
from fraudfed.errors import DataError, FraudFedError
from fraudfed.features.build import payment_table
from fraudfed.features.by_key.buckets import (
    bucket_numbers,
    group_rows,
    group_schema,
    repeated_identifier,
    rows_by_bucket,
)
from fraudfed.features.by_key.groups import (
    KEY_GROUPS,
    KeyGroup,
    RawColumns,
    group_columns,
    group_names,
)
from fraudfed.features.column_store import require_columns
from fraudfed.features.own_columns import with_own_columns
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.features.table import FeatureTable, rows_of_direction
from fraudfed.intake.pieced_windows import reported_frauds
from fraudfed.payments.columns import OUTBOUND
from fraudfed.wire.messages import FeatureSpec

if TYPE_CHECKING:
    from distributed import Future

_ID: Final = "transaction_id"
#: Rows of a bucket, about: some 1 GB of a worker's memory while it is built.
BUCKET_ROWS: Final = 1 << 20


class Give(Protocol):
    """Lets a worker call a function; among the arguments are results of earlier calls."""

    def __call__(self, what: str, function: Callable[..., Any], *arguments: Any) -> "Future":
        """Name what is done, for the dashboard, and let it be done."""
        ...


class _Held:
    """Rows on a worker. Dask writes what it works on to its logs: never a row."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


@dataclass(eq=False, repr=False)
class HeldPayments(_Held):
    """Payments of one part, as they were read and checked.

    Attributes
    ----------
    number : int
    rows : DataFrame
        As ``build_features`` takes them, amounts in the contract's currency.
    """

    number: int
    rows: pd.DataFrame

    def __sizeof__(self) -> int:
        return int(self.rows.memory_usage(deep=True).sum())


@dataclass(eq=False, repr=False)
class HeldFeatures(_Held):
    """Payments of one part, and their features.

    Attributes
    ----------
    number : int
    rows : DataFrame
    built : FeatureTable
        Its positions are rows of ``rows``.
    """

    number: int
    rows: pd.DataFrame
    built: FeatureTable

    def __sizeof__(self) -> int:
        return int(self.rows.memory_usage(deep=True).sum()) + self.built.values.nbytes


@dataclass(eq=False, repr=False)
class HeldReports(_Held):
    """The names and reports of all frauds (``pieced_windows.reported_frauds``)."""

    frauds: pd.DataFrame


@dataclass(eq=False, repr=False)
class _Divided(_Held):
    tables: list[pa.Table]


@dataclass(eq=False, repr=False)
class _Chunk(_Held):
    table: pa.Table


@dataclass(eq=False, repr=False)
class _Built(_Held):
    """Columns of a bucket, part by part."""

    values: list[Float32Array]

    def __sizeof__(self) -> int:
        return sum(each.nbytes for each in self.values)


@dataclass(eq=False, repr=False)
class _Values(_Held):
    values: Float32Array

    def __sizeof__(self) -> int:
        return self.values.nbytes


@dataclass(eq=False, repr=False)
class _Tables(_Held):
    shared: SharedRisk | None


@dataclass(eq=False, repr=False)
class _Fine(_Held):
    """Nothing is wrong."""


@dataclass(frozen=True)
class Building:
    """How features are built; small, and nothing of a row.

    Attributes
    ----------
    n_buckets : int
        Of each key group.
    risk_delay_days, own_columns
        As for ``build_features``.
    source : str
        What error texts call the payments.
    refused : callable
        Makes what stands in the place of rows that cannot be used.
    """

    n_buckets: int
    risk_delay_days: int
    own_columns: tuple[FeatureSpec, ...]
    source: str
    refused: Callable[[FraudFedError], Any]


def build_parts(
    give: Give, parts: "Sequence[Future]", how: Building, *, shared: SharedRisk | None = None
) -> "list[Future]":
    """Let workers build the features of all parts.

    Parameters
    ----------
    give : callable
    parts : sequence of Future
        Each of a ``HeldPayments``, or of what is wrong.
    how : Building
    shared : SharedRisk or None
        As for ``build_features``; sent once.

    Returns
    -------
    list of Future
        Each of a ``HeldFeatures``, or of what is wrong; in the order of the parts.
    """
    if shared is not None:
        shared.check_delay(how.risk_delay_days)
    tables = give("risk-tables", _Tables, shared)
    numbers = range(how.n_buckets)
    pieces: list[list[Future]] = [[] for _ in parts]
    for group in KEY_GROUPS:
        divided = [give(f"divide-{group.name}", _divide, part, group, how) for part in parts]
        for bucket in numbers:
            chunks = [give(f"take-{group.name}", _chunk, each, bucket) for each in divided]
            built = give(f"build-{group.name}", _build, group, how, tables, *chunks)
            for number in range(len(parts)):
                pieces[number].append(give(f"give-{group.name}", _values, built, number))
    checks = []
    identifiers = [give("divide-ids", _divide_ids, part, how) for part in parts]
    for bucket in numbers:
        chunks = [give("take-ids", _chunk, each, bucket) for each in identifiers]
        checks.append(give("check-ids", _check_ids, how, *chunks))
    fine = give("check-ids", _all_fine, *checks)
    with_shared = shared is not None
    return [
        give("join", _join, part, how, with_shared, fine, *pieces[number])
        for number, part in enumerate(parts)
    ]


def all_reports(give: Give, parts: "Sequence[Future]") -> "Future":
    """Let a worker gather the reported frauds of all parts: a ``HeldReports``."""
    return give("reports", _together, *(give("reports", _reports, part) for part in parts))


# What workers call.


def _wrong(*given: Any) -> Any:
    """Return the first of some results that is not rows; None if all are."""
    return next((each for each in given if not isinstance(each, _Held)), None)


def _divide(held: Any, group: KeyGroup, how: Building) -> Any:
    if not isinstance(held, HeldPayments):
        return held
    try:
        require_columns(held.rows)
    except DataError as error:
        return how.refused(error)
    judged = held.rows.iloc[rows_of_direction(held.rows, OUTBOUND)]
    looked_at = group_rows(group, RawColumns.of(judged), judged)
    numbers = bucket_numbers(judged, group.key, n_buckets=how.n_buckets)
    chosen = rows_by_bucket(numbers, n_buckets=how.n_buckets)
    return _Divided([looked_at.take(pa.array(these)) for these in chosen])


def _divide_ids(held: Any, how: Building) -> Any:
    if not isinstance(held, HeldPayments):
        return held
    texts = held.rows[_ID].to_numpy(dtype=object)
    numbers = bucket_numbers(held.rows, _ID, n_buckets=how.n_buckets)
    return _Divided(
        [
            pa.table({_ID: pa.array(texts[these], pa.string())})
            for these in rows_by_bucket(numbers, n_buckets=how.n_buckets)
        ]
    )


def _chunk(divided: Any, bucket: int) -> Any:
    return _Chunk(divided.tables[bucket]) if isinstance(divided, _Divided) else divided


def _check_ids(how: Building, *chunks: Any) -> Any:
    wrong = _wrong(*chunks)
    if wrong is not None:
        return wrong
    found = pa.concat_tables([chunk.table for chunk in chunks])
    again = repeated_identifier(found[_ID])
    if again is None:
        return _Fine()
    value, _, _ = again
    return how.refused(
        DataError(
            f"{how.source}: column {_ID!r}: {value!r} occurs more than once, expected an "
            "identifier that no other row has; leave the repeated row out"
        )
    )


def _all_fine(*checks: Any) -> Any:
    wrong = _wrong(*checks)
    return _Fine() if wrong is None else wrong


def _build(group: KeyGroup, how: Building, tables: _Tables, *chunks: Any) -> Any:
    wrong = _wrong(*chunks)
    if wrong is not None:
        return wrong
    whole = pa.concat_tables([chunk.table for chunk in chunks]).cast(group_schema(group))
    values = group_columns(
        group, whole.to_pandas(), risk_delay_days=how.risk_delay_days, shared=tables.shared
    )
    edges = np.cumsum([chunk.table.num_rows for chunk in chunks])[:-1]
    return _Built(np.split(values, edges))


def _values(built: Any, number: int) -> Any:
    return _Values(built.values[number]) if isinstance(built, _Built) else built


def _join(held: Any, how: Building, with_shared: bool, fine: Any, *pieces: Any) -> Any:
    wrong = _wrong(held, fine, *pieces)
    if wrong is not None:
        return wrong
    rows = held.rows
    positions = rows_of_direction(rows, OUTBOUND)
    judged = rows.iloc[positions]

    def columns_of(group: KeyGroup) -> Float32Array:
        names = group_names(group, shared=with_shared)
        together = np.full((len(judged), len(names)), np.nan, dtype=np.float32)
        numbers = bucket_numbers(judged, group.key, n_buckets=how.n_buckets)
        first = KEY_GROUPS.index(group) * how.n_buckets
        for bucket, these in enumerate(rows_by_bucket(numbers, n_buckets=how.n_buckets)):
            together[these] = pieces[first + bucket].values
        return together

    built = payment_table(judged, positions, columns_of, shared=with_shared)
    try:
        return HeldFeatures(held.number, rows, with_own_columns(built, how.own_columns, rows))
    except DataError as error:
        return how.refused(error)


def _reports(held: Any) -> Any:
    return HeldReports(reported_frauds(held.rows)) if isinstance(held, HeldPayments) else held


def _together(*reports: Any) -> Any:
    wrong = _wrong(*reports)
    if wrong is not None:
        return wrong
    return HeldReports(pd.concat([each.frauds for each in reports]))
