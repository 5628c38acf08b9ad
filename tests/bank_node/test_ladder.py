"""Each step of the ladder, forced; and a challenger that fails."""

import errno
import hashlib
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from serving_kit.scored_bank import OTHER_RUN, RUN, START, contract, make_bank, payments, put

from bank_node.decisions.log import DecisionLog, Written
from bank_node.lifecycle.changes import Wish, roll_back
from bank_node.lifecycle.stage_history import Action
from bank_node.lifecycle.stages import StageDirectory
from bank_node.outcomes.history import LabelHistory
from bank_node.service.loading import Sources
from bank_node.service.messages import NotedLabels, SentLabel, SentPayment
from bank_node.service.scoring import ScoringService
from bank_node.service.shadow import Shadow
from bank_node.service.writing import Disk
from bank_node.serving.bundle import Bundle, Tables
from bank_node.serving.calibration_file import CalibrationFile, write_calibration
from bank_node.serving.ladder import Ladder, Step
from bank_node.serving.store.arrival import StoreTerms
from bank_node.serving.store.memory import MemoryStore
from bank_node.serving.store.protocol import Arrival
from bank_node.state.directory import StateDirectory
from fraudfed.adaptation.calibration import Calibration
from fraudfed.errors import ConfigurationError, DataError, StateError, UnavailableError
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
def bank(tmp_path_factory: pytest.TempPathFactory) -> StateDirectory:
    return make_bank(tmp_path_factory.mktemp("ladder"))


@pytest.fixture(scope="module")
def bundle(bank: StateDirectory) -> Bundle:
    return Sources(bank).read().load()


@pytest.fixture
def state(bank: StateDirectory, tmp_path: Path) -> StateDirectory:
    """Return a copy of the bank that a test may change."""
    shutil.copytree(bank.path, tmp_path / "state")
    return StateDirectory(tmp_path / "state")


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


class Log:
    """What is kept of a challenger."""

    def __init__(self) -> None:
        self.margins: list[tuple[Any, float]] = []
        self.failures = 0

    def keep(self, written: Any, margin: float) -> None:
        self.margins.append((written, margin))

    def failed(self) -> None:
        self.failures += 1


def test_a_challenger_that_fails_is_counted_and_touches_nothing(bundle: Bundle) -> None:
    log = Log()
    shadow = Shadow(log.keep, log.failed)
    row = np.zeros(len(bundle.names), np.float32)
    good = replace(bundle, challenger=replace(bundle.champion, sha256="3" * 64))
    first, second, third = (cast(Written, name) for name in "abc")
    shadow.score(good, row, first)
    shadow.score(good, row[:3], second)
    shadow.score(good, row, third)
    shadow.close()
    expected = bundle.champion.row(bundle.row_for(bundle.champion, row)).margin
    assert log.margins == [(first, expected), (third, expected)]
    assert log.failures == 1


def test_a_store_that_is_away_is_not_asked_by_every_payment(
    store: MemoryStore, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Payment] = []
    now = [1000.0]

    def features(payment: Payment) -> np.ndarray:
        asked.append(payment)
        raise UnavailableError("away")

    ladder = Ladder(store)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with monkeypatch.context() as patch:
        patch.setattr(store, "features", features)
        for _ in range(20):
            found = ladder.judge(PAYMENT, bundle, seconds=50.0, contributions=False)
            assert found.step is Step.NO_STATE
            with pytest.raises(UnavailableError, match="not answered lately"):
                ladder.observe(PAYMENT)
        assert len(asked) == 1
        now[0] += 1
        ladder.judge(PAYMENT, bundle, seconds=50.0, contributions=False)
        assert len(asked) == 2
    now[0] += 1
    found = ladder.judge(PAYMENT, bundle, seconds=50.0, contributions=False)
    assert found.step is Step.FULL
    assert ladder.observe(PAYMENT) is Arrival.NEW
    ladder.close()


def test_the_second_model_may_have_shared_risk_in_its_contract_but_not_ask_for_it(
    bundle: Bundle,
) -> None:
    """As the bank's own model of an evaluation has it."""
    model, used = bundle.champion.model, bundle.champion.model.used_features()

    def with_shared(name: str) -> Bundle:
        names = tuple("shared_x" if each == name else each for each in model.schema.names)
        other = replace(model, schema=replace(model.schema, names=names))
        return replace(bundle, second=replace(bundle.champion, model=other))

    assert set(model.schema.names) > used
    for name in model.schema.names:
        if name in used:
            with pytest.raises(ConfigurationError, match="'shared_x' of shared risk"):
                with_shared(name)
        else:
            with_shared(name)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EROFS])
def test_what_a_disk_refuses_is_said_once_and_asked_again(
    tmp_path: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(tmp_path)
    disk.require()
    error = StateError("file: cannot be written")
    error.__cause__ = OSError(number, "no")
    words = "see its log" if number == errno.EROFS else "disk is full"
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(UnavailableError, match=words) as caught, disk.writing():
                raise error
            assert caught.value.retry_after_seconds > 1
        disk.require()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "refused" in lines[0]
    assert "again" in lines[1]
    away = UnavailableError("Redis is away")
    with pytest.raises(UnavailableError) as other, disk.writing():
        raise away
    assert other.value is away


@pytest.fixture
def service(state: StateDirectory, store: MemoryStore) -> Iterator[ScoringService]:
    place = state.serving_path
    service = ScoringService(
        Sources(state),
        StoreTerms.of(contract()),
        store,
        DecisionLog(place / "decisions", state.vault),
        LabelHistory(place / "outcomes", state.vault),
        place,
        deadline_seconds=20.0,
    )
    yield service
    service.close()


def test_a_label_of_a_payment_that_was_scored_counts_for_its_terminal(
    service: ScoringService, store: MemoryStore
) -> None:
    sent = SentPayment(
        transaction_id="t", event_time=START, customer_id="c", amount_minor=5, terminal_id="k"
    )
    service.score(sent, reasons=False, observe=True)
    label = {"transaction_id": "t", "status": "reported", "source": "customer", "time": START + 9}
    noted = service.label((SentLabel.model_validate(label),))
    assert noted == NotedLabels(new=1)
    later = Payment("u", START + 20, "d", 5, terminal_id="k")
    row = dict(zip(store.names, store.features(later), strict=True))
    assert row["terminal_fraud_count_1d"] == 1
    early = SentLabel.model_validate({**label, "time": START - 1})
    with pytest.raises(DataError, match="expected at or after the payment's event_time"):
        service.label((early,))


def test_without_a_policy_the_log_says_that_none_decided(service: ScoringService) -> None:
    sent = SentPayment(transaction_id="t", event_time=START, customer_id="c", amount_minor=5)
    assert service.score(sent, reasons=False).action is None
    (found,) = service._decisions.between(0, 2**40)
    assert (found.action, found.rule, found.is_alert) == ("none", "no policy decided", False)
    again = service.decision("t")
    assert (again.action, again.rule) == (None, None)


def test_the_life_cycle_says_what_is_served(state: StateDirectory) -> None:
    digests = {
        run: hashlib.sha256(state.model_path(run).read_bytes()).hexdigest()
        for run in (RUN, OTHER_RUN)
    }
    assert Sources(state).read().model_sha256 == digests[RUN]
    assert Sources(state).of_run(OTHER_RUN).read().model_sha256 == digests[OTHER_RUN]
    put(state, Action.CHALLENGE, OTHER_RUN)
    both = Sources(state).read()
    assert (both.model_sha256, both.challenger.sha256) == (digests[RUN], digests[OTHER_RUN])
    put(state, Action.FALLBACK, OTHER_RUN)
    second = Sources(state).read().second
    assert second is not None
    assert second.sha256 == digests[OTHER_RUN]
    put(state, Action.PROMOTE, OTHER_RUN)
    assert Sources(state).read().model_sha256 == digests[OTHER_RUN]
    roll_back(state, Wish(by="test"))
    assert Sources(state).read().model_sha256 == digests[RUN]
    # What was staged is served, whatever became of the run's file; a damaged copy is not.
    state.model_path(RUN).unlink()
    assert Sources(state).read().model_sha256 == digests[RUN]
    kept = StageDirectory.of_state(state.path).model_path(digests[RUN])
    kept.write_bytes(kept.read_bytes() + b" ")
    with pytest.raises(StateError, match="is not the model"):
        Sources(state).read()


def test_a_challenger_that_cannot_be_read_stops_nothing(
    state: StateDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    put(state, Action.CHALLENGE, OTHER_RUN)
    challenger = Sources(state).read().challenger
    assert challenger is not None
    StageDirectory.of_state(state.path).model_path(challenger.sha256).unlink()
    assert Sources(state).read().challenger is None
    assert "the challenger of the life cycle cannot be used" in caplog.text


def test_a_calibration_made_after_the_promotion_is_used(state: StateDirectory) -> None:
    assert Sources(state).read().champion.calibration is None
    path = state.model_path(RUN)
    calibration = Calibration(method="isotonic", scores=(0.0, 1.0), probabilities=(0.0, 0.5))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    file = CalibrationFile(
        format_version=1, model_sha256=sha256, calibration=calibration, rows=9, frauds=1, cases=1
    )
    write_calibration(path, file)
    assert Sources(state).read().champion.calibration == calibration


def test_a_bank_without_a_model_is_told_so(state: StateDirectory) -> None:
    with pytest.raises(Exception, match="no such model"):
        Sources(state, model=state.path / "none.json").read()
    put(state, Action.RETIRE, RUN)
    with pytest.raises(StateError, match=r"no champion.*models promote"):
        Sources(state).read()
    assert Sources(state, run_id=RUN).read()
