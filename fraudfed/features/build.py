"""Compute the features of recipe ``fraudfed-card-2`` for a whole table of raw transactions.

Outbound payments are judged, and inbound ones count for nothing.

Law: the features of a payment depend on the payment itself (without its label), on payments of
*strictly earlier seconds*, and on labels that were *known before* its second. It depends on
nothing else, not even on the order of the rows. See
``docs/decisions/0005-features-only-from-the-past.md``.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from fraudfed.catalogue.recipe import CATEGORIES, RISK_ENTITIES
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.features.by_key.groups import (
    KEY_GROUPS,
    Columns,
    KeyGroup,
    RawColumns,
    group_names,
    put_group,
    put_shared,
)
from fraudfed.features.column_store import ColumnStore, require_columns
from fraudfed.features.currency import in_currency
from fraudfed.features.formulas import FeatureColumns, category_codes, payment_features
from fraudfed.features.own_columns import with_own_columns
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.features.table import FeatureTable, feature_schema, rows_of_direction
from fraudfed.payments.columns import OUTBOUND
from fraudfed.wire.messages import Currency, FeatureSpec


def build_features(
    transactions: pd.DataFrame,
    *,
    risk_delay_days: int = 0,
    shared: SharedRisk | None = None,
    own_columns: Sequence[FeatureSpec] = (),
    currency: Currency | None = None,
    on_group: Callable[[str], None] = lambda _group: None,
) -> FeatureTable:
    """Compute every feature of the recipe for the outbound payments of a table.

    Parameters
    ----------
    transactions : DataFrame
        Raw transactions that :func:`fraudfed.features.check.check_transactions` accepts, with
        or without labels, in any order. The history is what the table holds: give at least 30
        days plus the risk delay before the first row of interest, and every payment that was
        reported as fraud in that time, however old it is. Features that are built on an
        absent column are missing in every row.
    risk_delay_days : int
        A payment enters the windows of terminals, merchants and payees so many days after it was
        made. A fraud enters them then or when it is reported, whichever is later, and stays for
        the width of the window.
    shared : SharedRisk or None
        What all banks entered; with it the recipe's ``SHARED_FEATURES`` are built as well. Days
        that it does not cover count as empty: see ``SharedRisk.missing_days``.
    own_columns : sequence of FeatureSpec
        The contract's own columns, which ``transactions`` has too; the last features.
    currency : Currency or None
        The contract's: amounts are converted to it where ``transactions`` has a column
        ``currency``. None takes them as they stand.
    on_group : callable
        Called with the name of each group of features once it is built, to measure its time.

    Returns
    -------
    FeatureTable

    Raises
    ------
    DataError
        If a required or an own column is missing, or holds a value that has no code, if an amount
        has no rate, or if ``shared`` has another risk delay.
    ValueError
        If ``risk_delay_days`` is negative.
    """
    if risk_delay_days < 0:
        raise ValueError(f"risk_delay_days is {risk_delay_days}, expected 0 or more")
    require_columns(transactions)
    whole, positions = transactions, rows_of_direction(transactions, OUTBOUND)
    if positions.size < len(transactions):
        transactions = transactions.iloc[positions]
    raw = RawColumns.of(in_currency(transactions, currency))
    columns = ColumnStore(raw.n_rows, feature_schema(shared=shared is not None))
    on_group("columns")
    put_payment(columns, raw, transactions)
    on_group("payment")
    for group in KEY_GROUPS:
        put_group(
            columns,
            group.name,
            raw,
            transactions,
            risk_delay_days=risk_delay_days,
            on_group=on_group,
        )
    if shared is not None:
        shared.check_delay(risk_delay_days)
        for entity in RISK_ENTITIES:
            put_shared(columns, entity, raw, transactions, shared)
        on_group("shared")
    built = FeatureTable(
        schema=columns.schema,
        values=columns.finish(),
        labels=raw.labels,
        event_time=raw.time,
        label_time=raw.label_time,
        transaction_id=transactions["transaction_id"].to_numpy(dtype=object),
        positions=positions,
    )
    return with_own_columns(built, own_columns, whole)


def payment_table(
    judged: pd.DataFrame,
    positions: Int64Array,
    columns_of: Callable[[KeyGroup], Float32Array],
    *,
    shared: bool,
) -> FeatureTable:
    """Return the features of payments whose key groups are built already.

    Parameters
    ----------
    judged : DataFrame
        Outbound payments.
    positions : ndarray of shape (n_judged,), dtype=int64
        Their rows in the table that they were taken of.
    columns_of : callable
        Gives the columns of a group, as ``group_columns``.
    shared : bool
        Whether the groups have columns that come from other banks.
    """
    raw = RawColumns.of(judged)
    columns = ColumnStore(raw.n_rows, feature_schema(shared=shared))
    put_payment(columns, raw, judged)
    for group in KEY_GROUPS:
        names = group_names(group, shared=shared)
        columns.put_all(zip(names, columns_of(group).T, strict=True))
    return FeatureTable(
        schema=columns.schema,
        values=columns.finish(),
        labels=raw.labels,
        event_time=raw.time,
        label_time=raw.label_time,
        transaction_id=judged["transaction_id"].to_numpy(dtype=object),
        positions=positions,
    )


def put_payment(columns: Columns, raw: RawColumns, transactions: pd.DataFrame) -> None:
    """Put the columns that look at nothing but the payment itself."""
    columns.put_all(payment_features(time=raw.time, amount=raw.amount))
    columns.put_all(_categories(transactions))


def _categories(transactions: pd.DataFrame) -> FeatureColumns:
    """Yield codes for the payment's texts; one that occurs a million times is looked up once."""
    for name, categories in CATEGORIES.items():
        if name not in transactions.columns:
            yield name, np.full(len(transactions), np.nan, dtype=np.float32)
            continue
        numbers, values = pd.factorize(transactions[name])
        # The last entry is what number -1, no value, picks.
        yield name, category_codes(name, [*values, None], categories)[numbers]
