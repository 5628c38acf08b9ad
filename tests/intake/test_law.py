"""Any table that pandas, pyarrow or DuckDB writes is read to the same values by demo and bank node.

Or it is refused by both with the same words. ``check-data`` and ``train`` read by
``load_training_rows``; the demo by ``open_table``, which also makes the contract.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bank_node.data.contract import load_training_rows, load_transactions
from fraudfed.boosting.table import TrainingTable
from fraudfed.errors import DataError
from fraudfed.features.identifiers import DEFAULT_KINDS, canonical
from fraudfed.lab.demo import feature_table
from fraudfed.lab.demo.feature_table import open_table
from fraudfed.lab.demo.transactions import open_payments
from fraudfed.reading.problems import ProblemsError
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType

ROWS = 24
Write: TypeAlias = Callable[[pa.Table, Path], object]


def by_pandas(table: pa.Table, path: Path) -> None:
    """Write as pandas does: nullable integers as floats, truth values with blanks as objects."""
    frame = table.to_pandas()
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)


def by_arrow(table: pa.Table, path: Path) -> None:
    if path.suffix == ".csv":
        pa_csv.write_csv(table, path)
    else:
        pa_parquet.write_table(table, path)


def by_duckdb(table: pa.Table, path: Path) -> None:
    with duckdb.connect() as session:
        session.register("written", table)
        session.execute(
            f"COPY written TO '{path}' (HEADER)"
            if path.suffix == ".csv"
            else f"COPY written TO '{path}' (FORMAT parquet)"
        )


WRITERS = {"pandas": by_pandas, "pyarrow": by_arrow, "duckdb": by_duckdb}

#: In a category: what looks like nothing, like code, and what a CSV file has to quote.
TEXTS = ("GB", "NA", "NULL", "n/a", "null", "None", "0042", "x1", 'a "b", c', " y ", "é", "-", "#")


@dataclass(frozen=True)
class Made:
    """A column, and what it is to be read as.

    Attributes
    ----------
    values : Arrow array
    expected : list of float, str or None
    """

    values: pa.Array
    expected: list[Any]

    @property
    def is_numeric(self) -> bool:
        return not pa.types.is_large_string(self.values.type)


def numbers_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_boolean(kind):
        return st.booleans()
    if pa.types.is_decimal(kind):
        whole = st.integers(-(10 ** (min(kind.precision, 36) - kind.scale - 1)), 10**6)
        return whole.map(lambda value: Decimal(value).scaleb(-kind.scale))
    if pa.types.is_floating(kind):
        limit = 2.0**120
        return st.floats(-limit, limit, width=32 if kind == pa.float32() else 64)
    bits = kind.bit_width
    signed = pa.types.is_signed_integer(kind)
    return st.integers(-(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed) - 1)


KINDS = (
    *(pa.int8(), pa.uint8(), pa.int16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()),
    *(pa.float32(), pa.float64(), pa.bool_(), pa.decimal128(12, 2), pa.decimal128(38, 0)),
)


@st.composite
def columns(draw: st.DrawFn) -> Made:
    """Draw a column of numbers, or of texts at least one of which is there."""
    if draw(st.booleans()):
        texts = st.one_of(st.sampled_from(TEXTS), st.none())
        found = draw(st.lists(texts, min_size=ROWS, max_size=ROWS).filter(any))
        return Made(pa.array(found, pa.large_string()), found)
    kind = draw(st.sampled_from(KINDS))
    drawn = draw(st.lists(st.one_of(numbers_of(kind), st.none()), min_size=ROWS, max_size=ROWS))
    return Made(pa.array(drawn, kind), [None if v is None else float(v) for v in drawn])


LABELS = [0, 1] * (ROWS // 2)


def contract_of(made: list[Made]) -> DataContract:
    """Return the contract that the documented rules give."""
    specs = [
        FeatureSpec(name=f"f{place}")
        if one.is_numeric
        else FeatureSpec(
            name=f"f{place}",
            type=FeatureType.CATEGORICAL,
            categories=tuple(sorted({text for text in one.expected if text})),
        )
        for place, one in enumerate(made)
    ]
    return DataContract(kind="table", label="label", features=tuple(specs))


def matrix_of(made: list[Made], contract: DataContract) -> np.ndarray:
    """Return the values to be read, independently of any reader."""
    rows = []
    for one, spec in zip(made, contract.features, strict=True):
        found = one.expected
        if spec.categories is not None:
            found = [None if text is None else spec.categories.index(text) for text in found]
        rows.append([np.nan if value is None else np.float32(value) for value in found])
    return np.array(rows, np.float32).T


def some_of_each_bank(table: TrainingTable, *, seed: int) -> np.ndarray:
    return np.arange(table.n_rows) // 3 % 3 == seed


def demo(path: Path, work: Path) -> tuple[DataContract, np.ndarray]:
    """Return contract and rows of the demo, banks together, in any order; labels in front."""
    options: dict[str, Any] = {"mapping": None, "label": "label", "drop": (), "bank_column": "bank"}
    # Which rows judge follows from what they hold: of so few rows, none might.
    with patch.object(feature_table, "judging_share", some_of_each_bank):
        data = open_table(path, n_banks=3, work=work, seed=1, **options)
    parts = [data.load(bank, None) for bank in data.banks]
    rows = [np.c_[part.train.labels, part.train.features] for part in parts]
    rows += [np.c_[part.judge.outcomes.labels, part.judge.features] for part in parts]
    return data.contract, np.concatenate(rows)


def in_order(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(np.nan_to_num(rows.astype(np.float64), nan=1e300).T)]


def write(made: list[Made], path: Path, writer: str) -> None:
    names = [f"f{place}" for place in range(len(made))]
    table = pa.table(
        {
            **{name: one.values for name, one in zip(names, made, strict=True)},
            "label": pa.array(LABELS, pa.int8()),
            "bank": ["a", "b", "c"] * (ROWS // 3),
        }
    )
    WRITERS[writer](table, path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    made=st.lists(columns(), min_size=1, max_size=3),
    writer=st.sampled_from(sorted(WRITERS)),
    suffix=st.sampled_from([".csv", ".parquet"]),
)
def test_everybody_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, made: list[Made], writer: str, suffix: str
) -> None:
    root = tmp_path_factory.mktemp("law")
    path = root / f"rows{suffix}"
    write(made, path, writer)
    expected = matrix_of(made, contract_of(made))
    contract, of_demo = demo(path, root / "work")
    assert contract == contract_of(made)
    trained = load_training_rows(path, contract).table
    np.testing.assert_array_equal(trained.features, expected)
    np.testing.assert_array_equal(trained.labels, LABELS)
    together = np.c_[trained.labels, trained.features]
    np.testing.assert_array_equal(in_order(of_demo), in_order(together))


def good_table() -> pa.Table:
    return pa.table(
        {
            "amount": [float(i) for i in range(ROWS)],
            "kind": ["NA", "GB", None] * (ROWS // 3),
            "label": LABELS,
            "bank": ["a", "b", "c"] * (ROWS // 3),
        }
    )


def with_cell(name: str, row: int, value: Any, kind: pa.DataType | None = None) -> pa.Table:
    table = good_table()
    values = table[name].to_pylist()
    values[row] = value
    return table.set_column(table.column_names.index(name), name, pa.array(values, kind))


CONTRACT = DataContract(
    kind="table",
    label="label",
    features=(
        FeatureSpec(name="amount"),
        FeatureSpec(name="kind", type=FeatureType.CATEGORICAL, categories=("GB", "NA")),
    ),
)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("table", "message"),
    [
        (with_cell("amount", 4, np.inf), "row 5{}, column 'amount': got inf, expected a finite nu"),
        (with_cell("amount", 9, -1e39), "row 10{}, column 'amount': got -9.9999999999999994e+38,"),
        (with_cell("label", 0, 2), "row 1{}, column 'label': got 2, expected 0 or 1 (the label)"),
        (with_cell("label", 7, None), "row 8{}, column 'label': got no value, expected 0 or 1"),
        (with_cell("label", 7, 0.5), "row 8{}, column 'label': got 0.5, expected 0 or 1"),
        (
            good_table().append_column("amount", pa.array([1.0] * ROWS)),
            "column 'amount' occurs 2 times, expected once; rename or drop the others",
        ),
        (
            good_table().append_column("label", pa.array(LABELS)),
            "column 'label' occurs 2 times, expected once; rename or drop the others",
        ),
        (good_table().slice(0, 0), "has a header and no rows, expected at least one row"),
    ],
)
def test_everybody_refuses_the_same(
    tmp_path: Path, table: pa.Table, message: str, suffix: str
) -> None:
    path = tmp_path / f"rows{suffix}"
    by_arrow(table, path)
    said = []
    for read in (lambda: demo(path, tmp_path / "work"), lambda: load_training_rows(path, CONTRACT)):
        with pytest.raises(DataError) as failure:
            read()
        said.append(str(failure.value))
    assert said[0] == said[1]
    row = message.split("{", maxsplit=1)[0].removeprefix("row ").strip()
    line = f" (line {int(row) + 1})" if suffix == ".csv" and row.isdigit() else ""
    assert said[0].startswith(f"{path}: {message.format(line)}")
    assert not (tmp_path / "work").exists(), "nothing is split before the file is checked"


def test_everybody_names_all_problems_the_same(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    table = good_table()
    columns = {
        name: [str(v) if v is not None else "" for v in table[name].to_pylist()]
        for name in table.column_names
    }
    columns["label"][5] = "7"
    columns["label"][6] = "yes"
    columns["amount"][2] = "inf"
    by_arrow(pa.table(columns), path)
    found = []
    for read in (lambda: demo(path, tmp_path / "work"), lambda: load_training_rows(path, CONTRACT)):
        with pytest.raises(ProblemsError) as failure:
            read()
        found.append(failure.value)
    assert found[0].problems == found[1].problems
    assert found[0].summary == found[1].summary
    assert [(p.kind, p.cells[0].line) for p in found[0].problems] == [
        ("not_finite", 4),
        ("not_a_number", 8),
        ("not_a_label", 7),
    ]


DAY = 86_400


@st.composite
def payments(draw: st.DrawFn) -> pa.Table:
    """Draw payments under our names, whole numbers and texts in whatever dress."""
    whole = st.sampled_from([pa.int64(), pa.float64(), pa.decimal128(38, 0), pa.uint64()])
    texts = st.lists(
        st.one_of(st.sampled_from([*TEXTS, "two\nlines"]), st.none()), min_size=ROWS, max_size=ROWS
    )
    times = [DAY * day for day in range(ROWS)]
    amounts = draw(st.lists(st.integers(0, 10**6), min_size=ROWS, max_size=ROWS))
    decimals = draw(st.booleans())

    def numbers(values: list[int]) -> pa.Array:
        kind = draw(whole)
        return pa.array(map(Decimal, values) if pa.types.is_decimal(kind) else values, kind)

    return pa.table(
        {
            "transaction_id": [f"t{i}" for i in range(ROWS)],
            "event_time": numbers(times),
            "label_time": numbers([time + DAY for time in times]),
            "customer_id": numbers([i % 5 for i in range(ROWS)])
            if decimals
            else list("cdefgh") * 4,
            "merchant_id": pa.array(draw(texts), pa.large_string()),
            "amount_minor": numbers(amounts),
            "is_fraud": pa.array([i % 3 == 0 for i in range(ROWS)]),
        }
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    table=payments(),
    writer=st.sampled_from(sorted(WRITERS)),
    suffix=st.sampled_from([".csv", ".parquet"]),
)
def test_everybody_reads_the_same_payments(
    tmp_path_factory: pytest.TempPathFactory, table: pa.Table, writer: str, suffix: str
) -> None:
    root = tmp_path_factory.mktemp("payments")
    path = root / f"rows{suffix}"
    WRITERS[writer](table, path)
    rows = load_transactions(path)
    # Identifiers are compared in their canonical form; none is lost on the way there.
    assert pa.array(rows["merchant_id"]).to_pylist() == [
        None if text is None else canonical(text, DEFAULT_KINDS["merchant_id"])
        for text in table["merchant_id"].to_pylist()
    ]
    for name in ("event_time", "label_time", "amount_minor", "is_fraud"):
        assert rows[name].tolist() == [int(value) for value in table[name].to_pylist()]
    data = open_payments(
        path, mapping=None, bank_column=None, n_banks=3, work=root / "work", seed=1
    )
    split = pd.concat([load_transactions(bank.train_file) for bank in data.banks])
    together = split.set_index("transaction_id").loc[rows["transaction_id"]].reset_index()
    pd.testing.assert_frame_equal(together[list(rows)], rows)
