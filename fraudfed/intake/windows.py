"""Three windows in time of one bank's rows: to train on, to choose by, to be judged by.

Each window ends at a cut-off C of the contract and is labelled as it was known then: a payment
before C less its label horizon is fraud if it had been reported before C, and clean otherwise, also
where the file knows better by a later report. What comes later is hindsight, with which a back-test
looks cleaner than life. A payment that the bank stopped and nobody reported is *censored*: it is
neither trained on nor clean.

Law: a file that is cut off at C, payments and reports, gives the same windows up to C.

Rows without times have no such windows. Their shares are chosen by their content: a hash of its own
features, label and weight says where a row belongs. So the choice depends neither on the bank that
holds the row nor on the order of rows, and no bank has to be told.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pandas as pd

from fraudfed.boosting.sampling import row_keys, sample_rows
from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.features.table import FeatureTable
from fraudfed.intake.outcomes import (
    Code,
    by_order,
    customers_of,
    known_compromised,
    outcomes_of,
    outcomes_without_times,
    stopped_payments,
)
from fraudfed.intake.plain_table import contract_schema
from fraudfed.wire.messages import DataContract, LabelHorizon

TRAIN: Final = "train"
SELECT: Final = "select"
JUDGE: Final = "judge"
#: Of a table without times: one row in five selects, one judges.
SHARE: Final = 0.2
#: Beyond every number of a tree: independent of the rows that ``subsample`` draws.
_DRAW: Final = 1 << 32


@dataclass(frozen=True)
class WindowCounts:
    """What a window of one bank holds. Never leaves the bank.

    Attributes
    ----------
    rows : int
        Censored ones included.
    frauds : int
    censored : int
        Stopped by the bank, and reported by nobody: without a label.
    known_compromised : int
        Left out of ``rows``, as the contract asks.
    """

    rows: int
    frauds: int
    censored: int
    known_compromised: int = 0


@dataclass(frozen=True, eq=False)
class Windows:
    """One bank's rows, window by window.

    Attributes
    ----------
    train : TrainingTable
        Without censored rows.
    select, judge : JudgedRows or None
        With censored rows; None where the contract has no such window.
    counts : mapping of str to WindowCounts
        Of each window that there is: ``train``, ``select``, ``judge``, in this order.
    periods : mapping of str to (int, int)
        First and last event time of each window that has rows with times, UTC epoch seconds.
    """

    train: TrainingTable
    select: JudgedRows | None = None
    judge: JudgedRows | None = None
    counts: Mapping[str, WindowCounts] = field(default_factory=dict)
    periods: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def validation(self) -> TrainingTable | None:
        """The rows that decide early stopping: those that select, without censored ones."""
        return None if self.select is None else labelled_table(self.select)


def labels_as_of(
    cutoff: int | None, labels: Float32Array, label_time: Int64Array, is_stopped: BoolArray
) -> Float32Array:
    """Return what is known of mature payments at a time.

    Parameters
    ----------
    cutoff : int or None
        UTC epoch seconds; None for all that the rows know, with NaN where they do not.
    labels : ndarray of shape (n_rows,), dtype=float32
        0 or 1; NaN where the label is not known.
    label_time : ndarray of shape (n_rows,), dtype=int64
        UTC epoch seconds.
    is_stopped : ndarray of shape (n_rows,), dtype=bool

    Returns
    -------
    ndarray of shape (n_rows,), dtype=float32
        1: reported before the cut-off. NaN: stopped and not reported. 0: any other.
    """
    reported = labels == 1
    if cutoff is not None:
        reported &= label_time < cutoff
    known = labels if cutoff is None else reported.astype(np.float32)
    return np.where(is_stopped & ~reported, np.float32(np.nan), known).astype(np.float32)


def horizon_seconds(rows: pd.DataFrame, positions: Int64Array, horizon: LabelHorizon) -> Int64Array:
    """Return the label horizon of each payment; shape (n_positions,), dtype=int64.

    Parameters
    ----------
    rows : DataFrame
    positions : ndarray of shape (n_positions,), dtype=int64
        Which of its rows.
    horizon : LabelHorizon
    """
    found = np.full(positions.size, horizon.seconds_of(None), dtype=np.int64)
    if "channel" in rows.columns and horizon.by_channel:
        channel = rows["channel"].iloc[positions]
        for name in horizon.by_channel:
            found[(channel == name).to_numpy(dtype=np.bool_)] = horizon.seconds_of(name)
    return found


def windows_in_time(
    built: FeatureTable,
    rows: pd.DataFrame,
    contract: DataContract,
    *,
    weights: Float32Array | None = None,
    with_customers: bool = False,
    code: Code = by_order,
) -> Windows:
    """Divide a bank's payments by the contract's cut-offs.

    A window may be empty.

    Parameters
    ----------
    built : FeatureTable
        Of the payments that the recipe judges and that are in the population; with every feature of
        the contract.
    rows : DataFrame
        All raw transactions; ``built.positions`` are its rows. Reports of all of them say which
        payments are the first of their fraud, and which were known to be compromised. The columns
        ``is_blocked``, ``card_id``, ``channel`` and ``fraud_kind`` may be absent: then nothing is
        censored, customers stand for cards, and there are no such cells.
    contract : DataContract
        Of transactions.
    weights : ndarray of shape (n_raw_rows,), dtype=float32, or None
    with_customers : bool
        Whether the rows to train on say whose they are (``customer_id``).
    code : callable
        How customers, cards and accounts are numbered.
    """
    horizon = horizon_seconds(rows, built.positions, contract.label_horizon_days)
    stopped = stopped_payments(rows)[built.positions]
    schema, columns = contract_schema(contract), contract_columns(built, contract)
    own_weights = None if weights is None else weights[built.positions]
    counts: dict[str, WindowCounts] = {}
    periods: dict[str, tuple[int, int]] = {}

    def note_period(name: str, chosen: BoolArray) -> None:
        times = built.event_time[chosen]
        if times.size:
            periods[name] = (int(times.min()), int(times.max()))

    def inside(start: int | None, until: int | None) -> BoolArray:
        chosen = np.ones(built.n_rows, dtype=np.bool_)
        if start is not None:
            chosen &= built.event_time >= start
        if until is not None:
            chosen &= built.event_time < until - horizon
        return chosen

    def train() -> TrainingTable:
        labels = labels_as_of(contract.train_until, built.labels, built.label_time, stopped)
        chosen = inside(contract.train_from, contract.train_until)
        censored = chosen & stopped & (labels != 1)
        chosen &= ~np.isnan(labels)
        note_period(TRAIN, chosen)
        counts[TRAIN] = WindowCounts(
            rows=int(np.count_nonzero(chosen | censored)),
            frauds=int(np.count_nonzero(labels[chosen] == 1)),
            censored=int(np.count_nonzero(censored)),
        )
        return TrainingTable(
            schema=schema,
            features=_rows_of(columns, chosen),
            labels=labels[chosen],
            weights=None if own_weights is None else own_weights[chosen],
            max_weight=contract.max_weight,
            customers=(
                customers_of(rows, built.positions[chosen], code=code) if with_customers else None
            ),
        )

    def judged(name: str, start: int | None, until: int | None) -> JudgedRows | None:
        if start is None or until is None:
            return None
        chosen, left_out = inside(start, until), 0
        if contract.exclude_known_compromised:
            known = np.zeros(built.n_rows, dtype=np.bool_)
            known[chosen] = known_compromised(rows, built.positions[chosen])
            left_out = int(np.count_nonzero(known))
            chosen &= ~known
        note_period(name, chosen)
        labels = labels_as_of(until, built.labels, built.label_time, stopped)[chosen]
        counts[name] = WindowCounts(
            rows=labels.size,
            frauds=int(np.count_nonzero(labels == 1)),
            censored=int(np.count_nonzero(np.isnan(labels))),
            known_compromised=left_out,
        )
        return JudgedRows(
            schema=schema,
            features=_rows_of(columns, chosen),
            outcomes=outcomes_of(rows, built.positions[chosen], labels, code=code),
            weights=None if own_weights is None else own_weights[chosen],
            max_weight=contract.max_weight,
        )

    return Windows(
        train=train(),
        select=judged(SELECT, contract.select_from, contract.select_until),
        judge=judged(JUDGE, contract.judge_from, contract.judge_until),
        counts=counts,
        periods=periods,
    )


def windows_by_share(
    table: TrainingTable, *, seed: int, select: bool = False, judge: bool = False
) -> Windows:
    """Divide rows without times by a hash of their content; equal rows stay together.

    What a model is judged by is then as old as what it was trained on: it says less than three
    windows in time, and everything that shows it says so.

    Parameters
    ----------
    table : TrainingTable
    seed : int
        The run's ``seed``, the same at every bank.
    select, judge : bool
        Whether a fifth of the rows is set apart to select, and a fifth to judge.
    """
    if not (select or judge):
        return Windows(table, counts={TRAIN: _counts_of(table.labels)})
    keys = row_keys(table)
    selects = np.zeros(table.n_rows, dtype=np.bool_)
    judges = np.zeros(table.n_rows, dtype=np.bool_)
    if judge:
        judges = judging_share(table, seed=seed)
    if select:
        # A fifth of all, out of those that do not judge.
        share = SHARE / (1.0 - SHARE) if judge else SHARE
        selects = ~sample_rows(keys, seed=seed, tree_index=_DRAW, fraction=1.0 - share) & ~judges
    counts: dict[str, WindowCounts] = {}

    def judged(name: str, chosen: BoolArray) -> JudgedRows:
        part = _part(table, chosen)
        counts[name] = _counts_of(part.labels)
        return JudgedRows(
            schema=part.schema,
            features=part.features,
            outcomes=outcomes_without_times(part.labels),
            weights=part.weights,
            max_weight=part.max_weight,
        )

    trains = ~(selects | judges)
    train = _part(table, trains)
    counts[TRAIN] = _counts_of(train.labels)
    return Windows(
        train=train,
        select=judged(SELECT, selects) if select else None,
        judge=judged(JUDGE, judges) if judge else None,
        counts=counts,
    )


def judging_share(table: TrainingTable, *, seed: int) -> BoolArray:
    """Tell which rows judge where a fifth of rows without times does; shape (n_rows,).

    Parameters
    ----------
    table : TrainingTable
    seed : int
        The run's ``seed``.
    """
    keys = row_keys(table)
    return ~sample_rows(keys, seed=seed, tree_index=_DRAW + 1, fraction=1.0 - SHARE)


def labelled_table(rows: JudgedRows) -> TrainingTable:
    """Return rows whose label is known as training takes them: without censored ones."""
    known = ~rows.outcomes.is_censored
    return TrainingTable(
        schema=rows.schema,
        features=rows.features if known.all() else _rows_of(rows.features, known),
        labels=rows.outcomes.labels[known],
        weights=None if rows.weights is None else rows.weights[known],
        max_weight=rows.max_weight,
    )


def contract_columns(built: FeatureTable, contract: DataContract) -> Float32Array:
    """Pick the contract's features, in its order.

    Returns
    -------
    ndarray of shape (n_rows, n_features), dtype=float32
        Column-major, as ``built.values``.
    """
    indices = [built.names.index(spec.name) for spec in contract.features]
    if indices == list(range(len(built.names))):
        return built.values
    return np.ascontiguousarray(built.values.T[indices]).T


def _rows_of(columns: Float32Array, chosen: BoolArray) -> Float32Array:
    # Kept column by column, as binning reads it.
    return np.ascontiguousarray(columns.T[:, chosen]).T


def _part(table: TrainingTable, chosen: BoolArray) -> TrainingTable:
    return replace(
        table,
        features=_rows_of(table.features, chosen),
        labels=table.labels[chosen],
        weights=None if table.weights is None else table.weights[chosen],
    )


def _counts_of(labels: Float32Array) -> WindowCounts:
    return WindowCounts(rows=labels.size, frauds=int(np.count_nonzero(labels == 1)), censored=0)
