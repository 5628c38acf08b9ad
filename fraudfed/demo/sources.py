"""Where the demo's rows come from: a generated world, a folder of one, or any feature table.

Each source ends as ``DemoData``: files for the bank nodes, the data contract of the run, and
(because a demo may look at everything) the matrices to train and test the reference models on.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types as pdt

from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.dtypes import BoolArray
from fraudfed.errors import CohortError, DataError
from fraudfed.features.build import build_features
from fraudfed.features.recipe import RECIPE, contract_features
from fraudfed.features.schema import pandas_dtypes
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType

__all__ = ["BankRows", "BankSource", "DemoData", "open_table", "open_transactions"]

#: Fewer banks than this and "sum minus own" is somebody's statistic.
MIN_BANKS = 3
#: A text column with more distinct values than this is an identifier, not a category.
_MAX_CATEGORIES = 1000
#: Share of a plain table's rows that is kept for testing.
_TEST_SHARE = 0.3


@dataclass(frozen=True)
class BankSource:
    """One bank's files: what its node trains on and what it scores."""

    name: str
    train_file: Path
    test_file: Path


@dataclass(frozen=True, eq=False)
class BankRows:
    """One bank's rows as the reference models see them.

    Attributes
    ----------
    train, test : TrainingTable
    test_positions : ndarray of shape (n_rows of the test file,), dtype=bool
        Which rows of the bank's test file ``test`` holds, in file order.
    """

    train: TrainingTable
    test: TrainingTable
    test_positions: BoolArray


@dataclass(frozen=True, eq=False)
class DemoData:
    """Everything the demo knows about its input.

    Attributes
    ----------
    data, split : str
        One sentence each: what the rows are, and how test rows are set apart.
    contract : DataContract
    banks : tuple of BankSource
    rows : int
        Rows of all banks, train and test.
    load : callable
        Reads one bank's rows for the reference models.
    """

    data: str
    split: str
    contract: DataContract
    banks: tuple[BankSource, ...]
    rows: int
    load: Callable[[BankSource], BankRows]


def open_transactions(directory: Path) -> DemoData:
    """Open a folder as ``data-gen`` writes it.

    Training uses events before the manifest's ``split_time``, testing those from there on.
    """
    manifest_file = directory / "manifest.json"
    if not manifest_file.is_file():
        raise DataError(
            f"--data {directory}: manifest.json is missing; expected a folder that "
            "`data-gen generate --out DIR` has written"
        )
    try:
        manifest: dict[str, Any] = json.loads(manifest_file.read_text())
        split_time = int(manifest["split_time"])
        delay = int(manifest["label_delay_seconds"])
        names = sorted(str(bank["name"]) for bank in manifest["banks"])
        rows = int(manifest["rows"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{manifest_file}: cannot be read as a manifest of data-gen ({error!r}); generate the "
            "folder again"
        ) from error
    _require_cohort(len(names), what=f"--data {directory}")
    contract = DataContract(
        kind="transactions",
        features=contract_features(),
        recipe=RECIPE,
        train_until=split_time,
        label_delay_seconds=delay,
    )
    banks = []
    for name in names:
        files = [directory / name / f"transactions.{suffix}" for suffix in ("parquet", "csv")]
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            raise DataError(f"{directory / name}: transactions.parquet or .csv is missing")
        banks.append(BankSource(name=name, train_file=found, test_file=found))

    def load(bank: BankSource) -> BankRows:
        built = build_features(_read(bank.train_file), label_delay_seconds=delay)
        train = built.training_rows(start=None, until=split_time, label_delay_seconds=delay)
        test = built.rows_between(start=split_time, stop=None)
        return BankRows(
            train=built.take(train).training_table(),
            test=built.take(test).training_table(),
            test_positions=test,
        )

    return DemoData(
        data=f"Synthetic transactions of {len(names)} banks; no real person is in them.",
        split="Trained on what was known at the split time, tested on all later transactions.",
        contract=contract,
        banks=tuple(banks),
        rows=rows,
        load=load,
    )


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
    frame = _read(file)
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
        _require_cohort(n_banks, what="--banks")
        owner = _deal(len(frame), n_banks, rng)
    else:
        owner = frame[bank_column].map(_bank_name).to_numpy(dtype=str)
    names = sorted(set(owner.tolist()))
    _require_cohort(len(names), what=f"column {bank_column!r} of {file}")

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
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        bank = BankSource(name, folder / "train.parquet", folder / "test.parquet")
        for path, chosen in ((bank.train_file, ~is_test), (bank.test_file, is_test)):
            part = frame.loc[(owner == name) & chosen, columns]
            if part.empty:
                raise DataError(
                    f"{file}: bank {name!r} has no rows left for {path.stem}; give it more rows"
                )
            part.to_parquet(path, index=False)
        banks.append(bank)

    def load(bank: BankSource) -> BankRows:
        train, test = (_matrix(_read(path), contract) for path in (bank.train_file, bank.test_file))
        return BankRows(train, test, test_positions=np.ones(test.n_rows, dtype=np.bool_))

    return DemoData(
        data=f"Feature table {file.name}.",
        split=f"Split at random: {_TEST_SHARE:.0%} of the rows are kept for testing.",
        contract=contract,
        banks=tuple(banks),
        rows=len(frame),
        load=load,
    )


def _read(file: Path) -> pd.DataFrame:
    """Read a whole Parquet or CSV file, by its suffix."""
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected a Parquet or CSV table")
    try:
        if file.suffix == ".csv":
            frame = pd.read_csv(file, dtype=pandas_dtypes())
        else:
            frame = pd.read_parquet(file)
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{file}: cannot be read as {'CSV' if file.suffix == '.csv' else 'Parquet'} "
            f"({reason}); expected a .parquet or .csv table"
        ) from error
    if frame.empty:
        raise DataError(f"{file}: has no rows; expected at least one")
    return frame


def _matrix(frame: pd.DataFrame, contract: DataContract) -> TrainingTable:
    """Return the frame's features as numbers: a category as its code, a missing value as NaN."""
    columns = []
    for spec in contract.features:
        column = frame[spec.name]
        if spec.categories is None:
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            codes = pd.Categorical(column, categories=list(spec.categories)).codes
            values = np.where(codes < 0, np.nan, codes.astype(np.float64))
        columns.append(values.astype(np.float32))
    schema = FeatureSchema(
        names=tuple(spec.name for spec in contract.features),
        n_categories=tuple(len(spec.categories or ()) for spec in contract.features),
    )
    labels = frame[contract.label].to_numpy(dtype=np.float32)
    return TrainingTable(schema, np.column_stack(columns), labels)


def _require_cohort(found: int, *, what: str) -> None:
    if found < MIN_BANKS:
        raise CohortError(
            f"{what}: {found} banks, expected at least {MIN_BANKS}; with fewer, the sum minus a "
            "bank's own part is another bank's statistic"
        )


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


def _deal(n_rows: int, n_banks: int, rng: np.random.Generator) -> npt.NDArray[np.str_]:
    """Deal rows out in shares 1, 1/2, 1/3, ...: banks are never of one size."""
    shares = 1.0 / np.arange(1, n_banks + 1)
    ends = np.round(np.cumsum(shares / shares.sum()) * n_rows).astype(np.int64)
    position = np.searchsorted(ends, np.arange(n_rows), side="right")
    names = np.array([f"bank_{number:02d}" for number in range(1, n_banks + 1)])
    dealt: npt.NDArray[np.str_] = names[rng.permutation(position)]
    return dealt


def _bank_name(value: object) -> str:
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
