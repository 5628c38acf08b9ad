"""What one round of summing is about, in bytes that are equal at every bank or the round fails."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from fraudfed.errors import ProtocolError

#: Raised when the canonical bytes change their meaning.
CONTEXT_VERSION = 3

_DOMAIN = b"fraudfed round context"


@dataclass(frozen=True)
class RoundContext:
    """The public facts that all banks of a round must agree on.

    Law: two contexts have the same digest exactly when all their fields are equal (up to a
    collision of SHA-256). Masks, tags and the keys of the sealed openings are derived from the
    digest, so nothing of another run, round, layout, key, roster or history opens.

    Attributes
    ----------
    run_id : str
    epoch : int
        Number of the key epoch; a new one begins whenever the roster changes.
    round_number : int
        Rounds of the run closed before this one.
    label : str
        What is summed, as in ``Communicator.sum``.
    n_values : int
        Elements of the vector.
    bounds_digest : str
        ``SlotLayout.digest``: shape, bounds and plaintext size, SHA-256 in hexadecimal.
    roster : tuple of str
        Names of the banks in the order of the cohort; bank j opens shard j.
    key_fingerprint : str
        ``PublicKey.fingerprint``.
    roster_digest : str
        SHA-256 over the members' names and public keys, hexadecimal: two banks that were shown
        other keys under the same names have different contexts.
    previous : str
        ``Transcript.digest``: all contexts and sums before this one.

    Raises
    ------
    ProtocolError
        If a field cannot be what it should be.
    """

    run_id: str
    epoch: int
    round_number: int
    label: str
    n_values: int
    bounds_digest: str
    roster: tuple[str, ...]
    key_fingerprint: str
    roster_digest: str
    previous: str

    def __post_init__(self) -> None:
        for name in ("epoch", "round_number", "n_values"):
            number = getattr(self, name)
            if not 0 <= number < 1 << 63:
                raise ProtocolError(f"round context: {name} is {number}, expected 0 .. 2^63 - 1")
        if not self.roster or len(set(self.roster)) != len(self.roster):
            raise ProtocolError(
                f"round context: roster is {self.roster!r}, expected at least one bank and each "
                "name once"
            )
        for name in ("bounds_digest", "key_fingerprint", "roster_digest", "previous"):
            check_digest(f"round context: {name}", getattr(self, name))

    def canonical_bytes(self) -> bytes:
        """Return the one encoding: each field in order, preceded by its length in 4 bytes."""
        fields = (
            _DOMAIN,
            _number(CONTEXT_VERSION),
            self.run_id.encode(),
            _number(self.epoch),
            _number(self.round_number),
            self.label.encode(),
            _number(self.n_values),
            bytes.fromhex(self.bounds_digest),
            bytes.fromhex(self.key_fingerprint),
            _number(len(self.roster)),
            *(name.encode() for name in self.roster),
            bytes.fromhex(self.roster_digest),
            bytes.fromhex(self.previous),
        )
        return b"".join(len(part).to_bytes(4, "big") + part for part in fields)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, lower-case hexadecimal."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()


def check_digest(name: str, text: str) -> None:
    """Raise ``ProtocolError`` unless ``text`` is a SHA-256 in lower-case hexadecimal."""
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise ProtocolError(f"{name} is {text!r}, expected a SHA-256 in lower-case hexadecimal")


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")
