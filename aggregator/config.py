"""Settings of the service, each with its default; read from an optional JSON file."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fraudfed.errors import ConfigurationError

__all__ = ["MAX_WAIT_SECONDS", "ServiceConfig", "load_config"]

#: Longest long poll: below the usual 60 s idle limit of proxies between a bank and the aggregator.
MAX_WAIT_SECONDS = 30

_MIB = 1024 * 1024


class ServiceConfig(BaseModel):
    """Settings of ``aggregator serve``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_body_bytes: Annotated[int, Field(ge=1024)] = 64 * _MIB
    """Largest body of a contribution, an opening or a model; above it the answer is 413."""
    max_json_bytes: Annotated[int, Field(ge=1024)] = _MIB
    """Largest JSON body; above it the answer is 413."""
    threads: Annotated[int, Field(ge=2, le=1000)] = 64
    """Requests handled at once; each waiting bank holds one, so more than the banks of all runs."""
    insecure_allow_small_keys: bool = False
    """Accept runs whose Paillier key is below 2048 bits. For tests only."""
    stop_seconds: Annotated[int, Field(ge=1, le=300)] = 10
    """How long a stopping service lets requests end that are in flight."""


def load_config(path: Path | None) -> ServiceConfig:
    """Read settings from a JSON file; None gives the defaults.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or a setting is unknown or out of range.
    """
    if path is None:
        return ServiceConfig()
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"settings file {path} cannot be read: {error.strerror}; give a readable JSON file"
        ) from None
    try:
        return ServiceConfig.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ConfigurationError(f"settings file {path}: {where}: {first['msg']}") from None
