"""Everything that an aggregator keeps, over one database and one audit key."""

from dataclasses import dataclass
from typing import Self

from aggregator.audit.key import AuditKey
from aggregator.audit.log import AuditTrail
from aggregator.consortium.confirmations import Confirmations
from aggregator.consortium.key_epochs import KeyEpochs
from aggregator.consortium.members import Members
from aggregator.consortium.replay import Nonces
from aggregator.consortium.tokens import Tokens
from aggregator.runs.handovers import Handovers
from aggregator.runs.store import RunStore
from aggregator.storage.database import Database


@dataclass(frozen=True)
class Store:
    """The repositories of one aggregator. Safe to use from many threads."""

    database: Database
    audit: AuditTrail
    tokens: Tokens
    confirmations: Confirmations
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
            confirmations=Confirmations(database, audit),
            members=Members(database, audit),
            epochs=KeyEpochs(database, audit),
            nonces=Nonces(database),
            runs=RunStore(database, audit),
            handovers=Handovers(database, audit),
        )

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
