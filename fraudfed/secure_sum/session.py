"""Seal, open and combine: one bank's part of a secure sum.

Law: for banks 0 .. k-1 with one key package, layout and context::

    combine([open_shard(product.shard(j, k), j) for j], ...) = sum of x_i
    where product = elementwise product of seal(x_i)

exactly, if ``sum of |x_i|`` is within the layout's bounds. Anything else is an error.

Ciphertext j is opened by bank ``j mod k``, so that each bank decrypts one k-th. What it opened goes
to the others in an AEAD box whose key follows from the consortium secret and the context: the
aggregator, which carries the box, can neither read it nor use it in another round.
"""

import secrets
from collections.abc import Sequence
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fraudfed.dtypes import Int64Array
from fraudfed.errors import CiphertextError, CohortError, KeyMaterialError, SumError
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.private_key import PrivateKey
from fraudfed.paillier.vector import CiphertextVector, shard_length
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.packing import MAXIMUM_BANKS, SlotLayout

__all__ = ["BOX_OVERHEAD_BYTES", "KeyHolder", "SecureSum"]

#: RFC 8439: a 96-bit nonce in front and a 128-bit tag behind.
_NONCE_BYTES = 12
_TAG_BYTES = 16
BOX_OVERHEAD_BYTES = _NONCE_BYTES + _TAG_BYTES

_OPENING_INFO = b"fraudfed opening v1\0"


class KeyHolder(Protocol):
    """What a member of the consortium holds: ``fraudfed.consortium.key_package.KeyPackage``."""

    @property
    def private_key(self) -> PrivateKey:
        """The Paillier private key."""
        ...

    def expose_secret(self) -> bytes:
        """Return the consortium secret."""
        ...


class SecureSum:
    """One bank's side of the secure sums of a run.

    ``seal`` is ``pack`` then ``encrypt``, and ``open_shard`` is ``decrypt`` then ``box``: the parts
    are public so that a caller can time them.

    Parameters
    ----------
    key_package : KeyHolder
        The consortium's; the same at every bank.
    threads : int
        Threads of the decryption. Encryption runs in one.
    """

    def __init__(self, key_package: KeyHolder, *, threads: int = 1) -> None:
        self._key_package = key_package
        self._threads = threads
        self._encryptor = key_package.private_key.encryptor()

    def __repr__(self) -> str:
        return f"<SecureSum under {self.public_key.fingerprint[:16]}...>"

    @property
    def public_key(self) -> PublicKey:
        """The consortium's Paillier public key."""
        return self._key_package.private_key.public

    def layout(self, bound: int | Int64Array, shape: tuple[int, ...]) -> SlotLayout:
        """Return the layout of vectors of ``shape`` under this key (``SlotLayout.for_bounds``)."""
        return SlotLayout.for_bounds(bound, shape, plaintext_bits=self.public_key.plaintext_bits)

    def context(
        self,
        layout: SlotLayout,
        *,
        run_id: str,
        epoch: int,
        round_number: int,
        label: str,
        roster: Sequence[str],
    ) -> RoundContext:
        """Return the context of one round under this key and ``layout``."""
        return RoundContext(
            run_id=run_id,
            epoch=epoch,
            round_number=round_number,
            label=label,
            n_values=layout.n_values,
            bounds_digest=layout.digest,
            roster=tuple(roster),
            key_fingerprint=self.public_key.fingerprint,
        )

    def precompute(self, count: int) -> None:
        """Make the noise of ``count`` later ciphertexts now, while others are waited for."""
        self._encryptor.precompute(count)

    def pack(self, values: Int64Array, layout: SlotLayout, context: RoundContext) -> list[int]:
        """Return this bank's plaintexts.

        Raises
        ------
        BoundError
            If a value lies outside its bound, or shape or dtype is another than the layout's.
        """
        self._check_round(layout, context)
        return layout.pack(values, label=context.label)

    def encrypt(self, plaintexts: Sequence[int]) -> bytes:
        """Encrypt packed plaintexts to a contribution's payload."""
        return self._encryptor.encrypt(plaintexts).data

    def seal(self, values: Int64Array, layout: SlotLayout, context: RoundContext) -> bytes:
        """Pack and encrypt: the payload of this bank's contribution.

        Parameters
        ----------
        values : ndarray of shape ``layout.shape``, dtype=int64

        Returns
        -------
        bytes of length ``layout.n_plaintexts * public_key.ciphertext_bytes``
        """
        return self.encrypt(self.pack(values, layout, context))

    def decrypt(
        self,
        product_shard: bytes | memoryview,
        layout: SlotLayout,
        context: RoundContext,
        *,
        shard: int,
    ) -> list[int]:
        """Decrypt the ciphertexts ``j mod k == shard`` of the product.

        Raises
        ------
        CiphertextError
            If the array has another length than the shard, or holds what is no ciphertext.
        SumError
            If a plaintext does not fit the layout.
        """
        self._check_round(layout, context)
        n_shards = len(context.roster)
        vector = CiphertextVector(self.public_key, bytes(product_shard))
        expected = self._shard_length(layout, context, shard)
        if len(vector) != expected:
            raise CiphertextError(
                f"sum {context.label!r}: product of shard {shard} has {len(vector)} ciphertexts, "
                f"expected {expected}; it is truncated or of another round"
            )
        plaintexts = self._key_package.private_key.decrypt(vector, threads=self._threads)
        for index, plaintext in enumerate(plaintexts):
            layout.check_plaintext(plaintext, shard + index * n_shards, label=context.label)
        return plaintexts

    def box(
        self, plaintexts: Sequence[int], layout: SlotLayout, context: RoundContext, *, shard: int
    ) -> bytes:
        """Seal opened plaintexts for the other members."""
        self._check_round(layout, context)
        width, n = self.public_key.plaintext_bytes, self.public_key.n
        data = b"".join((plaintext % n).to_bytes(width, "big") for plaintext in plaintexts)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        aead = ChaCha20Poly1305(self._opening_key(context))
        return nonce + aead.encrypt(nonce, data, _associated_data(context, shard))

    def open_shard(
        self,
        product_shard: bytes | memoryview,
        layout: SlotLayout,
        context: RoundContext,
        *,
        shard: int,
    ) -> bytes:
        """Decrypt a shard of the product and seal it for the other members.

        Raises as ``decrypt`` does.
        """
        plaintexts = self.decrypt(product_shard, layout, context, shard=shard)
        return self.box(plaintexts, layout, context, shard=shard)

    def combine(
        self, boxes: Sequence[bytes | memoryview], layout: SlotLayout, context: RoundContext
    ) -> Int64Array:
        """Return the sum over all banks from the boxes of all shards, in the roster's order.

        Returns
        -------
        ndarray of shape ``layout.shape``, dtype=int64

        Raises
        ------
        SumError
            If a box is missing or does not open; names the bank.
        BoundError
            If an element of the sum lies outside its bound.
        """
        self._check_round(layout, context)
        roster = context.roster
        if len(boxes) != len(roster):
            raise SumError(
                f"sum {context.label!r}: {len(boxes)} openings, expected {len(roster)}, one of "
                "each bank"
            )
        plaintexts = [0] * layout.n_plaintexts
        for shard, box in enumerate(boxes):
            plaintexts[shard :: len(roster)] = self._unbox(box, layout, context, shard)
        return layout.unpack(plaintexts, label=context.label)

    def _unbox(
        self, box: bytes | memoryview, layout: SlotLayout, context: RoundContext, shard: int
    ) -> list[int]:
        source = f"sum {context.label!r}: opening of bank {context.roster[shard]!r}"
        width, n = self.public_key.plaintext_bytes, self.public_key.n
        count = self._shard_length(layout, context, shard)
        expected = count * width + BOX_OVERHEAD_BYTES
        if len(box) != expected:
            raise SumError(
                f"{source} has {len(box)} bytes, expected {expected}; it is truncated or of "
                "another round"
            )
        aead = ChaCha20Poly1305(self._opening_key(context))
        try:
            data = aead.decrypt(
                box[:_NONCE_BYTES], box[_NONCE_BYTES:], _associated_data(context, shard)
            )
        except InvalidTag:
            raise SumError(
                f"{source} does not authenticate; it was altered, is of another round, or the "
                "bank holds another key package"
            ) from None
        plaintexts = []
        for start in range(0, len(data), width):
            residue = int.from_bytes(data[start : start + width], "big")
            if residue >= n:
                raise SumError(
                    f"{source} holds a number above the modulus; that bank runs other software"
                )
            plaintexts.append(residue - n if residue > n // 2 else residue)
        return plaintexts

    def _check_round(self, layout: SlotLayout, context: RoundContext) -> None:
        """Refuse a context that is not of this key and layout."""
        if context.key_fingerprint != self.public_key.fingerprint:
            raise KeyMaterialError(
                f"the round is under key {context.key_fingerprint[:16]}..., this bank holds "
                f"{self.public_key.fingerprint[:16]}...; use the consortium's key package"
            )
        if len(context.roster) > MAXIMUM_BANKS:
            raise CohortError(
                f"roster has {len(context.roster)} banks, expected at most {MAXIMUM_BANKS}; split "
                "the consortium"
            )
        if (context.bounds_digest, context.n_values) != (layout.digest, layout.n_values):
            raise SumError(
                f"sum {context.label!r}: the context is of another layout (shape or bounds) than "
                "the values; make both from the same bounds"
            )

    def _shard_length(self, layout: SlotLayout, context: RoundContext, shard: int) -> int:
        n_shards = len(context.roster)
        if not 0 <= shard < n_shards:
            raise SumError(
                f"sum {context.label!r}: shard {shard} was asked for, expected one of "
                f"0 .. {n_shards - 1}"
            )
        return shard_length(layout.n_plaintexts, shard, n_shards)

    def _opening_key(self, context: RoundContext) -> bytes:
        """Derive the AEAD key of one round (HKDF, RFC 5869)."""
        return HKDF(
            algorithm=hashes.SHA256(),
            length=32,
            salt=None,
            info=_OPENING_INFO + bytes.fromhex(context.digest),
        ).derive(self._key_package.expose_secret())


def _associated_data(context: RoundContext, shard: int) -> bytes:
    return bytes.fromhex(context.digest) + shard.to_bytes(4, "big")
