"""Payments of a risk run counted by a cluster's workers.

::

    part     -> what is wrong with it; its payments by bucket, of identifiers or of customers
    buckets  -> counts of identifiers on days

Identifiers come to this program with their counts, to be hashed here: the key that hashes them
never goes to a worker.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from bank_node.data.looks.look import Reading
from bank_node.data.looks.workers import WorkerLooks, value_of
from bank_node.data.spread_payments import n_buckets_of, parts_of
from bank_node.jobs.risk.counting import CountedPayments, first_day
from fraudfed.dask_engine.payments import HeldPayments
from fraudfed.dask_engine.requests import Answer, packed, unpacked
from fraudfed.dask_engine.work import Work
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk.counting import Counted, RiskRows
from fraudfed.features.shared_risk.divided import Division
from fraudfed.features.shared_risk.entries import Correction
from fraudfed.reading.file import DataFile
from fraudfed.wire.messages import RiskSpec

if TYPE_CHECKING:
    from distributed import Client, Future

#: Places of the payments of a part begin here times its number.
_MOST_ROWS_OF_A_PART = 1 << 40


def count_on_workers(
    client: "Client",
    file: DataFile,
    mapping: Mapping | None,
    spec: RiskSpec,
    *,
    corrections: Sequence[Correction],
    secret: Callable[[], int],
) -> CountedPayments:
    """Let workers read, check and count a bank's payments; raises as ``count_payments``.

    Parameters
    ----------
    client : Client
    file : DataFile
        Whose parts workers can read.
    mapping, spec, corrections
        As for ``count_payments``.
    secret : callable
        Gives a number that nobody can guess, for each draw.
    """
    work = Work(client)
    n_buckets = n_buckets_of(work, file)
    looks = WorkerLooks(work, file, parts_of(work, file), Reading(mapping), n_buckets=n_buckets)
    looks.raise_problems()
    held = looks.payments()
    first_days = looks.each("look", _look, held)

    def counted(*, bounded: bool) -> Counted:
        given: list[Future] = []
        for division in Division.of(spec, bounded=bounded):
            how = packed((division, spec, tuple(corrections), n_buckets))
            divided = [work.give("divide-risk", _divide, each, how) for each in held]
            for bucket in range(n_buckets):
                chunks = [work.give("take-risk", _take, each, bucket) for each in divided]
                # Given again after a worker died, it draws the same.
                seed = secret() if bounded else None
                given.append(work.give("count-risk", _count, how, seed, *chunks))
        return Counted.together(value_of(work.receive(given)))

    unbounded = counted(bounded=False)
    drawn = unbounded if spec.privacy is None else counted(bounded=True)
    return CountedPayments(looks.looks.n_rows, min(first_days), drawn, unbounded)


# What workers call.


class _Divided:
    """Payments by bucket, or those of one bucket; Dask logs nothing of them."""

    def __init__(self, tables: Sequence[pa.Table]) -> None:
        self.tables = tables

    def __repr__(self) -> str:
        return "<payments by bucket>"

    def __sizeof__(self) -> int:
        return sum(int(each.nbytes) for each in self.tables)


def _look(held: HeldPayments | Answer) -> Answer:
    if isinstance(held, Answer):
        return held
    return Answer([(held.number, first_day(held.rows))])


def _divide(held: HeldPayments | Answer, message: bytes) -> _Divided | Answer:
    if isinstance(held, Answer):
        return held
    division, spec, corrections, n_buckets = unpacked(message)
    rows = RiskRows.of(
        held.rows, spec, corrections=corrections, first_place=held.number * _MOST_ROWS_OF_A_PART
    )
    return _Divided(division.divide(rows, n_buckets=n_buckets))


def _take(divided: _Divided | Answer, bucket: int) -> _Divided | Answer:
    return divided if isinstance(divided, Answer) else _Divided([divided.tables[bucket]])


def _count(message: bytes, seed: int | None, *chunks: Any) -> Answer:
    for chunk in chunks:
        if isinstance(chunk, Answer):
            return chunk
    division, spec, _, _ = unpacked(message)
    draw = None if seed is None else np.random.default_rng(seed)
    bucket = pa.concat_tables([chunk.tables[0] for chunk in chunks])
    return Answer([division.count(bucket, spec, draw=draw)])
