"""``frames.json``: the frames of the round as they travel."""

import json
import struct
from typing import Any

from protocol_vectors import material
from protocol_vectors.rounds import Round


def frame(header: dict[str, Any], payload: bytes) -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack(">4sBI", b"FFED", 2, len(text)) + text + payload


def content(one: Round) -> dict[str, Any]:
    key, bank, shard = material.key(), material.BANKS[0], 0
    size, k = key.ciphertext_bytes, len(material.BANKS)
    sealed = one.sealed[bank]
    mine = one.product[shard::k]
    frames = {
        "contribution": (
            _header(
                one,
                "contribution",
                step=5,
                bank=bank,
                count=len(sealed.ciphertexts),
                item_bytes=size,
                commitment=sealed.commitment.hex(),
            ),
            b"".join(number.to_bytes(size, "big") for number in sealed.ciphertexts),
        ),
        "product": (
            _header(
                one,
                "product",
                shard=shard,
                count=len(mine),
                item_bytes=size,
                commitments=[told.hex() for told in one.commitments],
            ),
            b"".join(number.to_bytes(size, "big") for number in mine),
        ),
        "opening": (
            _header(one, "opening", bank=bank, shard=shard, count=len(mine), item_bytes=0),
            one.boxes[shard],
        ),
    }
    made = {name: frame(*parts) for name, parts in frames.items()}
    openings = [
        frame(
            _header(
                one,
                "opening",
                bank=name,
                shard=place,
                count=len(one.product[place::k]),
                item_bytes=0,
            ),
            one.boxes[place],
        )
        for place, name in enumerate(material.BANKS)
    ]
    return {
        **{name: {"header": frames[name][0], "frame": made[name].hex()} for name in frames},
        "openings": b"".join(len(raw).to_bytes(8, "big") + raw for raw in openings).hex(),
    }


def _header(one: Round, kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "protocol_version": 2,
        "kind": kind,
        "run_id": one.context.run_id,
        "round_number": one.context.round_number,
        "label": one.context.label,
        "context": one.context.digest.hex(),
        "step": 0,
        "bank": None,
        "shard": None,
        "count": 0,
        "item_bytes": 0,
        "commitment": None,
        "commitments": None,
        **fields,
    }
