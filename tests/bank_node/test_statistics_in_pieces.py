"""A file that does not fit into memory is counted for statistics as one that does."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from examples.statistics import layout, payments
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.data import statistics, streamed, streamed_table
from bank_node.data.looks import pieces
from bank_node.data.statistics import count_file
from bank_node.data.streamed import Bounded
from fraudfed.errors import DataError
from fraudfed.features import RECIPE, contract_features
from fraudfed.statistics.contents import contents_of
from fraudfed.statistics.counts import Counts, count, together
from fraudfed.statistics.layout import Layout
from fraudfed.wire.messages import DataContract, FeatureSpec, LabelHorizon, StatisticsSpec

KEY = bytes(32)
LIMIT = 1 << 29
DAY = 86_400


def same(found: Counts, expected: Counts) -> None:
    for name in ("rows", "labelled", "frauds", "n_identifiers"):
        assert getattr(found, name) == getattr(expected, name)
    for one, other in zip(found.columns, expected.columns, strict=True):
        np.testing.assert_equal(vars(one), vars(other))
    np.testing.assert_equal(found.cells, expected.cells)
    np.testing.assert_equal(found.all_cells, expected.all_cells)


def counted(data: Path, contract: DataContract) -> Counts:
    at = Layout.of(contract, StatisticsSpec(), n_banks=3)
    return count_file(data, contract, at, min_customers=2, hash_key=KEY, memory_limit=LIMIT)


def small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Bounded, "piece_rows", 90)
    patch.setattr(streamed, "_PAYMENT_BYTES", 1 << 40)
    patch.setattr(streamed_table, "piece_rows", lambda *_: 90)
    for module in (streamed, pieces):
        patch.setattr(module, "n_buckets_for", lambda n_rows, *, memory_bytes: 3)
    patch.setattr(statistics, "bytes_at_once", lambda *_: LIMIT + 1)


def test_transactions_in_pieces_have_the_counts_of_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = payments(0, n_rows=400)
    for number, (start, stop) in enumerate([(0, 150), (150, 150), (150, 160), (160, None)]):
        rows.iloc[start:stop].to_parquet(tmp_path / f"{number}.parquet", row_group_size=80)
    end = int(rows["event_time"].max())
    contract = DataContract(
        kind="transactions",
        recipe=RECIPE,
        features=contract_features()[:9],
        label_horizon_days=LabelHorizon(days=2),
        train_until=end,
    )
    whole = counted(tmp_path, contract)
    assert 0 < whole.rows < 400
    assert all(whole.n_identifiers.values())
    early = contract.model_copy(update={"train_until": int(rows["event_time"].min())})
    with pytest.raises(DataError, match="none of 400 payments is mature") as first:
        counted(tmp_path, early)
    small(monkeypatch)
    same(counted(tmp_path, contract), whole)
    with pytest.raises(DataError) as second:
        counted(tmp_path, early)
    assert str(second.value) == str(first.value)
    rows.iloc[:10].to_parquet(tmp_path / "1.parquet")
    with pytest.raises(DataError, match="an identifier that no earlier row has"):
        counted(tmp_path, contract)


def test_a_table_in_pieces_has_the_counts_of_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"x": rng.normal(size=300), "y": rng.integers(0, 2, 300)})
    rows.loc[::7, "x"] = np.nan
    rows.to_parquet(tmp_path / "rows.parquet", row_group_size=70)
    contract = DataContract(kind="table", features=(FeatureSpec(name="x"),), label="y")
    whole = counted(tmp_path, contract)
    small(monkeypatch)
    same(counted(tmp_path, contract), whole)


@settings(max_examples=20)
@given(
    edges=st.lists(st.integers(0, 200), max_size=4),
    turned=st.booleans(),
    seed=st.integers(0, 9),
)
def test_counts_add_up_in_any_order_and_grouping(edges: list[int], turned: bool, seed: int) -> None:
    rows, at = payments(seed, n_rows=200), layout(3)

    def counts(some: pd.DataFrame) -> Counts:
        features = {
            column.name: np.zeros(len(some), dtype=np.float32)
            for column in at.columns
            if column.group == "feature"
        }
        labels = some["is_fraud"].to_numpy(dtype=np.float32)
        contents = contents_of(
            at, features=features, labels=labels, transactions=some, min_customers=None
        )
        return count(contents, at, hash_key=KEY)

    cuts = [0, *sorted(edges), len(rows)]
    parts = [counts(rows.iloc[a:b].reset_index(drop=True)) for a, b in itertools.pairwise(cuts)]
    if turned:
        parts.reverse()
    same(together(parts), counts(rows))
    same(together([together(parts[:1]), together([*parts[1:], counts(rows[:0])])]), counts(rows))
