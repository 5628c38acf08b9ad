"""Code lists: currencies, merchant categories, kinds of fraud."""

import json
import re
from pathlib import Path

import pytest
from babel.numbers import list_currencies

from data_gen.events import KIND_NAMES
from fraudfed.catalogue.recipes import contract_features
from fraudfed.payments.columns import MERCHANT_CATEGORIES
from fraudfed.payments.currencies import CURRENCIES, EXPONENTS, minor_units
from fraudfed.payments.fraud_kinds import ALIASES, FRAUD_KINDS, fraud_kind_of
from fraudfed.payments.merchant_categories import CATEGORY_OF, CATEGORY_OF_CODE, RANGES
from fraudfed.wire.messages import DataContract

PAGE = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text(encoding="utf-8")


def test_every_currency_is_known_elsewhere_too() -> None:
    # CLDR's list, which also has withdrawn ones; it has no unit of account of Arab banks.
    assert set(CURRENCIES) - {"XAD"} <= set(list_currencies()) | {"XCG", "ZWG"}
    assert list(CURRENCIES) == sorted(EXPONENTS)


@pytest.mark.parametrize(
    ("code", "units"), [("GBP", 100), ("JPY", 1), ("KWD", 1000), ("CLF", 10_000), ("BYR", 1)]
)
def test_minor_units(code: str, units: int) -> None:
    assert minor_units(code) == units


@pytest.mark.parametrize("code", ["XAU", "XXX", "XTS", "gbp", "EU", "BTC"])
def test_what_nobody_pays_in_is_no_currency(code: str) -> None:
    with pytest.raises(KeyError):
        minor_units(code)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("5411", "grocery"),
        ("5541", "fuel"),
        ("3007", "travel"),
        ("4829", "services"),
        ("6011", "cash"),
        ("0742", "services"),
        ("742", "services"),
        ("7995", "gaming"),
        ("5944", "jewellery"),
        ("grocery", "grocery"),
    ],
)
def test_a_merchant_category_code_has_one_of_our_names(code: str, name: str) -> None:
    assert CATEGORY_OF[code] == name


def test_every_code_of_the_standard_has_a_name_and_no_other_code_has() -> None:
    four_digits = {code for code in CATEGORY_OF_CODE if len(code) == 4}
    assert four_digits == {f"{code:04d}" for code in range(1, 10_000)}
    assert set(CATEGORY_OF_CODE.values()) == set(MERCHANT_CATEGORIES)
    for outside in ("0000", "0", "", "10000", "54111", "5411 ", "05411", "MCC5411"):
        assert outside not in CATEGORY_OF


def test_a_narrow_entry_replaces_a_wide_one_and_never_the_reverse() -> None:
    seen: list[tuple[int, int]] = []
    for first, last, _ in RANGES:
        assert first <= last
        for before_first, before_last in seen:
            overlap = first <= before_last and before_first <= last
            assert not overlap or (before_first <= first and last <= before_last)
        seen.append((first, last))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("romance_scam", "romance_scam"),
        (" Romance scam ", "romance_scam"),
        ("CARD-NOT-RECEIVED", "card_not_received"),
        ("account_takeover", "remote_banking"),
        ("other", "other"),
        ("R10", None),
        ("", None),
    ],
)
def test_kinds_of_fraud(text: str, kind: str | None) -> None:
    assert fraud_kind_of(text) == kind


def test_the_page_lists_every_kind_and_code() -> None:
    for kind in FRAUD_KINDS:
        assert f"| `{kind.name}` | {kind.group.replace('_', ' ')} | {kind.description} |" in PAGE
    for name, category in ALIASES.items():
        assert f"`{name}` as `{category}`" in " ".join(PAGE.split())
    section = PAGE.split("## Merchant category codes")[1].split("## ")[0]
    found = {}
    for name, codes in re.findall(r"\| `(\w+)` \| ([0-9, -]+) \|", section):
        for each in codes.split(", "):
            first, _, last = each.partition("-")
            for code in range(int(first), int(last or first) + 1):
                found[f"{code:04d}"] = name
    assert found == {code: name for code, name in CATEGORY_OF_CODE.items() if len(code) == 4}


def test_the_pages_contract_is_one() -> None:
    example = json.loads(PAGE.split("```json")[1].split("```")[0])
    own = [feature for feature in example["features"] if isinstance(feature, dict)]
    recipe = [spec.model_dump() for spec in contract_features()]
    contract = DataContract.model_validate(example | {"features": [*recipe, *own]})
    assert [spec.name for spec in contract.own_columns] == ["balance_before", "entry_mode"]


def test_the_generators_kinds_are_in_the_list() -> None:
    names = {kind.name for kind in FRAUD_KINDS}
    assert len(names) == len(FRAUD_KINDS)
    assert {fraud_kind_of(name) for name in KIND_NAMES} <= names
    assert set(ALIASES.values()) <= names
    assert set(ALIASES) <= set(KIND_NAMES)
