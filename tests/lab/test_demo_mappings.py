"""Public data sets through the demo's reader: every column is where its mapping says."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pa_parquet
import pytest
from examples.published_tables import baf_rows, ibm_aml_csv, ieee_cis_rows, ulb_rows

from fraudfed.errors import DataError
from fraudfed.features.mappings.mapping import load_mapping, parse_mapping
from fraudfed.lab.demo.data import DemoData
from fraudfed.lab.demo.feature_table import open_table
from fraudfed.lab.demo.transactions import open_payments

TABLES = {"baf": baf_rows, "ulb": ulb_rows, "ieee-cis": ieee_cis_rows}
N_FEATURES = {"baf": 30, "ulb": 29, "ieee-cis": 391}


def opened(path: Path, name: str, folder: Path, **options: object) -> DemoData:
    mapping = load_mapping(name)
    given = {"drop": (), "bank_column": None, "label": mapping.label, **options}
    return open_table(path, mapping=mapping, n_banks=3, work=folder, seed=1, **given)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("name", TABLES)
def test_a_plain_table_needs_nothing_but_its_mapping(
    name: str, suffix: str, tmp_path: Path
) -> None:
    rows = TABLES[name](200)
    path = tmp_path / f"rows.{suffix}"
    if suffix == "csv":
        # As ULB's file is written: texts and header in quotes, the class among them.
        rows.to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC)
    else:
        rows.to_parquet(path)
    mapping = load_mapping(name)
    made = opened(path, name, tmp_path / "work")
    expected = [column for column in rows if column not in {mapping.label, *mapping.drop}]
    assert [spec.name for spec in made.contract.features] == expected
    assert len(expected) == N_FEATURES[name]
    assert made.contract.label == mapping.label
    texts = {spec.name: set(spec.categories) for spec in made.contract.features if spec.categories}
    assert texts == {
        column: set(rows[column].dropna())
        for column in expected
        if pd.api.types.is_string_dtype(rows[column])
    }
    parts = [
        pa_parquet.read_table(file)
        for bank in made.banks
        for file in (bank.train_file, bank.test_file)
    ]
    assert sum(part.num_rows for part in parts) == 200
    frauds = sum(sum(part[mapping.label].to_pylist()) for part in parts)
    assert frauds == rows[mapping.label].astype(int).sum()


def test_options_go_before_the_mapping(tmp_path: Path) -> None:
    path = tmp_path / "Base.csv"
    rows = baf_rows(200).assign(other=lambda frame: 1 - frame["fraud_bool"])
    rows.to_csv(path, index=False)
    made = opened(path, "baf", tmp_path / "work", label="other", drop=("customer_age,income",))
    names = {spec.name for spec in made.contract.features}
    assert made.contract.label == "other"
    assert not names & {"customer_age", "income", "month", "other"}


def test_a_table_under_other_names(tmp_path: Path) -> None:
    mapping = parse_mapping(
        """
        format_version = 1
        kind = "table"
        label = "fraud"
        drop = ["day"]
        [columns]
        fraud = { column = "Betrug" }
        "amount, EUR" = { column = "Betrag" }
        day = { column = "Tag" }
        [file]
        separator = ";"
        decimal = ","
        """,
        source="own.toml",
    )
    path = tmp_path / "rows.csv"
    lines = [f"{row},{row % 10};{row % 7};{row % 2};{row % 3}" for row in range(60)]
    path.write_text("\n".join(["Betrag;Tag;Betrug;Art", *lines]))
    made = open_table(
        path,
        mapping=mapping,
        label="fraud",
        drop=(),
        bank_column=None,
        n_banks=3,
        work=tmp_path / "work",
        seed=1,
    )
    assert [spec.name for spec in made.contract.features] == ["amount, EUR", "Art"]
    with pytest.raises(DataError, match="--drop names column 'Betrag', which is missing"):
        open_table(
            path,
            mapping=mapping,
            label="fraud",
            drop=("Betrag",),
            bank_column=None,
            n_banks=3,
            work=tmp_path / "work",
            seed=1,
        )


@pytest.mark.parametrize("name", ["Trans.csv", "TRANS.CSV"])
def test_payer_and_payee_of_ibm_aml_are_two_accounts(name: str, tmp_path: Path) -> None:
    text = ibm_aml_csv(400)
    path = tmp_path / name
    path.write_text(text)
    made = open_payments(
        path,
        mapping=load_mapping("ibm-aml"),
        bank_column="From Bank",
        n_banks=3,
        work=tmp_path / "work",
        seed=1,
    )
    assert [bank.title for bank in made.banks] == ["000", "001", "002", "003"]
    # An oracle of its own: Python's reader, by the places of the columns.
    expected = {}
    for number, fields in enumerate(list(csv.reader(io.StringIO(text)))[1:], start=1):
        time = pd.Timestamp(fields[0].replace("/", "-"), tz="UTC")
        expected[f"ibm-aml-{number:09d}"] = (
            fields[1],
            int(time.timestamp()),
            fields[2],
            fields[4],
            round(float(fields[7]) * 100),
            {"Cash": "atm", "Credit Card": "pos"}.get(fields[9], "transfer"),
            int(fields[10]),
        )
    found = {}
    for bank in made.banks:
        for row in pa_parquet.read_table(bank.train_file).to_pylist():
            assert row["customer_id"] != row["payee_id"]
            assert row["account_id"] == row["customer_id"]
            assert row["label_time"] == row["event_time"] + 86_400
            found[row["transaction_id"]] = (
                bank.title,
                row["event_time"],
                row["customer_id"],
                row["payee_id"],
                row["amount_minor"],
                row["channel"],
                row["is_fraud"],
            )
    assert found == expected


def dealt_out(path: Path) -> DemoData:
    """Open a table without a mapping, dealt out to three banks."""
    return open_table(
        path,
        mapping=None,
        label="y",
        drop=(),
        bank_column=None,
        n_banks=3,
        work=path.parent / "work",
        seed=1,
    )


def test_categories_that_differ_by_blanks_stay_two_and_are_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    kinds = np.resize(["POS", "POS ", "ATM"], 90)
    pd.DataFrame({"kind": kinds, "y": np.arange(90) % 2}).to_csv(path, index=False)
    made = dealt_out(path)
    assert made.contract.features[0].categories == ("ATM", "POS", "POS ")
    assert made.notes == (
        "column 'kind': 'POS' and 'POS ' differ only by blanks and are two categories",
    )


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["1.5", "2", "12,5", "7", "9"], "'12,5' is none, so all are categories"),
        (["1.5", "2", "7 EUR", "7", "9"], "'7 EUR' is none, so all are categories"),
        (["5411", "5812", "A1", "B2"], None),
        (["1.5", "2", "3"], None),
    ],
)
def test_a_column_of_nearly_numbers_is_told(
    cells: list[str], told: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    amounts = np.resize(np.array(cells, dtype=object), 90)
    pd.DataFrame({"amount": amounts, "y": np.arange(90) % 2}).to_csv(path, index=False)
    made = dealt_out(path)
    if told is None:
        assert made.notes == ()
    else:
        (note,) = made.notes
        assert note.startswith("column 'amount': most of its texts are numbers, ")
        assert told in note
