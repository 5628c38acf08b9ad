"""Compute the features of recipe ``fraudfed-inbound-2`` for one payment at a time, to score it.

Law: ``features`` gives, to the last bit, the row that ``build_inbound_features`` gives for the
payment over a table of everything observed and reported by then. Payments of both directions are
observed, in any order within the allowed lateness; inbound ones can be asked for.

Payments and reports that no window can reach any more are forgotten. Of each customer it keeps the
latest seconds of each kind and when the customer first met every payer; of each account when it was
first paid.
"""

from collections.abc import Sequence

from fraudfed.catalogue.inbound import INBOUND_RECIPE, OUTFLOW_CHANNELS, PASS_DAYS, PASS_HOURS
from fraudfed.catalogue.recipe import FAN_IN_DAYS, WINDOW_DAYS
from fraudfed.dtypes import Float32Array, Int64Array
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
    SECONDS_PER_HOUR,
    payment_features,
    risk_features,
)
from fraudfed.features.history import (
    CREDIT,
    NEVER,
    OTHER,
    OUTFLOW,
    CustomerHistory,
    EntityHistory,
)
from fraudfed.features.inbound.formulas import (
    count_feature,
    flow_features,
    new_payer_feature,
    passed_on_feature,
    roundness_features,
    seconds_feature,
)
from fraudfed.features.payment import Payment
from fraudfed.features.shared_risk.columns import shared_features
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.wire.messages import Currency, FeatureSpec, RiskEntity

_LONGEST = max(*WINDOW_DAYS, PASS_DAYS) * SECONDS_PER_DAY
_SIDES = ("payee", "payer")


class OnlineInboundFeatures(ArrivalFeatures):
    """Features of incoming payments in the order in which they come.

    Parameters
    ----------
    risk_delay_days : int
    shared : SharedRisk or None
    own_columns : sequence of FeatureSpec
    currency : Currency or None
        All as for ``build_inbound_features``.
    allowed_lateness_seconds, histories, key
        As for ``OnlineFeatures``.

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
        delay = risk_delay_days * SECONDS_PER_DAY
        super().__init__(
            INBOUND_RECIPE,
            lookback_seconds=max(delay, max(PASS_HOURS) * SECONDS_PER_HOUR) + _LONGEST,
            longest_seconds=_LONGEST,
            risk_delay_days=risk_delay_days,
            shared=shared,
            own_columns=own_columns,
            currency=currency,
            allowed_lateness_seconds=allowed_lateness_seconds,
            histories=histories,
            key=key,
            keeps_first=True,
        )

    def _check_direction(self, payment: Payment) -> None:
        if not payment.is_inbound:
            raise DataError(
                f"transaction {payment.transaction_id!r}: is outbound, expected an inbound payment "
                f"for recipe {INBOUND_RECIPE!r}; score it with a model of outbound payments"
            )

    def _insertion(self, payment: Payment) -> Insertion | None:
        time = payment.event_time
        customer = self.key_of("customer", payment.customer_id)
        payer = None
        entities: tuple[bytes, ...] = ()
        linked: tuple[tuple[bytes, int, int], ...] = ()
        if payment.is_inbound:
            kind = CREDIT
            keys = {name: key for name, _, key in self._keys(payment.entities(_SIDES))}
            payer = keys.get("payer")
            if "payee" in keys:
                entities = (keys["payee"],)
            if payer is not None:
                history = self._histories.find_customer(customer) or NO_CUSTOMER
                linked = ((payer, *history.neighbours(payer, time)),)
        else:
            # What is known of no payment does not tell purchases from outflows: then all are.
            leaves = payment.channel is None or payment.channel in OUTFLOW_CHANNELS
            kind = OUTFLOW if leaves else OTHER
        return Insertion(
            customer=customer,
            time=time,
            amount=payment.amount_minor,
            kind=kind,
            other=payer,
            met=() if payer is None else (payer,),
            place=None,
            entities=entities,
            linked=linked,
        )

    def _reported(self, payment: Payment) -> list[tuple[str, str]] | None:
        if payment.is_inbound:
            return payment.entities(_SIDES)
        return [] if payment.payee_id is None else [("reported", payment.payee_id)]

    def _fill(self, row: Float32Array, payment: Payment) -> None:
        now, amount = payment.event_time, one(payment.amount_minor)
        self._put(row, payment_features(time=one(now), amount=amount))
        self._put(row, roundness_features(amount=amount))
        key = self.key_of("customer", payment.customer_id)
        customer = self._histories.find_customer(key) or NO_CUSTOMER
        sides = {kind: key for kind, _, key in self._keys(payment.entities(_SIDES))}
        entities = {
            kind: self._histories.find_entity(key) or NO_ENTITY for kind, key in sides.items()
        }
        self._ages(row, now, customer, sides.get("payer"), entities.get("payee"))
        self._flows(row, now, amount, customer)
        self._passed_on(row, now, customer)
        if payment.payer_id is not None:
            self._payer(row, now, entities["payer"], payment.payer_id)
        for kind, history in entities.items():
            self._known_frauds(row, now, kind, history)
            if self._shared is not None:
                account = payment.payee_id if kind == "payee" else payment.payer_id
                features = shared_features(
                    self._shared,
                    RiskEntity.PAYEE,
                    [str(account)],
                    one(0),
                    one(now),
                    named=kind,
                )
                self._put(row, features)

    def _ages(
        self,
        row: Float32Array,
        now: int,
        customer: CustomerHistory,
        payer: bytes | None,
        account: EntityHistory | None,
    ) -> None:
        for name, history in (("customer_age_seconds", customer), ("account_age_seconds", account)):
            if history is not None:
                age = 0 if history.first == NEVER else max(0, now - history.first)
                self._put(row, seconds_feature(name, seconds=one(age)))
        if payer is not None:
            age = customer.since_met(payer, now)
            self._put(row, new_payer_feature(age_seconds=one(age)))

    def _flows(
        self, row: Float32Array, now: int, amount: Int64Array, customer: CustomerHistory
    ) -> None:
        for name, previous in (
            ("seconds_since_activity", customer.latest(now)),
            ("seconds_since_credit", customer.latest_of(CREDIT, now)),
            ("seconds_since_outflow", customer.latest_of(OUTFLOW, now)),
        ):
            if previous != NEVER:
                self._put(row, seconds_feature(name, seconds=one(now - previous)))
        took = customer.seconds_to_outflow(now)
        if took is not None:
            self._put(row, seconds_feature("seconds_to_outflow", seconds=one(took)))
        for days in WINDOW_DAYS:
            start = now - days * SECONDS_PER_DAY
            credits, credited = customer.window_of(CREDIT, start, now)
            outflows, left = customer.window_of(OUTFLOW, start, now)
            features = flow_features(
                days,
                amount=amount,
                credits=one(credits),
                credited=one(credited),
                outflows=one(outflows),
                left=one(left),
            )
            self._put(row, features)
            payers = customer.others_between(start, now)
            self._put(row, count_feature(f"credit_payers_{days}d", count=one(payers)))
        reported = customer.reported(now - _LONGEST, now)
        self._put(row, count_feature("customer_reported_30d", count=one(reported)))

    def _passed_on(self, row: Float32Array, now: int, customer: CustomerHistory) -> None:
        for hours in PASS_HOURS:
            seconds = hours * SECONDS_PER_HOUR
            stop = now - seconds
            start = stop - PASS_DAYS * SECONDS_PER_DAY
            features = passed_on_feature(
                hours,
                passed=one(customer.passed_on(seconds, start, stop)),
                credited=one(customer.window_of(CREDIT, start, stop)[1]),
            )
            self._put(row, features)

    def _payer(self, row: Float32Array, now: int, payer: EntityHistory, payer_id: str) -> None:
        for days in FAN_IN_DAYS:
            seen = payer.distinct(now - days * SECONDS_PER_DAY, now)
            self._put(row, count_feature(f"payer_customers_{days}d", count=one(seen)))
        history = self._histories.find_entity(self.key_of("reported", payer_id)) or NO_ENTITY
        reported = history.count_frauds(now - _LONGEST, now)
        self._put(row, count_feature("payer_reported_30d", count=one(reported)))

    def _known_frauds(
        self, row: Float32Array, now: int, entity: str, history: EntityHistory
    ) -> None:
        stop = now - self.delay_seconds
        for days in WINDOW_DAYS:
            width = days * SECONDS_PER_DAY
            count = history.count(stop - width, stop)
            frauds = history.count_frauds(now - width, now)
            self._put(row, risk_features(entity, days, count=one(count), frauds=one(frauds)))
