"""Write the catalogue of ``docs/reasons.md`` from the code, between its marks.

``python -m fraudfed.lab.publish.reasons_page`` renews the page; a test fails when that would change
it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from fraudfed.catalogue.recipe import WINDOW_DAYS
from fraudfed.reasons import PHRASES
from fraudfed.reasons.phrase import Phrase, Variant

PAGE = Path(__file__).parents[3] / "docs" / "reasons.md"


def _features(names: Sequence[str]) -> str:
    """List features, those that differ only by their window once, with N for its days."""
    patterns: dict[str, list[str]] = {}
    for name in names:
        patterns.setdefault(re.sub(r"_\d+([dh])$", r"_N\1", name), []).append(name)
    everywhere = len(WINDOW_DAYS)
    return ", ".join(
        f"`{pattern}`" if len(found) == everywhere else ", ".join(f"`{name}`" for name in found)
        for pattern, found in patterns.items()
    )


def _rows(reader: str, variants: Sequence[Variant]) -> list[str]:
    return [
        f"| {reader} | {' and '.join(f'`{w}`' for w in variant.when)} | "
        f"{variant.text or '(nothing)'} |"
        for variant in variants
    ]


def _section(phrase: Phrase) -> str:
    return "\n".join(
        [
            f"#### {phrase.code}",
            "",
            f"{phrase.title}: {_features(phrase.features)}.",
            "",
            "| for | when | text |",
            "|---|---|---|",
            *_rows("analyst", phrase.analyst),
            *_rows("customer", phrase.customer),
            *_rows("complaint", phrase.complaint),
        ]
    )


def catalogue(recipe: str) -> str:
    """Return the phrases of a recipe, in their order."""
    return "\n\n".join(_section(phrase) for phrase in PHRASES[recipe])


def renewed(page: str) -> str:
    """Return the page with every catalogue as the code has it; all marks must be there.

    Raises
    ------
    ValueError
        Naming a mark that is missing.
    """
    for recipe in PHRASES:
        begin = f"<!-- reasons: {recipe} -->\n"
        head, mark, rest = page.partition(begin)
        _, end, tail = rest.partition("<!-- end -->")
        if not mark or not end:
            raise ValueError(f"docs/reasons.md: the mark of {recipe!r} is missing")
        page = f"{head}{mark}\n{catalogue(recipe)}\n\n{end}{tail}"
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
