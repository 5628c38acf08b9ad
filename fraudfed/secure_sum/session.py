"""Seal, open and combine: one bank's part of a secure sum.

Law: for the banks 0 .. k-1 of one roster with one key package, layout and context, of which bank i
has ``s_i = seal(x_i)``::

    combine([open_shard(product.shard(j, k), seed of s_j, C) at bank j for all j], C) = sum of x_i
    where product = elementwise product of the payloads, C = commitments of s_0 .. s_(k-1)

exactly, for any int64 x_i whose sum is within the layout's ranges. Anything else is a ``SumError``
whose text names the kind of fault (``SumFault``), the same at every bank.

Ciphertext j is opened by bank ``j mod k``, so that each bank decrypts one k-th. What it finds is
noise to it, because the self masks of all banks are on it. It goes to the others together with this
bank's seed, signed, in an AEAD box that the aggregator can neither read nor use in another round.
Only the boxes of all banks together show anything.
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
from fraudfed.secure_sum.masks.pairwise import MaskUse, PairwiseMasks
from fraudfed.secure_sum.masks.self_masks import (
    Sealed,
    commitment_to,
    is_committed,
    new_seed,
    self_streams,
)
from fraudfed.secure_sum.masks.streams import signed_sum
from fraudfed.secure_sum.openings import Signer, centred
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
    signer : Signer
        Signs what this bank opens, with its own key.
    signing_keys : mapping of str to str
        Name of each bank of the roster, this one included -> its Ed25519 public key, hexadecimal.
    threads : int
        Threads of encryption and decryption; no result depends on their number.

    Raises
    ------
    CohortError
        If the roster is too large, names a bank twice or does not name ``bank``.
    KeyMaterialError
        If ``pairwise`` is not of exactly the other banks, or ``signing_keys`` not of the roster.
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
        signer: Signer,
        signing_keys: Mapping[str, str],
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
        self._signer = signer
        self._signing_keys = openings.load_signing_keys(signing_keys, roster)
        self._threads = threads
        self._encryptor = key_package.private_key.encryptor(threads=threads)
        self._coefficients: dict[str, TagCoefficients] = {}

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

    def seal(self, values: Int64Array, layout: SlotLayout, context: RoundContext) -> Sealed:
        """Pack, tag, mask and encrypt this bank's part, whatever its values are.

        A context can be used once. What was sealed may be sent again as often as needed; after a
        restart the caller must not seal under a context that it used before.

        Parameters
        ----------
        values : ndarray of shape ``layout.shape``, dtype=int64
            In the layout's ranges or not: only the sum is checked, by all banks alike.

        Returns
        -------
        Sealed
            ``payload`` of length ``layout.n_plaintexts * public_key.ciphertext_bytes``, the seed of
            its self mask, and the commitment to that.

        Raises
        ------
        BoundError
            If shape or dtype is another than the layout's; the context is not used up then.
        SumError
            If this process has sealed under the context before, or it is of another roster or
            layout.
        """
        self._check_round(layout, context)
        flat = layout.flat(values, label=context.label)
        _USED_CONTEXTS.claim(self._bank, context)
        coefficients = self._tag_coefficients(layout, context)
        count, n = layout.n_plaintexts, self.public_key.n
        tag_masks = self._tag_masks.totals(context.digest, count, TAG_PRIME)
        plain = codec.make(flat, layout, coefficients, tag_masks)
        seed = new_seed(context, layout.to_bytes(plain))
        streams = [*self._masks.streams(context.digest), *self_streams([seed])]
        payload = self._encryptor.encrypt(
            [
                centred(plaintext + mask, n)
                for plaintext, mask in zip(plain, signed_sum(streams, count, n), strict=True)
            ]
        ).data
        return Sealed(payload, seed, commitment_to(seed, context, bank=self._bank))

    def open_shard(
        self,
        product_shard: bytes | memoryview,
        layout: SlotLayout,
        context: RoundContext,
        *,
        shard: int,
        seed: bytes,
        commitments: Sequence[str],
    ) -> bytes:
        """Decrypt the ciphertexts ``j mod k == shard`` of the product; reveal them and the seed.

        Nothing is checked but public facts: what is decrypted is noise to this bank. Whether the
        product is the right one shows in ``combine``, at all banks alike.

        Parameters
        ----------
        shard : int
            Opened by this bank: its place in the roster.
        seed : bytes
            Of what this bank sealed for this context; known to all members afterwards.
        commitments : sequence of str
            Of all banks in the roster's order, as the aggregator tells them.

        Returns
        -------
        bytes
            The signed box.

        Raises
        ------
        CiphertextError
            If the array has another length than the shard, or holds what is no ciphertext.
        SumError
            If ``commitments`` are not one of each bank, or this bank's own is not in its place.
        """
        self._check_round(layout, context)
        self._check_listed(commitments, context)
        own = commitments[self._roster.index(self._bank)]
        if not is_committed(seed, context, own, bank=self._bank):
            raise sum_error(
                SumFault.COMMITMENTS,
                context.label,
                f"this bank's own is {own[:16]}..., expected the one that it sent with its "
                "contribution; the aggregator is at fault, and nothing was revealed",
            )
        opened = self._decrypt(product_shard, layout, context, shard=shard)
        return openings.box(
            opened,
            seed,
            self._signer,
            self._key_package.expose_secret(),
            self.public_key,
            context,
            shard=shard,
            commitments=commitments,
        )

    def combine(
        self,
        boxes: Sequence[bytes | memoryview],
        layout: SlotLayout,
        context: RoundContext,
        *,
        commitments: Sequence[str] | None,
    ) -> Int64Array:
        """Return the sum over all banks from the boxes of all shards, in the roster's order.

        The one place where anything is checked that depends on values, in one order: boxes,
        signatures, commitments, then without the self masks count, tag and range.

        Parameters
        ----------
        commitments : sequence of str or None
            Those that this bank opened its shard under. None, if it only reads a closed round: then
            those that the revealed seeds have; the signatures bind the list all the same.

        Returns
        -------
        ndarray of shape ``layout.shape``, dtype=int64

        Raises
        ------
        SumError
            If a box is missing, does not open, is not signed by its bank or holds another seed than
            was committed to (names the bank), or if count, tag or range of the sum is wrong.
        """
        self._check_round(layout, context)
        n_banks, count, n = len(self._roster), layout.n_plaintexts, self.public_key.n
        if commitments is not None:
            self._check_listed(commitments, context)
        if len(boxes) != n_banks:
            raise sum_error(
                SumFault.OPENINGS, context.label, f"{len(boxes)} openings, expected {n_banks}"
            )
        secret = self._key_package.expose_secret()
        revealed = [
            openings.unbox(
                sealed,
                secret,
                self.public_key,
                context,
                shard=shard,
                count=shard_length(count, shard, n_banks),
            )
            for shard, sealed in enumerate(boxes)
        ]
        openings.check(revealed, self._signing_keys, context, commitments)
        masked = [0] * count
        for one in revealed:
            masked[one.shard :: n_banks] = one.values
        masks = signed_sum(self_streams([one.seed for one in revealed]), count, n)
        opened = [centred(value - mask, n) for value, mask in zip(masked, masks, strict=True)]
        coefficients = self._tag_coefficients(layout, context)
        return codec.read(opened, layout, coefficients, n_banks=n_banks, label=context.label)

    def _check_listed(self, commitments: Sequence[str], context: RoundContext) -> None:
        """Refuse a list that is not one commitment of each bank."""
        if len(commitments) != len(self._roster):
            raise sum_error(
                SumFault.COMMITMENTS,
                context.label,
                f"there are {len(commitments)}, expected {len(self._roster)}, one of each bank; "
                "the aggregator is at fault, and nothing was revealed",
            )
        for name, commitment in zip(self._roster, commitments, strict=True):
            check_digest(f"sum {context.label!r}: commitment of bank {name!r}", commitment)

    def _decrypt(
        self,
        product_shard: bytes | memoryview,
        layout: SlotLayout,
        context: RoundContext,
        *,
        shard: int,
    ) -> list[int]:
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
        """Return the context's coefficients; those of the last two contexts are kept."""
        # Read once, and replaced whole: another thread may seal the next context meanwhile.
        kept = self._coefficients
        if context.digest in kept:
            return kept[context.digest]
        coefficients = TagCoefficients(
            self._key_package.expose_secret(),
            context.digest,
            firsts=layout.firsts,
            n_values=layout.n_values,
        )
        self._coefficients = dict([*list(kept.items())[-1:], (context.digest, coefficients)])
        return coefficients
