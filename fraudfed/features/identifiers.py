"""The canonical form of identifiers: one text for what banks write in several ways.

Identifiers are compared within a bank, and those of terminals, merchants and payees are hashed and
counted across banks. Both is done on canonical texts only. What is canonical depends on the kind
of a column, which a mapping may name; docs/features.md states the rules for users.

Laws, for every kind: ``canonical(canonical(x)) = canonical(x)``, and the form depends on the text
alone, never on other rows. For every kind but a token, canonically equivalent texts (Unicode
Standard Annex 15) have one form, whatever white space stands around them. A token's form is the
token.

These rules are version 1 of ``wire.messages.contract.identifier_rules``, which contracts and risk
runs name: their meaning never changes, other rules are another version.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fraudfed.dtypes import BoolArray
from fraudfed.errors import DataError
from fraudfed.reading import cells
from fraudfed.reading.problems import shortened

#: A whole number of up to 15 digits survives a double and every spreadsheet; a longer one may have
#: lost its last digits before anybody saw it (IEEE 754: DBL_DIG).
MAX_FLOAT_IDENTIFIER: Final = 10**15


class IdentifierKind(StrEnum):
    """How texts of a column name something.

    ``name``: people's writing; case does not count. ``code``: case counts. ``account``: an IBAN
    where the text is one, else a code. ``iban``: always an IBAN. ``token``: compared byte by byte.
    """

    NAME = "name"
    CODE = "code"
    ACCOUNT = "account"
    IBAN = "iban"
    TOKEN = "token"  # noqa: S105 - a kind of identifier, no password


#: Kind of each raw column, by its name.
IdentifierKinds: TypeAlias = Mapping[str, IdentifierKind]

#: Where neither mapping nor caller says otherwise. ``transaction_id`` comes back with its score, so
#: it stays as the bank wrote it.
DEFAULT_KINDS: Final[IdentifierKinds] = {
    "transaction_id": IdentifierKind.TOKEN,
    "customer_id": IdentifierKind.CODE,
    "account_id": IdentifierKind.ACCOUNT,
    "card_id": IdentifierKind.CODE,
    "merchant_id": IdentifierKind.NAME,
    "terminal_id": IdentifierKind.CODE,
    "payee_id": IdentifierKind.ACCOUNT,
    "payer_id": IdentifierKind.ACCOUNT,
    "device_id": IdentifierKind.CODE,
}
#: For rows whose identifiers are canonical already, under whatever kinds.
AS_THEY_ARE: Final[IdentifierKinds] = dict.fromkeys(DEFAULT_KINDS, IdentifierKind.TOKEN)

#: Characters that nobody sees: soft hyphen, zero width space, word joiner, byte order mark, and
#: marks of writing direction. Joiners (U+200C, U+200D) stay: they tell words apart.
_INVISIBLE = "\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
_INVISIBLE_CHARACTERS = re.compile(f"[{_INVISIBLE}]")
#: White space of Unicode, and control characters, such as the zero bytes that pad fixed columns.
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
#: Between the groups of an IBAN on paper.
_GROUPING = re.compile(r"[ -]+")
#: ISO 13616-1:2020, clause 5: country, two check digits, up to 30 letters and digits.
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_NUMBERS_OF_LETTERS = {ord("A") + index: str(10 + index) for index in range(26)}
_IBAN_WORD = re.compile(r"IBAN:?(?=[A-Z]{2}[0-9]{2})")
#: A whole number as pandas writes it once the column has become floats, up to what a double and a
#: spreadsheet hold exactly.
_WHOLE_FLOAT = r"^(0|[1-9][0-9]{0,14})\.0$"
_IS_WHOLE_FLOAT = re.compile(_WHOLE_FLOAT)

#: Texts that are canonical as they stand unless they are whole floats; in most columns nearly all
#: are. RE2 and ``re`` read these alike. Visible ASCII with single blanks between; for names without
#: capitals, and for accounts beginning as no IBAN can, or as only an IBAN in canonical form does.
_PLAIN: Final = {
    IdentifierKind.NAME: r"^[!-@\[-~]+(?: [!-@\[-~]+)*$",
    IdentifierKind.CODE: r"^[!-~]+(?: [!-~]+)*$",
    IdentifierKind.ACCOUNT: (
        r"^[A-Za-z]?[0-9]+$"
        r"|^(?:[!-@\[-`{-~]|[A-Za-z][!-,./-@\[-`{-~])[!-~]*(?: [!-~]+)*$"
        r"|^[A-Z]{2}[0-9]{2}[A-Z0-9]+$"
    ),
    IdentifierKind.IBAN: r"^[A-Z]{2}[0-9]{2}[A-Z0-9]+$",
    IdentifierKind.TOKEN: r"^(?s:.+)$",
}
_IS_PLAIN = {kind: re.compile(pattern) for kind, pattern in _PLAIN.items()}

#: A number that a program wrote with an exponent, as ``1.2E+15``, ``1,2E+15``, ``1E+15`` or
#: ``1.2e15`` (without a fraction the exponent must have its sign: ``12E10`` may be a code), or a
#: whole number with a point and more digits than a float holds.
_DAMAGED = r"^[+-]?[0-9]+(?:[.,][0-9]+[eE][+-]?[0-9]+|[eE][+-][0-9]+)$|^[0-9]{16,}\.0$"
_IS_DAMAGED = re.compile(_DAMAGED)

#: For the error text of a damaged identifier.
DAMAGED_EXPECTED: Final = (
    "an identifier with all its digits (a spreadsheet or a float has rounded this number)"
)
DAMAGED_ADVICE: Final = "export the column as text"


def canonical(text: str, kind: IdentifierKind) -> str | None:
    """Return the canonical form of one identifier.

    Parameters
    ----------
    text : str
    kind : IdentifierKind

    Returns
    -------
    str or None
        None if nothing is left: there is no identifier.
    """
    if _IS_PLAIN[kind].fullmatch(text) and not _IS_WHOLE_FLOAT.fullmatch(text):
        return text
    return _canonical(text, kind) or None


def _canonical(text: str, kind: IdentifierKind) -> str:
    if kind is IdentifierKind.TOKEN:
        return text
    shown = _INVISIBLE_CHARACTERS.sub("", text)
    code = unicodedata.normalize("NFC", _BLANKS.sub(" ", shown).strip(" "))
    if kind in (IdentifierKind.ACCOUNT, IdentifierKind.IBAN):
        compact = _compact(code)
        if kind is IdentifierKind.IBAN or is_iban(compact):
            return compact
    whole = _IS_WHOLE_FLOAT.fullmatch(code)
    if whole is not None:
        return whole[1]
    if kind is IdentifierKind.NAME:
        # Unicode 15, section 3.13, definition D145: canonical caseless matching.
        folded = unicodedata.normalize("NFD", code).casefold()
        return unicodedata.normalize("NFC", folded)
    return code


def _compact(code: str) -> str:
    """Return an IBAN as computers write it; a text that can be none as it is."""
    if not code.isascii():
        return code
    return _IBAN_WORD.sub("", _GROUPING.sub("", code).upper(), count=1)


def is_iban(text: str) -> bool:
    """Tell whether a text is an IBAN in canonical form: of its form, with right check digits.

    The check digits are those of ISO 7064, MOD 97-10, as ISO 13616-1:2020 lays down: with the first
    four characters moved to the end and letters read as 10 to 35, the remainder by 97 is 1.
    """
    if _IBAN.fullmatch(text) is None:
        return False
    return int((text[4:] + text[:4]).translate(_NUMBERS_OF_LETTERS)) % 97 == 1


def is_damaged(text: str) -> bool:
    """Tell whether a canonical text is a number that has lost digits, as ``1.2E+15``."""
    return _IS_DAMAGED.fullmatch(text) is not None


def checked_identifier(text: str, kind: IdentifierKind, *, what: str) -> str | None:
    """Return the canonical form of one identifier that is no damaged number.

    Parameters
    ----------
    text : str
    kind : IdentifierKind
    what : str
        Names it in the error text.

    Raises
    ------
    DataError
        If it has lost digits.
    """
    form = canonical(text, kind)
    if form is not None and is_damaged(form):
        raise DataError(f"{what}: got {text!r}, expected {DAMAGED_EXPECTED}; {DAMAGED_ADVICE}")
    return form


@dataclass(frozen=True, eq=False)
class CanonicalColumn:
    """A column of identifiers in canonical form, and what that changed.

    Attributes
    ----------
    values : chunked Arrow array of shape (n_rows,), of large strings
        Null where there is none.
    merged : int
        Texts of the column beyond the first that became one identifier with another.
    example : tuple of two str, or None
        Two texts that became one.
    """

    values: pa.ChunkedArray
    merged: int
    example: tuple[str, str] | None

    def remark(self, source: str, name: str) -> str | None:
        """Say which texts became one, so that nothing is merged in silence; None if none did."""
        if self.example is None:
            return None
        one, other = (shortened(repr(text)) for text in self.example)
        return (
            f"{source}: column {name}: {self.merged} identifiers are written in more than one way "
            f"and count as one (such as {one} and {other}); if they are different, let a mapping "
            "say so (identifier)"
        )


def canonical_column(texts: pa.ChunkedArray, kind: IdentifierKind) -> CanonicalColumn:
    """Return the canonical forms of a column; equal to :func:`canonical` of each text.

    Parameters
    ----------
    texts : chunked Arrow array of shape (n_rows,), of large strings
    kind : IdentifierKind
    """
    written = texts
    if kind is IdentifierKind.NAME:
        # Folding begins with the letters of ASCII; in most columns there are no others.
        texts = pc.ascii_lower(texts)
    rough = pc.invert(pc.match_substring_regex(texts, _PLAIN[kind]))
    if kind is not IdentifierKind.TOKEN:
        rough = pc.or_(rough, pc.match_substring_regex(texts, _WHOLE_FLOAT))
    rows = pc.fill_null(rough, False).to_numpy().astype(np.bool_)
    values = texts
    if rows.any():
        encoded = _whole(pc.dictionary_encode(_whole(texts.filter(pa.array(rows)))))
        found = [canonical(text, kind) for text in encoded.dictionary.to_pylist()]
        forms = pa.array(found, pa.large_string()).take(encoded.indices)
        values = pa.chunked_array([pc.replace_with_mask(_whole(texts), pa.array(rows), forms)])
    return CanonicalColumn(values, *_merged(written, values))


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _merged(
    written: pa.ChunkedArray, values: pa.ChunkedArray
) -> tuple[int, tuple[str, str] | None]:
    """Count texts that became one with another, and show two that did."""
    differs = pc.fill_null(pc.not_equal(written, values), False)
    if not pc.any(differs).as_py():
        return 0, None
    texts, forms = pc.unique(written).drop_null(), pc.unique(values).drop_null()
    lost = pc.unique(pc.filter(written, pc.is_null(values))).drop_null()
    merged = len(texts) - len(lost) - len(forms)
    if not merged:
        return 0, None
    pairs = (
        pa.table({"text": written, "form": values})
        .group_by("form")
        .aggregate([("text", "min"), ("text", "max")])
    )
    two = pc.and_(pc.not_equal(pairs["text_min"], pairs["text_max"]), pc.is_valid(pairs["form"]))
    first = pairs.filter(two).slice(0, 1).to_pylist()[0]
    return merged, (first["text_max"], first["text_min"])


@dataclass(frozen=True, eq=False)
class IdentifierFault:
    """Rows whose identifier cannot be taken.

    Attributes
    ----------
    kind : str
        For programs.
    bad : ndarray of shape (n_rows,), dtype=bool
    expected, advice : str
        For the error text.
    """

    kind: str
    bad: BoolArray
    expected: str
    advice: str


@dataclass(frozen=True, eq=False)
class IdentifiersRead:
    """A column of a file as identifiers.

    Attributes
    ----------
    column : CanonicalColumn
    faults : tuple of IdentifierFault
        Rows that hold something else.
    """

    column: CanonicalColumn
    faults: tuple[IdentifierFault, ...]

    @property
    def wrong(self) -> BoolArray:
        """Rows with a fault, shape (n_rows,)."""
        rows: BoolArray = np.zeros(len(self.column.values), dtype=np.bool_)
        for fault in self.faults:
            rows |= fault.bad
        return rows


def read_identifiers(values: pa.ChunkedArray, kind: IdentifierKind) -> IdentifiersRead:
    """Read a column of a file as identifiers in canonical form.

    Parameters
    ----------
    values : chunked Arrow array of shape (n_rows,)
        Of texts or numbers; a whole number is as it is printed.
    kind : IdentifierKind
    """
    plain = cells.plain(values)
    texts, odd = cells.texts(plain)
    damaged = np.zeros(len(plain), dtype=np.bool_)
    if pa.types.is_floating(plain.type):
        numbers, _ = cells.numbers(plain)
        damaged = np.abs(numbers) >= MAX_FLOAT_IDENTIFIER
        odd &= ~damaged
    column = canonical_column(texts, kind)
    damaged |= damaged_rows(column.values)
    faults = []
    if odd.any():
        expected = "a text or a whole number"
        faults.append(IdentifierFault("not_a_text", odd, expected, "write identifiers as text"))
    if damaged.any():
        faults.append(
            IdentifierFault("rounded_identifier", damaged, DAMAGED_EXPECTED, DAMAGED_ADVICE)
        )
    return IdentifiersRead(column, tuple(faults))


def damaged_rows(texts: pa.ChunkedArray) -> BoolArray:
    """Tell which canonical texts are numbers that have lost digits, as :func:`is_damaged`.

    Parameters
    ----------
    texts : chunked Arrow array of shape (n_rows,), of large strings

    Returns
    -------
    ndarray of shape (n_rows,), dtype=bool
    """
    found = pc.fill_null(pc.match_substring_regex(texts, _DAMAGED), False)
    rows: BoolArray = found.to_numpy().astype(np.bool_)
    return rows


def wrong_ibans(values: pa.ChunkedArray) -> BoolArray:
    """Tell which canonical texts are no IBANs, by form or check digits.

    Parameters
    ----------
    values : chunked Arrow array of shape (n_rows,), of large strings
    """
    known = pc.unique(values).drop_null()
    wrong = [text for text in known.to_pylist() if not is_iban(text)]
    rows: BoolArray = pc.is_in(values, value_set=pa.array(wrong, pa.large_string())).to_numpy()
    return rows.astype(np.bool_)


def canonical_transactions(
    transactions: pd.DataFrame, kinds: IdentifierKinds = DEFAULT_KINDS
) -> pd.DataFrame:
    """Return raw transactions with identifiers in canonical form, as files are read.

    Parameters
    ----------
    transactions : DataFrame of shape (n_rows, n_columns)
    kinds : mapping of str to IdentifierKind
        By column.

    Returns
    -------
    DataFrame of shape (n_rows, n_columns)
        The other columns are shared.

    Raises
    ------
    DataError
        If an identifier has lost digits.
    """
    made = transactions.copy(deep=False)
    for name in kinds.keys() & set(transactions.columns):
        values = pa.chunked_array([pa.array(transactions[name], from_pandas=True)])
        read = read_identifiers(values, kinds[name])
        for fault in read.faults:
            row = int(np.argmax(fault.bad))
            raise DataError(
                f"transactions: row {row + 1}, column {name!r}: got {cells.shown(values, row)}, "
                f"expected {fault.expected}; {fault.advice}"
            )
        made[name] = read.column.values.to_pandas().to_numpy()
    return made


def canonical_kinds(kinds: IdentifierKinds) -> IdentifierKinds:
    """Return the kind of every column: what is given, and the defaults for the rest."""
    return {**DEFAULT_KINDS, **kinds}
