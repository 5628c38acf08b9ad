"""A bank's rows as the run's data contract wants them; checked before anything is encrypted."""

import logging
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from bank_node.data.contract_terms import (
    FRAUD_KIND,
    KnownFrauds,
    OwnValues,
    converted,
    currency_warnings,
    known_frauds,
    population_rows,
    tell_left_out,
)
from bank_node.data.risk_days import check_scoring_days, check_training_days
from fraudfed.boosting.table import TrainingTable
from fraudfed.catalogue.run_check import check_contract, contract_recipe, needs_tables
from fraudfed.dtypes import BoolArray, Float32Array
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features import FeatureTable
from fraudfed.features.builders import build_recipe
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.population import population_text
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.intake.plain_table import contract_schema, read_plain_table, read_weights
from fraudfed.intake.transactions import RawTransactions, read_transactions
from fraudfed.reading.file import DataFile
from fraudfed.reading.problems import Problems, shortened
from fraudfed.wire.messages import DataContract

_log = logging.getLogger(__name__)

_ID = "transaction_id"


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """What a bank trains on, and what is worth knowing about it. Never leaves the bank.

    Attributes
    ----------
    table : TrainingTable
    rows_read : int
        Rows of the file; ``table`` holds those inside the training window.
    period : tuple of int, or None
        First and last event time used, UTC epoch seconds; None for a plain table.
    warnings : tuple of str
        What is allowed and yet unusual.
    population : int or None
        Payments of the file that are in the contract's population; None if it is everybody's.
    frauds : KnownFrauds or None
        All that are in the population, inside the training window or not; None for a plain table.
    """

    table: TrainingTable
    rows_read: int
    period: tuple[int, int] | None
    warnings: tuple[str, ...]
    population: int | None = None
    frauds: KnownFrauds | None = None


@dataclass(frozen=True, eq=False)
class ScoringRows:
    """Rows to score.

    Attributes
    ----------
    features : ndarray of shape (n_rows, n_features), dtype=float32
    identifiers : Arrow array of shape (n_rows,), or None
        ``transaction_id`` where the file has it.
    """

    features: Float32Array
    identifiers: pa.Array | None


def load_transactions(path: Path, *, mapping: Mapping | None = None) -> pd.DataFrame:
    """Read and check raw transactions, of whatever run.

    Parameters
    ----------
    path : Path
    mapping : Mapping or None
        How the file's columns become those of transactions; None: they are those.

    Raises
    ------
    DataError
        Naming file, row, column, value and what was expected.
    """
    file = _open(path, "transactions", mapping)
    return read_transactions(file, mapping, _problems(file), extra={}, needs_labels=False).rows


def load_training_rows(
    path: Path,
    contract: DataContract,
    *,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
) -> TrainingRows:
    """Read, check and convert a bank's file for training.

    Parameters
    ----------
    path : Path
    contract : DataContract
    mapping : Mapping or None
        How the file's columns become those of the contract; None: they are those.
    shared : SharedRisk or None
        Risk tables, for a contract that ``needs_tables``.

    Raises
    ------
    DataError
        Naming file, row, column, value and what was expected; or a day without a risk table.
    ConfigurationError
        If the contract cannot be met by this release, or the mapping is of another kind.
    """
    check_contract(contract)
    file = _open(path, contract.kind, mapping)
    if contract.kind == "transactions":
        return _transactions(file, contract, mapping, shared)
    return _plain_table(file, contract)


def load_built_rows(
    path: Path,
    contract: DataContract,
    *,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
) -> tuple[pd.DataFrame, FeatureTable]:
    """Read transactions as the contract has them, with the features of those that it is about.

    Parameters
    ----------
    path, contract, mapping, shared
        As ``load_training_rows``; labels are not needed.

    Returns
    -------
    rows : DataFrame
        Of the whole file.
    built : FeatureTable
        Its ``positions`` say which of them it holds: those of the recipe and the population.

    Raises
    ------
    DataError, ConfigurationError
        As ``load_training_rows``.
    """
    check_contract(contract)
    file = _open(path, contract.kind, mapping)
    raw = _read(file, contract, mapping, _problems(file), extra={}, needs_labels=False)
    built = _build(file, raw, contract, shared)
    members, _ = _members(file, raw, built, contract)
    return raw.rows, built.take(members)


def load_features(
    path: Path,
    contract: DataContract,
    *,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
) -> FeatureTable:
    """Read and check transactions, and compute every feature of the recipe for all of them.

    Parameters
    ----------
    path, contract, mapping, shared
        As ``load_training_rows``; labels are not needed.

    Raises
    ------
    DataError, ConfigurationError
        As ``load_training_rows``.
    """
    check_contract(contract)
    file = _open(path, contract.kind, mapping)
    raw = _read(file, contract, mapping, _problems(file), extra={}, needs_labels=False)
    built = _build(file, raw, contract, shared)
    members, _ = _members(file, raw, built, contract)
    if contract.population is not None:
        tell_left_out(members, contract, str(file.path))
        built = built.take(members)
    if shared is not None:
        check_scoring_days(shared, built.event_time)
    return built


def load_scoring_rows(
    path: Path,
    contract: DataContract,
    *,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
) -> ScoringRows:
    """Read, check and convert a file to be scored; labels are not needed.

    Parameters
    ----------
    path, contract, mapping, shared
        As ``load_training_rows``.

    Raises
    ------
    DataError, ConfigurationError
        As ``load_training_rows``.
    """
    if contract.kind == "transactions":
        built = load_features(path, contract, mapping=mapping, shared=shared)
        identifiers = pa.array(built.transaction_id, pa.string())
        return ScoringRows(_selected(built, contract), identifiers)
    check_contract(contract)
    file = _open(path, contract.kind, mapping)
    problems = _problems(file)
    extra = {}
    if file.has(_ID) and file.require(_ID, "identifier", problems):
        extra[_ID] = pa.string()
    rows = read_plain_table(file, contract, problems, with_labels=False, extra=extra)
    identifiers = rows.extra[_ID].combine_chunks() if extra else None
    return ScoringRows(rows.features, identifiers)


def _open(path: Path, kind: str, mapping: Mapping | None) -> DataFile:
    """Open a file; a plain table's columns get the names that its mapping gives them."""
    if mapping is None:
        return DataFile.open(path)
    if mapping.kind != kind:
        raise ConfigurationError(
            f"mapping: is for kind {mapping.kind!r}, the run's data are of kind {kind!r}; choose "
            "another mapping, or none"
        )
    return DataFile.open(
        path,
        source_names=mapping.source_names if kind == "table" else None,
        file_format=mapping.file,
    )


def _plain_table(file: DataFile, contract: DataContract) -> TrainingRows:
    rows = read_plain_table(file, contract, _problems(file), with_labels=True)
    if rows.labels is None:
        raise ValueError("rows were read without labels")
    table = TrainingTable(
        schema=contract_schema(contract),
        features=rows.features,
        labels=rows.labels,
        weights=rows.weights,
        max_weight=contract.max_weight,
    )
    return TrainingRows(table, rows.n_rows, None, _warnings(file, table))


def _transactions(
    file: DataFile,
    contract: DataContract,
    mapping: Mapping | None,
    shared: SharedRisk | None,
) -> TrainingRows:
    problems, extra = _problems(file), {}
    if contract.weight is not None and file.require(contract.weight, "weight", problems):
        extra[contract.weight] = pa.float64()
    if mapping is None and file.columns.count(FRAUD_KIND) == 1:
        extra[FRAUD_KIND] = pa.string()
    raw = _read(file, contract, mapping, problems, extra=extra, needs_labels=True)
    row_weights = read_weights(file, contract, raw.extra, problems)
    problems.raise_any()
    built = _build(file, raw, contract, shared)
    members, population_warnings = _members(file, raw, built, contract)
    chosen = members & built.training_rows(
        start=contract.train_from,
        until=contract.train_until,
        label_delay_seconds=contract.label_delay_seconds,
    )
    if not chosen.any():
        raise DataError(
            f"{file.path}: none of {np.count_nonzero(members)} rows lies in the training window, "
            "event_time "
            f"from {contract.train_from} until {contract.train_until} less the label delay of "
            f"{contract.label_delay_seconds} s, with a known label; give the data of that window"
        )
    used = built.take(chosen)
    if shared is not None:
        check_training_days(shared, used.event_time)
    table = TrainingTable(
        schema=contract_schema(contract),
        features=_selected(used, contract),
        labels=used.labels,
        weights=None if row_weights is None else row_weights[used.positions],
        max_weight=contract.max_weight,
    )
    period = (int(used.event_time.min()), int(used.event_time.max()))
    recipe = contract_recipe(contract)
    absent = [name for name in raw.absent if name not in recipe.unused]
    odd = (*population_warnings, *raw.warnings)
    warnings = _warnings(file, table, absent=absent, more=odd)
    population = None if contract.population is None else int(np.count_nonzero(members))
    frauds = known_frauds(raw, built, members, mapping)
    return TrainingRows(table, len(raw.rows), period, warnings, population, frauds)


def _read(
    file: DataFile,
    contract: DataContract,
    mapping: Mapping | None,
    problems: Problems,
    *,
    extra: MappingOf[str, pa.DataType],
    needs_labels: bool,
) -> RawTransactions:
    """Read transactions with all that the contract wants of them."""
    own = OwnValues(file, contract, mapping, problems)
    raw = read_transactions(
        file,
        mapping,
        problems,
        extra={**extra, **own.types},
        needs_labels=needs_labels,
        check_extra=own.take,
    )
    rows = own.put_into(converted(raw.rows, contract, mapping, problems))
    problems.raise_any()
    return replace(raw, rows=rows, warnings=currency_warnings(raw.rows, contract, str(file.path)))


def _members(
    file: DataFile, raw: RawTransactions, built: FeatureTable, contract: DataContract
) -> tuple[BoolArray, tuple[str, ...]]:
    """Tell which of the built rows are in the contract's population; refuse if none is."""
    chosen, warnings = population_rows(raw.rows, built.positions, contract, str(file.path))
    if not chosen.any() and contract.population is not None:
        raise DataError(
            f"{file.path}: none of {len(chosen)} payments is in the run's population "
            f"({population_text(contract.population)}), expected some; give the data of those "
            "payments, or leave this run to the other banks"
        )
    return chosen, warnings


def _build(
    file: DataFile, raw: RawTransactions, contract: DataContract, shared: SharedRisk | None
) -> FeatureTable:
    if needs_tables(contract) != (shared is not None):
        raise ValueError("shared must be given exactly for a contract that needs risk tables")
    recipe = contract_recipe(contract)
    built = build_recipe(
        recipe.name,
        raw.rows,
        label_delay_seconds=contract.label_delay_seconds,
        shared=shared,
        own_columns=contract.own_columns,
    )
    others = len(raw.rows) - built.n_rows
    if built.n_rows == 0:
        raise DataError(
            f"{file.path}: none of {others} payments is {recipe.direction}, expected "
            f"{recipe.purpose} (recipe {recipe.name!r}); say so in column 'direction'"
        )
    if others:
        _log.info(
            "%s: %d of %d payments are %s, the others are no part of what recipe %r judges",
            *(file.path, built.n_rows, len(raw.rows), recipe.direction, recipe.name),
        )
    return built


def _problems(file: DataFile) -> Problems:
    return file.problems(where_all="`bank-node check-data` lists all of them")


def _selected(built: FeatureTable, contract: DataContract) -> Float32Array:
    """Pick the contract's features, in its order."""
    indices = [built.names.index(spec.name) for spec in contract.features]
    if indices == list(range(len(built.names))):
        return built.values
    return np.ascontiguousarray(built.values.T[indices]).T


def _warnings(
    file: DataFile,
    table: TrainingTable,
    *,
    absent: Sequence[str] = (),
    more: Sequence[str] = (),
) -> tuple[str, ...]:
    found = list(more)
    classes = np.unique(table.labels)
    if len(classes) == 1:
        found.append(
            f"{file.path}: all {table.n_rows} labels are {classes[0]:g}; this bank alone has one "
            "class, training continues with the others'"
        )
    empty = [
        name
        for index, name in enumerate(table.schema.names)
        if np.isnan(table.features[:, index]).all()
    ]
    if empty:
        without = f"there is no column {', '.join(absent)}: " if absent else ""
        found.append(f"{file.path}: {without}no row has a value in {shortened(', '.join(empty))}")
    for text in found:
        _log.warning("%s", text)
    return tuple(found)
