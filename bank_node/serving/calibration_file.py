"""``calibration.json``: probabilities beside a model, in a file beside it. It stays at the bank."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bank_node.state.directory import MODEL_FILE
from fraudfed.adaptation.calibration import Calibration
from fraudfed.durable_file import write_atomic
from fraudfed.errors import StateError
from fraudfed.wire.messages import Sha256

#: Two points for each of a million blocks would be less.
_MOST_BYTES = 64 * 1024 * 1024
_SUFFIX = "calibration.json"

_Count = Annotated[int, Field(ge=0)]


class CalibrationFile(BaseModel):
    """What the file holds.

    Attributes
    ----------
    format_version : int
    model_sha256 : str
        Of the file of the model that it belongs to.
    calibration : Calibration
    rows, frauds, cases : int
        Of this bank: mature payments, with what they were fitted on, or with what the share of
        fraud of a newcomer was estimated.
    first_event, last_event, as_of : int or None
        Their first and last event time, and the time as of which they are labelled; UTC epoch
        seconds. None for tables without times.
    prevalence : float or None
        Share of fraud that a pooled calibration is shifted to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    model_sha256: Sha256
    calibration: Calibration
    rows: _Count
    frauds: _Count
    cases: _Count
    first_event: int | None = None
    last_event: int | None = None
    as_of: int | None = None
    prevalence: Annotated[float, Field(gt=0, lt=1)] | None = None


def calibration_path(model: Path) -> Path:
    """Return where the calibration of a model lies: beside it.

    That of ``model.json`` is ``calibration.json``, that of ``blend.json``
    ``blend.calibration.json``.
    """
    return model.with_name(_SUFFIX if model.name == MODEL_FILE else f"{model.stem}.{_SUFFIX}")


def write_calibration(model: Path, content: CalibrationFile) -> Path:
    """Write the calibration of a model, and return where."""
    path = calibration_path(model)
    try:
        write_atomic(path, content.model_dump_json(indent=1, exclude_none=True).encode() + b"\n")
    except OSError as error:
        raise StateError(
            f"{path}: cannot be written ({error.strerror or error}); check owner and mode of its "
            "directory"
        ) from None
    return path


def read_calibration(model: Path, data: bytes) -> Calibration | None:
    """Return the calibration that lies beside a model; None if there is none.

    Parameters
    ----------
    model : Path
    data : bytes
        What the model's file holds.

    Raises
    ------
    StateError
        If it cannot be read, is none, or belongs to another model.
    """
    path = calibration_path(model)
    advice = f"make it again with 'bank-node calibrate', or remove {path.name}"
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(
            f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
        ) from None
    if len(text) > _MOST_BYTES:
        raise StateError(f"{path}: is no calibration: it has more than 64 MiB; {advice}")
    try:
        found = CalibrationFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise StateError(f"{path}: is no calibration: {where}{first['msg']}; {advice}") from None
    if found.model_sha256 != hashlib.sha256(data).hexdigest():
        raise StateError(f"{path}: belongs to another model than {model.name}; {advice}")
    return found.calibration
