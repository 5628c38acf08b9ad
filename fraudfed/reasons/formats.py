"""How a feature's value is written for an analyst: amounts, times, counts, shares, categories.

Law: the text is a function of the float32 and of the currency, so a value that was logged gives the
text of its day again, to the last character.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fraudfed.payments.currencies import EXPONENTS

#: From here on a float32 does not hold every whole number: the last digits would be invented.
_EXACT_INTEGERS = 1 << 24
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


@dataclass(frozen=True)
class Setting:
    """What a value is written by.

    Attributes
    ----------
    currency : str or None
        Of the amounts, by ISO 4217; None writes minor units as they stand.
    categories : tuple of str
        Of the feature, in code order; empty for a numeric one.
    """

    currency: str | None = None
    categories: tuple[str, ...] = ()


def money(value: float, currency: str | None) -> str:
    """Return an amount as ``GBP 1,250.00``.

    Parameters
    ----------
    value : float
        Minor currency units.
    currency : str or None
        None, or a code that is unknown, writes ``125,000 minor units``.
    """
    exponent = EXPONENTS.get(currency or "")
    if exponent is None:
        return f"{value:,.0f} minor units"
    digits = exponent if abs(value) < _EXACT_INTEGERS else 0
    return f"{currency} {value / 10**exponent:,.{digits}f}"


def duration(value: float) -> str:
    """Return a time in its largest unit that it fills: ``45 s``, ``12 min``, ``3 h``, ``9 days``.

    Parameters
    ----------
    value : float
        Seconds.
    """
    if value < _MINUTE:
        return f"{value:.0f} s"
    if value < _HOUR:
        return f"{value // _MINUTE:.0f} min"
    if value < 2 * _DAY:
        return f"{value // _HOUR:.0f} h"
    return f"{value // _DAY:,.0f} days"


def count(value: float, noun: str) -> str:
    """Return ``no payments``, ``1 payment`` or ``5 payments``."""
    if value == 0:
        return f"no {noun}s"
    return f"{value:,.0f} {noun}{'' if value == 1 else 's'}"


def category_title(name: str) -> str:
    """Return a category as people write it: ``gift cards`` for ``gift_cards``."""
    return _TITLES.get(name, name.replace("_", " "))


_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "pos": "payment at a terminal",
        "ecommerce": "online payment",
        "transfer": "transfer",
        "atm": "cash machine",
        "home_garden": "home and garden",
        "books_media": "books and media",
    }
)


def _clock(value: float, _argument: str, _setting: Setting) -> str:
    minutes = int(value * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d} UTC"


def _category(value: float, _argument: str, setting: Setting) -> str:
    code = int(value)
    if 0 <= code < len(setting.categories):
        return category_title(setting.categories[code])
    return "another one"


def _per_day(value: float, argument: str, _setting: Setting) -> str:
    rate = value / int(argument)
    return f"{rate:.0f} a day" if rate >= 10 or rate == 0 else f"{rate:.2g} a day"


def _times(value: float, _argument: str, _setting: Setting) -> str:
    return f"{value:,.0f} times" if value >= 10 else f"{value:.2g} times"


def _number(value: float, _argument: str, setting: Setting) -> str:
    return _category(value, "", setting) if setting.categories else f"{value:,.6g}"


#: By the name that follows the colon in a text, as in ``{amount:money}``.
FORMATS: Mapping[str, Callable[[float, str, Setting], str]] = MappingProxyType(
    {
        "money": lambda value, _argument, setting: money(value, setting.currency),
        "duration": lambda value, _argument, _setting: duration(value),
        "count": lambda value, argument, _setting: count(value, argument),
        "per_day": _per_day,
        "times": _times,
        "share": lambda value, _argument, _setting: f"{100 * value:.3g} %",
        "clock": _clock,
        "km": lambda value, _argument, _setting: f"{value:,.0f} km",
        "kmh": lambda value, _argument, _setting: f"{value:,.0f} km/h",
        "category": _category,
        "number": _number,
    }
)
