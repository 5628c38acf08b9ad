"""Banks with keys of their own that have agreed to a generation, without any server."""

from pathlib import Path

from bank_node.config import CohortRules
from bank_node.run.agreeing import local_sha256
from bank_node.state.agreement import Agreement, Agreements
from bank_node.vault.vault import PlainVault
from fraudfed.consortium.ephemeral import EphemeralKey
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.public.generations import sign_ephemeral_key, sign_handover
from fraudfed.wire.messages import Generation, MemberKeys, ReadyBank

EPOCH = 1


class AgreeingBanks:
    """The banks of one key epoch, and their ephemeral keys of each generation of a run."""

    def __init__(self, names: tuple[str, ...], run_id: str) -> None:
        self.names, self.run_id = names, run_id
        self.identities = {name: Identity.generate() for name in names}
        self._keys: dict[tuple[str, int], EphemeralKey] = {}

    @property
    def roster(self) -> tuple[MemberKeys, ...]:
        return tuple(self.identities[name].member(name) for name in self.names)

    def key(self, name: str, generation: int) -> EphemeralKey:
        """Return a bank's key of a generation, the same each time."""
        return self._keys.setdefault((name, generation), EphemeralKey.generate(b""))

    def answer(
        self, name: str, generation: int, *, step: int = 0, more_rows: int = 0, key: str = ""
    ) -> ReadyBank:
        """Return what a bank says to a generation, signed by it."""
        key = key or self.key(name, generation).public
        return ReadyBank(
            bank=name,
            step=step,
            more_rows=more_rows,
            key=key,
            signature=self.signature(name, generation, key),
        )

    def signature(self, name: str, generation: int, key: str) -> str:
        identity = self.identities[name]
        return sign_ephemeral_key(
            identity, run_id=self.run_id, epoch=EPOCH, generation=generation, bank=name, key=key
        )

    def all_ready(self, told: Generation, *, more_rows: dict[str, int] | None = None) -> Generation:
        """Return a generation that has begun: all of its banks have agreed to it."""
        rows = more_rows or {}
        ready = tuple(
            self.answer(
                name,
                told.number,
                step=0 if name in told.entrants else told.first_step,
                more_rows=rows.get(name, 0),
            )
            for name in told.banks
            if name in self.identities
        )
        return told.model_copy(update={"ready": ready})

    def agreements(self, directory: Path, name: str) -> Agreements:
        """Return what a bank keeps in ``directory``."""
        return Agreements(
            directory / f"{name}.agreement", run_id=self.run_id, bank=name, vault=PlainVault()
        )

    def agree(
        self,
        agreements: Agreements,
        told: Generation,
        name: str,
        *,
        data_sha256: str,
        rules: CohortRules,
    ) -> None:
        """Let a bank have said to a generation what it is told, with ``key``; once."""
        if agreements.last is not None and agreements.last.generation >= told.number:
            return
        mine = next(one for one in told.ready if one.bank == name)
        key = self.key(name, told.number)
        if name in told.entrants:
            agreements.ask(told.number - 1)
        agreements.agree(
            Agreement(
                generation=told.number,
                banks=told.banks,
                step=mine.step,
                more_rows=mine.more_rows,
                local_sha256=local_sha256(data_sha256, rules),
                key=key,
                signature=self.signature(name, told.number, key.public),
            )
        )

    def handover_signature(self, name: str, told: Generation, sha256: str) -> str:
        """Return a bank's signature over what it hands to the entrants."""
        return sign_handover(
            self.identities[name],
            run_id=self.run_id,
            epoch=EPOCH,
            generation=told.number,
            step=told.first_step,
            sha256=sha256,
        )
