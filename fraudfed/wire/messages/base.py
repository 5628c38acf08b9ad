"""The base class of all messages, and the types of their values."""

import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fraudfed.errors import FraudFedError, ProtocolError, VersionError
from fraudfed.foreign_text import visible

#: Increased with every incompatible change; both sides refuse any other number.
PROTOCOL_VERSION: Literal[2] = 2


BankName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


#: The 32 bytes of an Ed25519 or X25519 public key.
PublicKeyHex: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


#: The 64 bytes of an Ed25519 signature.
SignatureHex: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


EpochNumber: TypeAlias = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Message(BaseModel):
    """Base of all messages: frozen, versioned, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    protocol_version: Literal[2] = PROTOCOL_VERSION


class Problem(BaseModel):
    """RFC 9457 problem document (media type ``application/problem+json``)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str
    """``urn:fraudfed:problem:<slug>``; each slug is one class of ``fraudfed.errors``."""
    title: str
    status: int
    detail: str
    instance: str | None = None


M = TypeVar("M", bound=BaseModel)


def parse(
    cls: type[M],
    data: bytes | str | Mapping[str, Any],
    *,
    source: str,
    refusal: type[FraudFedError] = ProtocolError,
) -> M:
    """Read a message or raise one clear error.

    Parameters
    ----------
    cls : message class
    data : JSON text or an already decoded object
    source : str
        The origin, for the error text (``"the aggregator"``, ``"request body"``).
    refusal : class of FraudFedError
        What is raised for data that do not fit; text that is no JSON stays a ProtocolError.

    Raises
    ------
    VersionError
        If the message names another ``protocol_version``.
    ProtocolError
        If the data are no JSON, or, as ``refusal`` says, do not fit ``cls``.
    """
    try:
        if isinstance(data, (bytes, str)):
            return cls.model_validate_json(data)
        return cls.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        # The sender chooses field names too: a line break in one must not break a log's line.
        where = _shown(".".join(str(part) for part in first["loc"]) or "message")[1:-1]
        if first["loc"] == ("protocol_version",):
            raise VersionError(
                f"{source}: protocol version is {_shown(first['input'])}, this program speaks "
                f"{PROTOCOL_VERSION}; use the same fraudfed release on both sides"
            ) from None
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raised = ProtocolError if first["type"] == "json_invalid" else refusal
        if first["type"] == "value_error":
            # Words of ours, which show what they mean; the input may be the whole message.
            reason = first["msg"].removeprefix("Value error, ")
            text = f"{source}: {cls.__name__}.{where}: {visible(reason, 300)}{more}"
            raise raised(text) from None
        # For a missing field the input is the whole message, which may hold an invite's code.
        shown = "missing" if first["type"] == "missing" else _shown(first["input"])
        raise raised(f"{source}: {cls.__name__}.{where} is {shown}: {first['msg']}{more}") from None


def _shown(value: object) -> str:
    """Return a value on one short line of printable characters."""
    # Of what is not shown nothing is written out either: a hostile value may have megabytes.
    text = repr(value[:80]) if isinstance(value, str | bytes) else reprlib.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
