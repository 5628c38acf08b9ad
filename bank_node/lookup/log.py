"""Every look-up, at the bank that made it: when, by whom, for what, and which identifiers.

One file a month, ``serving/lookups/YYYY-MM.log``, to which whole records are added: the length of a
record (4 bytes, little-endian) and the record, a line of canonical JSON that the vault seals, as it
names accounts. A record that a crash has cut off at the end was of a look-up that was never
answered; the next one takes its place. A month is removed as a whole, when all of it is older than
the bank keeps look-ups: before the next look-up, or when the log is shown.
"""

import calendar
import fcntl
import json
import logging
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bank_node.vault.vault import Vault
from fraudfed.durable_file import PRIVATE_DIRECTORY, PRIVATE_FILE
from fraudfed.errors import StateError
from fraudfed.wire.messages import RiskEntity

_log = logging.getLogger(__name__)

_LENGTH_BYTES = 4
_SECONDS_PER_DAY = 86_400
#: More identifiers at once make several records.
MOST_IDENTIFIERS = 1000
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_LONGEST_RECORD_BYTES = 1 << 24


class LoggedLookup(BaseModel):
    """Identifiers that were looked up together.

    Attributes
    ----------
    time : int
        UTC epoch seconds.
    who, purpose : str
    entity : RiskEntity
    identifiers : tuple of str
        In canonical form.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: Annotated[int, Field(ge=0)]
    who: str
    purpose: str
    entity: RiskEntity
    identifiers: tuple[str, ...]


class LookupLog:
    """The log of a bank's look-ups.

    Parameters
    ----------
    directory : Path
        ``serving/lookups`` of the state directory; made when it is missing.
    vault : Vault
    retention_days : int
        A month whose last second is longer ago is removed.
    """

    def __init__(self, directory: Path, vault: Vault, *, retention_days: int) -> None:
        self._directory = directory
        self._vault = vault
        self._retention_days = retention_days
        self._pruned_on = -1
        # Where records of a file have been found whole: only what is behind is looked at again.
        self._whole: dict[Path, int] = {}

    def append(self, lookups: Sequence[LoggedLookup], *, durable: bool) -> None:
        """Add records: all of one call are of one time.

        Parameters
        ----------
        durable : bool
            Return only when they survive a crash of the machine; else that of this process.

        The first call of a day removes what is past its retention.

        Raises
        ------
        StateError
            If they cannot be written: then nothing may be answered.
        """
        if not lookups:
            return
        now = lookups[0].time
        if now // _SECONDS_PER_DAY != self._pruned_on:
            self.prune(now)
        month = datetime.fromtimestamp(now, tz=UTC).strftime("%Y-%m")
        path = self._directory / f"{month}.log"
        data = b""
        for lookup in lookups:
            text = json.dumps(lookup.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
            sealed = self._vault.seal(_name(path), text.encode())
            data += len(sealed).to_bytes(_LENGTH_BYTES, "little") + sealed
        try:
            self._directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                end = _whole_records(handle, start=self._whole.get(path, 0))
                os.ftruncate(handle, end)
                if os.pwrite(handle, data, end) != len(data):
                    os.ftruncate(handle, end)
                    raise StateError(f"{path}: no room for a look-up; nothing was looked up")
                if durable:
                    os.fsync(handle)
                self._whole[path] = end + len(data)
            finally:
                os.close(handle)
        except OSError as error:
            raise StateError(
                f"{path}: cannot be written ({error.strerror or error}), and what is not logged is "
                "not looked up; check owner, mode and room"
            ) from error

    def prune(self, now: float) -> int:
        """Remove the months that are past their retention, and return how many there were.

        Parameters
        ----------
        now : float
            UTC epoch seconds.

        Raises
        ------
        StateError
            If one cannot be removed.
        """
        oldest = now - self._retention_days * _SECONDS_PER_DAY
        old = [path for path in self._paths() if _end_of(path) <= oldest]
        for path in old:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StateError(
                    f"{path}: is past its retention and cannot be removed "
                    f"({error.strerror or error}); check owner and mode"
                ) from error
            self._whole.pop(path, None)
            _log.info("look-ups of %s are past their retention: removed", path.stem)
        self._pruned_on = int(now) // _SECONDS_PER_DAY
        return len(old)

    def _paths(self) -> list[Path]:
        return sorted(
            path for path in self._directory.glob("????-??.log") if _MONTH.fullmatch(path.stem)
        )

    def all(self) -> tuple[LoggedLookup, ...]:
        """Return every record, oldest first.

        Raises
        ------
        StateError
            If a file cannot be read or is damaged.
        KeyMaterialError
            If a record does not open.
        """
        found: list[LoggedLookup] = []
        for path in self._paths():
            found += self._read(path)
        return tuple(found)

    def _read(self, path: Path) -> list[LoggedLookup]:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StateError(
                f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
            ) from error
        found, at = [], 0
        while at + _LENGTH_BYTES <= len(data):
            start = at + _LENGTH_BYTES
            at = start + int.from_bytes(data[at:start], "little")
            if at > len(data):
                break
            text = self._vault.unseal(_name(path), data[start:at])
            try:
                found.append(LoggedLookup.model_validate_json(text))
            except ValidationError:
                raise StateError(
                    f"{path}: holds a record that is no look-up; restore it from a backup"
                ) from None
        return found


def _end_of(path: Path) -> int:
    """Return the first second after the month of a file, UTC epoch seconds."""
    year, month = (int(part) for part in path.stem.split("-"))
    return calendar.timegm((year + month // 12, month % 12 + 1, 1, 0, 0, 0))


def _name(path: Path) -> str:
    return f"serving/lookups/{path.name}"


def _whole_records(handle: int, *, start: int) -> int:
    """Return where the last whole record ends; ``start`` is where one does."""
    size = os.fstat(handle).st_size
    at = start if start <= size else 0
    while at + _LENGTH_BYTES <= size:
        length = int.from_bytes(os.pread(handle, _LENGTH_BYTES, at), "little")
        if length > _LONGEST_RECORD_BYTES or at + _LENGTH_BYTES + length > size:
            break
        at += _LENGTH_BYTES + length
    return at
