"""Opening a bank's identity and its signed, logged connection to the aggregator."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bank_node.http.client import AggregatorClient
from bank_node.http.retry import RetryPolicy
from bank_node.http.transport import Caller
from bank_node.state.directory import StateDirectory
from fraudfed.consortium.identity import Identity
from fraudfed.errors import KeyMaterialError, StateError

#: Anything longer is another kind of file.
_LONGEST_PASSPHRASE_BYTES = 4096


@dataclass(frozen=True)
class Connection:
    """A bank that can sign, and its way to the aggregator."""

    identity: Identity
    client: AggregatorClient


@contextlib.contextmanager
def connect(
    state: StateDirectory, passphrase: str | None, *, retry: RetryPolicy | None = None
) -> Iterator[Connection]:
    """Open the connection of a bank.

    Raises
    ------
    KeyMaterialError
        If the identity cannot be read, or is not the one that ``bank.toml`` names.
    StateError
        If the bank is not registered.
    """
    config = state.config
    if not config.registered:
        raise StateError(
            f"{state.path}: this bank is not registered yet; run 'bank-node join --state "
            f"{state.path} --name {config.name} --aggregator {config.aggregator} --invite CODE'"
        )
    with open_connection(state, passphrase, retry=retry) as connection:
        yield connection


@contextlib.contextmanager
def open_connection(
    state: StateDirectory, passphrase: str | None, *, retry: RetryPolicy | None = None
) -> Iterator[Connection]:
    """Open the connection of a bank, registered or not; raises KeyMaterialError as ``connect``."""
    config = state.config
    state.unlock(passphrase)
    identity = state.identity()
    public = identity.public
    if (public.signing_key, public.agreement_key) != (config.signing_key, config.agreement_key):
        raise KeyMaterialError(
            f"{state.path}: identity.key holds other keys than bank.toml names; restore both from "
            "the same backup"
        )
    caller = Caller(config.name, identity, state.audit_log(identity))
    with AggregatorClient(config.aggregator, caller=caller, tls=config.tls, retry=retry) as client:
        yield Connection(identity, client)


def read_passphrase(path: Path | None) -> str | None:
    """Return the first line of a file; None without a file.

    Raises
    ------
    KeyMaterialError
        If the file cannot be read, or its first line is empty.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST_PASSPHRASE_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise KeyMaterialError(
            f"{path}: passphrase file cannot be read ({reason}); name a text file with the "
            "passphrase in its first line"
        ) from None
    passphrase = line.rstrip("\r\n")
    if not passphrase:
        raise KeyMaterialError(f"{path}: the first line is empty, expected the passphrase")
    return passphrase
