"""Public lists of codes that a raw column may have beside our own names."""

from dataclasses import dataclass
from typing import Final

from fraudfed.payments.columns import Column
from fraudfed.payments.currencies import CURRENCIES
from fraudfed.payments.merchant_categories import CATEGORY_OF_CODE


@dataclass(frozen=True)
class CodeList:
    """A list of codes.

    Attributes
    ----------
    codes : frozenset of str
    description : str
        How an error message calls one of them.
    """

    codes: frozenset[str]
    description: str


#: By the name that ``Column.code_list`` gives.
CODE_LISTS: Final = {
    "currencies": CodeList(
        frozenset(CURRENCIES), "a currency code of ISO 4217 in capitals, such as GBP"
    ),
    "merchant_category_codes": CodeList(
        frozenset(CATEGORY_OF_CODE), "a merchant category code of ISO 18245, 0001 to 9999"
    ),
}


def allowed_values(column: Column) -> frozenset[str] | None:
    """Return every text that a column may hold; None if it may hold any."""
    if column.code_list is None:
        return None if column.values is None else frozenset(column.values)
    return CODE_LISTS[column.code_list].codes | frozenset(column.values or ())


def allowed_text(column: Column) -> str:
    """Say what a column with ``allowed_values`` may hold, for error texts and documentation."""
    names = "" if column.values is None else f"one of {', '.join(column.values)}"
    if column.code_list is None:
        return names
    code = CODE_LISTS[column.code_list].description
    return f"{names}, or {code}" if names else code
