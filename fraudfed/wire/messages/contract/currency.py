"""In which currency amounts are compared, and at which rates they get there."""

import re
from datetime import date
from fractions import Fraction
from typing import Annotated, Final, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from fraudfed.payments.currencies import EXPONENTS
from fraudfed.wire.messages.base import Message

#: Digits before and after the point that a rate may have.
_RATE: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
#: Thirty currencies with a rate for nearly every day of two years: half a megabyte of JSON.
_MOST_RATES: Final = 20_000


def _known_code(code: str) -> str:
    if code not in EXPONENTS:
        raise ValueError(
            f"{code[:20]!r} is no currency with minor units in ISO 4217, expected a code such as "
            "GBP, in capitals"
        )
    return code


def _whole_date(text: str) -> str:
    try:
        if date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise ValueError(f"{text[:20]!r} is no day, expected one such as 2026-01-31")


def _positive_decimal(text: str) -> str:
    if not _RATE.fullmatch(text) or Fraction(text) == 0:
        raise ValueError(
            f"{text[:40]!r} is no rate, expected a decimal number above 0 as text, such as 0.7912, "
            "with at most 12 digits before and after the point"
        )
    return text


CurrencyCode: TypeAlias = Annotated[str, AfterValidator(_known_code)]
#: A UTC day, ``YYYY-MM-DD``.
Day: TypeAlias = Annotated[str, AfterValidator(_whole_date)]
#: A decimal number as text: no machine rounds it on its way.
Rate: TypeAlias = Annotated[str, AfterValidator(_positive_decimal)]


class Currency(Message):
    """The currency of all amounts of a run, and the rates by which others become it."""

    code: CurrencyCode
    """ISO 4217. A file without a column ``currency`` has its amounts in it."""
    rates: dict[CurrencyCode, Annotated[dict[Day, Rate], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    """By currency and first UTC day: how many units of ``code`` one unit of it is worth, from that
    day until the next one that is given."""

    @model_validator(mode="after")
    def _rates_are_of_others(self) -> Self:
        if self.code in self.rates:
            raise ValueError(f"{self.code} is the run's own currency, it has no rate; leave it out")
        count = sum(len(days) for days in self.rates.values())
        if count > _MOST_RATES:
            raise ValueError(f"{count} rates, expected at most {_MOST_RATES}; give fewer days")
        return self
