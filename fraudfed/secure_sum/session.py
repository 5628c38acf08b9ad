"""Seal, open and combine: one bank's part of a secure sum.

Law: for the banks 0 .. k-1 of one roster with one key package, layout and context::

    combine([open_shard(product.shard(j, k), j) for j], ...) = sum of x_i
    where product = elementwise product of seal(x_i)

exactly, if every x_i and their sum are within the layout's ranges. Anything else is a ``SumError``
whose text names the kind of fault (``SumFault``).

Ciphertext j is opened by bank ``j mod k``, so that each bank decrypts one k-th. What it opened goes
to the others in an AEAD box whose key follows from the consortium secret and the context: the
aggregator, which carries the box, can neither read it nor use it in another round.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from fraudfed.dtypes import Int64Array
from fraudfed.errors import CiphertextError, CohortError, KeyMaterialError, SumError
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.private_key import PrivateKey
from fraudfed.paillier.vector import CiphertextVector, shard_length
from fraudfed.secure_sum import openings
from fraudfed.secure_sum import plaintexts as codec
from fraudfed.secure_sum.context import RoundContext, check_digest
from fraudfed.secure_sum.faults import SumFault, sum_error
from fraudfed.secure_sum.header import MAXIMUM_BANKS
from fraudfed.secure_sum.masks import MaskUse, PairwiseMasks
from fraudfed.secure_sum.openings import centred
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.secure_sum.tags import TAG_PRIME, TagCoefficients
from fraudfed.secure_sum.transcript import Transcript
from fraudfed.secure_sum.used_contexts import UsedContexts

#: Of the whole process, not of a session: two sessions of one bank derive the same masks.
_USED_CONTEXTS = UsedContexts()


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

    Parameters
    ----------
    key_package : KeyHolder
        The consortium's; the same at every bank.
    bank : str
        This bank's name.
    roster : tuple of str
        Names of all banks in the order of the cohort; bank j opens shard j.
    roster_digest : bytes or str
        SHA-256 over the members' names and public keys, raw or in hexadecimal.
    pairwise : mapping of str to bytes
        Name of each other bank -> X25519 shared secret of this bank and that one.
    threads : int
        Threads of encryption and decryption; no result depends on their number.

    Raises
    ------
    CohortError
        If the roster is too large, names a bank twice or does not name ``bank``.
    KeyMaterialError
        If ``pairwise`` is not of exactly the other banks.
    ProtocolError
        If ``roster_digest`` is no SHA-256.
    """

    def __init__(
        self,
        key_package: KeyHolder,
        *,
        bank: str,
        roster: tuple[str, ...],
        roster_digest: bytes | str,
        pairwise: Mapping[str, bytes],
        threads: int = 1,
    ) -> None:
        if len(roster) > MAXIMUM_BANKS:
            raise CohortError(
                f"roster has {len(roster)} banks, expected at most {MAXIMUM_BANKS}; split the "
                "consortium"
            )
        if len(set(roster)) != len(roster):
            raise CohortError(f"roster {', '.join(roster)} names a bank twice, expected each once")
        digest = roster_digest if isinstance(roster_digest, str) else roster_digest.hex()
        check_digest("roster digest", digest)
        self._key_package = key_package
        self._bank = bank
        self._roster = tuple(roster)
        self._roster_digest = digest
        self._masks = PairwiseMasks(bank, roster, pairwise)
        self._tag_masks = PairwiseMasks(bank, roster, pairwise, use=MaskUse.TAG)
        self._threads = threads
        self._encryptor = key_package.private_key.encryptor(threads=threads)
        self._coefficients: tuple[str, TagCoefficients] | None = None

    def __repr__(self) -> str:
        return f"<SecureSum of {self._bank!r} under {self.public_key.fingerprint[:16]}...>"

    @property
    def public_key(self) -> PublicKey:
        """The consortium's Paillier public key."""
        return self._key_package.private_key.public

    def begin_transcript(self, facts: bytes = b"") -> Transcript:
        """Return the transcript before the first round; see ``Transcript.begin``."""
        return Transcript.begin(self._key_package.expose_secret(), facts)

    def layout(
        self,
        bound: int | Int64Array,
        shape: tuple[int, ...],
        *,
        low: int | Int64Array | None = None,
    ) -> SlotLayout:
        """Return the layout of vectors of ``shape`` under this key (``SlotLayout.for_bounds``)."""
        plaintext_bits = self.public_key.plaintext_bits
        return SlotLayout.for_bounds(bound, shape, low=low, plaintext_bits=plaintext_bits)

    def context(
        self,
        layout: SlotLayout,
        *,
        run_id: str,
        epoch: int,
        round_number: int,
        label: str,
        transcript: Transcript,
    ) -> RoundContext:
        """Return the context of one round of this roster under this key and ``layout``."""
        return RoundContext(
            run_id=run_id,
            epoch=epoch,
            round_number=round_number,
            label=label,
            n_values=layout.n_values,
            bounds_digest=layout.digest,
            roster=self._roster,
            key_fingerprint=self.public_key.fingerprint,
            roster_digest=self._roster_digest,
            previous=transcript.digest,
        )

    @property
    def noise_ready(self) -> int:
        """Ciphertexts for which noise has been made ahead."""
        return self._encryptor.ready

    def precompute(self, count: int) -> None:
        """Make the noise of ``count`` later ciphertexts now, while others are waited for."""
        self._encryptor.precompute(count)

    def seal(self, values: Int64Array, layout: SlotLayout, context: RoundContext) -> bytes:
        """Pack, tag, mask and encrypt: the payload of this bank's contribution.

        A context can be used once. What was sealed may be sent again as often as needed; after a
        restart the caller must not seal under a context that it used before.

        Parameters
        ----------
        values : ndarray of shape ``layout.shape``, dtype=int64

        Returns
        -------
        bytes of length ``layout.n_plaintexts * public_key.ciphertext_bytes``

        Raises
        ------
        BoundError
            If a value lies outside its bound, or shape or dtype is another than the layout's; the
            context is not used up then.
        SumError
            If this process has sealed under the context before, or it is of another roster or
            layout.
        """
        self._check_round(layout, context)
        coefficients = self._tag_coefficients(layout, context)
        count, n = layout.n_plaintexts, self.public_key.n
        tag_masks = self._tag_masks.totals(context.digest, count, TAG_PRIME)
        plain = codec.make(values, layout, coefficients, tag_masks, label=context.label)
        _USED_CONTEXTS.claim(self._bank, context)
        masks = self._masks.totals(context.digest, count, n)
        return self._encryptor.encrypt(
            [centred(plaintext + mask, n) for plaintext, mask in zip(plain, masks, strict=True)]
        ).data

    def open_shard(
        self,
        product_shard: bytes | memoryview,
        layout: SlotLayout,
        context: RoundContext,
        *,
        shard: int,
    ) -> bytes:
        """Decrypt the ciphertexts ``j mod k == shard`` of the product and seal them for the others.

        Raises
        ------
        CiphertextError
            If the array has another length than the shard, or holds what is no ciphertext.
        SumError
            If count or tag of a plaintext is wrong: nothing is sealed then.
        """
        opened = self._decrypt(product_shard, layout, context, shard=shard)
        indices = range(shard, layout.n_plaintexts, len(self._roster))
        coefficients = self._tag_coefficients(layout, context)
        n_banks, label = len(self._roster), context.label
        try:
            codec.check(opened, indices, layout, coefficients, n_banks=n_banks, label=label)
        except SumError as error:
            raise self._explained(error, opened, indices, layout, context) from None
        secret = self._key_package.expose_secret()
        return openings.box(opened, secret, self.public_key, context, shard=shard)

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
            If a box is missing or does not open (names the bank), or if count or tag of a
            plaintext is wrong.
        BoundError
            If an element of the sum lies outside its bound.
        """
        self._check_round(layout, context)
        n_banks = len(self._roster)
        if len(boxes) != n_banks:
            raise sum_error(
                SumFault.OPENINGS, context.label, f"{len(boxes)} openings, expected {n_banks}"
            )
        opened = [0] * layout.n_plaintexts
        secret = self._key_package.expose_secret()
        for shard, sealed in enumerate(boxes):
            opened[shard::n_banks] = openings.unbox(
                sealed,
                secret,
                self.public_key,
                context,
                shard=shard,
                count=shard_length(layout.n_plaintexts, shard, n_banks),
            )
        coefficients = self._tag_coefficients(layout, context)
        try:
            return codec.read(opened, layout, coefficients, n_banks=n_banks, label=context.label)
        except SumError as error:
            indices = range(layout.n_plaintexts)
            raise self._explained(error, opened, indices, layout, context) from None

    def _explained(
        self,
        error: SumError,
        opened: Sequence[int],
        indices: range,
        layout: SlotLayout,
        context: RoundContext,
    ) -> SumError:
        """Return a more precise error if this bank's own contribution is what went wrong.

        A bank knows its own masks only. If all other contributions are there once and its own is
        there s times, what is left of the masks is (s - 1) times its own.
        """
        n, n_banks = self.public_key.n, len(self._roster)
        if n_banks == 1 or codec.masks_cancel(opened, n_banks=n_banks):
            return error
        own = self._masks.totals(context.digest, layout.n_plaintexts, n)
        for times, fault in ((0, SumFault.MISSING), (2, SumFault.REPEATED)):
            without = [
                centred(plaintext - (times - 1) * own[index], n)
                for plaintext, index in zip(opened, indices, strict=True)
            ]
            if codec.counts(without) == {n_banks + times - 1}:
                return sum_error(
                    fault,
                    context.label,
                    f"the sum counts {n_banks + times - 1} contributions of {n_banks} banks; the "
                    "aggregator multiplied what it should not have",
                )
        return error

    def _decrypt(
        self,
        product_shard: bytes | memoryview,
        layout: SlotLayout,
        context: RoundContext,
        *,
        shard: int,
    ) -> list[int]:
        self._check_round(layout, context)
        vector = CiphertextVector(self.public_key, bytes(product_shard))
        n_shards = len(self._roster)
        if not 0 <= shard < n_shards:
            raise SumError(
                f"sum {context.label!r}: shard {shard} was asked for, expected one of "
                f"0 .. {n_shards - 1}"
            )
        expected = shard_length(layout.n_plaintexts, shard, n_shards)
        if len(vector) != expected:
            raise CiphertextError(
                f"sum {context.label!r}: product of shard {shard} has {len(vector)} ciphertexts, "
                f"expected {expected}; it is truncated or of another round"
            )
        return self._key_package.private_key.decrypt(vector, threads=self._threads)

    def _check_round(self, layout: SlotLayout, context: RoundContext) -> None:
        """Refuse a context that is not of this key, roster and layout."""
        if context.key_fingerprint != self.public_key.fingerprint:
            raise KeyMaterialError(
                f"the round is under key {context.key_fingerprint[:16]}..., this bank holds "
                f"{self.public_key.fingerprint[:16]}...; use the consortium's key package"
            )
        if (context.roster, context.roster_digest) != (self._roster, self._roster_digest):
            raise sum_error(
                SumFault.ROSTER,
                context.label,
                "its names or keys are not those of this session; make it with this session",
            )
        if (context.bounds_digest, context.n_values) != (layout.digest, layout.n_values):
            raise sum_error(
                SumFault.LAYOUT,
                context.label,
                "its shape or bounds are not those of the values; make both from the same bounds",
            )

    def _tag_coefficients(self, layout: SlotLayout, context: RoundContext) -> TagCoefficients:
        """Return the context's coefficients; those of the last context are kept."""
        if self._coefficients is None or self._coefficients[0] != context.digest:
            coefficients = TagCoefficients(
                self._key_package.expose_secret(),
                context.digest,
                firsts=layout.firsts,
                n_slots=layout.n_slots,
            )
            self._coefficients = context.digest, coefficients
        return self._coefficients[1]
