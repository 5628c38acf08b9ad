"""What a contract adds to a recipe: own columns, a population, currencies."""

from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles.contract_terms import CURRENCY, OWN_COLUMNS, TERMS, with_contract_terms
from oracles.features import DAY, START, random_table, table

from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.errors import DataError
from fraudfed.features import OnlineFeatures, Payment, build_features, check_transactions
from fraudfed.features.currency import AmountConverter, in_currency
from fraudfed.features.payment import payments_of
from fraudfed.features.population import has_payment, in_population, population_text
from fraudfed.payments.columns import CHANNELS, MAX_AMOUNT_MINOR
from fraudfed.payments.currencies import EXPONENTS
from fraudfed.wire.messages import Currency, DataContract, FeatureSpec, FeatureType, Population

seeds = st.integers(0, 2**32 - 1)
codes = st.sampled_from(["GBP", "USD", "JPY", "KWD", "CLF", "ISK"])
rates = st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,12})?", fullmatch=True).filter(
    lambda text: Fraction(text) > 0
)


def half_up(amount: int, rate: str, source: str, target: str) -> int:
    """Convert by fractions, and round as people do on paper."""
    exact = Fraction(amount, 10 ** EXPONENTS[source]) * Fraction(rate) * 10 ** EXPONENTS[target]
    whole = exact.numerator // exact.denominator
    return whole + (exact - whole >= Fraction(1, 2))


@given(
    amounts=st.lists(st.integers(0, MAX_AMOUNT_MINOR), min_size=1, max_size=20),
    source=codes,
    target=codes,
    rate=rates,
)
@example(amounts=[0], source="JPY", target="KWD", rate="999999999999.000000000001")
@settings(max_examples=150, deadline=None)
def test_conversion_is_that_of_fractions(
    amounts: list[int], source: str, target: str, rate: str
) -> None:
    if source == target:
        return
    converter = AmountConverter(Currency(code=target, rates={source: {"1970-01-01": rate}}))
    expected = [half_up(amount, rate, source, target) for amount in amounts]
    refused: list[bool] = []
    found = converter.column(
        np.array(amounts, dtype=np.int64),
        pd.Series([source] * len(amounts)),
        np.zeros(len(amounts), dtype=np.int64),
        lambda kind, _column, bad, *_: refused.extend(bad if kind == "amount_too_large" else []),
    )
    assert refused == [amount > MAX_AMOUNT_MINOR for amount in expected]
    for amount, exact, got, bad in zip(amounts, expected, found.tolist(), refused, strict=True):
        assert converter.minor(amount, source, 0) == exact
        assert bad or got == exact


@pytest.mark.parametrize(
    ("amount", "source", "rate", "target", "expected"),
    [
        (1000, "JPY", "0.0055", "GBP", 550),
        (1, "KWD", "2.5", "GBP", 0),
        (2, "KWD", "2.5", "GBP", 1),  # 0.5 pence
        (6, "KWD", "2.5", "GBP", 2),  # 1.5 pence
        (10, "KWD", "2.5", "GBP", 3),  # 2.5 pence: up, where banker's rounding gives 2
        (199, "USD", "0.79", "JPY", 2),
    ],
)
def test_halves_are_rounded_up(
    amount: int, source: str, rate: str, target: str, expected: int
) -> None:
    converter = AmountConverter(Currency(code=target, rates={source: {"2020-01-01": rate}}))
    assert converter.minor(amount, source, START) == expected


def test_a_rate_holds_from_its_day_until_the_next() -> None:
    days = {"2023-06-01": "1", "2023-06-03": "3"}
    currency = Currency(code="GBP", rates={"EUR": dict(reversed(days.items()))})
    times = [START, START + 2 * DAY - 1, START + 2 * DAY, START + 400 * DAY]
    frame = table({"event_time": time, "amount_minor": 100} for time in times)
    found = in_currency(frame.assign(currency="EUR"), currency)
    assert found["amount_minor"].tolist() == [100, 100, 300, 300]
    assert "currency" not in found


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"currency": "EUR"}, "row 2, column 'currency': got EUR, expected a currency that"),
        ({"event_time": START - 1, "currency": "USD"}, "on 2023-06-01 or later, the first day"),
        ({"amount_minor": 10**12, "currency": "USD"}, "column 'amount_minor'"),
    ],
)
def test_an_amount_that_cannot_be_converted_is_refused(row: dict[str, Any], message: str) -> None:
    currency = Currency(code="GBP", rates={"USD": {"2023-06-01": "3"}})
    frame = table([{"currency": "GBP"}, row])
    with pytest.raises(DataError, match=message):
        build_features(frame, risk_delay_days=0, currency=currency)
    online = OnlineFeatures(risk_delay_days=0, currency=currency)
    payment = payments_of(frame)[1]
    for take in (online.features, online.observe):
        with pytest.raises(DataError, match="expected a rate to GBP"):
            take(payment)


def test_windows_add_amounts_of_one_currency() -> None:
    frame = table(
        [
            {"amount_minor": 1000, "currency": "USD"},
            {"amount_minor": 100, "currency": "GBP", "event_time": START + 1},
        ]
    )
    currency = Currency(code="GBP", rates={"USD": {"2023-01-01": "0.5"}})
    built = build_features(frame, risk_delay_days=0, currency=currency)
    mean = built.names.index("customer_mean_amount_1d")
    assert built.values[1, mean] == 500
    assert built.values[0, built.names.index("amount")] == 500


def test_files_with_codes_of_other_lists_are_checked() -> None:
    frame = with_contract_terms(
        random_table(np.random.default_rng(1), 40), np.random.default_rng(2)
    )
    check_transactions(frame, source="bank.csv")
    for column, value, expected in (
        ("currency", "gbp", "a currency code of ISO 4217"),
        ("currency", None, "a value"),
        ("currency", "XAU", "a currency code of ISO 4217"),
        ("merchant_category", "0000", "merchant category code of ISO 18245"),
        ("merchant_category", "54110", "merchant category code of ISO 18245"),
        ("merchant_category", "food", "one of grocery, .*, or a merchant category code"),
    ):
        wrong = frame.copy()
        wrong[column] = wrong[column].astype(object)
        wrong.loc[5, column] = value
        with pytest.raises(DataError, match=rf"row 6, column '{column}'.*{expected}"):
            check_transactions(wrong, source="bank.csv")


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_a_merchant_code_is_the_category_that_it_belongs_to(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 40)
    named = {"5411": "grocery", "5541": "fuel", "742": "services", "0742": "services"}
    written = rng.choice(list(named), 40)
    coded = build_features(frame.assign(merchant_category=written), risk_delay_days=1)
    plain = frame.assign(merchant_category=[named[code] for code in written])
    np.testing.assert_array_equal(coded.values, build_features(plain, risk_delay_days=1).values)


def specs(**changes: Any) -> tuple[FeatureSpec, ...]:
    return (OWN_COLUMNS[0].model_copy(update=changes),)


@pytest.mark.parametrize(
    ("spec", "value", "message"),
    [
        (OWN_COLUMNS[0], float("inf"), "got inf, expected finite numbers"),
        (OWN_COLUMNS[0], 1e39, "expected finite numbers within"),
        (OWN_COLUMNS[0], "a lot", "got 'a lot', expected numbers"),
        (specs(nullable=False)[0], None, "got no value, expected a value in every row"),
        (OWN_COLUMNS[1], "swiped", "'entry_mode' holds 'swiped', expected one of chip"),
        (OWN_COLUMNS[1], "", "expected a value in every row"),
    ],
)
def test_an_own_value_that_does_not_fit_is_refused(
    spec: FeatureSpec, value: Any, message: str
) -> None:
    online = OnlineFeatures(risk_delay_days=0, own_columns=(spec,))
    payment = Payment("t1", START, "c1", 100, own={spec.name: value})
    with pytest.raises(DataError, match=message):
        online.features(payment)


def test_an_own_column_that_nobody_knows_is_refused() -> None:
    online = OnlineFeatures(risk_delay_days=0, own_columns=OWN_COLUMNS)
    payment = Payment("t1", START, "c1", 100, own={"entry_mode": "chip", "balanse": 3})
    with pytest.raises(DataError, match="own column 'balanse' is not in the contract"):
        online.features(payment)
    with pytest.raises(DataError, match="own column 'balance' is missing"):
        build_features(table([{}]), risk_delay_days=0, own_columns=OWN_COLUMNS)


def test_payments_with_the_same_own_columns_are_equal() -> None:
    one, other = (Payment("t1", START, "c1", 100, own={"balance": 1.0}) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Payment("t1", START, "c1", 100, own={"balance": 2.0})


populations = st.builds(
    dict,
    channels=st.none() | st.lists(st.sampled_from(CHANNELS), min_size=1, unique=True),
    card=st.sampled_from([None, "present", "not_present"]),
    direction=st.sampled_from([None, "outbound", "inbound"]),
)


@given(given_population=populations, seed=seeds, directions=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_population_is_chosen_row_by_row(
    given_population: dict[str, Any], seed: int, directions: bool
) -> None:
    """So it does not matter how the rows are spread over banks, nor whether they come singly."""
    card = {"present": {"pos", "atm"}, "not_present": {"ecommerce"}, None: set(CHANNELS)}
    by_card = card[given_population["card"]]
    if (
        not any(given_population.values())
        or by_card.isdisjoint(given_population["channels"] or CHANNELS)
        or (given_population["card"] and given_population["direction"] == "inbound")
    ):
        with pytest.raises(ValueError, match=r"population|card"):
            Population(**given_population)
        return
    population = Population(**given_population)
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 60)
    if directions:
        frame = frame.assign(direction=rng.choice(["outbound", "inbound"], 60))
    chosen = in_population(frame, population, source="all.csv")
    banks = rng.integers(0, 3, 60)
    for bank in range(3):
        own = in_population(frame[banks == bank], population, source="bank.csv")
        assert own.tolist() == chosen[banks == bank].tolist()
    assert [has_payment(population, payment) for payment in payments_of(frame)] == list(chosen)
    for row, there in zip(frame.to_dict("records"), chosen, strict=True):
        assert there == (
            row["channel"] in by_card.intersection(population.channels or CHANNELS)
            and population.direction in (None, row.get("direction", "outbound"))
        )


def test_a_population_by_channel_needs_channels() -> None:
    frame = random_table(np.random.default_rng(3), 5).drop(columns="channel")
    population = Population(card="not_present")
    with pytest.raises(DataError, match=r"bank.csv: column 'channel' is missing.*ecommerce"):
        in_population(frame, population, source="bank.csv")
    with pytest.raises(DataError, match="has no channel"):
        has_payment(population, Payment("t1", START, "c1", 100))
    assert in_population(frame, Population(direction="outbound"), source="x").all()
    assert not in_population(frame, Population(direction="inbound"), source="x").any()
    assert population_text(Population(card="present", direction="outbound")) == (
        "channel pos or atm; outbound"
    )


def contract(**changes: Any) -> DataContract:
    fields: dict[str, Any] = {
        "kind": "transactions",
        "recipe": RECIPE,
        "features": (*contract_features(), *OWN_COLUMNS),
    }
    return DataContract(**(fields | changes))


def own(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": "score", "unit": "1", "description": "score of the device"}
    return plain | changes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": [own(unit=" ")]}, "unit of 'score' is empty"),
        ({"features": [own(description="")]}, "description of 'score' is empty"),
        ({"features": [own(name="amount_minor")]}, "has the name of a column that every file"),
        ({"features": [own(name="is_fraud")]}, "is a feature and the label at once"),
        ({"features": [own(name="shared_x")]}, "does not begin with .shared_."),
        ({"features": [own(), *contract_features()]}, "must come after the recipe's features"),
        ({"features": [*contract_features(), own(name="amount")]}, "names must be distinct"),
        ({"population": {}}, "the population says nothing"),
        ({"population": {"channels": []}}, "at least 1"),
        ({"population": {"channels": ["pos", "pos"]}}, "channels must be distinct"),
        ({"population": {"channels": ["phone"]}}, "'ecommerce'"),
        (
            {"population": {"channels": ["transfer"], "card": "present"}},
            "no payment of channel transfer has a card present",
        ),
        ({"population": {"card": "present", "direction": "inbound"}}, "no inbound payment"),
        ({"currency": {"code": "POUND"}}, "no currency with minor units in ISO 4217"),
        ({"currency": {"code": "GBP", "rates": {"GBP": {"2026-01-01": "1"}}}}, "own currency"),
        ({"currency": {"code": "GBP", "rates": {"USD": {}}}}, "at least 1"),
        ({"currency": {"code": "GBP", "rates": {"USD": {"1.1.26": "1"}}}}, "is no day"),
        ({"currency": {"code": "GBP", "rates": {"USD": {"2026-02-30": "1"}}}}, "is no day"),
        ({"currency": {"code": "GBP", "rates": {"USD": {"2026-01-01": "0.0"}}}}, "is no rate"),
        ({"currency": {"code": "GBP", "rates": {"USD": {"2026-01-01": "1e3"}}}}, "is no rate"),
        ({"currency": {"code": "GBP", "rates": {"USD": {"2026-01-01": 0.8}}}}, "valid string"),
    ],
)
def test_a_contract_that_cannot_work_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        contract(**change)


@pytest.mark.parametrize(
    "change", [{"population": Population(card="present")}, {"currency": CURRENCY}]
)
def test_a_plain_table_has_neither_population_nor_currency(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is for kind 'transactions' only"):
        DataContract(kind="table", features=(FeatureSpec(name="x"),), **change)


def test_a_contract_with_all_terms_is_read_back() -> None:
    assert DataContract.model_validate_json(TERMS.model_dump_json()) == TERMS
    assert TERMS.own_columns == OWN_COLUMNS
    # A plain table's columns may have units too; all of them are read from the file anyway.
    assert DataContract(kind="table", features=OWN_COLUMNS).own_columns == ()
    assert FeatureType.CATEGORICAL in {spec.type for spec in TERMS.own_columns}
