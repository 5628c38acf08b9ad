"""The published schema of the output: columns, units, nullability, and their Arrow types."""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column of ``transactions.parquet`` and ``transactions.csv``.

    Parameters
    ----------
    name : str
    type : str
        ``string``, ``int64``, ``int8`` or ``float64``.
    unit : str
        Unit or code list; empty for identifiers.
    nullable : bool
    meaning : str
    """

    name: str
    type: str
    unit: str
    nullable: bool
    meaning: str


COLUMNS: Final = (
    Column("transaction_id", "string", "", False, "unique over all banks"),
    Column("event_time", "int64", "UTC epoch seconds", False, "when the payment was made"),
    Column(
        "label_time",
        "int64",
        "UTC epoch seconds",
        False,
        "when the bank learns is_fraud: the report, or the end of the clean delay",
    ),
    Column("customer_id", "string", "", False, "private to the bank, prefixed by its name"),
    Column(
        "account_id",
        "string",
        "",
        False,
        "the payer's account; named as in payee_id, so that payments can be followed",
    ),
    Column("card_id", "string", "", True, "private to the bank; null for transfer"),
    Column(
        "merchant_id",
        "string",
        "",
        False,
        "shared by all banks; for a transfer the institution that keeps the payee's account",
    ),
    Column("terminal_id", "string", "", True, "shared; null for ecommerce and transfer"),
    Column(
        "payee_id",
        "string",
        "",
        True,
        "shared; the account_id of a customer of some bank or an outside account; "
        "null except for transfer",
    ),
    Column(
        "device_id", "string", "", True, "null for pos and atm, and at banks that keep no devices"
    ),
    Column("channel", "string", "pos, ecommerce, transfer or atm", False, "how it was paid"),
    Column("merchant_category", "string", "category list", True, "null for transfer"),
    Column("amount_minor", "int64", "minor currency units (cents)", False, "above 0"),
    Column(
        "latitude",
        "float64",
        "degrees",
        True,
        "of the terminal; null without one, and at banks that keep no places",
    ),
    Column(
        "longitude",
        "float64",
        "degrees",
        True,
        "of the terminal; null without one, and at banks that keep no places",
    ),
    Column("is_blocked", "int8", "0 or 1", False, "the bank stopped the payment"),
    Column("is_fraud", "int8", "0 or 1", False, "the label: what the bank was told in the end"),
    Column(
        "fraud_kind",
        "string",
        "kind list",
        True,
        "the truth, for analysis, never a feature; null if not fraud",
    ),
)

_ARROW_TYPES: Final = {
    "string": pa.string(),
    "int64": pa.int64(),
    "int8": pa.int8(),
    "float64": pa.float64(),
}

ARROW_SCHEMA: Final = pa.schema(
    [pa.field(c.name, _ARROW_TYPES[c.type], nullable=c.nullable) for c in COLUMNS]
)
