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
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fraudfed.boosting.bins import BinnedTable, Cuts, bin_table
from fraudfed.boosting.booster import Booster, margins_after
from fraudfed.boosting.bounds.pooled_counts import MAX_POOLED_ROWS, check_classes
from fraudfed.boosting.cuts import finding_cuts
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.engine.protocol import Engine
from fraudfed.boosting.growth.partition import assign_leaves
from fraudfed.boosting.model import Model
from fraudfed.boosting.objective import GradientBounds, estimating_base_score, gradient_bounds
from fraudfed.boosting.sampling import row_keys
from fraudfed.boosting.table import TrainingTable, check_rows
from fraudfed.boosting.train import check_tables
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import Communicator, Summing, SumRequest, carry_out
from fraudfed.dtypes import Float32Array, Int64Array, UInt64Array
from fraudfed.errors import DataError, StateError
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.held_sums import hold_share
from fraudfed.parameters import BoosterParams
from fraudfed.search.candidates import Candidate, read_candidates, search_digest
from fraudfed.search.halving import Point, Standing, best_point, measured_best, ranked, survivors
from fraudfed.search.lockstep import Meter, together
from fraudfed.search.result import CandidateResult, SearchResult, chosen_params
from fraudfed.search.selection import SelectCounts, SelectRows, evaluating
from fraudfed.search.state import CandidateState, SearchState
from fraudfed.wire.messages.search import SearchSpec, SelectBy

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchProgress:
    """What is known after a step; the same at every bank.

    Attributes
    ----------
    tree_index : int
        Number of the tree that was grown, from 0.
    n_trees : int
        Of the last rung.
    alive : tuple of str
        Candidates that grow on.
    leader : str or None
        The best of them so far; None before anything was measured.
    value : float or None
        Of the leader.
    """

    tree_index: int
    n_trees: int
    alive: tuple[str, ...]
    leader: str | None
    value: float | None


def search(
    spec: SearchSpec,
    common: Mapping[str, Any],
    table: TrainingTable,
    select: JudgedRows,
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
    table : TrainingTable
        This bank's training rows; there may be none.
    select : JudgedRows
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
        Threads for this bank's rows; they change no result. None is as many as the process may
        use cores.

    Raises
    ------
    ParameterError, DataError
        As ``check_search`` and ``search_checked``.
    StateError, FraudFedError
        As ``search_checked``.
    """
    check_search(spec, common, table, select)
    return search_checked(
        spec,
        common,
        table,
        select,
        communicator,
        start=start,
        on_step=on_step,
        on_progress=on_progress,
        threads=threads,
    )


def check_search(
    spec: SearchSpec, common: Mapping[str, Any], table: TrainingTable, select: JudgedRows
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
    candidates = read_candidates(spec, common, table.schema)
    check_tables(candidates[0].given, table, None)
    n_positives = int(np.count_nonzero(table.labels == 1))
    for candidate in candidates:
        _bounds_of(candidate.given, table).check_rows(table.n_rows, n_positives)
    if select.schema != table.schema:
        raise DataError(
            "rows of the select window have another schema than training rows; use the same "
            "features"
        )
    check_rows(SelectRows.of(select).table, what="rows of the select window")


def search_checked(
    spec: SearchSpec,
    common: Mapping[str, Any],
    table: TrainingTable,
    select: JudgedRows,
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
    spec, common, table, select, communicator, start, on_step, on_progress, threads
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
    candidates = read_candidates(spec, common, table.schema)
    engine = load_engine(threads)
    rows = SelectRows.of(select)
    if start is not None:
        _check_start(start, candidates, spec, table)
    state = start
    if state is None:
        meter = Meter()
        preparing = meter.metered(_preparing(candidates, spec, table, rows, engine))
        state = carry_out(preparing, communicator)
        state = replace(state, rounds=meter.rounds, values=meter.values)
        if on_step is not None:
            on_step(state)
    running = _Running(candidates, spec, table, rows, state, engine)
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


def is_finished(state: SearchState, spec: SearchSpec) -> bool:
    """Tell whether all rungs are done, or too many trees grew in the last one since the best."""
    rungs = spec.rungs
    if state.n_trees >= rungs[-1].trees:
        return True
    if spec.patience is None or (len(rungs) > 1 and state.n_trees <= rungs[-2].trees):
        return False
    for candidate in state.candidates:
        if candidate.is_alive:
            best = best_point(candidate.curve, spec.select_by)
            if best is None or candidate.curve[-1].trees - best.trees < spec.patience:
                return False
    return True


def _check_start(
    start: SearchState, candidates: tuple[Candidate, ...], spec: SearchSpec, table: TrainingTable
) -> None:
    if start.of_search != search_digest(candidates, spec):
        raise StateError(
            "search state is of a search with other candidates, rungs or parameters; resume it "
            "with those that it began with"
        )
    if any(cuts.schema != table.schema for cuts in start.cuts.values()):
        raise StateError(
            "search state is of a search with other features; resume it with the data contract "
            "that it began with"
        )


def _preparing(
    candidates: tuple[Candidate, ...],
    spec: SearchSpec,
    table: TrainingTable,
    rows: SelectRows,
    engine: Engine,
) -> Summing[SearchState]:
    """Count the rows of both windows, then find base scores and cuts side by side: step 0."""
    of_table = np.array([table.n_rows, np.count_nonzero(table.labels == 1)], dtype=np.int64)
    counts = yield SumRequest(
        values=np.concatenate((of_table, _select_counts(rows))),
        bound=MAX_POOLED_ROWS,
        low=0,
        label="rows",
    )
    n_rows, n_positives = counts[:2].tolist()
    check_classes("training rows", n_rows, n_positives)
    select = _held_select(counts[2:])
    params = [candidate.params(n_positives) for candidate in candidates]
    for each in params:
        _bounds_of(each, table).check_rows(n_rows, n_positives)
    factors = sorted({each.scale_pos_weight for each in params if each.base_score is None})
    widths = sorted({each.max_bin for each in params})
    estimates = [
        estimating_base_score(
            table, scale_pos_weight=factor, n_rows=n_rows, n_positives=n_positives
        )
        for factor in factors
    ]
    cuts = [
        finding_cuts(table, max_bin=width, n_rows_total=n_rows, engine=engine) for width in widths
    ]
    work: list[Summing[np.float32 | Cuts]] = [*estimates, *cuts]
    results = yield from together(work)
    scores = [float(each) for each in results if not isinstance(each, Cuts)]
    found = [each for each in results if isinstance(each, Cuts)]
    score_of = dict(zip(factors, scores, strict=True))
    return SearchState(
        of_search=search_digest(candidates, spec),
        n_rows=n_rows,
        n_positives=n_positives,
        select=select,
        cuts=dict(zip(widths, found, strict=True)),
        candidates=tuple(
            CandidateState(
                base_score=score_of[each.scale_pos_weight]
                if each.base_score is None
                else each.base_score,
                max_bin=each.max_bin,
            )
            for each in params
        ),
        rounds=0,
        values=0,
    )


def _bounds_of(params: BoosterParams, table: TrainingTable) -> GradientBounds:
    return gradient_bounds(max_weight=table.max_weight, scale_pos_weight=params.scale_pos_weight)


def _select_counts(rows: SelectRows) -> Int64Array:
    n_positives = np.count_nonzero(rows.table.labels == 1)
    return np.array([rows.table.n_rows, n_positives, rows.weight], dtype=np.int64)


def _held_select(sums: Int64Array) -> SelectCounts:
    """Return the pooled counts of the select window, held to what counts can be."""
    n_rows, n_positives, weight = sums.tolist()
    check_classes("rows of the select window", n_rows, n_positives)
    hold_share(weight, most=n_positives)
    if weight == 0:
        raise DataError(
            "no bank has both frauds and other payments in the select window; expected one at "
            "least, check the labels and the cut-offs"
        )
    return SelectCounts(n_rows, n_positives, weight)


class _Running:
    """The state as it grows, and this bank's rows: their bins and their margins."""

    def __init__(
        self,
        candidates: tuple[Candidate, ...],
        spec: SearchSpec,
        table: TrainingTable,
        rows: SelectRows,
        state: SearchState,
        engine: Engine,
    ) -> None:
        self._candidates = candidates
        self._spec = spec
        self._rows = rows
        self._state = state
        self._params = [each.params(state.n_positives) for each in candidates]
        self._schema = table.schema
        alive = [number for number, each in enumerate(state.candidates) if each.is_alive]
        widths = {self._params[number].max_bin for number in alive}
        binned = {width: bin_table(table, state.cuts[width], engine=engine) for width in widths}
        self._select = {
            width: bin_table(rows.table, state.cuts[width], engine=engine) for width in widths
        }
        keys: UInt64Array | None = None
        if any(self._params[number].subsample < 1.0 for number in alive):
            keys = row_keys(table)
        #: Of live candidates, by their number in the plan.
        self._growing: dict[int, _Growing] = {}
        for number in alive:
            params = self._params[number]
            training = state.training(number, params)
            booster = Booster(params, table, training, binned=binned[params.max_bin], row_keys=keys)
            select = self._select[params.max_bin]
            margins = margins_after(select, training.trees, training.base_score)
            self._growing[number] = _Growing(booster, select, margins)

    @property
    def is_finished(self) -> bool:
        """Whether there is no step left."""
        return is_finished(self._state, self._spec)

    def step(self) -> Summing[None]:
        """Grow one tree of every live candidate, and measure what is due."""
        state = self._state
        select = state.select
        if state.counts_select:
            sums = yield SumRequest(
                values=_select_counts(self._rows),
                bound=MAX_POOLED_ROWS,
                low=0,
                label="select rows",
            )
            select = _held_select(sums)
        meters = {number: Meter() for number in self._growing}
        work: list[Summing[Tree | list[Point]]] = [
            meters[number].metered(each.booster.adding_tree())
            for number, each in self._growing.items()
        ]
        is_due = state.n_trees > 0 and not self._ends_rung(state.n_trees)
        if is_due:
            work.append(self._evaluating(select, state.n_trees))
        results = yield from together(work)
        points: list[list[Point]] = [[] for _ in self._growing]
        trees: list[Tree] = []
        for found in results:
            if isinstance(found, Tree):
                trees.append(found)
            else:
                points = [[each] for each in found]
        for each, tree in zip(self._growing.values(), trees, strict=True):
            each.add_to_select(tree)
        n_trees = state.n_trees + 1
        if self._ends_rung(n_trees):
            last = yield from self._evaluating(select, n_trees)
            for of_candidate, point in zip(points, last, strict=True):
                of_candidate.append(point)
        changed = list(state.candidates)
        for (number, each), new in zip(self._growing.items(), points, strict=True):
            before = state.candidates[number]
            changed[number] = replace(
                before,
                n_trees=n_trees,
                trees=tuple(each.booster.trees),
                curve=(*before.curve, *new),
                bins=each.booster.learnt,
                values=before.values + meters[number].values,
            )
        self._state = replace(state, select=select, candidates=tuple(changed), counts_select=False)
        self._drop_candidates(n_trees)

    def finish_step(self, meter: Meter) -> SearchState:
        """Add the cost of the step that is done to its state, and return that."""
        self._state = replace(
            self._state,
            rounds=self._state.rounds + meter.rounds,
            values=self._state.values + meter.values,
        )
        return self._state

    def progress(self) -> SearchProgress:
        """Return what to show of the last step."""
        numbers, select_by = list(self._growing), self._spec.select_by
        curves = [self._state.candidates[number].curve for number in numbers]
        leader, value = None, None
        # With one sum, all of them are measured or none.
        if best_point(curves[0], select_by) is not None:
            first = self._order(numbers)[0]
            leader = self._candidates[first].name
            _, value = measured_best(self._state.candidates[first].curve, select_by)
        return SearchProgress(
            tree_index=self._state.n_trees - 1,
            n_trees=self._spec.rungs[-1].trees,
            alive=tuple(self._candidates[number].name for number in numbers),
            leader=leader,
            value=value,
        )

    def result(self) -> SearchResult:
        """Return the choice."""
        state = self._state
        winner = self._order(list(self._growing))[0]
        best, _ = measured_best(state.candidates[winner].curve, self._spec.select_by)
        params = chosen_params(self._params[winner], best)
        return SearchResult(
            spec=self._spec,
            winner=self._candidates[winner].name,
            params=params,
            best=best,
            model=Model(
                trees=state.candidates[winner].trees[: best.trees],
                base_score=state.candidates[winner].base_score,
                schema=self._schema,
                scale_pos_weight=params.scale_pos_weight,
                statistics_bits=params.statistics_bits,
            ),
            candidates=tuple(
                CandidateResult(
                    name=candidate.name,
                    min_child_share=candidate.min_child_share,
                    params=params,
                    curve=grown.curve,
                    trees=grown.n_trees,
                    values=grown.values,
                    is_alive=grown.is_alive,
                )
                for candidate, params, grown in zip(
                    self._candidates, self._params, state.candidates, strict=True
                )
            ),
            counts={
                "train_rows": state.n_rows,
                "train_frauds": state.n_positives,
                "select_rows": state.select.n_rows,
                "select_frauds": state.select.n_positives,
                "select_weight": state.select.weight,
            },
            rounds=state.rounds,
            values=state.values,
        )

    def _evaluating(self, select: SelectCounts, trees: int) -> Summing[list[Point]]:
        with_pooled = self._ends_rung(trees) or (
            self._spec.select_by is SelectBy.POOLED and self._is_in_last_rung(trees)
        )
        return evaluating(
            [each.margins for each in self._growing.values()],
            self._rows,
            select,
            trees=trees,
            with_pooled=with_pooled,
        )

    def _drop_candidates(self, n_trees: int) -> None:
        """At the end of a rung let the best grow on."""
        rungs = self._spec.rungs
        ended = next((at for at, rung in enumerate(rungs[:-1]) if rung.trees == n_trees), None)
        if ended is None:
            return
        numbers = list(self._growing)
        kept = {
            numbers[at]
            for at in survivors(
                [self._standing(number) for number in numbers],
                self._spec.select_by,
                alive=rungs[ended + 1].alive,
                keep_each_share=self._spec.keep_each_share and ended == 0,
            )
        }
        self._growing = {n: each for n, each in self._growing.items() if n in kept}
        self._state = replace(
            self._state,
            candidates=tuple(
                each
                if number in kept or not each.is_alive
                else replace(each, is_alive=False, trees=(), bins=None)
                for number, each in enumerate(self._state.candidates)
            ),
        )

    def _standing(self, number: int) -> Standing:
        return Standing(
            self._params[number],
            self._candidates[number].min_child_share,
            self._state.candidates[number].curve,
        )

    def _order(self, numbers: list[int]) -> list[int]:
        """Return the numbers of candidates, the best first."""
        order = ranked([self._standing(number) for number in numbers], self._spec.select_by)
        return [numbers[at] for at in order]

    def _ends_rung(self, n_trees: int) -> bool:
        return any(rung.trees == n_trees for rung in self._spec.rungs)


@dataclass(frozen=True, eq=False)
class _Growing:
    """A live candidate: its trees, and the margins of this bank's select rows."""

    booster: Booster
    select: BinnedTable
    margins: Float32Array

    def add_to_select(self, tree: Tree) -> None:
        """Add a tree to the margins of the select rows."""
        assign_leaves(tree, self.select).add_values(tree.split_conditions, self.margins)
