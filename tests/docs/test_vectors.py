"""The programs compute docs/vectors/v2, byte for byte, and end its failures with the fault named.

The vectors come from ``protocol_vectors``, which is docs/protocol.md written a second time: what
agrees here was computed twice, by two programs that share nothing.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from protocol_vectors import make, material
from protocol_vectors import summing as reference

from bank_node.run.agreement.facts import run_facts
from bank_node.state.pinned_run import PinnedRun
from fraudfed.consortium.ephemeral import EphemeralKey, pair_secret
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import open_key_epoch
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public import documents, generations
from fraudfed.consortium.public.fingerprint import roster_code
from fraudfed.consortium.public.signatures import sign_request, verify_request
from fraudfed.dtypes import Int64Array
from fraudfed.errors import SumError
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.private_key import PrivateKey
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum import openings, plaintexts, session
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.derivation import derive_key
from fraudfed.secure_sum.faults import SumFault
from fraudfed.secure_sum.masks import self_masks
from fraudfed.secure_sum.masks.pairwise import MaskUse, PairwiseMasks
from fraudfed.secure_sum.masks.streams import signed_sum
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.secure_sum.session import SecureSum
from fraudfed.secure_sum.tags import TAG_PRIME, TagCoefficients
from fraudfed.secure_sum.transcript import Transcript
from fraudfed.wire import frames
from fraudfed.wire.messages import Generation, KeyEpoch, MemberKeys, ReadyBank

FOLDER = Path(__file__).parents[2] / "docs" / "vectors" / "v2"


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / name).read_text())
    return content


KEYS, ROUND, FRAMES, FAILURES = map(
    load, ("keys.json", "round.json", "frames.json", "failures.json")
)
ROSTER = tuple(member["name"] for member in KEYS["members"])
CONTRIBUTIONS = {one["bank"]: one for one in ROUND["contributions"]}
COMMITMENTS = [one["commitment"] for one in ROUND["contributions"]]
PAIRS = {
    tuple(one["banks"]): bytes.fromhex(one["pair_secret"]) for one in KEYS["generation"]["pairs"]
}


def integers(texts: list[str]) -> Int64Array:
    return np.array([int(text) for text in texts], dtype=np.int64)


def numbers(texts: list[str]) -> list[int]:
    return [int(text, 16) for text in texts]


def identity(name: str) -> Identity:
    member = next(one for one in KEYS["members"] if one["name"] == name)
    return Identity(
        Ed25519PrivateKey.from_private_bytes(bytes.fromhex(member["signing_secret"])),
        X25519PrivateKey.from_private_bytes(bytes.fromhex(member["agreement_secret"])),
    )


def pairwise(name: str) -> dict[str, bytes]:
    return {peer: PAIRS[min(name, peer), max(name, peer)] for peer in ROSTER if peer != name}


@pytest.fixture(scope="module")
def package() -> KeyPackage:
    fields = KEYS["paillier"]
    first, second, p, q, hs = (int(fields[name], 16) for name in ("P", "Q", "p", "q", "hs"))
    private = PrivateKey.from_primes(
        first, second, p=p, q=q, hs=hs, alpha_bits=fields["alpha_bits"]
    )
    return KeyPackage(private, bytes.fromhex(KEYS["consortium_secret"]))


@pytest.fixture(scope="module")
def context() -> RoundContext:
    fields = ROUND["context"]
    return RoundContext(**{**fields, "roster": tuple(fields["roster"])})


@pytest.fixture(scope="module")
def layout() -> SlotLayout:
    told = ROUND["layout"]
    shape = tuple(told["shape"])
    return SlotLayout.for_bounds(
        integers(told["highs"]).reshape(shape),
        shape,
        low=integers(told["lows"]).reshape(shape),
        plaintext_bits=told["plaintext_bits"],
    )


@pytest.fixture(scope="module")
def banks(package: KeyPackage) -> dict[str, SecureSum]:
    return {
        name: SecureSum(
            package,
            bank=name,
            roster=ROSTER,
            roster_digest=ROUND["context"]["roster_digest"],
            pairwise=pairwise(name),
            signer=identity(name),
            signing_keys={one["name"]: one["signing_key"] for one in KEYS["members"]},
        )
        for name in ROSTER
    }


def test_the_files_are_what_their_script_makes() -> None:
    assert make.texts() == {path.name: path.read_text() for path in FOLDER.glob("*")}


def test_keys_and_fingerprints(package: KeyPackage) -> None:
    assert package.public_key.fingerprint == KEYS["paillier"]["fingerprint"]
    assert package.fingerprint == KEYS["package_fingerprint"]
    told = {name: KEYS["paillier"][name] for name in ("n", "hs", "alpha_bits", "fingerprint")}
    assert PublicKey.from_hex(told) == package.public_key
    for member in KEYS["members"]:
        keys = identity(member["name"]).public
        assert (keys.signing_key, keys.agreement_key) == (
            member["signing_key"],
            member["agreement_key"],
        )


def members() -> list[MemberKeys]:
    return [identity(name).member(name) for name in ROSTER]


def test_documents_and_their_signatures() -> None:
    epoch = KeyEpoch.model_validate(KEYS["key_epoch"])
    assert documents.roster_bytes(members()).hex() == KEYS["roster_document"]
    assert documents.roster_digest(members()) == KEYS["roster_digest"]
    assert roster_code(members()) == KEYS["roster_code"]
    assert documents.key_epoch_bytes(epoch).hex() == KEYS["key_epoch_document"]
    assert documents.key_epoch_digest(epoch) == KEYS["key_epoch_digest"]
    documents.verify_key_epoch(epoch)
    bank, digest = KEYS["acknowledgement"]["signer"], KEYS["key_epoch_digest"]
    expected = {
        "acknowledgement": documents.acknowledgement_bytes(epoch=7, bank=bank, digest=digest),
        "removal": documents.removal_bytes(removed=members()[2], signer=KEYS["removal"]["signer"]),
    }
    for name, data in expected.items():
        told = KEYS[name]
        assert data.hex() == told["document"]
        assert identity(told["signer"]).sign(data).hex() == told["signature"]


def test_the_sealed_key_package_opens_for_every_member(package: KeyPackage) -> None:
    epoch = KeyEpoch.model_validate(KEYS["key_epoch"])
    for name in ROSTER:
        opened = open_key_epoch(
            epoch, identity(name), name, pinned={member.name: member for member in members()}
        )
        assert opened.fingerprint == package.fingerprint


def test_a_signed_request() -> None:
    told = KEYS["request"]
    made = sign_request(
        identity(told["keyid"]),
        keyid=told["keyid"],
        method=told["method"],
        url=told["target"],
        headers={"Content-Type": "application/json"},
        body=told["body"].encode(),
        created=told["created"],
        nonce=told["nonce"],
    )
    assert {**made, "Content-Type": "application/json"} == told["headers"]
    verified = verify_request(
        {one["name"]: one["signing_key"] for one in KEYS["members"]}.get,
        method=told["method"],
        target=told["target"],
        headers=told["headers"],
        body_sha256=reference.sha256(told["body"].encode()),
        now=told["created"],
    )
    assert (verified.keyid, verified.nonce) == (told["keyid"], told["nonce"])


def test_keys_of_a_generation() -> None:
    told = KEYS["generation"]
    place = {"run_id": told["run_id"], "epoch": told["epoch"], "generation": told["number"]}
    ephemeral = {}
    for one in told["banks"]:
        name, key = one["signer"], EphemeralKey.of_secret(bytes.fromhex(one["ephemeral_secret"]))
        ephemeral[name] = key
        assert key.public == one["ephemeral_key"]
        data = generations.ephemeral_key_bytes(**place, bank=name, key=key.public)
        assert data.hex() == one["document"]
        signed = generations.sign_ephemeral_key(identity(name), **place, bank=name, key=key.public)
        assert signed == one["signature"]
    keys = {name: key.public for name, key in ephemeral.items()}
    assert generations.generation_digest(members(), **place, keys=keys) == told["digest"]
    for pair in told["pairs"]:
        one, other = pair["banks"]
        for mine, peer in ((one, other), (other, one)):
            secret = pair_secret(
                ephemeral[mine].exchange(keys[peer]),
                identity(mine).exchange(identity(peer).public.agreement_key),
                names=(mine, peer),
                run_id=told["run_id"],
                generation=told["number"],
            )
            assert secret.hex() == pair["pair_secret"]
    handed = told["handover"]
    data = generations.handover_bytes(**place, step=handed["step"], sha256=handed["sha256"])
    assert data.hex() == handed["document"]
    assert identity(handed["signer"]).sign(data).hex() == handed["signature"]


def test_facts_and_transcript(package: KeyPackage, context: RoundContext) -> None:
    told, generation = ROUND["facts"], KEYS["generation"]
    signatures = {one["signer"]: one["signature"] for one in generation["banks"]}
    ready = tuple(
        ReadyBank(bank=bank, step=step, more_rows=rows, key=key, signature=signatures[bank])
        for bank, step, rows, key in told["ready"]
    )
    facts = run_facts(
        PinnedRun.model_validate(told["run"]),
        KeyEpoch.model_validate(KEYS["key_epoch"]),
        Generation(
            number=told["generation"],
            banks=ROSTER,
            entrants=tuple(told["entrants"]),
            ready=ready,
            first_step=told["first_step"],
            first_round=told["first_round"],
        ),
        base=b"the work so far",
        more_rows=told["more_rows"],
    )
    assert facts.hex() == ROUND["facts_bytes"]
    transcript = Transcript.begin(package.expose_secret(), facts)
    assert transcript.digest == context.previous
    after = transcript.advance(context, integers(ROUND["sum"]))
    assert after.digest == ROUND["next_transcript"]


def test_context_and_layout(context: RoundContext, layout: SlotLayout) -> None:
    assert context.canonical_bytes().hex() == ROUND["context_bytes"]
    assert context.digest == ROUND["context_digest"]
    assert layout.digest == ROUND["layout"]["digest"] == context.bounds_digest
    assert layout.firsts.tolist() == ROUND["layout"]["firsts"]
    slots = [slot for places in ROUND["layout"]["slots"] for slot in places]
    for number in range(layout.n_plaintexts):
        one = np.zeros(layout.n_values, dtype=np.int64)
        for element, _, _ in ROUND["layout"]["slots"][number]:
            one[element] = 1
        joined = layout.join(one)
        assert joined[number] == sum(
            1 << offset for _, offset, _ in ROUND["layout"]["slots"][number]
        )
        assert not any(joined[:number] + joined[number + 1 :])
    assert [element for element, _, _ in slots] == np.flatnonzero(layout.highs).tolist()


@pytest.mark.parametrize("name", ROSTER)
def test_tags_masks_and_plaintexts(
    name: str, package: KeyPackage, context: RoundContext, layout: SlotLayout
) -> None:
    told, n, count = CONTRIBUTIONS[name], package.public_key.n, layout.n_plaintexts
    coefficients = TagCoefficients(
        package.expose_secret(), context.digest, firsts=layout.firsts, n_values=layout.n_values
    )
    flat = integers(told["values"])
    assert coefficients.tags(flat, count=1) == numbers(told["tags"])
    tag_masks = PairwiseMasks(name, ROSTER, pairwise(name), use=MaskUse.TAG)
    assert tag_masks.totals(context.digest, count, TAG_PRIME) == numbers(told["tag_masks"])
    masks = PairwiseMasks(name, ROSTER, pairwise(name))
    assert masks.totals(context.digest, count, n) == numbers(told["pair_masks"])
    plain = plaintexts.make(flat, layout, coefficients, numbers(told["tag_masks"]))
    assert [one % n for one in plain] == numbers(told["plaintexts"])
    seed = bytes.fromhex(told["seed"])
    assert derive_key(seed, "self mask").hex() == told["self_mask_key"]
    own = signed_sum(self_masks.self_streams([seed]), count, n)
    assert own == numbers(told["self_mask"])
    assert self_masks.commitment_to(seed, context, bank=name) == told["commitment"]


@pytest.mark.parametrize("name", ROSTER)
def test_a_bank_seals_what_the_vectors_hold(
    name: str,
    package: KeyPackage,
    banks: dict[str, SecureSum],
    context: RoundContext,
    layout: SlotLayout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = CONTRIBUTIONS[name]
    fixed = SimpleNamespace(token_bytes=lambda size: bytes.fromhex(told["os_bytes"])[:size])
    monkeypatch.setattr(self_masks, "secrets", fixed)
    monkeypatch.setattr(session, "_USED_CONTEXTS", session.UsedContexts())
    sealed = banks[name].seal(integers(told["values"]).reshape(layout.shape), layout, context)
    assert (sealed.seed.hex(), sealed.commitment) == (told["seed"], told["commitment"])
    # The noise is fresh; what is under it is not.
    n = package.public_key.n
    for data in (sealed.payload, bytes.fromhex("".join(told["ciphertexts"]))):
        opened = package.private_key.decrypt(CiphertextVector(package.public_key, data))
        assert [one % n for one in opened] == numbers(told["masked_plaintexts"])


def test_the_product_of_the_contributions(package: KeyPackage) -> None:
    vectors = [
        CiphertextVector(package.public_key, bytes.fromhex("".join(one["ciphertexts"])))
        for one in ROUND["contributions"]
    ]
    product = vectors[0].product(vectors[1]).product(vectors[2])
    assert product.data.hex() == "".join(ROUND["product"])


@pytest.mark.parametrize("shard", range(len(ROSTER)))
def test_a_bank_opens_what_the_vectors_hold(
    shard: int,
    banks: dict[str, SecureSum],
    context: RoundContext,
    layout: SlotLayout,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = ROUND["openings"][shard]
    listed = self_masks.commitments_digest(context, COMMITMENTS)
    assert listed.hex() == ROUND["commitments_digest"]
    fixed = SimpleNamespace(token_bytes=lambda size: bytes.fromhex(told["nonce"])[:size])
    monkeypatch.setattr(openings, "secrets", fixed)
    box = banks[told["bank"]].open_shard(
        bytes.fromhex("".join(ROUND["product"][shard :: len(ROSTER)])),
        layout,
        context,
        shard=shard,
        seed=bytes.fromhex(CONTRIBUTIONS[told["bank"]]["seed"]),
        commitments=COMMITMENTS,
    )
    assert box.hex() == told["box"]


@pytest.mark.parametrize("is_told", [True, False], ids=["takes part", "only reads"])
def test_every_bank_combines_to_the_sum(
    is_told: bool, banks: dict[str, SecureSum], context: RoundContext, layout: SlotLayout
) -> None:
    boxes = [bytes.fromhex(one["box"]) for one in ROUND["openings"]]
    for bank in banks.values():
        total = bank.combine(boxes, layout, context, commitments=COMMITMENTS if is_told else None)
        assert total.reshape(-1).tolist() == integers(ROUND["sum"]).tolist()


@pytest.mark.parametrize("name", FAILURES["combine"])
def test_a_failure_is_named_by_every_bank(
    name: str, banks: dict[str, SecureSum], context: RoundContext, layout: SlotLayout
) -> None:
    told = FAILURES["combine"][name]
    boxes = [bytes.fromhex(box) for box in told["boxes"]]
    texts = set()
    for bank in banks.values():
        with pytest.raises(SumError) as caught:
            bank.combine(boxes, layout, context, commitments=told["commitments"])
        texts.add(str(caught.value))
    assert len(texts) == 1
    assert f": {SumFault[told['fault']].value}: " in texts.pop()


@pytest.mark.parametrize("name", FAILURES["combine"])
def test_the_second_program_names_it_alike(name: str) -> None:
    told = FAILURES["combine"][name]
    slots = material.layout()
    context = reference.Context(**{**ROUND["context"], "roster": ROSTER})
    with pytest.raises(reference.FaultError, match=f"^{told['fault']}$"):
        material.bank(ROSTER[0]).combine(
            [bytes.fromhex(box) for box in told["boxes"]],
            slots,
            context,
            [bytes.fromhex(one) for one in told["commitments"]],
        )


@pytest.mark.parametrize("name", FAILURES["open_shard"])
def test_nothing_is_revealed_to_a_list_that_is_refused(
    name: str, banks: dict[str, SecureSum], context: RoundContext, layout: SlotLayout
) -> None:
    told = FAILURES["open_shard"][name]
    with pytest.raises(SumError, match=SumFault[told["fault"]].value):
        banks[told["bank"]].open_shard(
            bytes.fromhex("".join(ROUND["product"][:: len(ROSTER)])),
            layout,
            context,
            shard=0,
            seed=bytes.fromhex(CONTRIBUTIONS[told["bank"]]["seed"]),
            commitments=told["commitments"],
        )


@pytest.mark.parametrize("kind", ["contribution", "product", "opening"])
def test_frames(kind: str) -> None:
    told = FRAMES[kind]
    header, payload = frames.decode(bytes.fromhex(told["frame"]), source="the vectors")
    assert header.model_dump(mode="json") == told["header"]
    assert frames.encode(header, payload).hex() == told["frame"]


def test_a_list_of_frames() -> None:
    body = bytes.fromhex(FRAMES["openings"])
    boxes = [payload for _, payload in frames.decode_many(body, source="the vectors")]
    assert [bytes(box).hex() for box in boxes] == [one["box"] for one in ROUND["openings"]]


def test_a_foreign_bank_takes_part_in_a_round(
    banks: dict[str, SecureSum], context: RoundContext, package: KeyPackage
) -> None:
    """Two banks of the product and one of the other program, with values nobody chose."""
    rng = np.random.default_rng()
    total = rng.integers(-1000, 1000, 70)
    own = banks["alder"].layout(1000, (70,))
    slots = reference.Layout((70,), (-1000,) * 70, (1000,) * 70, package.public_key.plaintext_bits)
    parts = dict(zip(ROSTER, rng.integers(-(2**60), 2**60, (3, 70)), strict=True))
    parts["cedar"] = total - parts["alder"] - parts["birch"]
    fields = {**ROUND["context"], "roster": ROSTER, "n_values": 70, "bounds_digest": own.digest}
    fields["run_id"] = rng.bytes(8).hex()
    ours, theirs = RoundContext(**fields), reference.Context(**fields)
    assert slots.digest == own.digest
    assert theirs.digest.hex() == ours.digest
    foreign, key = material.bank("cedar"), material.key()
    sealed = {name: banks[name].seal(parts[name], own, ours) for name in ROSTER[:2]}
    contribution = foreign.seal(
        parts["cedar"].tolist(),
        slots,
        theirs,
        seed=rng.bytes(32),
        exponents=[int.from_bytes(rng.bytes(56), "big") for _ in slots.plaintexts],
    )
    width = key.ciphertext_bytes
    payload = b"".join(one.to_bytes(width, "big") for one in contribution.ciphertexts)
    vectors = [CiphertextVector(package.public_key, one.payload) for one in sealed.values()]
    product = vectors[0].product(vectors[1]).product(CiphertextVector(package.public_key, payload))
    commitments = [one.commitment for one in sealed.values()] + [contribution.commitment.hex()]
    raw = [bytes.fromhex(one) for one in commitments]
    boxes = [
        banks[name].open_shard(
            product.shard(shard, 3).data,
            own,
            ours,
            shard=shard,
            seed=sealed[name].seed,
            commitments=commitments,
        )
        for shard, name in enumerate(ROSTER[:2])
    ]
    data = product.shard(2, 3).data
    shard = [int.from_bytes(data[at : at + width], "big") for at in range(0, len(data), width)]
    boxes.append(
        foreign.open_shard(
            shard, theirs, seed=contribution.seed, commitments=raw, nonce=rng.bytes(12)
        )
    )
    for name in ROSTER[:2]:
        summed = banks[name].combine(boxes, own, ours, commitments=commitments)
        assert summed.tolist() == total.tolist()
    assert foreign.combine(boxes, slots, theirs, raw) == total.tolist()
