"""The command line: each bad input is one line, its exit code, and an untouched state."""

import json
import socket
import stat
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost

from bank_node.retry import RetryPolicy
from bank_node.state import StateDirectory
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.wire.messages import PublicKeyMessage, RunState

NO_LOCK = ".lock"


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in a state directory but the lock, which holds nothing."""
    return {
        str(path.relative_to(root)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != NO_LOCK
    }


@pytest.fixture
def bank(tmp_path, run_bank, key_file) -> Path:
    """Initialise a bank with a name of its own."""
    state = tmp_path / "bank"
    name = f"bank-{uuid.uuid4().hex[:8]}"
    made = run_bank("init", "--state", state, "--name", name, "--key-package", key_file)
    assert made.code == 0, made.err
    assert name in made.out
    return state


@pytest.fixture
def joined(bank, run_bank, aggregator, make_spec, key_package) -> Path:
    """Make a bank that has joined an open run."""
    run_id = aggregator.create_run(make_spec(key_package))
    done = run_bank("join", "--state", bank, "--aggregator", aggregator.url, "--run", run_id)
    assert done.code == 0, done.err
    assert "1 of 3 banks are in" in done.out
    return bank


@pytest.fixture
def good_file(tmp_path, make_rows) -> Path:
    path = tmp_path / "good.csv"
    make_rows().to_csv(path, index=False)
    return path


def test_init_refuses_what_is_no_key_package(tmp_path, run_bank, key_file) -> None:
    state = tmp_path / "bank"
    (tmp_path / "text.key").write_text("hello")
    (tmp_path / "text.key").chmod(0o600)
    cut = tmp_path / "cut.key"
    cut.write_bytes(key_file.read_bytes()[:300])
    cut.chmod(0o600)
    shared = tmp_path / "shared.key"
    shared.write_bytes(key_file.read_bytes())
    shared.chmod(0o644)
    small = tmp_path / "small.key"
    KeyPackage.generate(256, insecure_allow_small_key=True).save(small)
    for path in (tmp_path / "none.key", tmp_path / "text.key", cut, shared, small):
        ended = run_bank("init", "--state", state, "--name", "a", "--key-package", path)
        assert ended.code == 4
        assert str(path) in ended.error()
        assert not state.exists()


def test_init_twice_and_in_a_foreign_directory(bank, tmp_path, run_bank, key_file) -> None:
    before = snapshot(bank)
    again = run_bank("init", "--state", bank, "--name", "b", "--key-package", key_file)
    assert again.code == 5
    assert "nothing was changed" in again.error()
    assert snapshot(bank) == before
    foreign = run_bank("init", "--state", tmp_path, "--name", "b", "--key-package", key_file)
    assert foreign.code == 5


@pytest.mark.parametrize(
    "arguments",
    [
        ["init", "--state", "x", "--name", "Not A Name", "--key-package", "KEY"],
        ["init", "--state", "x", "--key-package", "KEY"],
        ["train", "--state", "x", "--data", "y", "--min-cohort", "0"],
        ["train", "--state", "x", "--data", "y", "--round-timeout", "0"],
        ["--log-format", "xml", "status", "--state", "x"],
        ["unknown"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, run_bank, key_file) -> None:
    ended = run_bank(*[str(key_file) if part == "KEY" else part for part in arguments])
    assert ended.code == 2
    assert ended.error()


@pytest.mark.parametrize("command", ["train", "score", "check-data", "status", "join"])
def test_commands_on_what_is_no_state_directory(command, tmp_path, run_bank, good_file) -> None:
    options = {
        "train": ["--data", good_file],
        "check-data": ["--data", good_file],
        "score": ["--data", good_file, "--out", tmp_path / "o.csv"],
        "join": ["--aggregator", "http://127.0.0.1:9"],
        "status": [],
    }[command]
    for state in (tmp_path, tmp_path / "none"):
        ended = run_bank(command, "--state", state, *options)
        assert ended.code == 5
        assert str(state) in ended.error()


def test_commands_before_a_run_was_joined(bank, tmp_path, run_bank, good_file) -> None:
    before = snapshot(bank)
    for arguments in (
        ["train", "--data", good_file],
        ["check-data", "--data", good_file],
        ["score", "--data", good_file, "--out", tmp_path / "o.csv"],
    ):
        ended = run_bank(arguments[0], "--state", bank, *arguments[1:])
        assert ended.code == 5
        assert "bank-node join" in ended.error()
    assert snapshot(bank) == before


def test_join_without_an_aggregator(bank, run_bank, monkeypatch) -> None:
    monkeypatch.setattr("bank_node.client.RetryPolicy", lambda: RetryPolicy(patience_seconds=0.2))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    before = snapshot(bank)
    ended = run_bank("join", "--state", bank, "--aggregator", url)
    assert ended.code == 6
    assert ended.error().startswith(f"error: {url}: aggregator not reachable")
    assert snapshot(bank) == before


def test_join_refuses_plain_http_to_another_machine(bank, run_bank) -> None:
    before = snapshot(bank)
    ended = run_bank("join", "--state", bank, "--aggregator", "http://aggregator.example")
    assert ended.code == 2
    assert "use https" in ended.error()
    assert snapshot(bank) == before


@pytest.mark.e2e
def test_join_refuses_runs_that_break_the_banks_rules(
    bank, run_bank, aggregator, make_spec, key_package
) -> None:
    other_key = KeyPackage.generate(512, insecure_allow_small_key=True)
    other = PublicKeyMessage.model_validate(other_key.public_key.to_hex())
    cases = [
        ({"cohort_size": 2}, 10, "cohort of 2 banks"),
        ({"public_key": other}, 4, "wrong key"),
        ({"parameters": {"max_deep": 3}}, 2, "unknown parameter 'max_deep'"),
        ({"parameters": {"eta": -1}}, 2, "eta is -1"),
        ({"parameters": {"monotone_constraints": {"x": 1}}}, 2, "no feature 'x'"),
    ]
    registered = None
    for changes, code, message in cases:
        run_id = aggregator.create_run(make_spec(key_package, **changes))
        ended = run_bank("join", "--state", bank, "--aggregator", aggregator.url, "--run", run_id)
        assert ended.code == code
        assert message in ended.error()
        assert aggregator.status(run_id).members == ()
        # Registered once; nothing of the refused run stays.
        registered = registered or snapshot(bank)
        assert snapshot(bank) == registered
    run_id = aggregator.create_run(make_spec(key_package, cohort_size=2))
    ended = run_bank(
        *("join", "--state", bank, "--aggregator", aggregator.url, "--run", run_id),
        *("--min-cohort", "2"),
    )
    assert ended.code == 0
    assert aggregator.status(run_id).members == (StateDirectory(bank).config.name,)


@pytest.mark.e2e
def test_join_needs_a_run_that_exists_and_a_free_name(
    bank, tmp_path, run_bank, aggregator, key_file
) -> None:
    where = ("--state", bank, "--aggregator", aggregator.url)
    for run_id, code in (("no-such-run", 8), ("../../etc", 2)):
        ended = run_bank("join", *where, "--run", run_id)
        assert ended.code == code, ended.err
        assert run_id in ended.error()
    assert not (bank / "runs" / "no-such-run").exists()
    name = StateDirectory(bank).config.name
    twin = tmp_path / "twin"
    run_bank("init", "--state", twin, "--name", name, "--key-package", key_file)
    ended = run_bank("join", "--state", twin, "--aggregator", aggregator.url)
    assert ended.code == 8
    assert "--name" in ended.error()
    assert StateDirectory(twin).token() is None
    # Another aggregator would see this bank under a token that is not its own.
    moved = run_bank("join", "--state", bank, "--aggregator", "http://127.0.0.1:9")
    assert moved.code == 5


@pytest.mark.e2e
def test_a_crash_between_registration_and_bank_toml_loses_nothing(
    bank, run_bank, aggregator
) -> None:
    before = (bank / "bank.toml").read_bytes()
    where = ("--state", bank, "--aggregator", aggregator.url, "--run", "no-such-run")
    assert run_bank("join", *where).code == 8
    assert StateDirectory(bank).config.aggregator == aggregator.url
    (bank / "bank.toml").write_bytes(before)
    # The name is taken by now: only the token that was kept helps.
    assert "no-such-run" in run_bank("join", *where).error()
    assert StateDirectory(bank).config.aggregator == aggregator.url


@pytest.mark.e2e
def test_train_refuses_a_cohort_that_became_too_small_for_this_bank(
    joined, run_bank, good_file, aggregator
) -> None:
    ended = run_bank("train", "--state", joined, "--data", good_file, "--min-cohort", "4")
    assert ended.code == 10
    assert "cohort of 3 banks, this bank takes part from 4 on" in ended.error()
    run_id = StateDirectory(joined).config.run_id
    # An open run is left alone: this bank can be started again with other options.
    assert aggregator.status(run_id).state is RunState.OPEN


@pytest.mark.e2e
def test_train_with_a_token_the_aggregator_does_not_know(joined, run_bank, good_file) -> None:
    (joined / "token").write_text("wrong\n")
    ended = run_bank("train", "--state", joined, "--data", good_file)
    assert ended.code == 7
    assert "wrong" not in ended.err


@pytest.mark.e2e
def test_bad_files_leave_state_and_run_untouched(
    joined, tmp_path, run_bank, make_rows, aggregator
) -> None:
    (tmp_path / "empty.csv").touch()
    make_rows().drop(columns="age").to_csv(tmp_path / "column.csv", index=False)
    make_rows().assign(amount="x").to_csv(tmp_path / "type.csv", index=False)
    make_rows().assign(amount=np.inf).to_csv(tmp_path / "infinite.csv", index=False)
    make_rows().assign(label=3).to_csv(tmp_path / "label.csv", index=False)
    before = snapshot(joined)
    for name, message in {
        "none.csv": "no such file",
        "empty.csv": "the file is empty",
        "column.csv": "column 'age' (numeric feature) is missing",
        "type.csv": "row 1 (line 2), column 'amount': got 'x', expected a number",
        "infinite.csv": "row 1 (line 2), column 'amount': got inf",
        "label.csv": "row 1 (line 2), column 'label': got 3, expected 0 or 1",
    }.items():
        for command in ("check-data", "train"):
            ended = run_bank(command, "--state", joined, "--data", tmp_path / name)
            assert ended.code == 3, ended.err
            assert message in ended.error()
            assert str(tmp_path / name) in ended.error()
    assert snapshot(joined) == before
    status = aggregator.status(StateDirectory(joined).config.run_id)
    assert status.state is RunState.OPEN
    assert status.ciphertexts == 0


@pytest.mark.e2e
def test_check_data_prints_what_a_person_wants_to_know(
    joined, tmp_path, run_bank, make_rows
) -> None:
    rows = make_rows().assign(label=1)
    rows.to_parquet(tmp_path / "d.parquet")
    ended = run_bank("check-data", "--state", joined, "--data", tmp_path / "d.parquet")
    assert ended.code == 0
    words = " ".join(ended.out.replace("│", " ").replace("┃", " ").split())
    assert "rows for training 60" in words
    assert "prevalence 100.0000%" in words
    assert "amount 1 1.67%" in words
    assert "all 60 labels are 1" in words
    quiet = run_bank("--quiet", "check-data", "--state", joined, "--data", tmp_path / "d.parquet")
    assert quiet.out == ""


@pytest.mark.e2e
def test_status_with_and_without_the_aggregator(joined, run_bank, aggregator) -> None:
    ended = run_bank("status", "--state", joined, "--json")
    report = json.loads(ended.out)
    name = StateDirectory(joined).config.name
    assert report["name"] == name
    assert report["run"]["state"] == "open"
    assert report["run"]["members"] == [name]
    assert report["key"]["bits"] == 2048
    assert report["record"] is None
    token = StateDirectory(joined).token()
    assert token is not None
    assert token not in ended.out + ended.err
    assert name in run_bank("status", "--state", joined).out
    state = StateDirectory(joined)
    state.save_config(state.config.model_copy(update={"aggregator": "http://127.0.0.1:9"}))
    ended = run_bank("status", "--state", joined, "--json")
    assert ended.code == 0
    assert "not reachable" in json.loads(ended.out)["run"]["error"]


@pytest.fixture
def model_file(tmp_path, make_rows) -> Path:
    """Train a model of xgboost's own over the contract's features."""
    rows = make_rows(n_rows=300)
    features = rows[["amount", "age"]].assign(channel=rows["channel"] == "web")
    matrix = xgboost.DMatrix(
        features.to_numpy(np.float32),
        label=rows["label"],
        feature_names=list(features.columns),
        feature_types=["q", "q", "c"],
        enable_categorical=True,
    )
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3}, matrix, 5)
    path = tmp_path / "model.json"
    booster.save_model(path)
    np.save(tmp_path / "expected.npy", booster.predict(matrix))
    return path


@pytest.mark.e2e
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_scores_are_xgboosts(joined, tmp_path, run_bank, make_rows, model_file, suffix) -> None:
    rows = make_rows(n_rows=300).drop(columns="label")
    rows.insert(0, "transaction_id", [f"t{i:03}" for i in range(300)])
    rows.to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / f"scores{suffix}"
    ended = run_bank(
        *("score", "--state", joined, "--data", tmp_path / "new.csv", "--out", out),
        *("--model", model_file),
    )
    assert ended.code == 0, ended.err
    assert "300 scores" in ended.out
    found = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    assert list(found["transaction_id"]) == list(rows["transaction_id"])
    scores = found["score"].to_numpy(np.float32)
    np.testing.assert_array_equal(scores, np.load(tmp_path / "expected.npy"))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.e2e
def test_scoring_that_cannot_be(joined, tmp_path, run_bank, good_file, model_file) -> None:
    where = ("--state", joined, "--data", good_file)
    (tmp_path / "bad.json").write_text("{}")
    booster = xgboost.Booster(model_file=model_file)
    booster.feature_names = ["amount", "age", "other"]
    booster.save_model(tmp_path / "other.json")
    out = tmp_path / "out.csv"
    cases = [
        (["--out", out], 5, "train first"),
        (["--out", out, "--model", tmp_path / "none.json"], 5, "no such model"),
        (["--out", out, "--model", tmp_path / "bad.json"], 5, "cannot load the model"),
        (["--out", out, "--model", tmp_path / "other.json"], 5, "they differ in channel, other"),
        (["--out", tmp_path / "no" / "o.csv", "--model", model_file], 5, "cannot be written"),
        (["--out", tmp_path, "--model", model_file], 2, "expected .csv or .parquet"),
        (["--out", tmp_path / "o.txt", "--model", model_file], 2, "expected .csv or .parquet"),
    ]
    for options, code, message in cases:
        ended = run_bank("score", *where, *options)
        assert ended.code == code, ended.err
        assert message in ended.error()
    assert not out.exists()


@pytest.mark.e2e
def test_scores_into_a_directory_that_is_not_writable(
    joined, run_bank, good_file, model_file
) -> None:
    # Not even root creates files there.
    ended = run_bank(
        *("score", "--state", joined, "--data", good_file, "--out", "/proc/scores.csv"),
        *("--model", model_file),
    )
    assert ended.code == 5
    assert "/proc/scores.csv: cannot be written" in ended.error()
