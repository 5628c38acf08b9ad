"""Compute the features of recipe ``fraudfed-inbound-2`` for a whole table of raw transactions.

Inbound payments are judged. Outbound ones are history: they show what becomes of the money.

Law: as in ``fraudfed.features.build``. The features of a payment depend on the payment itself
(without its label), on payments of *strictly earlier seconds*, and on labels that were *known
before* its second; not on the order of the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fraudfed.catalogue.inbound import INBOUND_RECIPE, OUTFLOW_CHANNELS, PASS_DAYS, PASS_HOURS
from fraudfed.catalogue.recipe import FAN_IN_DAYS, WINDOW_DAYS
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.features.column_store import ColumnStore, require_columns
from fraudfed.features.currency import in_currency
from fraudfed.features.formulas import (
    SECONDS_PER_DAY,
    SECONDS_PER_HOUR,
    fraud_counts_from,
    payment_features,
    risk_features,
)
from fraudfed.features.inbound.formulas import (
    count_feature,
    flow_features,
    new_payer_feature,
    passed_on_feature,
    roundness_features,
    seconds_feature,
)
from fraudfed.features.own_columns import with_own_columns
from fraudfed.features.shared_risk.columns import shared_features
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.features.table import (
    LABEL_NOT_KNOWN,
    FeatureTable,
    feature_schema,
    rows_of_direction,
)
from fraudfed.features.windows import KeyedTimeline, running_total
from fraudfed.payments.columns import INBOUND, LABEL_COLUMNS, MAX_EPOCH_SECONDS
from fraudfed.wire.messages import Currency, FeatureSpec, RiskEntity

_LONGEST = max(*WINDOW_DAYS, PASS_DAYS) * SECONDS_PER_DAY
_WIDTHS = [days * SECONDS_PER_DAY for days in WINDOW_DAYS]


def build_inbound_features(
    transactions: pd.DataFrame,
    *,
    risk_delay_days: int = 0,
    shared: SharedRisk | None = None,
    own_columns: Sequence[FeatureSpec] = (),
    currency: Currency | None = None,
) -> FeatureTable:
    """Compute every feature of the inbound recipe for the inbound payments of a table.

    Parameters
    ----------
    transactions : DataFrame
        Raw transactions of both directions that
        :func:`fraudfed.features.check.check_transactions` accepts, in any order. Without outbound
        ones every feature of outflows is that of customers from whom nothing leaves.
    risk_delay_days, shared, own_columns, currency
        As for :func:`fraudfed.features.build.build_features`.

    Returns
    -------
    FeatureTable
        Of the inbound payments, in the order of the table.

    Raises
    ------
    DataError
        If a required or an own column is missing, an amount has no rate, or ``shared`` has another
        risk delay.
    ValueError
        If ``risk_delay_days`` is negative.
    """
    if risk_delay_days < 0:
        raise ValueError(f"risk_delay_days is {risk_delay_days}, expected 0 or more")
    delay = risk_delay_days * SECONDS_PER_DAY
    require_columns(transactions)
    if shared is not None:
        shared.check_delay(risk_delay_days)
    rows = _Rows.of(in_currency(transactions, currency))
    schema = feature_schema(INBOUND_RECIPE, shared=shared is not None)
    columns = ColumnStore(rows.inbound.size, schema)
    time, amount = rows.time[rows.inbound], rows.amount[rows.inbound]
    columns.put_all(payment_features(time=time, amount=amount))
    columns.put_all(roundness_features(amount=amount))
    _ages(columns, rows)
    _flows(columns, rows, delay=delay)
    _payer_customers(columns, rows)
    for entity, codes in (("payee", rows.payee), ("payer", rows.payer)):
        _known_frauds(columns, rows, entity, codes, delay=delay)
    _payer_reported(columns, rows, delay=delay)
    if shared is not None:
        for entity, codes in (("payee", rows.payee), ("payer", rows.payer)):
            _shared_risk(columns, rows, entity, codes, shared)
    built = FeatureTable(
        schema=columns.schema,
        values=columns.finish(),
        labels=rows.labels[rows.inbound],
        event_time=time,
        label_time=rows.label_time[rows.inbound],
        transaction_id=transactions["transaction_id"].to_numpy(dtype=object)[rows.inbound],
        positions=rows.inbound,
    )
    return with_own_columns(built, own_columns, transactions)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Raw columns as arrays, a value for each row of the table.

    Attributes
    ----------
    customer, payee, payer : ndarray of shape (n_rows,), dtype=int64
        Codes from 0, -1 where there is none. Payees and payers are accounts: one and the same
        account has the same code as either.
    accounts : sequence of str
        Identifier of each account.
    inbound : ndarray of shape (n_inbound,), dtype=int64
        The rows that are judged, ascending.
    slot : ndarray of shape (n_rows,), dtype=int64
        Place of each row among those; -1 for an outbound row.
    is_inbound, is_outflow : ndarray of shape (n_rows,), dtype=bool
    """

    time: Int64Array
    amount: Int64Array
    labels: Float32Array
    label_time: Int64Array
    customer: Int64Array
    payee: Int64Array
    payer: Int64Array
    accounts: list[str]
    inbound: Int64Array
    slot: Int64Array
    is_inbound: BoolArray
    is_outflow: BoolArray

    @classmethod
    def of(cls, transactions: pd.DataFrame) -> "_Rows":
        n_rows = len(transactions)
        labels = np.full(n_rows, np.nan, dtype=np.float32)
        label_time = np.full(n_rows, LABEL_NOT_KNOWN, dtype=np.int64)
        if all(name in transactions.columns for name in LABEL_COLUMNS):
            known = transactions["is_fraud"].notna().to_numpy(dtype=np.bool_)
            labels[known] = transactions["is_fraud"].to_numpy()[known]
            label_time[known] = transactions["label_time"].to_numpy()[known]
        inbound = rows_of_direction(transactions, INBOUND)
        slot = np.full(n_rows, -1, dtype=np.int64)
        slot[inbound] = np.arange(inbound.size)
        is_inbound = slot >= 0
        is_outflow = ~is_inbound
        if "channel" in transactions.columns:
            channel = transactions["channel"]
            leaves = channel.isin(OUTFLOW_CHANNELS) | channel.isna()
            is_outflow &= leaves.to_numpy(dtype=np.bool_)
        nothing = pd.Series([None] * n_rows, dtype=object)
        texts = [
            transactions[name].astype(object) if name in transactions.columns else nothing
            for name in ("payee_id", "payer_id")
        ]
        codes, accounts = pd.factorize(pd.concat(texts, ignore_index=True))
        codes = codes.astype(np.int64, copy=False)
        # Who is paid by an outbound payment has no payer of ours.
        payer = np.where(is_inbound, codes[n_rows:], -1)
        customer = pd.factorize(transactions["customer_id"])[0].astype(np.int64, copy=False)
        return cls(
            time=transactions["event_time"].to_numpy(dtype=np.int64),
            amount=transactions["amount_minor"].to_numpy(dtype=np.int64),
            labels=labels,
            label_time=label_time,
            customer=customer,
            payee=codes[:n_rows],
            payer=payer,
            accounts=accounts.tolist(),
            inbound=inbound,
            slot=slot,
            is_inbound=is_inbound,
            is_outflow=is_outflow,
        )

    def timeline(self, codes: Int64Array, rows: Int64Array, *, lookback: int) -> KeyedTimeline:
        """Lay rows on a time axis by a code of theirs; its ``order`` holds rows of the table."""
        dense = pd.factorize(codes[rows])[0].astype(np.int64, copy=False)
        found = KeyedTimeline.of(dense, self.time[rows], lookback=lookback)
        return KeyedTimeline(
            order=rows[found.order],
            codes=found.codes,
            times=found.times,
            positions=found.positions,
            origin=found.origin,
            stride=found.stride,
            lookback=found.lookback,
        )

    def with_code(self, codes: Int64Array) -> Int64Array:
        """Return the inbound rows that have a code."""
        return self.inbound[codes[self.inbound] >= 0]


def _ages(columns: ColumnStore, rows: _Rows) -> None:
    """How long the bank has known customer and account, and the customer the payer."""
    customer = rows.customer[rows.inbound]
    age = rows.time[rows.inbound] - _first_times(rows.customer, rows.time)[customer]
    columns.put_all(seconds_feature("customer_age_seconds", seconds=age))
    there = rows.with_code(rows.payee)
    age = _age_at(rows.payee[there], rows.time[there])
    columns.put_all(seconds_feature("account_age_seconds", seconds=age), rows.slot[there])
    there = rows.with_code(rows.payer)
    pair = rows.customer[there] * (len(rows.accounts) + 1) + rows.payer[there]
    age = _age_at(pd.factorize(pair)[0].astype(np.int64, copy=False), rows.time[there])
    columns.put_all(new_payer_feature(age_seconds=age), rows.slot[there])


def _first_times(codes: Int64Array, times: Int64Array) -> Int64Array:
    """Return the time at which each code is first seen."""
    first = np.full(int(codes.max(initial=-1)) + 1, MAX_EPOCH_SECONDS, dtype=np.int64)
    np.minimum.at(first, codes, times)
    return first


def _age_at(codes: Int64Array, times: Int64Array) -> Int64Array:
    """Return the time since each code was first seen, for each event."""
    return times - _first_times(codes, times)[codes]


def _flows(columns: ColumnStore, rows: _Rows, *, delay: int) -> None:
    """Put what reached the customer, from how many payers, and how fast it left."""
    lookback = max(delay, max(PASS_HOURS) * SECONDS_PER_HOUR) + _LONGEST
    everything = np.arange(rows.time.size, dtype=np.int64)
    timeline = rows.timeline(rows.customer, everything, lookback=lookback)
    order, times = timeline.order, timeline.times
    is_credit, is_outflow = rows.is_inbound[order], rows.is_outflow[order]
    # Only inbound payments ask; ``slots`` says where their answers go.
    asking = np.flatnonzero(is_credit)
    slots = rows.slot[order[asking]]
    amount = rows.amount[order]

    previous = timeline.previous()
    credit = timeline.previous_of(is_credit)
    outflow = timeline.previous_of(is_outflow)
    for name, before in (
        ("seconds_since_activity", previous),
        ("seconds_since_credit", credit),
        ("seconds_since_outflow", outflow),
    ):
        known = asking[before[asking] >= 0]
        since = times[known] - times[before[known]]
        columns.put_all(seconds_feature(name, seconds=since), rows.slot[order[known]])
    following = timeline.next_of(is_outflow)
    # Of the latest credit, the first outflow after it, if it lies before the payment.
    left_at = np.where(credit >= 0, following[credit], -1)
    known = asking[left_at[asking] >= 0]
    known = known[times[left_at[known]] < times[known]]
    took = times[left_at[known]] - times[credit[known]]
    columns.put_all(seconds_feature("seconds_to_outflow", seconds=took), rows.slot[order[known]])

    credited = running_total(np.where(is_credit, amount, 0))
    left = running_total(np.where(is_outflow, amount, 0))
    credits = running_total(is_credit.astype(np.int64))
    outflows = running_total(is_outflow.astype(np.int64))
    payers = np.where(is_credit, rows.payer[order], -1)
    windows = timeline.windows(_WIDTHS)
    for days, width, window in zip(WINDOW_DAYS, _WIDTHS, windows, strict=True):
        features = flow_features(
            days,
            amount=amount[asking],
            credits=window.sum(credits)[asking],
            credited=window.sum(credited)[asking],
            outflows=window.sum(outflows)[asking],
            left=window.sum(left)[asking],
        )
        columns.put_all(features, slots)
        seen = timeline.distinct(payers, width=width)[asking]
        columns.put_all(count_feature(f"credit_payers_{days}d", count=seen), slots)

    after = timeline.index_after(0)
    for hours in PASS_HOURS:
        lead = hours * SECONDS_PER_HOUR
        # What left within these hours after each payment; only finished hours are ever asked for.
        gone = left[timeline.index_after(lead)] - left[after]
        passed = running_total(np.where(is_credit, np.minimum(gone, amount), 0))
        (window,) = timeline.windows([PASS_DAYS * SECONDS_PER_DAY], delay=lead)
        features = passed_on_feature(
            hours, passed=window.sum(passed)[asking], credited=window.sum(credited)[asking]
        )
        columns.put_all(features, slots)

    own = np.flatnonzero(~is_credit & (rows.labels[order] == 1))
    reported = _frauds(timeline, own, rows, delay=delay, width=_LONGEST)[asking]
    columns.put_all(count_feature("customer_reported_30d", count=reported), slots)


def _payer_customers(columns: ColumnStore, rows: _Rows) -> None:
    """How many of the bank's customers the payer pays."""
    timeline = rows.timeline(rows.payer, rows.with_code(rows.payer), lookback=_LONGEST)
    customers, slots = rows.customer[timeline.order], rows.slot[timeline.order]
    for days in FAN_IN_DAYS:
        seen = timeline.distinct(customers, width=days * SECONDS_PER_DAY)
        columns.put_all(count_feature(f"payer_customers_{days}d", count=seen), slots)


def _known_frauds(
    columns: ColumnStore, rows: _Rows, entity: str, codes: Int64Array, *, delay: int
) -> None:
    """Inbound payments to an account, or from a payer, and the known frauds among them."""
    timeline = rows.timeline(codes, rows.with_code(codes), lookback=delay + _LONGEST)
    slots = rows.slot[timeline.order]
    fraud = np.flatnonzero(rows.labels[timeline.order] == 1)
    windows = timeline.windows(_WIDTHS, delay=delay)
    for days, width, window in zip(WINDOW_DAYS, _WIDTHS, windows, strict=True):
        frauds = _frauds(timeline, fraud, rows, delay=delay, width=width)
        features = risk_features(entity, days, count=window.count(), frauds=frauds)
        columns.put_all(features, slots)


def _payer_reported(columns: ColumnStore, rows: _Rows, *, delay: int) -> None:
    """Known frauds among what the bank's customers paid to the payer's account."""
    # An account shows up where it pays and where it is paid from here.
    account = np.where(rows.is_inbound, rows.payer, rows.payee)
    timeline = rows.timeline(account, np.flatnonzero(account >= 0), lookback=delay + _LONGEST)
    is_inbound = rows.is_inbound[timeline.order]
    fraud = np.flatnonzero(~is_inbound & (rows.labels[timeline.order] == 1))
    reported = _frauds(timeline, fraud, rows, delay=delay, width=_LONGEST)[is_inbound]
    features = count_feature("payer_reported_30d", count=reported)
    columns.put_all(features, rows.slot[timeline.order[is_inbound]])


def _frauds(
    timeline: KeyedTimeline, fraud: Int64Array, rows: _Rows, *, delay: int, width: int
) -> Int64Array:
    """Count those of some frauds that began to count in the window of each event."""
    happened = timeline.times[fraud]
    reported = rows.label_time[timeline.order[fraud]]
    counts_from = fraud_counts_from(happened, reported, delay_seconds=delay)
    return timeline.covering(timeline.codes[fraud], counts_from, counts_from + width)


def _shared_risk(
    columns: ColumnStore, rows: _Rows, entity: str, codes: Int64Array, shared: SharedRisk
) -> None:
    """Payments and frauds that all banks entered for an account."""
    there = rows.with_code(codes)
    used, which = np.unique(codes[there], return_inverse=True)
    identifiers = [rows.accounts[code] for code in used.tolist()]
    features = shared_features(
        shared,
        RiskEntity.PAYEE,
        identifiers,
        which.astype(np.int64, copy=False),
        rows.time[there],
        named=entity,
    )
    columns.put_all(features, rows.slot[there])
