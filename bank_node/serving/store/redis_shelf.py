"""The parts of a packed store in Redis, in database NUMBER of ``redis://HOST:PORT/NUMBER``.

Durability is that of the server: with ``appendonly yes`` and ``appendfsync everysec`` the end of
any process loses nothing, and a loss of power up to a second. One process writes; a commit that
finds another writer's position, or an emptied server, refuses to continue.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from bank_node.serving.store.shelf import Batch
from fraudfed.errors import ConfigurationError, StateError, UnavailableError

T = TypeVar("T")

#: A server that takes longer is one that does not answer: the deadline of a request is 50 ms.
TIMEOUT_SECONDS = 0.025
_FACTS, _JOURNAL = "fraudfed:facts", "fraudfed:journal"
_HISTORY, _PAYMENTS = b"fraudfed:h:", "fraudfed:p:"

#: Takes all of a batch if the store is as its writer left it: of that writer, at its last position
#: or at the batch's own, where the answer to the same batch was lost.
_WRITE = """
local writer = redis.call('HGET', KEYS[1], 'writer') or ''
local position = redis.call('HGET', KEYS[1], 'position') or ''
if writer ~= ARGV[1] or (position ~= ARGV[2] and position ~= ARGV[3]) then return 0 end
local i = 4
while i <= #ARGV do
    local count = tonumber(ARGV[i + 1])
    redis.call(ARGV[i], unpack(ARGV, i + 2, i + 1 + count))
    i = i + 2 + count
end
return 1
"""


class RedisShelf:
    """Parts on a Redis server, version 6 or later.

    Parameters
    ----------
    url : str
    timeout_seconds : float
        Of connecting and of every answer.

    Raises
    ------
    ConfigurationError
        If the client is not installed, or the URL is wrong.
    """

    #: More would take the server longer than it has for an answer.
    parts_at_once = 500

    def __init__(self, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise ConfigurationError(
                "feature store redis://...: the client for Redis is not installed, expected the "
                "extra 'redis'; install fraudfed[redis]"
            ) from None
        try:
            self._redis: Any = redis.Redis.from_url(
                url,
                socket_timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise ConfigurationError(
                f"feature store redis://...: {error}, expected redis://HOST:PORT/NUMBER; mend the "
                "address"
            ) from error
        self._error = redis.RedisError
        self._script = self._redis.register_script(_WRITE)
        self._position = self._writer = ""

    def facts(self) -> dict[str, str]:
        """Return what is known of the store as a whole."""
        found = self._ask(lambda: self._redis.hgetall(_FACTS))
        return {bytes(name).decode(): bytes(value).decode() for name, value in found.items()}

    def claim(self, facts: Mapping[str, str]) -> None:
        """Make this process the only one that writes."""
        self._writer, self._position = secrets.token_hex(16), facts["position"]
        self._ask(lambda: self._redis.hset(_FACTS, mapping={**facts, "writer": self._writer}))

    def read(self, key: bytes) -> Mapping[int, bytes]:
        """Return the parts of a history."""
        found = self._ask(lambda: self._redis.hgetall(_HISTORY + key))
        return {int(part): bytes(data) for part, data in found.items()}

    def find(self, payment: bytes, days: Sequence[int]) -> bytes | None:
        """Return the content of a payment that was observed on one of these UTC days."""

        def search() -> Any:
            pipeline = self._redis.pipeline(transaction=False)
            for day in days:
                pipeline.hget(f"{_PAYMENTS}{day}", payment)
            return pipeline.execute()

        found = (content for content in self._ask(search) if content is not None)
        return next((bytes(content) for content in found), None)

    def journal(self) -> Iterator[tuple[int, bytes]]:
        """Return the changes that are kept, in order."""
        found = self._ask(lambda: self._redis.zrange(_JOURNAL, 0, -1, withscores=True))
        for data, position in found:
            yield int(position), bytes(data).partition(b"\0")[2]

    def after(self, cursor: bytes, count: int) -> tuple[bytes, list[bytes]]:
        """Return some keys after a cursor, and the next cursor."""
        following, names = self._ask(
            lambda: self._redis.scan(int(cursor or b"0"), match=_HISTORY + b"*", count=count)
        )
        keys = [bytes(name)[len(_HISTORY) :] for name in names]
        return (b"" if following == 0 else str(following).encode(), keys)

    def write(self, batch: Batch) -> None:
        """Keep all of a batch, or nothing of it.

        Raises
        ------
        StateError
            If the store is not as it was left: emptied, or with another writer.
        """
        position_after = batch.facts.get("position", self._position)
        arguments: list[Any] = [self._writer, self._position, position_after]

        def add(*command: Any) -> None:
            arguments.extend([command[0], len(command) - 1, *command[1:]])

        for key, part in batch.dropped:
            add("HDEL", _HISTORY + key, part)
        for key, part, data in batch.parts:
            add("HSET", _HISTORY + key, part, data)
        for position, data in batch.journal:
            # Two changes of the same content are two members.
            add("ZADD", _JOURNAL, position, str(position).encode() + b"\0" + data)
        for day, key, content in batch.payments:
            add("HSET", f"{_PAYMENTS}{day}", key, content)
        add("ZREMRANGEBYSCORE", _JOURNAL, "-inf", f"({batch.journal_from}")
        # Days go one by one, as time goes on; a jump leaves nothing for long.
        for day in range(batch.days_from - 3, batch.days_from):
            add("DEL", f"{_PAYMENTS}{day}")
        for name, value in batch.facts.items():
            add("HSET", _FACTS, name, value)
        if not self._ask(lambda: self._script(keys=[_FACTS], args=arguments)):
            raise StateError(
                "feature store in Redis: is not as this process left it, expected to be its only "
                "writer and all of its data there; stop the other process or fill it with --warm, "
                "then start again"
            )
        self._position = position_after

    def clear(self) -> None:
        """Drop everything but what is known of the store as a whole."""

        def drop() -> None:
            for names in (_HISTORY + b"*", f"{_PAYMENTS}*", _JOURNAL):
                for name in self._redis.scan_iter(names, count=1000):
                    self._redis.unlink(name)

        self._ask(drop)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _ask(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except self._error as error:
            raise UnavailableError(
                f"feature store in Redis: does not answer ({type(error).__name__}: "
                f"{str(error)[:120]}), expected an answer within milliseconds; start the server or "
                "mend the address"
            ) from error
