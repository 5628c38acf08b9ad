"""``keys.json``: the consortium's keys, its members, a key epoch, and the keys of a generation."""

import base64
import json
from typing import Any

from protocol_vectors import material
from protocol_vectors.derivations import (
    document,
    hpke_seal,
    package_fingerprint,
    parts,
    roster_code,
    roster_document,
    sha256,
)

#: When and under which nonce the request of the vectors was signed.
_CREATED, _NONCE = (
    1_767_225_600,
    base64.urlsafe_b64encode(material.fixed("nonce", 16))[:22].decode(),
)
_STEWARD = material.BANKS[0]


def content() -> dict[str, Any]:
    key, paillier, members = material.key(), material.paillier(), material.members()
    return {
        "about": "test keys, known to everybody: never use them",
        "paillier": {
            "n": f"{key.n:x}",
            "hs": f"{key.hs:x}",
            "alpha_bits": key.alpha_bits,
            "P": f"{paillier.p_prime:x}",
            "Q": f"{paillier.q_prime:x}",
            "p": f"{paillier.p:x}",
            "q": f"{paillier.q:x}",
            "fingerprint": key.fingerprint,
        },
        "consortium_secret": key.secret.hex(),
        "package_fingerprint": package_fingerprint(key.fingerprint, key.secret),
        "members": [
            {
                **member,
                "signing_secret": material.fixed(f"signing key of {member['name']}").hex(),
                "agreement_secret": material.fixed(f"agreement key of {member['name']}").hex(),
            }
            for member in members
        ],
        "roster_document": roster_document(members).hex(),
        "roster_digest": sha256(roster_document(members)).hex(),
        "roster_code": roster_code(members),
        "key_epoch": key_epoch(),
        "key_epoch_document": key_epoch_document().hex(),
        "key_epoch_digest": key_epoch_digest().hex(),
        "acknowledgement": _acknowledgement(),
        "removal": _removal(),
        "generation": _generation(),
        "request": _request(),
    }


def key_package() -> bytes:
    key, paillier = material.key(), material.paillier()
    return json.dumps(
        {
            "format": "fraudfed key package",
            "version": 1,
            "fingerprint": package_fingerprint(key.fingerprint, key.secret),
            "alpha_bits": key.alpha_bits,
            "hs": f"{key.hs:x}",
            "P": f"{paillier.p_prime:x}",
            "Q": f"{paillier.q_prime:x}",
            "p": f"{paillier.p:x}",
            "q": f"{paillier.q:x}",
            "secret": key.secret.hex(),
        }
    ).encode()


def public_key() -> dict[str, Any]:
    key = material.key()
    return {
        "protocol_version": 2,
        "n": f"{key.n:x}",
        "hs": f"{key.hs:x}",
        "alpha_bits": key.alpha_bits,
        "fingerprint": key.fingerprint,
    }


def _sealed(name: str) -> str:
    info = document(
        "sealed key package",
        material.EPOCH,
        _STEWARD,
        roster_document(material.members()),
        material.key().fingerprint,
        name,
    )
    recipient = bytes.fromhex(material.public(material.agreement(name)))
    box = hpke_seal(key_package(), recipient, info, material.fixed(f"encapsulation for {name}"))
    return base64.b64encode(box).decode()


def key_epoch_document() -> bytes:
    key = material.key()
    boxes = [part for name in material.BANKS for part in (name, _sealed(name))]
    return document(
        "key epoch",
        material.EPOCH,
        _STEWARD,
        roster_document(material.members()),
        document("public key", f"{key.n:x}", f"{key.hs:x}", key.alpha_bits, key.fingerprint),
        len(material.BANKS),
        *boxes,
    )


def key_epoch_digest() -> bytes:
    return sha256(key_epoch_document())


def key_epoch() -> dict[str, Any]:
    version = {"protocol_version": 2}
    return {
        **version,
        "epoch": material.EPOCH,
        "steward": _STEWARD,
        "roster": [{**version, **member} for member in material.members()],
        "public_key": public_key(),
        "sealed": [{**version, "name": name, "box": _sealed(name)} for name in material.BANKS],
        "signature": material.signing(_STEWARD).sign(key_epoch_document()).hex(),
    }


def _signed(name: str, data: bytes) -> dict[str, str]:
    return {
        "signer": name,
        "document": data.hex(),
        "signature": material.signing(name).sign(data).hex(),
    }


def _acknowledgement() -> dict[str, str]:
    bank, digest = "birch", key_epoch_digest().hex()
    return _signed(bank, document("key acknowledgement", material.EPOCH, bank, digest))


def _removal() -> dict[str, str]:
    bank = "birch"
    return _signed(bank, document("member removal", *material.members()[2].values(), bank))


def _generation() -> dict[str, Any]:
    run, epoch, number = material.RUN_ID, material.EPOCH, material.GENERATION
    banks = []
    for name in material.BANKS:
        public = material.public(material.ephemeral(name))
        data = document("ephemeral key", run, epoch, number, name, public)
        secret = material.fixed(f"ephemeral key of {name}").hex()
        banks.append({"ephemeral_secret": secret, "ephemeral_key": public, **_signed(name, data)})
    pairs = [
        {
            "banks": [one, other],
            "ephemeral": material.exchanged(
                material.ephemeral(one), material.ephemeral(other)
            ).hex(),
            "static": material.exchanged(material.agreement(one), material.agreement(other)).hex(),
            "info": material.pair_info(one, other).hex(),
            "pair_secret": material.pair_secret(one, other).hex(),
        }
        for place, one in enumerate(material.BANKS)
        for other in material.BANKS[place + 1 :]
    ]
    base = material.fixed("sealed handover", 100)
    handover = document("handover", run, epoch, number, 5, sha256(base).hex())
    return {
        "run_id": run,
        "epoch": epoch,
        "number": number,
        "banks": banks,
        "document": material.generation_document().hex(),
        "digest": sha256(material.generation_document()).hex(),
        "pairs": pairs,
        "handover": {"step": 5, "sha256": sha256(base).hex(), **_signed("alder", handover)},
    }


def _request() -> dict[str, Any]:
    """Return a signed request; its signature base is that of RFC 9421, section 2.5."""
    bank, method, path, query = "cedar", "POST", "/v1/runs/run-of-the-vectors/abort", ""
    body = json.dumps({"protocol_version": 2, "reason": "sum-failed"}).encode()
    digest = f"sha-256=:{base64.b64encode(sha256(body)).decode()}:"
    parameters = (
        '("@method" "@path" "@query" "content-digest" "content-type")'
        f';created={_CREATED};keyid="{bank}";alg="ed25519";nonce="{_NONCE}";tag="fraudfed"'
    )
    base = "\n".join(
        [
            f'"@method": {method}',
            f'"@path": {path}',
            f'"@query": ?{query}',
            f'"content-digest": {digest}',
            '"content-type": application/json',
            f'"@signature-params": {parameters}',
        ]
    )
    signature = base64.b64encode(material.signing(bank).sign(base.encode())).decode()
    return {
        "keyid": bank,
        "method": method,
        "target": path,
        "created": _CREATED,
        "nonce": _NONCE,
        "body": body.decode(),
        "signature_base": base,
        "headers": {
            "Content-Type": "application/json",
            "Content-Digest": digest,
            "Signature-Input": f"fraudfed={parameters}",
            "Signature": f"fraudfed=:{signature}:",
        },
    }


def pair_info_parts(*fields: bytes) -> bytes:
    """``info`` of a derivation of the secure sum, spelled out for the reader."""
    return parts(b"fraudfed secure sum v3", *fields)
