"""The published schemas of what arrives at a bank, and of the accounts of mules."""

from typing import Final

import pyarrow as pa

from data_gen.categories import CATEGORY_NAMES
from data_gen.events import KIND_NAMES
from data_gen.schema.columns import COLUMNS, Column
from data_gen.schema.rules import INCOMING, Rule, TableSchema

_TRANSFER: Final = ("transfer",)
_TIME: Final = Rule(minimum=0)

#: What a column means here, where that is not what it means of an outgoing payment.
_MEANINGS: Final = {
    "transaction_id": "`in-` and the identifier of the payer's bank",
    "label_time": "when the receiving bank learns is_fraud: once the payer's bank has told it, or "
    "the end of the clean delay",
    "customer_id": "who is paid; private to the receiving bank, as in its other file",
    "account_id": "the payer's account, as payer_id",
    "card_id": "null",
    "terminal_id": "null",
    "payee_id": "shared; the account that is paid, of a customer of the receiving bank",
    "device_id": "null: the receiving bank does not see it",
    "channel": "how it was paid",
    "merchant_category": "null",
    "latitude": "null",
    "longitude": "null",
    "is_blocked": "0: what was stopped does not arrive",
    "is_fraud": "the label: what the payer's bank was told in the end",
}

INCOMING_COLUMNS: Final = (
    *(
        Column(
            column.name,
            column.type,
            column.unit,
            column.nullable,
            _MEANINGS.get(column.name, column.meaning),
        )
        for column in COLUMNS
    ),
    Column("direction", "string", "", False, "the receiving bank's view"),
    Column("payer_id", "string", "", False, "shared; the account that pays, named as in payee_id"),
)

INCOMING_SCHEMA: Final = TableSchema(
    kind=INCOMING,
    columns=INCOMING_COLUMNS,
    rules={
        "event_time": _TIME,
        "label_time": _TIME,
        "card_id": Rule(null_for=_TRANSFER),
        "terminal_id": Rule(null_for=_TRANSFER),
        "payee_id": Rule(present_for=_TRANSFER),
        "device_id": Rule(null_for=_TRANSFER),
        "channel": Rule(allowed=_TRANSFER),
        "merchant_category": Rule(allowed=CATEGORY_NAMES, null_for=_TRANSFER),
        "amount_minor": Rule(minimum=1),
        "latitude": Rule(null_for=_TRANSFER),
        "longitude": Rule(null_for=_TRANSFER),
        "is_blocked": Rule(minimum=0, maximum=0),
        "is_fraud": Rule(minimum=0, maximum=1),
        "fraud_kind": Rule(allowed=KIND_NAMES),
        "direction": Rule(allowed=("inbound",)),
    },
    identifier="transaction_id",
    time="event_time",
    label_time="label_time",
    channel="channel",
)

#: Truth for evaluation, never an input: the accounts that stolen money reached.
MULE_COLUMNS: Final = (
    Column("payee_id", "string", "", False, "account of a customer that stolen money reached"),
    Column("customer_id", "string", "", False, "whose account it is, as in the bank's files"),
    Column(
        "first_arrival_time", "int64", "UTC epoch seconds", False, "when stolen money first came"
    ),
    Column(
        "first_report_time",
        "int64",
        "UTC epoch seconds",
        True,
        "when the bank first learnt of it; null if it never did",
    ),
    Column("stolen_payments", "int64", "", False, "payments of stolen money that came, 1 or more"),
)
MULE_SCHEMA: Final = pa.schema([column.arrow for column in MULE_COLUMNS])
