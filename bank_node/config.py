"""``bank.toml``: who this bank is, where its aggregator is, and which run it takes part in."""

import json
import tomllib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fraudfed.errors import ConfigurationError, StateError
from fraudfed.wire.messages import BankName

__all__ = ["DEFAULT_MIN_COHORT", "FORMAT_VERSION", "BankConfig", "RunId", "check_run_id"]

#: Raised with every incompatible change of the state directory.
FORMAT_VERSION = 1
#: With two banks, the sum minus one's own part is the other bank.
DEFAULT_MIN_COHORT = 3

#: A run id becomes a directory name and a part of a URL path: nothing else may be in it.
RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]


class BankConfig(BaseModel):
    """Contents of ``bank.toml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    name: BankName
    aggregator: str | None = None
    run_id: RunId | None = None
    min_cohort: Annotated[int, Field(ge=1, le=1000)] = DEFAULT_MIN_COHORT
    """Smallest cohort this bank takes part in, whatever the aggregator says."""

    def to_toml(self) -> str:
        """Return the text of the file; unset entries are left out."""
        # A JSON string without escapes beyond ASCII controls is a TOML basic string.
        lines = [
            f"{key} = {json.dumps(value, ensure_ascii=False)}"
            for key, value in self.model_dump(exclude_none=True).items()
        ]
        return "# Written by bank-node; min_cohort may be edited.\n" + "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str, *, source: str) -> "BankConfig":
        """Read the text of the file.

        Raises
        ------
        StateError
            If it is not TOML, of another format version, or an entry is wrong.
        """
        try:
            entries = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise StateError(
                f"{source}: not readable as TOML ({error}); restore the file from a backup"
            ) from None
        version = entries.get("format_version")
        if version != FORMAT_VERSION:
            raise StateError(
                f"{source}: format_version is {version!r}, this program reads {FORMAT_VERSION}; "
                "use the fraudfed release that wrote the directory"
            )
        try:
            return cls.model_validate(entries)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise StateError(
                f"{source}: {where} is {first['input']!r}: {first['msg']}; correct the file"
            ) from None


def check_run_id(run_id: str) -> str:
    """Return ``run_id`` if it can be one; raise ConfigurationError otherwise."""
    try:
        return TypeAdapter(RunId).validate_python(run_id)
    except ValidationError:
        raise ConfigurationError(
            f"run {run_id!r}: is no run id, expected up to 100 letters, digits, - and _; take the "
            "one that 'aggregator runs create' printed"
        ) from None
