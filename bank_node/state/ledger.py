"""With which sets of banks this bank has revealed sums over the same rows: written down for good.

Two sums over the same rows of two sets of banks show, by subtraction, what the sets do not have in
common; several sets show it even where each two differ by many banks. So a bank notes, before it
reveals anything of a sum, what the sum is about and with which banks it is made. Another set costs
one of ``set_changes``, an allowance of the bank's own rules whose default is 0.

Law: on one key, the notes whose set is unlike an earlier one, and which do not merely continue the
note before them, number at most the largest ``set_changes`` that they were made under. With 0, all
sets that were ever noted on a key are one set.

Nothing resets the ledger: it lies outside the runs, a run's checkpoints or its directory may be
removed, and no message of anybody changes what was noted. The file is a row of
``fraudfed.container`` records and grows at its end only. The first holds the secret key that all
others are computed with, so that no key in the file tells anything about rows to somebody who has
only copies of later records; a thief of the whole file can test guesses of whole columns.
"""

import hashlib
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bank_node.state.ledger_file import LedgerFile
from bank_node.vault.vault import NO_VAULT, Vault
from fraudfed.container import Container
from fraudfed.durable_file import write_new
from fraudfed.errors import CohortError
from fraudfed.wire.messages import BankName, MemberKeys, PublicKeyHex

_RECORD = Container(
    magic=b"FFLEDGER",
    version=1,
    what="a record of the ledger",
    advice="without it this bank cannot tell with which banks it has revealed sums, and takes part "
    "in no run: restore the very newest copy; if there is none, leave the consortium and join it "
    "anew with a new state directory",
)

#: BLAKE2b keyed, RFC 7693: 128 bits, as keys are only ever compared with each other by accident.
_KEY_BYTES: Final = 16
_SECRET_BYTES: Final = 32
#: What the vault knows the secret by.
_NAME: Final = "ledger"


class _Kind(IntEnum):
    SECRET = 1
    """The first record, and only that."""
    NOTE = 2


class Member(BaseModel):
    """A bank of a set: its name, and the key that shows that it is that bank."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: BankName
    signing_key: PublicKeyHex


class Reveal(BaseModel):
    """Whom a bank reveals sums with, and where.

    Attributes
    ----------
    run_id : str
    generation : int
    members : tuple of Member
        The set, sorted by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    generation: Annotated[int, Field(ge=0)]
    members: tuple[Member, ...]

    @classmethod
    def of(
        cls, run_id: str, generation: int, banks: Iterable[str], roster: Iterable[MemberKeys]
    ) -> "Reveal":
        """Return what is revealed with some banks of a roster."""
        wanted = set(banks)
        members = (
            Member(name=one.name, signing_key=one.signing_key)
            for one in roster
            if one.name in wanted
        )
        ordered = tuple(sorted(members, key=lambda one: one.name))
        return cls(run_id=run_id, generation=generation, members=ordered)


class _Note(BaseModel):
    """A record of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")], ...], Field(min_length=1)
    ]
    reveal: Reveal


@dataclass(frozen=True)
class Account:
    """What was noted on one key.

    Attributes
    ----------
    reveals : tuple of Reveal
        In order; each once.
    changes : int
        How many of them cost an allowance.
    """

    reveals: tuple[Reveal, ...] = ()
    changes: int = 0

    def price(self, reveal: Reveal) -> int:
        """Return 1 if another reveal would cost one of the allowance, else 0.

        It is free if it is noted already, if it continues the last one - the same run with the
        same set - or if every set so far is this one. It costs whether banks come in or leave.
        """
        if reveal in self.reveals:
            return 0
        # One generation of that set would have revealed as much. Were it to cost, a bank that asks
        # to come in and is turned away would use up what the others allow themselves.
        last = self.reveals[-1] if self.reveals else None
        if last is not None and (last.run_id, last.members) == (reveal.run_id, reveal.members):
            return 0
        return int(any(one.members != reveal.members for one in self.reveals))

    def with_note(self, reveal: Reveal) -> "Account":
        """Return the account after a reveal."""
        if reveal in self.reveals:
            return self
        return Account((*self.reveals, reveal), self.changes + self.price(reveal))

    def allows(self, reveal: Reveal, *, set_changes: int) -> bool:
        """Tell whether a reveal is free, or can be paid for."""
        price = self.price(reveal)
        return price == 0 or self.changes + price <= set_changes


@dataclass(frozen=True)
class LedgerSummary:
    """How much of the allowance is used up; counts only.

    Attributes
    ----------
    sets : int
        Different sets of banks that were ever noted.
    keys_by_changes : dict of int to int
        How many keys have used up so many changes.
    """

    sets: int
    keys_by_changes: dict[int, int]


class Ledger:
    """The ledger of one bank. The caller holds the state directory's lock.

    Parameters
    ----------
    path : Path
    open_vault : callable
        Returns what opens the secret; called when a key is first asked for.

    Raises
    ------
    StateError
        If the file is missing, cannot be read, is damaged, or was written by another release. A
        last record that a crash cut off is no damage: nothing was revealed for it.
    """

    def __init__(self, path: Path, *, open_vault: Callable[[], Vault] = lambda: NO_VAULT) -> None:
        self._path = path
        self._open_vault = open_vault
        self._accounts: dict[str, Account] = {}
        self._sealed_secret = b""
        self._secret: bytes | None = None
        self._file = LedgerFile(path, _RECORD, name="the ledger", undone="nothing was revealed")
        for record in self._file.read():
            self._take(bytes(record.content), start=record.start)
        if not self._sealed_secret:
            raise _RECORD.damaged("it does not hold its first record", source=str(path))

    @staticmethod
    def create(path: Path, *, vault: Vault = NO_VAULT) -> None:
        """Make an empty ledger with a secret of its own, sealed by a vault.

        Raises
        ------
        FileExistsError
            If there is one.
        StateError
            If it cannot be written.
        """
        secret = secrets.token_bytes(_SECRET_BYTES)
        write_new(path, _RECORD.pack(bytes([_Kind.SECRET]), vault.seal(_NAME, secret)))

    def __getstate__(self) -> object:
        raise TypeError("a ledger holds a secret and cannot be pickled")

    def key(self, domain: str, *parts: bytes) -> str:
        """Return the key of what a sum is about, which tells nothing about it.

        Parameters
        ----------
        domain : str
            Kind of the content; two kinds never have a key in common.
        parts : bytes
            The content.

        Raises
        ------
        KeyMaterialError
            If the ledger's secret does not open.
        """
        digest = hashlib.blake2b(key=self._opened_secret(), digest_size=_KEY_BYTES)
        for part in (domain.encode(), *parts):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.hexdigest()

    def _opened_secret(self) -> bytes:
        if self._secret is None:
            secret = self._open_vault().unseal(_NAME, self._sealed_secret)
            if len(secret) != _SECRET_BYTES:
                raise _RECORD.damaged("its first record is malformed", source=str(self._path))
            self._secret = secret
        return self._secret

    def account(self, key: str) -> Account:
        """Return what was noted on a key."""
        return self._accounts.get(key, Account())

    def knows(self, run_id: str) -> bool:
        """Tell whether this bank has revealed anything in a run."""
        return any(
            one.run_id == run_id for found in self._accounts.values() for one in found.reveals
        )

    def refusal(self, keys: Sequence[str], reveal: Reveal, *, set_changes: int) -> str | None:
        """Return why a reveal cannot be paid for, in public terms; None if it can. Notes nothing.

        Parameters
        ----------
        keys : sequence of str
            Of everything that the sums are about.
        reveal : Reveal
        set_changes : int
            The bank's own rule.
        """
        refused = [
            account
            for account in map(self.account, keys)
            if not account.allows(reveal, set_changes=set_changes)
        ]
        if not refused:
            return None
        account = max(refused, key=lambda one: one.changes)
        earlier = min(
            (one.members for one in account.reveals if one.members != reveal.members),
            key=lambda members: len(set(members) ^ set(reveal.members)),
        )
        without = _names(set(earlier) - set(reveal.members))
        added = _names(set(reveal.members) - set(earlier))
        change = " and ".join(
            text
            for text in (without and f"without {without}", added and f"with {added} besides")
            if text
        )
        return (
            f"run {reveal.run_id}: generation {reveal.generation} is of "
            f"{_names(reveal.members)}: {change} compared with a set that this bank has revealed "
            "sums over the same rows or days with; the difference would show single banks, and "
            f"set_changes = {set_changes} ([rules] of bank.toml) is used up ({account.changes})"
        )

    def note(self, keys: Sequence[str], reveal: Reveal, *, set_changes: int) -> None:
        """Note a reveal; it survives a crash of the machine when this returns.

        What is noted already costs nothing and is not written again.

        Raises
        ------
        CohortError
            If it cannot be paid for: nothing is noted, and nothing may be revealed.
        StateError
            If the file cannot be written, or was changed by another program.
        """
        refusal = self.refusal(keys, reveal, set_changes=set_changes)
        if refusal is not None:
            raise CohortError(f"{refusal}; nothing was revealed")
        new = tuple(sorted({key for key in keys if reveal not in self.account(key).reveals}))
        if not new:
            return
        note = _Note(keys=new, reveal=reveal)
        self._file.append(_Kind.NOTE, note.model_dump_json().encode())
        self._add(note)

    def summary(self) -> LedgerSummary:
        """Return how much is used up."""
        accounts = self._accounts.values()
        counted = Counter(account.changes for account in accounts)
        sets = {one.members for account in accounts for one in account.reveals}
        return LedgerSummary(len(sets), dict(sorted(counted.items())))

    def _take(self, content: bytes, *, start: int) -> None:
        """Take a whole record over; refuses what this program never writes."""
        where = f"{self._path}: byte {start}"
        kind, rest = content[:1], content[1:]
        if (kind == bytes([_Kind.SECRET])) != (start == 0):
            raise _RECORD.damaged("it is out of place", source=where)
        if start == 0:
            if len(rest) < _SECRET_BYTES:
                # The message quotes nothing of it.
                raise _RECORD.damaged("its first record is malformed", source=where)
            self._sealed_secret = rest
            return
        if kind != bytes([_Kind.NOTE]):
            raise _RECORD.damaged("it is of an unknown kind", source=where)
        try:
            self._add(_Note.model_validate_json(rest))
        except ValidationError:
            raise _RECORD.damaged("it is no note", source=where) from None

    def _add(self, note: _Note) -> None:
        for key in note.keys:
            self._accounts[key] = self.account(key).with_note(note.reveal)


def _names(members: Iterable[Member]) -> str:
    return ", ".join(sorted(member.name for member in members))
