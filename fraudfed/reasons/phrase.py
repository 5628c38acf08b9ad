"""A phrase: a group of features, and what it says to an analyst, a customer and a complainant.

Each of the three is a list of variants; the first that fits the payment is said. A variant fits if
its conditions hold and every value that it names is there, so a missing value never shows as NaN.
"""

import math
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from fraudfed.reasons.formats import FORMATS, Setting

_CONDITION: Final = re.compile(r"(\w+) (==|!=|>=|<=) (\w[\w.]*)")
_VALUE: Final = "value"
_MISSING: Final = re.compile(r"(\w+) is missing")


@dataclass(frozen=True)
class Values:
    """The features of one payment, as phrases read them.

    Attributes
    ----------
    numbers : mapping of str to float
        By name; NaN is missing, and so is a feature that the contract does not have.
    categories : mapping of str to tuple of str
        Of categorical features, in code order.
    currency : str or None
        Of the amounts.
    """

    numbers: Mapping[str, float]
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    currency: str | None = None

    def number(self, name: str) -> float:
        """Return a feature; NaN if it is missing."""
        return self.numbers.get(name, math.nan)

    def setting(self, name: str) -> Setting:
        """Return what a feature is written by."""
        return Setting(currency=self.currency, categories=self.categories.get(name, ()))


@dataclass(frozen=True)
class Variant:
    """One way to say a phrase.

    Attributes
    ----------
    text : str
        With values as ``{feature:format}`` or ``{feature:format argument}``.
    when : tuple of str
        Conditions that all hold: ``feature == 1``, ``channel == transfer``, ``feature >= 2``,
        ``feature is missing``. A comparison with a missing value does not hold.
    value_of : str or None
        The feature that ``{value}`` stands for: the name of a contract's own column may hold
        characters that mean something in a text.
    """

    text: str
    when: tuple[str, ...] = ()
    value_of: str | None = None

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """Features whose values the text writes."""
        return tuple(name for _, name, _, _ in self._parts if name)

    @cached_property
    def _parts(self) -> tuple[tuple[str, str, str, str], ...]:
        """Each literal, with the feature behind it, its format and the format's argument."""
        parts = []
        for literal, name, spec, _ in string.Formatter().parse(self.text):
            how, _, argument = (spec or "number").partition(" ")
            feature = self.value_of if name == _VALUE and self.value_of is not None else name
            parts.append((literal, feature or "", how, argument))
        return tuple(parts)

    @property
    def asked(self) -> tuple[str, ...]:
        """Features that the conditions look at."""
        return tuple(condition.split(" ", 1)[0] for condition in self.when)

    def fits(self, values: Values) -> bool:
        """Return whether the conditions hold and no value is missing."""
        return not any(math.isnan(values.number(name)) for name in self.shown) and all(
            _holds(condition, values) for condition in self.when
        )

    def say(self, values: Values) -> str:
        """Return the text with the payment's values."""
        return "".join(
            literal
            + (FORMATS[how](values.number(name), argument, values.setting(name)) if name else "")
            for literal, name, how, argument in self._parts
        )


def _holds(condition: str, values: Values) -> bool:
    if (missing := _MISSING.fullmatch(condition)) is not None:
        return math.isnan(values.number(missing[1]))
    found = _CONDITION.fullmatch(condition)
    if found is None:
        raise ValueError(f"condition {condition!r}: expected 'feature == value' or 'is missing'")
    name, relation, right = found.groups()
    left = values.number(name)
    if math.isnan(left):
        return False
    categories = values.categories.get(name, ())
    if categories:
        known = 0 <= int(left) < len(categories)
        same = known and categories[int(left)] == right
        return same if relation == "==" else not same
    bound = float(right)
    return {
        "==": left == bound,
        "!=": left != bound,
        ">=": left >= bound,
        "<=": left <= bound,
    }[relation]


@dataclass(frozen=True)
class Phrase:
    """One group of features and its texts.

    Attributes
    ----------
    code : str
        Stable: logs and programs keep it.
    title : str
        What the group is about, in a few words.
    features : tuple of str
        Whose contributions add up to the phrase's.
    analyst, customer, complaint : tuple of Variant
        The last variant of each fits every payment. What a customer or complainant reads holds no
        values, and its conditions look at nothing but the customer's own payments.
    """

    code: str
    title: str
    features: tuple[str, ...]
    analyst: tuple[Variant, ...]
    customer: tuple[Variant, ...]
    complaint: tuple[Variant, ...]

    def __post_init__(self) -> None:
        for variants in (self.analyst, self.customer, self.complaint):
            if not variants or variants[-1].when or variants[-1].shown:
                raise ValueError(f"phrase {self.code!r}: the last variant must fit every payment")
        for variant in (*self.customer, *self.complaint):
            if variant.shown:
                raise ValueError(f"phrase {self.code!r}: a customer's text shows a value")

    @cached_property
    def read_features(self) -> tuple[str, ...]:
        """Features that the texts depend on, each once, in the order in which they occur."""
        every = (*self.analyst, *self.customer, *self.complaint)
        return tuple(dict.fromkeys(name for v in every for name in (*v.asked, *v.shown)))


def first_fitting(variants: tuple[Variant, ...], values: Values) -> str:
    """Return the text of the first variant that fits."""
    return next(variant for variant in variants if variant.fits(values)).say(values)


def said(text: str) -> tuple[Variant, ...]:
    """Return the variants of a text that is always the same."""
    return (Variant(text),)
