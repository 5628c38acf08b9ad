"""``costs.toml``: what fraud, alerts and wrongly stopped payments cost this bank.

It is read by the commands that judge a model here. Nothing of it is sent, logged or kept.
"""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fraudfed.errors import ConfigurationError
from fraudfed.evaluation.net_benefit import Costs
from fraudfed.wire.messages import DataContract

_ADVICE = "mend it; docs/adaptation.md has a sample"


def read_costs(path: Path, contract: DataContract) -> Costs:
    """Read and check the costs of a bank.

    Parameters
    ----------
    path : Path
    contract : DataContract
        Of the run whose model is judged: its amounts are in the currency of the costs.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, an entry is unknown, missing or out of its range, or the
        currency is not that of the contract.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8"
        raise ConfigurationError(
            f"costs {path}: cannot be read ({reason}); name a TOML file of costs"
        ) from None
    try:
        costs = Costs.model_validate(tomllib.loads(text, parse_float=Decimal))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"costs {path}: is not TOML ({error}); {_ADVICE}") from None
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_context=False)
        more = f" (and {len(others)} more)" if others else ""
        raise ConfigurationError(f"costs {path}: {_explained(first)}{more}; {_ADVICE}") from None
    if contract.kind != "transactions":
        raise ConfigurationError(
            f"costs {path}: the run's data are of the kind {contract.kind!r} and have no amounts, "
            "expected transactions; leave the costs out"
        )
    if contract.currency is not None and contract.currency.code != costs.currency:
        raise ConfigurationError(
            f"costs {path}: currency is {costs.currency!r}, expected that of the run's amounts, "
            f"{contract.currency.code!r}; give the costs in it"
        )
    return costs


def _explained(error: Any) -> str:
    # The last part names the type that did not fit, or the key of a table that it should not have.
    where = ".".join(str(part) for part in error["loc"] if part != "[key]")
    if error["type"] == "extra_forbidden":
        return f"{where} is no entry of it"
    if error["type"] == "missing":
        return f"{where} is missing"
    if error["type"] == "literal_error":
        return f"{where} is no channel: {error['msg'].removeprefix('Input should be ')}"
    reason = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    got = error["input"]
    expected = reason if reason.startswith("expected") else f"expected {reason}"
    return f"{where} is {str(got) if isinstance(got, Decimal) else repr(got)}, {expected}"
