"""What protected each round of a run: the proof that nothing was sent unprotected."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fraudfed.paillier.kernels.kernel import select_kernel
from fraudfed.paillier.keys import PublicKey
from fraudfed.secure_sum.context import RoundContext


@dataclass(frozen=True)
class RoundRecord:
    """One round as this bank saw it; written after the sum had opened and verified.

    Attributes
    ----------
    number : int
    label, context : str
    key_fingerprint : str
        Of the Paillier key that everything was encrypted with.
    key_bits : int
    ciphertexts, ciphertext_bytes : int
        Number in this bank's contribution, and size of each.
    kernel : str
        Which arithmetic was used.
    masks : int
        Number of banks that this bank's plaintexts were masked against, beside its self mask.
    signed_openings : int
        Boxes with the seed that its bank had committed to and that bank's signature: one of every
        bank. Before the last of them the sum was noise.
    tag_verified : bool
        Count and tag of every plaintext of the sum were right. Always true: a round with a wrong
        one ends the run.
    """

    number: int
    label: str
    context: str
    key_fingerprint: str
    key_bits: int
    ciphertexts: int
    ciphertext_bytes: int
    kernel: str
    masks: int
    signed_openings: int
    tag_verified: bool

    @classmethod
    def verified(
        cls, context: RoundContext, public_key: PublicKey, *, ciphertexts: int
    ) -> "RoundRecord":
        """Return the record of a round whose sum has just verified."""
        return cls(
            number=context.round_number,
            label=context.label,
            context=context.digest,
            key_fingerprint=public_key.fingerprint,
            key_bits=public_key.key_bits,
            ciphertexts=ciphertexts,
            ciphertext_bytes=public_key.ciphertext_bytes,
            kernel=select_kernel().name,
            masks=len(context.roster) - 1,
            signed_openings=len(context.roster),
            tag_verified=True,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        # All are plain values: nothing to copy.
        return dict(vars(self))


def protection_of(rounds: Sequence[RoundRecord]) -> dict[str, Any]:
    """Sum up what protected a run: weakest values over its rounds."""
    return {
        "rounds": len(rounds),
        "rounds_verified": sum(record.tag_verified for record in rounds),
        "key_bits": min((record.key_bits for record in rounds), default=None),
        "key_fingerprints": sorted({record.key_fingerprint for record in rounds}),
        "masked_against_banks": min((record.masks for record in rounds), default=None),
        "signed_openings": min((record.signed_openings for record in rounds), default=None),
        "ciphertexts": sum(record.ciphertexts for record in rounds),
        "kernels": sorted({record.kernel for record in rounds}),
    }
