"""Open the store that an address names."""

from pathlib import Path

from bank_node.serving.store.arrival import ArrivalStore, StoreTerms
from bank_node.serving.store.memory import MemoryStore
from bank_node.serving.store.packed import CACHE_BYTES, PackedStore
from bank_node.serving.store.shelf import Shelf
from bank_node.serving.store.sqlite_shelf import SqliteShelf
from fraudfed.errors import ConfigurationError

MEMORY = "memory:"


def open_store(
    address: str | Path,
    terms: StoreTerms,
    *,
    power_safe: bool = False,
    cache_bytes: int = CACHE_BYTES,
) -> ArrivalStore:
    """Return an open store, a new one if there is none.

    Parameters
    ----------
    address : str or Path
        A directory, or ``redis://HOST:PORT/NUMBER``, ``rediss://...``, ``unix://...``, or
        ``memory:``, which forgets all with the process.
    terms : StoreTerms
    power_safe : bool
        Of a directory: whether a commit waits for the disk.
    cache_bytes : int
        Memory for histories, about.

    Raises
    ------
    ConfigurationError
        If the address is of another kind, or Redis is not installed.
    StateError
        If the store cannot be used, is used by another process, or was made for other terms.
    UnavailableError
        If it does not answer.
    DataError
        If the risk tables have another risk delay.
    """
    # What cannot work is refused before a directory is made.
    terms.builder()
    if address == MEMORY:
        return MemoryStore(terms)
    scheme, has_scheme, _ = str(address).partition("://")
    if has_scheme and scheme in ("redis", "rediss", "unix"):
        from bank_node.serving.store.redis_shelf import RedisShelf

        return _packed(RedisShelf(str(address)), terms, cache_bytes)
    if has_scheme:
        raise ConfigurationError(
            f"feature store {scheme}://...: unknown kind, expected a directory, redis://, "
            "rediss://, unix:// or memory:; mend the address"
        )
    return _packed(SqliteShelf(Path(address), power_safe=power_safe), terms, cache_bytes)


def _packed(shelf: Shelf, terms: StoreTerms, cache_bytes: int) -> PackedStore:
    try:
        return PackedStore(shelf, terms, cache_bytes=cache_bytes)
    except BaseException:
        shelf.close()
        raise
