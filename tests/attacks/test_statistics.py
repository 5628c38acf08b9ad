"""What members read of one bank in a statistics run, when all others put their parts together."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from cohorts.lying import Asked, adds, see
from examples.statistics import KEY, SPEC, counted, layout, payments, pooled

import fraudfed.held_sums as held_sums
from bank_node.config import CohortRules
from bank_node.data.statistics import Thresholds
from fraudfed.dtypes import Int64Array
from fraudfed.statistics.occupancy import cells_of
from fraudfed.statistics.pooled import Statistics
from fraudfed.statistics.rounds import pool
from fraudfed.wire.messages import RiskEntity

#: A payment like no other of the bank: its customer alone has the category, amount and payee.
RARE = {
    "customer_id": "the one",
    "channel": "transfer",
    "merchant_category": "jewellery",
    "payee_id": "GB00ONE1",
    "amount_minor": 77_000_000,
    "is_fraud": 1,
}


def with_customer(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with one more, which no count of many rows is changed by."""
    one = {**rows.iloc[0].to_dict(), **RARE, "transaction_id": "rare"}
    return pd.concat([rows, pd.DataFrame([one])], ignore_index=True)


def read_by_colluders(rows: pd.DataFrame, *, least: int, min_customers: int) -> Statistics:
    """Return what two colluding banks know of a third: the sums less their own parts."""
    at = layout(3)
    parts = [rows, *(payments(bank) for bank in (1, 2))]
    counts = [counted(part, at, min_customers=min_customers) for part in parts]
    found = pooled(counts, at, least=least)
    return found[0].pooled.without(found[1].own).without(found[2].own)


def category_counts(found: Statistics) -> dict[str, int]:
    at = found.layout.position("raw", "merchant_category")
    assert at is not None
    cells = found.layout.columns[at].cells
    assert cells is not None
    return dict(zip(cells, found.columns[at].cells.tolist(), strict=True))


def marked(found: Statistics) -> bool:
    (cell,) = cells_of(RiskEntity.PAYEE, ["GB00ONE1"], hash_key=KEY, width=SPEC.width)
    return bool(found.known[RiskEntity.PAYEE].marks[cell])


#: No total lies so near a border of rounding that one row moves it (n % 10 is neither 4 nor 9).
ROWS = payments(0, n_rows=4001)


def test_one_customer_changes_nothing_that_all_others_together_read() -> None:
    without, with_one = (
        read_by_colluders(rows, least=10, min_customers=3) for rows in (ROWS, with_customer(ROWS))
    )
    assert category_counts(with_one)["jewellery"] == 0
    assert not marked(with_one)
    same = [
        one.cells.tolist() == other.cells.tolist() and one.frauds.tolist() == other.frauds.tolist()
        for one, other in zip(without.columns, with_one.columns, strict=True)
    ]
    # Cells of many rows may round the other way with one row more; cells of few never show it.
    assert np.mean(same) > 0.8
    for one, other in zip(without.columns, with_one.columns, strict=True):
        appeared = (one.cells == 0) & (other.cells > 0) & (other.cells < 10)
        assert not appeared.any()
    assert (without.rows, without.frauds) == (with_one.rows, with_one.frauds)


def test_control_without_thresholds_a_single_customers_cell_is_read() -> None:
    found = read_by_colluders(with_customer(ROWS), least=1, min_customers=1)
    assert category_counts(found)["jewellery"] == 1
    assert marked(found)


def test_control_zeros_alone_leave_the_small_cell_as_a_difference() -> None:
    """Without rounding the large counts, the total less the cells that are shown is the cell."""
    rows = with_customer(ROWS)
    exact = rows["merchant_category"].value_counts()
    shown = exact.where(exact >= 10, 0)
    total = len(rows) - int(rows["merchant_category"].isna().sum())
    assert total - int(shown.sum()) == 1
    found = read_by_colluders(rows, least=10, min_customers=3)
    at = found.layout.position("raw", "merchant_category")
    assert at is not None
    left = found.rows - found.columns[at].missing - int(found.columns[at].cells.sum())
    before = read_by_colluders(ROWS, least=10, min_customers=3)
    assert left == before.rows - before.columns[at].missing - int(before.columns[at].cells.sum())


@pytest.mark.parametrize(
    ("rule", "customers", "expected"),
    [(10, None, (10, 3)), (50, None, (50, 3)), (1, None, (10, 3)), (10, 5, (10, 5))],
)
def test_a_run_can_only_raise_what_a_bank_holds_back(
    rule: int, customers: int | None, expected: tuple[int, int]
) -> None:
    rules = CohortRules(min_statistics_count=rule, min_risk_customers=customers)
    least = Thresholds.of(SPEC, rules)
    assert (least.count, least.customers) == expected
    lax = SPEC.model_copy(update={"min_count": 1, "min_customers": 1})
    assert Thresholds.of(lax, rules).count == rule
    assert Thresholds.of(lax, CohortRules()).count == 10


def _more_frauds_than_rows(asked: Asked) -> Int64Array:
    added = np.zeros_like(asked.honest)
    added[2] = asked.honest[0] + 10
    return added


def _see(splits: tuple[pd.DataFrame, pd.DataFrame], *rules):
    at = layout(3)
    counts = [counted(part, at) for part in splits]

    def program(bank: int, communicator) -> str:
        found = pool(counts[bank], at, communicator, least=10, hash_key=KEY)
        return hashlib.sha256(found.pooled.to_bytes()).hexdigest()

    return see(2, program, member=adds(rules))


BOTH = (payments(1, n_rows=1000), payments(2, n_rows=1000))


def test_totals_that_are_none_of_rows_end_the_run_at_all_alike() -> None:
    seen = _see(BOTH, ("statistics:totals", _more_frauds_than_rows))
    assert seen.ends[0] == seen.ends[1]
    assert held_sums.Untrue.COUNTED.value in seen.ends[0]
    assert [call.label for call in seen.calls] == ["statistics:totals"]
    assert len(_see(BOTH).ends[0]) == 64


def test_control_without_the_rule_such_totals_become_statistics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(held_sums, "hold", lambda is_true, otherwise: None)
    seen = _see(BOTH, ("statistics:totals", _more_frauds_than_rows))
    assert len(seen.ends[0]) == 64


def test_what_is_asked_and_how_all_end_follows_from_the_sum_alone() -> None:
    """The same rows the other way round: sizes, bounds and ends are the same."""

    def above_all(asked: Asked) -> Int64Array:
        return asked.bound - asked.honest + 1

    for label in ("statistics:totals", "statistics:cells", "statistics:parts"):
        one, other = (_see(split, (label, above_all)) for split in (BOTH, BOTH[::-1]))
        assert one.calls == other.calls
        assert one.ends == other.ends
        assert "SumError" in one.ends[0]
