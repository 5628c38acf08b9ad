"""Raw transactions as the demo's input, and anybody's file of them split over banks.

Three windows in time train, select and judge. The features of a bank's rows are those that its own
node computes; only for the pooled model does the demo lay all banks' transactions in one table.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features, find_recipe
from fraudfed.dtypes import Int64Array
from fraudfed.errors import DataError
from fraudfed.features.builders import build_recipe
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.table import LABEL_NOT_KNOWN, FeatureTable, rows_of_direction
from fraudfed.intake.outcomes import ANALYSIS_COLUMNS
from fraudfed.intake.plain_table import contract_schema, feature_types, read_features
from fraudfed.intake.transactions import read_transactions
from fraudfed.intake.windows import horizon_seconds, windows_in_time
from fraudfed.lab.demo.bank_names import NamedBanks, name_banks
from fraudfed.lab.demo.cutoffs import Cutoffs, choose_cutoffs
from fraudfed.lab.demo.data import (
    BankRows,
    BankSource,
    DemoData,
    PooledRows,
    RiskPlan,
    pool_judged,
    require_cohort,
)
from fraudfed.lab.demo.feature_table import deal
from fraudfed.lab.oracle.references import pool
from fraudfed.lab.report.mules import ArrivalTruth
from fraudfed.reading.file import DataFile
from fraudfed.reading.file_format import PLAIN_CSV
from fraudfed.wire.messages import DataContract, LabelHorizon, RiskSpec

#: Widths of the sketch of payments: two columns for each payment of a day keep collisions rare.
_SKETCH_WIDTHS = (1024, 65_536)


def open_payments(
    file: Path,
    *,
    mapping: Mapping | None,
    bank_column: str | None,
    n_banks: int,
    work: Path,
    seed: int,
    recipe: str = RECIPE,
    horizon_days: int | None = None,
) -> DemoData:
    """Split anybody's transactions over banks by customer, and by time into three windows.

    Parameters
    ----------
    file : Parquet or CSV file of raw transactions
    mapping : of transactions, with labels; None if the columns have our names
    bank_column : column that says whose customer it is, or None to deal customers out in unequal
        shares
    n_banks : number of banks when there is no ``bank_column``
    work : directory for each bank's own file
    seed : of the dealing; the same rows and seed give the same files
    recipe : name of the recipe, which decides whose payments are trained on and judged
    horizon_days : label horizon; None chooses it from the file

    Raises
    ------
    DataError
        If the file is not what the mapping says, a bank has no rows, or no payment is of the
        recipe's direction.
    CohortError
        If there are too few banks.
    """
    rows, named = _read_payments(file, mapping, bank_column)
    direction = find_recipe(recipe).direction
    if rows_of_direction(rows, direction).size == 0:
        raise DataError(
            f"{file}: none of {len(rows)} payments is {direction}, expected some in column "
            "'direction'; choose the other --view"
        )
    if named is None:
        require_cohort(n_banks, what="--banks")
        customers, _ = pd.factorize(rows["customer_id"])
        dealt = deal(int(customers.max()) + 1, n_banks, np.random.default_rng(seed))
        owner = dealt[customers]
        titles = {name: name for name in sorted(set(owner.tolist()))}
    else:
        owner, titles = named.owner, named.titles
    # Dealing to more banks than there are customers leaves some without rows.
    what = "--banks" if bank_column is None else f"{file}: column {bank_column!r}"
    require_cohort(len(titles), what=what)
    banks = []
    for name, title in titles.items():
        own = work / name / "transactions.parquet"
        own.parent.mkdir(parents=True, exist_ok=True)
        rows[owner == name].to_parquet(own, index=False)
        banks.append(BankSource(name, own, own, title))
    first, last = int(rows["event_time"].min()), int(rows["event_time"].max())
    if not (rows["is_fraud"] == 0).any():
        raise DataError(f"{file}: no row is clean, expected rows of both classes")
    cutoffs = choose_cutoffs((first, last + 1), *_reports([rows]), horizon_days=horizon_days)
    return transactions_data(
        banks,
        data=f"Transactions of {file.name}.",
        rows=len(rows),
        period=(first, last + 1),
        cutoffs=cutoffs,
        recipe=recipe,
    )


def reports_of(banks: Sequence[BankSource]) -> tuple[Int64Array, Int64Array]:
    """Return when the payments that banks know as fraud were made, and when they were reported."""
    types = dict.fromkeys(("event_time", "label_time", "is_fraud"), pa.float64())
    return _reports([DataFile.open(bank.train_file).read(types).to_pandas() for bank in banks])


def _reports(parts: Sequence[pd.DataFrame]) -> tuple[Int64Array, Int64Array]:
    frauds = [part[(part["is_fraud"] == 1).fillna(False).astype(bool)] for part in parts]
    frauds = [part[part["label_time"].notna()] for part in frauds]
    event, report = (
        np.concatenate([part[name].to_numpy(dtype=np.int64) for part in frauds])
        for name in ("event_time", "label_time")
    )
    return event, report


def _read_payments(
    file: Path, mapping: Mapping | None, bank_column: str | None
) -> tuple[pd.DataFrame, NamedBanks | None]:
    """Return checked transactions in our columns, and whose each is if a column says so."""
    whole = DataFile.open(file, file_format=PLAIN_CSV if mapping is None else mapping.file)
    problems, extra = whole.problems(), {}
    if bank_column is not None and whole.require(bank_column, "--bank-column", problems):
        extra[bank_column] = pa.string()
    read = read_transactions(whole, mapping, problems, extra=extra, needs_labels=True)
    integers = ("event_time", "label_time", "amount_minor", "is_fraud")
    rows = read.rows.astype(dict.fromkeys(integers, "Int64"))
    if bank_column is None:
        return rows, None
    return rows, name_banks(read.extra[bank_column], what=f"{file}: column {bank_column!r}")


def transactions_data(
    banks: Sequence[BankSource],
    *,
    data: str,
    rows: int,
    period: tuple[int, int],
    cutoffs: Cutoffs,
    recipe: str = RECIPE,
    truth: Callable[[BankSource], ArrivalTruth] | None = None,
) -> DemoData:
    """Return banks' files of transactions as the demo's input.

    Parameters
    ----------
    banks : sequence of BankSource
        Each with one file, for training and for testing.
    data : what the rows are, in one sentence
    rows : of all banks
    period : first second, and first second after the last, UTC epoch seconds
    cutoffs : of the windows that train, select and judge
    recipe : name of the recipe, which decides whose payments are trained on and judged
    truth : what is true of them, reported or not, where that is known
    """

    def contract(*, shared: bool) -> DataContract:
        return DataContract(
            kind="transactions",
            features=contract_features(recipe, shared=shared),
            recipe=recipe,
            train_until=cutoffs.train_until,
            select_until=cutoffs.select_until,
            judge_until=cutoffs.judge_until,
            label_horizon_days=LabelHorizon(days=cutoffs.horizon_days),
        )

    def load(bank: BankSource, features: Path | None) -> BankRows:
        if features is None:
            raise ValueError("rows of transactions need the features that the bank node writes")
        rows, plan = _bank_rows(bank.train_file), contract(shared=True)
        positions = rows_of_direction(rows, find_recipe(recipe).direction)
        return _divided(_exported(features, plan, positions), rows, plan)

    def pooled() -> PooledRows:
        frames = [_bank_rows(bank.train_file) for bank in banks]
        everybody = pd.concat(frames, ignore_index=True)
        together = build_recipe(recipe, everybody)
        plan = contract(shared=False)
        ends = np.cumsum([len(frame) for frame in frames])
        owner = np.searchsorted(ends, together.positions, side="right")
        # Bank by bank, so that the rows of each that judge are those of its own windows.
        parts = [
            _divided(together.take(owner == index), everybody, plan) for index in range(len(banks))
        ]
        return PooledRows(
            pool([part.train for part in parts]),
            pool_judged([part.select for part in parts]),
            tuple(part.judge for part in parts),
        )

    first_day, last_day = period[0] // SECONDS_PER_DAY, (period[1] - 1) // SECONDS_PER_DAY
    per_day = rows / (last_day - first_day + 1)
    width = 1 << int(np.ceil(np.log2(max(2.0 * per_day, 1.0))))
    spec = RiskSpec(
        first_day=first_day,
        last_day=last_day,
        delay_days=0,
        transaction_width=int(np.clip(width, *_SKETCH_WIDTHS)),
    )
    return DemoData(
        data=data,
        split="Trained on what was known at a first time, chosen by what followed until a second, "
        "and judged by what followed then, with labels as they were known at the end of each "
        "window.",
        contract=contract(shared=False),
        banks=tuple(banks),
        rows=rows,
        load=load,
        pool=pooled,
        risk=RiskPlan(spec, contract(shared=True)),
        truth=truth,
        notes=(cutoffs.note,),
    )


def _divided(built: FeatureTable, rows: pd.DataFrame, contract: DataContract) -> BankRows:
    """Divide payments by the contract's cut-offs."""
    start, until = contract.judge_from, contract.judge_until
    if start is None or until is None:
        raise ValueError("a contract without a window that judges")
    horizon = horizon_seconds(rows, built.positions, contract.label_horizon_days)
    judged = (built.event_time >= start) & (built.event_time < until - horizon)
    return BankRows.of(windows_in_time(built, rows, contract), judged)


def _bank_rows(path: Path) -> pd.DataFrame:
    """Read a bank's own transactions."""
    file = DataFile.open(path)
    return read_transactions(
        file, None, file.problems(), extra={}, needs_labels=True, analysis=ANALYSIS_COLUMNS
    ).rows


def _exported(path: Path, contract: DataContract, positions: Int64Array) -> FeatureTable:
    """Read what ``bank-node features`` has written of these rows of a bank's file."""
    file = DataFile.open(path)
    problems = file.problems()
    types = feature_types(file, contract, problems)
    numbers = dict.fromkeys((contract.label, "event_time", "label_time"), pa.float64())
    found = file.read({**types, **numbers, "transaction_id": pa.string()})
    values = read_features(file, contract, found, problems)
    problems.raise_any()
    label, event_time, label_time = (found[name].to_numpy() for name in numbers)
    known = np.where(np.isnan(label_time), LABEL_NOT_KNOWN, label_time)
    return FeatureTable(
        schema=contract_schema(contract),
        values=values,
        labels=label.astype(np.float32),
        event_time=event_time.astype(np.int64),
        label_time=known.astype(np.int64),
        transaction_id=found["transaction_id"].to_numpy(),
        positions=positions,
    )
