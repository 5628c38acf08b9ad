"""Own columns, currencies and populations in banks' files: checked to the cell, and trained on."""

import json
import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cohorts.exact import run_cohort
from oracles.contract_terms import CURRENCY, TERMS, with_contract_terms
from oracles.features import DAY, random_table

from bank_node.approval.digest import approval_hash
from bank_node.approval.training import training_facts, weigh_training
from bank_node.approval_rules import ApprovalRules
from bank_node.checking.check import Where, check_rows
from bank_node.checking.report import CheckedData, show_checked
from bank_node.commands.runs import _training_tables
from bank_node.data.contract import (
    load_features,
    load_scoring_rows,
    load_training_rows,
)
from bank_node.serving.feature_export import export_features
from bank_node.state.pinned_run import PinnedRun
from fraudfed.boosting.train import train
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.catalogue.run_check import check_contract
from fraudfed.communicator import SoloCommunicator
from fraudfed.console import stdout_console
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features.mappings.mapping import parse_mapping
from fraudfed.features.publication import features_file
from fraudfed.parameters import BoosterParams
from fraudfed.payments.currencies import EXPONENTS
from fraudfed.reading.problems import ProblemsError
from fraudfed.wire.messages import (
    Currency,
    DataContract,
    FeatureSpec,
    LabelHorizon,
    Population,
    PublicKeyMessage,
    RunSpec,
)

PARAMS = BoosterParams.parse({"num_boost_round": 4, "max_depth": 3, "max_bin": 16})
ENTITIES = ("transaction_id", "customer_id", "merchant_id", "terminal_id", "payee_id", "device_id")
#: In memory.
HERE = Where(8 << 30)
DELAYED = TERMS.model_copy(update={"label_horizon_days": LabelHorizon(days=7)})
#: A bank with names and codes of its own.
MAPPING = """
format_version = 1
kind = "transactions"

[columns]
transaction_id = { column = "transaction_id" }
event_time = { column = "event_time", time_unit = "seconds" }
label_time = { column = "label_time", time_unit = "seconds" }
customer_id = { column = "customer_id" }
merchant_id = { column = "merchant_id" }
terminal_id = { column = "terminal_id" }
payee_id = { column = "payee_id" }
device_id = { column = "device_id" }
channel = { column = "channel" }
merchant_category = { column = "mcc" }
latitude = { column = "latitude" }
longitude = { column = "longitude" }
is_fraud = { column = "is_fraud" }
amount_minor = { column = "amount", minor_units = "by currency" }
currency = { column = "ccy" }

[own_columns]
balance = { column = "Saldo" }
entry_mode = { column = "pem", values = { 05 = "chip", 07 = "contactless" }, default = "magstripe" }
"""


def payments(bank: int) -> pd.DataFrame:
    """Return payments of one bank, of which those by magnetic stripe are fraud more often."""
    rng = np.random.default_rng(bank)
    frame = with_contract_terms(random_table(rng, 200, days=60), rng)
    for name in ENTITIES:
        frame[name] = f"bank{bank}-" + frame[name]
    stripe = frame["entry_mode"] == "magstripe"
    frame["is_fraud"] = (stripe & (rng.random(200) < 0.7)).astype(int)
    frame["label_time"] = frame["event_time"] + DAY
    return frame


def in_pounds(row: Any) -> int:
    days = CURRENCY.rates.get(row.currency, {"1970-01-01": "1"})
    day = pd.Timestamp(row.event_time, unit="s").strftime("%Y-%m-%d")
    rate = Fraction(days[max(first for first in days if first <= day)])
    pounds = Fraction(row.amount_minor, 10 ** EXPONENTS[row.currency]) * rate
    return int(pounds * 100 + Fraction(1, 2))


def files(tmp_path: Path) -> tuple[list[Path], Path]:
    """Write three banks' files, each in its own way, and one of all rows in pounds."""
    frames = [payments(bank) for bank in range(3)]
    # The first bank knows pounds only and does not say so.
    frames[0]["currency"] = "GBP"
    together = pd.concat(frames, ignore_index=True)
    together["amount_minor"] = [in_pounds(row) for row in together.itertuples()]
    together.drop(columns="currency").to_parquet(tmp_path / "all.parquet")
    frames[0].drop(columns="currency").to_csv(tmp_path / "0.csv", index=False)
    frames[1].to_parquet(tmp_path / "1.parquet")
    exponents = frames[2]["currency"].map(EXPONENTS)
    abroad = frames[2].assign(
        amount=frames[2]["amount_minor"] / 10**exponents,
        pem=frames[2]["entry_mode"].map({"chip": "05", "contactless": "07", "magstripe": "90"}),
    )
    names = {"currency": "ccy", "balance": "Saldo", "merchant_category": "mcc"}
    abroad.drop(columns=["amount_minor", "entry_mode"]).rename(columns=names).to_csv(
        tmp_path / "2.csv", index=False
    )
    return [tmp_path / "0.csv", tmp_path / "1.parquet", tmp_path / "2.csv"], (
        tmp_path / "all.parquet"
    )


def test_three_banks_train_the_model_of_one_table(tmp_path: Path) -> None:
    paths, together = files(tmp_path)
    mappings = [None, None, parse_mapping(MAPPING, source="abroad.toml")]
    rows = [
        load_training_rows(path, DELAYED, mapping=mapping)
        for path, mapping in zip(paths, mappings, strict=True)
    ]
    whole = load_training_rows(together, DELAYED)
    assert [each.population for each in rows] == [each.table.n_rows for each in rows]
    assert sum(each.table.n_rows for each in rows) == whole.table.n_rows < 600
    assert sum(each.rows_read for each in rows) == whole.rows_read == 600
    expected = train(PARAMS, whole.table, SoloCommunicator()).model
    found = run_cohort(3, lambda bank, sums: train(PARAMS, rows[bank].table, sums))
    assert [result.model.sha256 for result in found] == [expected.sha256] * 3
    used = {
        expected.schema.names[int(feature)]
        for tree in expected.trees
        for feature in tree.split_features[tree.left_children >= 0]
    }
    assert "entry_mode" in used
    # Negative control: the same rows as if all amounts were in pounds.
    wrong = DELAYED.model_copy(update={"currency": None})
    other = [
        load_training_rows(path, wrong, mapping=mapping)
        for path, mapping in zip(paths, mappings, strict=True)
    ]
    assert "amounts are in 4 currencies (GBP, JPY, KWD, USD)" in " ".join(other[1].warnings)
    amounts = [each.table.features[:, each.table.schema.names.index("amount")] for each in other]
    assert not np.array_equal(amounts[1], rows[1].table.features[:, 0])


def test_the_population_is_scored_and_everybody_is_history(tmp_path: Path, caplog: Any) -> None:
    frame = payments(1)
    path = tmp_path / "bank.parquet"
    frame.to_parquet(path)
    everybody = DELAYED.model_copy(update={"population": None})
    members = frame["channel"].isin(["pos", "atm"]).to_numpy()
    with caplog.at_level(logging.WARNING):
        scored = load_scoring_rows(path, DELAYED)
    assert f"{(~members).sum()} of 200 payments are outside the run's population" in caplog.text
    assert scored.identifiers is not None
    assert scored.identifiers.to_pylist() == frame["transaction_id"][members].tolist()
    # Windows of the members see the others: their features are those without a population.
    np.testing.assert_array_equal(
        scored.features, load_scoring_rows(path, everybody).features[members]
    )
    alone = tmp_path / "alone.parquet"
    frame[members].to_parquet(alone)
    assert not np.array_equal(
        scored.features, load_scoring_rows(alone, DELAYED).features, equal_nan=True
    )
    out = tmp_path / "features.csv"
    assert export_features(path, out, contract=DELAYED) == members.sum()
    written = pd.read_csv(out)
    assert written["entry_mode"].tolist() == frame["entry_mode"][members].tolist()
    np.testing.assert_array_equal(
        written["balance"].to_numpy(np.float32), frame["balance"][members].to_numpy(np.float32)
    )
    few = load_training_rows(path, DELAYED)
    assert f"only {members.sum()} of 200 payments are in the run's population" in few.warnings[0]
    assert load_training_rows(path, everybody).population is None


@pytest.mark.parametrize("load", [load_training_rows, load_features])
def test_a_bank_without_the_population_is_told(tmp_path: Path, load: Any) -> None:
    path = tmp_path / "bank.parquet"
    payments(1).assign(channel="transfer").to_parquet(path)
    with pytest.raises(DataError, match=r"none of 200 payments is in the run's population .*pos"):
        load(path, DELAYED)
    payments(1).drop(columns="channel").to_parquet(path)
    with pytest.raises(DataError, match=r"bank.parquet: column 'channel' is missing, and the run"):
        load(path, DELAYED)


def spoilt(column: str, value: Any) -> pd.DataFrame:
    frame = payments(1)
    frame[column] = frame[column].astype(object)
    frame.loc[6, column] = value
    return frame


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (spoilt("balance", float("inf")), r"row 7.*, column 'balance': got inf, expected a finite"),
        (spoilt("balance", 1e39), r"row 7.*, column 'balance': got 9.99.*e\+38, expected a number"),
        (spoilt("entry_mode", "swipe"), "row 7.*, column 'entry_mode': got 'swipe', expected one"),
        (spoilt("entry_mode", None), "row 7.*, column 'entry_mode': got no value, expected one of"),
        (spoilt("currency", "CHF"), "row 7.*, column 'currency': got 'CHF', expected a currency "),
        (spoilt("currency", "EURO"), "row 7.*, column 'currency': got 'EURO', expected a currency"),
        (
            spoilt("event_time", 1_600_000_000).assign(currency="USD"),
            r"row 7.*'event_time': got 1600000000 .2020-09-13.*, expected a payment on 2023",
        ),
        (payments(1).drop(columns="balance"), r"column 'balance' \(own column balance \[pence\]\)"),
    ],
)
def test_what_does_not_fit_the_terms_is_named(
    tmp_path: Path, suffix: str, frame: pd.DataFrame, message: str
) -> None:
    path = tmp_path / f"bank.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    else:
        frame = frame.astype({"balance": float}) if "balance" in frame else frame
        frame.astype({"event_time": "int64"}).to_parquet(path)
    for load in (load_training_rows, load_scoring_rows):
        with pytest.raises(DataError, match=message):
            load(path, DELAYED)


def test_problems_of_own_columns_are_told_with_all_others(tmp_path: Path) -> None:
    frame = payments(1)
    frame.loc[3, "entry_mode"] = "swipe"
    frame.loc[[4, 5], "amount_minor"] = -1
    frame.drop(columns="balance").to_csv(tmp_path / "bank.csv", index=False)
    with pytest.raises(ProblemsError) as caught:
        load_training_rows(tmp_path / "bank.csv", DELAYED)
    found = {(problem.column, problem.count) for problem in caught.value.problems}
    assert found == {("'balance'", 1), ("'entry_mode'", 1), ("'amount_minor'", 2)}


def test_a_mapping_names_its_own_column_in_errors(tmp_path: Path) -> None:
    paths, _ = files(tmp_path)
    frame = pd.read_csv(paths[2], dtype={"pem": str, "mcc": str})
    mapping = parse_mapping(MAPPING.replace(', default = "magstripe"', ""), source="abroad.toml")
    with pytest.raises(DataError, match=r"'entry_mode' \(from 'pem'\): got '90', expected one of"):
        load_training_rows(paths[2], DELAYED, mapping=mapping)
    frame["Saldo"] = "much"
    frame.to_csv(paths[2], index=False)
    mapping = parse_mapping(MAPPING, source="abroad.toml")
    with pytest.raises(DataError, match=r"'balance' \(from 'Saldo'\): got 'much', expected a num"):
        load_training_rows(paths[2], DELAYED, mapping=mapping)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("balance = { row_number = true }", "own_columns.balance: got row_number, expected column"),
        ('balance = { column = "x", prefix = "y" }', "own_columns.balance: got prefix"),
        ('amount_minor = { column = "x" }', "own_columns.amount_minor: is a column of every"),
        ("balance = 3", "own_columns.balance"),
    ],
)
def test_a_mapping_of_own_columns_that_cannot_be_is_refused(text: str, message: str) -> None:
    start = MAPPING[: MAPPING.index("[own_columns]")]
    with pytest.raises(ConfigurationError, match=message):
        parse_mapping(f"{start}[own_columns]\n{text}\n", source="own.toml")


@pytest.mark.parametrize("name", ["amount", "hour_of_day", "payee_customers_7d"])
def test_an_own_column_called_as_a_feature_is_refused(name: str) -> None:
    own = FeatureSpec(name=name, description="our own", unit="1")
    recipe = tuple(spec for spec in contract_features() if spec.name != name)
    contract = DataContract(kind="transactions", recipe=RECIPE, features=(*recipe, own))
    with pytest.raises(ConfigurationError, match=f"own column '{name}'.*as a feature that recipe"):
        check_contract(contract)
    check_contract(TERMS)


def run_of(contract: DataContract) -> PinnedRun:
    spec = RunSpec(name="test", key_epoch=1, contract=contract)
    key = PublicKeyMessage(n="ff", fingerprint="1" * 64)
    return PinnedRun(run_id="r1", spec=spec, cohort=("a", "b", "c"), public_key=key)


def test_a_person_is_shown_the_terms(capsys: pytest.CaptureFixture[str]) -> None:
    about = training_facts(run_of(TERMS), key_bits=2048).about
    for part in _training_tables(about):  # type: ignore[arg-type]
        stdout_console().print(part, width=200)
    shown = " ".join(capsys.readouterr().out.split())
    assert "channel pos or atm" in shown
    assert "GBP; dated rates of JPY (1), KWD (1), USD (2)" in shown
    assert "own column" in shown
    assert "balance before the payment [pence]" in shown


def test_an_approval_is_of_the_terms_too() -> None:
    rates = {"USD": {"2023-01-01": "0.8013"}}
    changes: list[dict[str, Any]] = [
        {},
        {"population": Population(card="not_present")},
        {"population": None},
        {"currency": None},
        {"currency": CURRENCY.model_copy(update={"rates": {**CURRENCY.rates, **rates}})},
        {"features": TERMS.features[:-1]},
        {"train_from": 1},
        {"train_until": 100 * DAY},
        {"train_until": 100 * DAY, "select_until": 200 * DAY},
        {"train_until": 100 * DAY, "judge_until": 300 * DAY},
        {"label_horizon_days": LabelHorizon(days=31)},
        {"label_horizon_days": LabelHorizon(by_channel={"pos": 7})},
        {"risk_delay_days": 1},
        {"risk_publication_lag_days": 2},
        {"gap_days": 1},
        {"exclude_known_compromised": True},
        {"alerts_per_day": 100},
    ]
    runs = [run_of(TERMS.model_copy(update=change)) for change in changes]
    assert len({approval_hash(run) for run in runs}) == len(changes)


def test_patterns_of_columns_cover_own_columns() -> None:
    names = tuple(spec.name for spec in contract_features())
    rules = ApprovalRules(columns=(*names, "is_fraud"), parameters="any")
    refused = [f.subject for f in weigh_training(run_of(TERMS), rules) if not f.allowed]
    assert refused == ["column balance", "column entry_mode"]
    wider = ApprovalRules(columns=(*names, "is_fraud", "bal*", "entry_*"), parameters="any")
    assert all(finding.allowed for finding in weigh_training(run_of(TERMS), wider))


def test_features_json_says_what_the_terms_are() -> None:
    published = json.loads(features_file(TERMS))
    assert published["features"][-2:] == [
        {
            "name": "balance",
            "type": "numeric",
            "unit": "pence",
            "definition": "balance before the payment",
            "categories": None,
        },
        {
            "name": "entry_mode",
            "type": "categorical",
            "unit": "code",
            "definition": "how the card was read",
            "categories": ["chip", "contactless", "magstripe"],
        },
    ]
    assert (published["population"], published["currency"]) == ({"card": "present"}, "GBP")
    plain = DataContract(kind="transactions", recipe=RECIPE, features=contract_features())
    assert not {"population", "currency"} & json.loads(features_file(plain)).keys()


def test_check_data_says_when_frauds_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(5)
    frame = payments(1)
    frame["is_fraud"] = (np.arange(200) % 2 == 0).astype(int)
    frame["label_time"] = frame["event_time"] + rng.integers(1, 20, 200) * DAY
    kinds = np.array(["romance_scam", "R10", "lost_stolen", None], dtype=object)
    frame["fraud_kind"] = np.where(frame["is_fraud"] == 1, rng.choice(kinds, 200), None)
    path = tmp_path / "bank.parquet"
    frame.to_parquet(path)
    checked = check_rows(path, DELAYED, HERE, mapping=None, shared=None)
    members = frame["channel"].isin(["pos", "atm"])
    frauds = frame[members & (frame["is_fraud"] == 1)]
    assert (checked.population, checked.rows_read) == (members.sum(), 200)
    assert checked.reporting is not None
    assert checked.reporting.frauds == len(frauds)
    counts = frauds["fraud_kind"].value_counts().to_dict()
    assert checked.reporting.kinds == {
        "lost_stolen_card": counts["lost_stolen"],
        "romance_scam": counts["romance_scam"],
        "other": counts["R10"],
    }
    assert checked.reporting.unknown_kinds == counts["R10"]
    assert "'R10'" in checked.warnings[-1]
    assert CheckedData.model_validate_json(checked.model_dump_json()) == checked
    show_checked(checked)
    shown = capsys.readouterr().out
    assert "payments in the population" in shown
    assert f"A label horizon of {checked.reporting.enough_days} days waits for 95% of them" in shown
    assert "The run's label horizon is 7 days; by then" in shown
    # The same through a mapping.
    text = MAPPING.replace("[own_columns]", 'fraud_kind = { column = "why" }\n[own_columns]')
    names = {"currency": "ccy", "balance": "Saldo", "merchant_category": "mcc"}
    names["fraud_kind"] = "why"
    amount = frame["amount_minor"] / 10 ** frame["currency"].map(EXPONENTS)
    frame.assign(amount=amount, pem="05").rename(columns=names).to_parquet(path)
    mapped = parse_mapping(text, source="t")
    again = check_rows(path, DELAYED, HERE, mapping=mapped, shared=None)
    assert again.reporting == checked.reporting


def test_a_plain_table_has_no_reporting_curve(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1.0, 2.0], "is_fraud": [0, 1]}).to_csv(tmp_path / "t.csv", index=False)
    contract = DataContract(kind="table", features=(FeatureSpec(name="x"),))
    checked = check_rows(tmp_path / "t.csv", contract, HERE, mapping=None, shared=None)
    assert (checked.reporting, checked.population) == (None, None)


def test_a_file_in_one_currency_needs_no_column(tmp_path: Path) -> None:
    path = tmp_path / "bank.parquet"
    frame = payments(1)
    frame.drop(columns="currency").to_parquet(path)
    yen = DELAYED.model_copy(update={"currency": Currency(code="JPY"), "population": None})
    amounts = load_scoring_rows(path, yen).features[:, 0]
    np.testing.assert_array_equal(amounts, frame["amount_minor"].to_numpy(np.float32))
