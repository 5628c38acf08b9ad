"""A store of packed histories: a bounded cache over a database, and a journal of what is new.

Law: after any end of the process, the store holds every change that was committed, each once. A
commit writes the new changes to the journal, and some histories that have long had theirs; a
history carries the position of its last change, so that after a crash the changes of the journal
take effect just where they are missing.

Nothing is read between the first and the last effect of a change: a database that does not answer
leaves all as it was.
"""

import gc
import logging
import secrets
from itertools import islice, takewhile

from bank_node.serving.store.arrival import ArrivalStore, StoreTerms
from bank_node.serving.store.journal import pack_change, unpack_change
from bank_node.serving.store.packing import (
    HEAD,
    pack_customer,
    pack_entity,
    stored_days,
    unpack_customer,
    unpack_entity,
)
from bank_node.serving.store.sealed_shelf import SealedShelf, StoreKeys
from bank_node.serving.store.shelf import STORE_VERSION, Batch, Shelf
from fraudfed.dtypes import Float32Array
from fraudfed.errors import StateError, UnavailableError
from fraudfed.features.arrivals import ArrivalFeatures, Change, Insertion
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.history import CustomerHistory, EntityHistory
from fraudfed.features.payment import Payment

_log = logging.getLogger(__name__)

#: Memory that histories may take between two commits, about.
CACHE_BYTES = 512 << 20
#: A history is written back when its first unwritten change lies so many changes back: a restart
#: applies about as many again.
JOURNAL_CHANGES = 10_000
#: Most histories that one commit writes back, so that no answer waits for many.
_MOST_WRITTEN = 64
#: Changes that are not committed, at most; more are committed by themselves.
_MOST_PENDING = 2_000
#: Histories that each change makes the store look through for what no window reaches.
_SWEPT_PER_CHANGE = 1
_MOST_SWEPT = 16
#: Histories that come into the cache between two times at which it is told to the garbage
#: collector that it need not look through them: they are in no cycle, and 100,000 take it a second.
_FROZEN_EVERY = 1000


class _Entry:
    """A history in the cache, and how it lies on the shelf."""

    __slots__ = ("days", "history", "parts", "size")

    def __init__(self, history: CustomerHistory | EntityHistory, parts: set[int]) -> None:
        self.history = history
        #: Days of the parts on the shelf.
        self.parts = parts
        #: Days whose part has changed.
        self.days: set[int] = set()
        self.size = _size(history)


class _NotCachedError(Exception):
    """A history would have to be read from the shelf."""


class PackedStore(ArrivalStore):
    """Payments in a database.

    Parameters
    ----------
    shelf : Shelf
    terms : StoreTerms
    secret : bytes
        Of the bank's stores: what is kept is sealed and hashed with keys that follow from it.
    cache_bytes : int
        Memory for histories, about.
    refill : bool
        Whether a store that was not filled to the end is emptied; else it is refused.

    Raises
    ------
    StateError
        If the store is of another version, recipe, risk delay, currency, lateness or secret.
    UnavailableError
        If the database does not answer.
    ConfigurationError, DataError
        As for ``MemoryStore``.
    """

    def __init__(
        self,
        shelf: Shelf,
        terms: StoreTerms,
        *,
        secret: bytes,
        cache_bytes: int = CACHE_BYTES,
        refill: bool = False,
    ) -> None:
        facts = shelf.facts()
        wanted = _facts_of(terms)
        if not facts:
            facts = {**wanted, "id": secrets.token_hex(16), "latest": "0", "position": "0"}
            facts["check"] = StoreKeys(secret, facts["id"]).check
        unfinished = _check(facts, wanted, refill=refill)
        keys = StoreKeys(secret, facts["id"])
        if facts["check"] != keys.check:
            raise StateError(
                "feature store: was made with another secret, expected that of this state "
                "directory; restore serving/store.key from a backup, or fill a new store with "
                "--warm"
            )
        shelf.claim(facts)
        if unfinished:
            shelf.clear()
        self.shelf = SealedShelf(shelf, keys)
        self.warmed_from = facts.get("warmed_from")
        self._cache_bytes = cache_bytes
        self._cache: dict[bytes, _Entry] = {}
        self._cached = self._not_frozen = 0
        self._absent: set[bytes] = set()
        # First change that each history on the shelf lacks, the smallest first.
        self._dirty: dict[bytes, int] = {}
        self._pending: list[tuple[int, Change]] = []
        self._new_payments: dict[bytes, tuple[int, bytes]] = {}
        self._failed = self._only_cached = False
        self._cursor = b""
        super().__init__(terms.builder(histories=self, key=keys.hash_key))
        self._builder.latest = int(facts["latest"])
        self._position = int(facts["position"])
        self._recover()

    @property
    def builder(self) -> ArrivalFeatures:
        """The builder of the recipe, over these histories."""
        return self._builder

    @property
    def position(self) -> int:
        """Number of changes that were ever applied."""
        return self._position

    @property
    def cached_bytes(self) -> int:
        """Memory that histories take, about."""
        return self._cached

    def features_at_once(self, payment: Payment) -> Float32Array | None:
        """Return a payment's features if every history that it asks for is in the cache."""
        if not self._lock.acquire(blocking=False):
            return None
        self._only_cached = True
        try:
            return self._builder.row(payment)
        except _NotCachedError:
            return None
        finally:
            self._only_cached = False
            self._lock.release()

    def find_customer(self, key: bytes) -> CustomerHistory | None:
        """Return a customer's history, or None."""
        entry = self._entry(key, customer=True)
        return None if entry is None else _customer(entry)

    def find_entity(self, key: bytes) -> EntityHistory | None:
        """Return an entity's history, or None."""
        entry = self._entry(key, customer=False)
        return None if entry is None else _entity(entry)

    def change_customer(self, key: bytes) -> CustomerHistory:
        """Return a customer's history, a new one if there is none."""
        entry = self._entry(key, customer=True) or self._new(key, CustomerHistory())
        self._dirty.setdefault(key, self._position)
        return _customer(entry)

    def change_entity(self, key: bytes) -> EntityHistory:
        """Return an entity's history, a new one if there is none."""
        entry = self._entry(key, customer=False) or self._new(key, EntityHistory())
        self._dirty.setdefault(key, self._position)
        return _entity(entry)

    def commit(self) -> None:
        """Return when all that was observed and reported survives the end of this process.

        Raises
        ------
        UnavailableError
            If the database does not take it: it is kept here, and the next commit tries again.
        """
        with self._lock:
            self._commit(most=_MOST_WRITTEN)

    def close(self) -> None:
        """Commit, write every history back, and let go of files and connections."""
        with self._lock:
            try:
                while self._dirty or self._pending:
                    self._commit(most=1000, journal_changes=0)
            finally:
                self.shelf.close()

    def _check_writable(self) -> None:
        if self._failed:
            self._commit(most=0)

    def _find(self, payment: bytes) -> bytes | None:
        if payment in self._new_payments:
            return self._new_payments[payment][1]
        first = self._builder.oldest // SECONDS_PER_DAY
        last = self._builder.latest // SECONDS_PER_DAY
        return self.shelf.find(payment, range(max(first, 0), last + 1))

    def _change(self, change: Change, *, payment: tuple[bytes, int, bytes] | None) -> None:
        # Whatever may fail comes first: the reading.
        self._entry(change.customer, customer=True)
        linked = [key for key, *_ in change.linked] if isinstance(change, Insertion) else []
        for key in (*change.entities, *linked):
            self._entry(key, customer=False)
        self._position += 1
        self._apply(change, self._position)
        self._pending.append((self._position, change))
        if payment is not None:
            key, time, content = payment
            self._new_payments[key] = (time // SECONDS_PER_DAY, content)
        if len(self._pending) >= _MOST_PENDING:
            self._commit(most=_MOST_PENDING)

    def _apply(self, change: Change, position: int) -> None:
        self._builder.apply(change, position=position)
        if isinstance(change, Insertion):
            day = change.time // SECONDS_PER_DAY
            for key in change.entities:
                self._cache[key].days.add(day)
            for key, _, following in change.linked:
                self._cache[key].days |= {day, following // SECONDS_PER_DAY}

    def _recover(self) -> None:
        """Apply what the journal has and the histories lack."""
        count, last = 0, self._position
        for position, data in self.shelf.journal():
            self._position = position
            self._apply(unpack_change(data), position)
            count += 1
        self._position = max(last, self._position)
        if count:
            _log.info("the feature store applied %d changes of its journal", count)

    def _entry(self, key: bytes, *, customer: bool) -> _Entry | None:
        entry = self._cache.pop(key, None)
        if entry is None:
            if key in self._absent:
                return None
            if self._only_cached:
                raise _NotCachedError
            parts = self.shelf.read(key)
            if not parts:
                self._absent.add(key)
                return None
            history = unpack_customer(parts[HEAD]) if customer else unpack_entity(parts)
            return self._hold(key, _Entry(history, set(parts) - {HEAD}))
        # The last is the one used last.
        self._cache[key] = entry
        return entry

    def _new(self, key: bytes, history: CustomerHistory | EntityHistory) -> _Entry:
        self._absent.discard(key)
        return self._hold(key, _Entry(history, set()))

    def _hold(self, key: bytes, entry: _Entry) -> _Entry:
        self._cache[key] = entry
        self._cached += entry.size
        self._not_frozen += 1
        if self._not_frozen >= _FROZEN_EVERY:
            self._not_frozen = 0
            gc.collect()
            gc.freeze()
        return entry

    def _commit(self, *, most: int, journal_changes: int | None = None) -> None:
        if journal_changes is None:
            journal_changes = JOURNAL_CHANGES
        batch = Batch(
            journal=[(position, pack_change(change)) for position, change in self._pending],
            payments=[(day, key, content) for key, (day, content) in self._new_payments.items()],
            days_from=self._builder.oldest // SECONDS_PER_DAY,
        )
        # The histories that wait longest come first.
        due = takewhile(
            lambda item: item[1] <= self._position - journal_changes, self._dirty.items()
        )
        written = [key for key, _ in islice(due, most)]
        evicted = self._least_used()
        written = list(dict.fromkeys([*written, *(key for key in evicted if key in self._dirty)]))
        for key in written:
            self._pack(key, self._cache[key], batch)
        cursor = self._sweep(batch, min(_SWEPT_PER_CHANGE * len(self._pending), _MOST_SWEPT))
        gone = set(written)
        waiting = (position for key, position in self._dirty.items() if key not in gone)
        batch.journal_from = next(waiting, self._position + 1)
        batch.facts = {"latest": str(self._builder.latest), "position": str(self._position)}
        if not (self._pending or written):
            self._forget_clean(evicted)
            return
        try:
            self.shelf.write(batch)
        except UnavailableError:
            if not self._failed:
                _log.exception("the feature store takes no new payments")
            self._failed = True
            raise
        if self._failed:
            _log.warning("the feature store takes payments again")
        self._failed, self._cursor = False, cursor
        self._pending.clear()
        self._new_payments.clear()
        self._absent.clear()
        for key in written:
            entry = self._cache[key]
            del self._dirty[key]
            entry.days.clear()
            if isinstance(entry.history, EntityHistory):
                entry.parts = set(stored_days(entry.history))
            self._cached -= entry.size
            entry.size = _size(entry.history)
            self._cached += entry.size
        self._forget_clean(evicted)

    def _least_used(self) -> list[bytes]:
        evicted, size = [], self._cached
        for key, entry in self._cache.items():
            if size <= self._cache_bytes:
                break
            size -= entry.size
            evicted.append(key)
        return evicted

    def _forget_clean(self, keys: list[bytes]) -> None:
        for key in keys:
            if key not in self._dirty:
                self._cached -= self._cache.pop(key).size

    def _pack(self, key: bytes, entry: _Entry, batch: Batch) -> None:
        history = entry.history
        if isinstance(history, CustomerHistory):
            batch.parts.append((key, HEAD, pack_customer(history)))
            return
        days = stored_days(history)
        whole = not entry.parts
        parts = pack_entity(history, days=None if whole else entry.days.intersection(days))
        batch.parts += [(key, part, data) for part, data in parts.items()]
        batch.dropped += [(key, day) for day in entry.parts.difference(days)]

    def _sweep(self, batch: Batch, count: int) -> bytes:
        """Drop what no window reaches from some histories that nothing has changed for long."""
        if count == 0 or self._failed:
            return self._cursor
        cursor, keys = self.shelf.after(self._cursor, count)
        for key in keys:
            if key in self._cache:
                continue
            parts = self.shelf.read(key)
            if parts[HEAD][:1] != b"e":
                customer = unpack_customer(parts[HEAD])
                before = len(customer.times) + len(customer.places) + len(customer.reports)
                self._builder.forget_customer(customer)
                if len(customer.times) + len(customer.places) + len(customer.reports) < before:
                    batch.parts.append((key, HEAD, pack_customer(customer)))
                continue
            entity = unpack_entity(parts)
            before = len(entity.times) + len(entity.frauds)
            self._builder.forget_entity(entity)
            if entity.is_empty and not self._builder.keeps(entity):
                batch.dropped += [(key, part) for part in parts]
            elif len(entity.times) + len(entity.frauds) < before:
                packed = pack_entity(entity, days=None)
                batch.parts += [(key, part, data) for part, data in packed.items()]
                batch.dropped += [(key, part) for part in parts if part not in packed]
        return cursor


def _customer(entry: _Entry) -> CustomerHistory:
    if not isinstance(entry.history, CustomerHistory):
        raise TypeError("an entity where a customer was asked for")
    return entry.history


def _entity(entry: _Entry) -> EntityHistory:
    if not isinstance(entry.history, EntityHistory):
        raise TypeError("a customer where an entity was asked for")
    return entry.history


def _size(history: CustomerHistory | EntityHistory) -> int:
    """Return about how many bytes a history takes in memory, in CPython 3.11."""
    if isinstance(history, EntityHistory):
        return 600 + 17 * len(history.times) + 32 * len(history.frauds)
    return 1300 + 23 * len(history.times) + 110 * len(history.met) + 200 * len(history.places)


def _facts_of(terms: StoreTerms) -> dict[str, str]:
    return {
        "version": STORE_VERSION,
        "recipe": terms.recipe,
        "risk_delay_days": str(terms.risk_delay_days),
        "currency": terms.currency.code if terms.currency is not None else "as given",
        "allowed_lateness_seconds": str(terms.allowed_lateness_seconds),
    }


def _check(facts: dict[str, str], wanted: dict[str, str], *, refill: bool) -> bool:
    """Return whether the store was not filled to the end; raise StateError if it is no use."""
    unfinished = facts.get("filling") == "yes"
    if unfinished and not refill:
        raise StateError(
            "feature store: filling it was interrupted, expected a whole one; start again with "
            "the same --warm FILE, which fills it from the beginning"
        )
    for name, value in wanted.items():
        if facts.get(name) != value:
            raise StateError(
                f"feature store: {name} is {facts.get(name)!r}, expected {value!r}; open it with "
                "what it was made for, or fill a new store with --warm"
            )
    return unfinished
