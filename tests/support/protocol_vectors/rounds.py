"""``round.json``: one round from the banks' vectors to the sum, with every number on the way."""

import json
from dataclasses import dataclass
from typing import Any

from protocol_vectors import keys, material
from protocol_vectors.derivations import derive, sha256
from protocol_vectors.summing import (
    Bank,
    Context,
    Contribution,
    Layout,
    advance_transcript,
    coefficients,
    listed,
    pair_key,
    signed_bytes,
)


def run() -> dict[str, Any]:
    """Return the run as its banks have pinned it: what of its status never changes."""
    version = {"protocol_version": 2}
    feature = {
        **version,
        "name": "amount",
        "type": "numeric",
        "categories": None,
        "cuts": None,
        "nullable": True,
        "description": "",
        "unit": None,
    }
    contract = {
        **version,
        "kind": "table",
        "features": [feature],
        "label": "is_fraud",
        "weight": None,
        "max_weight": 1.0,
        "recipe": None,
        "label_horizon_days": {**version, "days": 30, "by_channel": {}},
        "risk_delay_days": 0,
        "risk_publication_lag_days": 1,
        "train_from": None,
        "train_until": None,
        "select_until": None,
        "judge_until": None,
        "gap_days": 0,
        "exclude_known_compromised": False,
        "alerts_per_day": None,
        "shared_risk": [],
        "identifier_rules": 1,
        "population": None,
        "currency": None,
    }
    spec = {
        **version,
        "name": "vectors",
        "key_epoch": material.EPOCH,
        "kind": "training",
        "parameters": {"eta": 0.1, "max_depth": 3},
        "contract": contract,
        "risk": None,
        "statistics": None,
        "monitor": None,
        "privacy": None,
        "without": [],
        "search": None,
        "model_visibility": "members",
        "require_confirmed_roster": True,
        "min_cohort": 3,
        "deadline_seconds": 1800,
        "join_deadline_seconds": None,
        "max_rejoins": 2,
    }
    return {
        **version,
        "run_id": material.RUN_ID,
        "spec": spec,
        "cohort": list(material.BANKS),
        "public_key": keys.public_key(),
    }


def facts() -> tuple[dict[str, Any], bytes]:
    """Return the facts of the generation, and the bytes that begin its transcript."""
    base = b"the work so far"
    ready = [[name, 5, 0, material.public(material.ephemeral(name))] for name in material.BANKS]
    told = {
        "run": run(),
        "generation": material.GENERATION,
        "banks": list(material.BANKS),
        "first_step": 5,
        "first_round": 11,
        "entrants": ["cedar"],
        "ready": ready,
        "base": sha256(base).hex(),
        "more_rows": 0,
    }
    text = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
    return told, b"fraudfed run v3\0" + text + keys.key_epoch_digest()


@dataclass(frozen=True)
class Round:
    """What happened in the round of the vectors."""

    layout: Layout
    context: Context
    values: dict[str, list[int]]
    os_bytes: dict[str, bytes]
    exponents: dict[str, list[int]]
    sealed: dict[str, Contribution]
    product: list[int]
    commitments: list[bytes]
    boxes: list[bytes]

    @classmethod
    def make(cls) -> "Round":
        slots = material.layout()
        context = material.context(slots, facts()[1])
        values = material.values(slots)
        sealed, os_bytes, exponents = {}, {}, {}
        for name in material.BANKS:
            os_bytes[name] = material.fixed(f"os bytes of {name}")
            exponents[name] = exponents_of(name, len(slots.plaintexts))
            seed = seed_of(os_bytes[name], context, material.bank(name), values[name], slots)
            sealed[name] = material.bank(name).seal(
                values[name], slots, context, seed=seed, exponents=exponents[name]
            )
        product = multiply([one.ciphertexts for one in sealed.values()])
        commitments = [one.commitment for one in sealed.values()]
        boxes = [
            material.bank(name).open_shard(
                product[shard :: len(material.BANKS)],
                context,
                seed=sealed[name].seed,
                commitments=commitments,
                nonce=nonce_of(name),
            )
            for shard, name in enumerate(material.BANKS)
        ]
        return cls(slots, context, values, os_bytes, exponents, sealed, product, commitments, boxes)


def nonce_of(name: str) -> bytes:
    return material.fixed(f"nonce of the box of {name}", 12)


def exponents_of(label: str, count: int) -> list[int]:
    """Exponents of the noise of ciphertexts, of as many bits as alpha."""
    size = material.ALPHA_BITS // 8
    data = material.fixed(f"noise of {label}", size * count)
    return [int.from_bytes(data[at : at + size], "big") for at in range(0, len(data), size)]


def multiply(contributions: list[list[int]]) -> list[int]:
    key = material.key()
    return [key.product(ciphertexts) for ciphertexts in zip(*contributions, strict=True)]


def seed_of(
    os_bytes: bytes, context: Context, bank: Bank, values: list[int], slots: Layout
) -> bytes:
    """Derive the seed as the programs do; any fresh 32 bytes would do for the others."""
    digest = sha256(seed_plaintexts(context, bank, values, slots))
    return derive(os_bytes, "self mask seed", context.digest, digest)


def seed_plaintexts(context: Context, bank: Bank, values: list[int], slots: Layout) -> bytes:
    """Plaintexts before they are reduced modulo N: signed words, the lowest first."""
    unused = [0] * len(slots.plaintexts)
    size = (slots.plaintext_bits + 2) // 64 * 8 + 16
    sealed = bank.seal(values, slots, context, seed=bytes(32), exponents=unused)
    return b"".join(
        (
            (tag + mask) % (2**89 - 1)
            + 2**99
            + sum(values[element] << offset for element, offset, _ in places)
        ).to_bytes(size, "little", signed=True)
        for tag, mask, places in zip(sealed.tags, sealed.tag_masks, slots.plaintexts, strict=True)
    )


def hexes(numbers: list[int], size: int) -> list[str]:
    return [number.to_bytes(size, "big").hex() for number in numbers]


def content(one: Round) -> dict[str, Any]:
    key, context, slots = material.key(), one.context, one.layout
    told, begun = facts()
    count, k = len(slots.plaintexts), len(context.roster)
    constants, factors = coefficients(key.secret, slots, context)
    total = [sum(column) for column in zip(*one.values.values(), strict=True)]
    return {
        "facts": told,
        "facts_bytes": begun.hex(),
        "transcript_key": derive(key.secret, "transcript").hex(),
        "context": {**vars(context), "roster": list(context.roster)},
        "context_bytes": context.canonical.hex(),
        "context_digest": context.digest.hex(),
        "layout": {
            "shape": list(slots.shape),
            "lows": [str(low) for low in slots.lows],
            "highs": [str(high) for high in slots.highs],
            "plaintext_bits": slots.plaintext_bits,
            "digest": slots.digest,
            "firsts": list(slots.firsts),
            "slots": [[list(place) for place in places] for places in slots.plaintexts],
        },
        "tag": {
            "info": keys.pair_info_parts(b"tag", context.digest).hex(),
            "key": derive(key.secret, "tag", context.digest).hex(),
            "constants": hexes(constants, 12),
            "factors": hexes(factors, 12),
        },
        "pair_keys": [
            {
                "banks": [first, second],
                **{
                    purpose: pair_key(
                        material.pair_secret(first, second), name, context, first, second
                    ).hex()
                    for purpose, name in (("mask", "mask"), ("tag_mask", "tag mask"))
                },
            }
            for place, first in enumerate(context.roster)
            for second in context.roster[place + 1 :]
        ],
        "contributions": [_contribution(one, name) for name in context.roster],
        "product": hexes(one.product, key.ciphertext_bytes),
        "commitments_digest": listed(context, one.commitments).hex(),
        "opening_key": derive(key.secret, "opening", context.digest).hex(),
        "openings": [_opening(one, shard) for shard in range(k)],
        "sum": [str(value) for value in total],
        "summed_plaintexts": hexes(
            [
                sum(numbers) % key.n
                for numbers in zip(
                    *(sealed.plaintexts for sealed in one.sealed.values()), strict=True
                )
            ],
            key.plaintext_bytes,
        ),
        "next_transcript": advance_transcript(key.secret, context, total).hex(),
        "n_plaintexts": count,
    }


def _contribution(one: Round, name: str) -> dict[str, Any]:
    sealed, key = one.sealed[name], material.key()
    size = key.plaintext_bytes
    return {
        "bank": name,
        "values": [str(value) for value in one.values[name]],
        "tags": hexes(sealed.tags, 12),
        "tag_masks": hexes(sealed.tag_masks, 12),
        "plaintexts": hexes(sealed.plaintexts, size),
        "os_bytes": one.os_bytes[name].hex(),
        "seed": sealed.seed.hex(),
        "self_mask_key": derive(sealed.seed, "self mask").hex(),
        "self_mask": hexes(sealed.self_mask, size),
        "pair_masks": hexes(sealed.pair_masks, size),
        "masked_plaintexts": hexes(sealed.masked, size),
        "noise_exponents": hexes(one.exponents[name], material.ALPHA_BITS // 8),
        "ciphertexts": hexes(sealed.ciphertexts, key.ciphertext_bytes),
        "commitment": sealed.commitment.hex(),
    }


def _opening(one: Round, shard: int) -> dict[str, Any]:
    name, key = one.context.roster[shard], material.key()
    opened = [key.decrypt(ciphertext) for ciphertext in one.product[shard :: len(material.BANKS)]]
    values = b"".join(number.to_bytes(key.plaintext_bytes, "big") for number in opened)
    signed = signed_bytes(one.context, one.commitments, shard, values, one.sealed[name].seed)
    return {
        "bank": name,
        "shard": shard,
        "values": values.hex(),
        "signed_bytes": signed.hex(),
        "signature": material.signing(name).sign(signed).hex(),
        "nonce": nonce_of(name).hex(),
        "associated_data": (one.context.digest + shard.to_bytes(4, "big")).hex(),
        "box": one.boxes[shard].hex(),
    }
