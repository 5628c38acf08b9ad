"""Contributions add up, reasons are stable, and what a log keeps of them gives them again."""

from dataclasses import replace

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.boosting.model import Model
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import StateError
from fraudfed.intake.plain_table import contract_schema
from fraudfed.parameters import BoosterParams
from fraudfed.reasons import (
    Catalogue,
    group_sums,
    ranked,
    reasons_in,
    reasons_of,
    shown_values,
    with_shown,
)
from fraudfed.reasons.formats import count, duration, money
from fraudfed.reasons.reasons import LEAST_SHARE, TIE_STEP
from fraudfed.wire.messages import Currency, DataContract, FeatureSpec, FeatureType

OWN = (
    FeatureSpec(name="odd {name}!:x", description="what {else}", unit="minor currency units"),
    FeatureSpec(
        name="segment",
        type=FeatureType.CATEGORICAL,
        categories=("retail", "gift_cards"),
        description="kind of customer",
        unit="code",
    ),
)
CONTRACTS = {
    recipe: DataContract(
        kind="transactions",
        recipe=recipe,
        features=(*contract_features(recipe, shared=True), *OWN),
    )
    for recipe in (RECIPE, INBOUND_RECIPE)
}


def drawn_rows(contract: DataContract, n_rows: int = 1500) -> np.ndarray:
    """Draw rows of a contract's features, a sixth of the values missing."""
    draws = np.random.default_rng(8)
    rows = draws.exponential(3.0, (n_rows, len(contract.features))).astype(np.float32)
    for place, spec in enumerate(contract.features):
        if spec.categories:
            rows[:, place] = draws.integers(0, len(spec.categories), n_rows)
        elif spec.name.startswith(("is_", "new_")):
            rows[:, place] = draws.integers(0, 2, n_rows)
    rows[draws.uniform(size=rows.shape) < 1 / 6] = np.nan
    return rows


@pytest.fixture(scope="module", params=list(CONTRACTS))
def modelled(request: pytest.FixtureRequest) -> tuple[DataContract, Model, np.ndarray]:
    """Train a model whose splits are of every kind."""
    contract = CONTRACTS[request.param]
    rows = drawn_rows(contract)
    draws = np.random.default_rng(9)
    filled = np.nan_to_num(rows, nan=1.0)
    noise = draws.normal(size=len(rows))
    last, first = filled[:, -1], filled[:, 0]
    labels = (first + 3 * last + filled[:, 9] + noise > 8).astype(np.float32)
    table = TrainingTable(contract_schema(contract), rows, labels)
    parameters = BoosterParams.parse(
        {"num_boost_round": 20, "max_depth": 5, "max_bin": 32, "max_cat_to_onehot": 1}
    )
    return contract, train(parameters, table, SoloCommunicator()).model, rows


def contributions_of(
    model: Model, contract: DataContract, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return margins and contributions by XGBoost."""
    booster = xgboost.Booster()
    booster.load_model(bytearray(model.to_json()))
    types = ["c" if spec.categories else "q" for spec in contract.features]
    names = [spec.name for spec in contract.features]
    matrix = xgboost.DMatrix(
        rows, feature_names=names, feature_types=types, enable_categorical=True
    )
    return (
        booster.predict(matrix, output_margin=True),
        booster.predict(matrix, pred_contribs=True),
    )


@pytest.mark.parametrize("bits", [24, 6, 1])
def test_groups_add_up_to_the_margin(
    modelled: tuple[DataContract, Model, np.ndarray], bits: int
) -> None:
    contract, model, rows = modelled
    model = replace(model, statistics_bits=bits)
    assert any(tree.is_categorical.any() for tree in model.trees)
    margins, contributions = contributions_of(model, contract, rows)
    catalogue = Catalogue.of(contract)
    sums = group_sums(contributions, catalogue)
    np.testing.assert_allclose(sums.sum(axis=1) + contributions[:, -1], margins, rtol=0, atol=1e-5)
    # Row by row, the very same numbers.
    for row in range(0, len(rows), 100):
        np.testing.assert_array_equal(group_sums(contributions[row], catalogue), sums[row])


def test_a_log_gives_the_reasons_again(
    modelled: tuple[DataContract, Model, np.ndarray],
) -> None:
    contract, model, rows = modelled
    catalogue = Catalogue.of(contract)
    _, contributions = contributions_of(model, contract, rows[:60])
    for row, added in zip(rows[:60], contributions, strict=True):
        reasons = reasons_in(catalogue, added, row, currency="GBP")
        shown = shown_values(reasons, row, catalogue)
        # What bins stand for: other numbers, and missing where it was missing.
        coarse = np.where(np.isnan(row), row, np.float32(0.5))
        restored, same = with_shown(coarse, shown, catalogue)
        assert same
        assert reasons_in(catalogue, added, restored, currency="GBP") == reasons
        assert len(shown) <= 4 + (len(row) + 7) // 8 + 4 * 45
        for wrong in (shown[:-1], shown + b"\0", shown[:6]):
            with pytest.raises(StateError, match="name the model of the decision"):
                with_shown(coarse, wrong, catalogue)


def test_no_reasons_keep_nothing() -> None:
    catalogue = Catalogue.of(CONTRACTS[RECIPE])
    row = np.ones(len(catalogue.names), dtype=np.float32)
    nothing = np.full(len(row) + 1, -1, dtype=np.float32)
    assert reasons_in(catalogue, nothing, row) == ()
    assert shown_values((), row, catalogue) == b""
    restored, same = with_shown(row, b"", catalogue)
    assert same
    np.testing.assert_array_equal(restored, row)


@given(st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=20), st.integers(1, 6))
def test_reasons_raise_the_score_and_are_the_largest(values: list[float], most: int) -> None:
    sums = np.array(values)
    chosen = ranked(sums, most=most)
    assert len(chosen) <= most
    raised = sums[sums > 0].sum()
    for place, group in enumerate(chosen):
        assert sums[group] > 0
        if place >= 3:
            assert sums[group] >= LEAST_SHARE * raised
    left = [group for group in range(len(sums)) if group not in chosen]
    for group in chosen:
        assert all(sums[group] >= sums[other] - TIE_STEP for other in left)


@given(
    st.lists(st.sampled_from([0.5, 0.25, 1.0]), min_size=3, max_size=8),
    st.lists(st.floats(-1e-7, 1e-7), min_size=8, max_size=8),
)
def test_rounding_decides_no_order(values: list[float], noise: list[float]) -> None:
    sums = np.array(values)
    assert ranked(sums) == ranked(sums + np.array(noise[: len(sums)]))
    order = ranked(sums, most=8)
    assert order == sorted(order, key=lambda group: (-sums[group], group))


def test_what_is_no_contribution_of_the_contract_is_refused() -> None:
    contract = CONTRACTS[RECIPE]
    n = len(contract.features)
    row = np.zeros(n, dtype=np.float32)
    with pytest.raises(ValueError, match=f"{n} contributions, expected {n} and the base"):
        reasons_of(np.zeros(n, dtype=np.float32), row, contract=contract)
    with pytest.raises(ValueError, match="most is 0"):
        reasons_of(np.zeros(n + 1, dtype=np.float32), row, contract=contract, most=0)
    stray = contract.model_copy(update={"features": (FeatureSpec(name="stray"),)})
    with pytest.raises(ValueError, match="'stray' of recipe 'fraudfed-card-2' has no phrase"):
        Catalogue.of(stray)


def test_a_customer_reads_a_warning_once() -> None:
    contract = CONTRACTS[RECIPE]
    catalogue = Catalogue.of(contract)
    contributions = np.zeros(len(catalogue.names) + 1, dtype=np.float32)
    row = np.zeros(len(catalogue.names), dtype=np.float32)
    for name in ("payee_fraud_count_7d", "new_payee", "payee_count_7d"):
        contributions[catalogue.names.index(name)] = 1.0
    row[catalogue.names.index("new_payee")] = 1.0
    reasons = reasons_of(contributions, row, contract=contract)
    # A tie of three: the catalogue's order.
    assert [r.code for r in reasons] == ["payee_reports", "new_payee", "payee_use"]
    assert [bool(r.customer) for r in reasons] == [True, False, False]
    assert "not paid this account before" in reasons[0].customer


def test_own_columns_are_told_by_their_description() -> None:
    contract = CONTRACTS[RECIPE]
    catalogue = Catalogue.of(contract)
    contributions = np.zeros(len(catalogue.names) + 1, dtype=np.float32)
    contributions[[-3, -2]] = 2.0, 1.0
    row = np.zeros(len(catalogue.names), dtype=np.float32)
    row[-2:] = 123_456, 1
    amount, segment = reasons_of(contributions, row, contract=contract, currency="JPY")
    assert (amount.code, amount.analyst) == ("column:odd {name}!:x", "what {else}: JPY 123,456")
    assert segment.analyst == "kind of customer: gift cards"
    assert (amount.customer, segment.customer) == ("", "")
    row[-2:] = np.nan
    assert reasons_of(contributions, row, contract=contract)[0].analyst == "what {else}: no value"


def test_a_plain_table_has_a_phrase_for_each_column() -> None:
    contract = DataContract(
        kind="table",
        features=(FeatureSpec(name="income.x", description="Income of a month"), OWN[1]),
    )
    row = np.array([1234.5, 0], dtype=np.float32)
    contributions = np.array([1.0, 0.5, -3.0], dtype=np.float32)
    assert [r.analyst for r in reasons_of(contributions, row, contract=contract)] == [
        "Income of a month: 1,234.5",
        "kind of customer: retail",
    ]


def test_the_currency_of_the_contract_comes_first() -> None:
    features = contract_features(RECIPE)
    contract = DataContract(
        kind="transactions", recipe=RECIPE, features=features, currency=Currency(code="EUR")
    )
    contributions = np.zeros(len(features) + 1, dtype=np.float32)
    contributions[0] = 1.0
    row = np.full(len(features), np.nan, dtype=np.float32)
    row[0] = 1_999
    (reason,) = reasons_of(contributions, row, contract=contract, currency="GBP")
    assert reason.analyst == "EUR 19.99; usual: no earlier payment in 30 days"


@pytest.mark.parametrize(
    ("value", "currency", "text"),
    [
        (125_000, "GBP", "GBP 1,250.00"),
        (125_000, "JPY", "JPY 125,000"),
        (125_000, "KWD", "KWD 125.000"),
        (125_000, None, "125,000 minor units"),
        (125_000, "XXX", "125,000 minor units"),
        (2**24, "GBP", "GBP 167,772"),
        (0, "GBP", "GBP 0.00"),
    ],
)
def test_amounts_are_written_in_their_currency(
    value: float, currency: str | None, text: str
) -> None:
    assert money(value, currency) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_600, "1 h"), (172_800, "2 days")],
)
def test_times_are_written_in_their_largest_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_read_well() -> None:
    assert [count(n, "payment") for n in (0, 1, 5_000)] == [
        "no payments",
        "1 payment",
        "5,000 payments",
    ]
