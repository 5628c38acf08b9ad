"""How a CSV file is written, where it is not as the defaults say."""

import codecs
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

#: What may stand between groups of three digits: punctuation, an apostrophe, or a kind of blank.
_THOUSANDS = (",", ".", "'", "\u2019", " ", "\u00a0", "\u202f", "_")


class FileFormat(BaseModel):
    """How a CSV file is written; Parquet files say so themselves.

    Attributes
    ----------
    separator : str
        Between the fields of a line; one ASCII character.
    decimal : str
        ``.`` or ``,``: between the whole part of a number and its fraction.
    thousands : str or None
        Between groups of three digits of a number; None: there is nothing.
    encoding : str
        Of the text, as Python calls it.
    number_repeated : bool
        The second of two columns ``Account`` becomes ``Account#2``, instead of an error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    separator: str = Field(default=",", min_length=1, max_length=1)
    decimal: str = "."
    thousands: str | None = None
    encoding: str = "utf-8"
    number_repeated: bool = False

    @field_validator("separator")
    @classmethod
    def _can_separate(cls, separator: str) -> str:
        if not separator.isascii() or separator.isalnum() or separator in '"\r\n.+-':
            raise ValueError(
                f"got {separator!r}, expected a character that stands in no number and is no quote "
                "or line end, as ',', ';', '|' or a tab"
            )
        return separator

    @field_validator("decimal")
    @classmethod
    def _is_point_or_comma(cls, decimal: str) -> str:
        if decimal not in (".", ","):
            raise ValueError(f"got {decimal!r}, expected '.' or ','")
        return decimal

    @field_validator("thousands")
    @classmethod
    def _can_group(cls, thousands: str | None) -> str | None:
        if thousands is not None and thousands not in _THOUSANDS:
            raise ValueError(f"got {thousands!r}, expected ',', '.', an apostrophe or a blank")
        return thousands

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        try:
            name = codecs.lookup(encoding).name
            # Some codecs are no encodings of text, as "hex".
            "text".encode(name)
        except LookupError:
            raise ValueError(
                f"got {encoding!r}, expected the name of an encoding, as 'utf-8', 'latin-1' or "
                "'cp1252'"
            ) from None
        return encoding

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.thousands == self.decimal:
            raise ValueError(f"thousands and decimal are both {self.decimal!r}, expected two signs")
        return self

    @property
    def is_utf8(self) -> bool:
        """Whether the text is UTF-8, with or without a byte order mark."""
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")

    @property
    def python_encoding(self) -> str:
        """How Python opens the text; a byte order mark is left out."""
        return "utf-8-sig" if self.is_utf8 else self.encoding


#: UTF-8, comma, decimal point.
PLAIN_CSV = FileFormat()
