"""Compute the features of recipe ``fraudfed-inbound-2`` for one payment at a time, to score it.

Law: ``features`` gives, to the last bit, the row that ``build_inbound_features`` gives for the
payment over a table of everything observed and reported. Payments of both directions are observed,
in the order of their seconds; inbound ones can be asked for.

Payments and reports that no window can reach any more are forgotten. Of each customer it keeps the
latest seconds of each kind and when the customer first met every payer; of each account when it was
first paid.
"""

from collections.abc import Sequence

import numpy as np

from fraudfed.catalogue.inbound import INBOUND_RECIPE, OUTFLOW_CHANNELS, PASS_DAYS, PASS_HOURS
from fraudfed.catalogue.recipe import FAN_IN_DAYS, WINDOW_DAYS
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import DataError
from fraudfed.features.currency import AmountConverter, payment_in_currency
from fraudfed.features.formulas import (
    SECONDS_PER_DAY,
    SECONDS_PER_HOUR,
    FeatureColumns,
    payment_features,
    risk_features,
)
from fraudfed.features.history import EntityHistory, ReportedFrauds
from fraudfed.features.inbound.formulas import (
    count_feature,
    flow_features,
    new_payer_feature,
    passed_on_feature,
    roundness_features,
    seconds_feature,
)
from fraudfed.features.inbound.history import CustomerFlows, PayerHistory
from fraudfed.features.own_columns import own_row
from fraudfed.features.payment import Payment
from fraudfed.features.reports import Reports
from fraudfed.features.shared_risk.columns import shared_features
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.features.stream import PaymentStream
from fraudfed.features.table import feature_schema
from fraudfed.wire.messages import Currency, FeatureSpec, RiskEntity

_LONGEST = max(*WINDOW_DAYS, PASS_DAYS) * SECONDS_PER_DAY


class OnlineInboundFeatures:
    """Features of incoming payments in the order in which they come.

    Parameters
    ----------
    risk_delay_days : int
    shared : SharedRisk or None
    own_columns : sequence of FeatureSpec
    currency : Currency or None
        All as for ``build_inbound_features``.

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
        schema = feature_schema(INBOUND_RECIPE, shared=shared is not None, own_columns=self._own)
        self._names = schema.names
        self._index = {name: i for i, name in enumerate(self._names)}
        self._stream = PaymentStream(
            lookback_seconds=max(self._delay, max(PASS_HOURS) * SECONDS_PER_HOUR) + _LONGEST
        )
        self._customers: dict[str, CustomerFlows] = {}
        self._payers: dict[str, PayerHistory] = {}
        self._first_paid: dict[str, int] = {}
        # Inbound payments by payee and by payer, outbound ones by who was paid ("reported").
        self._entities: dict[tuple[str, str], EntityHistory] = {}
        self._reports = Reports[tuple[str, str]](
            delay_days=risk_delay_days,
            longest_seconds=_LONGEST,
            history_of=self._frauds_of,
            forget=self._forget_empty,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the vectors."""
        return self._names

    @property
    def n_remembered(self) -> int:
        """Number of payments that a window may still reach."""
        return len(self._stream)

    def features(self, payment: Payment) -> Float32Array:
        """Return an inbound payment's features as of its second; it is not remembered.

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
            If its second is before one already seen, it is outbound, an own column has no such
            value, or its amount has no rate.
        """
        if not payment.is_inbound:
            raise DataError(
                f"transaction {payment.transaction_id!r}: is outbound, expected an inbound payment "
                f"for recipe {INBOUND_RECIPE!r}; score it with a model of outbound payments"
            )
        payment = payment_in_currency(payment, self._converter)
        self._go_to(payment)
        row = np.full(len(self._names), np.nan, dtype=np.float32)
        own = own_row(self._own, payment.own, transaction_id=payment.transaction_id)
        row[row.size - own.size :] = own
        amount = _one(payment.amount_minor)
        self._put(row, payment_features(time=_one(self._stream.now), amount=amount))
        self._put(row, roundness_features(amount=amount))
        customer = self._customers.get(payment.customer_id)
        if customer is None:
            customer = CustomerFlows()
        self._ages(row, payment, customer)
        self._flows(row, payment, customer)
        if payment.payer_id is not None:
            self._payer(row, payment.payer_id)
        for entity, account in payment.entities(("payee", "payer")):
            self._known_frauds(row, entity, account)
            if self._shared is not None:
                features = shared_features(
                    self._shared,
                    RiskEntity.PAYEE,
                    [account],
                    _one(0),
                    _one(self._stream.now),
                    named=entity,
                )
                self._put(row, features)
        return row

    def observe(self, payment: Payment) -> None:
        """Remember a payment of either direction; later seconds see it.

        Raises
        ------
        DataError
            If its second is before one already seen, its ``transaction_id`` was observed, or its
            amount has no rate.
        """
        payment = payment_in_currency(payment, self._converter)
        self._go_to(payment)
        self._stream.check_new(payment)
        time, amount = payment.event_time, payment.amount_minor
        customer = self._customers.setdefault(payment.customer_id, CustomerFlows())
        if customer.first is None:
            customer.first = time
        customer.activity.add(time, ())
        if payment.is_inbound:
            customer.credit.add(time, ())
            customer.credits.add(time, amount)
            customer.first_outflows.credit(time)
            for passed_on in customer.passed_on.values():
                passed_on.add(time, amount)
            if payment.payee_id is not None:
                self._first_paid.setdefault(payment.payee_id, time)
            if payment.payer_id is not None:
                customer.payer_payments.add(time, amount)
                customer.payers.add(time, payment.payer_id)
                customer.met.setdefault(payment.payer_id, time)
                payer = self._payers.setdefault(payment.payer_id, PayerHistory())
                payer.payments.add(time, amount)
                payer.customers.add(time, payment.customer_id)
        elif _is_outflow(payment):
            customer.outflow.add(time, ())
            customer.outflows.add(time, amount)
            customer.first_outflows.outflow(time)
        for key in _entities(payment):
            self._entities.setdefault(key, EntityHistory()).payments.add(time, amount)
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
            False if its report is known, or no window can hold it any more: then nothing changes.

        Raises
        ------
        DataError
            If ``report_time`` is before the payment.
        """
        keys = _entities(payment)
        if not payment.is_inbound:
            keys.append(("customer", payment.customer_id))
        return self._reports.add(payment, keys, report_time=report_time, now=self._stream.now)

    def _go_to(self, payment: Payment) -> None:
        """Move to the payment's second and forget what no window reaches from there."""
        for forgotten in self._stream.go_to(payment):
            self._forget(forgotten)
        self._reports.forget_before(self._stream.now)

    def _forget(self, payment: Payment) -> None:
        time = payment.event_time
        customer = self._customers[payment.customer_id]
        if payment.is_inbound:
            customer.settle(now=self._stream.now)
            customer.credits.forget_oldest()
            for passed_on in customer.passed_on.values():
                passed_on.forget_oldest()
            if payment.payer_id is not None:
                customer.payer_payments.forget_oldest()
                customer.payers.forget(time, payment.payer_id)
                payer = self._payers[payment.payer_id]
                payer.payments.forget_oldest()
                payer.customers.forget(time, payment.customer_id)
                if len(payer.payments) == 0:
                    del self._payers[payment.payer_id]
        elif _is_outflow(payment):
            customer.outflows.forget_oldest()
        for key in _entities(payment):
            self._entities[key].payments.forget_oldest()
            self._forget_empty(key)

    def _frauds_of(self, key: tuple[str, str]) -> ReportedFrauds:
        kind, name = key
        if kind == "customer":
            return self._customers.setdefault(name, CustomerFlows()).reported
        return self._entities.setdefault(key, EntityHistory()).frauds

    def _forget_empty(self, key: tuple[str, str]) -> None:
        # Customers are kept: since when each is known is a feature.
        history = self._entities.get(key)
        if history is not None and len(history.payments) == 0 and len(history.frauds) == 0:
            del self._entities[key]

    def _put(self, row: Float32Array, features: FeatureColumns) -> None:
        for name, values in features:
            index = self._index[name]
            row[index : index + 1] = values

    def _ages(self, row: Float32Array, payment: Payment, customer: CustomerFlows) -> None:
        now = self._stream.now
        first = now if customer.first is None else customer.first
        self._put(row, seconds_feature("customer_age_seconds", seconds=_one(now - first)))
        if payment.payee_id is not None:
            age = now - self._first_paid.get(payment.payee_id, now)
            self._put(row, seconds_feature("account_age_seconds", seconds=_one(age)))
        if payment.payer_id is not None:
            age = now - customer.met.get(payment.payer_id, now)
            self._put(row, new_payer_feature(age_seconds=_one(age)))

    def _flows(self, row: Float32Array, payment: Payment, customer: CustomerFlows) -> None:
        now = self._stream.now
        for name, seen in (
            ("seconds_since_activity", customer.activity),
            ("seconds_since_credit", customer.credit),
            ("seconds_since_outflow", customer.outflow),
        ):
            previous = seen.earlier_than(now)
            if previous is not None:
                self._put(row, seconds_feature(name, seconds=_one(now - previous[0])))
        took = customer.first_outflows.seconds(now=now)
        if took is not None:
            self._put(row, seconds_feature("seconds_to_outflow", seconds=_one(took)))
        for days in WINDOW_DAYS:
            start = now - days * SECONDS_PER_DAY
            credits, credited = customer.credits.window(start, now)
            outflows, left = customer.outflows.window(start, now)
            features = flow_features(
                days,
                amount=_one(payment.amount_minor),
                credits=_one(credits),
                credited=_one(credited),
                outflows=_one(outflows),
                left=_one(left),
            )
            self._put(row, features)
            payers = customer.payer_payments.window(start, now)[0]
            payers -= customer.payers.superseded(start, now=now)
            self._put(row, count_feature(f"credit_payers_{days}d", count=_one(payers)))
        customer.settle(now=now)
        for hours, passed_on in customer.passed_on.items():
            width, stop = PASS_DAYS * SECONDS_PER_DAY, now - hours * SECONDS_PER_HOUR
            features = passed_on_feature(
                hours,
                passed=_one(passed_on.passed(width, now=now)),
                credited=_one(customer.credits.window(stop - width, stop)[1]),
            )
            self._put(row, features)
        reported = customer.reported.count(_LONGEST, now=now)
        self._put(row, count_feature("customer_reported_30d", count=_one(reported)))

    def _payer(self, row: Float32Array, payer_id: str) -> None:
        now = self._stream.now
        payer = self._payers.get(payer_id)
        if payer is None:
            payer = PayerHistory()
        for days in FAN_IN_DAYS:
            start = now - days * SECONDS_PER_DAY
            count = payer.payments.window(start, now)[0]
            count -= payer.customers.superseded(start, now=now)
            self._put(row, count_feature(f"payer_customers_{days}d", count=_one(count)))
        history = self._entities.get(("reported", payer_id))
        if history is None:
            history = EntityHistory()
        reported = history.frauds.count(_LONGEST, now=now)
        self._put(row, count_feature("payer_reported_30d", count=_one(reported)))

    def _known_frauds(self, row: Float32Array, entity: str, account: str) -> None:
        history = self._entities.get((entity, account))
        if history is None:
            history = EntityHistory()
        stop = self._stream.now - self._delay
        for days in WINDOW_DAYS:
            width = days * SECONDS_PER_DAY
            count, _ = history.payments.window(stop - width, stop)
            frauds = history.frauds.count(width, now=self._stream.now)
            features = risk_features(entity, days, count=_one(count), frauds=_one(frauds))
            self._put(row, features)


def _is_outflow(payment: Payment) -> bool:
    # What is known of no payment does not tell purchases from outflows: then all are.
    return payment.channel is None or payment.channel in OUTFLOW_CHANNELS


def _entities(payment: Payment) -> list[tuple[str, str]]:
    """Return the keys under which a payment and its fraud are counted."""
    if payment.is_inbound:
        return payment.entities(("payee", "payer"))
    return [] if payment.payee_id is None else [("reported", payment.payee_id)]


def _one(value: int) -> Int64Array:
    return np.array([value], dtype=np.int64)
