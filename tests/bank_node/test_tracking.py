"""MLflow is told of a finished run what all its banks know; its model scores there as here."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pytest
import xgboost
from federations.bank_process import Finished
from judging.payments import COMMON, CONTRACT, bank_that_knows, payments, run_spec

from bank_node.commands.output import Tracked
from bank_node.data.contract import TableShares, load_training_rows
from bank_node.jobs.training import TrainingRecord, TrainingResult, TreeRecord
from bank_node.state.directory import StateDirectory
from bank_node.tracking.mlflow_server import Tracking, log_run
from bank_node.tracking.what_is_logged import logged_run
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import UnavailableError
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import RunKind

RunBank = Callable[..., Finished]
ROOT = Path(__file__).parents[2]
#: MLflow's own, of what it is made of; the program keeps them away from people itself.
pytestmark = pytest.mark.filterwarnings("ignore")
#: A number of rows that nothing else has.
ROWS = 987_654


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Any]:
    """Return a small model and the rows it was trained on."""
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    payments(0, 600).to_parquet(path)
    shares = TableShares(select=True, judge=True)
    rows = load_training_rows(path, CONTRACT, shares=shares).windows.train
    params = BoosterParams(num_boost_round=3, max_depth=2, max_bin=16)
    return train(params, rows, SoloCommunicator()).model.to_json(), rows.features


@pytest.fixture
def state(tmp_path: Path, finished: tuple[bytes, Any]) -> StateDirectory:
    spec = run_spec(kind=RunKind.TRAINING, search=None)
    found = bank_that_knows(tmp_path / "bank", spec, model=finished[0])
    whole = {"rounds": 0, "ciphertexts": 0, "bytes_sent": 0, "bytes_received": 0}
    nothing = dict.fromkeys(("rounds", "rounds_verified", "ciphertexts"), 0) | dict.fromkeys(
        ("key_bits", "masked_against_banks", "signed_openings")
    )
    process = dict.fromkeys(
        (
            "threads",
            "peak_memory_bytes",
            "rounds",
            "values",
            "ciphertexts",
            "bytes_sent",
            "bytes_received",
            "process_cpu_seconds",
            "run_seconds",
        ),
        1,
    )
    times: dict[str, Any] = {f"{part}_seconds": {} for part in ("wall", "cpu", "main_cpu")}
    record = TrainingRecord.model_validate(
        {
            "run_id": "r1",
            "name": "judged",
            "bank": "bank-a",
            "members": ["bank-a", "bank-b"],
            "generation": 0,
            "taken_from_registry": False,
            "fraudfed_version": "1",
            "result": TrainingResult(
                parameters=dict(COMMON),
                trees=3,
                rows=ROWS,
                history=tuple(
                    TreeRecord(tree=tree, leaves=4, metrics={"logloss": 0.5 / (tree + 1)})
                    for tree in range(3)
                ),
            ),
            "model_sha256": "2" * 64,
            "registry_sha256": "2" * 64,
            "model_visibility": "aggregator",
            "key_epoch": 1,
            "key_bits": 2048,
            "key_fingerprint": "1" * 64,
            "kernel": "k",
            "trust": "confirmed",
            "transport": "https",
            "whole_run": {
                **whole,
                "protection": {**nothing, "key_fingerprints": [], "kernels": []},
                "round_records": [],
            },
            "last_process": {"started_at": 1000, "finished_at": 2000, **process, **times},
        }
    )
    path = found.path / "runs" / "r1" / "record.json"
    path.write_text(record.model_dump_json())
    return found


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow keeps the artifacts of a database in the working directory."""
    monkeypatch.chdir(tmp_path)


def test_a_run_is_logged_once_and_its_model_scores_the_same(
    run_bank: RunBank, state: StateDirectory, finished: tuple[bytes, Any], tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run_is_there(run_bank, state, finished, uri)
    # Cut off while it was logged: what was begun is replaced.
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("fraudfed")
    assert experiment is not None
    (held,) = client.search_runs([experiment.experiment_id])
    client.set_terminated(held.info.run_id, status="FAILED")
    again = log_run(logged_run(state, "r1"), Tracking(uri))
    assert not again.again
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.run_id == again.mlflow_run_id


def run_is_there(
    run_bank: RunBank, state: StateDirectory, finished: tuple[bytes, Any], uri: str
) -> None:
    command = ("track", "--state", state.path, "r1", "--tracking-uri", uri, "--json")
    ended = run_bank(*command)
    assert ended.code == 0, ended.err + ended.out
    found = Tracked.model_validate_json(ended.out)
    assert Tracked.model_validate_json(run_bank(*command).out) == found.model_copy(
        update={"logged_before": True}
    )
    client = mlflow.MlflowClient(uri)
    run = client.get_run(found.mlflow_run_id)
    assert run.data.tags["fraudfed.run_id"] == "r1"
    assert run.data.params["eta"] == "0.3"
    history = client.get_metric_history(found.mlflow_run_id, "logloss")
    assert sorted((p.step, p.value) for p in history) == [(0, 0.5), (1, 0.25), (2, 0.5 / 3)]
    mlflow.set_tracking_uri(uri)
    try:
        booster = mlflow.xgboost.load_model(f"runs:/{found.mlflow_run_id}/model")
    finally:
        mlflow.set_tracking_uri(None)
    model, features = finished
    own = xgboost.Booster(model_file=bytearray(model))
    names, types = own.feature_names, own.feature_types
    rows = xgboost.DMatrix(
        features, feature_names=names, feature_types=types, enable_categorical=True
    )
    assert np.array_equal(booster.predict(rows), own.predict(rows))


def test_nothing_of_the_bank_alone_is_logged(state: StateDirectory) -> None:
    """Neither rows, nor how many, nor where they are, nor what the bank keeps to itself."""
    logged = repr(logged_run(state, "r1"))
    for secret in (str(ROWS), f"{ROWS:,}", str(state.path), state.config.aggregator):
        assert secret not in logged
    # It is in the record, so the search above could find it.
    assert str(ROWS) in (state.path / "runs" / "r1" / "record.json").read_text()


def test_what_cannot_be_logged_is_told(run_bank: RunBank, state: StateDirectory) -> None:
    def told(uri: str, run_id: str = "r1") -> tuple[int, str]:
        ended = run_bank("track", "--state", state.path, run_id, "--tracking-uri", uri)
        return ended.code, ended.err

    code, text = told("ftp://x")
    assert (code, "begins with 'ftp', expected one of http, https" in text) == (2, True)
    code, text = told(f"sqlite:///{state.path}/bank.toml/x.db")
    assert (code, "check the address" in text) == (6, True)
    code, text = told("http://ann:secret@127.0.0.1:9")
    assert code == 6
    assert "secret" not in text
    assert told("sqlite:///x.db", "r9")[0] == 5


def test_a_server_that_is_gone_fails_no_training(
    state: StateDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    from bank_node.commands.serving.track import track_or_warn

    track_or_warn(state, "r1", Tracking("http://127.0.0.1:9"))
    assert "bank-node track --state" in capsys.readouterr().err
    # Control: the same call does fail.
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):
        log_run(logged_run(state, "r1"), Tracking("http://127.0.0.1:9"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start MLflow's own server from a virtual environment of its own."""
    program = os.environ.get("FRAUDFED_MLFLOW", str(ROOT / "build" / "mlflow" / "bin" / "mlflow"))
    if shutil.which(program) is None:
        pytest.skip(f"no MLflow server at {program}: `make mlflow`, or set FRAUDFED_MLFLOW")
    root, port = tmp_path_factory.mktemp("mlflow"), 47_000 + os.getpid() % 2000
    process = subprocess.Popen(
        [
            program,
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
            "--backend-store-uri",
            f"sqlite:///{root}/db",
            "--artifacts-destination",
            str(root),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"{url}/health", trust_env=False).status_code == httpx.codes.OK:
                    break
            except httpx.TransportError:
                pass
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server never answered"
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait()


@pytest.mark.e2e
def test_a_real_server_has_it(
    run_bank: RunBank, state: StateDirectory, finished: tuple[bytes, Any], server: str
) -> None:
    run_is_there(run_bank, state, finished, server)
