"""A bank's rows as the run's data contract wants them; checked before anything is encrypted."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from bank_node.data.risk_days import check_scoring_days, check_training_days
from bank_node.data.transactions import RawTransactions, read_transactions
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.catalogue.recipes import Recipe, contract_features, find_recipe
from fraudfed.dtypes import Float32Array
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features import FeatureTable
from fraudfed.features.builders import build_recipe
from fraudfed.features.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.reading.columns import categorical_feature, labels, numeric_feature, weights
from fraudfed.reading.file import DataFile
from fraudfed.reading.problems import Problems, shortened
from fraudfed.wire.messages import DataContract, FeatureType

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
    """

    table: TrainingTable
    rows_read: int
    period: tuple[int, int] | None
    warnings: tuple[str, ...]


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


def feature_schema(contract: DataContract) -> FeatureSchema:
    """Return the contract's features as training needs them."""
    return FeatureSchema(
        names=tuple(spec.name for spec in contract.features),
        n_categories=tuple(len(spec.categories or ()) for spec in contract.features),
        categories=tuple(spec.categories or () for spec in contract.features),
    )


def check_contract(contract: DataContract) -> None:
    """Make sure that this release can meet the contract.

    Raises
    ------
    ConfigurationError
        If the recipe or a feature of it is unknown here, or a feature is also the label.
    """
    special = {contract.label, contract.weight} - {None}
    mixed = sorted(spec.name for spec in contract.features if spec.name in special)
    if mixed:
        raise ConfigurationError(
            f"data contract: {mixed[0]!r} is a feature and the label or weight at once; the "
            "operator must publish a corrected run"
        )
    if contract.kind == "table":
        return
    recipe = _recipe(contract)
    if contract.label != "is_fraud":
        raise ConfigurationError(
            f"data contract: label {contract.label!r}, expected 'is_fraud' for transactions; the "
            "operator must publish a corrected run"
        )
    if needs_tables(contract) != bool(contract.shared_risk):
        raise ConfigurationError(
            f"data contract: names {len(contract.shared_risk)} risk tables, expected them exactly "
            "for features 'shared_...', so that all banks train on the same; the operator must "
            "publish a corrected run"
        )
    known = {spec.name: spec for spec in contract_features(recipe.name, shared=True)}
    for spec in contract.features:
        own = known.get(spec.name)
        if own is None or (own.type, own.categories) != (spec.type, spec.categories):
            raise ConfigurationError(
                f"data contract: feature {spec.name!r} ({spec.type.value}) is not what recipe "
                f"{recipe.name!r} makes; the operator must publish a corrected run"
            )


def needs_tables(contract: DataContract) -> bool:
    """Tell whether a feature of the contract is computed from risk tables."""
    if contract.kind != "transactions":
        return False
    shared = {feature.name for feature in _recipe(contract).shared_features}
    return any(feature.name in shared for feature in contract.features)


def _recipe(contract: DataContract) -> Recipe:
    try:
        return find_recipe(contract.recipe or "")
    except ConfigurationError as error:
        raise ConfigurationError(f"data contract: {error}") from None


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
    return read_transactions(file, mapping, extra={}, needs_labels=False).rows


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
    raw = read_transactions(file, mapping, extra={}, needs_labels=False)
    built = _build(file, raw, contract, shared)
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
    types = _feature_types(file, contract, problems)
    if file.has(_ID) and file.require(_ID, "identifier", problems):
        types.setdefault(_ID, pa.string())
    found = file.read(types)
    features = _features(file, contract, found, problems)
    problems.raise_any()
    identifiers = found[_ID].combine_chunks() if _ID in found.column_names else None
    return ScoringRows(features, identifiers)


def _open(path: Path, kind: str, mapping: Mapping | None) -> DataFile:
    """Open a file; a plain table's columns get the names that its mapping gives them."""
    if mapping is None:
        return DataFile.open(path)
    if mapping.kind != kind:
        raise ConfigurationError(
            f"mapping: is for kind {mapping.kind!r}, the run's data are of kind {kind!r}; choose "
            "another mapping, or none"
        )
    return DataFile.open(path, source_names=mapping.source_names if kind == "table" else None)


def _plain_table(file: DataFile, contract: DataContract) -> TrainingRows:
    problems = _problems(file)
    types = _feature_types(file, contract, problems)
    for name, purpose in ((contract.label, "label"), (contract.weight, "weight")):
        if name is not None and file.require(name, purpose, problems):
            types[name] = pa.float64()
    if not types:
        problems.raise_any()
    found = file.read(types)
    features = _features(file, contract, found, problems)
    row_labels = np.zeros(found.num_rows, np.float32)
    if contract.label in types:
        row_labels = labels(file, contract.label, found[contract.label], problems)
    row_weights = _weights(file, contract, found, problems)
    problems.raise_any()
    table = TrainingTable(
        schema=feature_schema(contract),
        features=features,
        labels=row_labels,
        weights=row_weights,
        max_weight=contract.max_weight,
    )
    return TrainingRows(table, found.num_rows, None, _warnings(file, table))


def _transactions(
    file: DataFile,
    contract: DataContract,
    mapping: Mapping | None,
    shared: SharedRisk | None,
) -> TrainingRows:
    extra = {}
    if contract.weight is not None:
        file.require(contract.weight, "weight")
        extra[contract.weight] = pa.float64()
    raw = read_transactions(file, mapping, extra=extra, needs_labels=True)
    built = _build(file, raw, contract, shared)
    chosen = built.training_rows(
        start=contract.train_from,
        until=contract.train_until,
        label_delay_seconds=contract.label_delay_seconds,
    )
    if not chosen.any():
        raise DataError(
            f"{file.path}: none of {built.n_rows} rows lies in the training window, event_time "
            f"from {contract.train_from} until {contract.train_until} less the label delay of "
            f"{contract.label_delay_seconds} s, with a known label; give the data of that window"
        )
    problems = _problems(file)
    row_weights = _weights(file, contract, raw.extra, problems)
    problems.raise_any()
    used = built.take(chosen)
    if shared is not None:
        check_training_days(shared, used.event_time)
    table = TrainingTable(
        schema=feature_schema(contract),
        features=_selected(used, contract),
        labels=used.labels,
        weights=None if row_weights is None else row_weights[used.positions],
        max_weight=contract.max_weight,
    )
    period = (int(used.event_time.min()), int(used.event_time.max()))
    recipe = _recipe(contract)
    absent = [name for name in raw.absent if name not in recipe.unused]
    warnings = _warnings(file, table, absent=absent)
    return TrainingRows(table, built.n_rows, period, warnings)


def _build(
    file: DataFile, raw: RawTransactions, contract: DataContract, shared: SharedRisk | None
) -> FeatureTable:
    if needs_tables(contract) != (shared is not None):
        raise ValueError("shared must be given exactly for a contract that needs risk tables")
    recipe = _recipe(contract)
    built = build_recipe(
        recipe.name,
        raw.rows,
        label_delay_seconds=contract.label_delay_seconds,
        shared=shared,
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


def _feature_types(
    file: DataFile, contract: DataContract, problems: Problems
) -> dict[str, pa.DataType]:
    return {
        spec.name: pa.float64() if spec.type is FeatureType.NUMERIC else pa.string()
        for spec in contract.features
        if file.require(spec.name, f"{spec.type.value} feature", problems)
    }


def _features(
    file: DataFile, contract: DataContract, found: pa.Table, problems: Problems
) -> Float32Array:
    """Convert feature by feature; stored column by column, as binning reads it."""
    values = np.empty((len(contract.features), found.num_rows), dtype=np.float32)
    for row, spec in zip(values, contract.features, strict=True):
        if spec.name not in found.column_names:
            row[:] = np.nan
        elif spec.type is FeatureType.NUMERIC:
            row[:] = numeric_feature(
                file, spec.name, found[spec.name], problems, nullable=spec.nullable
            )
        else:
            row[:] = categorical_feature(
                file,
                spec.name,
                found[spec.name],
                problems,
                categories=spec.categories or (),
                nullable=spec.nullable,
            )
    return values.T


def _weights(
    file: DataFile, contract: DataContract, found: pa.Table, problems: Problems
) -> Float32Array | None:
    name = contract.weight
    if name is None or name not in found.column_names:
        return None
    return weights(file, name, found[name], problems, max_weight=contract.max_weight)


def _selected(built: FeatureTable, contract: DataContract) -> Float32Array:
    """Pick the contract's features, in its order."""
    indices = [built.names.index(spec.name) for spec in contract.features]
    if indices == list(range(len(built.names))):
        return built.values
    return np.ascontiguousarray(built.values.T[indices]).T


def _warnings(
    file: DataFile, table: TrainingTable, *, absent: Sequence[str] = ()
) -> tuple[str, ...]:
    found = []
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
