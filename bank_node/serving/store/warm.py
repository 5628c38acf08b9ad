"""Fill an empty store with the payments of a table: whole columns at a time, not one by one.

Law: the store is what it would be if every payment had been observed in the order of time, and
every fraud reported at its ``label_time``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bank_node.data.contract import load_transactions
from bank_node.serving.store.arrival import content_of
from bank_node.serving.store.packed import PackedStore
from bank_node.serving.store.packing import (
    HEAD,
    NO_TIME,
    customer_head,
    event_type,
    pack_entity,
    pack_place,
    pack_report,
)
from bank_node.serving.store.shelf import Batch
from fraudfed.catalogue.inbound import OUTFLOW_CHANNELS
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.errors import DataError, StateError
from fraudfed.features.arrivals import KEY_BYTES, ArrivalFeatures
from fraudfed.features.currency import in_currency
from fraudfed.features.formulas import SECONDS_PER_DAY, fraud_counts_from
from fraudfed.features.history import CREDIT, NEVER, OTHER, OUTFLOW, EntityHistory
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.payment import payments_of
from fraudfed.payments.columns import INBOUND
from fraudfed.wire.messages import Currency

#: Histories that are written at once.
_BATCH = 20_000


def warm_from_file(
    store: PackedStore,
    path: Path,
    *,
    mapping: Mapping | None = None,
    currency: Currency | None = None,
) -> int:
    """Fill a store from a file of transactions, CSV or Parquet, with labels or without.

    Parameters
    ----------
    store, currency
        As for ``warm``.
    path : Path
    mapping : Mapping or None
        How the file's columns become those of transactions; None: they are those.

    Returns
    -------
    int
        How many payments count for the recipe.

    Raises
    ------
    DataError
        If the file cannot be read, or rows are not what they should be; nothing is written.
    StateError, UnavailableError
        As ``warm``.
    """
    return warm(store, load_transactions(path, mapping=mapping), currency=currency)


def warm(
    store: PackedStore, transactions: pd.DataFrame, *, currency: Currency | None = None
) -> int:
    """Fill a store.

    Parameters
    ----------
    store : PackedStore
        In which nothing was observed.
    transactions : DataFrame
        Raw transactions that ``check_transactions`` accepts, with labels or without.
    currency : Currency or None
        The contract's.

    Returns
    -------
    int
        How many payments count for the recipe.

    Raises
    ------
    StateError
        If the store holds payments.
    DataError
        If a time is of 2106 or later, or an amount has no rate.
    UnavailableError
        If the store does not take them: then it must be made anew.
    """
    if store.latest or store.position:
        raise StateError(
            "feature store: holds payments, expected an empty one to fill; name a new directory, "
            "or leave --warm out"
        )
    if transactions.empty:
        return 0
    facts = _Facts.of(in_currency(transactions, currency), store.builder)
    if int(facts.time.max(initial=0)) >= NO_TIME:
        raise DataError(
            f"transactions: event_time {int(facts.time.max())} is of 2106 or later, expected "
            "seconds since 1970; mend the times"
        )
    latest = int(facts.time.max(initial=0))
    store.builder.latest = latest
    # Until all is there nothing may open it.
    store.shelf.write(Batch(facts={"filling": "yes"}))
    batch = Batch()
    for key, parts in (*_customers(facts), *_entities(facts)):
        batch.parts += [(key, part, data) for part, data in parts.items()]
        if len(batch.parts) >= _BATCH:
            store.shelf.write(batch)
            batch = Batch()
    recent = (transactions["event_time"] >= store.builder.oldest).to_numpy(dtype=np.bool_)
    for payment in payments_of(transactions[recent]):
        if store.builder.recipe == RECIPE and payment.is_inbound:
            continue
        key = store.builder.key_of("transaction", payment.transaction_id)
        day = payment.event_time // SECONDS_PER_DAY
        batch.payments.append((day, key, content_of(payment)))
    batch.facts = {"filling": "no", "latest": str(latest)}
    store.shelf.write(batch)
    return int(facts.time.size)


@dataclass(frozen=True, eq=False)
class _Coded:
    """A column of identifiers as codes, -1 for none, and the keys of the codes."""

    codes: Int64Array
    keys: "np.ndarray[tuple[int], np.dtype[np.void]]"

    @classmethod
    def of(cls, column: "pd.Series[str]", kind: str, builder: ArrivalFeatures) -> "_Coded":
        codes, names = pd.factorize(column)
        keys = b"".join(builder.key_of(kind, str(name)) for name in names)
        return cls(codes.astype(np.int64), np.frombuffer(keys, dtype=f"V{KEY_BYTES}"))

    def only(self, rows: BoolArray) -> "_Coded":
        return _Coded(np.where(rows, self.codes, -1), self.keys)


@dataclass(frozen=True, eq=False)
class _Facts:
    """The rows that count for a recipe, as arrays of one element per row."""

    builder: ArrivalFeatures
    time: Int64Array
    amount: Int64Array
    kind: Int64Array
    customer: _Coded
    other: _Coded
    met: list[_Coded]
    plain: list[_Coded]
    linked: list[_Coded]
    frauds: list[_Coded]
    """What counts frauds, the former two first."""
    counts_from: Int64Array
    """NEVER: no fraud that a window may hold."""
    table: pd.DataFrame
    placed: BoolArray

    @classmethod
    def of(cls, table: pd.DataFrame, builder: ArrivalFeatures) -> "_Facts":
        inbound = np.zeros(len(table), dtype=np.bool_)
        if "direction" in table.columns:
            inbound = (table["direction"] == INBOUND).fillna(False).to_numpy(dtype=np.bool_)
        is_card = builder.recipe == RECIPE
        if is_card and inbound.any():
            table, inbound = table[~inbound], np.zeros(int((~inbound).sum()), dtype=np.bool_)
        time = table["event_time"].to_numpy(dtype=np.int64)
        coded: dict[str, _Coded] = {}

        def entity(kind: str, column: str | None = None) -> _Coded:
            if kind not in coded:
                name = f"{column or kind}_id"
                series = table[name] if name in table.columns else pd.Series([None] * len(table))
                coded[kind] = _Coded.of(series, kind, builder)
            return coded[kind]

        placed = np.zeros(len(table), dtype=np.bool_)
        if is_card:
            kind = np.full(len(table), OTHER, dtype=np.int64)
            other, met = entity("payee"), [entity("payee"), entity("device")]
            plain, linked = [entity("terminal"), entity("merchant")], [entity("payee")]
            frauds = [*plain, *linked]
            if {"latitude", "longitude"} <= set(table.columns):
                placed = table[["latitude", "longitude"]].notna().all(axis=1).to_numpy(np.bool_)
        else:
            leaves = np.ones(len(table), dtype=np.bool_)
            if "channel" in table.columns:
                channel = table["channel"]
                leaves = (channel.isna() | channel.isin(OUTFLOW_CHANNELS)).to_numpy(np.bool_)
            kind = np.where(inbound, CREDIT, np.where(leaves, OUTFLOW, OTHER))
            other = entity("payer").only(inbound)
            met, plain, linked = [other], [entity("payee").only(inbound)], [other]
            frauds = [*plain, *linked, entity("reported", "payee").only(~inbound)]
        counts_from = np.full(len(table), NEVER, dtype=np.int64)
        if {"is_fraud", "label_time"} <= set(table.columns):
            fraud = (table["is_fraud"] == 1).fillna(False).to_numpy(dtype=np.bool_)
            known = table["label_time"][fraud].to_numpy(dtype=np.int64)
            since = fraud_counts_from(time[fraud], known, delay_seconds=builder.delay_seconds)
            oldest = int(time.max(initial=0)) - builder.lateness_seconds - builder.longest_seconds
            counts_from[fraud] = np.where(since >= oldest, since, NEVER)
        return cls(
            builder=builder,
            time=time,
            amount=table["amount_minor"].to_numpy(dtype=np.int64),
            kind=kind.astype(np.int64),
            customer=entity("customer"),
            other=other,
            met=met,
            plain=plain,
            linked=linked,
            frauds=frauds,
            counts_from=counts_from,
            table=table,
            placed=placed,
        )


def _customers(facts: _Facts) -> Iterator[tuple[bytes, dict[int, bytes]]]:
    """Yield every customer's key and parts."""
    n_customers = facts.customer.keys.size
    customer, time = facts.customer.codes, facts.time
    met_of, met_keys, met_at, met_bounds = _met(facts)
    kept = time >= facts.builder.oldest_kept
    order = np.flatnonzero(kept)
    order = order[np.lexsort([time[order], customer[order]])]
    amounts = facts.amount[order]
    events = {}
    for wide in (False, True):
        made = np.empty(order.size, event_type(wide_times=False, wide_others=wide))
        made["time"], made["kind"] = time[order], facts.kind[order]
        made["low"], made["high"] = amounts & 0xFFFFFFFF, amounts >> 32
        with np.errstate(invalid="ignore", over="ignore"):
            made["other"] = met_of[order].astype(made["other"].dtype)
        events[wide] = (memoryview(made.tobytes()), made.dtype.itemsize)
    bounds = np.searchsorted(customer[order], np.arange(n_customers + 1)).tolist()
    first = _least(customer, time, n_customers).tolist()
    before = _before(facts, ~kept).tolist()
    places, reports = _places(facts), _reports(facts)
    keys = facts.customer.keys.tobytes()
    for code in range(n_customers):
        start, stop = bounds[code : code + 2]
        low, high = met_bounds[code : code + 2]
        wide = high - low >= 0xFFFF
        rows, width = events[wide]
        there, heard = places.get(code, []), reports.get(code, [])
        head = customer_head(
            flags=2 * wide,
            first=first[code],
            before=tuple(before[code]),
            counts=(stop - start, high - low, len(there), len(heard)),
            position=0,
        )
        data = b"".join(
            (
                head,
                rows[start * width : stop * width],
                met_keys[low * KEY_BYTES : high * KEY_BYTES],
                met_at[low * 4 : high * 4],
                *there,
                *heard,
            )
        )
        yield keys[code * KEY_BYTES : (code + 1) * KEY_BYTES], {HEAD: data}


def _met(facts: _Facts) -> tuple[Int64Array, memoryview, memoryview, list[int]]:
    """Find whom each customer met first when.

    Returns
    -------
    index : ndarray of shape (n_rows,), dtype=int64
        Of each row's other side among those of its customer; -1: none.
    keys, times : memoryview
        Of all customers one after another, packed.
    bounds : list of int
        Where each customer's begin.
    """
    n_customers = facts.customer.keys.size
    offsets = np.cumsum([0, *(one.keys.size for one in facts.met)]).tolist()
    n_all = max(offsets[-1], 1)
    rows = [np.flatnonzero(one.codes >= 0) for one in facts.met]
    pairs = np.concatenate(
        [
            facts.customer.codes[there] * n_all + one.codes[there] + offset
            for one, there, offset in zip(facts.met, rows, offsets, strict=False)
        ]
    )
    found, which = np.unique(pairs, return_inverse=True)
    met_at = _least(which, facts.time[np.concatenate(rows)], found.size)
    bounds = np.searchsorted(found, np.arange(n_customers + 1) * n_all)
    keys = np.concatenate([one.keys for one in facts.met])[found % n_all] if found.size else b""
    index = np.full(facts.time.size, -1, dtype=np.int64)
    there = rows[0]
    index[there] = which[: there.size] - bounds[facts.customer.codes[there]]
    packed = keys if isinstance(keys, bytes) else keys.tobytes()
    times = met_at.astype("<u4").tobytes()
    return index, memoryview(packed), memoryview(times), bounds.tolist()


def _least(codes: Int64Array, values: Int64Array, n_codes: int) -> Int64Array:
    """Return the least value of each code."""
    least = np.full(n_codes, np.iinfo(np.int64).max, dtype=np.int64)
    np.minimum.at(least, codes, values)
    return least


def _before(facts: _Facts, forgotten: BoolArray) -> Int64Array:
    """Return ``CustomerHistory.before`` of every customer, shape (n_customers, 4)."""
    customer, time, kind = facts.customer.codes, facts.time, facts.kind
    before = np.full((facts.customer.keys.size, 4), NEVER, dtype=np.int64)
    for index, rows in enumerate(
        (forgotten, forgotten & (kind == CREDIT), forgotten & (kind == OUTFLOW))
    ):
        np.maximum.at(before[:, index], customer[rows], time[rows])
    left = np.flatnonzero(forgotten & (kind == OUTFLOW))
    left = left[(before[customer[left], 1] != NEVER) & (time[left] > before[customer[left], 1])]
    soonest = _least(customer[left], time[left], len(before))
    before[:, 3] = np.where(soonest == np.iinfo(np.int64).max, NEVER, soonest)
    return before


def _places(facts: _Facts) -> dict[int, list[bytes]]:
    """Return the packed places of each customer: the latest seconds, and the last one before."""
    rows = np.flatnonzero(facts.placed)
    if rows.size == 0:
        return {}
    customer, time = facts.customer.codes[rows], facts.time[rows]
    oldest = facts.builder.oldest
    last = np.full(facts.customer.keys.size, NEVER, dtype=np.int64)
    early = time < oldest
    np.maximum.at(last, customer[early], time[early])
    wanted = rows[~early | (time == last[customer])]
    found: dict[int, dict[int, tuple[str, float, float]]] = {}
    columns = facts.table[["transaction_id", "latitude", "longitude"]].iloc[wanted]
    for code, second, name, latitude, longitude in zip(
        facts.customer.codes[wanted].tolist(),
        facts.time[wanted].tolist(),
        columns["transaction_id"].tolist(),
        columns["latitude"].to_numpy(dtype=np.float64).tolist(),
        columns["longitude"].to_numpy(dtype=np.float64).tolist(),
        strict=True,
    ):
        seconds = found.setdefault(code, {})
        place = (name, latitude, longitude)
        seconds[second] = max(seconds.get(second, place), place)
    return {
        code: [pack_place((second, *seconds[second])) for second in sorted(seconds)]
        for code, seconds in found.items()
    }


def _reports(facts: _Facts) -> dict[int, list[bytes]]:
    """Return the packed reports of each customer."""
    rows = np.flatnonzero(facts.counts_from != NEVER)
    found: dict[int, list[bytes]] = {}
    names = facts.table["transaction_id"].iloc[rows].tolist()
    for row, name in zip(rows.tolist(), names, strict=True):
        key = facts.builder.key_of("transaction", name)
        own = bool(facts.kind[row] != CREDIT)
        packed = pack_report(key, int(facts.counts_from[row]), own)
        found.setdefault(int(facts.customer.codes[row]), []).append(packed)
    return found


def _entities(facts: _Facts) -> Iterator[tuple[bytes, dict[int, bytes]]]:
    """Yield every entity's key and parts."""
    oldest, longest = facts.builder.oldest_kept, facts.builder.longest_seconds
    counting = [*facts.plain, *facts.linked]
    for number, entity in enumerate(facts.frauds):
        is_counted, is_linked = number < len(counting), number >= len(facts.plain)
        rows = np.flatnonzero(entity.codes >= 0)
        codes, time = entity.codes[rows], facts.time[rows]
        previous = np.full(rows.size, NEVER, dtype=np.int64)
        if is_counted and is_linked:
            customer = facts.customer.codes[rows]
            by_pair = np.lexsort([time, customer, codes])
            same = (np.diff(codes[by_pair]) == 0) & (np.diff(customer[by_pair]) == 0)
            previous[by_pair[1:][same]] = time[by_pair[:-1][same]]
        since = facts.counts_from[rows]
        frauds: dict[int, list[int]] = {}
        for row in np.flatnonzero(since >= facts.builder.oldest - longest).tolist():
            frauds.setdefault(int(codes[row]), []).append(int(since[row]))
        first = _least(codes, time, entity.keys.size)
        kept = np.flatnonzero(time >= oldest) if is_counted else np.empty(0, dtype=np.int64)
        order = kept[np.lexsort([time[kept], codes[kept]])]
        bounds = np.searchsorted(codes[order], np.arange(entity.keys.size + 1)).tolist()
        times, befores = time[order], previous[order]
        for code in range(entity.keys.size):
            start, stop = bounds[code : code + 2]
            history = EntityHistory()
            history.is_linked = is_counted and is_linked
            history.frauds = sorted(frauds.get(code, []))
            if is_counted and first[code] != np.iinfo(np.int64).max:
                history.first = int(first[code])
            if start == stop and not history.frauds and not facts.builder.keeps(history):
                continue
            history.times.frombytes(times[start:stop].tobytes())
            if history.is_linked:
                history.previous.frombytes(befores[start:stop].tobytes())
            yield entity.keys[code].tobytes(), pack_entity(history, days=None)
