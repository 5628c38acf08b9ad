"""The published schema of transactions: the columns, and the rules for their values."""

from typing import Final

from data_gen.categories import CATEGORY_NAMES
from data_gen.events import CHANNEL_NAMES, KIND_NAMES
from data_gen.schema.columns import COLUMNS
from data_gen.schema.rules import TRANSACTIONS, Rule, TableSchema

_AT_TERMINAL: Final = ("pos", "atm")
_REMOTE: Final = ("ecommerce", "transfer")
_CARD: Final = ("pos", "ecommerce", "atm")
_TIME: Final = Rule(minimum=0)
_FLAG: Final = Rule(minimum=0, maximum=1)

TRANSACTION_SCHEMA: Final = TableSchema(
    kind=TRANSACTIONS,
    columns=COLUMNS,
    rules={
        "event_time": _TIME,
        "label_time": _TIME,
        "card_id": Rule(null_for=("transfer",), present_for=_CARD),
        "terminal_id": Rule(null_for=_REMOTE, present_for=_AT_TERMINAL),
        "payee_id": Rule(null_for=_CARD, present_for=("transfer",)),
        # A bank may not know devices or places at all, so nowhere must they be present.
        "device_id": Rule(null_for=_AT_TERMINAL),
        "latitude": Rule(minimum=-90.0, maximum=90.0, null_for=_REMOTE),
        "longitude": Rule(minimum=-180.0, maximum=180.0, null_for=_REMOTE),
        "channel": Rule(allowed=CHANNEL_NAMES),
        "merchant_category": Rule(
            allowed=CATEGORY_NAMES, null_for=("transfer",), present_for=_CARD
        ),
        "amount_minor": Rule(minimum=1),
        "is_blocked": _FLAG,
        "is_fraud": _FLAG,
        "fraud_kind": Rule(allowed=KIND_NAMES),
    },
    identifier="transaction_id",
    time="event_time",
    label_time="label_time",
    channel="channel",
)
