"""Everything that an aggregator keeps, over one database and one audit key."""

from dataclasses import dataclass
from typing import Self

from aggregator.audit import AuditTrail
from aggregator.audit_key import AuditKey
from aggregator.database import Database
from aggregator.handovers import Handovers
from aggregator.key_epochs import KeyEpochs
from aggregator.members import Members
from aggregator.replay import Nonces
from aggregator.run_store import RunStore
from aggregator.tokens import Tokens

__all__ = ["Store"]


@dataclass(frozen=True)
class Store:
    """The repositories of one aggregator. Safe to use from many threads."""

    database: Database
    audit: AuditTrail
    tokens: Tokens
    members: Members
    epochs: KeyEpochs
    nonces: Nonces
    runs: RunStore
    handovers: Handovers

    @classmethod
    def over(cls, database: Database, key: AuditKey) -> Self:
        """Put the repositories over an opened database; ``close`` closes it."""
        audit = AuditTrail(database, key)
        return cls(
            database=database,
            audit=audit,
            tokens=Tokens(database, audit),
            members=Members(database, audit),
            epochs=KeyEpochs(database, audit),
            nonces=Nonces(database),
            runs=RunStore(database, audit),
            handovers=Handovers(database, audit),
        )

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
