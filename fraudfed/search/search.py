"""Choose parameters on the rows of all banks: candidates grow in lockstep, the weak are dropped.

Law: ``search.json`` and the model depend on the candidates and on the pooled rows only (and, by
``mean_of_banks``, on which bank has which select rows), not on where training rows are; and the
winner's model is the one that ``train`` grows with its parameters alone.

A step grows one tree of every live candidate. The points of a tree are measured by the first sum of
the next step, which is due anyway; at the end of a rung, where something depends on them, by a sum
of their own. So a search has few more rounds than one training.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fraudfed.boosting.bank_weight import bound_weight
from fraudfed.boosting.shard.local import shard_of
from fraudfed.boosting.shard.protocol import Shard
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import check_tables
from fraudfed.communicator import Communicator, carry_out
from fraudfed.errors import DataError, StateError
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.search.candidates import Candidate, read_candidates, search_digest
from fraudfed.search.lockstep import Meter
from fraudfed.search.preparation import bounds_of, preparing
from fraudfed.search.result import SearchResult
from fraudfed.search.running import RunningSearch, SearchProgress
from fraudfed.search.selection import SelectRows
from fraudfed.search.state import SearchState
from fraudfed.wire.messages.kinds.search import SearchSpec

logger = logging.getLogger(__name__)


def search(
    spec: SearchSpec,
    common: Mapping[str, Any],
    rows: TrainingTable | Shard,
    select: JudgedRows | SelectRows,
    communicator: Communicator,
    *,
    start: SearchState | None = None,
    on_step: Callable[[SearchState], None] | None = None,
    on_progress: Callable[[SearchProgress], None] | None = None,
    threads: int | None = None,
) -> SearchResult:
    """Choose the best of several sets of parameters and return it with its model.

    Parameters
    ----------
    spec : SearchSpec
        Candidates and rungs, the same at every bank.
    common : mapping of str to value
        Parameters that all candidates share, under XGBoost's names.
    rows : TrainingTable or Shard
        This bank's training rows, in memory or wherever; there may be none.
    select : JudgedRows or SelectRows
        This bank's rows of the select window; there may be none. What is censored is left out.
    communicator : Communicator
        ``SoloCommunicator`` for a bank's own search.
    start : SearchState or None
        Where to continue, the same at every bank; None is from the beginning. With another set of
        banks it must be ``regrouped``. A finished search returns its result without any sum.
    on_step : callable or None
        Called with the state after each step that this call finishes: the preparation, and each
        tree of the live candidates.
    on_progress : callable or None
        Called after each tree that this call grows, after ``on_step``.
    threads : int or None
        Threads for rows in memory; they change no result. None is as many as the process may use
        cores.

    Raises
    ------
    ParameterError, DataError
        As ``check_search`` and ``search_checked``.
    StateError, FraudFedError
        As ``search_checked``.
    """
    rows = shard_of(rows, threads=threads)
    select = _select_of(select, threads)
    check_search(spec, common, rows, select)
    return search_checked(
        spec,
        common,
        rows,
        select,
        communicator,
        start=start,
        on_step=on_step,
        on_progress=on_progress,
        threads=threads,
    )


def check_search(
    spec: SearchSpec,
    common: Mapping[str, Any],
    rows: TrainingTable | Shard,
    select: JudgedRows | SelectRows,
) -> None:
    """Check candidates and this bank's rows, before another bank waits for it.

    Raises
    ------
    ParameterError
        As ``read_candidates``.
    DataError
        If a row breaks the contract of ``TrainingTable``, the windows have different features, or
        there are so many rows that this bank's own sums could leave 62 bits.
    """
    rows = shard_of(rows)
    select = _select_of(select, None)
    candidates = read_candidates(spec, common, rows.schema)
    check_tables(candidates[0].given, rows, None)
    for candidate in candidates:
        bounds_of(candidate.given, rows).check_rows(rows.n_rows, rows.n_positives)
    if select.shard.schema != rows.schema:
        raise DataError(
            "rows of the select window have another schema than training rows; use the same "
            "features"
        )
    select.shard.check("rows of the select window")


def _select_of(select: JudgedRows | SelectRows, threads: int | None) -> SelectRows:
    return select if isinstance(select, SelectRows) else SelectRows.of(select, threads=threads)


def search_checked(
    spec: SearchSpec,
    common: Mapping[str, Any],
    rows: TrainingTable | Shard,
    select: JudgedRows | SelectRows,
    communicator: Communicator,
    *,
    start: SearchState | None = None,
    on_step: Callable[[SearchState], None] | None = None,
    on_progress: Callable[[SearchProgress], None] | None = None,
    threads: int | None = None,
) -> SearchResult:
    """Search over rows that ``check_search`` has accepted: nothing fails by one bank's rows alone.

    Parameters
    ----------
    spec, common, rows, select, communicator, start, on_step, on_progress, threads
        As ``search``.

    Raises
    ------
    DataError
        If the pooled rows of a window have one class only, or are too many for exact sums.
    StateError
        If ``start`` is of another search.
    SumError
        If an opened sum is none of rows.
    FraudFedError
        If a sum fails.
    """
    shard = shard_of(rows, threads=threads)
    judged = _select_of(select, threads)
    candidates = read_candidates(spec, common, shard.schema)
    # The same for all candidates, as ``check_search`` has seen to.
    shard = bound_weight(shard, candidates[0].given.max_bank_weight)
    if start is not None:
        _check_start(start, candidates, spec, shard)
    state = start
    if state is None:
        meter = Meter()
        counted = meter.metered(preparing(candidates, spec, shard, judged))
        state = carry_out(counted, communicator)
        state = replace(state, rounds=meter.rounds, values=meter.values)
        if on_step is not None:
            on_step(state)
    running = RunningSearch(candidates, spec, shard, judged, state)
    while not running.is_finished:
        meter = Meter()
        carry_out(meter.metered(running.step()), communicator)
        state = running.finish_step(meter)
        progress = running.progress()
        logger.debug("tree %d: %s", progress.tree_index, progress)
        if on_step is not None:
            on_step(state)
        if on_progress is not None:
            on_progress(progress)
    return running.result()


def _check_start(
    start: SearchState, candidates: tuple[Candidate, ...], spec: SearchSpec, shard: Shard
) -> None:
    if start.of_search != search_digest(candidates, spec):
        raise StateError(
            "search state is of a search with other candidates, rungs or parameters; resume it "
            "with those that it began with"
        )
    if any(cuts.schema != shard.schema for cuts in start.cuts.values()):
        raise StateError(
            "search state is of a search with other features; resume it with the data contract "
            "that it began with"
        )
