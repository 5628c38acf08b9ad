"""What every bank's data must look like."""

import reprlib
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
from fraudfed.wire.messages.currency import Currency
from fraudfed.wire.messages.identifier_rules import IDENTIFIER_RULES, IdentifierRules
from fraudfed.wire.messages.population import Population

_RAW_COLUMNS = frozenset(column.name for column in COLUMNS)

#: 1970 to 2242, as in ``fraudfed.payments.columns``: later is no time in seconds.
_MOST_SECONDS = 1 << 33


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
    train_from: Annotated[int, Field(ge=0, le=_MOST_SECONDS)] | None = None
    """``transactions`` only: first event time used for training."""
    train_until: Annotated[int, Field(ge=0, le=_MOST_SECONDS)] | None = None
    """``transactions`` only: training uses what was known before this time. An event is used if it
    lies at least the label delay before this time, and its label was known before this time."""
    label_delay_seconds: Annotated[int, Field(ge=0, le=_MOST_SECONDS)] = 0
    """``transactions`` only: fraud-rate features look back from event time minus this delay."""
    shared_risk: Annotated[tuple[Sha256, ...], Field(max_length=1000)] = ()
    """``transactions`` only: the risk tables that ``shared_...`` features are trained on, each by
    the ``model_sha256`` of its run; where days overlap, a later one replaces an earlier one."""
    identifier_rules: IdentifierRules = IDENTIFIER_RULES
    """``transactions`` only: which rules say that two identifiers are the same."""
    population: Population | None = None
    """``transactions`` only: which payments are trained on and scored; None for all."""
    currency: Currency | None = None
    """``transactions`` only: what amounts are converted to; None compares them as they stand."""

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
    def _window_holds_events(self) -> Self:
        start, until, delay = self.train_from, self.train_until, self.label_delay_seconds
        if self.kind != "transactions":
            if start is not None or until is not None or delay:
                raise ValueError(
                    "train_from, train_until and label_delay_seconds are for kind 'transactions' "
                    "only; every row of a table is used, so leave them out"
                )
            return self
        if start is not None and until is not None and start >= until:
            raise ValueError(f"train_from {start} does not lie before train_until {until}")
        if until is not None and (start or 0) >= until - delay:
            raise ValueError(
                f"no event lies between train_from {start or 0} and train_until {until} less the "
                f"label delay of {delay} s: widen the window or shorten the delay"
            )
        return self
