"""``failures.json``: rounds in which something is wrong, and the fault that every bank ends with.

Each differs from ``round.json`` in one thing. What a bank is given is whole: the boxes of all
banks and the list of commitments that it was told.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from protocol_vectors import material
from protocol_vectors.rounds import Round, exponents_of, multiply, nonce_of
from protocol_vectors.summing import COUNT_BIT, Contribution, advance_transcript, later

#: What is told to a bank: boxes, and commitments.
Told = tuple[list[bytes], list[bytes]]


def content(one: Round) -> dict[str, Any]:
    combined = {name: (fault, why, make(one)) for name, (fault, why, make) in _FAILURES.items()}
    return {
        "combine": {
            name: {
                "fault": fault,
                "what": why,
                "boxes": [box.hex() for box in boxes],
                "commitments": [told.hex() for told in commitments],
            }
            for name, (fault, why, (boxes, commitments)) in combined.items()
        },
        "open_shard": {
            name: {
                "fault": "COMMITMENTS",
                "what": why,
                "bank": material.BANKS[0],
                "commitments": [told.hex() for told in commitments],
            }
            for name, (why, commitments) in _refused_lists(one).items()
        },
    }


def _open(one: Round, product: list[int]) -> Told:
    """Let all banks open a product as honest ones do."""
    k = len(material.BANKS)
    boxes = [
        material.bank(name).open_shard(
            product[shard::k],
            one.context,
            seed=one.sealed[name].seed,
            commitments=one.commitments,
            nonce=nonce_of(name),
        )
        for shard, name in enumerate(material.BANKS)
    ]
    return boxes, one.commitments


def _ciphertexts(one: Round) -> list[list[int]]:
    return [sealed.ciphertexts for sealed in one.sealed.values()]


def _added(one: Round, number: int) -> list[int]:
    """Return the product with a number added to its first plaintext."""
    key = material.key()
    first, *others = one.product
    return [key.product([first, key.encrypt(number % key.n, exponents_of("added", 1)[0])]), *others]


def _sealed_anew(one: Round, name: str, **changes: Any) -> Contribution:
    """Return a bank's contribution with another pair secret, context or vector."""
    bank = replace(material.bank(name), **changes.pop("bank", {}))
    arguments = {
        "values": one.values[name],
        "layout": one.layout,
        "context": one.context,
        "seed": one.sealed[name].seed,
        "exponents": one.exponents[name],
        **changes,
    }
    return bank.seal(**arguments)


def _instead(one: Round, name: str, sealed: Contribution) -> list[int]:
    return multiply(
        [(sealed if bank == name else one.sealed[bank]).ciphertexts for bank in material.BANKS]
    )


def _bad_tag(one: Round) -> Told:
    _, offset, _ = one.layout.plaintexts[0][1]
    return _open(one, _added(one, 1 << offset))


def _bad_mask(one: Round) -> Told:
    pairwise = {**material.bank("birch").pairwise, "cedar": material.fixed("another pair secret")}
    return _open(
        one, _instead(one, "birch", _sealed_anew(one, "birch", bank={"pairwise": pairwise}))
    )


def _missing_bank(one: Round) -> Told:
    return _open(one, multiply(_ciphertexts(one)[:2]))


def _repeated_bank(one: Round) -> Told:
    return _open(one, multiply([*_ciphertexts(one), one.sealed["birch"].ciphertexts]))


def _wrong_count(one: Round) -> Told:
    return _open(one, _added(one, 1 << COUNT_BIT))


def _scaled(one: Round) -> Told:
    return _open(one, multiply([one.product, one.product]))


def _swapped_round(one: Round) -> Told:
    total = [sum(column) for column in zip(*one.values.values(), strict=True)]
    after = later(one.context, advance_transcript(material.key().secret, one.context, total))
    return _open(one, _instead(one, "cedar", _sealed_anew(one, "cedar", context=after)))


def _exchanged_ciphertexts(one: Round) -> Told:
    first, second, *others = one.product
    return _open(one, [second, first, *others])


def _out_of_range(one: Round) -> Told:
    """Let the sum of element 1 be one above its range."""
    values = list(one.values["birch"])
    total = sum(part[1] for part in one.values.values())
    values[1] += one.layout.highs[1] - total + 1
    return _open(one, _instead(one, "birch", _sealed_anew(one, "birch", values=values)))


def _without_slot(one: Round) -> Told:
    """Let an element that can only be 0 add up to 1: nothing shows it but the tag."""
    values = list(one.values["birch"])
    values[4] += 1
    return _open(one, _instead(one, "birch", _sealed_anew(one, "birch", values=values)))


def _opened(one: Round, name: str) -> list[int]:
    place = material.BANKS.index(name)
    return [material.key().decrypt(number) for number in one.product[place :: len(material.BANKS)]]


def _with_box(one: Round, name: str, box: bytes) -> Told:
    boxes = list(one.boxes)
    boxes[material.BANKS.index(name)] = box
    return boxes, one.commitments


def _boxed(one: Round, name: str, *, by: str | None = None, **changes: Any) -> bytes:
    """Return the box of a bank with something else in it, or one that another bank has made."""
    arguments = {
        "opened": _opened(one, name),
        "context": one.context,
        "seed": one.sealed[name].seed,
        "commitments": one.commitments,
        "nonce": nonce_of(name),
        "shard": material.BANKS.index(name),
        **changes,
    }
    return material.bank(by or name).box(**arguments)


def _wrong_seed(one: Round) -> Told:
    return _with_box(one, "birch", _boxed(one, "birch", seed=material.fixed("another seed")))


def _forged_box(one: Round) -> Told:
    return _with_box(one, "birch", _boxed(one, "birch", by="cedar"))


def _equivocated(one: Round) -> Told:
    told = [material.fixed("another commitment"), *one.commitments[1:]]
    return _with_box(one, "birch", _boxed(one, "birch", commitments=told))


def _replayed_box(one: Round) -> Told:
    after = later(one.context, bytes(32))
    return _with_box(one, "birch", _boxed(one, "birch", context=after))


def _altered_box(one: Round) -> Told:
    box = one.boxes[1]
    return _with_box(one, "birch", box[:-1] + bytes([box[-1] ^ 1]))


def _exchanged_boxes(one: Round) -> Told:
    first, second, third = one.boxes
    return [first, third, second], one.commitments


def _short_box(one: Round) -> Told:
    return _with_box(one, "birch", one.boxes[1][:-1])


def _above_modulus(one: Round) -> Told:
    opened = [material.key().n, *_opened(one, "birch")[1:]]
    return _with_box(one, "birch", _boxed(one, "birch", opened=opened))


def _missing_box(one: Round) -> Told:
    return one.boxes[:2], one.commitments


_FAILURES: dict[str, tuple[str, str, Callable[[Round], Told]]] = {
    "bad_mask": ("MASKS", "birch masked with another pair secret than cedar", _bad_mask),
    "missing_bank": ("MASKS", "the product lacks cedar's contribution", _missing_bank),
    "repeated_bank": ("MASKS", "birch's contribution is in the product twice", _repeated_bank),
    "scaled_sum": ("MASKS", "the product is its own square", _scaled),
    "swapped_round": ("MASKS", "cedar's contribution is that of the next round", _swapped_round),
    "exchanged_ciphertexts": (
        "MASKS", "the first two ciphertexts of the product changed places", _exchanged_ciphertexts
    ),
    "wrong_count": ("COUNT", "one count was added to the first plaintext", _wrong_count),
    "bad_tag": ("TAG", "1 was added in the second slot of the first plaintext", _bad_tag),
    "out_of_range": ("TAG", "the sum of element 1 is one above its range", _out_of_range),
    "without_slot": ("TAG", "element 4 can only be 0 and adds up to 1", _without_slot),
    "forged_box": ("SIGNATURE", "cedar made birch's box", _forged_box),
    "equivocated_commitments": (
        "SIGNATURE", "birch was told another commitment of alder", _equivocated
    ),
    "wrong_seed": ("SEED", "birch signed another seed than it committed to", _wrong_seed),
    "box_of_another_round": ("BOX", "birch's box is of the next context", _replayed_box),
    "altered_box": ("BOX", "the last bit of birch's box was changed", _altered_box),
    "exchanged_boxes": ("BOX", "the boxes of birch and cedar changed places", _exchanged_boxes),
    "short_box": ("OPENER", "birch's box lacks its last byte", _short_box),
    "above_modulus": ("OPENER", "the first number of birch's box is N", _above_modulus),
    "missing_box": ("OPENINGS", "cedar's box is not there", _missing_box),
}  # fmt: skip


def _refused_lists(one: Round) -> dict[str, tuple[str, list[bytes]]]:
    another = material.fixed("another commitment")
    first, second, third = one.commitments
    return {
        "own_commitment_replaced": ("alder's own is another", [another, second, third]),
        "own_commitment_elsewhere": ("alder's own is in birch's place", [second, first, third]),
        "commitment_missing": ("there are two of three banks", [first, second]),
    }
