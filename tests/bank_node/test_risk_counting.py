"""Payments of a risk run that do not fit into memory are counted as those that do."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from examples.risk import SPEC, payments

from bank_node.data import streamed
from bank_node.data.looks import pieces
from bank_node.data.streamed import Bounded
from bank_node.jobs.risk.counting import CountedPayments, count_payments
from bank_node.run.context import RunOptions
from fraudfed.errors import DataError
from fraudfed.features.shared_risk.entries import Correction
from fraudfed.wire.messages import RiskEntity, RiskPrivacy, RiskSpec

KEY = bytes(32)
LIMIT = 1 << 29
CORRECTIONS = (
    Correction("b0-0003", SPEC.first_day - 2, SPEC.first_day, SPEC.first_day + 3, {}),
    Correction(
        "b0-0004",
        SPEC.first_day - 2,
        SPEC.first_day,
        SPEC.first_day + 3,
        {RiskEntity.TERMINAL: "t0"},
    ),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "rows"
    folder.mkdir()
    rows = payments(0)
    # One payment in ten is inbound; files are uneven, and one is empty.
    rows["direction"] = np.where(np.arange(len(rows)) % 10 == 0, "inbound", "outbound")
    for number, (start, stop) in enumerate([(0, 90), (90, 90), (90, 97), (97, None)]):
        part = folder / f"{number}.parquet"
        rows.iloc[start:stop].to_parquet(part, row_group_size=40, index=False)
    return folder


def small(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Bounded, "piece_rows", 20)
    patch.setattr(streamed, "_PAYMENT_BYTES", 1 << 40)
    patch.setattr(pieces, "n_buckets_for", lambda n_rows, *, memory_bytes: 3)


def counted(data: Path, spec: RiskSpec = SPEC) -> CountedPayments:
    options = RunOptions(data, memory_limit=LIMIT)
    return count_payments(options, spec, corrections=CORRECTIONS)


def test_what_is_entered_of_pieces_is_what_is_entered_of_all_at_once(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = counted(data)
    small(monkeypatch)
    found = counted(data)
    assert (found.n_rows, found.first_day) == (whole.n_rows, whole.first_day)
    ours, others = (
        each.counted.entries(SPEC, hash_key=KEY, corrections=CORRECTIONS) for each in (found, whole)
    )
    assert others.corrections.counts.size
    for name in ("transactions", "frauds", "corrections"):
        np.testing.assert_equal(vars(getattr(ours, name)), vars(getattr(others, name)))


def test_with_privacy_pieces_enter_as_much_of_each_day(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noised = SPEC.model_copy(
        update={
            "depth": 1,
            "min_customers": 1,
            "privacy": RiskPrivacy(epsilon=3.0, tolerated_colluders=1),
        }
    )
    whole = counted(data, noised)
    small(monkeypatch)
    found = counted(data, noised)
    days = range(SPEC.first_day, SPEC.last_day + 1)
    entered, unbounded = (
        [getattr(each, name).entries(noised, hash_key=KEY) for each in (found, whole)]
        for name in ("counted", "unbounded")
    )
    np.testing.assert_equal(vars(unbounded[0].transactions), vars(unbounded[1].transactions))
    totals = [each.transactions.totals(days) for each in entered]
    np.testing.assert_array_equal(*totals)
    assert totals[0].sum() < unbounded[0].transactions.counts.sum()


def test_what_is_wrong_is_said_as_at_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.read_parquet(data / "0.parquet")
    rows.iloc[[*range(29), 3]].to_parquet(data / "1.parquet", index=False)
    texts = []
    for _ in range(2):
        with pytest.raises(DataError) as error:
            counted(data)
        texts.append(str(error.value))
        small(monkeypatch)
    assert texts[0] == texts[1]
    assert "no earlier row has (and 29 more rows)" in texts[0]
