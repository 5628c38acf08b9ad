"""``runs/RUN/adopted.json``: that this bank took no part in a run, and from whom it has the result.

The file stands beside what was adopted: a model, risk tables or statistics. The key under which
identifiers were hashed into adopted statistics lies beside it, sealed: the bank does not hold the
key package of that run.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bank_node.state.directory import StateDirectory
from fraudfed.durable_file import write_atomic
from fraudfed.errors import StateError
from fraudfed.wire.messages import BankName, RunKind, Sha256

ADOPTED_FILE = "adopted.json"
_HASH_KEY_FILE = "hash.key"


class AdoptedScoring(BaseModel):
    """How an adopted model was set up on this bank's own payments.

    Attributes
    ----------
    first_event, last_event : int
        Period of the payments that the threshold is from, UTC epoch seconds.
    payments : int
    alerts : int
        Most alerts in that period.
    threshold : float
        Score from which on no more of these payments are alerted on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_event: int
    last_event: int
    payments: Annotated[int, Field(ge=1)]
    alerts: Annotated[int, Field(ge=1)]
    threshold: Annotated[float, Field(gt=0, lt=1)]


class AdoptedResult(BaseModel):
    """The result of a run, as the banks that made it have signed it.

    Attributes
    ----------
    version : int
    run_id : str
    kind : RunKind
    at : int
        When it was adopted, UTC epoch seconds.
    members : tuple of str
        The banks that signed the result.
    shared_by : tuple of str
        The banks that consented, each over the same digests.
    description_sha256, model_sha256, registry_sha256 : str
        Of the run's description, of the plain result, and of the result as it is registered.
    held_against : str or None
        Of a model: the statistics run that this bank's data were held against.
    scoring : AdoptedScoring or None
        Of a model of payments.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    run_id: str
    kind: RunKind
    at: Annotated[int, Field(ge=0)]
    members: tuple[BankName, ...]
    shared_by: tuple[BankName, ...]
    description_sha256: Sha256
    model_sha256: Sha256
    registry_sha256: Sha256
    held_against: str | None = None
    scoring: AdoptedScoring | None = None


def read_adopted(state: StateDirectory, run_id: str) -> AdoptedResult | None:
    """Return what was adopted of a run; None if this bank adopted nothing of it.

    Raises
    ------
    StateError
        If the file cannot be read.
    """
    path = state.path / "runs" / run_id / ADOPTED_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(
            f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
        ) from error
    try:
        return AdoptedResult.model_validate_json(content)
    except ValidationError:
        raise StateError(
            f"{path}: does not say what was adopted; restore it from a backup, or adopt the run "
            "again"
        ) from None


def write_adopted(state: StateDirectory, adopted: AdoptedResult) -> None:
    """Keep what was adopted of a run; raises StateError if it cannot be written."""
    path = state.run_directory(adopted.run_id) / ADOPTED_FILE
    write_atomic(path, adopted.model_dump_json(indent=1).encode() + b"\n")


def signers_of(state: StateDirectory, run_id: str) -> tuple[str, ...]:
    """Return the banks that signed the result of a run, as far as this bank knows.

    Raises
    ------
    StateError
        If a file cannot be read.
    """
    record = state.record(run_id)
    if record is not None:
        return tuple(record.get("members", ()))
    adopted = read_adopted(state, run_id)
    return () if adopted is None else adopted.members


def accepted_sha256(state: StateDirectory, run_id: str) -> str | None:
    """Return the hash of a run's result as it is registered; None if this bank has no result.

    Raises
    ------
    StateError
        If a file cannot be read.
    """
    record = state.record(run_id)
    if record is not None:
        return str(record["registry_sha256"])
    adopted = read_adopted(state, run_id)
    return None if adopted is None else adopted.registry_sha256


def keep_hash_key(state: StateDirectory, run_id: str, hash_key: bytes) -> None:
    """Keep the key of adopted statistics, sealed."""
    path = state.run_directory(run_id) / _HASH_KEY_FILE
    write_atomic(path, state.vault.seal(f"runs/{run_id}/{_HASH_KEY_FILE}", hash_key))


def kept_hash_key(state: StateDirectory, run_id: str) -> bytes | None:
    """Return the key of adopted statistics; None if this bank derives it itself.

    Raises
    ------
    StateError, KeyMaterialError
        If the file cannot be read, or does not open.
    """
    name = f"runs/{run_id}/{_HASH_KEY_FILE}"
    path = state.path / name
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(
            f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
        ) from error
    return state.vault.unseal(name, data)
