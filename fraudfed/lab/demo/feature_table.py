"""Any feature table as the demo's input: split over banks, and at random into train and test."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types as pdt

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import Float32Array
from fraudfed.errors import DataError
from fraudfed.lab.demo.data import (
    BankRows,
    BankSource,
    DemoData,
    PooledRows,
    read_frame,
    require_cohort,
)
from fraudfed.lab.oracle.references import pool
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType

#: A text column with more distinct values than this is an identifier, not a category.
_MAX_CATEGORIES = 1000
#: Share of a plain table's rows that is kept for testing.
_TEST_SHARE = 0.3


def open_table(
    file: Path,
    *,
    label: str,
    drop: Sequence[str],
    bank_column: str | None,
    n_banks: int,
    work: Path,
    seed: int,
) -> DemoData:
    """Split any feature table over banks, and each bank's rows at random into train and test.

    Parameters
    ----------
    file : Parquet or CSV file
    label : column of 0 and 1
    drop : columns to leave out
    bank_column : column that says whose row it is, or None to deal rows out in unequal shares
    n_banks : number of banks when there is no ``bank_column``
    work : directory for each bank's own files
    seed : of the random split; the same rows and seed give the same files
    """
    frame = read_frame(file)
    _check_columns(frame, file, label=label, drop=drop, bank_column=bank_column)
    labels = pd.to_numeric(frame[label], errors="coerce")
    wrong = ~labels.isin((0, 1))
    if wrong.any():
        row = int(np.argmax(wrong.to_numpy()))
        value = frame[label].tolist()[row]
        raise DataError(
            f"{file}: row {row + 1}, column {label!r} holds {value!r}, expected "
            "0 or 1 (1 = fraud); choose the label column with --label"
        )
    if labels.nunique() < 2:
        raise DataError(
            f"{file}: column {label!r} holds only the value {int(labels.iloc[0])}; training needs "
            "rows of both classes"
        )
    rng = np.random.default_rng(seed)
    if bank_column is None:
        require_cohort(n_banks, what="--banks")
        owner = deal(len(frame), n_banks, rng)
    else:
        owner = frame[bank_column].map(bank_name).to_numpy(dtype=str)
    names = sorted(set(owner.tolist()))
    require_cohort(len(names), what=f"column {bank_column!r} of {file}")

    left_out = {label, *drop, *([bank_column] if bank_column else [])}
    specs = tuple(
        _feature_spec(frame[column], file) for column in frame.columns if column not in left_out
    )
    if not specs:
        raise DataError(f"{file}: no feature column is left; drop fewer columns with --drop")
    contract = DataContract(kind="table", features=specs, label=label)
    columns = [label, *(spec.name for spec in specs)]
    is_test = rng.random(len(frame)) < _TEST_SHARE
    banks = []
    for name in names:
        own = owner == name
        train, test = (frame.loc[own & part, columns] for part in (~is_test, is_test))
        for part, what in ((train, "train"), (test, "test")):
            if part.empty:
                raise DataError(
                    f"{file}: bank {name!r} has no rows left for {what}; give it more rows"
                )
        banks.append(write_bank(work, name, train, test))
    return table_data(
        banks,
        data=f"Feature table {file.name}.",
        split=f"Split at random: {_TEST_SHARE:.0%} of the rows are kept for testing.",
        contract=contract,
        rows=len(frame),
    )


def write_bank(work: Path, name: str, train: pd.DataFrame, test: pd.DataFrame) -> BankSource:
    """Write a bank's feature tables into a folder of its own."""
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    bank = BankSource(name, folder / "train.parquet", folder / "test.parquet")
    train.to_parquet(bank.train_file, index=False)
    test.to_parquet(bank.test_file, index=False)
    return bank


def table_data(
    banks: Sequence[BankSource], *, data: str, split: str, contract: DataContract, rows: int
) -> DemoData:
    """Return banks' feature tables, as ``write_bank`` writes them, as the demo's input.

    Parameters
    ----------
    banks : sequence of BankSource
    data, split : str
        As in ``DemoData``.
    contract : DataContract
        Of the tables.
    rows : int
        Of all banks.
    """

    def load(bank: BankSource, _features: Path | None = None) -> BankRows:
        files = (bank.train_file, bank.test_file)
        train, test = (table_of(read_frame(path), contract) for path in files)
        return BankRows(train, test, test_positions=np.ones(test.n_rows, dtype=np.bool_))

    def pooled() -> PooledRows:
        parts = [load(bank) for bank in banks]
        return PooledRows(pool([part.train for part in parts]), tuple(part.test for part in parts))

    return DemoData(
        data=data,
        split=split,
        contract=contract,
        banks=tuple(banks),
        rows=rows,
        load=load,
        pool=pooled,
    )


def table_of(frame: pd.DataFrame, contract: DataContract) -> TrainingTable:
    """Return the rows of a frame as training wants them."""
    labels = frame[contract.label].to_numpy(dtype=np.float32)
    return TrainingTable(schema_of(contract), matrix_of(frame, contract), labels)


def schema_of(contract: DataContract) -> FeatureSchema:
    """Return names and numbers of categories of a contract's features."""
    return FeatureSchema(
        names=tuple(spec.name for spec in contract.features),
        n_categories=tuple(len(spec.categories or ()) for spec in contract.features),
        categories=tuple(spec.categories or () for spec in contract.features),
    )


def matrix_of(frame: pd.DataFrame, contract: DataContract) -> Float32Array:
    """Return the frame's features as numbers: a category as its code, a missing value as NaN.

    Returns
    -------
    ndarray of shape (n_rows, n_features), dtype=float32
        Column-major.
    """
    values = np.empty((len(contract.features), len(frame)), dtype=np.float32)
    for row, spec in zip(values, contract.features, strict=True):
        column = frame[spec.name]
        if spec.categories is None:
            row[:] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            codes = pd.Categorical(column, categories=list(spec.categories)).codes
            row[:] = np.where(codes < 0, np.nan, codes.astype(np.float64))
    return values.T


def _check_columns(
    frame: pd.DataFrame, file: Path, *, label: str, drop: Sequence[str], bank_column: str | None
) -> None:
    wanted = [("--label", label), *(("--drop", column) for column in drop)]
    if bank_column is not None:
        wanted.append(("--bank-column", bank_column))
    for option, column in wanted:
        if column not in frame.columns:
            raise DataError(
                f"{file}: {option} names column {column!r}, which is missing; the columns are "
                f"{', '.join(map(str, frame.columns))}"
            )


def deal(n_rows: int, n_banks: int, rng: np.random.Generator) -> npt.NDArray[np.str_]:
    """Deal rows out in shares 1, 1/2, 1/3, ...: banks are never of one size.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=str
        The name of each row's bank.
    """
    shares = 1.0 / np.arange(1, n_banks + 1)
    ends = np.round(np.cumsum(shares / shares.sum()) * n_rows).astype(np.int64)
    position = np.searchsorted(ends, np.arange(n_rows), side="right")
    names = np.array([f"bank_{number:02d}" for number in range(1, n_banks + 1)])
    dealt: npt.NDArray[np.str_] = names[rng.permutation(position)]
    return dealt


def bank_name(value: object) -> str:
    """Return a value of a bank column as the name of a bank."""
    name = re.sub(r"[^a-z0-9_-]+", "-", str(value).lower()).strip("-_")
    return name[:63] or "unnamed"


def _feature_spec(column: "pd.Series[Any]", file: Path) -> FeatureSpec:
    name = str(column.name)
    if pdt.is_numeric_dtype(column) or pdt.is_bool_dtype(column):
        return FeatureSpec(name=name)
    if pdt.is_datetime64_any_dtype(column):
        raise DataError(
            f"{file}: column {name!r} holds times, expected numbers or categories; leave it out "
            f"with --drop {name}"
        )
    categories = tuple(sorted({str(value) for value in column.dropna()}))
    if not 0 < len(categories) <= _MAX_CATEGORIES:
        raise DataError(
            f"{file}: column {name!r} holds {len(categories)} distinct texts, expected 1 to "
            f"{_MAX_CATEGORIES} categories; leave it out with --drop {name}"
        )
    return FeatureSpec(name=name, type=FeatureType.CATEGORICAL, categories=categories)
