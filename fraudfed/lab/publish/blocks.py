"""Blocks of a page that are written out of results, between two comments that name them."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

#: What a block says before there is a result.
NOTHING: Final = "Not measured yet.\n"
_BLOCK = re.compile(
    r"(<!-- publish: (?P<name>[a-z-]+) -->\n)(?P<text>.*?)(<!-- end -->)", re.DOTALL
)


def write_blocks(page: str, blocks: Mapping[str, str]) -> str:
    """Return a page with every block written anew.

    Parameters
    ----------
    page : str
    blocks : mapping of name to text
        Each ends with a newline.

    Raises
    ------
    ValueError
        If the page has a block that is not among them, or one of them not exactly once.
    """
    seen = []

    def write(match: re.Match[str]) -> str:
        seen.append(match["name"])
        if match["name"] not in blocks:
            raise ValueError(
                f"page has a block {match['name']!r}, expected one of {', '.join(blocks)}"
            )
        return f"{match[1]}{blocks[match['name']]}{match[4]}"

    written = _BLOCK.sub(write, page)
    if sorted(seen) != sorted(blocks):
        raise ValueError(f"page has the blocks {seen}, expected each of {sorted(blocks)} once")
    return written


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown; ``NOTHING`` if it has no rows."""
    if not rows:
        return NOTHING
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
