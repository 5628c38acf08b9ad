"""The fixed material of the vectors: keys, names and vectors. Test keys, known to everybody."""

import hashlib
import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import gmpy2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from protocol_vectors.derivations import document, hkdf, key_fingerprint, roster_document, sha256
from protocol_vectors.summing import Bank, Context, Key, Layout, begin_transcript

BANKS: Final = ("alder", "birch", "cedar")
RUN_ID: Final = "run-of-the-vectors"
EPOCH: Final = 7
GENERATION: Final = 2
KEY_BITS: Final = 2048
#: Of the least key size: four times its security level of 112 bits.
ALPHA_BITS: Final = 448


def fixed(label: str, size: int = 32) -> bytes:
    """Return bytes that stand for random ones: the same at every run, so never for real keys."""
    return hashlib.shake_256(b"fraudfed protocol vectors v2: " + label.encode()).digest(size)


def _prime(label: str, bits: int) -> int:
    number = int.from_bytes(fixed(label, bits // 8 + 1), "big") % 2**bits | 3 << (bits - 2)
    return int(gmpy2.next_prime(number))


def _structured(label: str) -> tuple[int, int]:
    """Return P = 2 p p' + 1 of half the key's bits, and p."""
    half, small = KEY_BITS // 2, ALPHA_BITS // 2
    cofactor = _prime(label, half - 1 - small)
    least = math.isqrt(2 ** (2 * half - 1)) // (2 * cofactor) + 1
    p = gmpy2.next_prime(max(least, 3 << (small - 2)))
    while not gmpy2.is_prime(2 * p * cofactor + 1):
        p = gmpy2.next_prime(p)
    return int(2 * p * cofactor + 1), int(p)


@dataclass(frozen=True)
class Paillier:
    """The consortium's key with all its parts."""

    p_prime: int
    q_prime: int
    p: int
    q: int
    hs: int


@cache
def paillier() -> Paillier:
    (first, p), (second, q) = _structured("P"), _structured("Q")
    n = first * second
    beta = (first - 1) // (2 * p) * ((second - 1) // (2 * q))
    h = -pow(int.from_bytes(fixed("y", KEY_BITS // 8), "big"), 2 * beta, n) % n
    return Paillier(first, second, p, q, pow(h, n, n * n))


@cache
def key() -> Key:
    parts = paillier()
    n = parts.p_prime * parts.q_prime
    fingerprint = key_fingerprint(n, parts.hs, ALPHA_BITS)
    secret = fixed("consortium secret")
    return Key(parts.p_prime, parts.q_prime, parts.hs, ALPHA_BITS, fingerprint, secret)


def signing(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(fixed(f"signing key of {name}"))


def agreement(name: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(fixed(f"agreement key of {name}"))


def ephemeral(name: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(fixed(f"ephemeral key of {name}"))


def public(private: Ed25519PrivateKey | X25519PrivateKey) -> str:
    return private.public_key().public_bytes_raw().hex()


def exchanged(own: X25519PrivateKey, peer: X25519PrivateKey) -> bytes:
    return own.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(public(peer))))


def members() -> list[dict[str, str]]:
    return [
        {
            "name": name,
            "signing_key": public(signing(name)),
            "agreement_key": public(agreement(name)),
        }
        for name in BANKS
    ]


def generation_document() -> bytes:
    keys = (public(ephemeral(name)) for name in BANKS)
    return document("generation", RUN_ID, EPOCH, GENERATION, roster_document(members()), *keys)


def pair_info(one: str, other: str) -> bytes:
    return document("pair secret", RUN_ID, GENERATION, *sorted((one, other)))


def pair_secret(one: str, other: str) -> bytes:
    secret = exchanged(ephemeral(one), ephemeral(other)) + exchanged(
        agreement(one), agreement(other)
    )
    return hkdf(secret, pair_info(one, other))


def bank(name: str) -> Bank:
    return Bank(
        name=name,
        key=key(),
        signing=signing(name),
        pairwise={peer: pair_secret(name, peer) for peer in BANKS if peer != name},
        signing_keys={peer: bytes.fromhex(public(signing(peer))) for peer in BANKS},
    )


def layout() -> Layout:
    """Slots of every width from 1 bit to 64, and elements that can only be 0."""
    highs = [2 ** (i % 62) - i % 2 for i in range(180)]
    highs[::7] = [2**63 - 1] * len(highs[::7])
    highs[4::15] = [0] * len(highs[4::15])
    lows = [-high if i % 3 else 0 for i, high in enumerate(highs)]
    return Layout((4, 45), tuple(lows), tuple(highs), KEY_BITS - 2)


def values(slots: Layout) -> dict[str, list[int]]:
    """Parts that are far out of their ranges, and add up to a sum that lies in them."""
    ranges = zip(slots.lows, slots.highs, strict=True)
    total = [low + (high - low) * (i % 5) // 4 for i, (low, high) in enumerate(ranges)]
    # So that the third part is an int64 as well.
    total = [min(max(value, -(2**62)), 2**62) for value in total]
    parts = {name: [_part(f"{name} {i}") for i in range(len(total))] for name in BANKS[:2]}
    rest = [whole - sum(one[i] for one in parts.values()) for i, whole in enumerate(total)]
    return {**parts, BANKS[2]: rest}


def _part(label: str) -> int:
    """Return a number of 61 bits at most, so that three of them and a sum stay in int64."""
    return int.from_bytes(fixed(f"value {label}", 8), "big", signed=True) >> 4


def context(slots: Layout, facts: bytes) -> Context:
    return Context(
        run_id=RUN_ID,
        epoch=EPOCH,
        round_number=11,
        label="histogram:3",
        n_values=len(slots.lows),
        bounds_digest=slots.digest,
        key_fingerprint=key().fingerprint,
        roster=BANKS,
        roster_digest=sha256(generation_document()).hex(),
        previous=begin_transcript(key().secret, facts).hex(),
    )
