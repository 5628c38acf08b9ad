"""What protected each round of a run and what it cost, kept across restarts of the program.

The file is a row of ``fraudfed.container`` records, one JSON object each. The log proves nothing to
anybody else and secures nothing: it makes ``record.json`` whole.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from bank_node.state.round_record import RoundRecord, protection_of
from fraudfed.container import Container
from fraudfed.durable_file import append_whole, make_durable
from fraudfed.errors import StateError

_RECORD = Container(
    magic=b"FFROUND",
    version=1,
    what="a record of finished rounds",
    advice="restore the file from a backup",
)


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


_LOGGED = TypeAdapter(LoggedRound)


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
        If the file cannot be read or is damaged. A last record that a crash cut off is no damage.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rounds: list[LoggedRound] = []
        # Where each record ends, in bytes.
        self._ends: list[int] = []
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise StateError(
                f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
            ) from error
        for found in _RECORD.unpack_row(data, source=str(path)):
            where = f"{path}: byte {found.start}"
            try:
                logged = _LOGGED.validate_json(bytes(found.content))
            except ValidationError:
                raise _RECORD.damaged("it is no finished round", source=where) from None
            if self.has_from(logged.record.number):
                raise _RECORD.damaged("it is out of order", source=where)
            self._rounds.append(logged)
            self._ends.append(found.end)

    def append(self, record: RoundRecord, *, bytes_sent: int, bytes_received: int) -> None:
        """Add a finished round. Not synced: see ``sync``.

        Raises
        ------
        StateError
            If the file cannot be written: it is as before.
        ValueError
            If the round does not come after all that are here.
        """
        if self.has_from(record.number):
            raise ValueError(
                f"round {record.number} after round {self._rounds[-1].record.number}: drop what is "
                "done again with read() first"
            )
        logged = LoggedRound(record, bytes_sent, bytes_received)
        fields = {**vars(logged), "record": record.to_dict()}
        text = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
        data, start = _RECORD.pack(text), self._ends[-1] if self._ends else 0
        append_whole(self._path, data, at=start, sync=False)
        self._rounds.append(logged)
        self._ends.append(start + len(data))

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

    def _unusable(self, error: OSError) -> StateError:
        return StateError(
            f"{self._path}: cannot be used ({error.strerror or error}); make it writable and see "
            "that the disk has room"
        )
