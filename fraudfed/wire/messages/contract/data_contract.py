"""What every bank's data must look like."""

import itertools
import reprlib
import struct
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from fraudfed.column_names import (
    MOST_CHARACTERS,
    category_fault,
    column_fault,
    feature_fault,
    twins,
)
from fraudfed.payments.columns import COLUMNS
from fraudfed.wire.messages.base import Message, Sha256
from fraudfed.wire.messages.contract.currency import Currency
from fraudfed.wire.messages.contract.identifier_rules import IDENTIFIER_RULES, IdentifierRules
from fraudfed.wire.messages.contract.label_horizon import SECONDS_PER_DAY, Days, LabelHorizon
from fraudfed.wire.messages.contract.population import Population

_RAW_COLUMNS = frozenset(column.name for column in COLUMNS)

#: 1970 to 2242, as in ``fraudfed.payments.columns``: later is no time in seconds.
_MOST_SECONDS = 1 << 33
_Time: TypeAlias = Annotated[int, Field(ge=0, le=_MOST_SECONDS)]

#: What is said of transactions alone, with the value of a contract that says nothing.
_OF_TRANSACTIONS = {
    "train_from": None,
    "train_until": None,
    "select_until": None,
    "judge_until": None,
    "label_horizon_days": LabelHorizon(),
    "risk_delay_days": 0,
    "risk_publication_lag_days": 1,
    "gap_days": 0,
    "exclude_known_compromised": False,
    "alerts_per_day": None,
}


def _writable(what: str, fault_of: Callable[[str], str | None]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if (fault := fault_of(text)) is not None:
            raise ValueError(f"{what} {reprlib.repr(text)} {fault}")
        return text

    return check


#: Any column of a bank's file, and one that is a feature.
ColumnName: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=MOST_CHARACTERS),
    AfterValidator(_writable("column name", column_fault)),
]
FeatureName: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=MOST_CHARACTERS),
    AfterValidator(_writable("feature name", feature_fault)),
]
Category: TypeAlias = Annotated[str, AfterValidator(_writable("category", category_fault))]


#: An edge between bins; a float32 that is not the largest.
Cut: TypeAlias = Annotated[float, Field(allow_inf_nan=False, ge=-1e38, le=1e38)]


class FeatureType(StrEnum):
    """How a feature column is read."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


class FeatureSpec(Message):
    """One feature column of the data contract."""

    name: FeatureName
    type: FeatureType = FeatureType.NUMERIC
    categories: tuple[Category, ...] | None = None
    """Categorical only: the values in code order; code i is ``categories[i]``. A value that is not
    listed is an error, an empty one is missing."""
    nullable: bool = True
    """False: a missing value (NaN, empty) is a data error. True: missing values are learnt from."""
    description: str = ""
    cuts: Annotated[tuple[Cut, ...], Field(min_length=1, max_length=255)] | None = None
    """Numeric only: edges between bins, ascending; a value at an edge lies above it. Public, so
    they cost a training with privacy terms nothing; other trainings find edges of their own."""
    unit: Annotated[str, Field(max_length=100)] | None = None
    """With it a feature of transactions is an own column of the consortium: read from the file, and
    not made by the recipe. ``code`` for a categorical one, ``1`` for a count or a ratio."""

    @property
    def is_own(self) -> bool:
        """Whether a feature of transactions is read from the file."""
        return self.unit is not None

    @model_validator(mode="after")
    def _own_column_is_explained(self) -> Self:
        if self.unit is not None and not self.unit.strip():
            raise ValueError(
                f"unit of {self.name!r} is empty; say what the numbers count, 'code' for categories"
            )
        if self.unit is not None and not self.description.strip():
            raise ValueError(
                f"description of {self.name!r} is empty; say in a sentence what the column means, "
                "so that every bank fills it alike"
            )
        return self

    @model_validator(mode="after")
    def _cuts_ascend(self) -> Self:
        if self.cuts is None:
            return self
        if self.type is not FeatureType.NUMERIC:
            raise ValueError(f"cuts of {self.name!r}: only a numeric feature has some")
        # What is one float32 is one edge.
        edges = [struct.unpack("<f", struct.pack("<f", cut))[0] for cut in self.cuts]
        if any(low >= high for low, high in itertools.pairwise(edges)):
            raise ValueError(f"cuts of {self.name!r} must ascend, also once they are float32")
        return self

    @model_validator(mode="after")
    def _categories_match_type(self) -> Self:
        if (self.type is FeatureType.CATEGORICAL) != (self.categories is not None):
            raise ValueError("categories must be given exactly for a categorical feature")
        if self.categories is not None:
            if not self.categories:
                raise ValueError("categories must not be empty")
            if len(set(self.categories)) != len(self.categories):
                raise ValueError("categories must be distinct")
            if (pair := twins(self.categories)) is not None:
                raise ValueError(
                    f"categories {pair[0]!a} and {pair[1]!a} are one text that is "
                    "written in two ways; make it one in the data"
                )
        return self


class DataContract(Message):
    """What every bank's data must look like; published with the run."""

    kind: Literal["transactions", "table"]
    """``transactions``: raw transactions, features are built at the bank by ``recipe``.
    ``table``: the file holds the feature columns themselves."""
    features: Annotated[tuple[FeatureSpec, ...], Field(min_length=1, max_length=4096)]
    label: ColumnName = "is_fraud"
    weight: ColumnName | None = None
    """Column of sample weights in (0, ``max_weight``], or None for weight 1."""
    max_weight: Annotated[float, Field(gt=0, le=65536)] = 1.0
    recipe: str | None = None
    """``transactions`` only: name and version of the feature recipe."""
    label_horizon_days: LabelHorizon = LabelHorizon()
    """``transactions`` only: a payment whose label is used lies at least so many days before the
    cut-off as of which it is labelled."""
    risk_delay_days: Days = 0
    """``transactions`` only: a payment, and a report of its fraud, enter local windows and risk
    tables not before so many days after the payment. 0: payments when they are made, reports when
    they are made."""
    risk_publication_lag_days: Days = 1
    """``transactions`` only: the features of a payment use days of entry of risk tables up to the
    day that lies 1 + this many days before its own."""
    train_from: _Time | None = None
    """``transactions`` only: first event time used for training."""
    train_until: _Time | None = None
    """``transactions`` only: the first cut-off. Training uses events that lie at least the label
    horizon before this time, labelled by what had been reported before it."""
    select_until: _Time | None = None
    """``transactions`` only: the second cut-off. Parameters and the number of trees are chosen on
    events from ``train_until`` on, as of this time; None for no such window."""
    judge_until: _Time | None = None
    """``transactions`` only: the last cut-off. The model is judged on events from the cut-off
    before on, as of this time; None for no such window."""
    gap_days: Days = 0
    """``transactions`` only: days between a cut-off and the first event of the window after it, in
    which a model is brought into use."""
    exclude_known_compromised: bool = False
    """``transactions`` only: leave payments of a card or account that was reported before them out
    of the windows that select and judge."""
    alerts_per_day: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    """``transactions`` only: how many payments of all banks together can be looked into on a day;
    the model is judged by what these alerts find. None: one payment in 200."""
    shared_risk: Annotated[tuple[Sha256, ...], Field(max_length=1000)] = ()
    """``transactions`` only: the risk tables that ``shared_...`` features are trained on, each by
    the ``model_sha256`` of its run. Where days overlap, a payment sees the tables that stood
    then."""
    identifier_rules: IdentifierRules = IDENTIFIER_RULES
    """``transactions`` only: which rules say that two identifiers are the same."""
    population: Population | None = None
    """``transactions`` only: which payments are trained on and scored; None for all."""
    currency: Currency | None = None
    """``transactions`` only: what amounts are converted to; None compares them as they stand."""

    @property
    def select_from(self) -> int | None:
        """First event time of the window that selects; None without one."""
        if self.select_until is None or self.train_until is None:
            return None
        return self.train_until + self.gap_days * SECONDS_PER_DAY

    @property
    def judge_from(self) -> int | None:
        """First event time of the window that judges; None without one."""
        before = self.train_until if self.select_until is None else self.select_until
        if self.judge_until is None or before is None:
            return None
        return before + self.gap_days * SECONDS_PER_DAY

    @property
    def judged_days(self) -> int:
        """Whole days of the window that judges, or else selects, before its horizon; at least 1.

        Of the channel with the shortest horizon; 1 without such a window.
        """
        start, until = self.judge_from, self.judge_until
        if start is None or until is None:
            start, until = self.select_from, self.select_until
        if start is None or until is None:
            return 1
        return max(1, (until - start) // SECONDS_PER_DAY - self.label_horizon_days.least_days)

    @property
    def last_cutoff(self) -> int | None:
        """The latest cut-off; None if training takes every known label."""
        return self.judge_until or self.select_until or self.train_until

    @property
    def own_columns(self) -> tuple[FeatureSpec, ...]:
        """Features that are read from a file of transactions, in their order; the last ones."""
        if self.kind != "transactions":
            return ()
        return tuple(spec for spec in self.features if spec.is_own)

    @model_validator(mode="after")
    def _kind_matches(self) -> Self:
        names = [spec.name for spec in self.features]
        if len(set(names)) != len(names):
            raise ValueError("feature names must be distinct")
        if (pair := twins(names)) is not None:
            raise ValueError(f"feature names {pair[0]!a} and {pair[1]!a} look the same; rename one")
        for role, column in (("label", self.label), ("weight", self.weight)):
            if column in names:
                raise ValueError(f"{column!r} is a feature and the {role} at once; leave one out")
        if self.weight == self.label:
            raise ValueError(f"{self.label!r} is the label and the weight at once; leave one out")
        if (self.kind == "transactions") != (self.recipe is not None):
            raise ValueError("recipe must be given exactly for kind 'transactions'")
        if self.shared_risk and self.kind != "transactions":
            raise ValueError("shared_risk is for kind 'transactions' only")
        for name in ("population", "currency"):
            if getattr(self, name) is not None and self.kind != "transactions":
                raise ValueError(f"{name} is for kind 'transactions' only")
        if len(set(self.shared_risk)) != len(self.shared_risk):
            raise ValueError("shared_risk names tables twice; name each once")
        return self

    @model_validator(mode="after")
    def _own_columns_are_apart(self) -> Self:
        own = self.own_columns
        if tuple(self.features[len(self.features) - len(own) :]) != own:
            raise ValueError(
                "own columns (features with a unit) must come after the recipe's features"
            )
        for spec in own:
            if spec.name.startswith("shared_"):
                raise ValueError(
                    f"own column {spec.name!r} is called as features of risk tables are; give it a "
                    "name that does not begin with 'shared_'"
                )
            if spec.name in _RAW_COLUMNS:
                raise ValueError(
                    f"own column {spec.name!r} has the name of a column that every file may have; "
                    "give it another name"
                )
        return self

    @model_validator(mode="after")
    def _windows_hold_events(self) -> Self:
        if self.kind != "transactions":
            for name, unsaid in _OF_TRANSACTIONS.items():
                if getattr(self, name) != unsaid:
                    raise ValueError(
                        f"{name} is for kind 'transactions' only; every row of a table is used, so "
                        "leave it out"
                    )
            return self
        start, until = self.train_from, self.train_until
        if start is not None and until is not None and start >= until:
            raise ValueError(f"train_from {start} does not lie before train_until {until}")
        if until is None:
            for name in ("select_until", "judge_until"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} needs train_until, the cut-off before it; give both")
        before, last = "train_until", until
        for name in ("select_until", "judge_until"):
            cutoff = getattr(self, name)
            if cutoff is None or last is None:
                continue
            if cutoff <= last:
                raise ValueError(f"{name} {cutoff} does not lie after {before} {last}")
            before, last = name, cutoff
        self._require_room("train_from", start or 0, "train_until", until, gap=False)
        self._require_room("train_until", self.select_from, "select_until", self.select_until)
        before = "train_until" if self.select_until is None else "select_until"
        self._require_room(before, self.judge_from, "judge_until", self.judge_until)
        return self

    def _require_room(
        self, before: str, start: int | None, name: str, until: int | None, *, gap: bool = True
    ) -> None:
        """Check that events lie in a window, at least of the channel with the shortest horizon."""
        if start is None or until is None:
            return
        horizon = self.label_horizon_days.least_days
        if start >= until - horizon * SECONDS_PER_DAY:
            after = f" plus gap_days {self.gap_days}" if gap and self.gap_days else ""
            raise ValueError(
                f"no event lies between {before}{after} ({start}) and {name} {until} less the "
                f"label horizon of {horizon} days: widen the window or shorten the horizon"
            )
