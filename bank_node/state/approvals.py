"""Which runs a person at this bank has reviewed, and which of them the person approved.

The file is a row of ``fraudfed.container`` records, one JSON object each; it only grows. A run is
named by the hash of its description (``bank_node.approval.digest``): no other bytes are approved.
"""

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bank_node.state.lock_file import locked
from fraudfed.container import Container
from fraudfed.durable_file import append_whole
from fraudfed.errors import StateError
from fraudfed.wire.messages import Sha256

_RECORD = Container(
    magic=b"FFAPPRV",
    version=1,
    what="a record of approvals",
    advice="restore the file from a backup",
)


class ApprovalEvent(StrEnum):
    """What a person did."""

    REVIEWED = "reviewed"
    APPROVED = "approved"
    REVOKED = "revoked"


class ApprovalEntry(BaseModel):
    """One thing that a person did.

    Attributes
    ----------
    event : ApprovalEvent
    hash : str
        Of the run's description.
    run_id : str
    at : int
        UTC epoch seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: ApprovalEvent
    hash: Sha256
    run_id: str
    at: Annotated[int, Field(ge=0)]


class Approvals:
    """The approvals of one bank. A lock of its own lets people approve while a run is at work.

    Law: once ``append`` has returned, every later ``entries`` returns the entry, also after a
    crash of the machine; nothing takes an entry away.

    Parameters
    ----------
    path : Path
        Made at the first ``append`` when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self) -> list[ApprovalEntry]:
        """Return all entries, oldest first.

        Raises
        ------
        StateError
            If the file cannot be read or is damaged. A last entry that a crash cut off is no
            damage: nobody was told that it was kept.
        """
        return self._read()[0]

    def has_approved(self, hash_: str) -> bool:
        """Tell whether a person approved these bytes, and has not revoked that since."""
        decided = [
            entry.event
            for entry in self.entries()
            if entry.hash == hash_ and entry.event is not ApprovalEvent.REVIEWED
        ]
        return bool(decided) and decided[-1] is ApprovalEvent.APPROVED

    def append(self, event: ApprovalEvent, hash_: str, run_id: str) -> None:
        """Add an entry, durably.

        Raises
        ------
        StateError
            If the file is damaged or cannot be written: it is as before.
        """
        entry = ApprovalEntry(event=event, hash=hash_, run_id=run_id, at=int(time.time()))
        with locked(self._path.with_name(f".{self._path.name}.lock"), held=None):
            _, end = self._read()
            data = _RECORD.pack(entry.model_dump_json().encode())
            append_whole(self._path, data, at=end, sync=True)

    def _read(self) -> tuple[list[ApprovalEntry], int]:
        """Return the entries, and where the last one ends in the file."""
        try:
            data = self._path.read_bytes() if self._path.exists() else b""
        except OSError as error:
            raise self._unusable(error) from error
        found, end = [], 0
        for each in _RECORD.unpack_row(data, source=str(self._path)):
            try:
                found.append(ApprovalEntry.model_validate_json(bytes(each.content)))
            except ValidationError:
                where = f"{self._path}: byte {each.start}"
                raise _RECORD.damaged("it is no approval", source=where) from None
            end = each.end
        return found, end

    def _unusable(self, error: OSError) -> StateError:
        return StateError(
            f"{self._path}: cannot be used ({error.strerror or error}); check owner and mode, and "
            "see that the disk has room"
        )
