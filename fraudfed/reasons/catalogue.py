"""The phrases of a contract: each of its features belongs to exactly one.

The features of a recipe have the recipe's catalogue. A consortium's own column, and a feature of a
plain table, is a phrase of its own, told by its description.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType

import numpy as np

from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.dtypes import Float32Array, IndexArray
from fraudfed.reasons.inbound import INBOUND_PHRASES
from fraudfed.reasons.outbound import OUTBOUND_PHRASES
from fraudfed.reasons.phrase import Phrase, Values, Variant, said
from fraudfed.wire.messages import DataContract, FeatureSpec

#: The phrases of each recipe; their order decides between equal contributions.
PHRASES: Mapping[str, tuple[Phrase, ...]] = MappingProxyType(
    {RECIPE: OUTBOUND_PHRASES, INBOUND_RECIPE: INBOUND_PHRASES}
)
#: Of a catalogue's name.
NAME_BYTES = 4
#: Begins the code of a phrase that is one column of the contract.
COLUMN_CODE = "column:"
#: Unit of amounts in a contract.
_MINOR = "minor currency units"


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The phrases of one contract.

    Attributes
    ----------
    names : tuple of str
        Features, in column order.
    phrases : tuple of Phrase
    groups : ndarray of shape (n_features,), dtype=intp
        Number of each feature's phrase.
    categories : mapping of str to tuple of str
        Of categorical features, in code order.
    currency : str or None
        Of the amounts, if the contract says it.
    """

    names: tuple[str, ...]
    phrases: tuple[Phrase, ...]
    groups: IndexArray
    categories: Mapping[str, tuple[str, ...]]
    currency: str | None

    @classmethod
    def of(cls, contract: DataContract) -> "Catalogue":
        """Return the catalogue of a contract.

        Raises
        ------
        ValueError
            If a feature is neither the recipe's nor an own column.
        """
        code = None if contract.currency is None else contract.currency.code
        return _catalogue(contract.kind, contract.recipe, contract.features, code)

    @cached_property
    def name(self) -> bytes:
        """4 bytes that change when any phrase, or which features it has, changes."""
        return hashlib.sha256(repr(self.phrases).encode()).digest()[:NAME_BYTES]

    def values(self, row: Float32Array, *, currency: str | None = None) -> Values:
        """Return a payment's features as phrases read them.

        Parameters
        ----------
        row : ndarray of shape (n_features,), dtype=float32
        currency : str or None
            Of the payment; that of the contract, which amounts were converted to, comes first.
        """
        return Values(
            dict(zip(self.names, row.tolist(), strict=True)),
            self.categories,
            self.currency or currency,
        )


@lru_cache(maxsize=8)
def _catalogue(
    kind: str, recipe: str | None, features: tuple[FeatureSpec, ...], currency: str | None
) -> Catalogue:
    """Return the catalogue of what a contract says of features, made once."""
    phrases = list(PHRASES.get(recipe or "", ()))
    number_of = {name: n for n, phrase in enumerate(phrases) for name in phrase.features}
    for spec in features:
        if kind == "table" or spec.is_own:
            number_of[spec.name] = len(phrases)
            phrases.append(column_phrase(spec))
    names = tuple(spec.name for spec in features)
    if unknown := [name for name in names if name not in number_of]:
        raise ValueError(f"feature {unknown[0]!r} of recipe {recipe!r} has no phrase")
    return Catalogue(
        names=names,
        phrases=tuple(phrases),
        groups=np.array([number_of[name] for name in names], dtype=np.intp),
        categories={spec.name: spec.categories for spec in features if spec.categories},
        currency=currency,
    )


def column_phrase(spec: FeatureSpec) -> Phrase:
    """Return the phrase of a column that no recipe makes.

    Its name and description are the contract's, so an analyst reads them and a customer does not.
    """
    said_as = _escaped(spec.description or spec.name)
    how = "money" if spec.unit == _MINOR else "number"
    unit = "" if spec.unit in (None, _MINOR, "1", "code") else f" {_escaped(spec.unit)}"
    return Phrase(
        f"{COLUMN_CODE}{spec.name}",
        spec.description or spec.name,
        (spec.name,),
        analyst=(
            Variant(f"{said_as}: {{value:{how}}}{unit}", value_of=spec.name),
            Variant(f"{said_as}: no value"),
        ),
        customer=said(""),
        complaint=said("We looked at a further detail of the payment."),
    )


def _escaped(text: str) -> str:
    """Return free text as a variant says it word for word: its braces are no places for values."""
    return text.replace("{", "{{").replace("}", "}}")
