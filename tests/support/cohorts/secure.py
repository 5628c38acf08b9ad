"""A cohort that sums in one process; every step is apart, so that a test can attack it."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from functools import reduce

import fraudfed.secure_sum.session as session_module
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.masks.streams import signed_sum
from fraudfed.secure_sum.openings import Signer, box, centred
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.secure_sum.session import SecureSum
from fraudfed.secure_sum.transcript import Transcript

ROSTER_DIGEST = hashlib.sha256(b"names and keys of the members").hexdigest()


def agree_in_pairs(roster: Sequence[str]) -> dict[str, dict[str, bytes]]:
    """Return each bank's secrets with every other one."""
    agreed: dict[str, dict[str, bytes]] = {name: {} for name in roster}
    for position, first in enumerate(roster):
        for second in roster[position + 1 :]:
            secret = secrets.token_bytes(32)
            agreed[first][second] = agreed[second][first] = secret
    return agreed


def multiply(vectors: Sequence[CiphertextVector]) -> CiphertextVector:
    """Do what an honest aggregator does."""
    for vector in vectors:
        vector.check()
    return reduce(CiphertextVector.product, vectors)


class SummingRound:
    """One round of a cohort: contexts and contributions by bank.

    ``sealed`` is what the banks made, ``payloads`` and ``commitments`` what they sent of it;
    ``product`` is what an honest aggregator makes of the payloads.
    """

    def __init__(
        self,
        banks: Sequence[SecureSum],
        layout: SlotLayout,
        contexts: Sequence[RoundContext],
        parts: Sequence[Int64Array],
    ) -> None:
        self.package = banks[0]._key_package
        self.banks = list(banks)
        self.layout = layout
        self.contexts = list(contexts)
        self.parts = list(parts)
        self.sealed = [
            bank.seal(part, layout, context)
            for bank, context, part in zip(banks, contexts, parts, strict=True)
        ]
        self.payloads = [CiphertextVector(banks[0].public_key, one.payload) for one in self.sealed]
        self.commitments = [one.commitment for one in self.sealed]

    @property
    def product(self) -> CiphertextVector:
        return multiply(self.payloads)

    def open(self, product: CiphertextVector) -> list[bytes]:
        """Let every bank open its shard of ``product``."""
        n_banks = len(self.banks)
        return [self.open_shard(product.shard(i, n_banks).data, bank=i) for i in range(n_banks)]

    def open_shard(
        self, data: bytes, *, bank: int = 0, commitments: Sequence[str] | None = None
    ) -> bytes:
        """Let one bank open what it is told is its shard, under what it is told was committed."""
        return self.banks[bank].open_shard(
            data,
            self.layout,
            self.contexts[bank],
            shard=bank,
            seed=self.sealed[bank].seed,
            commitments=self.commitments if commitments is None else commitments,
        )

    def box(
        self,
        opened: Sequence[int],
        *,
        bank: int,
        seed: bytes | None = None,
        signer: Signer | None = None,
        commitments: Sequence[str] | None = None,
    ) -> bytes:
        """Return an opening of these plaintexts, self masks included, right or wrong."""
        return box(
            list(opened),
            self.sealed[bank].seed if seed is None else seed,
            self.banks[bank]._signer if signer is None else signer,
            self.package.expose_secret(),
            self.package.public_key,
            self.contexts[bank],
            shard=bank,
            commitments=self.commitments if commitments is None else commitments,
        )

    def unmasked(self, product: CiphertextVector) -> list[int]:
        """Return what all boxes together show of ``product``: it is under no self mask."""
        n = self.package.public_key.n
        streams = session_module.self_streams([one.seed for one in self.sealed])
        masks = signed_sum(streams, self.layout.n_plaintexts, n)
        opened = self.package.private_key.decrypt(product)
        return [centred(value - mask, n) for value, mask in zip(opened, masks, strict=True)]

    def combine(self, boxes: Sequence[bytes], *, bank: int = 0, is_told: bool = True) -> Int64Array:
        """Let one bank combine boxes; one that only reads is told no commitments."""
        return self.banks[bank].combine(
            boxes,
            self.layout,
            self.contexts[bank],
            commitments=self.commitments if is_told else None,
        )

    def finish(self, product: CiphertextVector) -> list[Int64Array]:
        """Open ``product`` and return what each bank ends up with."""
        boxes = self.open(product)
        return [self.combine(boxes, bank=bank) for bank in range(len(self.banks))]


class SummingCohort:
    """Banks bank0 .. of one roster with one key package, in a run of their own."""

    def __init__(
        self,
        package: KeyPackage,
        n_banks: int,
        *,
        names: Sequence[str] | None = None,
        agreed: Mapping[str, Mapping[str, bytes]] | None = None,
        roster_digests: Sequence[str] | None = None,
        identities: Mapping[str, Identity] | None = None,
    ) -> None:
        self.roster = tuple(f"bank{i}" for i in range(n_banks)) if names is None else tuple(names)
        self.package = package
        self.agreed = agree_in_pairs(self.roster) if agreed is None else agreed
        self.identities = (
            {name: Identity.generate() for name in self.roster}
            if identities is None
            else identities
        )
        digests = [ROSTER_DIGEST] * len(self.roster) if roster_digests is None else roster_digests
        self.banks = [
            SecureSum(
                package,
                bank=name,
                roster=self.roster,
                roster_digest=digest,
                pairwise=self.agreed[name],
                signer=self.identities[name],
                signing_keys={
                    peer: self.identities[peer].public.signing_key for peer in self.roster
                },
                threads=1 + position % 2,
            )
            for position, (name, digest) in enumerate(zip(self.roster, digests, strict=True))
        ]
        # A context serves one sealing in a process: no two cohorts share a run.
        self.run_id = secrets.token_hex(8)
        self.transcripts = [bank.begin_transcript(b"run") for bank in self.banks]

    def layout(self, bound: int | Int64Array, shape: tuple[int, ...]) -> SlotLayout:
        return self.banks[0].layout(bound, shape)

    def context(
        self, bank: int, layout: SlotLayout, *, round_number: int = 0, label: str = "histogram:0"
    ) -> RoundContext:
        return self.banks[bank].context(
            layout,
            run_id=self.run_id,
            epoch=1,
            round_number=round_number,
            label=label,
            transcript=self.transcripts[bank],
        )

    def round(
        self, parts: Sequence[Int64Array], bound: int | Int64Array, *, round_number: int = 0
    ) -> SummingRound:
        """Let every bank seal its part."""
        layout = self.layout(bound, parts[0].shape)
        contexts = [
            self.context(bank, layout, round_number=round_number) for bank in range(len(self.banks))
        ]
        return SummingRound(self.banks, layout, contexts, parts)

    def advance(self, done: SummingRound, totals: Sequence[Int64Array]) -> None:
        """Chain what each bank saw."""
        self.transcripts: list[Transcript] = [
            transcript.advance(context, total)
            for transcript, context, total in zip(
                self.transcripts, done.contexts, totals, strict=True
            )
        ]
