"""The secure sum of docs/protocol.md, with Python's integers: clear, slow, not constant-time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol_vectors.derivations import chacha20, derive, hmac_sha256, parts, sha256

TAG_PRIME: Final = 2**89 - 1
COUNT_BIT: Final = 99
HEADER_BITS: Final = 120


class FaultError(Exception):
    """What a bank ends a round with; its text is the kind's name."""


@dataclass(frozen=True)
class Key:
    """The consortium's: Paillier key, and the secret of every derivation."""

    p_prime: int
    q_prime: int
    hs: int
    alpha_bits: int
    fingerprint: str
    secret: bytes

    @property
    def n(self) -> int:
        return self.p_prime * self.q_prime

    @property
    def bits(self) -> int:
        return self.n.bit_length()

    @property
    def plaintext_bytes(self) -> int:
        return (self.bits + 7) // 8

    @property
    def ciphertext_bytes(self) -> int:
        return ((self.n * self.n).bit_length() + 7) // 8

    def encrypt(self, plaintext: int, r: int) -> int:
        square = self.n * self.n
        return (1 + plaintext * self.n) * pow(self.hs, r, square) % square

    def decrypt(self, ciphertext: int) -> int:
        return _decrypted(self, ciphertext)

    def product(self, ciphertexts: Sequence[int]) -> int:
        result = 1
        for one in ciphertexts:
            result = result * one % (self.n * self.n)
        return result


@cache
def _decrypted(key: Key, ciphertext: int) -> int:
    """Decrypt as in Paillier's paper: L(c^lambda) / L((1 + N)^lambda) modulo N."""
    n = key.n
    exponent = (key.p_prime - 1) * (key.q_prime - 1)
    return (pow(ciphertext, exponent, n * n) - 1) // n * pow(exponent, -1, n) % n


@dataclass(frozen=True)
class Context:
    run_id: str
    epoch: int
    round_number: int
    label: str
    n_values: int
    bounds_digest: str
    key_fingerprint: str
    roster: tuple[str, ...]
    roster_digest: str
    previous: str

    @property
    def canonical(self) -> bytes:
        def number(value: int) -> bytes:
            return value.to_bytes(8, "big")

        return parts(
            b"fraudfed round context",
            number(3),
            self.run_id.encode(),
            number(self.epoch),
            number(self.round_number),
            self.label.encode(),
            number(self.n_values),
            bytes.fromhex(self.bounds_digest),
            bytes.fromhex(self.key_fingerprint),
            number(len(self.roster)),
            *(name.encode() for name in self.roster),
            bytes.fromhex(self.roster_digest),
            bytes.fromhex(self.previous),
        )

    @property
    def digest(self) -> bytes:
        return sha256(self.canonical)


@dataclass(frozen=True)
class Layout:
    """Slots by the greedy rule; ``plaintexts`` holds (element, offset, width) of each slot."""

    shape: tuple[int, ...]
    lows: tuple[int, ...]
    highs: tuple[int, ...]
    plaintext_bits: int
    plaintexts: tuple[tuple[tuple[int, int, int], ...], ...] = field(init=False)
    firsts: tuple[int, ...] = field(init=False)
    """The first element of each plaintext, with or without a slot."""

    def __post_init__(self) -> None:
        filled: list[list[tuple[int, int, int]]] = []
        end = 0
        for element, (low, high) in enumerate(zip(self.lows, self.highs, strict=True)):
            width = (high - low).bit_length()
            if not width:
                continue
            if not filled or end + width > self.plaintext_bits - 1:
                filled.append([])
                end = HEADER_BITS
            filled[-1].append((element, end, width))
            end += width
        filled = filled or [[]]
        object.__setattr__(self, "plaintexts", tuple(map(tuple, filled)))
        firsts = (0, *(slots[0][0] for slots in filled[1:]))
        object.__setattr__(self, "firsts", firsts)

    @property
    def digest(self) -> str:
        sizes = (HEADER_BITS, self.plaintext_bits, len(self.shape), *self.shape)
        return sha256(
            b"fraudfed slot layout v4\0"
            + b"".join(number.to_bytes(8, "big") for number in sizes)
            + b"".join(low.to_bytes(8, "little", signed=True) for low in self.lows)
            + b"".join(high.to_bytes(8, "little", signed=True) for high in self.highs)
        ).hex()

    def elements(self, plaintext: int) -> range:
        ends = (*self.firsts[1:], len(self.lows))
        return range(self.firsts[plaintext], ends[plaintext])


def stream_items(key: bytes, count: int, modulus: int) -> list[int]:
    """Items of a stream: bits of the modulus plus 128, whole words of 32 bits, little-endian."""
    width = -(-(modulus.bit_length() + 128) // 32) * 4
    data = chacha20(key, count * width)
    return [
        int.from_bytes(data[start : start + width], "little") % modulus
        for start in range(0, len(data), width)
    ]


def pair_key(secret: bytes, purpose: str, context: Context, first: str, second: str) -> bytes:
    return derive(secret, purpose, context.digest, first.encode(), second.encode())


def coefficients(secret: bytes, layout: Layout, context: Context) -> tuple[list[int], list[int]]:
    """Constants of the plaintexts, then factors of the elements: 12 bytes each."""
    n_constants = len(layout.plaintexts)
    data = chacha20(derive(secret, "tag", context.digest), 12 * (n_constants + len(layout.lows)))
    numbers = []
    for start in range(0, len(data), 12):
        low, middle, high = (
            int.from_bytes(data[start + place : start + place + 4], "little") for place in (0, 4, 8)
        )
        numbers.append(low % 2**30 | middle % 2**30 << 30 | high % 2**29 << 60)
    return numbers[:n_constants], numbers[n_constants:]


def tags(
    secret: bytes, layout: Layout, context: Context, values: Sequence[int], count: int
) -> list[int]:
    constants, factors = coefficients(secret, layout, context)
    return [
        (constant * count + sum(factors[i] * values[i] for i in layout.elements(number)))
        % TAG_PRIME
        for number, constant in enumerate(constants)
    ]


def commitment(seed: bytes, context: Context, bank: str) -> bytes:
    return derive(seed, "commitment", context.digest, bank.encode())


def listed(context: Context, commitments: Sequence[bytes]) -> bytes:
    return sha256(b"fraudfed round commitments v1\0" + context.digest + b"".join(commitments))


def signed_bytes(
    context: Context, commitments: Sequence[bytes], shard: int, values: bytes, seed: bytes
) -> bytes:
    return (
        b"fraudfed opened shard v1\0"
        + context.digest
        + listed(context, commitments)
        + shard.to_bytes(4, "big")
        + sha256(values)
        + seed
    )


@dataclass(frozen=True)
class Contribution:
    """All numbers on the way from a vector to ciphertexts."""

    tags: list[int]
    tag_masks: list[int]
    plaintexts: list[int]
    """Modulo N; without masks, but with the masked tag."""
    seed: bytes
    self_mask: list[int]
    pair_masks: list[int]
    masked: list[int]
    ciphertexts: list[int]
    commitment: bytes


@dataclass(frozen=True)
class Bank:
    name: str
    key: Key
    signing: Ed25519PrivateKey
    pairwise: Mapping[str, bytes]
    """Name of each other bank -> the pair secret of the generation."""
    signing_keys: Mapping[str, bytes]

    def pair_masks(self, purpose: str, context: Context, count: int, modulus: int) -> list[int]:
        totals = [0] * count
        mine = context.roster.index(self.name)
        for place, peer in enumerate(context.roster):
            if place == mine:
                continue
            sign = 1 if mine < place else -1
            first, second = (self.name, peer) if mine < place else (peer, self.name)
            key = pair_key(self.pairwise[peer], purpose, context, first, second)
            for index, item in enumerate(stream_items(key, count, modulus)):
                totals[index] = (totals[index] + sign * item) % modulus
        return totals

    def seal(
        self,
        values: Sequence[int],
        layout: Layout,
        context: Context,
        *,
        seed: bytes,
        exponents: Sequence[int],
    ) -> Contribution:
        n, count = self.key.n, len(layout.plaintexts)
        own = tags(self.key.secret, layout, context, values, 1)
        tag_masks = self.pair_masks("tag mask", context, count, TAG_PRIME)
        plain = [
            (
                (tag + mask) % TAG_PRIME
                + (1 << COUNT_BIT)
                + sum(values[element] << offset for element, offset, _ in slots)
            )
            % n
            for tag, mask, slots in zip(own, tag_masks, layout.plaintexts, strict=True)
        ]
        self_mask = stream_items(derive(seed, "self mask"), count, n)
        pair = self.pair_masks("mask", context, count, n)
        masked = [(a + b + c) % n for a, b, c in zip(plain, self_mask, pair, strict=True)]
        ciphertexts = [self.key.encrypt(m, r) for m, r in zip(masked, exponents, strict=True)]
        return Contribution(
            own,
            tag_masks,
            plain,
            seed,
            self_mask,
            pair,
            masked,
            ciphertexts,
            commitment(seed, context, self.name),
        )

    def open_shard(
        self,
        shard: Sequence[int],
        context: Context,
        *,
        seed: bytes,
        commitments: Sequence[bytes],
        nonce: bytes,
    ) -> bytes:
        place = context.roster.index(self.name)
        own = commitment(seed, context, self.name)
        if len(commitments) != len(context.roster) or commitments[place] != own:
            raise FaultError("COMMITMENTS")
        opened = [self.key.decrypt(one) for one in shard]
        return self.box(opened, context, seed=seed, commitments=commitments, nonce=nonce)

    def box(
        self,
        opened: Sequence[int],
        context: Context,
        *,
        seed: bytes,
        commitments: Sequence[bytes],
        nonce: bytes,
        shard: int | None = None,
    ) -> bytes:
        """``shard`` is another bank's only if this one forges."""
        place = context.roster.index(self.name) if shard is None else shard
        values = b"".join(one.to_bytes(self.key.plaintext_bytes, "big") for one in opened)
        signature = self.signing.sign(signed_bytes(context, commitments, place, values, seed))
        aead = ChaCha20Poly1305(derive(self.key.secret, "opening", context.digest))
        associated = context.digest + place.to_bytes(4, "big")
        return nonce + aead.encrypt(nonce, values + seed + signature, associated)

    def combine(
        self,
        boxes: Sequence[bytes],
        layout: Layout,
        context: Context,
        commitments: Sequence[bytes],
    ) -> list[int]:
        n, size, k = self.key.n, self.key.plaintext_bytes, len(context.roster)
        count = len(layout.plaintexts)
        if len(boxes) != k:
            raise FaultError("OPENINGS")
        aead = ChaCha20Poly1305(derive(self.key.secret, "opening", context.digest))
        opened, masked = [], [0] * count
        for shard, box in enumerate(boxes):
            end = len(range(shard, count, k)) * size
            if len(box) != 12 + end + 32 + 64 + 16:
                raise FaultError("OPENER")
            try:
                data = aead.decrypt(box[:12], box[12:], context.digest + shard.to_bytes(4, "big"))
            except InvalidTag:
                raise FaultError("BOX") from None
            numbers = [int.from_bytes(data[at : at + size], "big") for at in range(0, end, size)]
            if any(number >= n for number in numbers):
                raise FaultError("OPENER")
            masked[shard::k] = numbers
            opened.append((data[:end], data[end : end + 32], data[end + 32 :]))
        for shard, (values, seed, signature) in enumerate(opened):
            public = Ed25519PublicKey.from_public_bytes(self.signing_keys[context.roster[shard]])
            try:
                public.verify(signature, signed_bytes(context, commitments, shard, values, seed))
            except InvalidSignature:
                raise FaultError("SIGNATURE") from None
        for bank, (_, seed, _), told in zip(context.roster, opened, commitments, strict=True):
            if commitment(seed, context, bank) != told:
                raise FaultError("SEED")
        for _, seed, _ in opened:
            mask = stream_items(derive(seed, "self mask"), count, n)
            masked = [(a - b) % n for a, b in zip(masked, mask, strict=True)]
        return read([one - n if one > n // 2 else one for one in masked], self.key, layout, context)


def read(plaintexts: Sequence[int], key: Key, layout: Layout, context: Context) -> list[int]:
    """From signed plaintexts to the sum."""
    k = len(context.roster)
    headers = [plaintext % 2**HEADER_BITS for plaintext in plaintexts]
    counts = [header >> COUNT_BIT for header in headers]
    counts = [count - 2**21 if count >= 2**20 else count for count in counts]
    if any(count != k for count in counts):
        raise FaultError("MASKS" if any(abs(count) > 16 * k for count in counts) else "COUNT")
    values = [0] * len(layout.lows)
    for plaintext, slots in zip(plaintexts, layout.plaintexts, strict=True):
        lows = [(layout.lows[element], offset) for element, offset, _ in slots]
        bits = plaintext - sum(low << offset for low, offset in lows)
        end = max((offset + width for _, offset, width in slots), default=HEADER_BITS)
        if not 0 <= bits < 1 << end:
            raise FaultError("TAG")
        for element, offset, width in slots:
            values[element] = (bits >> offset) % (1 << width) + layout.lows[element]
            if values[element] > layout.highs[element]:
                raise FaultError("TAG")
    for header, tag in zip(headers, tags(key.secret, layout, context, values, k), strict=True):
        if header % 2**COUNT_BIT % TAG_PRIME != tag:
            raise FaultError("TAG")
    return values


def begin_transcript(secret: bytes, facts: bytes) -> bytes:
    return hmac_sha256(derive(secret, "transcript"), b"fraudfed transcript begins v1\0" + facts)


def advance_transcript(secret: bytes, context: Context, total: Sequence[int]) -> bytes:
    content = bytes.fromhex(context.previous) + context.digest
    numbers = b"".join(value.to_bytes(8, "big", signed=True) for value in total)
    key = derive(secret, "transcript")
    return hmac_sha256(key, b"fraudfed transcript round v1\0" + content + numbers)


def later(context: Context, previous: bytes) -> Context:
    """Return the context of the next round, of the same vectors."""
    return replace(context, round_number=context.round_number + 1, previous=previous.hex())
