"""Each step of the ladder, forced; and a challenger that fails."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving_kit.scored_bank import contract, make_bank, payments

from bank_node.service.loading import Sources
from bank_node.service.shadow import Shadow
from bank_node.serving.bundle import Bundle, Tables
from bank_node.serving.ladder import Ladder, Step
from bank_node.serving.store.arrival import StoreTerms
from bank_node.serving.store.memory import MemoryStore
from fraudfed.errors import UnavailableError
from fraudfed.features.payment import Payment, payments_of

PAYMENT = payments_of(payments(3, 1).drop(columns=["label_time", "is_fraud"]))[0]


class OldTables(Tables):
    """Tables of a given age."""

    def __init__(self, age: int, *, gaps: bool = False) -> None:
        object.__setattr__(self, "age", age)
        object.__setattr__(self, "gaps", gaps)

    def age_days(self, event_time: int) -> int:
        return self.age  # type: ignore[attr-defined, no-any-return]

    def has_gaps(self, event_time: int) -> bool:
        return self.gaps  # type: ignore[attr-defined, no-any-return]

    def features(self, payment: Payment, *, recipe: str, names: tuple[str, ...]) -> np.ndarray:
        return np.zeros(len(names), np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Sources(make_bank(tmp_path_factory.mktemp("ladder"))).read().load()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(StoreTerms.of(contract()))


def judge(store: MemoryStore, bundle: Bundle, seconds: float = 5.0):  # type: ignore[no-untyped-def]
    ladder = Ladder(store)
    try:
        return ladder.judge(PAYMENT, bundle, seconds=seconds, contributions=True)
    finally:
        ladder.close()


def test_full(store: MemoryStore, bundle: Bundle) -> None:
    found = judge(store, bundle)
    assert (found.step, found.has_state, found.scorer) == (Step.FULL, True, bundle.champion)


@pytest.mark.parametrize("failure", ["slow", "gone"])
def test_without_state_what_is_not_known_is_missing_and_never_zero(
    store: MemoryStore, bundle: Bundle, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def features(_payment: Payment) -> np.ndarray:
        if failure == "gone":
            raise UnavailableError("away")
        go.wait(20)
        raise UnavailableError("late")

    monkeypatch.setattr(store, "features", features)
    started = time.monotonic()
    found = judge(store, bundle, seconds=1.0)
    go.set()
    assert time.monotonic() - started < 10
    assert found.step is Step.NO_STATE
    assert not found.has_state
    row = dict(zip(bundle.names, found.full_row, strict=True))
    assert np.isnan(row["customer_count_1d"])
    assert np.isnan(row["terminal_fraud_count_7d"])
    assert row["amount"] == PAYMENT.amount_minor
    assert not np.isnan(row["channel"])


def test_old_tables_give_way_to_the_second_model(store: MemoryStore, bundle: Bundle) -> None:
    second = replace(bundle.champion, sha256="2" * 64)
    for tables, step in ((OldTables(3), Step.FULL), (OldTables(4), Step.NO_SHARED_RISK)):
        found = judge(store, replace(bundle, tables=tables, second=second))
        assert found.step is step
        assert found.risk_age_days == tables.age_days(0)
    gap = judge(store, replace(bundle, tables=OldTables(0, gaps=True), second=second))
    assert (gap.step, gap.scorer) == (Step.NO_SHARED_RISK, second)


def test_without_a_model_that_may_score_the_fallback_decides(
    store: MemoryStore, bundle: Bundle
) -> None:
    assert judge(store, replace(bundle, tables=OldTables(9))).step is Step.FALLBACK
    late = judge(store, bundle, seconds=0.0)
    assert (late.step, late.scored) == (Step.FALLBACK, None)


def test_a_challenger_that_fails_is_counted_and_touches_nothing(bundle: Bundle) -> None:
    failures: list[int] = []
    margins: list[float | None] = []
    shadow = Shadow(lambda: failures.append(1))
    row = np.zeros(len(bundle.names), np.float32)
    good = replace(bundle, challenger=replace(bundle.champion, sha256="3" * 64))
    shadow.score(good, row, margins.append)
    shadow.score(good, row[:3], margins.append)
    shadow.close()
    expected = bundle.champion.row(bundle.row_for(bundle.champion, row)).margin
    assert margins == [expected, None]
    assert failures == [1]


def test_a_bank_without_a_model_is_told_so(tmp_path: Path) -> None:
    state = make_bank(tmp_path)
    with pytest.raises(Exception, match="no such model"):
        Sources(state, model=tmp_path / "none.json").read()
