"""A cohort that sums in one process; every step is apart, so that a test can attack it."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from functools import reduce

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.openings import box
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

    ``payloads`` are what the banks sent; ``product`` is what an honest aggregator makes of them.
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
        self.payloads = [
            CiphertextVector(bank.public_key, bank.seal(part, layout, context))
            for bank, context, part in zip(banks, contexts, parts, strict=True)
        ]

    @property
    def product(self) -> CiphertextVector:
        return multiply(self.payloads)

    def open(self, product: CiphertextVector) -> list[bytes]:
        """Let every bank open its shard of ``product``."""
        n_banks = len(self.banks)
        return [self.open_shard(product.shard(i, n_banks).data, bank=i) for i in range(n_banks)]

    def open_shard(self, data: bytes, *, bank: int = 0) -> bytes:
        """Let one bank open what it is told is its shard."""
        return self.banks[bank].open_shard(data, self.layout, self.contexts[bank], shard=bank)

    def open_blindly(self, product: CiphertextVector, *, bank: int) -> bytes:
        """Let a bank open its shard that does not look at what comes out."""
        shard = product.shard(bank, len(self.banks))
        return self.box(self.package.private_key.decrypt(shard), bank=bank)

    def box(self, opened: Sequence[int], *, bank: int) -> bytes:
        """Return an opening of these plaintexts, right or wrong."""
        secret, key = self.package.expose_secret(), self.package.public_key
        return box(list(opened), secret, key, self.contexts[bank], shard=bank)

    def combine(self, boxes: Sequence[bytes], *, bank: int = 0) -> Int64Array:
        return self.banks[bank].combine(boxes, self.layout, self.contexts[bank])

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
    ) -> None:
        self.roster = tuple(f"bank{i}" for i in range(n_banks)) if names is None else tuple(names)
        self.package = package
        self.agreed = agree_in_pairs(self.roster) if agreed is None else agreed
        digests = [ROSTER_DIGEST] * len(self.roster) if roster_digests is None else roster_digests
        self.banks = [
            SecureSum(
                package,
                bank=name,
                roster=self.roster,
                roster_digest=digest,
                pairwise=self.agreed[name],
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
