"""What this bank agreed to last: with which banks, from where, and under which ephemeral key.

One file for each run, written before anything of it is sent. It decides after every new start, and
whatever the aggregator says, with which generation this bank may compute: the last one that it
agreed to, and none before. The private key is in it until the next generation is agreed to, or the
run has ended for this bank. An older copy of the file leads to no second contribution under known
masks: the others know another key of this bank by then, or it computes from what it did before.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from bank_node.vault.vault import Vault
from fraudfed.consortium.ephemeral import EphemeralKey
from fraudfed.container import Container
from fraudfed.durable_file import make_durable, remove_leftovers, write_atomic
from fraudfed.errors import StateError

_FILE = Container(
    magic=b"FFAGREED",
    version=1,
    what="an agreement to a generation",
    advice="restore the file if it is the very newest copy, or ask the operator to drop this bank "
    "and start it again without the directory of the run",
)


@dataclass(frozen=True)
class Agreement:
    """What a bank agreed to.

    Attributes
    ----------
    generation : int
    banks : tuple of str
        Of the generation, as this bank was told then.
    step, more_rows : int
        What it said: ``Ready``.
    local_sha256 : str
        Of all that its contributions depend on: data, own rules and release.
    key : EphemeralKey or None
        None once the run has ended for this bank.
    signature : str
        This bank's over the public key, hexadecimal.
    keys : tuple of pairs of str
        Names and public keys of all banks, in their order; empty until the generation has begun.
    earlier : tuple of tuples of str
        Banks of the generations that it agreed to before, since its newest checkpoint then.
    """

    generation: int
    banks: tuple[str, ...]
    step: int
    more_rows: int
    local_sha256: str
    key: EphemeralKey | None
    signature: str
    keys: tuple[tuple[str, str], ...] = ()
    earlier: tuple[tuple[str, ...], ...] = ()


class _Kept(BaseModel):
    """What is in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    run_id: str
    bank: str
    asked: int | None
    generation: int | None = None
    banks: tuple[str, ...] = ()
    step: int = 0
    more_rows: int = 0
    local_sha256: str = ""
    secret: str | None = None
    signature: str = ""
    keys: tuple[tuple[str, str], ...] = ()
    earlier: tuple[tuple[str, ...], ...] = ()


class Agreements:
    """The last agreement of a bank in a run. The caller holds the state directory's lock.

    Law: after ``agree`` no earlier agreement is ever returned again, nor its key.

    Parameters
    ----------
    path : Path
        Made when it is first written.
    run_id, bank : str
        Whose agreement it is: any other is refused.
    vault : Vault
        Seals and opens the file.

    Raises
    ------
    StateError
        If the file cannot be read, is damaged, foreign, or of a newer release.
    KeyMaterialError
        If it does not open.
    """

    def __init__(self, path: Path, *, run_id: str, bank: str, vault: Vault) -> None:
        self._path = path
        self._vault = vault
        self._run_id = run_id
        self._bank = bank
        self._last: Agreement | None = None
        self._asked: int | None = None
        remove_leftovers(path)
        # The program before may have been killed within its sync; what is found is sent again.
        make_durable(path)
        try:
            data = path.read_bytes() if path.exists() else None
        except OSError as error:
            raise StateError(
                f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
            ) from error
        if data is not None:
            self._take(data)

    @property
    def last(self) -> Agreement | None:
        """The last generation that this bank agreed to; None before the first."""
        return self._last

    @property
    def asked(self) -> int | None:
        """Number of the generation, without this bank, in which it asked to be let in."""
        return self._asked

    def of(self, generation: int) -> tuple[Agreement, EphemeralKey]:
        """Return the agreement to a generation that has begun, and its key.

        Raises
        ------
        StateError
            If another one is the last, or the key is erased.
        """
        last = self._last
        if last is None or last.generation != generation:
            known = "no generation" if last is None else f"generation {last.generation}"
            raise StateError(
                f"run {self._run_id}: generation {generation} is to be computed with, this bank "
                f"has agreed to {known} last; nothing was sent: restore the newest copy of the "
                "state directory, or ask the operator to drop this bank and start it again"
            )
        if last.key is None:
            raise StateError(
                f"run {self._run_id}: this bank has ended its part in generation {generation} and "
                "erased its key; nothing was sent: ask the operator to drop this bank and start it "
                "again, or for a new run"
            )
        return last, last.key

    def agree(self, agreement: Agreement) -> None:
        """Keep a new agreement, and forget the key of the one before.

        It survives a crash of the machine when this returns; it may be sent then.

        Raises
        ------
        ValueError
            If it is not to a later generation.
        StateError
            If it cannot be written: nothing may be sent.
        """
        if self._last is not None and agreement.generation <= self._last.generation:
            raise ValueError(
                f"agreement to generation {agreement.generation} after one to generation "
                f"{self._last.generation}"
            )
        self._save(agreement, self._asked)

    def begin(self, keys: tuple[tuple[str, str], ...]) -> None:
        """Keep the keys of all banks of the generation last agreed to, which has begun.

        Raises
        ------
        StateError
            If it cannot be written.
        """
        if self._last is None:
            raise ValueError("no generation was agreed to")
        self._save(replace(self._last, keys=keys), self._asked)

    def ask(self, generation: int) -> None:
        """Note that this bank asks to be let in, before it does.

        Parameters
        ----------
        generation : int
            The current one, which this bank does not take part in.

        Raises
        ------
        StateError
            If it cannot be written: nothing may be asked.
        """
        if self._asked != generation:
            self._save(self._last, generation)

    def end(self) -> None:
        """Erase the key: the run has ended for this bank. What it agreed to is remembered.

        Raises
        ------
        StateError
            If it cannot be written.
        """
        if self._last is not None and self._last.key is not None:
            self._save(replace(self._last, key=None), self._asked)

    @property
    def _name(self) -> str:
        """What the vault knows the file by."""
        return f"runs/{self._run_id}/{self._path.name}"

    def _save(self, last: Agreement | None, asked: int | None) -> None:
        kept = _Kept(run_id=self._run_id, bank=self._bank, asked=asked)
        if last is not None:
            kept = kept.model_copy(
                update={
                    "generation": last.generation,
                    "banks": last.banks,
                    "step": last.step,
                    "more_rows": last.more_rows,
                    "local_sha256": last.local_sha256,
                    "secret": None if last.key is None else last.key.expose_secret().hex(),
                    "signature": last.signature,
                    "keys": last.keys,
                    "earlier": last.earlier,
                }
            )
        data = _FILE.pack(kept.model_dump_json().encode())
        write_atomic(self._path, self._vault.seal(self._name, data))
        self._last, self._asked = last, asked

    def _take(self, data: bytes) -> None:
        data = self._vault.unseal(self._name, data)
        content = _FILE.unpack(data, source=str(self._path))
        try:
            kept = _Kept.model_validate_json(content)
            secret = kept.secret
            key = None if secret is None else EphemeralKey.of_secret(bytes.fromhex(secret))
        except (ValidationError, ValueError):
            # What is in the file is secret: the message quotes nothing of it.
            raise _FILE.damaged("a field is malformed", source=str(self._path)) from None
        for name, expected in (("run_id", self._run_id), ("bank", self._bank)):
            if getattr(kept, name) != expected:
                raise StateError(
                    f"{self._path}: foreign: its {name} is {getattr(kept, name)!r}, expected "
                    f"{expected!r}; {_FILE.advice}"
                )
        self._asked = kept.asked
        if kept.generation is not None:
            self._last = Agreement(
                generation=kept.generation,
                banks=kept.banks,
                step=kept.step,
                more_rows=kept.more_rows,
                local_sha256=kept.local_sha256,
                key=key,
                signature=kept.signature,
                keys=kept.keys,
                earlier=kept.earlier,
            )
