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
    secret: bytes,
    power_safe: bool = False,
    cache_bytes: int = CACHE_BYTES,
    refill: bool = False,
) -> ArrivalStore:
    """Return an open store, a new one if there is none.

    Parameters
    ----------
    address : str or Path
        A directory, or ``redis://HOST:PORT/NUMBER``, ``rediss://...``, ``unix://...``, or
        ``memory:``, which forgets all with the process.
    terms : StoreTerms
    secret : bytes
        As ``store_secret`` gives it.
    power_safe : bool
        Of a directory: whether a commit waits for the disk.
    cache_bytes : int
        Memory for histories, about.
    refill : bool
        Whether a store that was not filled to the end is emptied; else it is refused.

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
        return MemoryStore(terms, secret=secret)

    def packed(shelf: Shelf) -> PackedStore:
        try:
            return PackedStore(shelf, terms, secret=secret, cache_bytes=cache_bytes, refill=refill)
        except BaseException:
            shelf.close()
            raise

    scheme, has_scheme, _ = str(address).partition("://")
    if has_scheme and scheme in ("redis", "rediss", "unix"):
        from bank_node.serving.store.redis_shelf import RedisShelf

        return packed(RedisShelf(str(address)))
    if has_scheme:
        raise ConfigurationError(
            f"feature store {scheme}://...: unknown kind, expected a directory, redis://, "
            "rediss://, unix:// or memory:; mend the address"
        )
    return packed(SqliteShelf(Path(address), power_safe=power_safe))
