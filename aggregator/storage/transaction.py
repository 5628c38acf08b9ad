"""What the work of a transaction is given: the connection, and rows as objects where they help."""

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from aggregator.storage.announcement import Announcement
from aggregator.storage.dialect import Dialect


class Transaction:
    """A transaction that is under way; ``Database.transaction`` begins and ends it.

    What every round of a run needs uses the connection: mapping rows to objects takes longer than
    SQLite does. All else uses the session.

    Attributes
    ----------
    connection : Connection
    """

    def __init__(self, connection: Connection, dialect: Dialect, origin: str) -> None:
        self.connection = connection
        self._dialect = dialect
        self._origin = origin
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The session over the connection, made when it is first asked for."""
        if self._session is None:
            if not self.connection.in_transaction():
                # Begun at the database already: the session must not end it as its own.
                self.connection.begin()
            self._session = Session(self.connection)
        return self._session

    def flush(self) -> None:
        """Write what the session holds back, so that what follows on the connection is after it."""
        if self._session is not None:
            self._session.flush()

    def close_session(self) -> None:
        """Let go of the session; the transaction is not its to end."""
        if self._session is not None:
            self._session.close()

    def commit(self) -> None:
        """Commit; for the database only."""
        connection = self.connection
        if connection.in_transaction():
            connection.commit()
            return
        # Statements went to the driver only (``statement``): SQLAlchemy has nothing begun.
        driver = connection.dialect.loaded_dbapi
        try:
            connection.dialect.do_commit(connection.connection)
        except driver.Error as error:
            if connection.dialect.is_disconnect(error, connection.connection, None):
                connection.invalidate(error)
            raise DBAPIError("COMMIT", (), error) from error

    def announce(self, run_id: str, *, version: int = 0, wakes: bool = True) -> None:
        """Tell the other processes, once it is committed, that it changes something about a run.

        Parameters
        ----------
        version : int
            Of the run by the change, 0 if its version stays.
        wakes : bool
            Whether a request may wait for it.
        """
        said = Announcement(self._origin, run_id, version, wakes)
        self._dialect.announce(self.connection, said.to_text())
