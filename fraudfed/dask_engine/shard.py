"""A bank's rows on a cluster: ``boosting.shard.protocol.Shard``, answered by the workers.

Law: the answers are those of one machine that holds all parts, whatever the number of parts and of
workers, and whichever of them die. Values, bins, gradients, margins and where each row lies stay on
the workers; sums and counts come back.
"""

import functools
import uuid
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fraudfed.boosting.bins import Cuts
from fraudfed.boosting.engine.protocol import Engine
from fraudfed.boosting.shard.protocol import (
    GradientCap,
    NodeSplit,
    RowDraw,
    SumOrder,
    SumsOfNodes,
)
from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.tree import NO_CHILD, NO_PARENT, Tree
from fraudfed.dask_engine import work as calls
from fraudfed.dask_engine.adding import add_answers, owned
from fraudfed.dask_engine.requests import (
    Add,
    Answer,
    Begin,
    Deed,
    Divide,
    Finish,
    Question,
    Request,
    packed,
)
from fraudfed.dask_engine.work import Work
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Future

#: How often parts may be sent all that was done before a cluster is given up.
_MOST_REBUILDS: Final = 20


@dataclass(frozen=True)
class TableFacts:
    """What is the same for all parts.

    Attributes
    ----------
    schema : FeatureSchema
    max_weight : float
    has_weights : bool
    """

    schema: FeatureSchema
    max_weight: float = 1.0
    has_weights: bool = False


class DaskShard:
    """Rows on a cluster; see ``Shard`` for the calls.

    Parameters
    ----------
    work : Work
    make : callable
        Gives out the work that makes each part, and returns what will be: ``HeldRows``, or an
        ``Answer`` with a refusal. It is called again when the rows are needed again.
    facts : TableFacts
    engine : Engine
        Scans pooled sums, on this machine.
    forget_source : callable
        Called when the values are not needed any more: what they were made of need not stay.
    """

    def __init__(
        self,
        work: Work,
        make: "Callable[[], list[Future]]",
        facts: TableFacts,
        engine: Engine,
        *,
        forget_source: Callable[[], None] = lambda: None,
    ) -> None:
        self._work = work
        self._forget_source = forget_source
        self._make = make
        self._facts = facts
        self._engine = engine
        self._held: list[Future] | None = None

    @property
    def schema(self) -> FeatureSchema:
        """See ``Shard``."""
        return self._facts.schema

    @property
    def max_weight(self) -> float:
        """See ``Shard``."""
        return self._facts.max_weight

    @property
    def has_weights(self) -> bool:
        """See ``Shard``."""
        return self._facts.has_weights

    @property
    def caps_customers(self) -> bool:
        """See ``Shard``: a customer's rows may lie in several parts, so no."""
        return False

    @property
    def n_rows(self) -> int:
        """See ``Shard``."""
        return sum(n_rows for _, n_rows, _ in self._counts)

    @property
    def n_positives(self) -> int:
        """See ``Shard``."""
        return sum(n_positives for _, _, n_positives in self._counts)

    @functools.cached_property
    def _counts(self) -> list[tuple[int, int, int]]:
        """Number, rows and rows with label 1 of each part."""
        found: list[tuple[int, int, int]] = self._ask(Question("facts"))
        return sorted(found)

    def check(self, what: str, *, first_row: int = 0) -> None:
        """See ``Shard``."""
        firsts = np.cumsum([first_row, *(n_rows for _, n_rows, _ in self._counts)])
        self._ask_each(
            [Question("check", (what,), (("first_row", int(first)),)) for first in firsts[:-1]]
        )

    def weight_parts(self) -> Int64Array:
        """See ``Shard``."""
        found: Int64Array = self._ask(Question("weight_parts"))
        return found

    def scaled(self, factor: float) -> "DaskShard":
        """See ``Shard``."""
        facts = TableFacts(self.schema, self.max_weight, has_weights=True)

        def make() -> "list[Future]":
            return [self._work.give("weigh", calls.scale_rows, each, factor) for each in self._rows]

        return DaskShard(self._work, make, facts, self._engine, forget_source=self.forget_values)

    def masses(self, *, scale_pos_weight: float) -> Int64Array:
        """See ``Shard``."""
        options = (("scale_pos_weight", scale_pos_weight),)
        found: Int64Array = self._ask(Question("masses", options=options))
        return found

    def capped_masses(
        self, *, scale_pos_weight: float, row_norm: int, customer_rows: int | None
    ) -> Int64Array:
        """See ``Shard``."""
        options = (
            ("scale_pos_weight", scale_pos_weight),
            ("row_norm", row_norm),
            ("customer_rows", customer_rows),
        )
        found: Int64Array = self._ask(Question("capped_masses", options=options))
        return found

    def key_counter(self, columns: Int64Array, *, customer_rows: int | None = None) -> "DaskKeys":
        """See ``Shard``."""
        return DaskKeys(self._ask, columns, customer_rows)

    def bin(self, cuts: Cuts, *, for_draws: bool = False) -> "DaskBinned":
        """See ``Shard``; the values are forgotten once bins are asked for something."""
        message = packed((cuts, for_draws))
        held = [self._work.give("bin", calls.bin_rows, each, message) for each in self._rows]
        return DaskBinned(self._work, held, cuts, self.n_rows, self._engine, self.forget_values)

    def forget_values(self) -> None:
        """Let the workers give up the rows' values; they are read again if they are asked for."""
        self._held = None
        self._forget_source()

    @property
    def _rows(self) -> "list[Future]":
        if self._held is None:
            self._held = self._make()
        return self._held

    def _ask(self, question: Question) -> Any:
        return self._ask_each([question] * len(self._rows))

    def _ask_each(self, questions: Sequence[Question]) -> Any:
        what = questions[0].call
        given = [
            self._work.give(what, calls.ask, each, packed(question))
            for each, question in zip(self._rows, questions, strict=True)
        ]
        return _value(self._work.receive(given))


def _value(answer: Answer) -> Any:
    """Return what parts say together; raises what is wrong with the rows of one."""
    if answer.refusal is not None:
        raise answer.refusal
    return owned(answer.value)


class DaskKeys:
    """Counts keys on the workers; see ``KeyCounter``."""

    def __init__(
        self, ask: Callable[[Question], Any], columns: Int64Array, customer_rows: int | None
    ) -> None:
        self.columns = columns
        self._ask = ask
        self._customer_rows = customer_rows

    def count(self, lows: Sequence[Int64Array], bits: Sequence[Int64Array]) -> Int64Array:
        """See ``KeyCounter``."""
        arguments = (self.columns, self._customer_rows, list(lows), list(bits))
        found: Int64Array = self._ask(Question("count_keys", arguments))
        return found


class DaskBinned:
    """Rows as bins on a cluster; see ``BinnedShard``."""

    def __init__(
        self,
        work: Work,
        held: "list[Future]",
        cuts: Cuts,
        n_rows: int,
        engine: Engine,
        forget_values: Callable[[], None],
    ) -> None:
        self.cuts = cuts
        self.n_rows = n_rows
        self.engine = engine
        self._work = work
        self._held = held
        self._forget_values = forget_values
        self._order: list[int] | None = None
        #: Models that no longer grow; workers are told with the next request.
        self.forgotten: list[str] = []

    def start(self, trees: Sequence[Tree], base_score: float) -> "DaskRows":
        """See ``BinnedShard``."""
        rows = DaskRows(self, base_score)
        for tree in trees:
            rows.add(tree)
        return rows

    def ask(self, request: Request, whole: Callable[[], Request]) -> Any:
        """Ask all parts; those that are not where they should be, again, with all that was done.

        Parameters
        ----------
        request : Request
        whole : callable
            Returns the request from the beginning.
        """
        order = self._by_worker()
        what, message = request.question.call, packed(request)
        found = self._work.receive([self._give(what, number, message) for number in order])
        answers = [found]
        for _ in range(_MOST_REBUILDS):
            if not found.astray:
                return _value(add_answers(answers))
            message = packed(whole())
            found = self._work.receive([self._give(what, each, message) for each in found.astray])
            answers.append(found)
        raise ClusterError(
            f"cluster: parts of the rows were lost {_MOST_REBUILDS} times at one step; look why "
            "workers end, and give the same command again"
        )

    def _give(self, what: str, number: int, message: bytes) -> "Future":
        return self._work.give(what, calls.answer, self._held[number], message)

    def _by_worker(self) -> list[int]:
        if self._order is None:
            for each in self._held:
                refused = self._work.wait(self._work.give("binned", _refusal, each))
                if refused is not None:
                    raise refused
            self._order = self._work.by_worker(self._held)
            self._forget_values()
        return self._order


def _refusal(held: Any) -> Any:
    return held.refusal if isinstance(held, Answer) else None


class DaskRows:
    """Rows with margins on a cluster; see ``BoostedRows``."""

    def __init__(self, binned: DaskBinned, base_score: float) -> None:
        self._binned = binned
        self._base_score = base_score
        self._name = uuid.uuid4().hex
        #: All that was done, trees that are finished in short; and what workers have not been told.
        self._done: list[Deed] = []
        self._untold: list[Deed] = []
        self._step = self._told = 0
        self._growing: list[Deed] | None = None
        weakref.finalize(self, binned.forgotten.append, self._name).atexit = False

    def grow(
        self,
        *,
        scale_pos_weight: float,
        draw: RowDraw | None = None,
        cap: GradientCap | None = None,
    ) -> "DaskGrowing":
        """See ``BoostedRows``."""
        self._growing = []
        self.do(Begin(scale_pos_weight, draw, cap))
        return DaskGrowing(self)

    def add(self, tree: Tree) -> None:
        """See ``BoostedRows``."""
        self.do(Add(tree))

    def metric_parts(self, names: Sequence[str]) -> dict[str, Int64Array]:
        """See ``BoostedRows``."""
        found: dict[str, Int64Array] = self.ask(Question("metric_parts", (tuple(names),)))
        return found

    def case_margins(self) -> tuple[Float32Array, Int64Array]:
        """See ``BoostedRows``."""
        found: tuple[Float32Array, Int64Array] = self.ask(Question("case_margins"))
        return found

    def count_others(self, thresholds: Float32Array) -> Int64Array:
        """See ``BoostedRows``."""
        found: Int64Array = self.ask(Question("count_others", (thresholds,)))
        return found

    def margins(self) -> Float32Array:
        """See ``BoostedRows``: 4 bytes a row come to this machine."""
        found = sorted(self.ask(Question("margins")), key=lambda pair: int(pair[0]))
        return np.concatenate([margins for _, margins in found])

    def do(self, deed: Deed) -> None:
        """Note what workers will do before they are asked something."""
        self._untold.append(deed)
        self._step += 1
        if self._growing is None or isinstance(deed, Add):
            # A tree that was begun ends as well where another one is added in its place.
            self._growing = None
            self._done.append(deed)
            return
        self._growing.append(deed)
        if isinstance(deed, Finish):
            self._done.append(Add(_as_tree(self._growing, deed.values)))
            self._growing = None

    def ask(self, question: Question, *, is_of_tree: bool = False) -> Any:
        """Ask all parts after all that was done."""

        def request(since: int, deeds: list[Deed]) -> Request:
            return Request(
                booster=self._name,
                base_score=self._base_score,
                since=since,
                until=self._step,
                deeds=tuple(deeds),
                question=question,
                is_of_tree=is_of_tree,
                forgotten=tuple(self._binned.forgotten),
            )

        def whole() -> Request:
            return request(0, [*self._done, *(self._growing or ())])

        found = self._binned.ask(request(self._told, self._untold), whole)
        self._told, self._untold = self._step, []
        return found


class DaskGrowing:
    """Rows on a cluster while one tree grows over them; see ``GrowingRows``."""

    def __init__(self, rows: DaskRows) -> None:
        self._rows = rows

    def split(self, splits: Sequence[NodeSplit]) -> None:
        """See ``GrowingRows``; nothing travels before something is asked."""
        if splits:
            self._rows.do(Divide(tuple(splits)))

    def sums(self, orders: Sequence[SumOrder]) -> SumsOfNodes:
        """See ``GrowingRows``."""
        found: SumsOfNodes = self._rows.ask(Question("sums", (tuple(orders),)), is_of_tree=True)
        return found

    def sides(self, tried: Sequence[NodeSplit]) -> Int64Array:
        """See ``GrowingRows``."""
        found: Int64Array = self._rows.ask(Question("sides", (tuple(tried),)), is_of_tree=True)
        return found

    def finish(self, values: Float32Array) -> None:
        """See ``GrowingRows``."""
        self._rows.do(Finish(values.copy()))


def _as_tree(deeds: Sequence[Deed], values: Float32Array) -> Tree:
    """Return a tree that sends rows where a finished one has sent them, and has its leaf values.

    Its splits are the tables of bins that the rows were split by; it is no part of a model.
    """
    n_nodes = values.size
    left = np.full(n_nodes, NO_CHILD, dtype=np.int32)
    right, parents = left.copy(), np.full(n_nodes, NO_PARENT, dtype=np.int32)
    features = np.zeros(n_nodes, dtype=np.int32)
    default_left = np.zeros(n_nodes, dtype=np.bool_)
    is_split = np.zeros(n_nodes, dtype=np.bool_)
    categories: list[tuple[int, ...]] = [()] * n_nodes
    for deed in deeds:
        for split in deed.splits if isinstance(deed, Divide) else ():
            node = split.node
            left[node], right[node], features[node] = split.left, split.right, split.feature
            parents[[split.left, split.right]] = node
            default_left[node], is_split[node] = split.table[-1], True
            categories[node] = tuple(np.flatnonzero(~split.table[:-1]).tolist())
    zeros = np.zeros(n_nodes, dtype=np.float32)
    return Tree(
        left_children=left,
        right_children=right,
        parents=parents,
        split_features=features,
        split_conditions=values,
        split_bins=np.full(n_nodes, -1, dtype=np.int32),
        default_left=default_left,
        right_categories=tuple(categories),
        is_categorical=is_split,
        loss_changes=zeros,
        sum_hessians=zeros,
        base_weights=zeros,
    )
