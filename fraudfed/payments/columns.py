"""What a raw transaction is.

One row is one payment as the customer's bank sees it: one that the customer made, or, with
``direction`` inbound, one that the customer was paid. Times are UTC epoch seconds, amounts are
minor currency units. ``label_time`` is when the bank *learnt* the label: for fraud the report, for
a clean payment the moment from which it counts as clean. No feature uses a label before that.
"""

from dataclasses import dataclass
from enum import StrEnum

#: How a payment was made; the order is the order of the category codes.
CHANNELS = ("pos", "ecommerce", "transfer", "atm")

#: Whose customer the row is about: the payer's (outbound) or the payee's (inbound).
OUTBOUND, INBOUND = DIRECTIONS = ("outbound", "inbound")

#: What the merchant sells; the order is the order of the category codes.
MERCHANT_CATEGORIES = (
    "grocery",
    "fuel",
    "restaurant",
    "transport",
    "travel",
    "fashion",
    "electronics",
    "home_garden",
    "health",
    "beauty",
    "sports",
    "books_media",
    "digital_goods",
    "gaming",
    "gift_cards",
    "jewellery",
    "entertainment",
    "services",
    "cash",
)

#: 1970 to 2242. A time outside is almost surely in milliseconds or not an epoch time at all.
MAX_EPOCH_SECONDS = 1 << 33
#: 10^10 in a currency with two decimals. Nine million such payments still sum within int64.
MAX_AMOUNT_MINOR = 10**12


class ColumnKind(StrEnum):
    """How a raw column is stored."""

    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"


@dataclass(frozen=True)
class Column:
    """One column of the raw transaction table.

    Attributes
    ----------
    name : str
    kind : ColumnKind
    description : str
        Meaning and unit.
    nullable : bool
        Whether a row may have no value here.
    minimum, maximum : float, or None
        Closed range of the values.
    values : tuple of str, or None
        The only values allowed, beside those of ``code_list``.
    code_list : str or None
        Further values: the name of a public list in ``code_lists``.
    optional : bool
        Whether the whole column may be absent: some data lack it.
    analysis : bool
        Known and checked, and never read by a feature.
    """

    name: str
    kind: ColumnKind
    description: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] | None = None
    code_list: str | None = None
    optional: bool = False
    analysis: bool = False

    @property
    def required(self) -> bool:
        """Whether features cannot be built without the column."""
        return not self.optional and self.name not in LABEL_COLUMNS


#: Absent or null where the label is not known yet, as when new payments are scored.
LABEL_COLUMNS = ("label_time", "is_fraud")
#: UTC epoch seconds.
TIME_COLUMNS = ("event_time", "label_time")

#: Every column of the raw table, in the order in which it is written.
COLUMNS = (
    Column("transaction_id", ColumnKind.STRING, "unique over all banks"),
    Column(
        "event_time",
        ColumnKind.INTEGER,
        "time of payment, UTC epoch seconds",
        minimum=0,
        maximum=MAX_EPOCH_SECONDS - 1,
    ),
    Column(
        "label_time",
        ColumnKind.INTEGER,
        "time at which the bank learns the label, UTC epoch seconds",
        minimum=0,
        maximum=MAX_EPOCH_SECONDS - 1,
    ),
    Column(
        "customer_id",
        ColumnKind.STRING,
        "who pays, of an inbound payment who is paid; private to the bank",
    ),
    Column(
        "direction",
        ColumnKind.STRING,
        "whether the customer pays (outbound) or is paid (inbound); outbound where there is none",
        nullable=True,
        values=DIRECTIONS,
        optional=True,
    ),
    Column(
        "account_id",
        ColumnKind.STRING,
        "account of the payer, named as payee_id names accounts; never a feature",
        nullable=True,
        optional=True,
        analysis=True,
    ),
    Column(
        "card_id",
        ColumnKind.STRING,
        "card of the payer; private to the bank; never a feature",
        nullable=True,
        optional=True,
        analysis=True,
    ),
    Column(
        "merchant_id",
        ColumnKind.STRING,
        "who is paid; shared by all banks",
        nullable=True,
        optional=True,
    ),
    Column(
        "terminal_id",
        ColumnKind.STRING,
        "card terminal or cash machine; null if the card was not present",
        nullable=True,
        optional=True,
    ),
    Column(
        "payee_id",
        ColumnKind.STRING,
        "receiving account; transfers only",
        nullable=True,
        optional=True,
    ),
    Column(
        "payer_id",
        ColumnKind.STRING,
        "sending account of an inbound payment, named as payee_id names accounts",
        nullable=True,
        optional=True,
    ),
    Column(
        "device_id",
        ColumnKind.STRING,
        "customer's phone or computer; null at a terminal",
        nullable=True,
        optional=True,
    ),
    Column("channel", ColumnKind.STRING, "how it was paid", values=CHANNELS, optional=True),
    Column(
        "merchant_category",
        ColumnKind.STRING,
        "what the merchant sells; null for transfers",
        nullable=True,
        optional=True,
        values=MERCHANT_CATEGORIES,
        code_list="merchant_category_codes",
    ),
    Column(
        "amount_minor",
        ColumnKind.INTEGER,
        "amount, minor currency units; 0 verifies a card or an account",
        minimum=0,
        maximum=MAX_AMOUNT_MINOR,
    ),
    Column(
        "currency",
        ColumnKind.STRING,
        "currency of the amount; that of the run if the column is absent",
        code_list="currencies",
        optional=True,
    ),
    Column(
        "latitude",
        ColumnKind.FLOAT,
        "place of the terminal, degrees north",
        nullable=True,
        optional=True,
        minimum=-90.0,
        maximum=90.0,
    ),
    Column(
        "longitude",
        ColumnKind.FLOAT,
        "place of the terminal, degrees east",
        nullable=True,
        optional=True,
        minimum=-180.0,
        maximum=180.0,
    ),
    Column("is_fraud", ColumnKind.INTEGER, "1 fraud, 0 clean", minimum=0, maximum=1),
    Column(
        "is_blocked",
        ColumnKind.INTEGER,
        "1 if the bank stopped the payment, else 0; never a feature",
        minimum=0,
        maximum=1,
        optional=True,
        analysis=True,
    ),
    Column(
        "fraud_kind",
        ColumnKind.STRING,
        "kind of fraud, for analysis only; one that is not in the list counts as other",
        nullable=True,
        optional=True,
        analysis=True,
    ),
)


def pandas_dtypes() -> dict[str, str]:
    """Dtype of every column for ``pandas.read_csv(dtype=...)``.

    Identifiers are text even when they look like numbers. Integer columns are left out: pandas
    reads them as int64, and what it cannot read so is reported by ``check_transactions``
    with its row, which a dtype here would turn into an error without one.
    """
    return {column.name: "str" for column in COLUMNS if column.kind is ColumnKind.STRING}
