"""What a database must be able to do for the aggregator, whichever it is."""

from abc import ABC, abstractmethod
from enum import Enum
from pathlib import Path
from typing import ClassVar

from sqlalchemy import Connection, Engine

from fraudfed.errors import FraudFedError, UnavailableError


class Kind(Enum):
    """Of a transaction."""

    READ = "read"
    """One consistent state, and no change."""
    WRITE = "write"
    """Durable before it returns; excludes every other writer, of any process, from its start."""
    WRITE_BEHIND = "write-behind"
    """Likewise, but durable no later than the next ``WRITE``."""


class Phase(Enum):
    """How far a transaction has come."""

    BEGIN = "begin"
    WORK = "work"
    COMMIT = "commit"
    """Its commit was sent. Without the answer, it may or may not have happened."""


class Dialect(ABC):
    """A kind of database at one place.

    Attributes
    ----------
    name : str
        How messages name the database; never with a password.
    directory : Path
        The service's own directory on this machine.
    is_shared : bool
        Whether several processes may change runs at once.
    keeps_connections : bool
        Whether a connection can wait for its next transaction as it is: nobody else ends it.
    driver_error : type
        Base of all that the driver raises.
    """

    is_shared: ClassVar[bool]
    keeps_connections: ClassVar[bool]
    driver_error: ClassVar[type[Exception]]

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory

    @abstractmethod
    def engines(self) -> dict[Kind, Engine]:
        """Return new engines; several kinds may share one."""

    @abstractmethod
    def prepare(self, engine: Engine) -> None:
        """Set what stays set, in a database that is known to be ours."""

    @abstractmethod
    def begin(self, connection: Connection, kind: Kind) -> None:
        """Begin a transaction; the driver begins none of its own."""

    @abstractmethod
    def require_sound(self, connection: Connection) -> None:
        """Raise what keeps a transaction from being committed as a whole."""

    @abstractmethod
    def announce(self, connection: Connection, text: str) -> None:
        """Tell the other processes, once the transaction is committed; nothing if not shared."""

    @abstractmethod
    def meaning(self, error: BaseException) -> FraudFedError | None:
        """Return what a driver's error means for the caller, None if it is a defect of ours."""

    @abstractmethod
    def gave_up(self, error: BaseException, kind: Kind, phase: Phase) -> bool:
        """Return whether the database gave a transaction up, and it may be done again.

        Then nothing of it is stored, and nothing of those before it is lost.
        """

    @abstractmethod
    def reason(self, error: BaseException) -> str:
        """Return a driver's error in one line, without a secret."""

    @abstractmethod
    def check_whole(self, connection: Connection) -> None:
        """Raise ``DamagedError`` if the database is damaged in a way that a quick look shows."""


def unavailable() -> UnavailableError:
    """Return what the caller is told; the cause is for the log."""
    return UnavailableError(
        "the aggregator cannot read or write its database at present; send the same request again "
        "later (its operator finds the cause in the log)"
    )
