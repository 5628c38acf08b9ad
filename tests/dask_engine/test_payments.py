"""Features of payments on a cluster of processes: the bits of those built in memory."""

import itertools
import os
import signal
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pytest
from oracles.features import DAY, START, random_table
from oracles.shared_risk import risk_spec, solo_history

from fraudfed.dask_engine.payments import (
    Building,
    HeldFeatures,
    HeldPayments,
    all_reports,
    build_parts,
)
from fraudfed.errors import FraudFedError
from fraudfed.features import build_features
from fraudfed.intake.pieced_windows import reported_frauds

pytestmark = pytest.mark.e2e


def as_value(error: FraudFedError) -> str:
    return str(error)


def give_by(cluster: Any) -> Any:
    # What another test has asked under the same key may still be there, and would be the answer.
    name, numbers = uuid.uuid4().hex, itertools.count()

    def give(what: str, function: Any, *arguments: Any) -> Any:
        key = f"{what}-{name}-{next(numbers)}"
        return cluster.submit(function, *arguments, key=key, pure=False)

    return give


def how(n_buckets: int, delay: int = 0) -> Building:
    return Building(n_buckets, delay, (), "payments", as_value)


def rows_of(seed: int, n_rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = random_table(rng, n_rows, days=60)
    # In no order, and many in the same second.
    rows = rows.iloc[rng.permutation(n_rows)].reset_index(drop=True)
    rows.loc[: n_rows // 4, "event_time"] = START + 30 * DAY
    rows["label_time"] = np.maximum(rows["label_time"], rows["event_time"])
    return rows


def spread(give: Any, rows: pd.DataFrame, edges: list[int]) -> list[Any]:
    parts = itertools.pairwise(edges)
    return [
        give("read", HeldPayments, number, rows.iloc[start:stop])
        for number, (start, stop) in enumerate(parts)
    ]


def check(found: list[HeldFeatures], rows: pd.DataFrame, edges: list[int], **options: Any) -> None:
    whole = build_features(rows, **options)
    assert [each.number for each in found] == list(range(len(edges) - 1))
    values = np.concatenate([each.built.values for each in found])
    np.testing.assert_array_equal(values.view(np.uint32), whole.values.view(np.uint32))
    for name in ("labels", "event_time", "label_time", "transaction_id"):
        together = np.concatenate([getattr(each.built, name) for each in found])
        np.testing.assert_array_equal(together, getattr(whole, name))
    for each, start in zip(found, edges[:-1], strict=True):
        begin, end = np.searchsorted(whole.positions, [start, start + len(each.rows)])
        np.testing.assert_array_equal(each.built.positions + start, whole.positions[begin:end])


@pytest.mark.parametrize(
    ("edges", "n_buckets"),
    # One part; uneven and empty ones; seven.
    [([0, 150], 1), ([0, 90, 90, 91, 150], 3), ([0, 20, 40, 60, 80, 100, 120, 150], 2)],
)
def test_any_parts_and_buckets_give_the_bits_of_memory(
    cluster: Any, edges: list[int], n_buckets: int
) -> None:
    rows, give = rows_of(n_buckets, 150), give_by(cluster)
    shared = solo_history(rows, risk_spec())
    parts = spread(give, rows, edges)
    built = build_parts(give, parts, how(n_buckets, 7), shared=shared)
    check(cluster.gather(built), rows, edges, risk_delay_days=7, shared=shared)
    reports = cluster.gather(all_reports(give, parts)).frauds
    pd.testing.assert_frame_equal(reports, reported_frauds(rows))


def test_a_repeated_identifier_is_found_over_parts(cluster: Any) -> None:
    rows, give = rows_of(5, 60), give_by(cluster)
    rows.loc[50, "transaction_id"] = rows.loc[3, "transaction_id"]
    built = build_parts(give, spread(give, rows, [0, 30, 60]), how(3))
    for found in cluster.gather(built):
        assert "occurs more than once" in found


def test_what_is_wrong_with_a_part_is_passed_on(cluster: Any) -> None:
    rows, give = rows_of(6, 60), give_by(cluster)
    parts = spread(give, rows, [0, 30, 60])
    parts[1] = give("read", as_value, "row 3 of part 1 is wrong")
    built = build_parts(give, parts, how(2))
    assert set(cluster.gather(built)) == {"row 3 of part 1 is wrong"}
    assert cluster.gather(all_reports(give, parts)) == "row 3 of part 1 is wrong"


def test_a_worker_that_dies_makes_no_difference(cluster: Any) -> None:
    rows, give = rows_of(7, 150), give_by(cluster)
    edges = [0, 50, 100, 150]
    parts = spread(give, rows, edges)
    built = build_parts(give, parts, how(4))
    # Some of it is done; the worker that did it takes it along.
    cluster.gather(built[0])
    os.kill(next(iter(cluster.run(os.getpid).values())), signal.SIGKILL)
    check(cluster.gather(built), rows, edges)


def test_rows_on_workers_show_nothing_of_themselves() -> None:
    rows = rows_of(8, 20)
    held = HeldPayments(3, rows)
    text = repr(held) + repr(HeldFeatures(3, rows, build_features(rows)))
    assert not any(str(value) in text for value in rows["transaction_id"])
