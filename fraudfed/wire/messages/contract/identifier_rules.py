"""Which rules say what identifiers are one and the same, as contracts and risk runs name them."""

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator

#: The rules of ``fraudfed.features.identifiers``; other rules have another number.
IDENTIFIER_RULES: Final = 1


def _known(rules: Any) -> Any:
    if rules != IDENTIFIER_RULES or isinstance(rules, bool):
        raise ValueError(
            f"identifiers are compared by rules {rules!r}, this release has rules "
            f"{IDENTIFIER_RULES}; use the fraudfed release of the other banks"
        )
    return rules


IdentifierRules: TypeAlias = Annotated[Literal[1], BeforeValidator(_known)]
