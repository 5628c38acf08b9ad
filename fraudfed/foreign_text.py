r"""Text from others on its way to a terminal, a log or a record: one line, visible, and not long.

What an aggregator, another bank, a file or a caller wrote may hold escape sequences that repaint a
terminal, line breaks that forge a line of a log, or marks that turn the order of the letters round
("Trojan Source", N. Boucher, R. Anderson, USENIX Security 2023). Whatever is not a printable
character of Unicode (``str.isprintable``: no controls, no format characters, no separators but the
space, nothing unassigned) is written as its escape: ``\x1b``, ``\u202e``.
"""

#: Longer than any sentence of ours; what is above it is counted, not shown.
MAXIMUM = 2000


def visible(text: str, limit: int = MAXIMUM) -> str:
    r"""Return text from others as one line of printable characters.

    What is printable and not long is returned as it is.

    Parameters
    ----------
    limit : int
        Characters that are shown at most, each as itself or as its escape of up to 10, before a
        note of how many are left out.
    """
    if len(text) <= limit and text.isprintable():
        return text
    escaped = "".join(c if c.isprintable() else _escape(c) for c in text[:limit])
    left_out = max(0, len(text) - limit)
    return f"{escaped}... ({left_out} more characters)" if left_out else escaped


def visible_lines(text: str) -> str:
    """Return text of several lines, each visible; those after the first are set in.

    For tracebacks in a log: no line of another's text can stand where a record begins.
    """
    first, *rest = (visible(line) for line in text.split("\n"))
    return "\n    ".join((first, *rest))


def visible_json(document: str) -> str:
    r"""Return the same JSON document with everything unprintable in its texts as ``\uXXXX``.

    Parameters
    ----------
    document : str
        JSON, indented or not. Line feeds between its values are kept; its texts hold none.
    """
    if document.isprintable():
        return document
    return "".join(c if c == "\n" or c.isprintable() else _json_escape(c) for c in document)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
