"""The steps of a search after the preparation: one tree of every live candidate each."""

from dataclasses import dataclass, replace

from fraudfed.boosting.booster import Booster
from fraudfed.boosting.bounds.pooled_counts import MAX_POOLED_ROWS
from fraudfed.boosting.model import Model
from fraudfed.boosting.shard.protocol import BoostedRows, Shard
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import Summing, SumRequest
from fraudfed.search.candidates import Candidate
from fraudfed.search.halving import (
    Point,
    Standing,
    best_point,
    measured_best,
    ranked,
    survivors,
)
from fraudfed.search.lockstep import Meter, together
from fraudfed.search.preparation import held_select, select_counts
from fraudfed.search.result import CandidateResult, SearchResult, chosen_params
from fraudfed.search.selection import SelectCounts, SelectRows, evaluating
from fraudfed.search.state import SearchState
from fraudfed.wire.messages.kinds.search import SearchSpec, SelectBy


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


def is_finished(state: SearchState, spec: SearchSpec) -> bool:
    """Tell whether all rungs are done, or too many trees grew in the last one since the best."""
    if state.n_trees >= spec.rungs[-1].trees:
        return True
    if spec.patience is None or not _is_in_last_rung(spec, state.n_trees):
        return False
    for candidate in state.candidates:
        if candidate.is_alive:
            best = best_point(candidate.curve, spec.select_by)
            if best is None or candidate.curve[-1].trees - best.trees < spec.patience:
                return False
    return True


def _is_in_last_rung(spec: SearchSpec, n_trees: int) -> bool:
    return len(spec.rungs) == 1 or n_trees > spec.rungs[-2].trees


class RunningSearch:
    """The state as it grows, and this bank's rows: their bins and their margins."""

    def __init__(
        self,
        candidates: tuple[Candidate, ...],
        spec: SearchSpec,
        shard: Shard,
        rows: SelectRows,
        state: SearchState,
    ) -> None:
        self._candidates = candidates
        self._spec = spec
        self._rows = rows
        self._state = state
        self._params = [each.params(state.n_positives) for each in candidates]
        self._schema = shard.schema
        alive = [number for number, each in enumerate(state.candidates) if each.is_alive]
        widths = {self._params[number].max_bin for number in alive}
        drawn = {
            self._params[number].max_bin for number in alive if self._params[number].subsample < 1.0
        }
        binned = {width: shard.bin(state.cuts[width], for_draws=width in drawn) for width in widths}
        select = {width: rows.shard.bin(state.cuts[width]) for width in widths}
        #: Of live candidates, by their number in the plan.
        self._growing: dict[int, _Growing] = {}
        for number in alive:
            params = self._params[number]
            training = state.training(number, params)
            booster = Booster(params, binned[params.max_bin], training, max_weight=shard.max_weight)
            of_select = select[params.max_bin].start(training.trees, training.base_score)
            self._growing[number] = _Growing(booster, of_select)

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
                values=select_counts(self._rows),
                bound=MAX_POOLED_ROWS,
                low=0,
                label="select rows",
            )
            select = held_select(sums)
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
            each.select.add(tree)
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
            self._spec.select_by is SelectBy.POOLED and _is_in_last_rung(self._spec, trees)
        )
        return evaluating(
            [each.select for each in self._growing.values()],
            self._rows.weight,
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
    """A live candidate: its trees, and this bank's select rows after them."""

    booster: Booster
    select: BoostedRows
