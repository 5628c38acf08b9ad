"""``record.json``: what a bank did in a run, what protected it, and what it cost.

This module says what is in the file and reads it; ``state.directory`` writes it, as the last file
of a result. docs/bank-node.md describes its JSON. There is one shape for every run: whether the
bank took part to the end or took the result from the registry. The ``result`` is of the kind of
run: its type stands beside the job that makes it.
"""

from collections.abc import Mapping
from typing import Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bank_node.state.directory import StateDirectory
from bank_node.state.round_record import RoundRecord
from fraudfed.consortium.trust import TrustKind
from fraudfed.errors import StateError
from fraudfed.wire.messages import BankName, ModelSignatures, ModelVisibility, RunKind, Sha256

#: Raised when the file changes its meaning.
RECORD_VERSION: Final = 1


class RecordPart(BaseModel):
    """A part of a record: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunResult(RecordPart):
    """What a record says of a result; each job has a subclass of its own.

    Attributes
    ----------
    kind : RunKind
    """

    kind: RunKind


class Protection(RecordPart):
    """What protected a run: the weakest values over its rounds, None without any round.

    Attributes
    ----------
    rounds, rounds_verified : int
        Rounds, and those whose count and tag were verified.
    key_bits : int or None
    key_fingerprints : tuple of str
    masked_against_banks : int or None
        Banks that this bank's plaintexts were masked against, beside its self mask.
    signed_openings : int or None
        Boxes that opened a sum, each with the seed its bank had committed to and its signature.
    ciphertexts : int
    kernels : tuple of str
    """

    rounds: int
    rounds_verified: int
    key_bits: int | None
    key_fingerprints: tuple[str, ...]
    masked_against_banks: int | None
    signed_openings: int | None
    ciphertexts: int
    kernels: tuple[str, ...]


class WholeRun(RecordPart):
    """The rounds of the whole run, over every restart and generation of this bank.

    Attributes
    ----------
    rounds, ciphertexts : int
        Rounds that were not done again, and the ciphertexts of this bank in them.
    bytes_sent, bytes_received : int
        Of the bodies of the rounds' requests and answers.
    protection : Protection
    round_records : tuple of RoundRecord
        One for each round, in order.
    """

    rounds: int
    ciphertexts: int
    bytes_sent: int
    bytes_received: int
    protection: Protection
    round_records: tuple[RoundRecord, ...]


class LastProcess(RecordPart):
    """What the process that ended the run did and used.

    Attributes
    ----------
    started_at, finished_at : int
        UTC epoch seconds: the cohort is complete, the result is accepted.
    threads : int
    process_cpu_seconds : float
        From the start of the program.
    peak_memory_bytes : int
    run_seconds : float
        Wall time of all phases.
    wall_seconds, cpu_seconds, main_cpu_seconds : dict of phase to seconds
        As ``PhaseTimes``.
    rounds, values, ciphertexts, bytes_sent, bytes_received : int
        As ``PhaseTimes``: rounds that were done again count, rounds of earlier processes do not.
    requests : dict of kind to int
        Requests that left meanwhile, each a round trip; none in a record of an earlier release.
    """

    started_at: int
    finished_at: int
    threads: int
    process_cpu_seconds: float
    peak_memory_bytes: int
    run_seconds: float
    wall_seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    main_cpu_seconds: dict[str, float]
    rounds: int
    values: int
    ciphertexts: int
    bytes_sent: int
    bytes_received: int
    requests: dict[str, int] = Field(default_factory=dict)


R = TypeVar("R", bound=RunResult)


class RunRecord(RecordPart, Generic[R]):
    """The record of a finished run; holds no value of a row.

    Attributes
    ----------
    version : int
        Of this format.
    run_id, name : str
    bank : str
        Whose record this is.
    members : tuple of str
        The banks that signed the result.
    generation : int or None
        The last one; None if this bank was not in it.
    taken_from_registry : bool
        Whether this bank took the result from the registry, as it did not take part to the end.
    fraudfed_version : str
    result : RunResult
    model_sha256, registry_sha256 : str
        Of the plain result, which the banks signed, and of the result as it is registered.
    model_visibility : ModelVisibility
    key_epoch, key_bits : int
    key_fingerprint, kernel : str
        Of the consortium's key, and of the arithmetic on this machine.
    trust : TrustKind
        Whether people had confirmed every member of the cohort, or this bank trusted on first use.
    transport : {"https", "loopback"}
    whole_run : WholeRun
    last_process : LastProcess
    """

    version: Literal[1] = RECORD_VERSION
    run_id: str
    name: str
    bank: BankName
    members: tuple[BankName, ...]
    generation: int | None
    taken_from_registry: bool
    fraudfed_version: str
    result: R
    model_sha256: Sha256
    registry_sha256: Sha256
    model_visibility: ModelVisibility
    key_epoch: int
    key_bits: int
    key_fingerprint: str
    kernel: str
    trust: TrustKind
    transport: Literal["https", "loopback"]
    whole_run: WholeRun
    last_process: LastProcess


Found = TypeVar("Found", bound=RunRecord[Any])


def save_result(
    state: StateDirectory,
    files: Mapping[str, bytes],
    signatures: ModelSignatures,
    record: RunRecord[Any],
) -> None:
    """Keep the files of an accepted result, its signatures and the record of the run.

    Raises
    ------
    StateError
        If a file cannot be written.
    """
    state.save_result(record.run_id, files, signatures, record.model_dump(mode="json"))


def read_record(state: StateDirectory, run_id: str, record_type: type[Found]) -> Found | None:
    """Return the record of a finished run, or None.

    Parameters
    ----------
    record_type : type
        ``RunRecord`` of the result's type.

    Raises
    ------
    StateError
        If the file is damaged, of another version, or of another kind of run.
    """
    document = state.record(run_id)
    if document is None:
        return None
    where = f"{state.path}/runs/{run_id}/record.json"
    if document.get("version") != RECORD_VERSION:
        raise StateError(
            f"{where}: version is {document.get('version')!r}, this program reads "
            f"{RECORD_VERSION}; use the fraudfed release that wrote it"
        )
    try:
        return record_type.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise StateError(f"{where}: {name}: {first['msg']}; restore it from a backup") from None
