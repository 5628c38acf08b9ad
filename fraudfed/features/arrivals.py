"""Build features for one payment at a time, from payments and reports as they arrive.

Law: for payments and reports in any order of arrival, the row of a payment equals, to the last bit,
that of a batch over everything that had arrived by then. A payment takes effect at its own second,
wherever that lies within the allowed lateness before the latest second that was seen.

A builder of one recipe finds what a payment changes (``insertion``) apart from changing it
(``apply``), so that a store can write the change down first, and apply it again after a crash: a
history that has had the change says so by its ``position``.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol, TypeAlias

import numpy as np

from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features.currency import AmountConverter, payment_in_currency
from fraudfed.features.formulas import SECONDS_PER_DAY, FeatureColumns
from fraudfed.features.history import NEVER, CustomerHistory, EntityHistory, Place
from fraudfed.features.own_columns import own_row
from fraudfed.features.payment import Payment
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.features.table import feature_schema
from fraudfed.wire.messages import Currency, FeatureSpec

#: Bytes of a key. Among 10^9 keys two are alike with probability 1.5 * 10^-21 (n^2 / 2^129).
KEY_BYTES = 16


class Histories(Protocol):
    """Where the histories of all keys are."""

    def find_customer(self, key: bytes) -> CustomerHistory | None:
        """Return what is remembered of a customer, or None. It is not to be changed."""
        ...

    def find_entity(self, key: bytes) -> EntityHistory | None:
        """Return what is remembered of an entity, or None. It is not to be changed."""
        ...

    def change_customer(self, key: bytes) -> CustomerHistory:
        """Return a customer's history, a new one if there is none, to be changed."""
        ...

    def change_entity(self, key: bytes) -> EntityHistory:
        """Return an entity's history, a new one if there is none, to be changed."""
        ...


class HeldHistories:
    """Histories in memory."""

    def __init__(self) -> None:
        self.customers: dict[bytes, CustomerHistory] = {}
        self.entities: dict[bytes, EntityHistory] = {}

    def find_customer(self, key: bytes) -> CustomerHistory | None:
        """Return a customer's history, or None."""
        return self.customers.get(key)

    def find_entity(self, key: bytes) -> EntityHistory | None:
        """Return an entity's history, or None."""
        return self.entities.get(key)

    def change_customer(self, key: bytes) -> CustomerHistory:
        """Return a customer's history, a new one if there is none."""
        return self.customers.setdefault(key, CustomerHistory())

    def change_entity(self, key: bytes) -> EntityHistory:
        """Return an entity's history, a new one if there is none."""
        return self.entities.setdefault(key, EntityHistory())


@dataclass(frozen=True, slots=True)
class Insertion:
    """What a payment changes.

    Attributes
    ----------
    customer : bytes
        Key.
    time, amount, kind : int
        As ``CustomerHistory`` has them.
    other : bytes or None
        Key of the other side.
    met : tuple of bytes
        Keys of what the customer met, the other side among them.
    place : Place or None
    entities : tuple of bytes
        Keys of what counts the payment.
    linked : tuple of (bytes, int, int)
        Key of what counts the customer too, and the customer's payments there before and after.
    """

    customer: bytes
    time: int
    amount: int
    kind: int
    other: bytes | None
    met: tuple[bytes, ...]
    place: Place | None
    entities: tuple[bytes, ...]
    linked: tuple[tuple[bytes, int, int], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What the report of a fraud changes.

    Attributes
    ----------
    customer : bytes
        Key.
    payment : bytes
        Key of the payment.
    counts_from : int
        UTC epoch seconds.
    own : bool
        Whether the customer made the payment.
    entities : tuple of bytes
        Keys of what counts the fraud.
    """

    customer: bytes
    payment: bytes
    counts_from: int
    own: bool
    entities: tuple[bytes, ...]


Change: TypeAlias = Insertion | Report


class ArrivalFeatures(ABC):
    """Features of one recipe in the order of arrival.

    Parameters
    ----------
    recipe : str
    lookback_seconds : int
        Payments further back than this from the oldest second that may be asked for count no more.
    longest_seconds : int
        The same for reports: width of the longest window.
    risk_delay_days : int
    shared : SharedRisk or None
    own_columns : sequence of FeatureSpec
    currency : Currency or None
        All as for ``build_features``.
    allowed_lateness_seconds : int
    histories : Histories or None
        None: in memory.
    key : bytes
        Keys of histories are keyed hashes with it.
    keeps_first : bool
        Whether the recipe asks when an account was first paid, however long ago that is.

    Raises
    ------
    DataError
        If ``shared`` has another risk delay.
    ValueError
        If ``risk_delay_days`` or ``allowed_lateness_seconds`` is negative.
    """

    def __init__(
        self,
        recipe: str,
        *,
        lookback_seconds: int,
        longest_seconds: int,
        risk_delay_days: int,
        shared: SharedRisk | None,
        own_columns: Sequence[FeatureSpec],
        currency: Currency | None,
        allowed_lateness_seconds: int,
        histories: Histories | None,
        key: bytes,
        keeps_first: bool,
    ) -> None:
        if allowed_lateness_seconds < 0:
            raise ValueError(
                f"allowed_lateness_seconds is {allowed_lateness_seconds}, expected 0 or more"
            )
        if shared is not None:
            shared.check_delay(risk_delay_days)
        self.recipe = recipe
        self.lookback_seconds = lookback_seconds
        self.longest_seconds = longest_seconds
        self.delay_seconds = risk_delay_days * SECONDS_PER_DAY
        self._shared = shared
        self._own = tuple(own_columns)
        self._converter = None if currency is None else AmountConverter(currency)
        self.lateness_seconds = allowed_lateness_seconds
        self._names = feature_schema(recipe, shared=shared is not None, own_columns=self._own).names
        self._index = {name: i for i, name in enumerate(self._names)}
        self._held = HeldHistories()
        self._histories: Histories = self._held if histories is None else histories
        self.key = key
        # To copy it takes half the time of a new one with a key.
        self._keyed = blake2b(digest_size=KEY_BYTES, key=key)
        self._keeps_first = keeps_first
        #: Latest second that was seen.
        self.latest = 0
        self._seen: dict[str, int] = {}
        self._seen_from = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the vectors."""
        return self._names

    def use_shared(self, shared: SharedRisk) -> None:
        """Use other risk tables from now on.

        Raises
        ------
        DataError
            If they have another risk delay.
        ConfigurationError
            If the builder has had none: then the features have no place for theirs.
        """
        if self._shared is None:
            raise ConfigurationError(
                "risk tables: got some for features that were opened without, expected a model "
                "that is trained on them; open the store for that model"
            )
        shared.check_delay(self.delay_seconds // SECONDS_PER_DAY)
        self._shared = shared

    @property
    def oldest(self) -> int:
        """First second that may still be asked for and inserted at."""
        return self.latest - self.lateness_seconds

    @property
    def oldest_kept(self) -> int:
        """First second that a window may still reach."""
        return self.oldest - self.lookback_seconds

    @property
    def n_remembered(self) -> int:
        """Number of payments in memory that a window may still reach, reports left out."""
        return sum(
            len(customer.times) - bisect_left(customer.times, self.oldest_kept)
            for customer in self._held.customers.values()
        )

    def features(self, payment: Payment) -> Float32Array:
        """Return the payment's features as of its second; it is not remembered, but its second is.

        Parameters
        ----------
        payment : Payment
            As ``check_transactions`` would accept it.

        Returns
        -------
        ndarray of shape (n_features,), dtype=float32
            NaN is missing.

        Raises
        ------
        DataError
            As ``row``.
        """
        self._check_direction(payment)
        self.check_time(payment)
        self.latest = max(self.latest, payment.event_time)
        return self.row(payment)

    def observe(self, payment: Payment) -> None:
        """Remember a payment; later seconds see it.

        Raises
        ------
        DataError
            If its second is before all that may still be asked for, its ``transaction_id`` was
            observed, or its amount has no rate.
        """
        self.check_time(payment)
        insertion = self.insertion(payment)
        if payment.transaction_id in self._seen:
            raise DataError(
                f"transaction {payment.transaction_id!r}: observed before, expected each payment "
                "once; leave the repeated one out"
            )
        self.latest = max(self.latest, payment.event_time)
        self._seen[payment.transaction_id] = payment.event_time
        if self.oldest > self._seen_from + SECONDS_PER_DAY:
            self._seen_from = self.oldest
            self._seen = {name: time for name, time in self._seen.items() if time >= self.oldest}
        if insertion is not None:
            self.apply(insertion)

    def report(self, payment: Payment, *, report_time: int) -> bool:
        """Hear that a payment was a fraud; it counts after ``report_time``.

        Parameters
        ----------
        payment : Payment
            As it was observed, however long ago.
        report_time : int
            UTC epoch seconds, past or future.

        Returns
        -------
        bool
            False if its report is known, no window can hold it any more, or the recipe does not
            hear of such payments: then nothing changes.

        Raises
        ------
        DataError
            If ``report_time`` is before the payment.
        """
        report = self.reporting(payment, report_time=report_time)
        if report is not None:
            self.apply(report)
        return report is not None

    def key_of(self, kind: str, identifier: str) -> bytes:
        """Return the key of a history, or of a payment.

        Parameters
        ----------
        kind : str
        identifier : str

        Returns
        -------
        bytes
            Of ``KEY_BYTES``: BLAKE2b with the store's key (RFC 7693, section 2.9).
        """
        keyed = self._keyed.copy()
        keyed.update(f"{kind}\0{identifier}".encode("utf-8", "surrogatepass"))
        return keyed.digest()

    def row(self, payment: Payment) -> Float32Array:
        """Return the payment's features as of its second; nothing changes.

        Parameters
        ----------
        payment : Payment
            As ``check_transactions`` would accept it, at ``oldest`` or later.

        Returns
        -------
        ndarray of shape (n_features,), dtype=float32
            NaN is missing.

        Raises
        ------
        DataError
            If it is earlier, of the other direction, a text has no code, an own column has no such
            value, or its amount has no rate.
        """
        self._check_direction(payment)
        self.check_time(payment)
        payment = payment_in_currency(payment, self._converter)
        row = np.full(len(self._names), np.nan, dtype=np.float32)
        own = own_row(self._own, payment.own, transaction_id=payment.transaction_id)
        row[row.size - own.size :] = own
        self._fill(row, payment)
        return row

    def check_time(self, payment: Payment) -> None:
        """Raise DataError if a payment is before all that may still be asked for."""
        if payment.event_time < self.oldest:
            raise DataError(
                f"transaction {payment.transaction_id!r}: event_time is {payment.event_time}, "
                f"expected {self.oldest} or later: the latest payment is of {self.latest}, the "
                f"allowed lateness {self.lateness_seconds} s; give payments in order of time"
            )

    def insertion(self, payment: Payment) -> Insertion | None:
        """Return what a payment changes; None: nothing.

        Raises
        ------
        DataError
            If its amount has no rate.
        """
        return self._insertion(payment_in_currency(payment, self._converter))

    def reporting(self, payment: Payment, *, report_time: int) -> Report | None:
        """Return what the report of a payment changes; None: nothing.

        Raises
        ------
        DataError
            If ``report_time`` is before the payment.
        """
        if report_time < payment.event_time:
            raise DataError(
                f"transaction {payment.transaction_id!r}: report_time is {report_time}, expected "
                f"at or after the event_time {payment.event_time}; mend the times"
            )
        # The formula of ``fraud_counts_from``, of one.
        counts_from = max(payment.event_time + self.delay_seconds, report_time)
        if counts_from < self.oldest - self.longest_seconds:
            return None
        entities = self._reported(payment)
        if entities is None:
            return None
        report = Report(
            customer=self.key_of("customer", payment.customer_id),
            payment=self.key_of("transaction", payment.transaction_id),
            counts_from=counts_from,
            own=not payment.is_inbound,
            entities=tuple(self.key_of(*entity) for entity in entities),
        )
        customer = self._histories.find_customer(report.customer)
        if customer is not None and report.payment in customer.reports:
            return None
        return report

    def apply(self, change: Change, *, position: int = 0) -> None:
        """Let a change take effect where it has not yet.

        Parameters
        ----------
        change : Insertion or Report
        position : int
            Number of the change, counted from 1; a history that has had it is left alone. 0: it is
            new to all.
        """
        if isinstance(change, Report):
            self._apply_report(change, position)
        else:
            self._apply_insertion(change, position)

    def _apply_insertion(self, change: Insertion, position: int) -> None:
        self.latest = max(self.latest, change.time)
        customer = self._histories.change_customer(change.customer)
        if not position or customer.position < position:
            for key in change.met:
                customer.meet(key, change.time)
            customer.insert(change.time, change.amount, kind=change.kind, other=change.other)
            if change.place is not None:
                customer.stand(change.place)
            customer.position = position
            self.forget_customer(customer)
        for name in change.entities:
            entity = self._histories.change_entity(name)
            if not position or entity.position < position:
                entity.insert(change.time)
                entity.position = position
                self.forget_entity(entity)
        for key, previous, following in change.linked:
            entity = self._histories.change_entity(key)
            if not position or entity.position < position:
                entity.insert_between(previous, change.time, following, oldest=self.oldest_kept)
                entity.position = position
                self.forget_entity(entity)

    def _apply_report(self, change: Report, position: int) -> None:
        customer = self._histories.change_customer(change.customer)
        if not position or customer.position < position:
            customer.reports[change.payment] = (change.counts_from, change.own)
            customer.position = position
        for key in change.entities:
            entity = self._histories.change_entity(key)
            if not position or entity.position < position:
                entity.report(change.counts_from)
                entity.position = position

    def forget_customer(self, customer: CustomerHistory) -> None:
        """Forget what no window reaches."""
        customer.forget(
            payments=self.oldest_kept,
            places=self.oldest,
            reports=self.oldest - self.longest_seconds,
        )

    def forget_entity(self, entity: EntityHistory) -> None:
        """Forget what no window reaches."""
        entity.forget(payments=self.oldest_kept, reports=self.oldest - self.longest_seconds)

    def keeps(self, entity: EntityHistory) -> bool:
        """Tell whether an entity is to be kept when no window holds anything of it."""
        return self._keeps_first and entity.first != NEVER and not entity.is_linked

    def _put(self, row: Float32Array, features: FeatureColumns) -> None:
        for name, values in features:
            index = self._index[name]
            row[index : index + 1] = values

    def _keys(self, entities: Iterable[tuple[str, str]]) -> list[tuple[str, str, bytes]]:
        return [(kind, name, self.key_of(kind, name)) for kind, name in entities]

    @abstractmethod
    def _check_direction(self, payment: Payment) -> None:
        """Raise DataError for a payment that the recipe does not judge."""

    @abstractmethod
    def _fill(self, row: Float32Array, payment: Payment) -> None:
        """Put the recipe's features of a payment."""

    @abstractmethod
    def _insertion(self, payment: Payment) -> Insertion | None:
        """Return what a payment changes, its amount in the contract's currency."""

    @abstractmethod
    def _reported(self, payment: Payment) -> list[tuple[str, str]] | None:
        """Return kind and identifier of what a fraud counts for; None: nothing hears of it."""


def one(value: int) -> Int64Array:
    """Return an array of one element, as the formulas take it."""
    return np.array([value], dtype=np.int64)


#: What is known of a customer, or of an entity, that was never observed. Never changed.
NO_CUSTOMER = CustomerHistory()
NO_ENTITY = EntityHistory()
