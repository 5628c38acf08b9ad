"""The privacy of a training: the bound, for whom, and how it is spent; see docs/privacy.md."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from fraudfed.privacy.terms import (
    History,
    PrivacyTerms,
    PrivacyUnit,
    PrivateCuts,
    TrainingWay,
)
from fraudfed.wire.messages.base import Message

#: More says nothing: an attacker who guesses may be right e^20 times as often.
_MOST_EPSILON = 20.0
#: The chance that nothing holds; it stays far below one in the number of rows.
_MOST_DELTA = 1e-4
#: A sum of gradients with 16 fractional bits stays within 63 bits: 2^31 rows, weights to 2^15.
_MOST_ROWS = 2**31
_Share = Annotated[float, Field(ge=0, le=0.5)]


class PrivacySpec(Message):
    """What the banks of a training agree on; the fields of ``fraudfed.privacy.terms``."""

    epsilon: Annotated[float, Field(gt=0, le=_MOST_EPSILON)]
    """The bound for one unit over the whole training."""
    delta: Annotated[float, Field(ge=1e-12, le=_MOST_DELTA)] = 1e-6
    """The probability with which the bound need not hold."""
    unit: PrivacyUnit = PrivacyUnit.ROW
    """Whose presence the bound hides."""
    history: History = History.DECLARED
    """Where features that hold other customers' payments come from."""
    way: TrainingWay = TrainingWay.CYCLIC
    """How the bound is spent on trees."""
    cuts: PrivateCuts = PrivateCuts.NOISED
    """Where the edges of bins come from."""
    tolerated_colluders: Annotated[int, Field(ge=0, le=1000)]
    """Banks whose noise does not count: the others add so much that the bound holds without
    theirs. A bank refuses a run that counts fewer than its own rules do."""
    declared_rows: Annotated[int, Field(ge=1, le=_MOST_ROWS)]
    """No more training rows than this are there at all banks together."""
    gradient_cap: Annotated[float, Field(gt=0, le=65_536)] = 4.0
    """Unit customer only: most that one customer's rows may weigh in one tree, in gradients of
    full weight."""
    row_cap: Annotated[int, Field(ge=1, le=65_536)] = 16
    """Unit customer only: most rows of one customer that counts and metrics take."""
    features_per_tree: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Way histograms only: features that are drawn for each tree."""
    cuts_share: _Share = 0.07
    """Share of the bound that noised cuts take."""
    counts_share: _Share = 0.01
    """Share of the bound for the counts behind the base score; 0 if that is a parameter."""
    metric_share: _Share = 0.05
    """Share of the bound for the metrics at the end; 0 leaves them out."""

    @model_validator(mode="after")
    def _shares_leave_trees(self) -> Self:
        if self.cuts is PrivateCuts.NOISED and self.cuts_share == 0:
            raise ValueError("noised cuts cost a share of the bound: cuts_share is above 0")
        cuts_share = self.cuts_share if self.cuts is PrivateCuts.NOISED else 0.0
        spent = cuts_share + self.counts_share + self.metric_share
        if spent > 0.5:
            raise ValueError(
                f"cuts_share, counts_share and metric_share take {spent:g} of the bound, expected "
                "at most 0.5: the rest is for the trees"
            )
        return self

    def terms(self) -> PrivacyTerms:
        """Return the terms, as computations take them."""
        return PrivacyTerms(
            epsilon=self.epsilon,
            delta=self.delta,
            unit=self.unit,
            history=self.history,
            way=self.way,
            cuts=self.cuts,
            tolerated_colluders=self.tolerated_colluders,
            declared_rows=self.declared_rows,
            gradient_cap=self.gradient_cap,
            row_cap=self.row_cap,
            features_per_tree=self.features_per_tree,
            cuts_share=self.cuts_share,
            counts_share=self.counts_share,
            metric_share=self.metric_share,
        )
