"""Compute the features of recipe ``fraudfed-card-2`` for one payment at a time, to score it.

Law: ``features`` gives, to the last bit, the row that ``build_features`` gives for the payment
over a table of everything observed and reported by then. Both builders find the same facts and pass
them to the same ``formulas``.

Payments come in any order within ``allowed_lateness_seconds`` before the latest second; with 0, in
the order of their seconds. Payments and reports that no window can reach any more are forgotten, so
the memory holds those of the longest window and the risk delay; a report brings its payment along,
however old that is. Of each customer it also keeps the latest payment and place before that, and
when the customer first met every payee and device.
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
from fraudfed.dtypes import Float32Array, Float64Array
from fraudfed.errors import DataError
from fraudfed.features.arrivals import (
    NO_CUSTOMER,
    NO_ENTITY,
    ArrivalFeatures,
    Histories,
    Insertion,
    one,
)
from fraudfed.features.formulas import (
    SECONDS_PER_DAY,
    acquaintance_features,
    category_codes,
    fan_in_features,
    payment_features,
    recency_features,
    risk_features,
    spending_features,
    travel_features,
)
from fraudfed.features.history import NEVER, OTHER, CustomerHistory, EntityHistory
from fraudfed.features.payment import Payment
from fraudfed.features.shared_risk.columns import shared_features
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.wire.messages import Currency, FeatureSpec, RiskEntity


class OnlineFeatures(ArrivalFeatures):
    """Features of payments in the order in which they come. Inbound ones count for nothing.

    Parameters
    ----------
    risk_delay_days : int
    shared : SharedRisk or None
    own_columns : sequence of FeatureSpec
    currency : Currency or None
        All as for ``build_features``.
    allowed_lateness_seconds : int
        How far before the latest second a payment may be.
    histories : Histories or None
        None: in memory.
    key : bytes
        As for ``ArrivalFeatures``.

    Raises
    ------
    DataError
        If ``shared`` has another risk delay.
    ValueError
        If ``risk_delay_days`` or ``allowed_lateness_seconds`` is negative.
    """

    def __init__(
        self,
        *,
        risk_delay_days: int = 0,
        shared: SharedRisk | None = None,
        own_columns: Sequence[FeatureSpec] = (),
        currency: Currency | None = None,
        allowed_lateness_seconds: int = 0,
        histories: Histories | None = None,
        key: bytes = b"",
    ) -> None:
        if risk_delay_days < 0:
            raise ValueError(f"risk_delay_days is {risk_delay_days}, expected 0 or more")
        longest = max(WINDOW_DAYS) * SECONDS_PER_DAY
        super().__init__(
            RECIPE,
            lookback_seconds=risk_delay_days * SECONDS_PER_DAY + longest,
            longest_seconds=longest,
            risk_delay_days=risk_delay_days,
            shared=shared,
            own_columns=own_columns,
            currency=currency,
            allowed_lateness_seconds=allowed_lateness_seconds,
            histories=histories,
            key=key,
            keeps_first=False,
        )

    def _check_direction(self, payment: Payment) -> None:
        if payment.is_inbound:
            raise DataError(
                f"transaction {payment.transaction_id!r}: is inbound, expected an outbound payment "
                f"for recipe {RECIPE!r}; score it with a model of inbound payments"
            )

    def _insertion(self, payment: Payment) -> Insertion | None:
        if payment.is_inbound:
            return None
        customer = self.key_of("customer", payment.customer_id)
        met = {kind: key for kind, _, key in self._keys(payment.entities(("payee", "device")))}
        places = self._keys(payment.entities(("terminal", "merchant")))
        payee = met.get("payee")
        linked: tuple[tuple[bytes, int, int], ...] = ()
        if payee is not None:
            history = self._histories.find_customer(customer) or NO_CUSTOMER
            linked = ((payee, *history.neighbours(payee, payment.event_time)),)
        return Insertion(
            customer=customer,
            time=payment.event_time,
            amount=payment.amount_minor,
            kind=OTHER,
            other=payee,
            met=tuple(met.values()),
            place=None
            if payment.place is None
            else (payment.event_time, payment.transaction_id, *payment.place),
            entities=tuple(key for _, _, key in places),
            linked=linked,
        )

    def _reported(self, payment: Payment) -> list[tuple[str, str]] | None:
        return None if payment.is_inbound else payment.entities(RISK_ENTITIES)

    def _fill(self, row: Float32Array, payment: Payment) -> None:
        now = payment.event_time
        self._put(row, payment_features(time=one(now), amount=one(payment.amount_minor)))
        for name, categories in CATEGORIES.items():
            code = category_codes(name, [getattr(payment, name)], categories)
            self._put(row, iter([(name, code)]))
        key = self.key_of("customer", payment.customer_id)
        customer = self._histories.find_customer(key) or NO_CUSTOMER
        self._customer(row, payment, customer)
        self._travel(row, payment, customer)
        for kind, _, key in self._keys(payment.entities(("payee", "device"))):
            age = customer.since_met(key, now)
            self._put(row, acquaintance_features(kind, age_seconds=one(age)))
        for kind, identifier, key in self._keys(payment.entities(RISK_ENTITIES)):
            history = self._histories.find_entity(key) or NO_ENTITY
            self._risk(row, kind, history, now)
            if kind == "payee":
                for days in FAN_IN_DAYS:
                    seen = history.distinct(now - days * SECONDS_PER_DAY, now)
                    self._put(row, fan_in_features(days, customers=one(seen)))
            if self._shared is not None:
                features = shared_features(
                    self._shared, RiskEntity(kind), [identifier], one(0), one(now)
                )
                self._put(row, features)

    def _customer(self, row: Float32Array, payment: Payment, customer: CustomerHistory) -> None:
        now = payment.event_time
        previous = customer.latest(now)
        if previous != NEVER:
            self._put(row, recency_features(seconds_since_previous=one(now - previous)))
        amount = one(payment.amount_minor)
        for days in WINDOW_DAYS:
            count, total = customer.window(now - days * SECONDS_PER_DAY, now)
            self._put(
                row, spending_features(days, amount=amount, count=one(count), total=one(total))
            )

    def _travel(self, row: Float32Array, payment: Payment, customer: CustomerHistory) -> None:
        previous = customer.place_before(payment.event_time)
        if previous is None or payment.place is None:
            return
        latitude, longitude = payment.place
        then, _, previous_latitude, previous_longitude = previous
        features = travel_features(
            latitude=_degrees(latitude),
            longitude=_degrees(longitude),
            previous_latitude=_degrees(previous_latitude),
            previous_longitude=_degrees(previous_longitude),
            seconds=one(payment.event_time - then),
        )
        self._put(row, features)

    def _risk(self, row: Float32Array, entity: str, history: EntityHistory, now: int) -> None:
        stop = now - self.delay_seconds
        for days in WINDOW_DAYS:
            width = days * SECONDS_PER_DAY
            count = history.count(stop - width, stop)
            frauds = history.count_frauds(now - width, now)
            self._put(row, risk_features(entity, days, count=one(count), frauds=one(frauds)))


def _degrees(value: float) -> Float64Array:
    return np.array([value], dtype=np.float64)
