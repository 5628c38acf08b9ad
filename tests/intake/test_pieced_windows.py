"""Windows of pieces are the windows of all rows, cut into pieces."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import DAY, START, random_table

from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.features import RECIPE, build_features, contract_features
from fraudfed.intake.pieced_windows import piece_windows, reported_frauds, total_counts
from fraudfed.intake.windows import Windows, windows_in_time
from fraudfed.wire.messages import DataContract, LabelHorizon

SAME = ("labels", "is_blocked", "event_time", "amounts", "is_first_seen")
NUMBERED = ("customers", "cards", "accounts")


def contract_of(*, exclude: bool) -> DataContract:
    return DataContract(
        kind="transactions",
        features=contract_features(),
        recipe=RECIPE,
        label_horizon_days=LabelHorizon(days=7),
        train_until=START + 50 * DAY,
        select_until=START + 75 * DAY,
        judge_until=START + 100 * DAY,
        exclude_known_compromised=exclude,
    )


def rows_of(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = random_table(rng, 90)
    rows["is_blocked"] = (rng.random(90) < 0.1).astype(np.int8)
    rows["card_id"] = rng.choice(np.array(["k1", "k2", "k3", None]), 90)
    # Enough frauds that reports reach over pieces.
    rows["is_fraud"] = (rng.random(90) < 0.3).astype(rows["is_fraud"].dtype)
    return rows


def pieces_of(
    rows: pd.DataFrame, cuts: list[int], contract: DataContract, *, own_reports: bool = False
) -> list[Windows]:
    edges = [0, *sorted(cuts), len(rows)]
    whole = build_features(rows)
    frauds = [reported_frauds(rows.iloc[a:b]) for a, b in itertools.pairwise(edges)]
    found = []
    for start, stop in itertools.pairwise(edges):
        part = whole.take(np.arange(start, stop))
        part = dataclasses.replace(part, positions=np.arange(stop - start))
        piece = rows.iloc[start:stop]
        known = reported_frauds(piece) if own_reports else pd.concat(frauds)
        found.append(piece_windows(part, piece, known, contract, with_customers=True))
    return found


def same_groups(one: np.ndarray, other: np.ndarray) -> None:
    """Two numberings of the same names."""
    assert (one < 0).tolist() == (other < 0).tolist()
    first, second = (pd.factorize(each)[0] for each in (one, other))
    np.testing.assert_array_equal(first, second)


def check_judged(pieces: list[JudgedRows | None], whole: JudgedRows | None) -> None:
    assert whole is not None
    there = [piece for piece in pieces if piece is not None]
    assert len(there) == len(pieces)
    values = np.concatenate([piece.features for piece in there])
    np.testing.assert_array_equal(values, whole.features)
    outcomes = [piece.outcomes for piece in there]
    for name in SAME:
        together = np.concatenate([getattr(each, name) for each in outcomes])
        np.testing.assert_array_equal(together, getattr(whole.outcomes, name))
    for name in NUMBERED:
        together = np.concatenate([getattr(each, name) for each in outcomes])
        same_groups(together, getattr(whole.outcomes, name))
    for name, cells in whole.outcomes.cells.items():
        np.testing.assert_array_equal(np.concatenate([o.cells[name] for o in outcomes]), cells)


@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 90), max_size=4),
    exclude=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_the_windows_of_pieces_are_those_of_the_whole(
    seed: int, cuts: list[int], exclude: bool
) -> None:
    rows, contract = rows_of(seed), contract_of(exclude=exclude)
    whole = windows_in_time(build_features(rows), rows, contract, with_customers=True)
    pieces = pieces_of(rows, cuts, contract)
    train = [piece.train for piece in pieces]
    np.testing.assert_array_equal(
        np.concatenate([table.features for table in train]), whole.train.features
    )
    np.testing.assert_array_equal(
        np.concatenate([table.labels for table in train]), whole.train.labels
    )
    assert whole.train.customers is not None
    same_groups(np.concatenate([table.customers for table in train]), whole.train.customers)
    check_judged([piece.select for piece in pieces], whole.select)
    check_judged([piece.judge for piece in pieces], whole.judge)
    assert total_counts(piece.counts for piece in pieces) == whole.counts


def test_control_without_the_other_pieces_reports_some_are_seen_for_the_first_time() -> None:
    rows, contract = rows_of(3).sort_values("event_time"), contract_of(exclude=False)
    # One fraud, in the first piece, reported before the payments that judge.
    rows["is_fraud"] = np.r_[1, np.zeros(89, dtype=np.int64)]
    rows["label_time"] = rows["event_time"].to_numpy() + 40 * DAY
    rows["customer_id"] = "c1"
    whole = windows_in_time(build_features(rows), rows, contract).judge
    assert whole is not None
    assert not whole.outcomes.is_first_seen.any()
    check_judged([piece.judge for piece in pieces_of(rows, [1], contract)], whole)
    pieces = pieces_of(rows, [1], contract, own_reports=True)
    with pytest.raises(AssertionError):
        check_judged([piece.judge for piece in pieces], whole)
