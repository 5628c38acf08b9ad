"""``gate.toml``: what a bank asks of a shared model before it deploys it.

::

    margin = 0.02             # of case recall, that the shared model may lack at most
    alerts_per_day = 40

    [[limits]]
    metric = "case_recall"    # one of fraudfed.gate.measured.METRICS
    channel = "transfer"      # and, or: fraud_kind, merchant_category; none of them: all payments
    at_least = 0.5            # of the shared model
    below_own_at_most = 0.05  # less than the bank's own model reaches

Nothing of it leaves the bank.
"""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fraudfed.errors import ConfigurationError
from fraudfed.gate.decision import DEFAULT_MARGIN
from fraudfed.gate.measured import METRICS, Group, MeasuredScoring

#: Cases in a group below which a limit of it cannot be judged; as pooled metrics need.
LEAST_CASES = 20

_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Limit(BaseModel):
    """What a metric of the shared model must reach.

    Attributes
    ----------
    metric : str
    channel, fraud_kind, merchant_category : str or None
        Of which payments; None: of all.
    at_least, at_most : float or None
    below_own_at_most : float or None
        By how much the shared model may reach less than the bank's own.
    least_cases : int
        With fewer cases of these payments, the limit cannot be judged.
    too_few : str
        ``break`` or ``pass``: what becomes of it then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    channel: str | None = None
    fraud_kind: str | None = None
    merchant_category: str | None = None
    at_least: _Share | None = None
    at_most: _Share | None = None
    below_own_at_most: _Share | None = None
    least_cases: Annotated[int, Field(ge=1)] = LEAST_CASES
    too_few: Literal["break", "pass"] = "break"

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.at_least is None and self.at_most is None and self.below_own_at_most is None:
            raise ValueError("limits nothing: give at_least, at_most or below_own_at_most")
        return self

    @property
    def groups(self) -> dict[str, str]:
        """The value of each group that the payments have."""
        named = {
            "channel": self.channel,
            "fraud_kind": self.fraud_kind,
            "merchant_category": self.merchant_category,
        }
        return {name: value for name, value in named.items() if value is not None}

    @property
    def text(self) -> str:
        """What is limited, as in ``case_recall of channel transfer``."""
        groups = ", ".join(f"{name} {value}" for name, value in self.groups.items())
        return f"{self.metric} of {groups}" if groups else self.metric


class GateFile(BaseModel):
    """Contents of ``gate.toml``.

    Attributes
    ----------
    margin : float
    alerts_per_day : float or None
        None: one payment in 200.
    limits : tuple of Limit
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    margin: Annotated[float, Field(ge=0, le=0.5, allow_inf_nan=False)] = DEFAULT_MARGIN
    alerts_per_day: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] | None = None
    limits: Annotated[tuple[Limit, ...], Field(max_length=1000)] = ()


@dataclass(frozen=True, kw_only=True)
class JudgedLimit:
    """A limit, and what the models reach.

    Attributes
    ----------
    limit : Limit
    shared, own : float or None
        None where the payments have no such number.
    n_cases : int
        Cases of these payments.
    holds : bool
    reason : str
        In words, for people.
    """

    limit: Limit
    shared: float | None
    own: float | None
    n_cases: int
    holds: bool
    reason: str


def read_gate(text: str, *, source: str, groups: Mapping[str, Sequence[str]]) -> GateFile:
    """Read ``gate.toml``.

    Parameters
    ----------
    text : str
    source : str
        File name for messages.
    groups : mapping of str to sequence of str
        The values of each group.

    Raises
    ------
    ConfigurationError
        If it is not TOML, has an unknown entry, metric or value (the nearest is named), or a number
        out of range.
    """
    try:
        entries = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source}: not readable as TOML ({error}); correct it") from None
    try:
        gate = GateFile.model_validate(entries)
    except ValidationError as error:
        raise ConfigurationError(f"{source}: {_first(error)}") from None
    for number, limit in enumerate(gate.limits, 1):
        where = f"{source}: limits[{number}]"
        _check_listed(limit.metric, list(METRICS), f"{where}: metric")
        for name, value in limit.groups.items():
            _check_listed(value, groups.get(name, ()), f"{where}: {name}")
    return gate


def judge_limits(
    limits: Sequence[Limit],
    shared: MeasuredScoring,
    own: MeasuredScoring,
    *,
    groups: Mapping[str, Sequence[str]],
) -> tuple[JudgedLimit, ...]:
    """Hold the limits against what both models reach."""
    return tuple(_judged(limit, shared, own, groups) for limit in limits)


def _judged(
    limit: Limit,
    shared: MeasuredScoring,
    own: MeasuredScoring,
    groups: Mapping[str, Sequence[str]],
) -> JudgedLimit:
    for name, of in limit.groups.items():
        group = Group(name, list(groups[name]).index(of))
        shared, own = shared.of_group(group), own.of_group(group)
    n_cases = shared.cases.n_cases
    value, of_own = shared.value(limit.metric), own.value(limit.metric)
    fault = None
    if n_cases < limit.least_cases or value is None:
        fault = f"{n_cases} cases, {limit.least_cases} are needed to judge it"
        if value is None and n_cases >= limit.least_cases:
            fault = "the payments have no such number"
        holds = limit.too_few == "pass"
        return JudgedLimit(
            limit=limit, shared=value, own=of_own, n_cases=n_cases, holds=holds, reason=fault
        )
    if limit.at_least is not None and value < limit.at_least:
        fault = f"got {value:.3f}, expected at least {limit.at_least:g}"
    elif limit.at_most is not None and value > limit.at_most:
        fault = f"got {value:.3f}, expected at most {limit.at_most:g}"
    elif limit.below_own_at_most is not None and (
        of_own is not None and value < of_own - limit.below_own_at_most
    ):
        fault = (
            f"got {value:.3f}, the own model {of_own:.3f}, expected at most "
            f"{limit.below_own_at_most:g} less"
        )
    return JudgedLimit(
        limit=limit,
        shared=value,
        own=of_own,
        n_cases=n_cases,
        holds=fault is None,
        reason=fault or f"got {value:.3f}",
    )


def _check_listed(value: str, listed: Sequence[str], what: str) -> None:
    if value in listed:
        return
    near = difflib.get_close_matches(value, listed, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(listed)}"
    raise ConfigurationError(f"{what}: got {value!r}; {hint}")


def _first(error: ValidationError) -> str:
    first: Mapping[str, Any] = error.errors(include_url=False, include_context=False)[0]
    # TOML files count from the first [[limits]], people from one.
    parts = [part + 1 if isinstance(part, int) else part for part in first["loc"]]
    where = ".".join(str(part) for part in parts) or "the file"
    if first["type"] == "extra_forbidden":
        models = Limit if parts[0] == "limits" else GateFile
        near = difflib.get_close_matches(str(parts[-1]), list(models.model_fields), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "leave it out"
        return f"{where}: no such entry; {hint}"
    return f"{where}: got {first['input']!r}: {first['msg'].lower()}; correct the file"
