"""Reports that are taken back: entered on their own day, and out of every window from then on."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import DAY, random_table
from oracles.shared_risk import FIRST_DAY, KEY, risk_spec, split

from fraudfed.communicator import SoloCommunicator
from fraudfed.features import OnlineFeatures, build_features
from fraudfed.features.payment import payments_of
from fraudfed.features.shared_risk import RiskTables, SharedRisk, risk_entries, sum_tables
from fraudfed.features.shared_risk.entries import Correction, Entries, RiskEntries
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.wire.messages import RiskEntity, RiskSpec

DAYS = 60


def frame_of(seed: int, rows: int = 80) -> pd.DataFrame:
    frame = random_table(np.random.default_rng(seed), rows, days=DAYS)
    frame["transaction_id"] = [f"t{row}" for row in range(len(frame))]
    return frame


def correction_of(row: pd.Series, *, after: int) -> Correction:
    event, report = int(row["event_time"]) // DAY, int(row["label_time"]) // DAY
    return Correction(
        transaction_id=row["transaction_id"],
        event_day=event,
        report_day=report,
        day=max(event, report) + after,
        identifiers={
            entity: row[f"{entity}_id"] for entity in RiskEntity if not pd.isna(row[f"{entity}_id"])
        },
    )


def tables_of(
    frame: pd.DataFrame, spec: RiskSpec, corrections: Sequence[Correction] = ()
) -> RiskTables:
    entries = risk_entries(frame, spec, hash_key=KEY, corrections=corrections)
    return sum_tables(entries, SoloCommunicator(), start=RiskTables(spec, hash_key_id(KEY)))


def history_of(*tables: RiskTables) -> SharedRisk:
    return SharedRisk([KeyedTables(each, KEY) for each in tables])


def without_report(frame: pd.DataFrame, transaction_id: str) -> pd.DataFrame:
    changed = frame.copy()
    mine = changed["transaction_id"] == transaction_id
    changed.loc[mine, ["is_fraud", "label_time"]] = [0, None]
    return changed


def frauds(shared: SharedRisk, frame: pd.DataFrame, day: int) -> np.ndarray:
    """Windows of frauds of every entity of a frame, as payments of a day see them."""
    found = []
    for entity in RiskEntity:
        known = sorted(frame[f"{entity}_id"].dropna().unique())
        codes = np.arange(len(known))
        days = np.full(len(known), day)
        found.append(shared.windows(entity, known, codes, days, widths=(1, 7, 30)).frauds)
    return np.concatenate(found, axis=1)


@given(
    seed=st.integers(0, 2**32 - 1),
    delay=st.sampled_from([0, 3]),
    after=st.integers(0, 35),
)
@settings(max_examples=8, deadline=None)
def test_a_report_that_is_taken_back_counts_as_never_made_from_then_on(
    seed: int, delay: int, after: int
) -> None:
    frame = frame_of(seed)
    reported = frame[frame["is_fraud"] == 1]
    if reported.empty:
        return
    row = reported.iloc[seed % len(reported)]
    made = correction_of(row, after=after)
    spec = risk_spec(delay_days=delay)
    with_report, corrected, never = (
        history_of(tables_of(frame, spec)),
        history_of(tables_of(frame, spec, [made])),
        history_of(tables_of(without_report(frame, row["transaction_id"]), spec)),
    )
    entered = made.entered_on(delay)
    # A payment of day t sees the days up to t - 2: the lag is 1.
    for day in range(FIRST_DAY + delay, entered + 40, 4):
        expected = never if day - 2 >= entered else with_report
        np.testing.assert_array_equal(
            frauds(corrected, frame, day), frauds(expected, frame, day), err_msg=str(day)
        )


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_a_revised_label_changes_nothing_of_what_was_entered(seed: int) -> None:
    """The file that is counted again holds the payment as genuine; the correction remembers."""
    frame = frame_of(seed)
    reported = frame[frame["is_fraud"] == 1]
    if reported.empty:
        return
    row = reported.iloc[0]
    made = [correction_of(row, after=5)]
    revised = without_report(frame, row["transaction_id"])
    first, again = (tables_of(rows, risk_spec(), made).to_bytes() for rows in (frame, revised))
    assert first == again


def test_a_correction_changes_tables_of_days_that_knew_of_the_report() -> None:
    """Not of every world: a report may come after the last day, or be corrected after it."""
    changed = 0
    for seed in range(10):
        frame = frame_of(seed)
        made = [correction_of(row, after=5) for _, row in frame[frame["is_fraud"] == 1].iterrows()]
        plain, corrected = (tables_of(frame, risk_spec(), each) for each in ([], made))
        changed += plain.to_bytes() != corrected.to_bytes()
    assert changed > 5


@given(seed=st.integers(0, 2**32 - 1), n_banks=st.integers(2, 3))
@settings(max_examples=10, deadline=None)
def test_corrections_of_all_banks_add_up_however_they_are_split(seed: int, n_banks: int) -> None:
    frame, spec = frame_of(seed), risk_spec(last_day=FIRST_DAY + 80)
    made = [
        correction_of(row, after=3 + number)
        for number, (_, row) in enumerate(frame[frame["is_fraud"] == 1].iterrows())
        if number % 2 == 0
    ]
    whole = tables_of(frame, spec, made)
    parts = []
    for part in split(frame, n_banks, np.random.default_rng(seed)):
        mine = [each for each in made if each.transaction_id in set(part["transaction_id"])]
        parts.append(risk_entries(part, spec, hash_key=KEY, corrections=mine))

    def joined(entries: list[Entries]) -> Entries:
        days = np.concatenate([each.days for each in entries])
        order = np.argsort(days, kind="stable")
        return Entries(
            days[order],
            np.concatenate([each.counts for each in entries])[order],
            np.concatenate([each.hashes for each in entries])[order],
        )

    every = RiskEntries(
        *(
            joined([getattr(part, kind) for part in parts])
            for kind in ("transactions", "frauds", "corrections")
        )
    )
    begin = RiskTables(spec, hash_key_id(KEY))
    assert sum_tables(every, SoloCommunicator(), start=begin).to_bytes() == whole.to_bytes()
    assert RiskTables.from_bytes(whole.to_bytes()).to_bytes() == whole.to_bytes()


def test_more_corrections_than_reports_hide_no_other_day_and_go_below_nothing() -> None:
    """A careless or dishonest bank: what it takes back is bounded by what that day holds."""
    rows = {
        "event_time": [FIRST_DAY * DAY, (FIRST_DAY + 4) * DAY],
        "customer_id": ["a", "b"],
        "payee_id": ["mule", "mule"],
        "is_fraud": [1, 1],
        "label_time": [FIRST_DAY * DAY + 60, (FIRST_DAY + 4) * DAY + 60],
    }
    frame = pd.DataFrame(rows)
    spec = risk_spec(delay_days=0, entities=(RiskEntity.PAYEE,))
    many = [
        Correction(f"x{n}", FIRST_DAY, FIRST_DAY, FIRST_DAY + 5, {RiskEntity.PAYEE: "mule"})
        for n in range(9)
    ]
    sketches = tables_of(frame, spec, many)
    # Nine that were never reported by anybody else: only their corrections are forged in.
    honest = tables_of(frame, spec)
    forged = RiskTables(
        spec,
        honest.key_id,
        tuple(
            type(day)(day.transactions, day.frauds, taken.corrections)
            for day, taken in zip(honest.days, sketches.days, strict=True)
        ),
    )
    shared = history_of(forged)
    found = shared.windows(
        RiskEntity.PAYEE,
        ["mule"],
        np.zeros(3, dtype=np.int64),
        np.array([FIRST_DAY + 6, FIRST_DAY + 7, FIRST_DAY + 8]),
        widths=(1, 7, 30),
    )
    assert found.frauds[2].tolist() == [2, 1, 1]
    assert (found.frauds >= 0).all()


def test_both_builders_see_the_same_corrections() -> None:
    frame = frame_of(11, 120)
    reported = frame[frame["is_fraud"] == 1]
    made = [correction_of(row, after=2) for _, row in reported.iterrows()][::2]
    assert len(made) > 3
    spec = risk_spec(delay_days=0)
    shared = history_of(tables_of(frame, spec, made))
    plain = history_of(tables_of(frame, spec))
    batch = build_features(frame, shared=shared)
    online = OnlineFeatures(shared=shared)
    ordered = frame.sort_values("event_time", kind="stable")
    rows = np.array([online.features(p) for p in payments_of(ordered)])
    which = [n for n, name in enumerate(batch.names) if name.startswith("shared_")]
    positions = [int(ordered.index[n]) for n in range(len(ordered))]
    np.testing.assert_array_equal(rows[:, which], batch.values[positions][:, which])
    other = build_features(frame, shared=plain)
    assert not np.array_equal(batch.values[:, which], other.values[:, which], equal_nan=True)


@pytest.mark.parametrize(("day", "delay", "entered"), [(5, 0, 5), (5, 9, 9), (1, 0, 3)])
def test_a_correction_is_never_entered_before_its_report(
    day: int, delay: int, entered: int
) -> None:
    made = Correction("t", event_day=0, report_day=3, day=day, identifiers={})
    assert made.entered_on(delay) == entered >= made.reported_on(delay)
