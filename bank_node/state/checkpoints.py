"""Where a bank stood after each finished step of a run, so that it can be killed and continue.

One file per step, replaced atomically: a ``fraudfed.container`` of one line of canonical JSON, the
header, and behind it the state.
"""

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from bank_node.vault.vault import Vault
from fraudfed.container import Container
from fraudfed.durable_file import PRIVATE_DIRECTORY, sync_directory, write_atomic
from fraudfed.errors import ProtocolError, StateError
from fraudfed.secure_sum.context import check_digest

_CONTAINER = Container(
    magic=b"FFCHECKP",
    version=1,
    what="a checkpoint",
    advice="restore the newest copy from a backup, or let this bank take part anew without the "
    "directory of the run",
)
_FILE = re.compile(r"step-(0|[1-9][0-9]*)\.checkpoint")

#: The last one, and the one before: the cohort may go back to a step that a bank has just left.
_KEPT_STEPS = 2


@dataclass(frozen=True)
class Checkpoint:
    """Everything a bank needs to continue behind a finished step. Never leaves the bank.

    Attributes
    ----------
    run_id, bank : str
    step : int
        Finished steps: 0 is the start of a run.
    generation : int
    cohort : tuple of str
        Names of the banks of the generation, in the order of the cohort.
    first_step, first_round : int
        Where the generation began.
    round_number : int
        The next round.
    transcript : str
        ``Transcript.digest`` before the next round.
    facts_sha256 : str
        Of the facts that began the generation's transcript.
    data_sha256 : str
        ``data_digest`` of the rows that this bank trains on.
    counted : tuple of str
        Banks whose rows the state's bounds hold for: counted in the preparation, or by a bound of
        their number when they came in.
    more_rows : int
        Rows, at most, of the banks that come in with the generation that begins here; 0 behind
        every other step.
    exposed : tuple of str
        Banks whose part of a step can be told by difference, as it was done again without them;
        once for each time.
    state : bytes
        ``TrainingState.to_bytes``; empty at step 0.

    Raises
    ------
    ValueError
        If a field cannot be what it should be.
    """

    run_id: str
    bank: str
    step: int
    generation: int
    cohort: tuple[str, ...]
    first_step: int
    first_round: int
    round_number: int
    transcript: str
    facts_sha256: str
    data_sha256: str
    counted: tuple[str, ...]
    more_rows: int
    exposed: tuple[str, ...]
    state: bytes

    def __post_init__(self) -> None:
        for name in ("step", "generation", "first_step", "first_round", "round_number"):
            if getattr(self, name) < 0:
                raise ValueError(f"checkpoint: {name} is {getattr(self, name)}, expected 0 or more")
        for name in ("transcript", "facts_sha256", "data_sha256"):
            try:
                check_digest(f"checkpoint: {name}", getattr(self, name))
            except ProtocolError as error:
                raise ValueError(str(error)) from None


#: What can stand in a header at all.
_HEADER = TypeAdapter(dict[str, int | str | tuple[str, ...]])


class Checkpoints:
    """The checkpoints of a bank in a run. The caller holds the state directory's lock.

    Parameters
    ----------
    directory : Path
        Made at the first ``save`` when it is missing. What a crash left behind is removed.
    run_id, bank : str
        Whose checkpoints these are: any other is refused.
    vault : Vault
        Seals and opens the files.

    Raises
    ------
    StateError
        If the directory cannot be used.
    """

    def __init__(self, directory: Path, *, run_id: str, bank: str, vault: Vault) -> None:
        self._directory = directory
        self._run_id = run_id
        self._bank = bank
        self._vault = vault
        try:
            if directory.exists():
                for leftover in directory.glob(".*"):
                    leftover.unlink()
                # The program before may have been killed between a rename and its sync.
                sync_directory(directory)
                sync_directory(directory.parent)
        except OSError as error:
            raise self._unusable(error) from error

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint; it survives a crash of the machine when this returns.

        It replaces one of the same step. The step before it is kept, all others are removed: steps
        behind it are of a generation that was given up.

        Raises
        ------
        StateError
            If it cannot be written: the directory is as before.
        ValueError
            If it is of another bank or run.
        """
        if (checkpoint.run_id, checkpoint.bank) != (self._run_id, self._bank):
            raise ValueError(
                f"checkpoint of bank {checkpoint.bank!r} in run {checkpoint.run_id!r}, expected "
                f"{self._bank!r} in {self._run_id!r}"
            )
        try:
            if not self._directory.exists():
                self._directory.mkdir(mode=PRIVATE_DIRECTORY)
                sync_directory(self._directory.parent)
        except OSError as error:
            raise self._unusable(error) from error
        sealed = self._vault.seal(self._name(checkpoint.step), _encode(checkpoint))
        write_atomic(self._path(checkpoint.step), sealed)
        older = [step for step in self._steps() if step < checkpoint.step]
        kept = {checkpoint.step, *older[1 - _KEPT_STEPS :]}
        try:
            for step in self._steps():
                if step not in kept:
                    self._path(step).unlink()
        except OSError as error:
            raise self._unusable(error) from error

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint: the last step of the last generation; None without any.

        Raises
        ------
        StateError
            If any of them cannot be read, is damaged, foreign, or of a newer release.
        KeyMaterialError
            If any of them does not open.
        """
        # A damaged one is never passed over for an older one: the bank may have taken part in
        # rounds since the older one, and would tell the others that it stands where it does not.
        found = [self._read(step) for step in self._steps()]
        return max(found, key=lambda each: (each.generation, each.step), default=None)

    def at(self, step: int) -> Checkpoint | None:
        """Return the checkpoint of a step, or None; raises StateError as ``latest``."""
        return self._read(step) if self._path(step).exists() else None

    def remove(self) -> None:
        """Remove all checkpoints of a run that is finished.

        Raises
        ------
        StateError
            If that is not possible.
        """
        if not self._directory.exists():
            return
        try:
            for step in self._steps():
                self._path(step).unlink()
            self._directory.rmdir()
        except OSError as error:
            raise self._unusable(error) from error

    def _path(self, step: int) -> Path:
        return self._directory / f"step-{step}.checkpoint"

    def _name(self, step: int) -> str:
        """Return what the vault knows a file by."""
        return f"runs/{self._run_id}/checkpoints/{self._path(step).name}"

    def _steps(self) -> list[int]:
        """Return the steps that there is a file for, in order."""
        if not self._directory.exists():
            return []
        try:
            matches = [_FILE.fullmatch(path.name) for path in self._directory.iterdir()]
        except OSError as error:
            raise self._unusable(error) from error
        return sorted(int(match[1]) for match in matches if match is not None)

    def _read(self, step: int) -> Checkpoint:
        path = self._path(step)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StateError(
                f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
            ) from error
        checkpoint = _decode(self._vault.unseal(self._name(step), data), path)
        for name, expected in (("run_id", self._run_id), ("bank", self._bank), ("step", step)):
            if getattr(checkpoint, name) != expected:
                raise StateError(
                    f"{path}: foreign: its {name} is {getattr(checkpoint, name)!r}, expected "
                    f"{expected!r}; {_CONTAINER.advice}"
                )
        return checkpoint

    def _unusable(self, error: OSError) -> StateError:
        return StateError(
            f"{self._directory}: cannot be used ({error.strerror or error}); make it writable and "
            "see that the disk has room"
        )


def _encode(checkpoint: Checkpoint) -> bytes:
    header = {field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}
    del header["state"]
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    return _CONTAINER.pack(text, b"\n", checkpoint.state)


def _decode(data: bytes, path: Path) -> Checkpoint:
    # No line end is within the header: JSON writes it as two other characters.
    header, _, state = _CONTAINER.unpack(data, source=str(path)).partition(b"\n")
    try:
        return Checkpoint(**_header(header), state=state)
    except (ValueError, TypeError) as error:
        raise _CONTAINER.damaged(f"its header is wrong ({error})", source=str(path)) from None


def _header(text: bytes) -> dict[str, Any]:
    """Return the fields of a header; each has the type that ``Checkpoint`` gives it."""
    try:
        header = _HEADER.validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError(f"{error.error_count()} fields are malformed") from None
    for name, hint in get_type_hints(Checkpoint).items():
        expected = get_origin(hint) or hint
        if name != "state" and not isinstance(header.get(name), expected):
            raise ValueError(f"{name} is not of type {expected.__name__}")
    return dict(header)
