"""A bank's rows as its contract wants them, piece by piece, in bounded memory.

Law: put together, the pieces are what ``contract`` gives of all rows at once, bit by bit.

Transactions are read twice, and what features look at lies on disk meanwhile (``intake.bucketed``),
in files without a name that are gone with the process. Rows of a plain table are on their own.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from bank_node.data.contract import (
    WEIGHT,
    open_rows,
    problems_of,
    read_piece,
)
from bank_node.data.contract_terms import (
    KnownFrauds,
    check_judged,
    currency_warnings,
    few_warnings,
    tell_left_out,
)
from bank_node.data.cutoffs import check_cutoffs, check_train_window
from bank_node.data.risk_days import check_scoring_days, check_training_days
from bank_node.data.scoring_rows import ScoringRows, read_scoring_rows
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.run_check import contract_recipe, needs_tables
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features.by_key.buckets import n_buckets_for
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.population import in_population
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.table import FeatureTable, rows_of_direction
from fraudfed.intake.bucketed import build_in_buckets
from fraudfed.intake.outcomes import ANALYSIS_COLUMNS
from fraudfed.intake.pieced_windows import piece_windows, reported_frauds
from fraudfed.intake.streamed import bytes_in_memory, piece_rows, read_in_pieces
from fraudfed.intake.transactions import AmongMany, RawTransactions
from fraudfed.intake.windows import Windows
from fraudfed.reading.file import DataFile
from fraudfed.reading.location import Location
from fraudfed.reading.pieces import in_pieces, n_rows_about
from fraudfed.reading.problems import Problems
from fraudfed.wire.messages import DataContract

_log = logging.getLogger(__name__)

#: What a payment takes in memory if all are read and built at once. Measured above the libraries'
#: own share, with every column of the generator: 1,130 bytes each at 500,000 payments, 1,350 at
#: 200,000. Once features are there less is needed: training on them takes no more.
_PAYMENT_BYTES: Final = 1400
#: What a row of a piece takes while it is read, checked and joined: texts and numbers of all
#: columns as Python has them, and its features twice.
_PIECE_ROW_BYTES: Final = 4096
_LEAST_PIECE_ROWS: Final = 1 << 12
_MOST_PIECE_ROWS: Final = 1 << 18
#: The interpreter and its libraries; no limit can be below it.
BASE_BYTES: Final = 400 << 20
LEAST_MEMORY: Final = 512 << 20


@dataclass(frozen=True)
class Bounded:
    """How to keep a command within some memory.

    Attributes
    ----------
    memory_bytes : int
        Of the whole process, about; ``LEAST_MEMORY`` or more.
    directory : Path
        On whose disk rows may lie meanwhile.
    """

    memory_bytes: int
    directory: Path

    def __post_init__(self) -> None:
        if self.memory_bytes < LEAST_MEMORY:
            raise ConfigurationError(
                f"--memory-limit is {self.memory_bytes >> 20} MiB, expected "
                f"{LEAST_MEMORY >> 20} MiB or more; give more, or leave it out"
            )

    @property
    def work_bytes(self) -> int:
        """What is left for one piece and one bucket, each half of it."""
        return (self.memory_bytes - BASE_BYTES) // 2

    @property
    def piece_rows(self) -> int:
        """Rows of a piece."""
        rows = self.work_bytes // _PIECE_ROW_BYTES
        return max(_LEAST_PIECE_ROWS, min(_MOST_PIECE_ROWS, rows))


def bounded_rows(
    location: Location,
    contract: DataContract,
    *,
    mapping: Mapping | None,
    memory_limit: int,
    directory: Path,
) -> Bounded | None:
    """Say how rows are read within a limit: None if all at once, as those are that fit.

    So are payments of a recipe that is built in memory only, with a warning.

    Parameters
    ----------
    location, contract, mapping
        As ``load_training_rows``, which raises what this does; rows are not read.
    memory_limit : int
        Bytes; ``LEAST_MEMORY`` or more.
    directory : Path
        As in ``Bounded``.
    """
    file = open_rows(location, contract, mapping)
    needed = bytes_at_once(file, contract)
    if needed <= memory_limit:
        return None
    if contract.kind == "transactions" and contract_recipe(contract).name != RECIPE:
        _log.warning(
            "%s: recipe %r is built in memory only, and these rows need about %d MiB, more than "
            "the memory limit of %d MiB; see that the machine has as much",
            *(file.name, contract_recipe(contract).name, needed >> 20, memory_limit >> 20),
        )
        return None
    return Bounded(memory_limit, directory)


def bounded_transactions(file: DataFile, *, memory_limit: int, directory: Path) -> Bounded | None:
    """Say how raw transactions of whatever run are read within a limit; None: all at once.

    Parameters
    ----------
    file : DataFile
    memory_limit, directory
        As for ``bounded_rows``.
    """
    if n_rows_about(file) * _PAYMENT_BYTES <= memory_limit:
        return None
    return Bounded(memory_limit, directory)


def rows_at_once(file: DataFile, contract: DataContract, memory_limit: int | None) -> int | None:
    """Return how many rows of some data are read at a time within a limit; None is all."""
    if memory_limit is None or bytes_at_once(file, contract) <= memory_limit:
        return None
    if contract.kind == "table":
        return piece_rows(memory_limit, len(contract.features))
    return Bounded(memory_limit, Path()).piece_rows


def bytes_at_once(file: DataFile, contract: DataContract) -> int:
    """Return about what rows take in memory if all of them are read at once."""
    if contract.kind == "table":
        return bytes_in_memory(file, len(contract.features))
    return n_rows_about(file) * _PAYMENT_BYTES


@dataclass(frozen=True, eq=False)
class BuiltRows:
    """Some payments with features.

    Attributes
    ----------
    first_row : int
        Of the piece among all rows, from 0.
    rows : DataFrame
        All of the piece, as ``load_built_rows`` gives those of a file.
    built : FeatureTable
        Of those in the recipe and the population.
    """

    first_row: int
    rows: pd.DataFrame
    built: FeatureTable


def stream_built_rows(
    location: Location,
    contract: DataContract,
    bounded: Bounded,
    *,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
    analysis: Collection[str] = (),
    gathered: "Gathered | None" = None,
    tells: bool = True,
) -> Iterator[BuiltRows]:
    """Yield what ``contract.load_built_rows`` gives, piece by piece; raises as it does.

    Parameters
    ----------
    location, contract, mapping, shared, analysis
        As ``load_built_rows``.
    bounded : Bounded
    gathered : Gathered or None
        With it, rows have weights beside them; it is complete before the first piece.
    tells : bool
        Without ``gathered``: whether it says what is left out, and which days risk tables lack, as
        ``load_features`` does and ``load_built_rows`` does not.

    Raises
    ------
    DataError, ConfigurationError
        As ``load_built_rows``; also if the contract's recipe cannot be built in parts.
    StateError
        If there is no room on disk.
    """
    file = open_rows(location, contract, mapping)
    if needs_tables(contract) != (shared is not None):
        raise ValueError("shared must be given exactly for a contract that needs risk tables")
    recipe = contract_recipe(contract)
    if recipe.name != RECIPE:
        raise ConfigurationError(
            f"recipe {recipe.name!r} is built in memory only, expected {RECIPE!r}; give a larger "
            "--memory-limit"
        )

    def read() -> Iterator[pd.DataFrame]:
        among = AmongMany()
        for piece in in_pieces(file, rows=bounded.piece_rows):
            rows = read_piece(
                piece,
                contract,
                mapping,
                analysis=analysis,
                with_weights=gathered is not None,
                currencies=None if gathered is None else gathered.currencies,
                among=among,
            )
            among = AmongMany(among.rows_before + len(rows))
            if gathered is not None:
                gathered.add(rows, contract, file)
            yield rows
        if gathered is not None:
            gathered.finish(contract, file)

    n_rows = n_built = n_members = 0
    pieces = build_in_buckets(
        read,
        directory=bounded.directory,
        n_buckets=n_buckets_for(n_rows_about(file), memory_bytes=bounded.work_bytes),
        risk_delay_days=contract.risk_delay_days,
        shared=shared,
        own_columns=contract.own_columns,
        source=file.name,
    )
    days = _Days()
    for piece in pieces:
        chosen = _members(piece.rows, piece.features, contract, file)
        built = piece.features if chosen.all() else piece.features.take(chosen)
        n_rows += len(piece.rows)
        n_built, n_members = n_built + chosen.size, n_members + built.n_rows
        days.add(built.event_time)
        yield BuiltRows(piece.first_row, piece.rows, built)
    check_judged(n_rows, n_built, n_members, contract, file.name)
    if gathered is not None:
        gathered.warnings += few_warnings(n_members, n_built, contract, file.name)
        return
    if not tells:
        return
    if contract.population is not None:
        tell_left_out(np.arange(n_built) < n_members, contract, file.name)
    if shared is not None:
        check_scoring_days(shared, days.ends())


def stream_windows(
    location: Location,
    contract: DataContract,
    bounded: Bounded,
    *,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
    with_customers: bool = False,
    gathered: "Gathered | None" = None,
    watch: Callable[[BuiltRows], None] = lambda _piece: None,
) -> Iterator[Windows]:
    """Yield the windows of ``contract.load_training_rows``, piece by piece; raises as it does.

    Customers, cards and accounts have numbers that are the same in all pieces.

    Parameters
    ----------
    location, contract, mapping, shared, with_customers
        As ``load_training_rows``, for transactions.
    bounded : Bounded
    gathered : Gathered or None
        Says behind the last piece what is unusual of all of them; None logs nothing of it but what
        is said of the cut-offs.
    watch : callable
        Is shown each piece before its windows are made.
    """
    tells, source = gathered is None, open_rows(location, contract, mapping).name
    gathered = gathered or Gathered()
    periods: list[tuple[int, int]] = []
    n_rows = n_train = 0
    windows: Windows | None = None
    about_cutoffs: tuple[str, ...] = ()
    for piece in stream_built_rows(
        location,
        contract,
        bounded,
        mapping=mapping,
        shared=shared,
        analysis=ANALYSIS_COLUMNS,
        gathered=gathered,
    ):
        if windows is None:
            about_cutoffs = check_cutoffs(gathered.known, contract, source=source)
            for text in about_cutoffs if tells else ():
                _log.warning("%s", text)
        watch(piece)
        windows = piece_windows(
            piece.built,
            piece.rows,
            gathered.frauds,
            contract,
            weights=weights_of(piece.rows),
            with_customers=with_customers,
        )
        periods += windows.periods.values()
        n_rows, n_train = n_rows + piece.built.n_rows, n_train + windows.train.n_rows
        yield windows
    if windows is not None:
        check_train_window(n_train, n_rows, contract, source=source)
    if shared is not None and periods:
        check_training_days(shared, periods)
    gathered.warnings += currency_warnings(gathered.currencies, contract, source) + about_cutoffs


def weights_of(rows: pd.DataFrame) -> Float32Array | None:
    """Return the weights that ``read_piece`` has put beside payments."""
    return rows[WEIGHT].to_numpy(dtype=np.float32) if WEIGHT in rows.columns else None


class Gathered:
    """What the windows of a piece have to know of all pieces; added up in the first reading.

    Attributes
    ----------
    n_rows : int
        Of the data.
    currencies : set of str
        Of the amounts as they are in the data.
    absent : list of str
        As ``RawTransactions.absent``; the files of a table have the same columns.
    warnings : tuple of str
        What is unusual of all pieces together; complete behind the last one of ``stream_windows``.
    """

    def __init__(self) -> None:
        self.n_rows = 0
        self.absent: list[str] = []
        self.warnings: tuple[str, ...] = ()
        self.currencies: set[str] = set()
        self._reports: list[pd.DataFrame] = []
        self._end = 0
        self._any_label = False
        self._n_judged = (0, 0)
        self._is_complete = False

    def add(self, rows: pd.DataFrame, contract: DataContract, file: DataFile) -> None:
        """Add a piece; the second reading adds nothing."""
        if self._is_complete:
            return
        self.n_rows += len(rows)
        self.absent = RawTransactions(rows, pa.table({})).absent
        frauds = reported_frauds(rows)
        self._reports.append(frauds)
        self._end = max(self._end, int(rows["event_time"].max()))
        if "is_fraud" not in rows.columns:
            raise DataError(
                f"{file.name}: columns 'is_fraud' and 'label_time' are missing, needed for "
                "training; add them"
            )
        self._any_label |= bool(rows["is_fraud"].notna().any())
        judged = np.zeros(len(rows), dtype=np.bool_)
        judged[rows_of_direction(rows, contract_recipe(contract).direction)] = True
        n_judged, n_members = self._n_judged
        n_judged += int(np.count_nonzero(judged))
        judged &= in_population(rows, contract.population, source=file.name)
        self._n_judged = n_judged, n_members + int(np.count_nonzero(judged))
        judged &= (rows["is_fraud"] == 1).fillna(False).to_numpy(dtype=np.bool_)
        if judged.any():
            self._end = max(self._end, int(rows["label_time"].iloc[judged.nonzero()[0]].max()))

    def finish(self, contract: DataContract, file: DataFile) -> None:
        """Say that all pieces were added.

        Raises
        ------
        DataError
            If no label is known, or there is no payment for the contract.
        """
        self._is_complete = True
        if not self._any_label:
            raise DataError(
                f"{file.name}: no row has a label, expected 0 or 1 in column 'is_fraud'; add them"
            )
        check_judged(self.n_rows, *self._n_judged, contract, file.name)

    @property
    def frauds(self) -> pd.DataFrame:
        """``reported_frauds`` of all pieces."""
        if len(self._reports) > 1:
            self._reports = [pd.concat(self._reports)]
        return self._reports[0]

    @property
    def known(self) -> KnownFrauds:
        """When the data end; of the frauds themselves nothing."""
        nothing = np.empty(0, dtype=np.int64)
        return KnownFrauds(nothing, nothing, None, self._end, None)


def stream_scoring_rows(
    location: Location,
    contract: DataContract,
    bounded: Bounded,
    *,
    mapping: Mapping | None = None,
) -> Iterator[ScoringRows]:
    """Yield what ``contract.load_scoring_rows`` gives of a plain table, piece by piece.

    It raises as ``load_scoring_rows`` does, behind the last piece: who takes pieces keeps none of
    them then.

    Parameters
    ----------
    location, contract, mapping
        As ``load_scoring_rows``.
    bounded : Bounded
    """
    file = open_rows(location, contract, mapping)

    def read(piece: DataFile, problems: Problems) -> ScoringRows:
        return read_scoring_rows(piece, contract, problems)

    rows = min(bounded.piece_rows, piece_rows(bounded.memory_bytes, len(contract.features)))
    yield from read_in_pieces(file, problems_of(file), read, rows=rows)


def _members(
    rows: pd.DataFrame, built: FeatureTable, contract: DataContract, file: DataFile
) -> BoolArray:
    return in_population(rows, contract.population, source=file.name)[built.positions]


class _Days:
    """The first and the last event time of some payments."""

    def __init__(self) -> None:
        self._found: list[int] = []

    def add(self, event_time: Int64Array) -> None:
        if event_time.size:
            both = [*self._found, int(event_time.min()), int(event_time.max())]
            self._found = [min(both), max(both)]

    def ends(self) -> Int64Array:
        return np.array(self._found, dtype=np.int64)
