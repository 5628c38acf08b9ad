"""The chain of everything that was summed so far, as one secret-keyed digest.

Every context holds the digest of all contexts and sums before it. Banks that saw different sums,
in another order, or began from other facts have different contexts from there on: their masks do
not cancel and no later sum opens.

The chain is an HMAC under a key of the consortium, not a bare hash: the digest goes to the
aggregator inside the context, and many sums (a count of rows, of frauds) are so small that a bare
hash of them could be inverted by trying all.
"""

import hashlib
import hmac

import numpy as np

from fraudfed.dtypes import Int64Array
from fraudfed.errors import ProtocolError
from fraudfed.secure_sum.context import RoundContext, check_digest
from fraudfed.secure_sum.derivation import derive_key

_BEGIN = b"fraudfed transcript begins v1\0"
_ROUND = b"fraudfed transcript round v1\0"


class Transcript:
    """State of the chain before a round; immutable. Made by ``begin`` or ``resume``.

    Law: two transcripts of one consortium have the same digest exactly when they began from the
    same facts and advanced by the same contexts and sums in the same order (up to a collision of
    HMAC-SHA256). The digest is public and may be stored; the key is neither printed nor pickled.
    """

    __slots__ = ("_digest", "_key")

    def __init__(self, key: bytes, digest: str) -> None:
        check_digest("transcript", digest)
        self._key = key
        self._digest = digest

    @classmethod
    def begin(cls, secret: bytes, facts: bytes) -> "Transcript":
        """Return the transcript of a run before its first round.

        Parameters
        ----------
        secret : bytes
            The consortium's.
        facts : bytes
            What the members must agree on before they start, in one canonical encoding: the run's
            description, the key epoch. A server that shows banks different ones gets no sum.
        """
        key = derive_key(secret, "transcript")
        return cls(key, _digest(key, _BEGIN + facts))

    @classmethod
    def resume(cls, secret: bytes, digest: str) -> "Transcript":
        """Return the transcript that had ``digest``, for a program that was started again."""
        return cls(derive_key(secret, "transcript"), digest)

    @property
    def digest(self) -> str:
        """HMAC-SHA256 of all that was, lower-case hexadecimal: ``RoundContext.previous``."""
        return self._digest

    def advance(
        self, context: RoundContext, total: Int64Array, *, began: "Transcript | None" = None
    ) -> "Transcript":
        """Return the transcript after the round of ``context`` opened to ``total``.

        Parameters
        ----------
        began : Transcript or None
            Before the first piece of the sum that the round is a piece of: all pieces follow on
            that. None for a sum in one round, which follows on this transcript.

        Raises
        ------
        ProtocolError
            If the context does not follow on this transcript, or the sum is not one of it.
        """
        expected = (self if began is None else began).digest
        if context.previous != expected:
            raise ProtocolError(
                f"sum {context.label!r}: its context follows on transcript "
                f"{context.previous[:16]}..., expected {expected[:16]}...; advance the "
                "transcript once after every round"
            )
        if total.dtype != np.int64 or total.size != context.n_values:
            raise ProtocolError(
                f"sum {context.label!r}: the opened sum has {total.size} values of {total.dtype}, "
                f"expected {context.n_values} of int64"
            )
        # Fixed lengths in front of the sum; its shape is in the context.
        content = bytes.fromhex(self._digest) + bytes.fromhex(context.digest)
        return Transcript(
            self._key, _digest(self._key, _ROUND + content + total.astype(">i8").tobytes())
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transcript) and other._digest == self._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"<Transcript {self._digest[:16]}...>"

    def __reduce__(self) -> str:
        raise TypeError("a transcript holds a key and cannot be pickled; store its digest")


def _digest(key: bytes, content: bytes) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest()
