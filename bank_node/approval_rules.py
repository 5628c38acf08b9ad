"""``[approval]`` of ``bank.toml``: the runs that this bank approves without asking a person.

Whatever the table does not name is not approved by it: a person reviews the run then, and approves
it by its hash. An empty table approves nothing.
"""

import difflib
import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from fraudfed.wire.messages import History, PrivacyUnit, RiskEntity

#: Stands for everything, where a bank leaves a choice to the run.
ANY: Final = "any"

#: Least and largest value that are approved; None is no end, ``-inf`` and ``inf`` in the file.
Ends: TypeAlias = tuple[int | float | None, int | float | None]

#: What is approved of one parameter: all of it, numbers between two ends, or the named values.
Allowed: TypeAlias = Literal["any"] | Ends | tuple[str, ...]

#: Parameters that may be left out and are numbers otherwise.
_OPTIONAL_NUMBERS = frozenset({"base_score", "early_stopping_rounds"})


def _parameters(value: Any) -> Any:
    """Check the table by hand: of a union, pydantic would only say that no branch fits."""
    if value is None or value == ANY:
        return value
    if not isinstance(value, Mapping):
        # pydantic reports a ValueError with the field; a TypeError would pass through.
        raise ValueError(  # noqa: TRY004
            f'expected "{ANY}" or a table [approval.parameters]'
        )
    # Reading parameters costs an import that a bank without such a table does not need.
    from fraudfed.parameters import BoosterParams

    defaults = BoosterParams().to_mapping()
    return {name: _allowed(str(name), each, defaults) for name, each in value.items()}


def _allowed(name: str, value: Any, defaults: Mapping[str, Any]) -> Allowed:
    if name not in defaults:
        near = difflib.get_close_matches(name, defaults, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(defaults)}"
        raise ValueError(f"{name}: unknown parameter; {hint}")
    if value == ANY:
        return "any"
    default = defaults[name]
    if name in _OPTIONAL_NUMBERS or isinstance(default, (int, float)):
        return _ends(name, value)
    texts = [default] if isinstance(default, str) else list(default)
    if not texts:
        raise ValueError(f'{name}: is {value!r}, expected "{ANY}", or no entry for the default')
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f'{name}: is {value!r}, expected "{ANY}" or a list of values')
    return tuple(_known_text(name, each) for each in value)


def _known_text(name: str, value: Any) -> str:
    from fraudfed.errors import ParameterError
    from fraudfed.parameters import BoosterParams

    if not isinstance(value, str):
        raise ValueError(f"{name}: holds {value!r}, expected texts")  # noqa: TRY004
    try:
        BoosterParams.parse({name: value})
    except ParameterError as error:
        raise ValueError(str(error)) from None
    return value


def _ends(name: str, value: Any) -> Ends:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(f'{name}: is {value!r}, expected "{ANY}" or [least, largest]')
    for end in value:
        # None is an end that was read before.
        if end is not None and (isinstance(end, bool) or not isinstance(end, (int, float))):
            raise ValueError(f"{name}: an end is {end!r}, expected a number, inf or -inf")
        if end is not None and math.isnan(end):
            raise ValueError(f"{name}: an end is nan, expected a number, inf or -inf")
    low, high = value
    if low == math.inf or high == -math.inf:
        raise ValueError(f"{name}: no number lies between {low} and {high}")
    if low is not None and high is not None and low > high:
        raise ValueError(f"{name}: the ends {low:g} and {high:g} are reversed")
    ends = (None if low == -math.inf else low, None if high == math.inf else high)
    # 0 is no limit for these two: beyond all numbers, and so within an end that is none.
    unlimited = name in ("max_depth", "max_leaves") and ends[1] is None
    # One that may be left out is then approved where it is.
    optional = name in _OPTIONAL_NUMBERS
    if not (unlimited or optional or _can_lie_between(name, ends)):
        raise ValueError(
            f"{name}: no run can have a value between {low} and {high}, so the rule would approve "
            "none; docs/parameters.md has what is possible"
        )
    return ends


def _can_lie_between(name: str, ends: Ends) -> bool:
    from fraudfed.parameters import can_lie_between

    return can_lie_between(name, *ends)


class RiskApproval(BaseModel):
    """``[approval.risk]``: the risk runs that need no person.

    Attributes
    ----------
    max_days : int
        Most days of one run.
    min_customers : int
        The run's own ``min_customers`` is at least this.
    entities : tuple of RiskEntity
        What may be counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_days: Annotated[int, Field(ge=1)]
    min_customers: Annotated[int, Field(ge=1, le=1_000_000)]
    entities: Annotated[tuple[RiskEntity, ...], Field(min_length=1)] = tuple(RiskEntity)


class StatisticsApproval(BaseModel):
    """``[approval.statistics]``: the statistics runs that need no person.

    Attributes
    ----------
    columns : tuple of str
        Patterns of the columns that a statistics run may count, its label among them; those of a
        training stand apart, as it asks for more.
    min_count, min_customers : int
        The run's own are at least these.
    entities : tuple of RiskEntity
        Whose identifiers may be compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    min_count: Annotated[int, Field(ge=1, le=1_000_000)]
    min_customers: Annotated[int, Field(ge=1, le=1_000_000)]
    entities: tuple[RiskEntity, ...] = tuple(RiskEntity)


class MonitorApproval(BaseModel):
    """``[approval.monitor]``: the monitor runs that need no person.

    Attributes
    ----------
    columns : tuple of str
        Patterns of the columns that a monitor run may count, its label among them.
    min_count : int
        The run's own is at least this.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    min_count: Annotated[int, Field(ge=1, le=1_000_000)]


class SearchApproval(BaseModel):
    """``[approval.search]``: the searches that need no person.

    What ``[approval]`` says of trainings holds for each candidate as well.

    Attributes
    ----------
    max_candidates : int
        Most sets of parameters.
    max_trees : int
        Most trees that are grown in all, those of all candidates together: the histograms of each
        of them are opened.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_candidates: Annotated[int, Field(ge=2, le=64)]
    max_trees: Annotated[int, Field(ge=1)]


class PrivacyApproval(BaseModel):
    """``[approval.privacy]``: the privacy terms of trainings that need no person.

    Attributes
    ----------
    max_epsilon, max_delta : float
        Largest bound of one training; what all of them cost together is a matter of ``[privacy]``.
    units : tuple of PrivacyUnit
    histories : tuple of History
    required : bool
        A training without privacy terms needs a person.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_epsilon: Annotated[float, Field(gt=0, le=20)]
    max_delta: Annotated[float, Field(gt=0, le=1e-4)] = 1e-6
    units: Annotated[tuple[PrivacyUnit, ...], Field(min_length=1)] = tuple(PrivacyUnit)
    histories: Annotated[tuple[History, ...], Field(min_length=1)] = tuple(History)
    required: Annotated[bool, Field(strict=True)] = False


class ApprovalRules(BaseModel):
    """``[approval]``: the runs that need no person at this bank.

    Attributes
    ----------
    columns : tuple of str
        Patterns (``*``, ``?``, ``[...]``) of the columns that a training may use, its label and
        its weight among them. None: no training.
    parameters : dict, "any" or None
        What each parameter may be, under the names that ``runs review`` shows. A parameter without
        an entry must have its default.
    max_weight : float
        Largest ``max_weight`` of a data contract.
    max_categories : int
        Most categories of a column.
    risk : RiskApproval, "any" or None
        None: no risk run.
    statistics : StatisticsApproval, "any" or None
        None: no statistics run.
    search : SearchApproval, "any" or None
        How large a search may be, beside what holds for trainings. None: no search.
    monitor : MonitorApproval, "any" or None
        None: no monitor run.
    privacy : PrivacyApproval, "any" or None
        Which privacy terms a training may have, beside what holds for trainings. None: none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    parameters: Annotated[
        Literal["any"] | dict[str, Allowed] | None, BeforeValidator(_parameters)
    ] = None
    max_weight: Annotated[float, Field(gt=0, le=65536, allow_inf_nan=False)] = 1.0
    max_categories: Annotated[int, Field(ge=1)] = 100
    risk: Literal["any"] | RiskApproval | None = None
    statistics: Literal["any"] | StatisticsApproval | None = None
    search: Literal["any"] | SearchApproval | None = None
    monitor: Literal["any"] | MonitorApproval | None = None
    privacy: Literal["any"] | PrivacyApproval | None = None

    @field_validator("risk", mode="before")
    @classmethod
    def _risk(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return RiskApproval.model_validate(value)
        if value is not None and value != ANY and not isinstance(value, RiskApproval):
            raise ValueError(f'expected "{ANY}" or a table [approval.risk]')
        return value

    @field_validator("statistics", mode="before")
    @classmethod
    def _statistics(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return StatisticsApproval.model_validate(value)
        if value is not None and value != ANY and not isinstance(value, StatisticsApproval):
            raise ValueError(f'expected "{ANY}" or a table [approval.statistics]')
        return value

    @field_validator("search", mode="before")
    @classmethod
    def _search(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return SearchApproval.model_validate(value)
        if value is not None and value != ANY and not isinstance(value, SearchApproval):
            raise ValueError(f'expected "{ANY}" or a table [approval.search]')
        return value

    @field_validator("monitor", mode="before")
    @classmethod
    def _monitor(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return MonitorApproval.model_validate(value)
        if value is not None and value != ANY and not isinstance(value, MonitorApproval):
            raise ValueError(f'expected "{ANY}" or a table [approval.monitor]')
        return value

    @field_validator("privacy", mode="before")
    @classmethod
    def _privacy(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return PrivacyApproval.model_validate(value)
        if value is not None and value != ANY and not isinstance(value, PrivacyApproval):
            raise ValueError(f'expected "{ANY}" or a table [approval.privacy]')
        return value

    @model_validator(mode="after")
    def _parameters_are_said(self) -> "ApprovalRules":
        if self.columns and self.parameters is None:
            raise ValueError(
                f'columns are allowed, but no parameters: set parameters = "{ANY}", or give a '
                "table [approval.parameters]"
            )
        if self.search is not None and not self.columns:
            raise ValueError(
                "searches are allowed, but no columns: name columns, and what parameters may be; "
                "they hold for each candidate of a search"
            )
        return self

    def to_tables(self) -> dict[str, dict[str, Any]]:
        """Return the tables of the file, by name; an end that is None is infinite there."""
        entries = self.model_dump(mode="json", exclude_none=True)
        tables = {"approval": entries}
        parameters = entries.pop("parameters", None)
        if parameters is not None and not isinstance(self.parameters, dict):
            entries["parameters"] = parameters
        kinds = ("risk", "statistics", "search", "monitor", "privacy")
        by_kind = {kind: entries.pop(kind, None) for kind in kinds}
        entries |= {kind: found for kind, found in by_kind.items() if found == ANY}
        if isinstance(self.parameters, dict):
            tables["approval.parameters"] = {
                name: _written(allowed) for name, allowed in self.parameters.items()
            }
        for kind, found in by_kind.items():
            if isinstance(found, dict):
                tables[f"approval.{kind}"] = found
        return tables


def _written(allowed: Allowed) -> str | list[Any]:
    if isinstance(allowed, str):
        return allowed
    ends = ends_of(allowed)
    if ends is None:
        return list(allowed)
    low, high = ends
    return [-math.inf if low is None else low, math.inf if high is None else high]


def ends_of(allowed: Allowed) -> Ends | None:
    """Return the two ends, None if texts or everything is allowed."""
    if any(isinstance(each, str) for each in allowed):
        return None
    return cast(Ends, allowed)
