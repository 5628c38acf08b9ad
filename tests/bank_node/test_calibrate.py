"""``bank-node calibrate``, and the probabilities that ``score`` writes then."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from examples.search import COMMON, SPEC
from federations.bank_process import Finished
from pydantic import TypeAdapter

from bank_node.config import BankConfig
from bank_node.data.contract import TableShares, load_training_rows
from bank_node.serving.calibrate import pooled_bins
from bank_node.serving.calibration_file import CalibrationFile, calibration_path
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.adaptation.adapted import adapted_models
from fraudfed.adaptation.calibration import Method, own_prevalence
from fraudfed.boosting.model import Model
from fraudfed.boosting.predict import predict
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium.identity import Identity
from fraudfed.evaluation.score_histogram import ReliabilityBin, ScoreHistogram
from fraudfed.features import RECIPE, contract_features
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract, LabelHorizon, PublicKeyMessage, RunKind, RunSpec

DAY = 86_400
RUN = "r1"
CONTRACT = DataContract(
    kind="transactions",
    recipe=RECIPE,
    features=contract_features()[:8],
    train_until=60 * DAY,
    select_until=100 * DAY,
    gap_days=1,
    label_horizon_days=LabelHorizon(days=7),
)
PARAMETERS = {"num_boost_round": 8, "max_depth": 3, "max_bin": 16}


def transactions(n_rows: int = 3000) -> pd.DataFrame:
    """Draw payments of 110 days; from day 60 on, large ones are fraud twice as often."""
    rng = np.random.default_rng(3)
    times = np.sort(rng.integers(0, 110 * DAY, n_rows))
    amounts = rng.integers(1, 10_000, n_rows)
    risk = 0.2 * (amounts > 7000) * np.where(times < 60 * DAY, 1, 2)
    is_fraud = (rng.random(n_rows) < risk).astype(np.int64)
    return pd.DataFrame(
        {
            "transaction_id": [f"t{i}" for i in range(n_rows)],
            "event_time": times,
            "label_time": times + np.where(is_fraud == 1, 2 * DAY, 7 * DAY),
            "customer_id": rng.choice([f"c{i}" for i in range(400)], n_rows),
            "channel": "pos",
            "amount_minor": amounts,
            "is_fraud": is_fraud,
            "is_blocked": (rng.random(n_rows) < 0.02).astype(np.int64),
        }
    )


RAW = transactions()


@dataclass
class Bank:
    """A bank that holds the model of a run."""

    state: StateDirectory
    data: Path
    model: Model
    run_bank: Callable[..., Finished]

    @property
    def model_path(self) -> Path:
        return self.state.model_path(RUN)

    def run(self, command: str, *options: str | Path) -> Finished:
        return self.run_bank(command, "--state", self.state.path, "--data", self.data, *options)

    def calibrate(self, *options: str | Path) -> CalibrationFile:
        ended = self.run("calibrate", *options)
        assert ended.code == 0, ended.err
        text = calibration_path(self.model_path).read_text()
        return CalibrationFile.model_validate_json(text)


def pin(state: StateDirectory, contract: DataContract, parameters: dict[str, Any]) -> None:
    spec = RunSpec(name="test", key_epoch=1, parameters=parameters, contract=contract)
    key = PublicKeyMessage(n="f", fingerprint="0" * 64)
    state.pin_run(PinnedRun(run_id=RUN, spec=spec, cohort=("a", "b", "c"), public_key=key))
    state.save_config(state.config.with_last_run(RunKind.TRAINING, RUN))


@pytest.fixture
def bank(tmp_path: Path, run_bank: Callable[..., Finished]) -> Bank:
    data = tmp_path / "payments.parquet"
    RAW.to_parquet(data)
    identity = Identity.generate()
    keys = identity.member("a")
    config = BankConfig(
        name="a",
        aggregator="http://localhost:1",
        signing_key=keys.signing_key,
        agreement_key=keys.agreement_key,
    )
    state = StateDirectory.create(tmp_path / "state", config, identity)
    pin(state, CONTRACT, PARAMETERS)
    table = load_training_rows(data, CONTRACT).windows.train
    model = train(BoosterParams.parse(PARAMETERS), table, SoloCommunicator()).model
    state.model_path(RUN).write_bytes(model.to_json())
    return Bank(state, data, model, run_bank)


def is_mature(*, since: int, as_of: int) -> np.ndarray:
    """Tell which payments lie in the window and have a label."""
    times = RAW["event_time"]
    known = (RAW["is_blocked"] == 0) | ((RAW["is_fraud"] == 1) & (RAW["label_time"] < as_of))
    inside: np.ndarray = ((times >= since) & (times < as_of - 7 * DAY) & known).to_numpy()
    return inside


def test_scores_get_probabilities_fitted_on_what_the_model_has_not_seen(bank, tmp_path) -> None:
    out = tmp_path / "scores.parquet"
    assert bank.run("score", "--out", out).code == 0
    before = pd.read_parquet(out)
    assert list(before.columns) == ["transaction_id", "score"]
    found = bank.calibrate()
    end = int(RAW["event_time"].max())
    assert end <= found.as_of - 1 <= end + 7 * DAY
    used = is_mature(since=61 * DAY, as_of=found.as_of)
    assert (found.rows, found.frauds) == (used.sum(), RAW["is_fraud"][used].sum())
    assert 50 <= found.cases <= found.frauds
    assert found.calibration.method is Method.INTERCEPT_AND_SLOPE
    assert found.first_event == RAW["event_time"][used].min()
    assert found.model_sha256 == hashlib.sha256(bank.model_path.read_bytes()).hexdigest()
    assert calibration_path(bank.model_path).stat().st_mode & 0o777 == 0o600
    ended = bank.run("score", "--out", out)
    assert "with probabilities" in ended.out
    after = pd.read_parquet(out)
    pd.testing.assert_frame_equal(after[["transaction_id", "score"]], before)
    probability = after["probability"].to_numpy()
    np.testing.assert_array_equal(
        probability, found.calibration.of(after["score"].to_numpy(np.float32))
    )
    assert probability[used].mean() == pytest.approx(RAW["is_fraud"][used].mean(), rel=0.02)
    assert before["score"][used].mean() < 0.7 * probability[used].mean()


def test_what_is_reported_later_changes_nothing(bank) -> None:
    as_of = 90 * DAY
    found = bank.calibrate("--as-of", "1970-04-01")
    assert found.as_of == as_of
    RAW.assign(
        is_fraud=np.where(RAW["label_time"] >= as_of, 1, RAW["is_fraud"]),
    ).to_parquet(bank.data)
    assert bank.calibrate("--as-of", "1970-04-01") == found
    RAW[RAW["event_time"] < as_of].to_parquet(bank.data)
    assert bank.calibrate("--as-of", "1970-04-01") == found


def test_an_adapted_model_has_its_own_beside_it(bank, tmp_path) -> None:
    windows = load_training_rows(bank.data, CONTRACT).windows
    own = train(
        BoosterParams.parse(PARAMETERS | {"max_depth": 1}), windows.train, SoloCommunicator()
    ).model
    made = adapted_models(bank.model, own, windows.select)
    assert made.models
    for each in made.models:
        path = tmp_path / f"{each.name}.json"
        path.write_bytes(each.model_json)
        out = tmp_path / "scores.csv"
        assert bank.run("calibrate", "--model", path).code == 0
        assert (tmp_path / f"{each.name}.calibration.json").is_file()
        assert bank.run("score", "--out", out, "--model", path).code == 0
        found = pd.read_csv(out)
        assert list(found.columns) == ["transaction_id", "score", "probability"]
        features = windows.select.features
        times = RAW["event_time"]
        selected = ((times >= 61 * DAY) & (times < 93 * DAY)).to_numpy()
        expected = predict(each.model, features)
        np.testing.assert_allclose(found["score"][selected], expected, rtol=1e-6)
    assert not calibration_path(bank.model_path).exists()


def test_too_few_cases_are_refused_and_nothing_is_written(bank) -> None:
    for options, code, message in (
        (["--as-of", "1970-03-12"], 3, "mature cases of fraud among"),
        (["--as-of", "1970-02-01"], 3, ": 0 mature cases of fraud among 0 payments"),
        (["--as-of", "1971-01-01"], 3, "ends on 1970-04-"),
        (["--from", "1970-02-01"], 2, "was trained on payments up to 1970-03-02"),
        (["--prevalence", "0.01"], 2, "leave it out"),
        (["--model", "none.json"], 5, "no such model"),
    ):
        ended = bank.run("calibrate", *options)
        assert ended.code == code, ended.err
        assert message in ended.error()
        assert not calibration_path(bank.model_path).exists()


def test_a_newcomer_takes_what_all_banks_found(bank) -> None:
    report = ScoreHistogram.of(
        np.repeat(np.float32([-5, -3, -1]), 1000),
        np.float32(np.arange(3000) % 100 < 1 + np.arange(3000) // 300),
    ).reliability()
    bins = json.loads(TypeAdapter(tuple[ReliabilityBin, ...]).dump_json(report))
    record = {"result": {"verdict": {"report": {"known": {"reliability": bins}}}}}
    (bank.state.run_directory(RUN) / "record.json").write_text(json.dumps(record))
    assert bank.calibrate().calibration.method is Method.INTERCEPT_AND_SLOPE
    early = ("--as-of", "1970-03-12")
    found = bank.calibrate(*early)
    assert found.calibration.method is Method.POOLED
    assert 0 < found.cases < 50
    of_all = sum(each.frauds for each in report) / 3000
    assert found.prevalence == own_prevalence(found.rows, found.frauds, pooled=of_all)
    assert bank.calibrate(*early, "--prevalence", repr(of_all)).calibration.of(
        np.float32([report[0].predicted.estimate])
    ) == pytest.approx(report[0].observed)
    ended = bank.run("calibrate", *early, "--prevalence", "0.002")
    assert "shifted to a share of fraud of 0.2000%" in ended.out
    other = bank.model_path.with_name("other.json")
    other.write_bytes(bank.model.to_json())
    assert bank.run("calibrate", *early, "--model", other).code == 3
    assert pooled_bins(None) == pooled_bins({"result": {"verdict": None}}) == ()


def test_a_run_that_trained_on_every_label_needs_a_day(bank) -> None:
    everything = CONTRACT.model_copy(
        update={"train_until": None, "select_until": None, "gap_days": 0}
    )
    pin(bank.state, everything, PARAMETERS)
    ended = bank.run("calibrate")
    assert ended.code == 2
    assert "--from" in ended.error()
    assert (
        bank.calibrate("--from", "1970-03-03").rows == bank.calibrate("--from", "1970-03-03").rows
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:50], "is no calibration"),
        (lambda text: "", "is no calibration"),
        (lambda text: text.replace('"slope"', '"slopes"'), "is no calibration"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 2'), "format_version"),
        (
            lambda text: json.dumps(json.loads(text) | {"model_sha256": "0" * 64}),
            "belongs to another model",
        ),
    ],
)
def test_a_calibration_that_is_none_or_of_another_model_is_refused(
    bank, tmp_path, change, message
) -> None:
    bank.calibrate()
    path = calibration_path(bank.model_path)
    path.write_text(change(path.read_text()))
    out = tmp_path / "scores.csv"
    ended = bank.run("score", "--out", out)
    assert ended.code == 5, ended.err
    assert message in ended.error()
    assert "bank-node calibrate" in ended.error()
    assert not out.exists()


def test_rows_of_a_table_are_those_that_the_run_set_apart(
    bank, tmp_path, make_rows, contract
) -> None:
    rows = make_rows(n_rows=1500)
    rows.to_csv(tmp_path / "table.csv", index=False)
    bank.data = tmp_path / "table.csv"
    for parameters, share in ((PARAMETERS, 1.0), (PARAMETERS | {"early_stopping_rounds": 3}, 0.2)):
        pin(bank.state, contract, parameters)
        windows = load_training_rows(bank.data, contract).windows
        model = train(BoosterParams.parse(PARAMETERS), windows.train, SoloCommunicator()).model
        bank.model_path.write_bytes(model.to_json())
        ended = bank.run("calibrate", "--json")
        assert ended.code == 0, ended.err
        found = json.loads(ended.out)
        assert found["rows"] == pytest.approx(share * 1500, rel=0.1)
        assert found["as_of"] is None
        assert ("the run set no rows apart" in ended.err) == (share == 1.0)
    ended = bank.run("calibrate", "--as-of", "2026-01-01")
    assert ended.code == 2
    assert "have no times" in ended.error()


def test_the_shares_of_a_run_are_those_that_its_job_sets_apart(contract) -> None:
    common = {"seed": 5, "num_boost_round": 4}
    training = RunSpec(name="t", key_epoch=1, parameters=common, contract=contract)
    assert TableShares.of_run(training) == TableShares(seed=5)
    stopping = training.model_copy(update={"parameters": common | {"early_stopping_rounds": 2}})
    assert TableShares.of_run(stopping) == TableShares(seed=5, select=True)
    searching = RunSpec(
        name="s",
        key_epoch=1,
        kind=RunKind.SEARCH,
        parameters=COMMON | {"seed": 7},
        contract=contract,
        search=SPEC,
    )
    assert TableShares.of_run(searching) == TableShares(seed=7, select=True, judge=True)
