"""Generated banks as arrays on disk, window by window, however many rows they have.

A bank is made, its features are built and its windows are written before the next one is made, so
that memory holds one bank at a time. Training then reads the files as memory maps.
"""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from data_gen.settings.config import WorldConfig
from data_gen.world.making import BankTransactions, make_bank, make_world
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features, find_recipe
from fraudfed.dtypes import Int64Array
from fraudfed.features.builders import build_recipe
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.table import rows_of_direction
from fraudfed.intake.outcomes import stopped_payments
from fraudfed.intake.plain_table import contract_schema
from fraudfed.intake.windows import (
    horizon_seconds,
    labels_as_of,
    windows_in_time,
)
from fraudfed.lab.bench.world_risk import risk_of_banks
from fraudfed.lab.demo.cutoffs import Cutoffs, choose_cutoffs
from fraudfed.lab.privacy.arrays import (
    WINDOWS,
    WorldTables,
    columns_of,
    finish,
    open_world,
    write_part,
)
from fraudfed.wire.messages import DataContract, LabelHorizon

#: Rows that become text at a time.
_CHUNK = 1 << 20
#: Two columns of a sketch for each payment of a day keep collisions rare; a table of days of more
#: would not fit into a small machine.
_SKETCH_WIDTHS = (1024, 65_536)


def write_world(config: WorldConfig, directory: Path) -> WorldTables:
    """Make a world's banks, build their features and write their windows.

    What an earlier call left unfinished is begun again; a finished world is opened.

    Parameters
    ----------
    config : WorldConfig
    directory : Path

    Raises
    ------
    ConfigurationError
        If the period is too short for its windows.
    """
    done = open_world(directory)
    if done is not None:
        return done
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    world = make_world(config)
    days = config.days
    payments_a_day = 0
    reports: list[tuple[Int64Array, Int64Array]] = []
    for bank in range(config.banks):
        made = make_bank(world, bank)
        payments_a_day += len(made) // days
        reports.append(_reports(made))
        del made
    cutoffs = choose_cutoffs(
        (config.start_time, config.end_time),
        np.concatenate([event for event, _ in reports]),
        np.concatenate([report for _, report in reports]),
        select_until=config.split_time,
    )
    width = 1 << max(2 * payments_a_day - 1, 1).bit_length()
    risk = risk_of_banks(
        (_frame(make_bank(world, bank)) for bank in range(config.banks)),
        first_day=config.start_time // SECONDS_PER_DAY,
        days=days,
        transaction_width=int(np.clip(width, *_SKETCH_WIDTHS)),
    )
    contract = _contract(cutoffs)
    names: list[str] = []
    sizes: dict[str, list[int]] = {window: [] for window in WINDOWS}
    for bank in range(config.banks):
        made = make_bank(world, bank)
        name, rows = made.name, _frame(made)
        del made
        built = build_recipe(RECIPE, rows, shared=risk)
        windows = windows_in_time(built, rows, contract)
        del built
        columns = columns_of(windows, _training_customers(rows, contract))
        for window, found in columns.items():
            write_part(directory, window, bank, found)
            sizes[window].append(found["labels"].size)
        names.append(name)
        del rows, windows, columns
    about = {"config": config.as_dict(), "note": cutoffs.note}
    return finish(directory, names, sizes, contract_schema(contract), about)


def _frame(made: BankTransactions) -> pd.DataFrame:
    """Return a bank's payments with names as categories: text would take ten times the memory."""
    parts = []
    for start in range(0, len(made), _CHUNK):
        part = made.to_table(start, start + _CHUNK).drop_columns(["transaction_id"])
        columns = [
            column.dictionary_encode() if pa.types.is_string(column.type) else column
            for column in part.columns
        ]
        parts.append(pa.table(columns, names=part.column_names))
    rows: pd.DataFrame = pa.concat_tables(parts).unify_dictionaries().to_pandas()
    # Identifiers are numbered in the order of the file, so the numbers order ties alike.
    rows["transaction_id"] = np.arange(len(rows))
    return rows


def _reports(made: BankTransactions) -> tuple[Int64Array, Int64Array]:
    is_fraud = made.events.is_fraud == 1
    label_time = np.asarray(made.labelled.label_time)
    return (
        made.events.time[is_fraud].astype(np.int64),
        label_time[is_fraud].astype(np.int64),
    )


def _contract(cutoffs: Cutoffs) -> DataContract:
    return DataContract(
        kind="transactions",
        features=contract_features(RECIPE, shared=True),
        recipe=RECIPE,
        train_until=cutoffs.train_until,
        select_until=cutoffs.select_until,
        judge_until=cutoffs.judge_until,
        label_horizon_days=LabelHorizon(days=cutoffs.horizon_days),
    )


def _training_customers(rows: pd.DataFrame, contract: DataContract) -> Int64Array:
    """Return codes of the customers of the rows that train, in their order."""
    positions = rows_of_direction(rows, find_recipe(RECIPE).direction)
    judged = rows.iloc[positions]
    until = contract.train_until
    if until is None:
        raise ValueError("a contract without a cut-off of training")
    times = judged["event_time"].to_numpy(dtype=np.int64)
    stopped = stopped_payments(judged)
    known = labels_as_of(
        until,
        judged["is_fraud"].to_numpy(dtype=np.float32),
        judged["label_time"].to_numpy(dtype=np.int64),
        stopped,
    )
    horizon = horizon_seconds(rows, positions, contract.label_horizon_days)
    chosen = (times < until - horizon) & ~np.isnan(known)
    codes = pd.factorize(judged["customer_id"])[0].astype(np.int64, copy=False)
    return codes[chosen]
