"""What a column or a category may be called, so that every program along the way can hold it.

A feature's name stands in a CSV header, in a Parquet schema, in the data contract and in the model;
a category in a CSV cell and in the model. Here are the rules of all of these together, so that a
name is refused when it is chosen, and not when banks have begun to train.
"""

import unicodedata
from collections.abc import Iterable

#: ``DMatrix.feature_names`` of XGBoost's Python package refuses these (``xgboost/core.py``, from
#: 1.0 to 3.4); its own expressions are written with them.
_XGBOOST = "[]<"
#: Longer ones are a line of data that was taken for a header.
MOST_CHARACTERS = 200
#: A category may be a sentence.
MOST_CATEGORY_CHARACTERS = 1000
#: Control characters, line ends and halves of characters: a header has one line, XGBoost's C
#: interface ends a text at NUL, and none of them can be told apart on a screen.
_UNWRITABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: A byte order mark stands at the beginning of a file; readers take it away.
_BYTE_ORDER_MARK = "\ufeff"
#: A quoted cell may hold these, and a description of a category does.
_IN_CELLS = frozenset("\n\r\t")


def column_fault(name: str) -> str | None:
    """Say why no column can have a name, as the end of a sentence; None if one can."""
    if not name.strip():
        return "is empty; give the column a name"
    if len(name) > MOST_CHARACTERS:
        return f"has {len(name)} characters, expected at most {MOST_CHARACTERS}; shorten it"
    for character in name:
        if character == _BYTE_ORDER_MARK or unicodedata.category(character) in _UNWRITABLE:
            return f"contains {character!a}, which no header can hold; rename the column"
    return None


def feature_fault(name: str) -> str | None:
    """Say why no feature can have a name: as a column, and for XGBoost; None if one can."""
    for character in name:
        if character in _XGBOOST:
            return f"contains {character!r}, which XGBoost does not accept; rename the column"
    return column_fault(name)


def category_fault(category: str) -> str | None:
    """Say why no cell can hold a category, as the end of a sentence; None if one can."""
    if not category:
        return "is empty, which is how a missing value is written; leave it out"
    if len(category) > MOST_CATEGORY_CHARACTERS:
        return (
            f"has {len(category)} characters, expected at most {MOST_CATEGORY_CHARACTERS}; it is "
            "a text, not a category"
        )
    for character in category:
        if character not in _IN_CELLS and unicodedata.category(character) in _UNWRITABLE:
            return f"contains {character!a}, which no file of text can hold; change it"
    return None


def twins(texts: Iterable[str]) -> tuple[str, str] | None:
    """Return two texts that are equal in Unicode's canonical form (NFC), None if there are none.

    They look the same: nobody could say which of the two is meant.
    """
    found: dict[str, str] = {}
    for text in texts:
        other = found.setdefault(unicodedata.normalize("NFC", text), text)
        if other != text:
            return other, text
    return None
