"""Keys, streams and documents of docs/protocol.md, from hash functions alone."""

import hashlib
import hmac
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 without a salt, 32 bytes: one block."""
    return hmac_sha256(hmac_sha256(bytes(32), secret), info + b"\1")


def chacha20(key: bytes, n_bytes: int) -> bytes:
    """RFC 8439, counter and nonce 0."""
    return Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(n_bytes))


def parts(*fields: bytes, length: int = 4) -> bytes:
    """Each field behind its length."""
    return b"".join(len(field).to_bytes(length, "big") + field for field in fields)


def derive(secret: bytes, purpose: str, *fields: bytes) -> bytes:
    return hkdf(secret, parts(b"fraudfed secure sum v3", purpose.encode(), *fields))


def document(domain: str, *fields: bytes | str | int) -> bytes:
    def raw(field: bytes | str | int) -> bytes:
        if isinstance(field, int):
            return field.to_bytes(8, "big", signed=True)
        return field.encode() if isinstance(field, str) else field

    head = f"fraudfed {domain} v1".encode() + b"\0"
    return head + parts(*(raw(field) for field in fields), length=8)


def roster_document(members: Sequence[dict[str, str]]) -> bytes:
    """Members have ``name``, ``signing_key`` and ``agreement_key``."""
    keys = ("name", "signing_key", "agreement_key")
    return document("roster", len(members), *(one[key] for one in members for key in keys))


def key_fingerprint(n: int, hs: int, alpha_bits: int) -> str:
    numbers = (n, hs, alpha_bits)
    raw = parts(*(one.to_bytes((one.bit_length() + 7) // 8, "big") for one in numbers))
    return sha256(b"fraudfed paillier public key v1\0" + raw).hex()


def package_fingerprint(public: str, secret: bytes) -> str:
    domain = b"fraudfed key package v1\0"
    text = sha256(domain + bytes.fromhex(public) + sha256(domain + secret)).hex()[:32]
    return " ".join(text[start : start + 4] for start in range(0, 32, 4))


def roster_code(members: Sequence[dict[str, str]]) -> str:
    digest = sha256(b"fraudfed roster code v1\0" + roster_document(members))
    digits = f"{int.from_bytes(digest, 'big') % 10**60:060d}"
    return "-".join(digits[start : start + 5] for start in range(0, 60, 5))


def hpke_seal(data: bytes, recipient: bytes, info: bytes, ephemeral: bytes) -> bytes:
    """RFC 9180, base mode: DHKEM(X25519), HKDF-SHA256, ChaCha20-Poly1305; key, then ciphertext."""
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = private.public_key().public_bytes_raw()
    kem, suite = b"KEM\0\x20", b"HPKE\0\x20\0\x01\0\x03"

    def extract(suite_id: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac_sha256(salt or bytes(32), b"HPKE-v1" + suite_id + label + ikm)

    def expand(suite_id: bytes, prk: bytes, label: bytes, context: bytes, size: int) -> bytes:
        text = size.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + context
        return hmac_sha256(prk, text + b"\1")[:size]

    shared = private.exchange(X25519PublicKey.from_public_bytes(recipient))
    secret = expand(
        kem, extract(kem, b"", b"eae_prk", shared), b"shared_secret", enc + recipient, 32
    )
    context = (
        b"\0" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    )
    schedule = extract(suite, secret, b"secret", b"")
    key = expand(suite, schedule, b"key", context, 32)
    nonce = expand(suite, schedule, b"base_nonce", context, 12)
    return enc + ChaCha20Poly1305(key).encrypt(nonce, data, b"")
