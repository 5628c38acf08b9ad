"""A planted mistake at one bank of five is named, and none is where there is none."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from examples.statistics import DAY, differences_of, payments

from fraudfed.statistics.compare import clock
from fraudfed.statistics.compare.amounts import compare_scale
from fraudfed.statistics.compare.clock import compare_hours, compare_weekdays
from fraudfed.statistics.compare.filling import (
    compare_categories,
    compare_labels,
    compare_missing,
)
from fraudfed.statistics.compare.finding import Difference, Kind
from fraudfed.statistics.compare.identifiers import KnownShare, compare_identifiers
from fraudfed.statistics.shapes import shape_counts

IDENTIFIERS = ("merchant_id", "terminal_id", "payee_id")

Change = Callable[[pd.DataFrame], pd.DataFrame]


def times(factor: float) -> Change:
    return lambda rows: rows.assign(
        amount_minor=(rows["amount_minor"] * factor).round().astype(np.int64)
    )


def later(seconds: int) -> Change:
    return lambda rows: rows.assign(event_time=rows["event_time"] + seconds)


def rewritten(change: Callable[[pd.Series], pd.Series], *names: str) -> Change:
    return lambda rows: rows.assign(**{name: change(rows[name]) for name in names})


#: What is done to one bank's rows, and what it is to be named.
MISTAKES: dict[str, tuple[Change, Kind, str]] = {
    "pence as pounds": (times(100), Kind.SCALE, "about 100 times"),
    "pounds as pence": (times(0.01), Kind.SCALE, "about 1/100 of"),
    "thousands": (times(1000), Kind.SCALE, "about 1,000 times"),
    "ten": (times(10), Kind.SCALE, "about 10 times"),
    "five hours": (later(5 * 3600), Kind.HOURS, "5 hours later"),
    "New York": (later(-5 * 3600), Kind.HOURS, "5 hours earlier"),
    "two hours": (later(2 * 3600), Kind.HOURS, "2 hours later"),
    "dates only": (
        lambda rows: rows.assign(event_time=rows["event_time"] // DAY * DAY),
        Kind.NO_TIME,
        "lie in the hour from 00:00",
    ),
    "one day": (later(DAY), Kind.DAYS, "1 day later"),
    "small letters": (rewritten(lambda s: s.str.lower(), *IDENTIFIERS), Kind.WRITING, "small"),
    "zeros cut": (
        rewritten(lambda s: s.str.lstrip("0"), "terminal_id"),
        Kind.WRITING,
        "none has a leading zero",
    ),
    "blanks": (
        rewritten(lambda s: s.str[:4] + " " + s.str[4:], "payee_id"),
        Kind.WRITING,
        "blanks: inside",
    ),
    "cut short": (rewritten(lambda s: s.str[1:], "payee_id"), Kind.WRITING, "most have 13"),
    "own numbers": (
        rewritten(lambda s: s.str[:1] + s.str[1:].str.translate(str.maketrans("01", "87")),
                  "merchant_id"),
        Kind.UNKNOWN,
        "hardly any",
    ),
    "labels": (
        lambda rows: rows.assign(is_fraud=1 - rows["is_fraud"]),
        Kind.LABELS,
        "of the rows are fraud",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def banks() -> list[pd.DataFrame]:
    return [payments(bank) for bank in range(5)]


def mistakes(found: tuple[Difference, ...]) -> list[Difference]:
    return [each for each in found if each.is_mistake]


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("bank", [0, 4])
def test_a_planted_mistake_is_named_and_nothing_else(
    banks: list[pd.DataFrame], name: str, bank: int
) -> None:
    change, kind, words = MISTAKES[name]
    found = mistakes(differences_of(banks, {bank: change(banks[bank])})[bank])
    assert {each.kind for each in found} == {kind}
    assert any(words in each.what for each in found), found
    assert all(each.evidence and each.what_to_do for each in found)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_named_where_banks_merely_differ(seed: int) -> None:
    found = differences_of([payments(bank, seed=seed) for bank in range(5)])
    assert [mistakes(each) for each in found.values()] == [[]] * 5


def test_nothing_is_named_of_equal_banks_and_of_tiny_ones() -> None:
    rng = np.random.default_rng(5)
    everything = pd.concat([payments(bank) for bank in range(5)], ignore_index=True)
    owner = rng.integers(0, 5, len(everything))
    parts = [everything[owner == bank].reset_index(drop=True) for bank in range(5)]
    # The last bank has hardly any rows: too few to say anything.
    parts[4] = times(100)(parts[4].iloc[:40].reset_index(drop=True))
    assert [mistakes(each) for each in differences_of(parts).values()] == [[]] * 5


def test_two_mistakes_at_one_bank_are_both_named(banks: list[pd.DataFrame]) -> None:
    wrong = later(5 * 3600)(times(100)(banks[1]))
    found = mistakes(differences_of(banks, {1: wrong})[1])
    assert {each.kind for each in found} == {Kind.SCALE, Kind.HOURS}


def test_a_mistake_elsewhere_is_not_put_on_an_honest_bank(banks: list[pd.DataFrame]) -> None:
    changed = {4: times(100)(banks[4]), 3: banks[3], 0: banks[0]}
    found = differences_of(banks, changed)
    assert mistakes(found[0]) == mistakes(found[3]) == []
    assert mistakes(found[4])


def test_identifiers_that_others_recognise_only_look_different(banks: list[pd.DataFrame]) -> None:
    # Codes of a terminal in capitals and small letters alike: digits alone.
    same = rewritten(lambda s: s.str.lower(), "terminal_id")(banks[2])
    assert mistakes(differences_of(banks, {2: same})[2]) == []


@pytest.mark.parametrize(
    ("theirs", "here", "others", "n", "mistake"),
    [
        (0.9, 0.1, 0.9, 500, False),
        (0.1, 0.9, 0.9, 500, False),
        (0.01, 0.02, 0.9, 500, True),
        (0.2, 0.1, 0.9, 500, False),
        # Nothing can be said of what others know: looks alone decide.
        (0.01, 0.0, 0.05, 500, True),
        (np.nan, 0.0, 0.9, 500, True),
        (0.0, 0.0, 0.9, 20, True),
    ],
)
def test_looks_are_a_mistake_unless_others_recognise_the_identifiers(
    theirs: float, here: float, others: float, n: int, mistake: bool
) -> None:
    known = KnownShare(theirs, here, others, n, 2000)
    mine, counted = (shape_counts([f"{lead}{i:05}" for i in range(300)]) for lead in "mM")
    (found,) = compare_identifiers("merchant_id", mine, counted, known)
    assert (found.kind, found.is_mistake) == (Kind.WRITING, mistake)
    alike = list(compare_identifiers("merchant_id", counted, counted, known))
    assert [each.kind for each in alike] == [Kind.UNKNOWN] * known.is_much_less


def test_columns_and_categories_without_values_are_said(banks: list[pd.DataFrame]) -> None:
    bare = banks[2].assign(channel=None)
    (found,) = mistakes(differences_of(banks, {2: bare})[2])
    assert (found.kind, found.column) == (Kind.EMPTY, "channel")
    no_machines = banks[2][banks[2]["channel"] != "atm"].reset_index(drop=True)
    found = differences_of(banks, {2: no_machines})[2]
    assert mistakes(found) == []
    (unused,) = [each for each in found if each.kind is Kind.UNUSED]
    assert "atm" in unused.what


def density(center: float, n: int = 2000, sigma: float = 1.0, seed: int = 0) -> np.ndarray:
    from fraudfed.boosting.engine.keys import keys_from_values

    values = np.random.default_rng(seed).lognormal(np.log(center), sigma, n).astype(np.float32)
    return np.bincount(keys_from_values(values) >> np.uint32(20), minlength=4096).astype(float)


@pytest.mark.parametrize(("factor", "named"), [
    (1.0, None), (3.0, None), (0.3, None), (5.0, None), (30.0, None), (0.2, None),
    (10.0, "about 10 times"), (0.1, "about 1/10 of"), (100.0, "about 100 times"),
    (180.0, "about 100 times"), (60.0, "about 100 times"), (0.001, "about 1/1,000 of"),
])  # fmt: skip
def test_only_a_power_of_ten_is_named(factor: float, named: str | None) -> None:
    found = compare_scale("x", density(50 * factor), density(50, seed=1), advice="look")
    assert (
        None if found is None else found.what.split(" those")[0][len("numbers are ") :]
    ) == named


def test_another_spread_is_no_scale() -> None:
    wide = density(5000, sigma=3.0)
    assert compare_scale("x", wide, density(50, seed=1, sigma=0.3), advice="") is None
    assert compare_scale("x", density(5000, n=50), density(50), advice="") is None


@pytest.mark.parametrize("hours", range(1, 24))
def test_every_turn_of_the_clock_is_named_by_the_shorter_way(hours: int) -> None:
    rng = np.random.default_rng(hours)
    profile = np.array([1, 1, 1, 1, 1, 2, 4, 7, 9, 9, 8, 9, 10, 9, 8, 8, 9, 11, 12, 9, 6, 4, 3, 2])
    theirs, mine = (np.zeros((5, 24), dtype=np.int64) for _ in range(2))
    theirs[0] = rng.multinomial(50_000, profile / profile.sum())
    mine[0] = np.roll(rng.multinomial(2_000, profile / profile.sum()), hours)
    found = compare_hours(mine.ravel(), theirs.ravel())
    assert found is not None
    shift, late = (hours, "later") if hours <= 12 else (24 - hours, "earlier")
    assert f"{shift} hour{'s' * (shift > 1)} {late}" in found.what
    assert compare_hours(theirs.ravel() // 10, theirs.ravel()) is None
    flat = np.zeros((5, 24), dtype=np.int64)
    flat[0] = 100
    assert compare_hours(flat.ravel(), flat.ravel()) is None


def test_chance_turns_no_clock() -> None:
    """Few rows of a weak profile fit some turn far better by chance: not beyond what F allows."""
    weak = (1 + 0.3 * np.cos(np.arange(24) * 2 * np.pi / 24)) / 24
    turned = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        own, others = (np.zeros((5, 24), dtype=np.int64) for _ in range(2))
        own[0], others[0] = rng.multinomial(210, weak), rng.multinomial(400, weak)
        turn = clock._best_turn(own, others, hidden=0.0)
        turned += turn.by != 0 and turn.deviance < 0.5 * turn.without
        assert compare_hours(own.ravel(), others.ravel()) is None
    assert turned > 3, "the rows are few enough"


def test_a_flat_week_says_nothing_of_days() -> None:
    rng = np.random.default_rng(0)
    flat = rng.multinomial(7000, np.full(7, 1 / 7))
    assert compare_weekdays(flat, np.full(7, 5000)) is None


@pytest.mark.parametrize(
    ("own", "others", "named"),
    [
        ((990, 1000), (100, 10_000), True),
        ((10, 1000), (100, 10_000), False),
        ((30, 1000), (100, 10_000), False),
        ((0, 1000), (100, 10_000), False),
        ((600, 1000), (100, 10_000), False),
        ((1000, 1000), (100, 10_000), True),
        ((199, 199), (100, 10_000), False),
        ((500, 1000), (5000, 10_000), False),
    ],
)
def test_exchanged_labels(own: tuple[int, int], others: tuple[int, int], named: bool) -> None:
    assert (compare_labels(own, others) is not None) == named


def test_missing_shares_and_categories_are_noted_with_both_numbers() -> None:
    noted = compare_missing("x", (500, 1000), (0, 5000), is_source=True)
    assert noted is not None
    assert noted.what == "50% of the values are missing, 0% at the other banks"
    assert compare_missing("x", (100, 1000), (0, 5000), is_source=True) is None
    assert compare_missing("x", (50, 50), (0, 5000), is_source=True) is None
    cells = ("a", "b", "c")
    few = compare_categories("x", cells, np.array([500, 500, 0]), np.array([900, 10, 90]))
    assert few is not None
    assert few.what == "never used here: c (9% there)"
    rare = compare_categories("x", cells, np.array([500, 500, 0]), np.array([995, 0, 5]))
    assert rare is None
