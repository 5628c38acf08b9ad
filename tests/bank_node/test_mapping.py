"""Other people's files through ``--map``: the same rows, whatever the file is like."""

import json
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from examples.pacs008 import Message, Payment, made_up, xml
from examples.published_tables import handbook_rows, ibm_aml_csv, paysim_rows, sparkov_rows

from bank_node.config import BankConfig
from bank_node.data.contract import load_scoring_rows, load_training_rows, load_transactions
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.consortium.identity import Identity
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features import RECIPE, contract_features
from fraudfed.features.mappings.mapping import Mapping, load_mapping, parse_mapping
from fraudfed.wire.messages import DataContract, LabelHorizon, PublicKeyMessage, RunKind

DAY = 86400
TRANSACTIONS = DataContract(
    kind="transactions",
    recipe=RECIPE,
    features=contract_features(),
    label_horizon_days=LabelHorizon(days=7),
)
TABLES = {"handbook": handbook_rows(), "sparkov": sparkov_rows(), "paysim": paysim_rows()}
RENAMED = parse_mapping(
    """
    format_version = 1
    kind = "table"
    [columns]
    amount = { column = "V1" }
    channel = { column = "V2" }
    label = { column = "Class" }
    """,
    source="own.toml",
)


def write(rows: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        rows.to_csv(path, index=False)
    else:
        rows.to_parquet(path, index=False)
    return path


@pytest.mark.parametrize("name", TABLES)
def test_csv_and_parquet_give_the_same_rows(tmp_path, name) -> None:
    mapping = load_mapping(name)
    found = [
        load_training_rows(
            write(TABLES[name], tmp_path / f"d{suffix}"), TRANSACTIONS, mapping=mapping
        )
        for suffix in (".csv", ".parquet")
    ]
    assert found[0].rows_read == found[1].rows_read == len(TABLES[name])
    assert found[0].table.features.tobytes() == found[1].table.features.tobytes()
    assert found[0].table.labels.tobytes() == found[1].table.labels.tobytes()
    assert 0 < found[0].table.labels.sum() < found[0].table.n_rows
    (warning,) = found[0].warnings
    assert "there is no column" in warning
    assert "device_id" in warning


def test_the_unnamed_column_of_the_published_csv_is_ignored(tmp_path) -> None:
    """Sparkov's and others' files were written with their row numbers, under no name."""
    mapping, rows = load_mapping("sparkov"), TABLES["sparkov"]
    rows.to_csv(tmp_path / "numbered.csv")
    assert (tmp_path / "numbered.csv").read_text().startswith(",trans_date_trans_time,")
    numbered = load_training_rows(tmp_path / "numbered.csv", TRANSACTIONS, mapping=mapping)
    plain = load_training_rows(write(rows, tmp_path / "d.csv"), TRANSACTIONS, mapping=mapping)
    assert numbered.table.features.tobytes() == plain.table.features.tobytes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_scoring_reads_labels_where_they_are(tmp_path, suffix) -> None:
    """History with labels gives fraud rates; a file without them is scored all the same."""
    mapping, rows = load_mapping("handbook"), TABLES["handbook"]
    whole = load_scoring_rows(write(rows, tmp_path / f"d{suffix}"), TRANSACTIONS, mapping=mapping)
    trained = load_training_rows(tmp_path / f"d{suffix}", TRANSACTIONS, mapping=mapping)
    assert whole.features.tobytes() == trained.table.features.tobytes()
    assert whole.identifiers is not None
    assert whole.identifiers.to_pylist() == rows["TRANSACTION_ID"].astype(str).tolist()
    path = write(rows.drop(columns="TX_FRAUD"), tmp_path / f"new{suffix}")
    bare = load_scoring_rows(path, TRANSACTIONS, mapping=mapping)
    names = [spec.name for spec in TRANSACTIONS.features]
    frauds = names.index("terminal_fraud_count_30d")
    assert whole.features[:, frauds].max() > 0
    assert bare.features[:, frauds].max() == 0
    counts = names.index("terminal_count_30d")
    np.testing.assert_array_equal(bare.features[:, counts], whole.features[:, counts])
    with pytest.raises(DataError, match=r"column 'TX_FRAUD' \(used by the mapping\) is missing"):
        load_training_rows(path, TRANSACTIONS, mapping=mapping)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (
            "TX_AMOUNT",
            -3.5,
            "column 'amount_minor' (from 'TX_AMOUNT' -3.5): got -350.0, exp",
        ),
        ("TRANSACTION_ID", 2, "column 'transaction_id' (from 'TRANSACTION_ID' "),
        ("TX_FRAUD", 2, "column 'is_fraud' (from 'TX_FRAUD' "),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_faults_name_the_file_as_it_is(tmp_path, suffix, column, value, message) -> None:
    rows = handbook_rows(20)
    rows[column] = rows[column].astype(object)
    rows.loc[6, column] = value
    path = write(rows.infer_objects(), tmp_path / f"d{suffix}")
    with pytest.raises(DataError) as failure:
        load_training_rows(path, TRANSACTIONS, mapping=load_mapping("handbook"))
    text = str(failure.value)
    line = " (line 8)" if suffix == ".csv" else ""
    assert text.startswith(f"{path}: row 7{line}, {message}")
    assert "\n" not in text


def test_a_time_that_is_none(tmp_path) -> None:
    rows = sparkov_rows(20)
    rows.loc[3, "trans_date_trans_time"] = "2019-13-01 00:00:00"
    path = write(rows, tmp_path / "d.csv")
    with pytest.raises(
        DataError,
        match=r"row 4 \(line 5\), column 'trans_date_trans_time': got '2019-13-01 00:00:00', expec",
    ):
        load_training_rows(path, TRANSACTIONS, mapping=load_mapping("sparkov"))


def test_a_file_without_a_column_of_the_mapping(tmp_path) -> None:
    path = write(handbook_rows(20).drop(columns="TERMINAL_ID"), tmp_path / "d.csv")
    with pytest.raises(DataError, match=r"column 'TERMINAL_ID' \(used by the mapping\) is missing"):
        load_scoring_rows(path, TRANSACTIONS, mapping=load_mapping("handbook"))


def test_training_needs_a_mapping_with_labels(tmp_path) -> None:
    whole = load_mapping("handbook")
    columns = {k: v for k, v in whole.columns.items() if k not in ("is_fraud", "label_time")}
    mapping = whole.model_copy(update={"columns": columns})
    path = write(handbook_rows(20), tmp_path / "d.csv")
    assert len(load_scoring_rows(path, TRANSACTIONS, mapping=mapping).features) == 20
    with pytest.raises(DataError, match="the mapping has no is_fraud and label_time"):
        load_training_rows(path, TRANSACTIONS, mapping=mapping)


def test_weights_keep_their_name_in_the_file(tmp_path) -> None:
    contract = TRANSACTIONS.model_copy(update={"weight": "TX_TIME_DAYS", "max_weight": 100.0})
    rows = handbook_rows(50).assign(TX_TIME_DAYS=np.arange(1, 51))
    path = write(rows, tmp_path / "d.parquet")
    table = load_training_rows(path, contract, mapping=load_mapping("handbook")).table
    assert table.weights is not None
    assert table.weights.tolist() == list(range(1, 51))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_feature_table_is_renamed(make_rows, contract, tmp_path, suffix) -> None:
    rows = make_rows()
    named = load_training_rows(write(rows, tmp_path / f"a{suffix}"), contract)
    other = rows.rename(columns={"amount": "V1", "channel": "V2", "label": "Class"})
    path = write(other, tmp_path / f"b{suffix}")
    found = load_training_rows(path, contract, mapping=RENAMED)
    assert found.table.features.tobytes() == named.table.features.tobytes()
    assert found.table.labels.tobytes() == named.table.labels.tobytes()
    scored = load_scoring_rows(path, contract, mapping=RENAMED)
    assert scored.features.tobytes() == named.table.features.tobytes()
    for edit, message in (
        ({"V2": "fax"}, r"column 'channel' \(from 'V2'\): got 'fax', expected one of pos, web"),
        ({"Class": 3}, r"column 'label' \(from 'Class'\): got 3, expected 0 or 1"),
    ):
        with pytest.raises(DataError, match=message):
            load_training_rows(
                write(other.assign(**edit), tmp_path / f"c{suffix}"), contract, mapping=RENAMED
            )
    with pytest.raises(DataError, match=r"'amount' \(from 'V1'\) \(numeric feature\) is missing; "):
        load_training_rows(tmp_path / f"a{suffix}", contract, mapping=RENAMED)


def test_text_among_numbers_of_a_renamed_csv(make_rows, contract, tmp_path) -> None:
    rows = make_rows().rename(columns={"amount": "V1", "channel": "V2", "label": "Class"})
    rows["V1"] = rows["V1"].astype(object)
    rows.loc[6, "V1"] = "12,50"
    path = write(rows, tmp_path / "d.csv")
    with pytest.raises(DataError, match=r"\(line 8\), column 'amount' \(from 'V1'\): got '12,50'"):
        load_training_rows(path, contract, mapping=RENAMED)


@pytest.mark.parametrize("mapping", [RENAMED, load_mapping("handbook")])
def test_a_mapping_of_another_kind(contract, tmp_path, mapping: Mapping) -> None:
    path = write(handbook_rows(5), tmp_path / "d.csv")
    other = TRANSACTIONS if mapping.kind == "table" else contract
    for load in (load_training_rows, load_scoring_rows):
        with pytest.raises(ConfigurationError, match=r"mapping: is for kind '\w+', the run's data"):
            load(path, other, mapping=mapping)


@pytest.fixture
def state(tmp_path, small_package, make_spec) -> StateDirectory:
    """Make a bank that knows a run, and needs no network for it."""
    identity = Identity.generate()
    config = BankConfig(
        name="bank-a",
        aggregator="https://a.example",
        last_runs={RunKind.TRAINING: "r1"},
        signing_key=identity.public.signing_key,
        agreement_key=identity.public.agreement_key,
    )
    made = StateDirectory.create(tmp_path / "bank", config, identity)
    key = PublicKeyMessage.model_validate(small_package.public_key.to_hex())
    spec = make_spec(contract=TRANSACTIONS)
    made.pin_run(PinnedRun(run_id="r1", spec=spec, cohort=("bank-a",), public_key=key))
    return made


def test_the_command_takes_a_name_or_a_file(state, tmp_path, run_bank) -> None:
    data = write(paysim_rows(), tmp_path / "paysim.csv")
    where = ("--state", state.path, "--data", data)
    ended = run_bank("check-data", *where, "--map", "paysim")
    assert ended.code == 0, ended.err
    assert "rows for training" in ended.out
    own = tmp_path / "own.toml"
    own.write_text("format_version = 2")
    for command in ("check-data", "train", "score"):
        more = ("--out", tmp_path / "s.csv") if command == "score" else ()
        for choice, message in (
            ("paysum", "mapping paysum: no such file, expected a TOML file or one of baf"),
            (str(own), f"mapping {own}: format_version is 2: Input should be 1"),
        ):
            ended = run_bank(command, *where, *more, "--map", choice)
            assert ended.code == 2
            assert message in ended.error()
    # It is not remembered.
    ended = run_bank("check-data", *where)
    assert ended.code == 3
    assert "column 'transaction_id' (unique over" in ended.error()


@pytest.mark.parametrize("folder", [False, True])
def test_payment_messages_are_checked_and_scored_without_labels(
    state, tmp_path, run_bank, folder
) -> None:
    messages = tmp_path / "messages"
    messages.mkdir()
    (messages / "a.xml").write_text(xml(made_up(30, seed=1), made_up(5, seed=2, version=2)))
    (messages / "B.XML").write_text(xml(made_up(20, seed=3, version=13)))
    data = messages if folder else messages / "a.xml"
    n_rows = 55 if folder else 35
    where = ("--state", state.path, "--data", data, "--map", "pacs008")
    ended = run_bank("check-data", *where, "--json")
    assert ended.code == 0, ended.err
    answer = json.loads(ended.out)
    assert (answer["rows_read"], answer["rows"], answer["prevalence"]) == (n_rows, 0, None)
    assert "can be scored, and not trained on" in answer["warnings"][0]
    assert [one["feature"] for one in answer["features"]] == [
        spec.name for spec in TRANSACTIONS.features
    ]
    ended = run_bank("check-data", *where)
    assert f"rows in the file  │ {n_rows}" in ended.out
    rows = load_scoring_rows(data, TRANSACTIONS, mapping=load_mapping("pacs008"))
    assert rows.features.shape == (n_rows, len(TRANSACTIONS.features))
    with pytest.raises(DataError, match="the mapping has no is_fraud and label_time"):
        load_training_rows(data, TRANSACTIONS, mapping=load_mapping("pacs008"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<?xml", '<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/hostname">]><?xml', "DOCTYPE"),
        ("GBP", "GB", r"row 1 \(line 3\), column 'CdtTrfTxInf/IntrBkSttlmAmt/@Ccy': got 'GB'"),
        ("pacs.008.001.08", "pacs.003.001.08", "a message of pacs.003.001.08, expected"),
        ("</Document>", "", "is not well-formed XML"),
    ],
)
def test_bad_messages_are_one_line(state, tmp_path, run_bank, old, new, message) -> None:
    data = tmp_path / "day.xml"
    data.write_text(xml(made_up(3)).replace(old, new, 1))
    ended = run_bank("check-data", "--state", state.path, "--data", data, "--map", "pacs008")
    assert ended.code == 3
    assert re.search(message, ended.error())


def test_amounts_of_messages_are_in_minor_units_of_their_currency(tmp_path) -> None:
    amounts = {"GBP": "12.5", "JPY": "1250", "KWD": "1.25", "EUR": "0.01"}
    payments = [
        Payment(end_to_end=code, amount=amount, currency=code) for code, amount in amounts.items()
    ]
    data = tmp_path / "day.xml"
    data.write_text(xml(Message(payments)))
    rows = load_transactions(data, mapping=load_mapping("pacs008"))
    found = rows.set_index("transaction_id")
    assert found["amount_minor"].to_dict() == {"GBP": 1250, "JPY": 1250, "KWD": 1250, "EUR": 1}
    assert found["currency"].to_dict() == {code: code for code in amounts}


def test_the_currencies_of_ibm_aml_on_the_page_are_a_mapping(tmp_path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "mappings.md").read_text("utf-8")
    section = page.split("\n## ibm-aml\n")[1].split("\n## ")[0]
    snippet = section.split("```toml\n")[1].split("```")[0]
    built_in = resources.files("fraudfed.features.mappings") / "ibm-aml.toml"
    text = built_in.read_text("utf-8").replace("minor_units = 100", 'minor_units = "by currency"')
    mapping = parse_mapping(text + snippet, source="own.toml")
    lines = ibm_aml_csv(200).splitlines()
    data = tmp_path / "Trans.csv"
    data.write_text("\n".join(line for line in lines if "Bitcoin" not in line))
    rows = load_transactions(data, mapping=mapping)
    assert set(rows["currency"]) == {"USD", "EUR", "CNY", "GBP"}


def test_a_payment_that_is_there_twice_is_named_by_its_message(tmp_path) -> None:
    day = made_up(3, seed=1)
    (tmp_path / "a.xml").write_text(xml(day))
    (tmp_path / "b.xml").write_text(xml(made_up(2, seed=5), day))
    with pytest.raises(
        DataError, match=r"in b\.xml, message 2 \('MSG-1'\), transfer 1\): got"
    ) as e:
        load_transactions(tmp_path, mapping=load_mapping("pacs008"))
    assert "(and 2 more rows)" in str(e.value)


def test_the_bank_that_is_paid_reads_the_same_messages_as_inbound(tmp_path) -> None:
    data = tmp_path / "day.xml"
    data.write_text(xml(made_up(20)))
    sent = load_transactions(data, mapping=load_mapping("pacs008"))
    received = load_transactions(data, mapping=load_mapping("pacs008-inbound"))
    assert set(received["direction"]) == {"inbound"}
    for paid in ("customer_id", "account_id", "payee_id"):
        assert received[paid].tolist() == sent["payee_id"].tolist()
    assert received["payer_id"].tolist() == sent["customer_id"].tolist()
    assert received["transaction_id"].tolist() == [f"in-{one}" for one in sent["transaction_id"]]
