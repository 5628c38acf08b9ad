"""Tables with noise: what one customer moves, how they are summed, what windows make of it."""

import inspect
from fractions import Fraction
from math import sqrt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import DAY, START, random_table, table
from oracles.shared_risk import FIRST_DAY, KEY, risk_spec
from pydantic import ValidationError

from fraudfed.communicator import NoisySoloCommunicator, SoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import DataError, ParameterError, StateError
from fraudfed.features.shared_risk import RiskTables, SharedRisk, risk_entries, sum_tables
from fraudfed.features.shared_risk.entries import Correction, RiskEntries
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.look_up import RiskLookup
from fraudfed.features.shared_risk.months import month_of, months, months_of
from fraudfed.features.shared_risk.noise import FRACTION_BITS, RiskNoise
from fraudfed.features.shared_risk.noised import SCALE, settled, unbiased
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.privacy.accounting import epsilon_of
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.wire.messages import RiskEntity, RiskPrivacy, RiskSpec

PRIVACY = RiskPrivacy(epsilon=3.0, tolerated_colluders=1)
LAST_DAY = FIRST_DAY + 45


def private_spec(**changes: object) -> RiskSpec:
    fields: dict[str, object] = {
        "last_day": LAST_DAY,
        "depth": 1,
        "transaction_width": 64,
        "fraud_width": 32,
        "privacy": PRIVACY,
        **changes,
    }
    return risk_spec(**fields)


SPEC = private_spec()


def silent(release: NoisedRelease, shape: tuple[int, ...]) -> Int64Array:
    del release
    return np.zeros(shape, dtype=np.int64)


def loud(release: NoisedRelease, shape: tuple[int, ...]) -> Int64Array:
    sigma = np.sqrt(np.broadcast_to(release.variance, shape).astype(np.float64))
    return np.rint(np.random.default_rng(8).normal(0, sigma)).astype(np.int64)


class Recording(NoisySoloCommunicator):
    """Keeps what it was handed; an exact sum is a fault."""

    def __init__(self) -> None:
        super().__init__(silent)
        self.handed: list[tuple[str, NoisedRelease, Int64Array]] = []

    def sum(self, values: Int64Array, **given: object) -> Int64Array:  # type: ignore[override]
        raise AssertionError("an exact sum was asked for")

    def noised_sum(  # type: ignore[override]
        self, values: Int64Array, *, label: str, release: NoisedRelease, **given: object
    ) -> Int64Array:
        self.handed.append((label, release, values.copy()))
        return super().noised_sum(values, label=label, release=release, **given)  # type: ignore[arg-type]


def entered(frame: pd.DataFrame, spec: RiskSpec, seed: int = 0) -> RiskEntries:
    return risk_entries(frame, spec, hash_key=KEY, draw=np.random.default_rng(seed))


def tables_of(entries: RiskEntries, spec: RiskSpec, noise: object = silent) -> RiskTables:
    start = RiskTables(spec, hash_key_id(KEY))
    return sum_tables(entries, NoisySoloCommunicator(noise), start=start)  # type: ignore[arg-type]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_a_customer_moves_no_month_by_more_than_the_noise_is_made_for(seed: int) -> None:
    """Everything that one customer alone enters, in squares over the noise, month by month."""
    rng = np.random.default_rng(seed)
    frame = random_table(rng, 150, days=40)
    frame["customer_id"] = "one"
    entries = entered(frame, SPEC, seed)
    noise = RiskNoise.of(SPEC)
    allowed = Fraction(31 * 3 << 32, noise.payments) + Fraction(12 << 32, noise.frauds)
    moved: dict[int, Fraction] = {}
    for day in range(SPEC.first_day, SPEC.last_day + 1):
        for counted, width, variance in (
            (entries.transactions, SPEC.transaction_width, noise.payments),
            (entries.frauds, SPEC.fraud_width, noise.frauds),
        ):
            sketch = counted.sketch_by_row(day, n_rows=3, width=width)
            if counted is entries.transactions:
                assert (sketch.sum(axis=1) <= 1).all()
            square = Fraction(int((sketch**2).sum()) << 32, variance)
            moved[month_of(day)] = moved.get(month_of(day), Fraction(0)) + square
    assert max(moved.values()) <= allowed
    assert epsilon_of(allowed / 2, PRIVACY.delta) <= PRIVACY.epsilon


def burst(n: int, **columns: object) -> pd.DataFrame:
    row = {"event_time": START, "terminal_id": "t", "customer_id": "c", "is_fraud": 1, **columns}
    return table([row] * n)


def test_a_customers_burst_is_counted_once_and_reported_twice() -> None:
    entries = entered(burst(9), SPEC)
    assert int(entries.transactions.counts.sum()) == 1
    assert int(entries.frauds.counts.sum()) == 2


def test_control_without_the_bounds_a_burst_outweighs_the_noise() -> None:
    entries = risk_entries(burst(9), SPEC, hash_key=KEY)
    assert int(entries.transactions.counts.sum()) == 9
    assert int(entries.frauds.counts.sum()) == 9


def test_payments_without_a_customer_count_as_one_customers() -> None:
    frame = burst(5)
    frame["customer_id"] = None
    assert int(entered(frame, SPEC).transactions.counts.sum()) == 1


def test_reports_of_a_month_are_those_of_its_first_days() -> None:
    """So that a bank that enters each day by itself keeps to two a month, too."""
    frame = table(
        [
            {
                "event_time": START + day * DAY,
                "terminal_id": f"t{day}",
                "customer_id": "c",
                "is_fraud": 1,
                "label_time": START + day * DAY + 60,
            }
            for day in (9, 3, 12, 1, 20)
        ]
    )
    days = [entered(frame, SPEC, seed).frauds.days.tolist() for seed in range(5)]
    by_month: dict[int, list[int]] = {}
    for day in sorted(FIRST_DAY + day + SPEC.delay_days for day in (9, 3, 12, 1, 20)):
        by_month.setdefault(month_of(day), []).append(day)
    assert days == [[day for found in by_month.values() for day in found[:2]]] * 5


def test_a_report_that_was_taken_back_is_left_out() -> None:
    frame = burst(1)
    frame["transaction_id"] = "x"
    correction = Correction("x", FIRST_DAY, FIRST_DAY, FIRST_DAY, {RiskEntity.TERMINAL: "t"})
    entries = risk_entries(
        frame, SPEC, hash_key=KEY, corrections=[correction], draw=np.random.default_rng(0)
    )
    assert (entries.frauds.counts.size, entries.corrections.counts.size) == (0, 0)


def test_one_noised_release_for_each_step_and_no_totals() -> None:
    frame = random_table(np.random.default_rng(1), 100, days=20)
    recording = Recording()
    entries = entered(frame, SPEC)
    tables = sum_tables(entries, recording, start=RiskTables(SPEC, hash_key_id(KEY)))
    n_steps = -(-tables.n_days // SPEC.days_per_step)
    assert len(recording.handed) == n_steps == tables.n_steps
    noise = RiskNoise.of(SPEC)
    for (label, release, values), first in zip(
        recording.handed, range(SPEC.first_day, LAST_DAY + 1, SPEC.days_per_step), strict=True
    ):
        days = range(first, min(first + SPEC.days_per_step, LAST_DAY + 1))
        assert label == f"noised-risk:{first}"
        # As large on days without an entry: sizes tell nothing.
        assert values.size == len(days) * 3 * (64 + 32)
        assert set(np.unique(release.variance)) == {noise.payments, noise.frauds}
        assert release.moved == noise.moved(days)
    assert sum(int(day.transactions.sum()) for day in tables.days) == int(
        entries.transactions.counts.sum()
    )


def test_a_communicator_without_noise_is_refused() -> None:
    with pytest.raises(TypeError, match="adds noise"):
        sum_tables(
            entered(burst(1), SPEC), SoloCommunicator(), start=RiskTables(SPEC, hash_key_id(KEY))
        )


def test_tables_with_noise_are_read_back_to_the_byte() -> None:
    tables = tables_of(
        entered(random_table(np.random.default_rng(1), 80, days=20), SPEC), SPEC, loud
    )
    data = tables.to_bytes()
    assert min(int(day.frauds.min()) for day in tables.days) < 0
    again = RiskTables.from_bytes(data)
    assert again.to_bytes() == data
    assert again.spec == SPEC
    with pytest.raises(StateError):
        RiskTables.from_bytes(data[:-1])


def test_a_step_that_ends_in_the_next_month_moves_a_unit_of_one_month_only() -> None:
    noise = RiskNoise.of(SPEC)
    days = range(FIRST_DAY, FIRST_DAY + 40)
    of_month = [
        Fraction(n * 3 << 32, noise.payments) + Fraction(12 << 32, noise.frauds)
        for n in months_of(days).values()
    ]
    assert noise.moved(days) == max(of_month) < sum(of_month)
    assert [month_of(day) for day in days] == months(np.array(days)).tolist()
    assert (month_of(0), month_of(30), month_of(31), month_of(365)) == (0, 0, 1, 12)


def test_without_noise_windows_are_those_of_the_entries() -> None:
    """Wide enough that nothing meets: counts are exact but for the average of the others."""
    spec = private_spec(transaction_width=1 << 14, fraud_width=1 << 14)
    frame = random_table(np.random.default_rng(2), 60, days=30)
    entries = entered(frame, spec)
    shared = SharedRisk([KeyedTables(tables_of(entries, spec), KEY)])
    assert shared.is_noised
    names = sorted(frame["terminal_id"].dropna().unique())
    codes = np.arange(len(names), dtype=np.int64)
    found = shared.windows(
        RiskEntity.TERMINAL, names, codes, np.full(len(names), LAST_DAY + 2), widths=(46,)
    )
    # Without noise to speak of in the variance nothing would be shrunk; here it is: payments only.
    row = sum(np.asarray(day.transactions[0], dtype=np.int64) for day in shared_days(shared))
    assert int(found.transactions.sum()) == int(row.sum())
    assert (found.frauds <= found.transactions.max()).all()


def shared_days(shared: SharedRisk) -> list[object]:
    return [
        found[1]
        for day in range(shared.first_day, shared.last_day + 1)
        if (found := shared.seen(day, LAST_DAY + 9)) is not None
    ]


def test_windows_do_not_depend_on_what_else_is_asked() -> None:
    """One recipe, two builders, the same bits: spans begin on different days."""
    spec = SPEC
    tables = tables_of(
        entered(random_table(np.random.default_rng(3), 200, days=40), spec), spec, loud
    )
    shared = SharedRisk([KeyedTables(tables, KEY)])
    names = [f"T{i}" for i in range(20)]
    rng = np.random.default_rng(4)
    codes, days = rng.integers(0, 20, 100), rng.integers(FIRST_DAY, LAST_DAY + 9, 100)
    all_at_once = shared.windows(RiskEntity.MERCHANT, names, codes, days, widths=(1, 7, 30))
    for place in range(100):
        alone = shared.windows(
            RiskEntity.MERCHANT,
            names,
            codes[place : place + 1],
            days[place : place + 1],
            widths=(1, 7, 30),
        )
        assert (alone.transactions[:, 0] == all_at_once.transactions[:, place]).all()
        assert (alone.frauds[:, 0] == all_at_once.frauds[:, place]).all()


@given(st.integers(1, 10**6), st.lists(st.integers(-1000, 10**6), min_size=8, max_size=8))
def test_counts_are_right_on_average_over_identifiers(seed: int, counters: list[int]) -> None:
    """An identifier with nothing, put anywhere: what others add is taken off."""
    del seed
    row = np.array(counters, dtype=np.int64)
    everywhere = unbiased(row, np.arange(8, dtype=np.int64))
    # The sum over all places of (c w - T) / (w - 1) is T w / (w - 1) - T w / (w - 1) = 0.
    assert -8 <= int(everywhere.sum()) <= 8


def test_what_noise_makes_is_taken_off_late() -> None:
    window = np.array([-5, 0, 9, 20, 40, 100], dtype=np.int64) * SCALE
    variance = np.full(6, 100 * SCALE, dtype=np.int64)
    assert settled(window, variance, kind="transactions").tolist() == [0, 0, 9, 20, 40, 100]
    assert settled(window, variance, kind="frauds").tolist() == [0, 0, 0, 0, 30, 96]
    assert settled(window, 0 * variance, kind="frauds").tolist() == [0, 0, 9, 20, 40, 100]


def test_look_ups_say_how_far_noise_goes() -> None:
    spec = private_spec(transaction_width=1 << 10, fraud_width=1 << 10)
    rows = [
        {"event_time": START, "terminal_id": "busy", "customer_id": f"c{i}", "is_fraud": 1}
        for i in range(2000)
    ]
    tables = tables_of(entered(table(rows), spec), spec, loud)
    shared = SharedRisk([KeyedTables(tables, KEY)])
    asked = RiskLookup(shared, widths=(46,))
    (busy,) = asked.windows(RiskEntity.TERMINAL, "busy")
    assert busy.frauds.lower > 0
    assert busy.frauds.lower <= 2000 <= busy.frauds.upper
    assert busy.payments.lower <= 2000 <= busy.payments.upper
    for number in range(50):
        (quiet,) = asked.windows(RiskEntity.TERMINAL, f"quiet{number}")
        assert quiet.frauds.lower <= quiet.frauds.count <= quiet.frauds.upper


def test_exact_and_noised_tables_are_not_mixed() -> None:
    exact = risk_spec(last_day=LAST_DAY)
    start = RiskTables(exact, hash_key_id(KEY))
    frame = random_table(np.random.default_rng(0), 10, days=5)
    plain = sum_tables(risk_entries(frame, exact, hash_key=KEY), SoloCommunicator(), start=start)
    noised = tables_of(entered(frame, SPEC), SPEC)
    with pytest.raises(DataError, match="some are exact"):
        SharedRisk([KeyedTables(plain, KEY), KeyedTables(noised, KEY)])


def test_what_breaks_the_bound_is_refused() -> None:
    with pytest.raises(ValidationError, match="depth is 4, expected 1"):
        private_spec(depth=4)
    with pytest.raises(ValidationError, match="min_customers is 3, expected 1"):
        private_spec(min_customers=3)
    tiny = private_spec(privacy=PRIVACY.model_copy(update={"epsilon": 1e-12}))
    with pytest.raises(ParameterError, match="epsilon is 1e-12"):
        RiskNoise.of(tiny)
    with pytest.raises(ValueError, match="no noise"):
        RiskNoise.of(risk_spec())


def test_control_the_least_of_noisy_counters_is_too_low() -> None:
    """Why depth is 1: the least of four draws of the noise lies more than a sigma below."""
    rng = np.random.default_rng(0)
    least = rng.normal(0, 1, (4, 20_000)).min(axis=0).mean()
    one = rng.normal(0, 1, 20_000).mean()
    assert least < -1.0
    assert abs(one) < 0.05


def test_sigmas_are_those_of_the_docs() -> None:
    noise = RiskNoise.of(SPEC)
    assert FRACTION_BITS == 16
    rho = Fraction(31 * 3, 2) / Fraction(noise.payment_sigma**2) + Fraction(6) / Fraction(
        noise.fraud_sigma**2
    )
    assert epsilon_of(rho, PRIVACY.delta) == pytest.approx(3.0, rel=1e-4)
    assert noise.fraud_sigma / noise.payment_sigma == pytest.approx(sqrt(4 / 31), rel=1e-6)


def test_exact_tables_keep_their_bytes() -> None:
    """The head of tables without privacy does not name it."""
    exact = RiskTables(risk_spec(), hash_key_id(KEY))
    assert b"privacy" not in exact.to_bytes()
    assert b"privacy" in RiskTables(SPEC, hash_key_id(KEY)).to_bytes()
    assert "privacy" in inspect.signature(RiskSpec).parameters
