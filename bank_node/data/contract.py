"""A bank's rows as the run's data contract wants them; checked before anything is encrypted."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from bank_node.data.contract_terms import (
    CHECK_WEIGHTS,
    KnownFrauds,
    check_judged,
    known_frauds,
    population_rows,
    read_with_terms,
    tell_left_out,
)
from bank_node.data.cutoffs import check_as_of, check_cutoffs, check_train_window
from bank_node.data.risk_days import check_scoring_days, check_training_days
from bank_node.data.row_warnings import row_warnings
from bank_node.data.scoring_rows import ScoringRows, read_scoring_rows
from fraudfed.boosting.table import TrainingTable
from fraudfed.catalogue.run_check import (
    check_candidates,
    check_contract,
    contract_recipe,
    needs_tables,
)
from fraudfed.dtypes import BoolArray
from fraudfed.errors import ConfigurationError
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.features import FeatureTable
from fraudfed.features.builders import build_recipe
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.intake.outcomes import ANALYSIS_COLUMNS
from fraudfed.intake.plain_table import contract_schema, read_plain_table, read_weights
from fraudfed.intake.transactions import AmongMany, RawTransactions, read_transactions
from fraudfed.intake.windows import (
    Windows,
    contract_columns,
    windows_by_share,
    windows_in_time,
)
from fraudfed.parameters import BoosterParams
from fraudfed.reading.file import DataFile
from fraudfed.reading.location import Location, open_data
from fraudfed.reading.problems import Problems
from fraudfed.wire.messages import DataContract, RunSpec

_log = logging.getLogger(__name__)

WEIGHT = " weight"


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """What a bank trains on, and what is worth knowing about it. Never leaves the bank.

    Attributes
    ----------
    windows : Windows
        The rows to train on, and those to select and to judge by where the contract has such
        windows.
    rows_read : int
        Rows of the file.
    warnings : tuple of str
        What is allowed and yet unusual.
    population : int or None
        Payments of the file that are in the contract's population; None if it is everybody's.
    frauds : KnownFrauds or None
        All that are in the population, inside a window or not; None for a plain table.
    """

    windows: Windows
    rows_read: int
    warnings: tuple[str, ...]
    population: int | None = None
    frauds: KnownFrauds | None = None

    @property
    def table(self) -> TrainingTable:
        """The rows to train on."""
        return self.windows.train


@dataclass(frozen=True)
class TableShares:
    """Which shares of rows without times are set apart; transactions have windows in time.

    Attributes
    ----------
    seed : int
        The run's ``seed``.
    select, judge : bool
    """

    seed: int = 0
    select: bool = False
    judge: bool = False

    @classmethod
    def of_run(cls, spec: RunSpec) -> "TableShares":
        """Return the shares that a run sets apart."""
        if spec.contract is not None and spec.search is not None:
            first = check_candidates(spec.contract, spec.search, spec.parameters)[0]
            return cls(seed=first.seed, select=True, judge=True)
        params = BoosterParams.parse(spec.parameters)
        return cls(seed=params.seed, select=params.early_stopping_rounds is not None)


def load_transactions(
    path: Location, *, mapping: Mapping | None = None, analysis: Collection[str] = ()
) -> pd.DataFrame:
    """Read and check raw transactions, of whatever run.

    Parameters
    ----------
    path : Location
    mapping : Mapping or None
        How the file's columns become those of transactions; None: they are those.
    analysis : collection of str
        Columns for analysis that are read, too, where the file has them.

    Raises
    ------
    DataError
        Naming file, row, column, value and what was expected.
    """
    file = open_transactions(path, mapping)
    return read_transactions(
        file, mapping, problems_of(file), extra={}, needs_labels=False, analysis=analysis
    ).rows


def open_transactions(path: Location, mapping: Mapping | None) -> DataFile:
    """Open raw transactions without reading them; raises as ``load_transactions``."""
    return _open(path, "transactions", mapping)


def load_training_rows(
    path: Location,
    contract: DataContract,
    *,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
    shares: TableShares | None = None,
    with_customers: bool = False,
) -> TrainingRows:
    """Read, check and convert a bank's file for training.

    Parameters
    ----------
    path : Location
    contract : DataContract
    mapping : Mapping or None
        How the file's columns become those of the contract; None: they are those.
    shared : SharedRisk or None
        Risk tables, for a contract that ``needs_tables``.
    shares : TableShares or None
        Which shares of a plain table select and judge; None: all of it is trained on.
    with_customers : bool
        Whether the rows to train on say whose they are; a plain table names no customers.

    Raises
    ------
    DataError
        Naming file, row, column, value and what was expected; or a day without a risk table, a
        cut-off outside the data, or a window to train on without a payment.
    ConfigurationError
        If the contract cannot be met by this release, or the mapping is of another kind.
    """
    check_contract(contract)
    file = _open(path, contract.kind, mapping)
    if contract.kind == "transactions":
        return _transactions(file, contract, mapping, shared, with_customers=with_customers)
    return _plain_table(file, contract, shares or TableShares())


def open_rows(path: Location, contract: DataContract, mapping: Mapping | None) -> DataFile:
    """Open a bank's rows without reading them; raises as ``load_training_rows``."""
    check_contract(contract)
    return _open(path, contract.kind, mapping)


def read_piece(
    file: DataFile,
    contract: DataContract,
    mapping: Mapping | None,
    *,
    analysis: Collection[str] = (),
    with_weights: bool = False,
    currencies: set[str] | None = None,
    among: AmongMany | None = None,
    problems: Problems | None = None,
    needs_labels: bool = False,
) -> pd.DataFrame:
    """Read and check some of a bank's transactions, with labels or without.

    Parameters
    ----------
    file, contract, mapping, analysis
        As ``load_built_rows``, which raises what this does; a piece of ``open_rows``.
    with_weights : bool
        Whether weights stand beside them, in column ``WEIGHT``, if the contract has some.
    currencies : set of str or None
        Takes those of the amounts as they were read.
    among, needs_labels
        As for ``read_transactions``.
    problems : Problems or None
        Takes what is wrong, which is raised all the same.
    """
    extra: dict[str, pa.DataType] = {}
    # An empty collection of problems is false.
    problems = problems_of(file) if problems is None else problems
    weight = contract.weight if with_weights else None
    if weight is not None and file.require(weight, "weight", problems):
        extra[weight] = pa.float64()
    raw = read_with_terms(
        file,
        contract,
        mapping,
        problems,
        extra=extra,
        needs_labels=needs_labels,
        analysis=analysis,
        among=among,
    )
    if currencies is not None:
        currencies.update(raw.currencies)
    if weight is None:
        return raw.rows
    problems.begin(CHECK_WEIGHTS)
    found = raw.rows.assign(**{WEIGHT: read_weights(file, contract, raw.extra, problems)})
    problems.raise_any()
    return found


def load_later_rows(
    path: Location,
    contract: DataContract,
    *,
    start: int,
    as_of: int | None = None,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
) -> tuple[JudgedRows, int]:
    """Read the mature payments of a file of transactions from a time on.

    Parameters
    ----------
    path, contract, mapping, shared
        As ``load_training_rows``. The file holds the payments before ``start``, too: features look
        back at them.
    start : int
        First event time, UTC epoch seconds.
    as_of : int or None
        The time as of which payments are labelled, UTC epoch seconds; those younger than the label
        horizon then are left out. None: the end of the file.

    Returns
    -------
    rows : JudgedRows
        There may be none.
    as_of : int

    Raises
    ------
    DataError, ConfigurationError
        As ``load_training_rows``; or if the file ends before ``as_of``.
    """
    check_contract(contract)
    file = _open(path, contract.kind, mapping)
    problems = problems_of(file)
    raw = read_with_terms(
        file, contract, mapping, problems, extra={}, needs_labels=True, analysis=ANALYSIS_COLUMNS
    )
    built = _build(file, raw, contract, shared)
    members, _ = _members(file, raw, built, contract)
    end = known_frauds(raw, built, members).end + 1
    if as_of is None:
        as_of = end
    check_as_of(as_of, end, source=str(path))
    judged = built if contract.population is None else built.take(members)
    if shared is not None:
        check_scoring_days(shared, judged.event_time)
    # All payments are wanted, and no training window of them.
    later = contract.model_copy(
        update={
            "train_from": start,
            "train_until": start,
            "select_until": None,
            "judge_until": as_of,
            "gap_days": 0,
            "exclude_known_compromised": False,
        }
    )
    rows = windows_in_time(judged, raw.rows, later).judge
    if rows is None:
        raise ValueError("a contract with two cut-offs has no window between them")
    return rows, as_of


def load_built_rows(
    path: Location,
    contract: DataContract,
    *,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
    analysis: Collection[str] = (),
) -> tuple[pd.DataFrame, FeatureTable]:
    """Read transactions as the contract has them, with the features of those that it is about.

    Parameters
    ----------
    path, contract, mapping, shared
        As ``load_training_rows``; labels are not needed.
    analysis : collection of str
        Columns for analysis that are read where the file has them.

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
    raw = read_with_terms(
        file, contract, mapping, problems_of(file), extra={}, needs_labels=False, analysis=analysis
    )
    built = _build(file, raw, contract, shared)
    members, _ = _members(file, raw, built, contract)
    return raw.rows, built.take(members)


def load_features(
    path: Location,
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
    raw = read_with_terms(file, contract, mapping, problems_of(file), extra={}, needs_labels=False)
    built = _build(file, raw, contract, shared)
    members, _ = _members(file, raw, built, contract)
    if contract.population is not None:
        tell_left_out(members, contract, file.name)
        built = built.take(members)
    if shared is not None:
        check_scoring_days(shared, built.event_time)
    return built


def load_scoring_rows(
    path: Location,
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
        return ScoringRows(contract_columns(built, contract), identifiers)
    check_contract(contract)
    file = _open(path, contract.kind, mapping)
    return read_scoring_rows(file, contract, problems_of(file))


def _open(path: Location, kind: str, mapping: Mapping | None) -> DataFile:
    """Open a file; a plain table's columns get the names that its mapping gives them."""
    if mapping is None:
        return open_data(path)
    if mapping.kind != kind:
        raise ConfigurationError(
            f"mapping: is for kind {mapping.kind!r}, the run's data are of kind {kind!r}; choose "
            "another mapping, or none"
        )
    return open_data(
        path,
        source_names=mapping.source_names if kind == "table" else None,
        file_format=mapping.file,
    )


def _plain_table(file: DataFile, contract: DataContract, shares: TableShares) -> TrainingRows:
    windows, n_rows = plain_windows(file, contract, shares, problems_of(file))
    return TrainingRows(windows, n_rows, _warnings(file, windows))


def plain_windows(
    file: DataFile, contract: DataContract, shares: TableShares, problems: Problems
) -> tuple[Windows, int]:
    """Return the windows of a plain table, and its number of rows; raises with all problems."""
    rows = read_plain_table(file, contract, problems, with_labels=True)
    if rows.labels is None:
        raise ValueError("rows were read without labels")
    table = TrainingTable(
        schema=contract_schema(contract),
        features=rows.features,
        labels=rows.labels,
        weights=rows.weights,
        max_weight=contract.max_weight,
    )
    windows = windows_by_share(table, seed=shares.seed, select=shares.select, judge=shares.judge)
    return windows, rows.n_rows


def _transactions(
    file: DataFile,
    contract: DataContract,
    mapping: Mapping | None,
    shared: SharedRisk | None,
    *,
    with_customers: bool,
) -> TrainingRows:
    problems, extra = problems_of(file), {}
    if contract.weight is not None and file.require(contract.weight, "weight", problems):
        extra[contract.weight] = pa.float64()
    raw = read_with_terms(
        file,
        contract,
        mapping,
        problems,
        extra=extra,
        needs_labels=True,
        analysis=ANALYSIS_COLUMNS,
    )
    row_weights = read_weights(file, contract, raw.extra, problems)
    problems.raise_any()
    built = _build(file, raw, contract, shared)
    members, population_warnings = _members(file, raw, built, contract)
    frauds = known_frauds(raw, built, members)
    cutoff_warnings = check_cutoffs(frauds, contract, source=file.name)
    judged = built if contract.population is None else built.take(members)
    windows = windows_in_time(
        judged, raw.rows, contract, weights=row_weights, with_customers=with_customers
    )
    check_train_window(windows.train.n_rows, judged.n_rows, contract, source=file.name)
    if shared is not None:
        check_training_days(shared, windows.periods.values())
    recipe = contract_recipe(contract)
    absent = [name for name in raw.absent if name not in recipe.unused]
    odd = (*population_warnings, *raw.warnings, *cutoff_warnings)
    warnings = _warnings(file, windows, absent=absent, more=odd)
    population = None if contract.population is None else int(np.count_nonzero(members))
    return TrainingRows(windows, len(raw.rows), warnings, population, frauds)


def _members(
    file: DataFile, raw: RawTransactions, built: FeatureTable, contract: DataContract
) -> tuple[BoolArray, tuple[str, ...]]:
    """Tell which of the built rows are in the contract's population; refuse if none is."""
    chosen, warnings = population_rows(raw.rows, built.positions, contract, file.name)
    n_members = int(np.count_nonzero(chosen))
    check_judged(len(raw.rows), len(chosen), n_members, contract, file.name)
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
        risk_delay_days=contract.risk_delay_days,
        shared=shared,
        own_columns=contract.own_columns,
    )
    others = len(raw.rows) - built.n_rows
    if not built.n_rows:
        check_judged(len(raw.rows), 0, 0, contract, file.name)
    if others:
        _log.info(
            "%s: %d of %d payments are %s, the others are no part of what recipe %r judges",
            *(file.name, built.n_rows, len(raw.rows), recipe.direction, recipe.name),
        )
    return built


def problems_of(file: DataFile) -> Problems:
    """Return an empty collection of what is wrong with a file; it says what shows all of it."""
    return file.problems(where_all="`bank-node check-data` lists all of them")


def _warnings(
    file: DataFile,
    windows: Windows,
    *,
    absent: Sequence[str] = (),
    more: Sequence[str] = (),
) -> tuple[str, ...]:
    table = windows.train
    n_missing = [
        int(np.count_nonzero(np.isnan(table.features[:, index])))
        for index in range(table.schema.n_features)
    ]
    return row_warnings(
        file.name,
        windows.counts,
        table.schema.names,
        n_rows=table.n_rows,
        labels_seen=tuple(float(label) for label in np.unique(table.labels)),
        n_missing=n_missing,
        absent=absent,
        more=more,
    )
