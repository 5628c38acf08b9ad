"""Names of banks, made of the values of a bank column: one name for each value, whatever it holds.

A bank's name is part of addresses and of file names, so it is a lower-case word of at most 63
ASCII characters (``fraudfed.wire.messages.BankName``). Law: names are injective, and depend only on
which values there are, neither on the order of rows nor on how often a value occurs. People see the
value itself, the bank's title.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fraudfed.dtypes import BoolArray
from fraudfed.errors import DataError
from fraudfed.foreign_text import visible

#: As long as a label of a domain name.
_MAX_LENGTH = 63
#: Hexadecimal digits of SHA-256 that tell values of one word apart; more where these meet.
_FEWEST_DIGITS = 6
_MOST_DIGITS = 48
#: What is left of a value without a letter or digit of ASCII.
_NO_WORD = "bank"
#: Names of devices, which are no file names on Windows.
_DEVICES = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")
#: Values that a message repeats, and characters of each.
_SHOWN = 3
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, eq=False)
class NamedBanks:
    """Whose each row is.

    Attributes
    ----------
    owner : ndarray of shape (n_rows,), dtype=str
        The name of each row's bank.
    titles : dict of str to str
        By name, in alphabetical order: the value of the bank column.
    """

    owner: npt.NDArray[np.str_]
    titles: dict[str, str]


def name_banks(column: pa.ChunkedArray, *, what: str) -> NamedBanks:
    """Name the banks of a column.

    Parameters
    ----------
    column : chunked Arrow array of shape (n_rows,)
        Texts, or what has one text: whole numbers, truth values, decimals.
    what : str
        The column, for the error text: ``column 'branch' of rows.csv``.

    Raises
    ------
    DataError
        If a row has no value, the values are of another kind, or two of them look alike: they
        differ only by blanks or in how Unicode composes a letter.
    """
    text = _text(column, what=what)
    blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(text), ""), True)
    _refuse_missing(blank.to_numpy().astype(np.bool_), what=what)
    encoded = text.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    values = encoded.dictionary.to_pylist()
    _refuse_alike(values, what=what)
    names = names_of(values)
    of_values = np.array([names[value] for value in values], dtype=np.str_)
    titles = {names[value]: value for value in values}
    return NamedBanks(
        owner=of_values[encoded.indices.to_numpy()], titles=dict(sorted(titles.items()))
    )


def names_of(values: Iterable[str]) -> dict[str, str]:
    """Return the name of each value.

    A value's name is its word: letters without accents in lower case, other characters as ``-``.
    Values that have one word in common, or none that can be a file name, get digits of the
    SHA-256 of their text behind it.

    Parameters
    ----------
    values : iterable of str
        Different values, in any order.
    """
    words = {value: _word(value) for value in values}
    of_word = Counter(words.values())
    for digits in range(_FEWEST_DIGITS, _MOST_DIGITS + 1):
        names = {
            value: _with_digits(word, value, digits)
            if of_word[word] > 1 or not word or _DEVICES.fullmatch(word)
            else word
            for value, word in words.items()
        }
        # A value may be called like another one's name: then more digits tell them apart.
        if len(set(names.values())) == len(names):
            return names
    raise ValueError("two texts have one SHA-256")


def _word(value: str) -> str:
    # Some signs become capitals, and some capitals become letters with an accent.
    folded = unicodedata.normalize("NFKD", value).casefold()
    letters = unicodedata.normalize("NFKD", folded)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    word = re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-_")
    return word[:_MAX_LENGTH]


def _with_digits(word: str, value: str, digits: int) -> str:
    mark = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
    return f"{(word or _NO_WORD)[: _MAX_LENGTH - digits - 1]}-{mark}"


def _text(column: pa.ChunkedArray, *, what: str) -> pa.ChunkedArray:
    """Return the values as text; a whole number that is stored as a float is one."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_temporal(kind) or pa.types.is_nested(kind) or pa.types.is_binary(kind):
        raise DataError(
            f"{what}: has type {kind}, expected the name or number of a bank in each row; choose "
            "another --bank-column"
        )
    if pa.types.is_floating(kind):
        numbers = column.to_numpy()
        odd = np.isfinite(numbers) & (numbers != np.floor(numbers))
        odd |= np.isinf(numbers) | (np.abs(numbers) > 1 << 53)
        if odd.any():
            row = int(np.argmax(odd))
            raise DataError(
                f"{what}: row {row + 1} holds {float(numbers[row])!r}, expected the name or the "
                "whole number of a bank; choose another --bank-column"
            )
        missing = np.isnan(numbers)
        column = pa.chunked_array([pa.array(np.where(missing, 0, numbers), mask=missing)])
        column = column.cast(pa.int64())
    return column.cast(pa.large_string())


def _refuse_missing(missing: BoolArray, *, what: str) -> None:
    if missing.any():
        row, count = int(np.argmax(missing)), int(np.count_nonzero(missing))
        more = f" ({count - 1} more rows)" if count > 1 else ""
        raise DataError(
            f"{what}: row {row + 1} names no bank{more}, expected one in each row; fill it in, or "
            "leave such rows out"
        )


def _refuse_alike(values: list[str], *, what: str) -> None:
    alike: dict[str, list[str]] = {}
    for value in values:
        seen_as = " ".join(unicodedata.normalize("NFKC", value).split())
        alike.setdefault(seen_as, []).append(value)
    found = [sorted(group) for group in alike.values() if len(group) > 1]
    if not found:
        return
    first = sorted(found)[0]
    shown = ", ".join(_shown(value) for value in first[:_SHOWN])
    more = f" (and {len(found) - 1} more banks)" if len(found) > 1 else ""
    raise DataError(
        f"{what}: {shown} look alike{more}: they differ only by blanks or in how Unicode writes a "
        "letter; write one bank in one way"
    )


def _shown(value: str) -> str:
    # ascii: what looks alike is told apart.
    return visible(ascii(value), _SHOWN_CHARACTERS)
