"""The history of labels: append-only, sealed, by file or by calls.

``labels.log`` is a row of ``fraudfed.container`` records, each of which holds what was added at
once, sealed by the vault. It may be added to by several processes.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from bank_node.outcomes.label import Heard, Label, label_of
from bank_node.state.lock_file import locked
from bank_node.vault.vault import NO_VAULT, Vault
from fraudfed.container import Container
from fraudfed.durable_file import append_whole, make_private, write_atomic
from fraudfed.errors import ConflictError, StateError

_FILE: Final = "labels.log"
#: For the vault: below the state directory.
_NAME: Final = "serving/outcomes/labels.log"
_RECORD: Final = Container(
    magic=b"FFLABELS",
    version=1,
    what="a record of labels",
    advice="restore the file from a backup",
)
_BATCH = TypeAdapter(tuple[Heard, ...])
#: Labels of one record: bounds what is lost to a crash, and what one record takes to read.
_MOST_AT_ONCE: Final = 10_000


class LabelHistory:
    """What a bank has heard of its payments.

    Laws: what ``add`` has returned for survives a crash of the machine. The same thing added again
    changes nothing. ``as_of(T)`` of this history is that of the part heard before T.

    Parameters
    ----------
    directory : Path
        Made at the first ``add``.
    vault : Vault
        Of the state directory.

    Raises
    ------
    StateError
        If the file cannot be read, or is damaged.
    KeyMaterialError
        If it does not open with the vault.
    """

    def __init__(self, directory: Path, vault: Vault = NO_VAULT) -> None:
        self._path, self._vault = directory / _FILE, vault
        self._heard: dict[str, list[Heard]] = {}
        # How far the file was read, and which file it was.
        self._end, self._inode = 0, 0
        self.refresh()

    def __len__(self) -> int:
        """Return how many things were heard."""
        return sum(map(len, self._heard.values()))

    def add(self, heard: Iterable[Heard]) -> int:
        """Add what was heard, and return how much of it is new.

        Raises
        ------
        ConflictError
            If it revises a label that was given as final; nothing is added then.
        StateError
            If the file cannot be written.
        """
        with self._locked():
            self.refresh()
            new = self._new(heard)
            for start in range(0, len(new), _MOST_AT_ONCE):
                part = tuple(new[start : start + _MOST_AT_ONCE])
                data = _RECORD.pack(self._vault.seal(_NAME, _BATCH.dump_json(part)))
                append_whole(self._path, data, at=self._end, sync=True)
                self._take(part)
                self._end += len(data)
        return len(new)

    def of(self, transaction_id: str) -> tuple[Heard, ...]:
        """Return what was heard of a payment, in the order of arrival."""
        return tuple(self._heard.get(transaction_id, ()))

    def label(self, transaction_id: str, as_of: int) -> Label | None:
        """Return what is known of a payment at a time, UTC epoch seconds; None for nothing."""
        return label_of(self._heard.get(transaction_id, ()), as_of)

    def as_of(self, time: int) -> Mapping[str, Label]:
        """Return what is known at a time, UTC epoch seconds, by transaction; sorted."""
        labels = ((each, self.label(each, time)) for each in sorted(self._heard))
        return {transaction: label for transaction, label in labels if label is not None}

    def all(self) -> Iterator[Heard]:
        """Yield everything that was heard, by transaction."""
        for transaction in sorted(self._heard):
            yield from self._heard[transaction]

    def erase(self, transaction_ids: Iterable[str]) -> int:
        """Remove everything that was heard of some payments; returns how much that was.

        The file is written anew without it.

        Raises
        ------
        StateError
            If the file cannot be written: it is as before.
        """
        with self._locked():
            self.refresh()
            gone = {each for each in transaction_ids if each in self._heard}
            if not gone:
                return 0
            count = sum(len(self._heard[each]) for each in gone)
            kept = [each for each in self.all() if each.transaction_id not in gone]
            records = (
                _RECORD.pack(
                    self._vault.seal(
                        _NAME, _BATCH.dump_json(tuple(kept[start : start + _MOST_AT_ONCE]))
                    )
                )
                for start in range(0, len(kept), _MOST_AT_ONCE)
            )
            write_atomic(self._path, b"".join(records))
            self._forget()
            self.refresh()
        return count

    def refresh(self) -> None:
        """Read what other processes have added since."""
        try:
            if not self._path.exists():
                self._forget()
                return
            inode = self._path.stat().st_ino
            if inode != self._inode:
                # Written anew, without payments that were erased.
                self._forget()
                self._inode = inode
            with self._path.open("rb") as file:
                file.seek(self._end)
                data = file.read()
        except OSError as error:
            raise StateError(
                f"{self._path}: cannot be read ({error.strerror or error}); check owner and mode"
            ) from error
        start = self._end
        for found in _RECORD.unpack_row(data, source=str(self._path)):
            plain = self._vault.unseal(_NAME, bytes(found.content))
            try:
                self._take(_BATCH.validate_json(plain))
            except ValidationError:
                where = f"{self._path}: byte {start + found.start}"
                raise _RECORD.damaged("it holds no labels", source=where) from None
            self._end = start + found.end

    def _forget(self) -> None:
        self._heard = {}
        self._end, self._inode = 0, 0

    def _take(self, heard: Iterable[Heard]) -> None:
        for each in heard:
            self._heard.setdefault(each.transaction_id, []).append(each)

    def _new(self, heard: Iterable[Heard]) -> list[Heard]:
        found: dict[str, list[Heard]] = {}
        new = []
        for each in heard:
            of = found.setdefault(each.transaction_id, list(self.of(each.transaction_id)))
            if each in of:
                continue
            if of and (each.never_revised or any(one.never_revised for one in of)):
                raise ConflictError(
                    f"transaction {each.transaction_id!r}: has the label {of[-1].status}, and "
                    f"{each.status} is given now, but one of them is final; give a history with "
                    "status and time for what is revised"
                )
            of.append(each)
            new.append(each)
        return new

    def _locked(self) -> AbstractContextManager[None]:
        directory = self._path.parent
        make_private(directory.parent, directory)
        return locked(directory / ".lock", held=None)
