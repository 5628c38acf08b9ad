"""Raw transactions as the demo's input, and anybody's file of them split over banks.

Training uses what was known at the split time, testing all later payments. The features of a
bank's rows are those that its own node computes; only for the pooled model does the demo lay all
banks' transactions in one table.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.catalogue.schema import COLUMNS, LABEL_COLUMNS, TIME_COLUMNS
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features.build import build_features
from fraudfed.features.check import check_transactions
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.mapped import map_transactions, origin_of, source_types
from fraudfed.features.mapping import ColumnSource, TimeUnit, load_mapping
from fraudfed.features.mapping import Mapping as ColumnMapping
from fraudfed.features.table import LABEL_NOT_KNOWN, FeatureTable
from fraudfed.lab.demo.data import (
    BankRows,
    BankSource,
    DemoData,
    PooledRows,
    RiskPlan,
    read_frame,
    require_cohort,
)
from fraudfed.lab.demo.feature_table import bank_name, deal, matrix_of, schema_of
from fraudfed.wire.messages import DataContract, RiskSpec

#: Share of the period, at its end, that is kept for testing where nobody says otherwise.
_TEST_SHARE = 0.25
#: Widths of the sketch of payments: two columns for each payment of a day keep collisions rare.
_SKETCH_WIDTHS = (1024, 65_536)


def open_payments(
    file: Path,
    *,
    mapping: str | None,
    bank_column: str | None,
    n_banks: int,
    work: Path,
    seed: int,
) -> DemoData:
    """Split anybody's transactions over banks by customer, and by time into train and test.

    Parameters
    ----------
    file : Parquet or CSV file of raw transactions
    mapping : name or file of a column mapping; None if the columns have our names
    bank_column : column that says whose customer it is, or None to deal customers out in unequal
        shares
    n_banks : number of banks when there is no ``bank_column``
    work : directory for each bank's own file
    seed : of the dealing; the same rows and seed give the same files

    Raises
    ------
    DataError
        If the file is not what the mapping says, or a bank has no rows.
    ConfigurationError
        If the mapping is wrong.
    CohortError
        If there are too few banks.
    """
    rows, banks_of_rows = _read_payments(file, mapping, bank_column)
    if banks_of_rows is None:
        require_cohort(n_banks, what="--banks")
        customers, _ = pd.factorize(rows["customer_id"])
        dealt = deal(int(customers.max()) + 1, n_banks, np.random.default_rng(seed))
        banks_of_rows = dealt[customers]
    names = sorted(set(banks_of_rows.tolist()))
    require_cohort(len(names), what=f"column {bank_column!r} of {file}")
    banks = []
    for name in names:
        own = work / name / "transactions.parquet"
        own.parent.mkdir(parents=True, exist_ok=True)
        rows[banks_of_rows == name].to_parquet(own, index=False)
        banks.append(BankSource(name, own, own))
    first, last = int(rows["event_time"].min()), int(rows["event_time"].max())
    days = (last - first) // SECONDS_PER_DAY + 1
    split_day = first // SECONDS_PER_DAY + round(days * (1.0 - _TEST_SHARE))
    return transactions_data(
        banks,
        data=f"Transactions of {file.name}.",
        rows=len(rows),
        period=(first, last + 1),
        split_time=split_day * SECONDS_PER_DAY,
        delay=_usual_delay(rows, file),
    )


def _read_payments(
    file: Path, mapping: str | None, bank_column: str | None
) -> tuple[pd.DataFrame, npt.NDArray[np.str_] | None]:
    """Return checked transactions in our columns, and whose each is if a column says so."""
    there = _column_names(file)
    how = _own_names(there) if mapping is None else load_mapping(mapping)
    if how.kind != "transactions":
        raise ConfigurationError(
            f"--map {mapping}: is for a table of features, expected one of transactions; give the "
            "file with --table"
        )
    types = source_types(how, with_labels=True)
    if bank_column is not None:
        types.setdefault(bank_column, pa.string())
    missing = [name for name in types if name not in there]
    if missing:
        raise DataError(
            f"{file}: column {missing[0]!r} is missing, the columns are {', '.join(there)}; choose "
            "the mapping of these data with --map"
        )
    table = _read_columns(file, types)
    rows = map_transactions(how, table, source=str(file), with_labels=True)
    check_transactions(rows, source=str(file), origin=origin_of(how, table))
    whole = ("event_time", "label_time", "amount_minor", "is_fraud")
    rows = rows.astype(dict.fromkeys(whole, "Int64"))
    if bank_column is None:
        return rows, None
    names = table[bank_column].to_pandas().map(bank_name)
    return rows, names.to_numpy(dtype=str)


def _own_names(there: Sequence[str]) -> ColumnMapping:
    """Return the mapping of a file whose columns have our names."""
    columns = {
        column.name: ColumnSource(
            column=column.name,
            time_unit=TimeUnit.SECONDS if column.name in TIME_COLUMNS else None,
        )
        for column in COLUMNS
        if column.required or column.name in {*there, *LABEL_COLUMNS}
    }
    return ColumnMapping(format_version=1, kind="transactions", columns=columns)


def _column_names(file: Path) -> list[str]:
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected a Parquet or CSV table")
    try:
        if file.suffix != ".csv":
            return list(pa_parquet.read_schema(file).names)
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return next(csv.reader(stream), [])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from error


def _read_columns(file: Path, types: Mapping[str, pa.DataType]) -> pa.Table:
    """Read some columns of a file; those of a CSV file with the types given."""
    try:
        if file.suffix != ".csv":
            return pa_parquet.read_table(file, columns=list(types))
        return pa_csv.read_csv(
            file,
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(types), column_types=dict(types), strings_can_be_null=True
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(
        f"{file}: cannot be read ({' '.join(str(error).split())[:200]}); expected a .parquet or "
        ".csv table"
    )


def _usual_delay(rows: pd.DataFrame, file: Path) -> int:
    """Return the seconds after which nine of ten clean payments count as clean."""
    clean = rows[rows["is_fraud"] == 0]
    if clean.empty:
        raise DataError(f"{file}: no row is clean, expected rows of both classes")
    delays = (clean["label_time"] - clean["event_time"]).to_numpy(dtype=np.int64)
    return int(np.quantile(delays, 0.9, method="higher"))


def transactions_data(
    banks: Sequence[BankSource],
    *,
    data: str,
    rows: int,
    period: tuple[int, int],
    split_time: int,
    delay: int,
) -> DemoData:
    """Return banks' files of transactions as the demo's input.

    Parameters
    ----------
    banks : sequence of BankSource
        Each with one file, for training and for testing.
    data : what the rows are, in one sentence
    rows : of all banks
    period : first second, and first second after the last, UTC epoch seconds
    split_time : first second of the test period
    delay : label delay, seconds
    """

    def contract(*, shared: bool) -> DataContract:
        return DataContract(
            kind="transactions",
            features=contract_features(shared=shared),
            recipe=RECIPE,
            train_until=split_time,
            label_delay_seconds=delay,
        )

    def load(_bank: BankSource, features: Path | None) -> BankRows:
        if features is None:
            raise ValueError("rows of transactions need the features that the bank node writes")
        return _split(_exported(features, contract(shared=True)), split_time, delay)

    def pooled() -> PooledRows:
        frames = [read_frame(bank.train_file) for bank in banks]
        together = build_features(pd.concat(frames, ignore_index=True), label_delay_seconds=delay)
        ends = np.cumsum([len(frame) for frame in frames])
        owner = np.searchsorted(ends, np.arange(together.n_rows), side="right")
        parts = [
            _split(together.take(owner == index), split_time, delay) for index in range(len(banks))
        ]
        everything = _split(together, split_time, delay)
        return PooledRows(everything.train, tuple(part.test for part in parts))

    first_day, last_day = period[0] // SECONDS_PER_DAY, (period[1] - 1) // SECONDS_PER_DAY
    per_day = rows / (last_day - first_day + 1)
    width = 1 << int(np.ceil(np.log2(max(2.0 * per_day, 1.0))))
    spec = RiskSpec(
        first_day=first_day,
        last_day=last_day,
        delay_days=-(-delay // SECONDS_PER_DAY),
        transaction_width=int(np.clip(width, *_SKETCH_WIDTHS)),
    )
    return DemoData(
        data=data,
        split="Trained on what was known at the split time, tested on all later transactions.",
        contract=contract(shared=False),
        banks=tuple(banks),
        rows=rows,
        load=load,
        pool=pooled,
        risk=RiskPlan(spec, contract(shared=True)),
    )


def _split(rows: FeatureTable, split_time: int, delay: int) -> BankRows:
    """Set the rows to train on and to test on apart; those without a label are neither."""
    train = rows.training_rows(start=None, until=split_time, label_delay_seconds=delay)
    test = rows.rows_between(start=split_time, stop=None) & ~np.isnan(rows.labels)
    return BankRows(
        train=rows.take(train).training_table(),
        test=rows.take(test).training_table(),
        test_positions=test,
    )


def _exported(file: Path, contract: DataContract) -> FeatureTable:
    """Read what ``bank-node features`` has written."""
    frame = read_frame(file)
    label_time = frame["label_time"].fillna(LABEL_NOT_KNOWN).to_numpy(dtype=np.int64)
    return FeatureTable(
        schema=schema_of(contract),
        values=matrix_of(frame, contract),
        labels=frame[contract.label].to_numpy(dtype=np.float32),
        event_time=frame["event_time"].to_numpy(dtype=np.int64),
        label_time=label_time,
        transaction_id=frame["transaction_id"].to_numpy(dtype=object),
        positions=np.arange(len(frame), dtype=np.int64),
    )
