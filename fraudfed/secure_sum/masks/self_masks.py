"""Self masks: uniform to everybody until their bank reveals the seed, which it does once.

Every sealed vector carries, beside the pairwise masks, a stream of its own from a fresh seed
(Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017,
section 4, double masking). Nothing of a round is known before its last bank reveals.

The contribution goes with a commitment to the seed, so that no bank can choose another one after
it has seen the others'. Law: ``commitment_to(seed)`` is that of one seed, context and bank (up to a
collision of SHA-256) and tells nothing about the seed.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.derivation import derive_key
from fraudfed.secure_sum.masks.streams import MaskStream

SEED_BYTES = 32
_COMMITMENTS_DOMAIN = b"fraudfed round commitments v1\0"


@dataclass(frozen=True, slots=True)
class Sealed:
    """One bank's contribution to one round. Never printed whole, never pickled.

    Attributes
    ----------
    payload : bytes
        Ciphertexts one behind the other; may be sent.
    seed : bytes
        Of the self mask, 32 bytes. SECRET until the bank reveals it in its box; to be kept with the
        payload, durably, before that is sent: without it the round never opens.
    commitment : str
        To the seed, 32 bytes in lower-case hexadecimal; goes with the payload.
    """

    payload: bytes = field(repr=False)
    seed: bytes = field(repr=False)
    commitment: str

    def __reduce__(self) -> str:
        raise TypeError("a seed is secret and cannot be copied or pickled")


def new_seed(context: RoundContext, plaintexts: bytes) -> bytes:
    """Return a fresh seed for one vector in one context.

    From 32 bytes of the operating system, and from the context and a digest of the plaintexts: if a
    machine that was set back gives the same bytes twice, another context or another vector has
    another seed all the same.
    """
    return derive_key(
        secrets.token_bytes(SEED_BYTES),
        "self mask seed",
        bytes.fromhex(context.digest),
        hashlib.sha256(plaintexts).digest(),
    )


def self_streams(seeds: Sequence[bytes]) -> list[MaskStream]:
    """Return the streams that seeds stand for."""
    return [MaskStream(derive_key(seed, "self mask"), 1) for seed in seeds]


def commitment_to(seed: bytes, context: RoundContext, *, bank: str) -> str:
    """Return the commitment of ``bank`` to its seed, lower-case hexadecimal."""
    return derive_key(seed, "commitment", bytes.fromhex(context.digest), bank.encode()).hex()


def is_committed(seed: bytes, context: RoundContext, commitment: str, *, bank: str) -> bool:
    """Tell whether ``commitment`` is that of ``bank`` to ``seed``."""
    own = commitment_to(seed, context, bank=bank)
    return hmac.compare_digest(own.encode(), commitment.encode())


def commitments_digest(context: RoundContext, commitments: Sequence[str]) -> bytes:
    """Return SHA-256 over the context and the commitments of all banks, in the roster's order.

    Parameters
    ----------
    commitments : sequence of str
        Lower-case hexadecimal of 32 bytes each.
    """
    digest = hashlib.sha256(_COMMITMENTS_DOMAIN + bytes.fromhex(context.digest))
    for commitment in commitments:
        digest.update(bytes.fromhex(commitment))
    return digest.digest()
