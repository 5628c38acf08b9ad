"""Three windows in time: labels as of a cut-off, and nothing of what comes after it."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.features import DAY, START, random_table, table

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.features import FeatureTable, build_features
from fraudfed.intake.windows import Windows, windows_by_share, windows_in_time
from fraudfed.payments.columns import CHANNELS
from fraudfed.payments.fraud_kinds import FRAUD_KINDS
from fraudfed.wire.messages import DataContract, LabelHorizon

TRAIN, SELECT, JUDGE = (START + days * DAY for days in (40, 65, 90))
HORIZON = LabelHorizon(days=7, by_channel={"transfer": 12, "atm": 3})


def contract(**changes: Any) -> DataContract:
    fields: dict[str, Any] = {
        "kind": "transactions",
        "recipe": RECIPE,
        "features": contract_features(),
        "train_until": TRAIN,
        "select_until": SELECT,
        "judge_until": JUDGE,
        "gap_days": 2,
        "label_horizon_days": HORIZON,
        **changes,
    }
    return DataContract.model_validate(fields)


def windows_of(frame: pd.DataFrame, terms: DataContract) -> Windows:
    return windows_in_time(build_features(frame), frame, terms)


def with_outcomes(rng: np.random.Generator, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with what only outcomes are made of; no column of it is always there."""
    n_rows = len(frame)
    more = {
        "is_blocked": rng.choice([0.0, 0.0, 1.0], n_rows),
        "card_id": rng.choice(np.array(["k1", "k2", "k3", None], dtype=object), n_rows),
        "fraud_kind": rng.choice(np.array(["romance_scam", "odd", None], dtype=object), n_rows),
    }
    kept = {name: values for name, values in more.items() if rng.random() < 0.8}
    frame = frame.assign(**kept)
    return frame.drop(columns=["channel"] if rng.random() < 0.1 else [])


def cut_off(frame: pd.DataFrame, cutoff: int) -> pd.DataFrame:
    """Return the file as it was at a time: no later payment, and no later report."""
    then = frame[frame["event_time"] < cutoff].reset_index(drop=True)
    then = then.astype({"is_fraud": "Float64", "label_time": "Float64"})
    then.loc[then["label_time"] >= cutoff, ["is_fraud", "label_time"]] = pd.NA
    return then


def assert_same(left: object, right: object) -> None:
    """Equal in every field and bit."""
    if dataclasses.is_dataclass(left):
        assert type(left) is type(right)
        for field in dataclasses.fields(left):
            assert_same(getattr(left, field.name), getattr(right, field.name))
    elif isinstance(left, np.ndarray):
        np.testing.assert_array_equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()  # type: ignore[attr-defined]
        for key, value in left.items():
            assert_same(value, right[key])  # type: ignore[index]
    else:
        assert left == right


@given(seed=st.integers(0, 2**32 - 1), known=st.booleans(), start=st.sampled_from([None, 9]))
@settings(max_examples=12, deadline=None)
def test_a_file_that_ends_at_a_cut_off_has_the_same_windows(
    seed: int, known: bool, start: int | None
) -> None:
    rng = np.random.default_rng(seed)
    frame = with_outcomes(rng, random_table(rng, 70, days=100))
    terms = contract(
        exclude_known_compromised=known, train_from=None if start is None else START + start * DAY
    )
    whole = windows_of(frame, terms)
    for cutoff, names in (
        (TRAIN, ["train"]),
        (SELECT, ["train", "select"]),
        (JUDGE, ["train", "select", "judge"]),
    ):
        then = windows_of(cut_off(frame, cutoff), terms)
        for name in names:
            assert_same(getattr(then, name), getattr(whole, name))
            assert then.counts[name] == whole.counts[name]
            assert then.periods.get(name) == whole.periods.get(name)


def test_hindsight_would_change_labels() -> None:
    """Negative control: with one report that came too late used, the law above fails."""
    frame = random_table(np.random.default_rng(3), 200, days=100)
    late = (frame["is_fraud"] == 1) & (frame["label_time"] >= TRAIN)
    late &= frame["event_time"] < TRAIN - 12 * DAY
    assert late.any()
    honest = windows_of(frame, contract()).train
    hindsight = windows_of(
        frame.assign(label_time=frame["label_time"].mask(late, frame["event_time"])), contract()
    ).train
    assert hindsight.labels.sum() == honest.labels.sum() + late.sum()
    # Nothing is left out for it: whether a row is used does not depend on its label.
    assert hindsight.n_rows == honest.n_rows


@given(seed=st.integers(0, 2**32 - 1), gap=st.sampled_from([0, 2]), select=st.booleans())
@settings(max_examples=10, deadline=None)
def test_windows_are_what_the_rule_says_row_by_row(seed: int, gap: int, select: bool) -> None:
    rng = np.random.default_rng(seed)
    frame = with_outcomes(rng, random_table(rng, 80, days=100))
    changes = {} if select else {"select_until": None}
    found = windows_of(frame, contract(gap_days=gap, **changes))
    before = SELECT if select else TRAIN
    spans = {"train": (0, TRAIN), "judge": (before + gap * DAY, JUDGE)}
    if select:
        spans["select"] = (TRAIN + gap * DAY, SELECT)
    assert (found.select is not None) == select
    for name, (start, cutoff) in spans.items():
        expected = []
        for row in frame.to_dict("records"):
            days = {"transfer": 12, "atm": 3}.get(row.get("channel"), 7)
            if not start <= row["event_time"] < cutoff - days * DAY:
                continue
            label = float(row["is_fraud"] == 1 and row["label_time"] < cutoff)
            expected.append(np.nan if row.get("is_blocked") == 1 and not label else label)
        counts = found.counts[name]
        assert counts.rows == len(expected)
        assert counts.censored == np.count_nonzero(np.isnan(expected))
        assert counts.frauds == expected.count(1.0)
        part = getattr(found, name)
        if name == "train":
            np.testing.assert_array_equal(part.labels, [e for e in expected if e == e])
        else:
            np.testing.assert_array_equal(part.outcomes.labels, expected)


def one_window(rows: list[dict[str, Any]], **changes: Any) -> tuple[JudgedRows, Windows]:
    """Return the window that judges: payments from day 40 on, as of day 90."""
    found = windows_of(table(rows), contract(select_until=None, gap_days=0, **changes))
    assert found.judge is not None
    return found.judge, found


def paid(day: float, **more: Any) -> dict[str, Any]:
    return {"event_time": START + int(day * DAY), **more}


def reported(day: float, on: float, **more: Any) -> dict[str, Any]:
    return paid(day, is_fraud=1, label_time=START + int(on * DAY), **more)


def test_first_seen_is_what_nobody_of_the_payment_was_reported_for() -> None:
    """Payer, payee, terminal and merchant, at this bank, in the 90 days before."""
    marked = [
        # Reported on day 45: later payments of the same payer, payee, terminal and merchant.
        reported(42, 45, customer_id="c1", payee_id="p1"),
        reported(43, 45, customer_id="c2", terminal_id="e1", merchant_id="m1"),
        paid(45, customer_id="c1"),
        paid(45.1, customer_id="c1"),
        paid(46, customer_id="c3", payee_id="p1"),
        paid(46, customer_id="c3", terminal_id="e1"),
        paid(46, customer_id="c3", merchant_id="m1"),
        paid(46, customer_id="c3", merchant_id="m2"),
        # What pays now is what was paid then, whatever column it stands in.
        paid(46, customer_id="c3", payer_id="p1"),
        # An identifier is of one kind: a merchant's name is no payee's.
        paid(46, customer_id="c3", merchant_id="p1"),
    ]
    judge, _ = one_window(marked)
    assert judge.outcomes.is_first_seen is not None
    expected = [True, True, True, False, False, False, False, True, False, True]
    assert judge.outcomes.is_first_seen.tolist() == expected
    old = [
        # An old report counts for 90 days, also where the payment lies outside every window.
        reported(-80, -44, customer_id="c4"),
        paid(46, customer_id="c4"),
        paid(46.1, customer_id="c4"),
    ]
    judge, _ = one_window(old)
    assert judge.outcomes.is_first_seen is not None
    assert judge.outcomes.is_first_seen.tolist() == [False, True]


def test_known_compromised_cards_and_accounts_are_left_out() -> None:
    rows = [
        reported(10, 20, card_id="k1", payee_id="p1"),
        reported(44, 50, card_id="k2", customer_id="c2"),
        paid(41, card_id="k1"),
        paid(41, card_id="k3"),
        paid(41, card_id="k3", payee_id="p1"),
        paid(49, card_id="k2", customer_id="c2"),
        paid(51, card_id="k2", customer_id="c2"),
        # Without a card of its own: customers are not what is compromised where there are cards.
        paid(51, card_id=None, customer_id="c2"),
    ]
    judge, _ = one_window(rows)
    assert judge.n_rows == 7
    judge, found = one_window(rows, exclude_known_compromised=True)
    assert found.counts["judge"].known_compromised == 3
    assert judge.outcomes.event_time is not None
    days = ((judge.outcomes.event_time - START) / DAY).tolist()
    assert days == [44, 41, 49, 51]
    # Training takes them all.
    assert found.train.n_rows == 1
    without = [{k: v for k, v in row.items() if k != "card_id"} for row in rows]
    _, found = one_window(without, exclude_known_compromised=True)
    # The customer stands for the card: c1 was reported on day 20, c2 on day 50.
    assert found.counts["judge"].known_compromised == 5


def test_outcomes_say_who_and_what_by_public_lists() -> None:
    names = [kind.name for kind in FRAUD_KINDS]
    rows = [
        reported(44, 50, channel="transfer", payee_id="p1", fraud_kind="Romance scam"),
        # Not reported as of the cut-off: of what kind it is nobody knows yet.
        reported(45, 95, channel="pos", fraud_kind="romance_scam", merchant_category="5411"),
        reported(46, 60, channel="atm", fraud_kind="of our own", customer_id="c2"),
    ]
    judge, _ = one_window(rows)
    outcomes = judge.outcomes
    assert outcomes.labels.tolist() == [1, 0, 1]
    assert outcomes.cells["fraud_kind"].tolist() == [
        names.index("romance_scam"),
        -1,
        names.index("other"),
    ]
    assert outcomes.cells["channel"].tolist() == [
        CHANNELS.index(name) for name in ("transfer", "pos", "atm")
    ]
    assert outcomes.cells["merchant_category"].tolist() == [0, 0, 0]
    assert outcomes.customers is not None
    assert outcomes.customers.tolist() == [0, 0, 1]
    assert outcomes.accounts is not None
    assert outcomes.accounts.tolist() == [0, -1, -1]
    assert outcomes.cards is None
    assert outcomes.amounts is not None
    assert not outcomes.is_blocked.any()
    bare = table(rows).drop(columns=["fraud_kind", "channel", "payee_id"])
    found = windows_in_time(build_features(bare), bare, contract(select_until=None)).judge
    assert found is not None
    assert found.outcomes.cells.keys() == {"merchant_category"}
    assert found.outcomes.accounts is None


def test_without_a_cut_off_all_that_is_known_is_used() -> None:
    rows = [paid(1), reported(2, 99), paid(3, is_fraud=None, label_time=None)]
    rows += [paid(4, is_blocked=1), reported(5, 6, is_blocked=1)]
    frame = table(rows).astype({"is_fraud": "Float64", "label_time": "Float64"})
    terms = contract(train_until=None, select_until=None, judge_until=None)
    found = windows_in_time(build_features(frame), frame, terms)
    assert found.train.labels.tolist() == [0, 1, 1]
    assert found.counts["train"] == dataclasses.replace(
        found.counts["train"], rows=4, frauds=2, censored=1
    )
    assert (found.select, found.judge, found.validation) == (None, None, None)


def test_weights_and_the_order_of_a_contract_go_with_the_rows() -> None:
    frame = random_table(np.random.default_rng(1), 60, days=100)
    frame["is_blocked"] = np.arange(60) % 3 == 0
    specs = contract_features()[3:6][::-1]
    weights = np.linspace(0.5, 1.0, 60, dtype=np.float32)
    built: FeatureTable = build_features(frame)
    found = windows_in_time(built, frame, contract(features=specs), weights=weights)
    assert found.select is not None
    assert found.validation is not None
    assert found.validation.n_rows == found.select.n_rows - found.counts["select"].censored
    names = [spec.name for spec in specs]
    for part in (found.train, found.validation):
        assert list(part.schema.names) == names
        assert part.weights is not None
        for features, weight in zip(part.features, part.weights, strict=True):
            row = int(np.flatnonzero(weights == weight)[0])
            expected = [built.values[row, built.names.index(name)] for name in names]
            np.testing.assert_array_equal(features, np.array(expected, dtype=np.float32))


def plain(n_rows: int, seed: int = 0) -> TrainingTable:
    rng = np.random.default_rng(seed)
    return TrainingTable(
        schema=FeatureSchema(names=("a", "b"), n_categories=(0, 0)),
        features=rng.random((n_rows, 2), dtype=np.float32),
        labels=(rng.random(n_rows) < 0.3).astype(np.float32),
    )


@pytest.mark.parametrize(("select", "judge"), [(True, False), (False, True), (True, True)])
def test_rows_without_times_are_shared_out_by_their_content(select: bool, judge: bool) -> None:
    table = plain(4000)
    found = windows_by_share(table, seed=5, select=select, judge=judge)
    assert list(found.counts) == ["train"] + ["select"] * select + ["judge"] * judge
    assert sum(count.rows for count in found.counts.values()) == 4000
    for part in (found.select, found.judge):
        if part is not None:
            assert part.n_rows == pytest.approx(800, rel=0.15)
            assert part.outcomes.event_time is None
    order = np.random.default_rng(1).permutation(4000)
    halves = [order[:1500], order[1500:]]
    for name in found.counts:
        rows = []
        for half in halves:
            part = dataclasses.replace(
                table, features=table.features[half], labels=table.labels[half]
            )
            alone = getattr(windows_by_share(part, seed=5, select=select, judge=judge), name)
            rows += alone.features.tolist()
        assert sorted(rows) == sorted(getattr(found, name).features.tolist())


def test_a_table_of_which_nothing_is_set_apart_is_left_as_it_is() -> None:
    table = plain(10)
    found = windows_by_share(table, seed=0)
    assert found.train is table
    assert (found.select, found.judge, found.periods) == (None, None, {})


def test_the_hour_of_the_cut_off_counts() -> None:
    """A report at the cut-off is not known, a payment at the end of its window not mature."""
    rows = [
        paid(32.5, is_fraud=1, label_time=TRAIN - 1),
        paid(32.6, is_fraud=1, label_time=TRAIN),
        {"event_time": TRAIN - 7 * DAY - 1},
        {"event_time": TRAIN - 7 * DAY},
        {"event_time": TRAIN - 1, "is_fraud": 1, "label_time": TRAIN - 1},
        {"event_time": JUDGE - 7 * DAY - 1},
    ]
    judge, found = one_window(rows)
    assert found.train.labels.tolist() == [1, 0, 0]
    assert judge.n_rows == 1
