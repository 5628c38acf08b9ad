"""The file of a ledger: records that only this process adds to, at its end, and never less."""

from collections.abc import Iterator
from pathlib import Path

from fraudfed.container import Container, Framed
from fraudfed.durable_file import append_whole, make_durable
from fraudfed.errors import StateError


class LedgerFile:
    """A row of records that grows; what somebody else changed meanwhile is noticed.

    Parameters
    ----------
    path : Path
    records : Container
        How each is framed.
    name : str
        What the ledger is called, for error texts.
    undone : str
        What did not happen when nothing can be added, for error texts.
    """

    def __init__(self, path: Path, records: Container, *, name: str, undone: str) -> None:
        self.path = path
        self._records = records
        self._name, self._undone = name, undone
        self._whole_bytes = 0
        self._file_bytes = 0

    def read(self) -> Iterator[Framed]:
        """Yield all records, once, before any is added; one that a crash cut off is left out.

        Raises
        ------
        StateError
            If the file is missing, cannot be read, is damaged, or is of another release.
        """
        # The program before may have been killed within its sync; what is found is relied upon.
        make_durable(self.path)
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            raise StateError(
                f"{self.path}: {self._name} is missing; {self._records.advice}"
            ) from None
        except OSError as error:
            raise StateError(
                f"{self.path}: cannot be read ({error.strerror or error}); nothing was sent: check "
                "owner and mode"
            ) from error
        self._file_bytes = len(data)
        for record in self._records.unpack_row(data, source=str(self.path)):
            yield record
            self._whole_bytes = record.end

    def append(self, kind: int, content: bytes) -> None:
        """Add a record, whose first byte is its kind; it survives a crash when this returns.

        Raises
        ------
        StateError
            If the file cannot be written, or was changed by another program.
        """
        try:
            found = self.path.stat().st_size
        except OSError:
            found = -1
        if found != self._file_bytes:
            raise StateError(
                f"{self.path}: has {found} bytes, expected {self._file_bytes}; another program "
                f"changed it: {self._undone}; start again"
            )
        data = self._records.pack(bytes([kind]), content)
        append_whole(self.path, data, at=self._whole_bytes, sync=True)
        self._whole_bytes += len(data)
        self._file_bytes = self._whole_bytes
