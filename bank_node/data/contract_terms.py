"""What a contract adds to the recipe, in a bank's file: own columns, currencies, the population."""

import logging
from collections.abc import Collection
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fraudfed.catalogue.run_check import contract_recipe
from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.errors import DataError
from fraudfed.features.currency import in_currency
from fraudfed.features.mappings.mapped_own import mapped_own_column, own_source
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.population import in_population, population_text
from fraudfed.features.table import FeatureTable
from fraudfed.intake.transactions import AmongMany, RawTransactions, read_transactions
from fraudfed.reading.columns import categorical_feature, numeric_feature
from fraudfed.reading.file import DataFile
from fraudfed.reading.problems import Problems
from fraudfed.wire.messages import DataContract

_log = logging.getLogger(__name__)

#: Fewer rows of a population than this at one bank are worth a word.
_FEW_ROWS = 1000


FRAUD_KIND = "fraud_kind"
#: Numbers of checks (``Problems.begin``), behind those of ``read_transactions``; amounts are
#: converted only if all before found nothing, and weights are read only if amounts are fine.
CHECK_OWN, CHECK_AMOUNTS, CHECK_WEIGHTS = 5, 10, 11


@dataclass(frozen=True, eq=False)
class KnownFrauds:
    """Frauds of a bank's file: when they were paid and reported, and of which kind. Never leave it.

    Attributes
    ----------
    event_time, label_time : ndarray of shape (n_frauds,), dtype=int64
        Payment and report, UTC epoch seconds.
    kinds : list of length n_frauds of str or None; or None
        As the file or its mapping says them; None if it has no such column.
    end : int
        The latest payment or report of the file, UTC epoch seconds.
    channels : list of length n_frauds of str or None; or None
        How each was paid; None if the file does not say.
    """

    event_time: Int64Array
    label_time: Int64Array
    kinds: list[str | None] | None
    end: int
    channels: list[str | None] | None = None


def known_frauds(raw: RawTransactions, built: FeatureTable, members: BoolArray) -> KnownFrauds:
    """Return the frauds of the population, with their kinds.

    Parameters
    ----------
    raw : RawTransactions
        All of the file, with ``FRAUD_KIND`` if it is there.
    built : FeatureTable
    members : ndarray of shape (n_built,), dtype=bool
        Which of its rows belong to the population.
    """
    is_fraud = np.flatnonzero(members & (built.labels == 1))
    rows = built.positions[is_fraud]

    def said(name: str) -> list[str | None] | None:
        if name not in raw.rows:
            return None
        texts = raw.rows[name].iloc[rows]
        return texts.astype(object).where(texts.notna(), None).tolist()

    reports = built.label_time[is_fraud]
    latest = [int(raw.rows["event_time"].max()), *reports.tolist()]
    return KnownFrauds(
        built.event_time[is_fraud], reports, said(FRAUD_KIND), max(latest), said("channel")
    )


class OwnValues:
    """The own columns of a file: which columns they are made of, and then what they hold.

    Parameters
    ----------
    file : DataFile
    contract : DataContract
        Of transactions.
    mapping : Mapping or None
    problems : Problems
        Takes columns that are not there, and values that do not fit.

    Attributes
    ----------
    types : dict of str to Arrow type
        The columns of the file that are needed, and how CSV is parsed.
    """

    def __init__(
        self, file: DataFile, contract: DataContract, mapping: Mapping | None, problems: Problems
    ) -> None:
        self._file = file
        self._problems = problems
        self._sources = [(spec, own_source(mapping, spec.name)) for spec in contract.own_columns]
        self._values: dict[str, Any] = {}
        # Text is read as numbers too, where it is some; so one column may serve two purposes.
        self.types: dict[str, pa.DataType] = {
            how.column: pa.string()
            for spec, how in self._sources
            if how.column is not None
            and file.require(how.column, f"own column {spec.name} [{spec.unit}]", problems)
        }

    def take(self, found: pa.Table) -> None:
        """Check the own columns of a table that has at least the columns of ``types``."""
        for place, (spec, how) in enumerate(self._sources):
            self._problems.begin(CHECK_OWN, place)
            if how.column is not None and how.column not in found.column_names:
                continue
            column = mapped_own_column(how, found, spec, self._file.named, self._problems)
            named = replace(self._file, source_names={spec.name: how.column or spec.name})
            if spec.categories is None:
                self._values[spec.name] = numeric_feature(
                    named, spec.name, column, self._problems, nullable=spec.nullable
                )
                continue
            codes = categorical_feature(
                named,
                spec.name,
                column,
                self._problems,
                categories=spec.categories,
                nullable=spec.nullable,
            )
            whole = np.where(np.isnan(codes), -1, codes).astype(np.int64)
            self._values[spec.name] = pd.Categorical.from_codes(
                whole, categories=pd.Index(spec.categories)
            )

    def put_into(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the same rows with the own columns: float32, or pandas' categories."""
        return rows.assign(**self._values) if self._values else rows


def converted(
    rows: pd.DataFrame, contract: DataContract, mapping: Mapping | None, problems: Problems
) -> pd.DataFrame:
    """Return checked transactions with all amounts in the contract's currency.

    Parameters
    ----------
    rows : DataFrame
        As ``check_transactions`` accepts them.
    contract : DataContract
    mapping : Mapping or None
    problems : Problems
        Takes amounts without a rate.
    """

    def refuse(kind: str, column: str, bad: BoolArray, expected: str, advice: str) -> None:
        problems.add_cells(
            kind,
            _named(column, mapping),
            bad,
            got=lambda row: _shown(column, rows[column].iloc[row]),
            expected=expected,
            advice=advice,
        )

    return in_currency(rows, contract.currency, refuse)


def read_with_terms(
    file: DataFile,
    contract: DataContract,
    mapping: Mapping | None,
    problems: Problems,
    *,
    extra: MappingOf[str, pa.DataType],
    needs_labels: bool,
    analysis: Collection[str] = (),
    among: AmongMany | None = None,
) -> RawTransactions:
    """Read transactions with all that the contract wants of them.

    Parameters
    ----------
    file, mapping, problems, extra, needs_labels, analysis, among
        As for ``read_transactions``.
    contract : DataContract
        Of transactions.

    Raises
    ------
    DataError
        With every problem: first those of the columns, or else those of amounts to convert.
    """
    own = OwnValues(file, contract, mapping, problems)
    raw = read_transactions(
        file,
        mapping,
        problems,
        extra={**extra, **own.types},
        needs_labels=needs_labels,
        analysis=analysis,
        check_extra=own.take,
        among=among,
    )
    problems.begin(CHECK_AMOUNTS)
    rows = own.put_into(converted(raw.rows, contract, mapping, problems))
    problems.raise_any()
    currencies = tuple(raw.rows["currency"].unique()) if "currency" in raw.rows.columns else ()
    warnings = currency_warnings(currencies, contract, file.name)
    return replace(raw, rows=rows, warnings=warnings, currencies=currencies)


def currency_warnings(
    currencies: Collection[str], contract: DataContract, source: str
) -> tuple[str, ...]:
    """Say that amounts of several currencies are compared as they stand, if they are."""
    codes = sorted(set(currencies))
    if contract.currency is not None or len(codes) < 2:
        return ()
    return (
        f"{source}: amounts are in {len(codes)} currencies ({', '.join(codes[:10])}), and the "
        "run's contract names none: they are compared as they stand; the operator should publish "
        "a run with 'currency' in its contract",
    )


def population_rows(
    rows: pd.DataFrame, positions: Int64Array, contract: DataContract, source: str
) -> tuple[BoolArray, tuple[str, ...]]:
    """Tell which payments belong to the contract's population, and if they are few.

    Parameters
    ----------
    rows : DataFrame of shape (n_rows, n_columns)
    positions : ndarray of shape (n_judged,), dtype=int64
        The rows that the recipe judges.
    contract : DataContract
    source : str

    Returns
    -------
    chosen : ndarray of shape (n_judged,), dtype=bool
    warnings : tuple of str

    Raises
    ------
    DataError
        If the population is chosen by channel, and the file does not say the channels.
    """
    chosen = in_population(rows, contract.population, source=source)[positions]
    return chosen, few_warnings(int(np.count_nonzero(chosen)), len(chosen), contract, source)


def check_judged(
    n_rows: int, n_judged: int, n_members: int, contract: DataContract, source: str
) -> None:
    """Refuse data without a payment for the recipe, or without one in the population.

    Parameters
    ----------
    n_rows, n_judged, n_members : int
        Payments of the data, of the recipe's direction, and of those in the population.
    contract : DataContract
    source : str

    Raises
    ------
    DataError
    """
    recipe = contract_recipe(contract)
    if not n_judged:
        raise DataError(
            f"{source}: none of {n_rows} payments is {recipe.direction}, expected "
            f"{recipe.purpose} (recipe {recipe.name!r}); say so in column 'direction'"
        )
    if not n_members and contract.population is not None:
        raise DataError(
            f"{source}: none of {n_judged} payments is in the run's population "
            f"({population_text(contract.population)}), expected some; give the data of those "
            "payments, or leave this run to the other banks"
        )


def few_warnings(count: int, n_rows: int, contract: DataContract, source: str) -> tuple[str, ...]:
    """Say that only a few of the payments that the recipe judges are in the population."""
    if contract.population is None or not 0 < count < _FEW_ROWS:
        return ()
    who = population_text(contract.population)
    return (f"{source}: only {count} of {n_rows} payments are in the run's population ({who})",)


def tell_left_out(chosen: BoolArray, contract: DataContract, source: str) -> None:
    """Log how many rows get no line of their own, because they are outside the population."""
    left = int(np.count_nonzero(~chosen))
    if contract.population is not None and left:
        _log.warning(
            "%s: %d of %d payments are outside the run's population (%s): they are history, and "
            "not written",
            source,
            left,
            len(chosen),
            population_text(contract.population),
        )


def _shown(column: str, value: Any) -> str:
    if column == "currency":
        return repr(value)
    # A CSV file's whole numbers are read as floats.
    whole = int(value)
    if column != "event_time":
        return str(whole)
    return f"{whole} ({datetime.fromtimestamp(whole, UTC):%Y-%m-%d})"


def _named(column: str, mapping: Mapping | None) -> str:
    names: MappingOf[str, str] = {} if mapping is None else mapping.source_names
    source = names.get(column, column)
    return repr(column) if source == column else f"{column!r} (from {source!r})"
