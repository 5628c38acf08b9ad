"""What protected each round of a run and what it cost, kept across restarts of the program.

One JSON object per line; each ends with a checksum of its own line. The log proves nothing to
anybody else and secures nothing: it makes ``record.json`` whole.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from bank_node.state.round_record import RoundRecord, protection_of
from fraudfed.durable_file import append_whole, make_durable
from fraudfed.errors import StateError

_CHECKSUM_DIGITS = 64
#: What stands behind the fields of a line.
_SUFFIX = b',"sha256":"%s"}\n'
_SUFFIX_BYTES = len(_SUFFIX % (b"0" * _CHECKSUM_DIGITS))


@dataclass(frozen=True)
class LoggedRound:
    """A finished round.

    Attributes
    ----------
    record : RoundRecord
    bytes_sent, bytes_received : int
        Of the bodies of the round's requests and answers.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    record: RoundRecord
    bytes_sent: int
    bytes_received: int


_LINE = TypeAdapter(LoggedRound)


class RoundLog:
    """The finished rounds of one run. The caller holds the state directory's lock.

    Law: ``read(n)`` returns what was appended for rounds before ``n``, in order; rounds that were
    given up do not appear.

    Parameters
    ----------
    path : Path
        Made at the first ``append`` when it is missing.

    Raises
    ------
    StateError
        If the file cannot be read or is damaged. A last line that a crash cut off is no damage.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rounds: list[LoggedRound] = []
        # Where each line ends, in bytes.
        self._ends: list[int] = []
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise StateError(
                f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
            ) from error
        end = 0
        # What stands behind the last line end was cut off by a crash; usually nothing.
        *lines, fragment = data.split(b"\n")
        for number, line in enumerate(lines, start=1):
            end += len(line) + 1
            self._take(_parse(line + b"\n"), end, number)
        if _parse(fragment[:-1] + b"\n") is not None:
            # A whole line, but another byte instead of its end: no crash leaves that behind.
            raise self._damaged(len(lines) + 1)

    def append(self, record: RoundRecord, *, bytes_sent: int, bytes_received: int) -> None:
        """Add a finished round. Not synced: see ``sync``.

        Raises
        ------
        StateError
            If the file cannot be written: it is as before.
        ValueError
            If the round does not come after all that are here.
        """
        if self._rounds and record.number <= self._rounds[-1].record.number:
            raise ValueError(
                f"round {record.number} after round {self._rounds[-1].record.number}: drop what is "
                "done again with read() first"
            )
        logged = LoggedRound(record, bytes_sent, bytes_received)
        line, start = _line(logged), self._ends[-1] if self._ends else 0
        append_whole(self._path, line, at=start, sync=False)
        self._rounds.append(logged)
        self._ends.append(start + len(line))

    def has_from(self, number: int) -> bool:
        """Tell whether a round of this number or a later one is here."""
        return bool(self._rounds) and self._rounds[-1].record.number >= number

    def sync(self) -> None:
        """Return when what was appended survives a crash of the machine.

        To be called before a checkpoint is saved: the rounds before it are never done again.

        Raises
        ------
        StateError
            If the file cannot be written.
        """
        make_durable(self._path)

    def read(self, before_round: int) -> list[LoggedRound]:
        """Return the rounds before ``before_round``; drops the others, which are done again.

        Raises
        ------
        StateError
            If the file cannot be written.
        """
        kept = sum(each.record.number < before_round for each in self._rounds)
        if kept < len(self._rounds):
            try:
                os.truncate(self._path, self._ends[kept - 1] if kept else 0)
            except OSError as error:
                raise self._unusable(error) from error
            del self._rounds[kept:], self._ends[kept:]
        return list(self._rounds)

    def summary(self) -> dict[str, Any]:
        """Return what a run's record says of its rounds: what was sent, and what protected it."""
        records = [each.record for each in self._rounds]
        return {
            "rounds": len(records),
            "ciphertexts": sum(record.ciphertexts for record in records),
            "bytes_sent": sum(each.bytes_sent for each in self._rounds),
            "bytes_received": sum(each.bytes_received for each in self._rounds),
            "protection": protection_of(records),
            "round_records": [record.to_dict() for record in records],
        }

    def remove(self) -> None:
        """Remove the log of a run that is finished; raises StateError if that is not possible."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        self._rounds, self._ends = [], []

    def _take(self, logged: LoggedRound | None, end: int, number: int) -> None:
        if logged is None or (
            self._rounds and logged.record.number <= self._rounds[-1].record.number
        ):
            raise self._damaged(number)
        self._rounds.append(logged)
        self._ends.append(end)

    def _damaged(self, number: int) -> StateError:
        return StateError(
            f"{self._path}, line {number}: damaged: the line has a wrong checksum or is out of "
            "order; restore the file from a backup"
        )

    def _unusable(self, error: OSError) -> StateError:
        return StateError(
            f"{self._path}: cannot be used ({error.strerror or error}); make it writable and see "
            "that the disk has room"
        )


def _line(logged: LoggedRound) -> bytes:
    text = json.dumps(asdict(logged), sort_keys=True, separators=(",", ":")).encode()[:-1]
    return text + _SUFFIX % hashlib.sha256(text).hexdigest().encode()


def _parse(line: bytes) -> LoggedRound | None:
    """Return what a line with its end holds; None if it is damaged."""
    text = line[:-_SUFFIX_BYTES]
    if line[len(text) :] != _SUFFIX % hashlib.sha256(text).hexdigest().encode():
        return None
    try:
        return _LINE.validate_json(text + b"}")
    except ValidationError:
        return None
