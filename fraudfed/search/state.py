"""Where a search stands between two steps: all that is needed to continue, and nothing private.

Step 0 is the preparation: counts, base scores and cuts. Each further step grows one tree of every
live candidate. Law: a search that is resumed from a state continues exactly as one that was never
interrupted, with the same sums and the same bytes at its end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.bounds.bins import BinBounds, rows_of_sets
from fraudfed.boosting.bounds.pooled_counts import MAX_POOLED_ROWS, PooledCounts, check_more_rows
from fraudfed.boosting.resume.canonical_bytes import StateReader, StateWriter
from fraudfed.boosting.resume.state import (
    DIGEST_BYTES,
    TrainingState,
    params_digest,
    read_bins,
    read_cuts,
    schema_digest,
    write_bins,
    write_cuts,
)
from fraudfed.boosting.resume.tree_bytes import read_trees, write_trees
from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.tree import Tree
from fraudfed.container import Container
from fraudfed.errors import StateError
from fraudfed.parameters import BoosterParams
from fraudfed.search.halving import Point
from fraudfed.search.selection import SelectCounts

_CONTAINER = Container(
    magic=b"fraudfed search state\n",
    version=1,
    what="a search state",
    advice="take another copy, or begin the search anew",
)
_MOST_CANDIDATES = 64
_MOST_TREES = 100_000
_LARGEST_BINS = 256
_NO_POOLED = -1.0


@dataclass(frozen=True, eq=False)
class CandidateState:
    """Where one candidate stands.

    Attributes
    ----------
    base_score : float
    max_bin : int
        Names its cuts.
    is_alive : bool
    n_trees : int
        Grown so far.
    trees : tuple of Tree
        All of them; none once the candidate was dropped.
    curve : tuple of Point
    bins : BinBounds or None
        What its sums so far say of single bins.
    values : int
        That were summed for it alone.
    """

    base_score: float
    max_bin: int
    is_alive: bool = True
    n_trees: int = 0
    trees: tuple[Tree, ...] = ()
    curve: tuple[Point, ...] = ()
    bins: BinBounds | None = None
    values: int = 0


@dataclass(frozen=True, eq=False)
class SearchState:
    """What every bank knows between two steps; the same bytes at every bank.

    Attributes
    ----------
    of_search : bytes
        ``search_digest`` of what is searched.
    n_rows, n_positives : int
        Training rows as the preparation counted them.
    select : SelectCounts
        Of the banks that the last points are about.
    cuts : mapping of int to Cuts
        By ``max_bin``.
    candidates : tuple of CandidateState
        In the plan's order.
    rounds, values : int
        Sums of the finished steps, and what they carried.
    counts_select : bool
        Whether the coming step first counts the select rows again.
    """

    of_search: bytes
    n_rows: int
    n_positives: int
    select: SelectCounts
    cuts: Mapping[int, Cuts]
    candidates: tuple[CandidateState, ...]
    rounds: int
    values: int
    counts_select: bool = False

    @property
    def n_trees(self) -> int:
        """Trees of each live candidate."""
        return max(each.n_trees for each in self.candidates)

    @property
    def n_steps(self) -> int:
        """Finished steps: 1 after the preparation, one more with each tree in lockstep."""
        return 1 + self.n_trees

    @property
    def more_rows(self) -> int:
        """Rows, at most, of banks that were not in the preparation."""
        return max(cuts.more_rows for cuts in self.cuts.values())

    @property
    def most_rows(self) -> int:
        """Training rows of the current banks, at most."""
        return self.n_rows + self.more_rows

    def training(self, position: int, params: BoosterParams) -> TrainingState:
        """Return one candidate as the state of a training without validation rows.

        Parameters
        ----------
        position : int
            In the plan's order.
        params : BoosterParams
            Of the candidate.
        """
        candidate = self.candidates[position]
        return TrainingState(
            of_params=params_digest(params),
            num_boost_round=params.num_boost_round,
            counts=PooledCounts(self.n_rows, self.n_positives),
            base_score=candidate.base_score,
            cuts=self.cuts[candidate.max_bin],
            trees=candidate.trees,
            bins=candidate.bins,
        )

    def regrouped(self, *, more_rows: int = 0) -> "SearchState":
        """Return the state from which another set of banks continues.

        As ``TrainingState.regrouped``: what was counted and cut stays, what sums have said of
        single bins is forgotten, and the select rows are counted again. Points that were measured
        stay, though they are of other rows. Live candidates have all of them in common, so none is
        favoured; only a candidate's best tree may be one that other rows preferred.

        Parameters
        ----------
        more_rows : int
            Training rows, at most, of the banks that come now and were never counted.

        Raises
        ------
        DataError
            If that is more rows than a training may have.
        ValueError
            If ``more_rows`` is negative.
        """
        check_more_rows(self.most_rows, more_rows)
        return replace(
            self,
            cuts={
                max_bin: replace(cuts, more_rows=cuts.more_rows + more_rows)
                for max_bin, cuts in self.cuts.items()
            },
            candidates=tuple(replace(each, bins=None) for each in self.candidates),
            counts_select=True,
        )

    def to_bytes(self) -> bytes:
        """Return canonical bytes: equal states give equal bytes on every machine."""
        writer = StateWriter(_CONTAINER)
        schema = next(iter(self.cuts.values())).schema
        writer.raw(schema_digest(schema))
        writer.raw(self.of_search)
        for count in (
            self.n_rows,
            self.n_positives,
            self.select.n_rows,
            self.select.n_positives,
            self.select.weight,
            self.more_rows,
            self.rounds,
            self.values,
        ):
            writer.integer(count, "<i8")
        writer.integer(self.counts_select, "u1")
        writer.integer(len(self.cuts), "u1")
        for max_bin in sorted(self.cuts):
            writer.integer(max_bin, "<u2")
            write_cuts(writer, self.cuts[max_bin])
        writer.integer(len(self.candidates), "u1")
        for candidate in self.candidates:
            _write_candidate(writer, candidate)
        return writer.finish()

    @classmethod
    def from_bytes(cls, data: bytes, *, schema: FeatureSchema) -> "SearchState":
        """Read back what ``to_bytes`` has written.

        The checksum in the bytes finds damage, not forgery: see ``search.held_state``.

        Parameters
        ----------
        data : bytes
        schema : FeatureSchema
            Of the search's tables.

        Raises
        ------
        StateError
            If the bytes are not a state, damaged, of another version of the format, or of a search
            with another schema.
        """
        reader = StateReader(data, _CONTAINER)
        if reader.raw(DIGEST_BYTES) != schema_digest(schema):
            raise StateError(
                "search state is of a search with other features; resume it with the data contract "
                "that it began with"
            )
        of_search = reader.raw(DIGEST_BYTES)
        counts = [reader.integer("<i8", most=MAX_POOLED_ROWS) for _ in range(6)]
        n_rows, n_positives, n_select, n_select_positives, weight, more_rows = counts
        if not (
            0 < n_positives < n_rows
            and 0 < n_select_positives < n_select
            and 0 < weight <= n_select_positives
            and n_rows + more_rows <= MAX_POOLED_ROWS
        ):
            raise damaged("its counts are none of rows")
        rounds, values = reader.integer("<i8"), reader.integer("<i8")
        counts_select = bool(reader.integer("u1", most=1))
        cuts: dict[int, Cuts] = {}
        for _ in range(reader.integer("u1")):
            max_bin = reader.integer("<u2", most=_LARGEST_BINS)
            if max_bin <= max(cuts, default=1):
                raise damaged("its cuts do not ascend")
            cuts[max_bin] = read_cuts(reader, schema, n_rows=n_rows, more_rows=more_rows)
        candidates = tuple(
            _read_candidate(reader, cuts, most_rows=n_rows + more_rows)
            for _ in range(reader.integer("u1", most=_MOST_CANDIDATES))
        )
        reader.finish()
        _check_pace(candidates)
        return cls(
            of_search=of_search,
            n_rows=n_rows,
            n_positives=n_positives,
            select=SelectCounts(n_select, n_select_positives, weight),
            cuts=cuts,
            candidates=candidates,
            rounds=rounds,
            values=values,
            counts_select=counts_select,
        )


def damaged(what: str) -> StateError:
    """Return the error for bytes that cannot be those of a search state."""
    return _CONTAINER.damaged(what, source="search state")


def _check_pace(candidates: tuple[CandidateState, ...]) -> None:
    """Check that live candidates have equally many trees, and dropped ones no more."""
    alive = {each.n_trees for each in candidates if each.is_alive}
    if len(alive) != 1 or max(each.n_trees for each in candidates) > min(alive):
        raise damaged("its candidates are not in lockstep")


def _write_candidate(writer: StateWriter, candidate: CandidateState) -> None:
    writer.array([candidate.base_score], "<f8")
    writer.integer(candidate.max_bin, "<u2")
    writer.integer(candidate.is_alive, "u1")
    writer.integer(candidate.n_trees, "<u4")
    writer.integer(candidate.values, "<i8")
    write_trees(writer, candidate.trees)
    writer.integer(len(candidate.curve), "<u4")
    writer.array([point.trees for point in candidate.curve], "<u4")
    writer.array([point.mean_of_banks for point in candidate.curve], "<f8")
    pooled = [_NO_POOLED if p.pooled is None else p.pooled for p in candidate.curve]
    writer.array(pooled, "<f8")
    write_bins(writer, candidate.bins)


def _read_candidate(
    reader: StateReader, cuts: Mapping[int, Cuts], *, most_rows: int
) -> CandidateState:
    base_score = float(reader.finite(1, "<f8")[0])
    if not 0.0 <= base_score <= 1.0:
        raise damaged("a base score is not a probability")
    max_bin = reader.integer("<u2")
    if max_bin not in cuts:
        raise damaged("a candidate has no cuts")
    is_alive = bool(reader.integer("u1", most=1))
    n_trees = reader.integer("<u4", most=_MOST_TREES)
    values = reader.integer("<i8")
    trees = read_trees(reader, cuts[max_bin])
    if len(trees) != (n_trees if is_alive else 0):
        raise damaged("a candidate has another number of trees than it says")
    curve = _read_curve(reader, n_trees)
    sets = rows_of_sets(cuts[max_bin], most_rows)
    bins = read_bins(reader, sets, may_exist=bool(trees))
    return CandidateState(
        base_score=base_score,
        max_bin=max_bin,
        is_alive=is_alive,
        n_trees=n_trees,
        trees=trees,
        curve=curve,
        bins=bins,
        values=values,
    )


def _read_curve(reader: StateReader, n_trees: int) -> tuple[Point, ...]:
    size = reader.integer("<u4", most=n_trees)
    trees = reader.array(size, "<u4").astype(np.int64)
    if (np.diff(trees, prepend=0) <= 0).any() or (trees > n_trees).any():
        raise damaged("the points of a curve do not ascend")
    means = reader.finite(size, "<f8")
    pooled = reader.finite(size, "<f8")
    is_known = pooled != _NO_POOLED
    for values in (means, pooled[is_known]):
        if ((values < 0.0) | (values > 1.0)).any():
            raise damaged("a metric is out of its range")
    return tuple(
        Point(at, mean, value if known else None)
        for at, mean, value, known in zip(
            trees.tolist(), means.tolist(), pooled.tolist(), is_known.tolist(), strict=True
        )
    )
