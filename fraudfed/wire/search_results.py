"""The result of a search as its banks sign it: what was found, and the chosen model.

::

    search.json     one line of JSON, its line end included
    model.json      the chosen model

So the hash that the banks have signed is that of the two files, one after the other:
``cat search.json model.json | sha256sum``.
"""

from fraudfed.errors import StateError

_LINE_END = b"\n"


def encode(search: bytes, model: bytes) -> bytes:
    """Put what was found in front of the model.

    Parameters
    ----------
    search : bytes
        JSON; a line end at its end is added if there is none.
    model : bytes

    Raises
    ------
    ValueError
        If ``search`` is more than a line.
    """
    line = search.removesuffix(_LINE_END)
    if not line or _LINE_END in line:
        raise ValueError("what was found is no line of JSON")
    return line + _LINE_END + model


def decode(content: bytes, *, source: str) -> tuple[bytes, bytes]:
    """Return search.json and model.json.

    Raises
    ------
    StateError
        If there are no two parts.
    """
    line, end, model = content.partition(_LINE_END)
    if not line or not end or not model:
        raise StateError(
            f"{source}: is no result of a search, expected a line of JSON and a model after it; "
            "take another copy of it"
        )
    return line + end, model
