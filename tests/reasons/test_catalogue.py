"""Every phrase: its features, its three texts, and what a customer may read."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import RECIPES, contract_features, find_recipe
from fraudfed.reasons import PHRASES, Catalogue, reasons_of
from fraudfed.reasons.phrase import Phrase, first_fitting
from fraudfed.wire.messages import DataContract, FeatureSpec

EVERY = [(recipe, phrase) for recipe, phrases in PHRASES.items() for phrase in phrases]
#: Features that rest on other people's payments or reports, by how their names begin.
OTHERS = re.compile(
    r"shared_|(terminal|merchant|payee|payer)_(fraud_)?(count|rate|customers|reported)_"
)
#: Words that would tell a customer of others, or of how the model decides.
FORBIDDEN = re.compile(
    r"\d|other banks|all banks|reported|reports|shared|consortium|risk|score|model|threshold|"
    r"limit|fraud rate",
    re.IGNORECASE,
)


def contract_of(recipe: str, *, shared: bool = True) -> DataContract:
    """Return a contract of a recipe."""
    return DataContract(
        kind="transactions", features=contract_features(recipe, shared=shared), recipe=recipe
    )


def pushed(phrase: Phrase, catalogue: Catalogue) -> np.ndarray:
    """Return contributions in which one phrase alone raises the score."""
    contributions = np.zeros(len(catalogue.names) + 1, dtype=np.float32)
    contributions[catalogue.names.index(phrase.features[0])] = 1.0
    return contributions


def plausible_row(catalogue: Catalogue) -> np.ndarray:
    """Return a row without missing values."""
    row = np.arange(1, len(catalogue.names) + 1, dtype=np.float32)
    for place, name in enumerate(catalogue.names):
        if name in catalogue.categories or name.startswith(("is_", "new_")):
            row[place] = 1
    return row


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_feature_belongs_to_exactly_one_phrase(recipe: str) -> None:
    grouped = [name for phrase in PHRASES[recipe] for name in phrase.features]
    features = [feature.name for feature in find_recipe(recipe).definitions(shared=True)]
    assert sorted(grouped) == sorted(features)
    codes = [phrase.code for phrase in PHRASES[recipe]]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(("recipe", "phrase"), EVERY, ids=lambda part: getattr(part, "code", part))
def test_a_phrase_says_what_is_there_and_what_is_not(recipe: str, phrase: Phrase) -> None:
    contract = contract_of(recipe)
    catalogue = Catalogue.of(contract)
    contributions = pushed(phrase, catalogue)
    row = plausible_row(catalogue)
    (reason,) = reasons_of(contributions, row, contract=contract, currency="GBP")
    assert (reason.code, reason.contribution, reason.share) == (phrase.code, 1.0, 1.0)
    assert re.search(r"\d|payment|transfer|cash|account|device", reason.analyst)
    assert reason.complaint.endswith(".")
    nothing = np.full_like(row, np.nan)
    (missing,) = reasons_of(contributions, nothing, contract=contract)
    assert re.match(r"no |.* not known", missing.analyst)
    for text in (reason.analyst, missing.analyst):
        assert "nan" not in text.lower()
        assert "None" not in text
        assert "{" not in text
        assert text == text.strip()


@pytest.mark.parametrize(("recipe", "phrase"), EVERY, ids=lambda part: getattr(part, "code", part))
def test_what_customers_read_looks_at_nobody_else(recipe: str, phrase: Phrase) -> None:
    known = {feature.name for feature in find_recipe(recipe).definitions(shared=True)}
    for variants in (phrase.customer, phrase.complaint):
        for variant in variants:
            assert not variant.shown
            assert set(variant.asked) <= known
            assert not [name for name in variant.asked if OTHERS.match(name)]
    for variant in phrase.customer:
        assert not FORBIDDEN.search(variant.text)
    for variant in phrase.complaint:
        assert not re.search(r"\d|other banks|all banks|shared|consortium", variant.text)


@pytest.mark.parametrize(("recipe", "phrase"), EVERY, ids=lambda part: getattr(part, "code", part))
def test_a_phrase_about_others_warns_in_the_words_of_one_that_is_not(
    recipe: str, phrase: Phrase
) -> None:
    if any(OTHERS.match(name) for name in phrase.features):
        harmless = [
            other.customer
            for other in PHRASES[recipe]
            if not any(OTHERS.match(name) for name in other.features)
        ]
        assert phrase.customer in harmless


def test_incoming_payments_tip_nobody_off() -> None:
    phrases = PHRASES[INBOUND_RECIPE]
    assert {variant.text for phrase in phrases for variant in phrase.customer} == {""}
    assert len({phrase.complaint for phrase in phrases}) == 1


@given(data=st.data(), recipe=st.sampled_from(sorted(RECIPES)))
def test_planted_values_of_others_change_no_customer_text(data: st.DataObject, recipe: str) -> None:
    contract = contract_of(recipe)
    catalogue = Catalogue.of(contract)
    n = len(catalogue.names)
    numbers = st.floats(-1, 1, width=32)
    contributions = np.array(
        data.draw(st.lists(numbers, min_size=n + 1, max_size=n + 1)), dtype=np.float32
    )
    row = plausible_row(catalogue)
    planted = row.copy()
    others = [place for place, name in enumerate(catalogue.names) if OTHERS.match(name)]
    assert len(others) > 30
    planted[others] = data.draw(
        st.sampled_from([np.nan, 0.0, 7_654_321.0, 0.7654321]), label="planted"
    )
    before = reasons_of(contributions, row, contract=contract, currency="GBP")
    after = reasons_of(contributions, planted, contract=contract, currency="GBP")
    for one, other in zip(before, after, strict=True):
        assert (one.customer, one.complaint) == (other.customer, other.complaint)
        assert "7654321" not in re.sub(r"\D", "", other.customer + other.complaint)


#: Ways to write a number without digits.
NUMBER_WORDS = re.compile(
    r"\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|"
    r"fifty|sixty|seventy|eighty|ninety|hundreds?|thousands?|millions?|dozens?|twice|double|half|"
    r"quarter|per ?cent|percentage)\b|%|[£€$]|\b(GBP|EUR|USD)\b",
    re.IGNORECASE,
)
#: A capital inside a sentence begins a name.
A_NAME = re.compile(r"(?<![.?!:] )(?<!^)\b[A-Z]\w+")


def written(value: float) -> list[str]:
    """Return ways to write a value of the shared tables."""
    whole = f"{value:.0f}"
    return [
        f"{value:g}",
        whole,
        f"{value:,.0f}",
        f"{value:,.0f}".replace(",", " "),
        f"{value:,.0f}".replace(",", "."),
        f"{value / 100:.2f}",
        f"{100 * value:.1f}",
        f"{value:.2e}",
        whole[::-1],
    ]


@pytest.mark.parametrize(("recipe", "phrase"), EVERY, ids=lambda part: getattr(part, "code", part))
def test_what_customers_read_holds_no_number_no_limit_and_no_name(
    recipe: str, phrase: Phrase
) -> None:
    for variant in (*phrase.customer, *phrase.complaint):
        assert not re.search(r"\d", variant.text)
        assert not NUMBER_WORDS.search(variant.text)
        assert not A_NAME.search(variant.text)
        # What a condition compares with is not told either.
        for condition in variant.when:
            assert condition.rsplit(" ", 1)[-1] not in variant.text.split()


def test_control_those_searches_find_what_they_look_for() -> None:
    for text in ("Forty-one people", "half of them", "5 %", "£3", "twice as much", "a dozen"):
        assert NUMBER_WORDS.search(text) or re.search(r"\d", text)
    for text in ("The account at Barclays is new.", "Ask Mr Smith.", "You paid ACME."):
        assert A_NAME.search(text)


@given(seed=st.integers(0, 2**32 - 1), recipe=st.sampled_from(sorted(RECIPES)))
def test_no_text_of_a_generated_row_holds_what_other_banks_know(seed: int, recipe: str) -> None:
    draws = np.random.default_rng(seed)
    contract = contract_of(recipe)
    catalogue = Catalogue.of(contract)
    row = plausible_row(catalogue)
    row[draws.uniform(size=row.shape) < 0.1] = np.nan
    values = []
    for place, name in enumerate(catalogue.names):
        if name.startswith("shared_"):
            value = float(draws.integers(100, 10_000_000))
            row[place] = value
            values += written(float(np.float32(value)))
    contributions = draws.normal(0, 1, len(row) + 1).astype(np.float32)
    for reason in reasons_of(contributions, row, contract=contract, currency="GBP", most=99):
        for text in (reason.customer, reason.complaint):
            assert not [value for value in values if value in text]


def test_a_consortium_s_own_words_reach_no_customer() -> None:
    spec = FeatureSpec(
        name="list_of_Barclays", description="on the list of Barclays, 41 reports", unit="1"
    )
    contract = DataContract(
        kind="transactions",
        features=(*contract_features(RECIPE, shared=True), spec),
        recipe=RECIPE,
    )
    contributions = np.zeros(len(contract.features) + 1, dtype=np.float32)
    contributions[-2] = 1.0
    row = plausible_row(Catalogue.of(contract))
    (reason,) = reasons_of(contributions, row, contract=contract)
    assert "Barclays" in reason.analyst
    assert reason.customer == ""
    assert "Barclays" not in reason.complaint
    assert not re.search(r"\d", reason.complaint)


def test_control_the_analyst_does_see_what_was_planted() -> None:
    """The search of the test above would find it."""
    contract = contract_of(RECIPE)
    catalogue = Catalogue.of(contract)
    row = plausible_row(catalogue)
    row[catalogue.names.index("shared_payee_fraud_count_30d")] = 7_654_321
    phrase = next(phrase for phrase in catalogue.phrases if phrase.code == "payee_reports")
    (reason,) = reasons_of(pushed(phrase, catalogue), row, contract=contract)
    assert "7654321" in re.sub(r"\D", "", reason.analyst)


@pytest.mark.parametrize(("recipe", "phrase"), EVERY, ids=lambda part: getattr(part, "code", part))
@pytest.mark.parametrize("shared", [False, True])
def test_no_combination_of_values_is_without_words(
    recipe: str, phrase: Phrase, shared: bool
) -> None:
    catalogue = Catalogue.of(contract_of(recipe, shared=shared))
    draws = np.random.default_rng(5)
    for _ in range(40):
        row = draws.integers(0, 4, len(catalogue.names)).astype(np.float32)
        row[draws.uniform(size=row.shape) < 0.3] = np.nan
        values = catalogue.values(row, currency=None)
        text = first_fitting(phrase.analyst, values)
        assert text
        assert "nan" not in text
