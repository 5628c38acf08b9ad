"""Compute the features of recipe ``fraudfed-card-2`` for one payment at a time, to score it.

Law: ``features`` gives, to the last bit, the row that ``build_features`` gives for the payment
over a table of everything observed and reported. A report may come in late, but not after the first
payment that it counts for. Both builders find the same facts and pass them to the same
``formulas``.

Time only moves forward: payments come in the order of their seconds, in any order within one.
Payments and reports that no window can reach any more are forgotten, so the memory holds those of
the longest window and the risk delay; a report brings its payment along, however old that is. Of
each customer it also keeps the last two seconds and places, and when the customer first met every
payee and device.
"""

from collections.abc import Sequence

import numpy as np

from fraudfed.catalogue.recipe import (
    CATEGORIES,
    FAN_IN_DAYS,
    RECIPE,
    RISK_ENTITIES,
    WINDOW_DAYS,
)
from fraudfed.dtypes import Float32Array, Float64Array, Int64Array
from fraudfed.errors import DataError
from fraudfed.features.currency import AmountConverter, payment_in_currency
from fraudfed.features.formulas import (
    SECONDS_PER_DAY,
    FeatureColumns,
    acquaintance_features,
    category_codes,
    fan_in_features,
    payment_features,
    recency_features,
    risk_features,
    spending_features,
    travel_features,
)
from fraudfed.features.history import CustomerHistory, EntityHistory, FanIn, ReportedFrauds
from fraudfed.features.own_columns import own_row
from fraudfed.features.payment import Payment
from fraudfed.features.reports import Reports
from fraudfed.features.shared_risk.columns import shared_features
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.features.stream import PaymentStream
from fraudfed.features.table import feature_schema
from fraudfed.wire.messages import Currency, FeatureSpec, RiskEntity


class OnlineFeatures:
    """Features of payments in the order in which they come.

    Parameters
    ----------
    risk_delay_days : int
    shared : SharedRisk or None
    own_columns : sequence of FeatureSpec
    currency : Currency or None
        All as for ``build_features``.

    Raises
    ------
    DataError
        If ``shared`` has another risk delay.
    ValueError
        If ``risk_delay_days`` is negative.
    """

    def __init__(
        self,
        *,
        risk_delay_days: int = 0,
        shared: SharedRisk | None = None,
        own_columns: Sequence[FeatureSpec] = (),
        currency: Currency | None = None,
    ) -> None:
        if risk_delay_days < 0:
            raise ValueError(f"risk_delay_days is {risk_delay_days}, expected 0 or more")
        if shared is not None:
            shared.check_delay(risk_delay_days)
        self._delay = risk_delay_days * SECONDS_PER_DAY
        self._shared = shared
        self._own = tuple(own_columns)
        self._converter = None if currency is None else AmountConverter(currency)
        schema = feature_schema(shared=shared is not None, own_columns=self._own)
        self._names = schema.names
        self._index = {name: i for i, name in enumerate(self._names)}
        longest = max(WINDOW_DAYS) * SECONDS_PER_DAY
        self._stream = PaymentStream(lookback_seconds=self._delay + longest)
        self._customers: dict[str, CustomerHistory] = {}
        self._entities: dict[tuple[str, str], EntityHistory] = {}
        self._fan_in: dict[str, FanIn] = {}
        self._reports = Reports[tuple[str, str]](
            delay_days=risk_delay_days,
            longest_seconds=longest,
            history_of=self._frauds_of,
            forget=self._forget_empty,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the vectors."""
        return self._names

    @property
    def n_remembered(self) -> int:
        """Number of payments that a window may still reach, reports left out."""
        return len(self._stream)

    @property
    def _now(self) -> int:
        return self._stream.now

    def features(self, payment: Payment) -> Float32Array:
        """Return the payment's features as of its second; it is not remembered.

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
            If its second is before one already seen, it is inbound, a text has no code, an own
            column has no such value, or its amount has no rate.
        """
        if payment.is_inbound:
            raise DataError(
                f"transaction {payment.transaction_id!r}: is inbound, expected an outbound payment "
                f"for recipe {RECIPE!r}; score it with a model of inbound payments"
            )
        payment = payment_in_currency(payment, self._converter)
        self._go_to(payment)
        row = np.full(len(self._names), np.nan, dtype=np.float32)
        own = own_row(self._own, payment.own, transaction_id=payment.transaction_id)
        row[row.size - own.size :] = own
        self._put(row, payment_features(time=_one(self._now), amount=_one(payment.amount_minor)))
        for name, categories in CATEGORIES.items():
            code = category_codes(name, [getattr(payment, name)], categories)
            self._put(row, iter([(name, code)]))
        customer = self._customers.get(payment.customer_id, _NOBODY)
        self._customer(row, payment, customer)
        self._acquaintance(row, payment, customer)
        self._travel(row, payment, customer)
        for entity, identifier in payment.entities(RISK_ENTITIES):
            history = self._entities.get((entity, identifier), _NOWHERE)
            self._risk(row, entity, history)
            if entity == "payee":
                self._fan_in_of(row, identifier, history)
            if self._shared is not None:
                features = shared_features(
                    self._shared, RiskEntity(entity), [identifier], _one(0), _one(self._now)
                )
                self._put(row, features)
        return row

    def observe(self, payment: Payment) -> None:
        """Remember a payment; later seconds see it. An inbound payment counts for nothing.

        Raises
        ------
        DataError
            If its second is before one already seen, its ``transaction_id`` was observed, or its
            amount has no rate.
        """
        payment = payment_in_currency(payment, self._converter)
        self._go_to(payment)
        if payment.is_inbound:
            return
        self._stream.check_new(payment)
        time = payment.event_time
        customer = self._customers.setdefault(payment.customer_id, CustomerHistory())
        customer.payments.add(time, payment.amount_minor)
        customer.seconds.add(time, ())
        if payment.place is not None:
            customer.places.add(time, (payment.transaction_id, *payment.place))
        for met in payment.entities(("payee", "device")):
            customer.met.setdefault(met, time)
        for key in payment.entities(RISK_ENTITIES):
            self._entities.setdefault(key, EntityHistory()).payments.add(time, payment.amount_minor)
        if payment.payee_id is not None:
            fan_in = self._fan_in.setdefault(payment.payee_id, FanIn())
            fan_in.add(time, payment.customer_id)
        self._stream.add(payment)

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
            False if its report is known, no window can hold it any more, or the payment is inbound:
            then nothing changes.

        Raises
        ------
        DataError
            If ``report_time`` is before the payment.
        """
        if payment.is_inbound:
            return False
        keys = list(payment.entities(RISK_ENTITIES))
        return self._reports.add(payment, keys, report_time=report_time, now=self._now)

    def _go_to(self, payment: Payment) -> None:
        """Move to the payment's second and forget what no window reaches from there."""
        for forgotten in self._stream.go_to(payment):
            self._forget(forgotten)
        self._reports.forget_before(self._now)

    def _forget(self, payment: Payment) -> None:
        self._customers[payment.customer_id].payments.forget_oldest()
        for key in payment.entities(RISK_ENTITIES):
            payments = self._entities[key].payments
            payments.forget_oldest()
            if key[0] == "payee":
                self._fan_in[key[1]].forget(payment.event_time, payment.customer_id)
                if len(payments) == 0:
                    del self._fan_in[key[1]]
            self._forget_empty(key)

    def _frauds_of(self, key: tuple[str, str]) -> ReportedFrauds:
        return self._entities.setdefault(key, EntityHistory()).frauds

    def _forget_empty(self, key: tuple[str, str]) -> None:
        history = self._entities[key]
        if len(history.payments) == 0 and len(history.frauds) == 0:
            del self._entities[key]

    def _put(self, row: Float32Array, features: FeatureColumns) -> None:
        for name, values in features:
            index = self._index[name]
            row[index : index + 1] = values

    def _customer(self, row: Float32Array, payment: Payment, customer: CustomerHistory) -> None:
        previous = customer.seconds.earlier_than(self._now)
        if previous is not None:
            since = _one(self._now - previous[0])
            self._put(row, recency_features(seconds_since_previous=since))
        for days in WINDOW_DAYS:
            start = self._now - days * SECONDS_PER_DAY
            count, total = customer.payments.window(start, self._now)
            features = spending_features(
                days, amount=_one(payment.amount_minor), count=_one(count), total=_one(total)
            )
            self._put(row, features)

    def _acquaintance(self, row: Float32Array, payment: Payment, customer: CustomerHistory) -> None:
        for entity, identifier in payment.entities(("payee", "device")):
            age = self._now - customer.met.get((entity, identifier), self._now)
            self._put(row, acquaintance_features(entity, age_seconds=_one(age)))

    def _travel(self, row: Float32Array, payment: Payment, customer: CustomerHistory) -> None:
        previous = customer.places.earlier_than(self._now)
        if previous is None or payment.place is None:
            return
        latitude, longitude = payment.place
        then, (_, previous_latitude, previous_longitude) = previous
        features = travel_features(
            latitude=_degrees(latitude),
            longitude=_degrees(longitude),
            previous_latitude=_degrees(previous_latitude),
            previous_longitude=_degrees(previous_longitude),
            seconds=_one(self._now - then),
        )
        self._put(row, features)

    def _fan_in_of(self, row: Float32Array, payee: str, history: EntityHistory) -> None:
        for days in FAN_IN_DAYS:
            start = self._now - days * SECONDS_PER_DAY
            count, _ = history.payments.window(start, self._now)
            if payee in self._fan_in:
                count -= self._fan_in[payee].superseded(start, now=self._now)
            self._put(row, fan_in_features(days, customers=_one(count)))

    def _risk(self, row: Float32Array, entity: str, history: EntityHistory) -> None:
        stop = self._now - self._delay
        for days in WINDOW_DAYS:
            width = days * SECONDS_PER_DAY
            count, _ = history.payments.window(stop - width, stop)
            frauds = history.frauds.count(width, now=self._now)
            features = risk_features(entity, days, count=_one(count), frauds=_one(frauds))
            self._put(row, features)


#: What is known of a customer, or of an entity, that was never observed. Never changed.
_NOBODY = CustomerHistory()
_NOWHERE = EntityHistory()


def _one(value: int) -> Int64Array:
    return np.array([value], dtype=np.int64)


def _degrees(value: float) -> Float64Array:
    return np.array([value], dtype=np.float64)
