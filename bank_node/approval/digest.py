"""The bytes that are agreed to, and their hash.

They are the run as this bank pins it: its id, every field of its specification with the data
contract, the names of the cohort, and the public key. So an approval is of one run: another run
with the same contract needs one of its own, as its sums are further sums over the same rows.

The encoding is JSON with sorted names, without spaces, in ASCII, with every field written out.
Law: it can be read back, so two descriptions have the same bytes exactly when they are equal, and
1, 1.0 and true are three values.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Final

from bank_node.state.pinned_run import PinnedRun
from fraudfed.errors import ProtocolError

_DOMAIN: Final = b"fraudfed approved run v1\0"
_ABSENT: Final = object()


def canonical_bytes(run: PinnedRun) -> bytes:
    """Return the bytes of a run's description.

    Raises
    ------
    ProtocolError
        If a parameter is no finite number.
    """
    try:
        text = json.dumps(_document(run), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise ProtocolError(
            f"run {run.run_id}: its description holds a number that JSON cannot hold ({error}), "
            "expected finite ones; the operator must publish a corrected run"
        ) from None
    return text.encode("ascii")


def approval_hash(run: PinnedRun) -> str:
    """Return SHA-256 of a domain and ``canonical_bytes``, lower-case hexadecimal."""
    return hashlib.sha256(_DOMAIN + canonical_bytes(run)).hexdigest()


def _document(run: PinnedRun) -> dict[str, Any]:
    document = run.model_dump(mode="json")
    # As they came: pydantic would write null for a number that is not finite.
    document["spec"]["parameters"] = run.spec.parameters
    return document


def differences(before: PinnedRun, after: PinnedRun) -> tuple[str, ...]:
    """Return the names of all values that differ, such as ``spec.parameters.max_depth``."""
    pairs = _differences("", _document(before), _document(after))
    return tuple(pairs)


def _differences(name: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            inner = f"{name}.{key}" if name else key
            yield from _differences(inner, before.get(key, _ABSENT), after.get(key, _ABSENT))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(f"{name}[{index}]", one, other)
    elif type(before) is not type(after) or before != after:
        yield name
