"""``fraudfed demo`` as a user types it: what it writes, and what it says to bad input."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from federations.commands import run_in_process
from judging.governed import with_another

from fraudfed.catalogue.plans import SearchPlan
from fraudfed.cli import main
from fraudfed.features import contract_features
from fraudfed.lab.demo import plan
from fraudfed.lab.demo.bank_names import names_of
from fraudfed.lab.governance.documents import build
from fraudfed.lab.governance.records import Records
from fraudfed.lab.oracle.same_trees import installed_rules
from fraudfed.lab.report.compare import MODELS
from fraudfed.wire.messages.kinds.search import SearchCandidate, SearchRung, SearchSpec

BIN = Path(sys.executable).parent
#: XGBoost's own parameters: a leaf of the preset `fraud` needs more rows than tests have.
QUICK = (
    *("--parameters", "parity", "--trees", "2", "--max-depth", "2", "--max-bin", "8"),
    *("--key-bits", "2048"),
)


#: As a plan that finds something in a tiny world with few trees.
TINY = SearchPlan(
    name="demo",
    purpose="",
    common={"eta": 0.3, "max_bin": 8, "subsample": 0.8, "max_delta_step": 4},
    spec=SearchSpec(
        candidates=(
            SearchCandidate(name="deep", parameters={"max_depth": 3}, min_child_share=0.0),
            SearchCandidate(name="flat", parameters={"max_depth": 1}, min_child_share=0.3),
        ),
        rungs=(SearchRung(trees=2, alive=2), SearchRung(trees=4, alive=1)),
        keep_each_share=False,
    ),
    monotone="flat",
)


def demo(*arguments: str | Path, seconds: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "fraudfed"), "demo", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def refused(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a demo that is refused, in this process."""
    return run_in_process(main, "fraudfed", "demo", *map(str, arguments))


def run_readme(folder: Path) -> np.ndarray:
    """Run the README's Python in a folder that a demo has written to; return its scores."""
    text = (Path(__file__).parents[2] / "README.md").read_text()
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S))
    save = "\nimport numpy\nnumpy.save('scores.npy', scores)\n"
    subprocess.run([sys.executable, "-c", code + save], cwd=folder, check=True)
    return np.load(folder / "scores.npy")


def rows(n_rows: int = 900) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    amount = rng.lognormal(3, 1, n_rows)
    kind = rng.choice(["a", "b", "c"], n_rows)
    risk = -3 + 0.02 * amount + 2.0 * (kind == "b")
    fraud = (rng.random(n_rows) < 1 / (1 + np.exp(-risk))).astype(int)
    amount[rng.random(n_rows) < 0.1] = np.nan
    branch = rng.choice(["North", "Юг", "East Side"], n_rows, p=[0.5, 0.3, 0.2])
    return pd.DataFrame(
        {
            "amount": amount,
            "kind": kind,
            "noise, dB": rng.normal(size=n_rows),
            "branch": branch,
            "fraud": fraud,
        }
    )


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    rows().to_csv(path, index=False)
    return path


@pytest.mark.e2e
def test_a_plain_table_end_to_end(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = demo(
        *("--table", table, "--label", "fraud", "--drop", '"noise, dB"'),
        *("--bank-column", "branch", "--out", out, *QUICK),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    banks = {bank["name"]: bank["title"] for bank in summary["banks"]}
    assert list(banks.values()) == ["Юг", "East Side", "North"]
    assert list(banks) == [names_of(["Юг"])["Юг"], "east-side", "north"]
    for bank in summary["banks"]:
        assert bank["rows_train"] > bank["rows_test"] > 0
        assert 0 < bank["prevalence"] < 1
        for model in ("local", "federated", "pooled"):
            assert set(bank[model]) == {"auprc", "auc", "recall_at_1pct_fpr", "auprc_interval"}
            assert bank[model]["auprc_interval"]["lower"] < bank[model]["auprc"]
            assert bank[model]["auc"] > 0.5
    assert sum(b["rows_train"] + b["rows_test"] for b in summary["banks"]) == 900
    assert summary["key_bits"] == 2048
    assert summary["trees"] == 2
    assert summary["identical_trees_on_same_bins"] == 2
    assert summary["parameters"]["xgboost_version"] == installed_rules()
    # One fixed set: what was given, and for the rest XGBoost's defaults.
    assert summary["parameters"] == {
        "xgboost_version": installed_rules(),
        "num_boost_round": 2,
        "max_depth": 2,
        "max_bin": 8,
    }
    assert summary["search"] is None
    assert all(one["candidate"] is None for one in summary["chosen"].values())
    # There are no times, and the demo says so.
    assert "no times" in summary["split"]
    assert "no times" in (out / "report.html").read_text()
    assert summary["windows"]["judge"]["first_day"] is None
    assert summary["windows"]["train"]["rows"] + summary["windows"]["judge"]["rows"] == 900
    assert summary["rounds"] > 2
    assert summary["ciphertexts"] > 0
    assert summary["bytes_sent"] > summary["ciphertexts"] * 512
    assert {"histogram", "encrypt", "sum", "open", "wait", "total"} <= set(summary["wall_seconds"])
    assert len(summary["model_sha256"]) == 64
    assert summary["features"] == 2

    booster = xgboost.Booster(model_file=out / "model.json")
    assert booster.num_boosted_rounds() == 2
    assert booster.feature_names == ["amount", "kind"]
    page = (out / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert "Юг" in page
    for printed in ("North", "Юг", "mean", "2 of 2 trees", "report.html"):
        assert printed in done.stdout

    # The same rows and seed once more, over what is there: the same model.
    before = (out / "model.json").read_bytes()
    again = demo(
        *("--table", table, "--label", "fraud", "--drop", "noise, dB"),
        *("--bank-column", "branch", "--out", out, "--quiet", *QUICK),
    )
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    assert (out / "model.json").read_bytes() == before


@pytest.mark.e2e
def test_a_generated_world_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "world"
    subprocess.run(
        [
            *(str(BIN / "data-gen"), "generate", "--quiet", "--out", str(data)),
            *("--banks", "3", "--customers", "300", "--days", "100", "--fraud-rate", "0.02"),
        ],
        check=True,
    )
    monkeypatch.setattr(plan, "DEMO_PLAN", TINY)
    done = refused("--data", data, "--out", tmp_path / "out", "--key-bits", "2048")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(summary["banks"]) == 3
    check_search(summary, data)
    for bank in summary["banks"]:
        assert bank["rows_test"] > 0
        assert set(MODELS) <= set(bank)
    risk = summary["shared_risk"]
    assert risk["days"] == 100
    assert risk["ciphertexts"] > 0
    assert risk["bytes_sent"] > risk["ciphertexts"] * 512
    assert summary["features"] == len(contract_features(shared=True))
    for printed in ("own", "+ risk", "shared risk of 100 days"):
        assert printed in done.stdout

    # What a bank's node wrote for its own model is what its model was trained on.
    state = tmp_path / "out" / "work" / "banks" / "bank_a"
    check_governance(state, summary, tmp_path / "governance")
    exported = pd.read_parquet(state / "features.parquet")
    assert list(exported.columns) == [
        *("transaction_id", "event_time", "label_time", "is_fraud"),
        *(spec.name for spec in contract_features(shared=True)),
    ]
    assert exported["shared_merchant_count_30d"].max() > 0
    booster = xgboost.Booster(model_file=tmp_path / "out" / "model.json")
    assert booster.feature_names == list(exported.columns[4:])

    # The README's way to score gives what the bank's node gave; so does a frame of pandas that
    # has met only some of the categories, in an order of its own.
    (tmp_path / "fraudfed-demo").symlink_to(tmp_path / "out")
    found = run_readme(tmp_path)
    own = pd.read_parquet(state / "scores.parquet")["score"].to_numpy()
    # Margins are the same bits everywhere; the last bit of XGBoost's sigmoid is the C library's,
    # which has another expf for another processor.
    np.testing.assert_array_max_ulp(found, own, maxulp=1)
    some = exported[exported["channel"].isin(["transfer", "atm"])].iloc[::-1]
    frame = some[booster.feature_names].copy()
    for name in ("channel", "merchant_category"):
        met = frame[name].dropna().unique()
        frame[name] = pd.Categorical(frame[name].astype(object), categories=met)
    again = booster.predict(xgboost.DMatrix(frame, enable_categorical=True))
    np.testing.assert_array_equal(again, found[some.index])


def check_governance(state: Path, summary: dict[str, Any], out: Path) -> None:
    """Hold the folder of the demo's run to its records: another figure is another document."""
    records = sorted(state.glob("runs/*/record.json"))
    results = {path: json.loads(path.read_text())["result"]["kind"] for path in records}
    trained = [path for path, kind in results.items() if kind == "search"]
    assert trained
    run = trained[-1].parent.name
    where = (run, "--state", str(state))
    done = run_in_process(main, "fraudfed", "governance", "build", *where, "--out", str(out))
    assert done.returncode == 0, done.stderr
    read = Records.read(state, run)
    files = build(read)
    figures = json.loads(files["figures.json"])["documents"]
    assert sum(len(document["figures"]) for document in figures.values()) > 60
    for name, document in figures.items():
        for figure in document["figures"]:
            other = build(with_another(read, figure["file"], figure["pointer"]))
            assert other[name] != files[name], (name, figure["pointer"])
    # One figure of the folder, and one of the record, that is another ends the check.
    check = ("governance", "check", run, str(out), "--state", str(state))
    assert run_in_process(main, "fraudfed", *check).returncode == 0
    card = out / "model-card.md"
    right = card.read_text()
    card.write_text(right.replace(f"| {summary['trees']} [", f"| {summary['trees'] + 1} [", 1))
    assert card.read_text() != right
    assert run_in_process(main, "fraudfed", *check).returncode == 5
    card.write_text(right)
    record = state / "runs" / run / "record.json"
    kept = record.read_text()
    record.write_text(kept.replace('"rounds_verified": ', '"rounds_verified": 1'))
    assert record.read_text() != kept
    assert run_in_process(main, "fraudfed", *check).returncode == 5
    record.write_text(kept)


def check_search(summary: dict[str, Any], data: Path) -> None:
    """All models were chosen by one plan on windows in time, and nothing is lost."""
    manifest = json.loads((data / "manifest.json").read_text())
    assert summary["search"]["candidates"] == 2
    assert summary["search"]["rungs"] == [[2, 2], [4, 1]]
    assert "One search of the federation serves two models" in summary["search"]["note"]
    chosen = summary["chosen"]
    assert set(chosen) == {"federated", "federated_shared", "pooled"}
    assert (
        chosen["federated"]["parameters"].items()
        >= {
            name: value
            for name, value in chosen["federated_shared"]["parameters"].items()
            if name != "monotone_constraints"
        }.items()
    )
    assert chosen["federated"]["trees"] == chosen["federated_shared"]["trees"] == summary["trees"]
    for bank in summary["banks"]:
        assert set(bank["chosen"]) <= {"local", "local_shared"}
    assert summary["identical_trees_on_same_bins"] == summary["trees"]
    assert "byte for byte" in summary["verification"]
    # Each window ends with its cut-off, a horizon before it.
    horizon = timedelta(days=summary["label_horizon_days"])
    train, select, judge = (summary["windows"][name] for name in ("train", "select", "judge"))
    for window in (train, select, judge):
        last, known = (date.fromisoformat(window[name]) for name in ("last_day", "labels_as_of"))
        assert last < known - horizon + timedelta(days=1)
        assert window["frauds"] > 0
    assert select["first_day"] >= train["labels_as_of"]
    split = datetime.fromtimestamp(manifest["split_time"], UTC).date().isoformat()
    assert split == select["labels_as_of"] <= judge["first_day"]


@pytest.mark.e2e
def test_credit_applications_end_to_end(tmp_path: Path) -> None:
    data, out = tmp_path / "credit", tmp_path / "out"
    subprocess.run(
        [
            *(str(BIN / "data-gen"), "generate", "--quiet", "--preset", "credit"),
            *("--banks", "3", "--customers", "2000", "--out", str(data)),
        ],
        check=True,
    )
    done = demo("--data", data, "--out", out, *QUICK)
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["identical_trees_on_same_bins"] == 2
    assert summary["shared_risk"] is None
    assert set(summary["mean"]) == {"local", "federated", "pooled"}
    manifest = json.loads((data / "manifest.json").read_text())
    booster = xgboost.Booster(model_file=out / "model.json")
    assert not set(booster.feature_names or ()) & set(manifest["not_features"])
    # A test row is later than every label that was trained on.
    applications = pd.read_parquet(data / "bank_a" / "applications.parquet")
    first = summary["banks"][0]
    assert first["rows_train"] == (applications["label_time"] <= manifest["split_time"]).sum()
    assert first["rows_test"] == (applications["application_time"] >= manifest["split_time"]).sum()


def test_a_preset_that_does_not_exist(tmp_path: Path) -> None:
    done = refused("--preset", "nonsense", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert re.search(r"error: data-gen: .*'nonsense'.*small", done.stderr)


def payments(n_customers: int = 60, n_days: int = 80) -> pd.DataFrame:
    """Card payments under the Fraud Detection Handbook's names; some terminals are compromised."""
    rng = np.random.default_rng(4)
    n_rows = n_customers * n_days // 2
    second = np.sort(rng.integers(0, n_days * 86_400, n_rows))
    terminal = rng.integers(0, 25, n_rows)
    # A terminal is compromised for twenty days out of eighty, one after the other.
    fraud = (terminal * 7 + second // 86_400) % 80 < 20
    fraud &= rng.random(n_rows) < 0.4
    return pd.DataFrame(
        {
            "TRANSACTION_ID": np.arange(n_rows),
            "TX_DATETIME": pd.Timestamp("2024-02-01") + pd.to_timedelta(second, unit="s"),
            "CUSTOMER_ID": rng.integers(0, n_customers, n_rows),
            "TERMINAL_ID": terminal,
            "TX_AMOUNT": np.round(rng.gamma(2.0, 20.0, n_rows), 2),
            "TX_TIME_SECONDS": second,
            "TX_TIME_DAYS": second // 86_400,
            "TX_FRAUD": fraud.astype(int),
            "TX_FRAUD_SCENARIO": 2 * fraud,
        }
    )


@pytest.mark.e2e
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_other_peoples_transactions_end_to_end(suffix: str, tmp_path: Path) -> None:
    file, out = tmp_path / f"payments.{suffix}", tmp_path / "out"
    rows_of_file = payments()
    if suffix == "csv":
        rows_of_file.to_csv(file, index=False)
    else:
        rows_of_file.to_parquet(file)
    done = demo(
        *("--transactions", file, "--map", "handbook", "--banks", "3", "--seed", "5"),
        *("--out", out, *QUICK),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert [bank["name"] for bank in summary["banks"]] == ["bank_01", "bank_02", "bank_03"]
    assert summary["transactions"] == len(rows_of_file)
    assert summary["shared_risk"]["days"] == 80
    # Each customer is at one bank, and what the banks' nodes read is what the file says.
    files = [out / "work" / "data" / f"bank_0{i}" / "transactions.parquet" for i in (1, 2, 3)]
    parts = [pd.read_parquet(part) for part in files]
    owners = pd.concat([part.assign(bank=i) for i, part in enumerate(parts)])
    assert not owners[["customer_id", "bank"]].drop_duplicates()["customer_id"].duplicated().any()
    assert owners["amount_minor"].sum() == round(100 * rows_of_file["TX_AMOUNT"].sum())
    assert owners["is_fraud"].sum() == rows_of_file["TX_FRAUD"].sum()
    # Half of all test rows are of terminals whose frauds only the others have seen.
    assert summary["mean"]["local_shared"]["auc"] > summary["mean"]["local"]["auc"]


@pytest.mark.parametrize(
    ("change", "options", "code", "said"),
    [
        (lambda f: f, [], 3, r"column 'transaction_id' \(.*\) is missing.*--map"),
        (lambda f: f, ["--map", "sparkov"], 3, "is missing.*--map"),
        (lambda f: f, ["--map", "nothing.toml"], 2, r"nothing\.toml: no such file"),
        (
            lambda f: f,
            ["--map", "handbook", "--bank-column", "BANK"],
            3,
            r"column 'BANK' \(--bank-column\) is missing",
        ),
        (lambda f: f, ["--map", "handbook", "--banks", "2"], 10, "expected at least 3"),
        (lambda f: f.assign(TX_FRAUD=7), ["--map", "handbook"], 3, "TX_FRAUD"),
        (lambda f: f.assign(TX_AMOUNT=-1.0), ["--map", "handbook"], 3, "TX_AMOUNT"),
        (lambda f: f.assign(TX_FRAUD=1), ["--map", "handbook"], 3, "no row is clean"),
    ],
)
def test_bad_transactions_are_one_line_and_its_exit_code(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    options: list[str],
    code: int,
    said: str,
    tmp_path: Path,
) -> None:
    file = tmp_path / "payments.parquet"
    change(payments(20, 20)).to_parquet(file)
    done = refused("--transactions", file, "--out", tmp_path / "out", *QUICK, *options)
    assert done.returncode == code, done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert re.search(said, error)
    assert not (tmp_path / "out" / "summary.json").exists()


def spoiled(change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        frame = rows(60)
        changed = change(frame)
        path = folder / "bad.csv"
        (frame if changed is None else changed).to_csv(path, index=False)
        return path

    return write


def raw(text: bytes, name: str = "bad.csv") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(text)
        return folder / name

    return write


@pytest.mark.parametrize(
    ("make", "options", "code", "said"),
    [
        (lambda d: d / "none.csv", [], 3, r"none\.csv: no such file"),
        (raw(b""), [], 3, r"bad\.csv: the file is empty"),
        (raw(b"fraud,x\n"), [], 3, "has a header and no rows"),
        (raw(b"junk", "bad.parquet"), [], 3, "cannot be read as Parquet"),
        (spoiled(lambda f: f.drop(columns="fraud")), [], 3, "'fraud', which is missing"),
        (spoiled(lambda f: f), ["--drop", "nothing"], 3, "'nothing', which is missing"),
        (spoiled(lambda f: f), ["--drop", "nois, dB"], 3, "'nois', which is missing"),
        (spoiled(lambda f: f), ["--drop", '"nois, dB"'], 3, "did you mean 'noise, dB'"),
        (spoiled(lambda f: f), ["--drop", 'kind,"noise, dB'], 2, "quotes do not match"),
        (spoiled(lambda f: f), ["--drop", "fraud"], 2, "--drop names the label 'fraud'"),
        (
            spoiled(lambda f: f.assign(branch=f["branch"].where(f.index > 4))),
            ["--bank-column", "branch"],
            3,
            r"column 'branch': row 1 names no bank \(4 more rows\), expected one in each row",
        ),
        (
            spoiled(lambda f: f.assign(branch=f["branch"].where(f.index > 4, "North "))),
            ["--bank-column", "branch"],
            3,
            "column 'branch': 'North', 'North ' look alike: they differ only by blanks",
        ),
        (spoiled(lambda f: f.rename(columns={"kind": "kind [1]"})), [], 3, "XGBoost"),
        (spoiled(lambda f: f), ["--bank-column", "nobody"], 3, "'nobody', which is missing"),
        (
            spoiled(lambda f: f.assign(fraud=2)),
            [],
            3,
            r"row 1 \(line 2\), column 'fraud': got 2, expected 0 or 1",
        ),
        (spoiled(lambda f: f.assign(fraud="yes")), [], 3, "got 'yes', expected 0 or 1"),
        (spoiled(lambda f: f.assign(fraud=0)), [], 3, "rows of both classes"),
        (spoiled(lambda f: f.assign(amount=np.inf)), [], 3, "'amount'.*inf"),
        (spoiled(lambda f: f.assign(branch="one")), ["--bank-column", "branch"], 10, "1 banks"),
        (spoiled(lambda f: f), ["--banks", "2"], 10, "--banks 2: expected at least 3"),
        (spoiled(lambda f: f), ["--max-depth", "-1"], 2, "max_depth"),
        (spoiled(lambda f: f), ["--param", "max_dept=3"], 2, "max_depth"),
        (spoiled(lambda f: f), ["--param", "gamma"], 2, "expected NAME=VALUE"),
        (
            spoiled(lambda f: f),
            ["--param", "gamma=1", "--param", "gamma=2"],
            2,
            "gamma was given before",
        ),
        (spoiled(lambda f: f), ["--key-bits", "1024"], 2, "2048"),
        (spoiled(lambda f: f), ["--key-bits", "2049"], 2, "2049 is odd"),
        (spoiled(lambda f: f), ["--seed", "-1"], 2, "--seed"),
        (spoiled(lambda f: f), ["--max-bin", "300"], 2, r"max_bin is 300.*\[2, 256\]"),
        (spoiled(lambda f: f), ["--param", "gamma=1", "--param", "gamma=2"], 2, "given before"),
        (
            spoiled(lambda f: rows(600)),
            ["--param", 'monotone_constraints={"amuont": 1}'],
            2,
            "no feature 'amuont'; did you mean 'amount'",
        ),
        (spoiled(lambda f: f.assign(**{"e\u0301": 1, "\u00e9": 1})), [], 3, "look the same"),
        (spoiled(lambda f: f), ["--nonsense"], 2, "--nonsense"),
    ],
)
def test_bad_input_is_one_line_and_its_exit_code(
    make: Callable[[Path], Path], options: list[str], code: int, said: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = refused("--table", make(tmp_path), "--label", "fraud", "--out", out, *QUICK, *options)
    assert done.returncode == code, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert re.search(said, errors[0])
    assert "Traceback" not in done.stderr
    assert not any((out / name).exists() for name in ("summary.json", "report.html", "model.json"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--label", "fraud"], "belong to --table"),
        (["--map", "handbook"], "belongs to --transactions or --table"),
        (["--map", "baf", "--transactions", "x.csv"], "expected one of transactions; give the"),
        (["--map", "sparkov", "--table", "x.csv"], "give the file with --transactions"),
        (["--map", "pacs008", "--transactions", "x.xml"], "use `bank-node check-data`"),
        (["--bank-column", "bank"], "belongs to --table or --transactions"),
        (["--transactions", "x.csv", "--data", "d"], "exclude each other"),
        (["--table", "x.csv"], "--table needs --label"),
        (["--table", "x.csv", "--label", "y", "--data", "d"], "exclude each other"),
        (["--plan", "quick", "--trees", "9"], "--plan quick searches for parameters, --trees sets"),
        (["--plan", "demo", "--parameters", "parity"], "--parameters sets one; leave one"),
        (["--table", "x.csv", "--label", "y", "--label-horizon-days", "9"], "have no times"),
    ],
)
def test_options_that_contradict_each_other(options: list[str], said: str, tmp_path: Path) -> None:
    done = refused(*options, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--preset", "nowhere"], 2), (["--table", "none.csv", "--label", "y"], 3)],
)
def test_what_an_earlier_demo_found_outlives_a_wrong_option(
    options: list[str], code: int, tmp_path: Path
) -> None:
    (tmp_path / ".fraudfed-demo").touch()
    files = [tmp_path / name for name in ("summary.json", "report.html", "model.json")]
    for file in files:
        file.write_text("of yesterday")
    done = refused(*options, "--out", tmp_path)
    assert done.returncode == code, done.stderr
    assert [file.read_text() for file in files] == ["of yesterday"] * 3


def test_a_folder_that_is_no_world(tmp_path: Path) -> None:
    done = refused("--data", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 3
    assert "manifest.json is missing" in done.stderr


def test_a_directory_of_somebody_else_is_not_touched(table: Path, tmp_path: Path) -> None:
    mine = tmp_path / "summary.json"
    mine.write_text("mine")
    done = refused("--table", table, "--label", "fraud", "--out", tmp_path)
    assert done.returncode == 5
    assert "was not written by a demo" in done.stderr
    assert mine.read_text() == "mine"


def test_an_output_that_cannot_be_written(table: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = refused("--table", table, "--label", "fraud", "--out", blocked / "out")
    assert done.returncode == 5
    assert "cannot be written" in done.stderr


@pytest.mark.e2e
def test_a_port_in_use(table: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = demo(
            *("--table", table, "--label", "fraud", "--out", tmp_path / "out"),
            *("--port", str(port), *QUICK),
        )
    assert done.returncode == 2
    assert re.search(rf"error: aggregator: .*{port}.*in use", done.stderr)
