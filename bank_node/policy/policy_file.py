"""Reads ``policy.toml``. Nothing of it leaves the bank."""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from bank_node.policy.policy import (
    Fallback,
    HoldOut,
    LossSteps,
    Policy,
    Rule,
    ShareSteps,
)
from fraudfed.errors import ConfigurationError
from fraudfed.payments.columns import CHANNELS, DIRECTIONS
from fraudfed.wire.messages import DataContract

_MOST_BYTES: Final = 1024 * 1024
_ADVICE = "mend it; docs/policy.md has a sample"
_NAMES = {
    name
    for model in (Policy, Rule, Fallback, HoldOut, ShareSteps, LossSteps)
    for name in model.model_fields
}


def read_policy(path: Path) -> Policy:
    """Read and check a policy.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ConfigurationError
        If the file cannot be read, an entry is unknown, missing or out of its range, two entries
        hold for the same payments, or the policy could never alert.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"policy {path}: cannot be read ({reason}); name a TOML file of a policy"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"policy {path}: is not UTF-8; {_ADVICE}") from None
    if len(data) > _MOST_BYTES:
        raise ConfigurationError(f"policy {path}: has more than 1 MiB; {_ADVICE}")
    return parse_policy(text, source=f"policy {path}")


def parse_policy(text: str, *, source: str) -> Policy:
    """Read a policy's text; ``source`` names it in messages; raises as ``read_policy``."""
    try:
        return Policy.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source}: is not TOML ({error}); {_ADVICE}") from None
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_context=False)
        more = f" (and {len(others)} more)" if others else ""
        raise ConfigurationError(f"{source}: {_explained(first)}{more}; {_ADVICE}") from None


def check_policy(policy: Policy, contract: DataContract, *, source: str) -> None:
    """Hold a policy against the payments that a model scores.

    Parameters
    ----------
    policy : Policy
    contract : DataContract
    source : str
        Names the policy in messages.

    Raises
    ------
    ConfigurationError
        If the model's rows are no payments, their amounts are in another currency, or none of
        them has a rule: the policy could never alert.
    """
    if contract.kind != "transactions":
        raise ConfigurationError(
            f"{source}: the run's data are of the kind {contract.kind!r}, which have neither "
            "channels nor amounts, expected transactions; name a run of payments"
        )
    if contract.currency is not None and contract.currency.code != policy.currency:
        raise ConfigurationError(
            f"{source}: currency is {policy.currency!r}, expected that of the run's amounts, "
            f"{contract.currency.code!r}; give the amounts in it"
        )
    population = contract.population
    channels: Sequence[str | None] = (*CHANNELS, None)
    directions: Sequence[str] = DIRECTIONS
    if population is not None:
        channels = population.allowed_channels or channels
        directions = directions if population.direction is None else (population.direction,)
    places = [(channel, direction) for channel in channels for direction in directions]
    if not any(policy.has_rule(*place) for place in places):
        named = ", ".join(channel for channel in channels if channel is not None)
        raise ConfigurationError(
            f"{source}: has no rule for the payments that the run's model scores "
            f"({', '.join(directions)} by {named}), so that it can never "
            "alert; give it one"
        )


def _explained(error: Any) -> str:
    # People count from one. The number of a channel within its list says nothing more.
    parts = [part + 1 if isinstance(part, int) else part for part in error["loc"]]
    where = ".".join(str(part) for part in parts) or "the file"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(parts[-1]), sorted(_NAMES), n=1)
        return f"{where}: no such entry; " + (
            f"did you mean {near[0]!r}?" if near else "leave it out"
        )
    if error["type"] == "missing":
        return f"{where} is missing"
    reason = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] == "value_error" and isinstance(error["input"], dict):
        return f"{where}: {reason}"
    expected = reason if reason.startswith("expected") else f"expected {reason}"
    return f"{where} is {error['input']!r}, {expected}"
