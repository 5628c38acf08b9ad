"""Banks as real processes train over a real aggregator, and fail together."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_programs import run_program
from federations.bank_process import ENVIRONMENT, finish

from bank_node.data.contract import load_training_rows
from bank_node.state.directory import StateDirectory
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium.model_seal import open_model
from fraudfed.consortium.public.documents import verify_model_signature
from fraudfed.features.publication import features_file
from fraudfed.intake.windows import windows_by_share
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import ModelSignatures, ModelVisibility, RunState, parse

pytestmark = pytest.mark.e2e


@pytest.fixture
def files(tmp_path: Path, make_rows) -> list[Path]:
    """One file for each bank, of different sizes and formats."""
    paths = [tmp_path / "a.csv", tmp_path / "b.parquet", tmp_path / "c.csv"]
    for seed, path in enumerate(paths):
        rows = make_rows(seed, n_rows=40 + 30 * seed)
        if path.suffix == ".csv":
            rows.to_csv(path, index=False)
        else:
            rows.to_parquet(path)
    return paths


def wait_until_round(aggregator, run_id: str, number: int) -> None:
    deadline = time.monotonic() + 60
    while aggregator.status(run_id).round_number < number:
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.05)


def test_three_processes_end_with_the_model_of_the_pooled_table(
    make_banks, files, run_bank, contract, make_rows, tmp_path
) -> None:
    parameters = {"num_boost_round": 3, "max_depth": 2, "max_bin": 8, "early_stopping_rounds": 2}
    banks = make_banks(parameters=parameters)
    processes = [banks.train(name, path) for name, path in zip(banks.names, files, strict=True)]
    ended = [finish(process) for process in processes]
    assert [end.code for end in ended] == [0, 0, 0], [end.err for end in ended]
    assert [end.out for end in ended] == ["", "", ""], "--quiet prints nothing"

    status = banks.aggregator.status(banks.run_id)
    assert status.state is RunState.FINISHED
    runs = [banks.state(name) / "runs" / banks.run_id for name in banks.names]
    models = {(run / "model.json").read_bytes() for run in runs}
    assert len(models) == 1
    model = models.pop()
    published = {(run / "features.json").read_bytes() for run in runs}
    assert published == {features_file(contract)}
    assert hashlib.sha256(model).hexdigest() == status.model_sha256

    # The pooled rows on one machine give the same bytes.
    pooled = tmp_path / "pooled.parquet"
    pd.concat([make_rows(seed, n_rows=40 + 30 * seed) for seed in range(3)]).to_parquet(pooled)
    windows = windows_by_share(load_training_rows(pooled, contract).table, seed=0, select=True)
    params = BoosterParams.parse(parameters)
    solo = train(params, windows.train, SoloCommunicator(), validation=windows.validation)
    assert solo.model.to_json() == model

    records = [banks.record(name) for name in banks.names]
    for record in records:
        assert record["model_sha256"] == status.model_sha256
        assert record["key_bits"] == 2048
        assert record["whole_run"]["rounds"] == status.round_number
        assert record["result"]["history"] == records[0]["result"]["history"]
        assert {"logloss"} == set(record["result"]["history"][0]["metrics"])
        assert {"histogram", "encrypt", "sum", "open", "wait"} <= set(
            record["last_process"]["wall_seconds"]
        )
        assert record["key_epoch"] == banks.key_epoch.epoch
        assert record["trust"] == "first-use"
        protection = record["whole_run"]["protection"]
        assert protection["rounds"] == protection["rounds_verified"] == status.round_number
        assert protection["key_bits"] == 2048
        assert protection["masked_against_banks"] == 2
        assert [one["number"] for one in record["whole_run"]["round_records"]] == list(
            range(record["whole_run"]["rounds"])
        )
        assert all(one["tag_verified"] for one in record["whole_run"]["round_records"])
    assert sum(record["whole_run"]["ciphertexts"] for record in records) == status.ciphertexts
    assert sum(record["whole_run"]["bytes_sent"] for record in records) == status.bytes_received

    # JSON logs: one object per line, with run and round; one line for each tree.
    lines = [json.loads(line) for line in ended[0].err.splitlines()]
    assert {line["run"] for line in lines} >= {banks.run_id}
    trees = [line for line in lines if line["message"] == "tree finished"]
    assert [line["tree"] for line in trees] == list(range(len(records[0]["result"]["history"])))
    assert all(line["round"] > 0 for line in trees)

    # A finished run is not trained again.
    again = run_bank("train", "--state", banks.state(banks.names[0]), "--data", files[0])
    assert again.code == 0
    assert status.model_sha256 in again.out
    where = ("--state", banks.state(banks.names[0]), "--data", files[0])
    document = run_program("bank-node", "train", *where, "--json").answer("bank-node train")
    assert document == records[0]

    # Both logs agree, and the bank can say what left it.
    name = banks.names[1]
    where = ("--state", banks.state(name))
    checked = run_bank("audit", "verify", *where, "--against-aggregator")
    assert checked.code == 0, checked.err
    assert "agrees on 1 runs" in checked.out
    explained = run_bank("audit", "explain", *where, "--run", banks.run_id).out
    rounds = status.round_number
    assert f"  contribution: {rounds} requests" in explained
    assert f"  opening: {rounds} requests" in explained
    assert "  model: 1 requests" in explained
    assert f"of rounds 0 to {rounds - 1}, summing: " in explained
    shown = json.loads(run_bank("status", *where, "--json").out)
    assert shown["record"]["whole_run"]["protection"]["rounds_verified"] == rounds
    printed = " ".join(run_bank("status", *where).out.replace("│", " ").split())
    assert "2048-bit Paillier" in printed
    assert f"tag verified in {rounds} of {rounds} rounds" in printed
    # An entry cut off the end of the bank's log shows against the aggregator's.
    log = banks.state(name) / "audit.log"
    lines = log.read_bytes().splitlines(keepends=True)
    model_at = next(i for i, line in enumerate(lines) if b'"kind":"model"' in line)
    log.write_bytes(b"".join(lines[:model_at]))
    assert run_bank("audit", "verify", *where).code == 0
    differing = run_bank("audit", "verify", *where, "--against-aggregator")
    assert differing.code == 8
    assert "says that this bank sent a model" in differing.error()

    # Scores are xgboost's own, computed in another process that knows nothing of fraudfed.
    name = banks.names[0]
    out = tmp_path / "scores.csv"
    scored = run_bank("score", "--state", banks.state(name), "--data", files[0], "--out", out)
    assert scored.code == 0, scored.err
    script = """
import sys, numpy as np, pandas as pd, xgboost
rows = pd.read_csv(sys.argv[2])[["amount", "age", "channel"]]
rows["channel"] = pd.Categorical(rows["channel"], categories=["pos", "web"])
rows["channel"] = rows["channel"].cat.codes.astype(float)
booster = xgboost.Booster()
booster.load_model(sys.argv[1])
matrix = xgboost.DMatrix(rows.to_numpy(np.float32), feature_names=list(rows.columns),
                         feature_types=["q", "q", "c"], enable_categorical=True)
print(" ".join(map(str, booster.predict(matrix))))
"""
    model_file = banks.state(name) / "runs" / banks.run_id / "model.json"
    answer = subprocess.run(
        [sys.executable, "-c", script, str(model_file), str(files[0])],
        capture_output=True,
        text=True,
        check=True,
        env=ENVIRONMENT,
    )
    expected = np.array(answer.stdout.split(), dtype=np.float32)
    found = pd.read_csv(out)
    assert list(found.columns) == ["row", "score"]
    np.testing.assert_array_equal(found["score"].to_numpy(np.float32), expected)
    assert len(np.unique(expected)) > 1


def test_data_that_break_the_contract_stop_nobody_else(
    make_banks, files, make_rows, run_bank, tmp_path
) -> None:
    """Also in a run that has begun: that some row breaks it is the bank's own business."""
    banks = make_banks()
    rows = make_rows(7)
    rows["age"] = rows["age"].astype(float)
    rows.loc[3, "age"] = 123456789e40
    broken = tmp_path / "broken.csv"
    rows.to_csv(broken, index=False)
    where = ("--state", banks.state(banks.names[2]), "--run", banks.run_id)
    joined = run_bank("train", *where, "--data", files[2], "--cohort-timeout", "0.5")
    assert joined.code == 10
    others = [banks.train(*each) for each in list(zip(banks.names, files, strict=True))[:2]]
    deadline = time.monotonic() + 60
    while banks.aggregator.status(banks.run_id).state is RunState.OPEN:
        assert time.monotonic() < deadline, "the run does not start"
        time.sleep(0.05)
    ended = run_bank("train", *where, "--data", broken)
    assert ended.code == 3
    assert "row 4 (line 5), column 'age'" in ended.error()
    status = banks.aggregator.status(banks.run_id)
    assert (status.state, status.failure) == (RunState.TRAINING, None)
    others.append(banks.train(banks.names[2], files[2]))
    ended = [finish(process) for process in others]
    assert [end.code for end in ended] == [0, 0, 0], [end.err for end in ended]


def test_a_killed_bank_is_named_by_the_timeout_of_the_others(make_banks, files) -> None:
    """The timeout is each bank's own: it ends nothing for the others, who go on when it is back."""
    banks = make_banks(parameters={"num_boost_round": 12, "max_depth": 3, "max_bin": 8})
    processes = [
        banks.train(name, path, *options)
        for name, path, options in zip(
            banks.names, files, [(), ("--round-timeout", "3"), ()], strict=True
        )
    ]
    wait_until_round(banks.aggregator, banks.run_id, 3)
    processes[0].kill()
    assert finish(processes[0], 60).code == -signal.SIGKILL
    gave_up = finish(processes[1], 60)
    assert gave_up.code == 10
    assert "of all 3 banks were not complete after 3 s" in gave_up.error()
    status = banks.aggregator.status(banks.run_id)
    assert (status.state, status.failure) == (RunState.TRAINING, None)
    assert status.waits_for is not None
    assert banks.names[0] in status.waits_for.banks
    for place in (0, 1):
        processes[place] = banks.train(banks.names[place], files[place])
    ended = [finish(process) for process in processes]
    assert [end.code for end in ended] == [0, 0, 0], [end.err for end in ended]


def test_a_changed_run_description_is_refused(make_banks, files, run_bank) -> None:
    banks = make_banks()
    where = ("--state", banks.state(banks.names[0]), "--data", files[0])
    assert run_bank("check-data", *where, "--run", banks.run_id).code == 0
    path = banks.state(banks.names[0]) / "runs" / banks.run_id / "run.json"
    pinned = json.loads(path.read_text())
    pinned["spec"]["parameters"]["max_depth"] = 6
    path.write_text(json.dumps(pinned))
    ended = run_bank("train", *where)
    assert ended.code == 8
    assert "changed spec.parameters.max_depth" in ended.error()
    assert banks.aggregator.status(banks.run_id).members == ()


def test_two_processes_on_one_state_directory(make_banks, files, run_bank) -> None:
    banks = make_banks()
    banks.join(*banks.names[1:])
    first = banks.train(banks.names[0], files[0])
    deadline = time.monotonic() + 30
    while banks.aggregator.status(banks.run_id).ciphertexts == 0:
        assert time.monotonic() < deadline, "the bank contributes nothing"
        time.sleep(0.05)
    second = run_bank("train", "--state", banks.state(banks.names[0]), "--data", files[0])
    assert second.code == 5
    assert "another bank-node process" in second.error()
    # Neither the one that was refused nor the one that is stopped ends the run.
    assert banks.aggregator.status(banks.run_id).state is RunState.TRAINING
    first.send_signal(signal.SIGTERM)
    assert finish(first, 30).code == 143
    status = banks.aggregator.status(banks.run_id)
    assert (status.state, status.failure) == (RunState.TRAINING, None)


def test_a_bank_with_other_column_names_trains_and_scores_the_same(
    make_banks, files, tmp_path, run_bank, contract, make_rows
) -> None:
    source = tmp_path / "own"
    source.mkdir()
    mapping = source / "own.toml"
    mapping.write_text(
        'format_version = 1\nkind = "table"\n[columns]\n'
        'amount = { column = "V1" }\nlabel = { column = "Class" }\n'
    )
    named = pd.read_csv(files[2])
    renamed = source / "c.csv"
    named.rename(columns={"amount": "V1", "label": "Class"}).to_csv(renamed, index=False)
    banks = make_banks()
    processes = [
        banks.train(name, path) for name, path in zip(banks.names[:2], files, strict=False)
    ]
    processes.append(banks.train(banks.names[2], renamed, "--map", str(mapping)))
    ended = [finish(process) for process in processes]
    assert [end.code for end in ended] == [0, 0, 0], [end.err for end in ended]
    pooled = tmp_path / "pooled.parquet"
    pd.concat([make_rows(seed, n_rows=40 + 30 * seed) for seed in range(3)]).to_parquet(pooled)
    params = BoosterParams.parse({"num_boost_round": 2, "max_depth": 2, "max_bin": 8})
    solo = train(params, load_training_rows(pooled, contract).table, SoloCommunicator())
    state = StateDirectory(banks.state(banks.names[2]))
    assert state.model_path(banks.run_id).read_bytes() == solo.model.to_json()
    where = ("--state", state.path, "--run", banks.run_id)
    for number, options in enumerate((("--data", renamed, "--map", mapping), ("--data", files[2]))):
        out = source / f"{number}.csv"
        assert run_bank("score", *where, *options, "--out", out).code == 0
    assert (source / "0.csv").read_bytes() == (source / "1.csv").read_bytes()


def test_train_waits_for_the_cohort_and_gives_up_when_told(make_banks, files, run_bank) -> None:
    banks = make_banks()
    name, missing = banks.names[0], banks.names[1:]
    ended = run_bank(
        *("train", "--state", banks.state(name), "--data", files[0], "--cohort-timeout", "0.5")
    )
    assert ended.code == 10
    assert f"1 of 3 banks joined within 0.5 s, without {', '.join(missing)}" in ended.error()
    # The run is still open: the bank may come back.
    status = banks.aggregator.status(banks.run_id)
    assert (status.state, status.members) == (RunState.OPEN, (name,))


def test_a_model_for_members_is_sealed_in_the_registry(make_banks, files, key_package) -> None:
    banks = make_banks(model_visibility=ModelVisibility.MEMBERS)
    processes = [banks.train(name, path) for name, path in zip(banks.names, files, strict=True)]
    assert [finish(process).code for process in processes] == [0, 0, 0]
    status = banks.aggregator.status(banks.run_id)
    stored = banks.aggregator.operator("GET", f"/v1/runs/{banks.run_id}/model")
    assert hashlib.sha256(stored).hexdigest() == status.model_sha256
    state = StateDirectory(banks.state(banks.names[0]))
    model = state.model_path(banks.run_id).read_bytes()
    assert model not in stored
    assert b"learner" not in stored
    assert open_model(stored, holder=key_package, run_id=banks.run_id) == model
    record = banks.record(banks.names[0])
    assert record["model_sha256"] == hashlib.sha256(model).hexdigest() != status.model_sha256
    assert record["registry_sha256"] == status.model_sha256
    # Every bank's signature lies beside the model.
    text = (state.path / "runs" / banks.run_id / "signatures.json").read_text()
    signatures = parse(ModelSignatures, text, source="test")
    assert [one.bank for one in signatures.signatures] == banks.names
    for member, one in zip(banks.key_epoch.roster, signatures.signatures, strict=True):
        verify_model_signature(
            member.signing_key,
            one.signature,
            bank=member.name,
            run_id=banks.run_id,
            plain_sha256=record["model_sha256"],
        )
