"""The validator: no fault in what the generator writes, and one for each thing that is broken."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_gen.catalogue import SCHEMAS
from data_gen.checking.unique_ids import SeenIds
from data_gen.checking.validator import Validation, validate_data_set, validate_files
from data_gen.credit.config import CreditConfig
from data_gen.credit.output import write_credit
from data_gen.credit.schema import CREDIT_SCHEMA
from data_gen.schema.rules import Rule, TableSchema
from data_gen.schema.transactions import TRANSACTION_SCHEMA
from data_gen.settings.config import WorldConfig
from data_gen.writing.output import write
from fraudfed.errors import DataError

Change = Callable[[pd.DataFrame], None]


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory, tiny_config: WorldConfig) -> Path:
    out = tmp_path_factory.mktemp("validator") / "world"
    write(tiny_config, out, formats=("parquet", "csv"))
    return out


@pytest.fixture(scope="module")
def frame(data_set: Path) -> pd.DataFrame:
    return pd.read_parquet(data_set / "bank_c" / "transactions.parquet")


def _validate(path: Path, schema: TableSchema = TRANSACTION_SCHEMA) -> Validation:
    return validate_files([path], schema, most_faults=20)


def _save(frame: pd.DataFrame, path: Path) -> Path:
    fields = [field for field in TRANSACTION_SCHEMA.arrow if field.name in frame.columns]
    schema = pa.schema([field.with_nullable(True) for field in fields])
    pq.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False), path)
    return path


def test_what_the_generator_writes_has_no_fault(data_set: Path, frame: pd.DataFrame) -> None:
    found = validate_data_set(data_set, TRANSACTION_SCHEMA, most_faults=1)
    rows = json.loads((data_set / "manifest.json").read_text())["rows"]
    assert found == Validation(files=6, rows=2 * rows, faults=())
    one = _validate(data_set / "bank_c" / "transactions.csv")
    assert one == Validation(files=1, rows=len(frame), faults=())


def _row(frame: pd.DataFrame, channel: str) -> int:
    """Return a row of a channel that has a row before and after it."""
    return int(frame.index[(frame["channel"] == channel) & (frame.index > 3)][0])


def _setter(column: str, value: Any, channel: str = "pos") -> tuple[str, str, Change]:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[_row(frame, channel), column] = value

    return column, channel, change


@pytest.mark.parametrize(
    ("broken", "value", "expected"),
    [
        (_setter("amount_minor", 0), "0", "a whole number of at least 1"),
        (_setter("amount_minor", -5), "-5", "a whole number of at least 1"),
        (_setter("event_time", -1), "-1", "a whole number of at least 0"),
        (_setter("is_fraud", 2), "2", "a whole number from 0 to 1"),
        (_setter("is_blocked", -1), "-1", "a whole number from 0 to 1"),
        (_setter("latitude", 91.0), "91.0", "a number from -90 to 90"),
        (_setter("longitude", -181.0), "-181.0", "a number from -180 to 180"),
        (_setter("latitude", float("inf")), "inf", "a number from -90 to 90"),
        (_setter("channel", "post"), "'post'", "one of pos, ecommerce, transfer, atm"),
        (_setter("channel", None), "no value", "one of pos, ecommerce, transfer, atm (never"),
        (_setter("merchant_category", "Grocery"), "'Grocery'", "one of grocery, fuel"),
        (_setter("fraud_kind", "theft"), "'theft'", "one of card_not_present"),
        (_setter("customer_id", None), "no value", "a text (never missing)"),
        (_setter("merchant_id", ""), "''", "a text, or no value where it is missing"),
        (_setter("terminal_id", None), "no value", "always there for pos and atm"),
        (_setter("terminal_id", "t1", "transfer"), "'t1'", "no value for ecommerce and transfer"),
        (_setter("payee_id", "p1"), "'p1'", "no value for pos and ecommerce and atm"),
        (_setter("payee_id", None, "transfer"), "no value", "always there for transfer"),
        (_setter("device_id", "-1"), "'-1'", "no value for pos and atm"),
        (_setter("card_id", None), "no value", "always there for pos and ecommerce and atm"),
        (_setter("latitude", 50.0, "ecommerce"), "50.0", "no value for ecommerce"),
        (_setter("label_time", 5), "5", "a time not before event_time"),
    ],
)
def test_each_broken_value_is_named_with_its_place(
    frame: pd.DataFrame,
    tmp_path: Path,
    broken: tuple[str, str, Change],
    value: str,
    expected: str,
) -> None:
    column, channel, change = broken
    changed = frame.copy()
    change(changed)
    path = _save(changed, tmp_path / "t.parquet")
    row = _row(frame, channel) + 1
    named = [fault for fault in _validate(path).faults if expected in fault.expected]
    assert [(f.file, f.row, f.column, f.value) for f in named] == [(str(path), row, column, value)]
    assert str(named[0]).startswith(f"{path}: row {row}, column {column!r}: got {value}, expected")


def test_rows_out_of_order_are_named_once(frame: pd.DataFrame, tmp_path: Path) -> None:
    order = [*range(10), 500, *range(10, 500), *range(501, len(frame))]
    path = _save(frame.iloc[order], tmp_path / "t.parquet")
    (fault,) = _validate(path).faults
    assert (fault.row, fault.column) == (12, "event_time")
    assert fault.expected.endswith("(sorted)")


def test_order_is_checked_over_the_pieces_of_a_file(frame: pd.DataFrame, tmp_path: Path) -> None:
    large = pd.concat([frame] * (1 + 140_000 // len(frame)), ignore_index=True)
    large["transaction_id"] = [f"x{number:07d}" for number in range(len(large))]
    large = large.sort_values("event_time", ignore_index=True)
    last = 131_072
    large.loc[last, "event_time"] = large.loc[last - 1, "event_time"] - 1
    (fault,) = _validate(_save(large, tmp_path / "t.parquet")).faults
    assert (fault.row, fault.column) == (last + 1, "event_time")


def test_an_identifier_that_comes_again_is_named_with_the_first(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    first = _save(frame, tmp_path / "first.parquet")
    other = frame.assign(transaction_id=[f"x{number}" for number in range(len(frame))])
    other.loc[7, "transaction_id"] = frame.loc[2, "transaction_id"]
    second = _save(other, tmp_path / "second.parquet")
    found = validate_files([first, second], TRANSACTION_SCHEMA, most_faults=9)
    (fault,) = found.faults
    assert (fault.file, fault.row, fault.column) == (str(second), 8, "transaction_id")
    assert f"row 3 of {first}" in fault.expected
    assert found.files == 2


def test_equal_hashes_alone_are_no_fault(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SeenIds, "suspects", lambda _self: iter([(0, 1), (3, 4)]))
    assert _validate(_save(frame, tmp_path / "t.parquet")).faults == ()


def test_columns_that_are_missing_unknown_or_of_another_type(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    changed = frame.drop(columns="device_id").assign(note="x", amount_minor=1.5)
    path = tmp_path / "t.parquet"
    changed.to_parquet(path, index=False)
    faults = [(f.row, f.column, f.value) for f in _validate(path).faults]
    assert faults == [
        (None, "device_id", "no such column"),
        (None, "amount_minor", "type double"),
        (None, "note", "a column"),
    ]


def test_a_table_about_something_else_lacks_every_column(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    faults = _validate(path).faults
    assert [f.column for f in faults] == [*TRANSACTION_SCHEMA.arrow.names, "a", "b"][:20]


def test_other_writers_types_are_read(frame: pd.DataFrame, tmp_path: Path) -> None:
    changed = frame.astype({"is_fraud": "int64", "channel": "category", "amount_minor": "int32"})
    path = tmp_path / "t.parquet"
    changed.to_parquet(path, index=False)
    assert _validate(path).faults == ()


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [("amount_minor", "12.50", "'12.50'"), ("is_fraud", "yes", "'yes'"), ("latitude", "N", "'N'")],
)
def test_a_csv_value_of_another_type_is_named(
    data_set: Path, tmp_path: Path, column: str, text: str, value: str
) -> None:
    lines = (data_set / "bank_c" / "transactions.csv").read_text().splitlines()
    fields = lines[3].split(",")
    fields[lines[0].split(",").index(column)] = text
    lines[3] = ",".join(fields)
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    (fault,) = _validate(path).faults
    assert (fault.row, fault.column, fault.value) == (3, column, value)


def test_a_csv_row_that_is_cut_off_is_named(data_set: Path, tmp_path: Path) -> None:
    lines = (data_set / "bank_c" / "transactions.csv").read_text().splitlines()
    path = tmp_path / "t.csv"
    path.write_text("\n".join([*lines[:5], "x,y"]) + "\n")
    (fault,) = _validate(path).faults
    assert (fault.row, fault.column, fault.value) == (5, None, "2 fields")


def test_only_the_first_faults_are_listed(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = _save(frame.assign(amount_minor=0), tmp_path / "t.parquet")
    found = validate_files([path], TRANSACTION_SCHEMA, most_faults=3)
    assert [fault.row for fault in found.faults] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.parquet", b"PAR1", "cannot be read"),
        ("t.csv", b"", "is empty"),
        ("t.txt", b"x", "suffix '.txt'"),
        ("t.csv", b"event_time,event_time\n1,2\n", "'event_time' occurs twice"),
        ("t.csv", b"transaction_id\n\xff\xfe\n", "cannot be read"),
    ],
)
def test_what_is_no_table_is_an_error(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        _validate(path)
    with pytest.raises(DataError, match="cannot be read"):
        _validate(tmp_path / "none.csv")


def _edit_manifest(directory: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def _copy_of(data_set: Path, target: Path) -> Path:
    for path in data_set.rglob("*.*"):
        copy = target / path.relative_to(data_set)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return target


def test_a_file_that_is_not_the_manifests_is_named(data_set: Path, tmp_path: Path) -> None:
    copy = _copy_of(data_set, tmp_path / "copy")
    (copy / "bank_a" / "transactions.csv").unlink()
    csv = copy / "bank_b" / "transactions.csv"
    csv.write_bytes(csv.read_bytes() + b"\n")
    # Another payee and the same length: only checksum and content tell.
    csv = copy / "bank_c" / "transactions.csv"
    csv.write_bytes(csv.read_bytes().replace(b"bank_c_c", b"bank_c_x", 1))
    faults = validate_data_set(copy, TRANSACTION_SCHEMA, most_faults=20).faults
    assert [(Path(f.file).parent.name, f.value.split()[0]) for f in faults[:3]] == [
        ("bank_a", "no"),
        ("bank_b", str((copy / "bank_b" / "transactions.csv").stat().st_size)),
        ("bank_c", "SHA-256"),
    ]
    assert [f.value.split()[0] for f in faults[3:]] == ["content"]


def test_rows_and_content_are_checked_against_the_manifest(data_set: Path, tmp_path: Path) -> None:
    copy = _copy_of(data_set, tmp_path / "copy")

    def edit(manifest: dict[str, Any]) -> None:
        manifest["banks"][0]["rows"] += 1
        manifest["banks"][1]["content_sha256"] = "0" * 64

    _edit_manifest(copy, edit)
    faults = validate_data_set(copy, TRANSACTION_SCHEMA, most_faults=20).faults
    assert [f.expected.split()[0] for f in faults] != []
    assert {(Path(f.file).parent.name, f.value.split()[-1] == "rows") for f in faults} == {
        ("bank_a", True),
        ("bank_b", False),
    }


def test_credit_data_are_checked_by_their_own_schema(tmp_path: Path) -> None:
    out = tmp_path / "credit"
    manifest = write_credit(CreditConfig(banks=3, customers=600), out)
    found = validate_data_set(out, CREDIT_SCHEMA, most_faults=5)
    assert found == Validation(files=3, rows=manifest["rows"], faults=())
    table = out / "bank_a" / "applications.parquet"
    frame = pd.read_parquet(table, dtype_backend="numpy_nullable")
    broker = int(frame.index[frame["channel"] == "broker"][0])
    frame.loc[broker, "housing"] = "tenant"
    frame.loc[0, "bureau_score"] = 299
    frame.to_parquet(table, index=False)
    faults = validate_data_set(out, CREDIT_SCHEMA, most_faults=20).faults
    named = {(f.row, f.column) for f in faults if f.row is not None}
    assert named == {(broker + 1, "housing"), (1, "bureau_score")}


def test_every_schema_says_for_each_column_what_is_allowed() -> None:
    for schema in SCHEMAS.values():
        described = schema.as_dict()["columns"]
        assert [column["name"] for column in described] == schema.arrow.names
        assert [column["name"] for column in described if column["unique"]] == [schema.identifier]
        for column in described:
            if column["null_for"]:
                assert column["nullable"]


def test_a_rule_of_no_column_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing_such"):
        TableSchema(
            kind="x",
            columns=TRANSACTION_SCHEMA.columns,
            rules={"nothing_such": Rule(minimum=0)},
            identifier="transaction_id",
            time="event_time",
            label_time="label_time",
            channel="channel",
        )
