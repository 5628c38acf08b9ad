"""The law of the secure sum with real keys, and what a session refuses to begin with."""

import copy
import dataclasses
import pickle
import secrets
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cohorts.secure import ROSTER_DIGEST, SummingCohort, SummingRound, agree_in_pairs
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.errors import (
    BoundError,
    CiphertextError,
    CohortError,
    KeyMaterialError,
    ProtocolError,
    SumError,
)
from fraudfed.secure_sum.faults import SumFault
from fraudfed.secure_sum.header import MAXIMUM_BANKS
from fraudfed.secure_sum.openings import BOX_OVERHEAD_BYTES, opening_key
from fraudfed.secure_sum.session import SecureSum

quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def secure_sum(
    package: KeyPackage, parts: list[Int64Array], bound: int | Int64Array
) -> list[Int64Array]:
    """Run two rounds, the second on the transcript of the first; return what each bank has."""
    cohort = SummingCohort(package, len(parts))
    first = cohort.round(parts, bound)
    totals = first.finish(first.product)
    cohort.advance(first, totals)
    second = cohort.round(parts, bound, round_number=1)
    return [*totals, *second.finish(second.product)]


@pytest.mark.parametrize("name", ["package_256", "package"])
def test_opened_product_is_the_sum(name: str, request: pytest.FixtureRequest) -> None:
    package: KeyPackage = request.getfixturevalue(name)

    @quick
    @given(n_banks=st.integers(1, 7), data=st.data())
    def law(n_banks: int, data: st.DataObject) -> None:
        bits = data.draw(st.lists(st.integers(0, 62), max_size=20))
        bounds = np.array([data.draw(st.integers(0, 2**b)) for b in bits], dtype=np.int64)
        parts = [
            np.array(
                [data.draw(st.integers(-(int(b) // n_banks), int(b) // n_banks)) for b in bounds],
                dtype=np.int64,
            )
            for _ in range(n_banks)
        ]
        expected = np.sum(parts, axis=0, dtype=np.int64)
        for result in secure_sum(package, parts, bounds):
            assert result.dtype == np.int64
            np.testing.assert_array_equal(result, expected)

    law()


@pytest.mark.parametrize("key_bits", [2048, 3072])
def test_real_key_sizes(key_bits: int) -> None:
    package = KeyPackage.generate(key_bits)
    rng = np.random.default_rng(key_bits)
    parts = [rng.integers(-(2**40), 2**40, (25, 10, 2)) for _ in range(3)]
    parts[0][0, 0] = 2**61, -(2**61)
    bound = np.full((25, 10, 2), 3 * 2**40)
    bound[0, 0] = 2**63 - 1
    for result in secure_sum(package, parts, bound):
        np.testing.assert_array_equal(result, sum(parts))


@pytest.mark.parametrize("shape", [(0,), (4, 0), (), (3,)])
def test_vectors_without_ciphertexts(package: KeyPackage, shape: tuple[int, ...]) -> None:
    parts = [np.zeros(shape, dtype=np.int64)] * 3
    for result in secure_sum(package, parts, 0):
        assert result.shape == shape
        np.testing.assert_array_equal(result, parts[0])


any_int64 = st.sampled_from([0, 2**63 - 1, -(2**63), 41, -41]) | st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_sum_alone_decides_whatever_the_parts_are(
    package: KeyPackage, data: st.DataObject
) -> None:
    """Exact if the sum is in range, else the same fault in the same words at all banks."""
    bounds = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=12))
    lows = [data.draw(st.integers(-40, 0)) for _ in bounds]
    n_banks = data.draw(st.integers(1, 4))
    parts = [
        np.array([data.draw(any_int64) for _ in bounds], dtype=np.int64) for _ in range(n_banks)
    ]
    # The last bank brings most elements back into, or near, their range, where it can.
    for index, (low, high) in enumerate(zip(lows, bounds, strict=True)):
        want = data.draw(st.integers(low - 1, high + 1) | st.integers(low, high))
        last = want - sum(int(part[index]) for part in parts[:-1])
        if -(2**63) <= last < 2**63:
            parts[-1][index] = last
    cohort = SummingCohort(package, n_banks)
    layout = cohort.banks[0].layout(np.array(bounds), (len(bounds),), low=np.array(lows))
    contexts = [cohort.context(bank, layout) for bank in range(n_banks)]
    one = SummingRound(cohort.banks, layout, contexts, parts)
    total = [sum(int(part[index]) for part in parts) for index in range(len(bounds))]
    boxes = one.open(one.product)
    if all(low <= x <= high for low, x, high in zip(lows, total, bounds, strict=True)):
        for bank in range(n_banks):
            assert one.combine(boxes, bank=bank).tolist() == total
        return
    texts = set()
    for bank in range(n_banks):
        with pytest.raises(SumError, match=SumFault.TAG) as caught:
            one.combine(boxes, bank=bank)
        assert type(caught.value) is SumError
        texts.add(str(caught.value))
    assert len(texts) == 1


@pytest.fixture
def cohort(package: KeyPackage) -> SummingCohort:
    return SummingCohort(package, 3)


@pytest.fixture
def one_round(cohort: SummingCohort) -> SummingRound:
    # 40 slots of 23 bits in plaintexts of 510 bits: three ciphertexts, one for each bank.
    return cohort.round([np.arange(40) * (i - 1) + i for i in range(3)], 2**21)


def test_boxes_differ_and_show_nothing(package: KeyPackage, one_round: SummingRound) -> None:
    boxes, again = one_round.open(one_round.product), one_round.open(one_round.product)
    assert all(a != b for a, b in zip(boxes, again, strict=True))
    width, n = package.public_key.plaintext_bytes, package.public_key.n
    opened = package.private_key.decrypt(one_round.product)
    for box, sealed in zip(boxes, one_round.sealed, strict=True):
        assert sealed.seed[:8] not in box
    for box, plaintext in zip(boxes, opened, strict=True):
        shown = (plaintext % n).to_bytes(width, "big")
        assert shown[:8] not in box
        assert shown[-8:] not in box
        assert len(box) == width + BOX_OVERHEAD_BYTES
    views = [memoryview(box) for box in boxes]
    np.testing.assert_array_equal(one_round.combine(views), sum(one_round.parts))


def test_every_context_and_secret_has_its_own_opening_key(
    package: KeyPackage, one_round: SummingRound
) -> None:
    # Beside the associated data: a nonce drawn twice would then meet two different keys.
    context = one_round.contexts[0]
    other = dataclasses.replace(context, round_number=context.round_number + 1)
    secret = package.expose_secret()
    keys = {
        opening_key(secret, context),
        opening_key(secret, other),
        opening_key(secrets.token_bytes(32), context),
    }
    assert len(keys) == 3


def test_one_context_seals_once_in_a_process(
    package: KeyPackage, cohort: SummingCohort, one_round: SummingRound
) -> None:
    again = np.zeros(40, dtype=np.int64)
    with pytest.raises(SumError, match=SumFault.REUSE):
        one_round.banks[1].seal(again, one_round.layout, one_round.contexts[1])
    # Another session of the same bank has the same masks.
    restarted = SummingCohort(package, 3, agreed=cohort.agreed).banks[1]
    with pytest.raises(SumError, match="'bank1' has sealed a contribution to round 0"):
        restarted.seal(again, one_round.layout, one_round.contexts[1])
    later = cohort.context(1, one_round.layout, round_number=1)
    restarted.seal(again, one_round.layout, later)


def test_another_shape_or_dtype_uses_no_context_up(cohort: SummingCohort) -> None:
    layout = cohort.layout(2**21, (40,))
    context = cohort.context(0, layout)
    for wrong in (np.zeros(39, dtype=np.int64), np.zeros(40)):
        with pytest.raises(BoundError, match=r"shape|dtype"):
            cohort.banks[0].seal(wrong, layout, context)
    cohort.banks[0].seal(np.zeros(40, dtype=np.int64), layout, context)


def test_session_keeps_to_its_key_roster_and_layout(
    package: KeyPackage, other_package: KeyPackage, one_round: SummingRound
) -> None:
    values, layout, context = one_round.parts[0], one_round.layout, one_round.contexts[0]
    shard = one_round.product.shard(0, 3).data
    boxes = one_round.open(one_round.product)
    bank = one_round.banks[0]
    cases: list[tuple[SecureSum, Any, Any, type[Exception], str]] = [
        (SummingCohort(other_package, 3).banks[0], layout, context, KeyMaterialError, "under key"),
        (SummingCohort(package, 4).banks[0], layout, context, SumError, SumFault.ROSTER),
        (
            SummingCohort(package, 3, roster_digests=["ff" * 32] * 3).banks[0],
            layout,
            context,
            SumError,
            SumFault.ROSTER,
        ),
        (bank, bank.layout(2**22, (40,)), context, SumError, SumFault.LAYOUT),
    ]
    seed, commitments = one_round.sealed[0].seed, one_round.commitments
    for session, its_layout, its_context, error, message in cases:
        with pytest.raises(error, match=message):
            session.seal(values, its_layout, its_context)
        with pytest.raises(error, match=message):
            session.open_shard(
                shard, its_layout, its_context, shard=0, seed=seed, commitments=commitments
            )
        with pytest.raises(error, match=message):
            session.combine(boxes, its_layout, its_context, commitments=commitments)


def test_shard_of_the_wrong_length_is_refused(one_round: SummingRound) -> None:
    bank, layout, context = one_round.banks[0], one_round.layout, one_round.contexts[0]
    shard = one_round.product.shard(0, 3).data
    told = {"seed": one_round.sealed[0].seed, "commitments": one_round.commitments}
    for wrong, message in (
        (b"", "has 0 ciphertexts, expected 1"),
        (shard * 2, "has 2 ciphertexts, expected 1"),
        (shard[:-1], "multiple of"),
    ):
        with pytest.raises(CiphertextError, match=message):
            bank.open_shard(wrong, layout, context, shard=0, **told)
    for outside in (-1, 3):
        with pytest.raises(SumError, match=r"expected one of 0 \.\. 2"):
            bank.open_shard(shard, layout, context, shard=outside, **told)


@pytest.mark.parametrize(
    ("told", "error", "message"),
    [
        (lambda c: c[:2], SumError, f"{SumFault.COMMITMENTS}: there are 2, expected 3"),
        (lambda c: [*c, c[0]], SumError, f"{SumFault.COMMITMENTS}: there are 4"),
        (lambda c: [c[1], c[0], c[2]], SumError, f"{SumFault.COMMITMENTS}: this bank's own"),
        (lambda c: ["00" * 32, *c[1:]], SumError, f"{SumFault.COMMITMENTS}: this bank's own"),
        (lambda c: [c[0], "zz" * 32, c[2]], ProtocolError, "commitment of bank 'bank1'"),
        (lambda c: [c[0], c[1][:-2], c[2]], ProtocolError, "commitment of bank 'bank1'"),
    ],
    ids=["short", "long", "exchanged", "other", "no-hex", "cut"],
)
def test_commitments_that_are_not_those_of_the_round_open_nothing(
    one_round: SummingRound,
    told: Callable[[list[str]], list[str]],
    error: type[Exception],
    message: str,
) -> None:
    shard = one_round.product.shard(0, 3).data
    with pytest.raises(error, match=message):
        one_round.open_shard(shard, commitments=told(one_round.commitments))


def test_a_seed_opens_in_the_round_that_it_was_made_for(
    cohort: SummingCohort, one_round: SummingRound
) -> None:
    later = cohort.round(one_round.parts, 2**21, round_number=1)
    with pytest.raises(SumError, match=SumFault.COMMITMENTS):
        cohort.banks[0].open_shard(
            later.product.shard(0, 3).data,
            later.layout,
            later.contexts[0],
            shard=0,
            seed=one_round.sealed[0].seed,
            commitments=later.commitments,
        )


def test_what_was_sealed_does_not_leave(one_round: SummingRound) -> None:
    sealed = one_round.sealed[0]
    assert sealed.seed.hex() not in repr(sealed)
    assert repr(sealed) == f"Sealed(commitment={sealed.commitment!r})"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secret"):
            leak(sealed)
    assert len({one.seed for one in one_round.sealed}) == 3
    assert len(sealed.seed) == 32
    assert sealed.seed not in sealed.payload


def test_opener_that_sends_a_number_above_the_modulus_is_named(
    package: KeyPackage, one_round: SummingRound
) -> None:
    # As a member that runs other software could: right AEAD key, wrong content.
    context = one_round.contexts[0]
    key = opening_key(package.expose_secret(), context)
    associated = bytes.fromhex(context.digest) + (0).to_bytes(4, "big")
    content = b"\xff" * package.public_key.plaintext_bytes + bytes(32 + 64)
    box = bytes(12) + ChaCha20Poly1305(key).encrypt(bytes(12), content, associated)
    with pytest.raises(SumError, match="'bank0' holds a number above the modulus"):
        one_round.combine([box, *one_round.open(one_round.product)[1:]])


def test_precomputed_noise_is_used_once(cohort: SummingCohort) -> None:
    cohort.banks[0].precompute(4)
    rounds = [
        cohort.round([np.zeros(40, dtype=np.int64)] * 3, 2**21, round_number=number)
        for number in range(2)
    ]
    width = cohort.banks[0].public_key.ciphertext_bytes
    ciphertexts = {
        one.payloads[0].data[i : i + width] for one in rounds for i in range(0, 3 * width, width)
    }
    assert len(ciphertexts) == 6


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"roster": ("a", "b", "a")}, CohortError, "names a bank twice"),
        ({"roster": ("b", "c")}, CohortError, "'a' is not in the roster b, c"),
        (
            {"roster": tuple(f"bank{i}" for i in range(MAXIMUM_BANKS + 1))},
            CohortError,
            "1025 banks, expected at most 1024",
        ),
        ({"roster_digest": b"too short"}, ProtocolError, "roster digest"),
        ({"roster_digest": "AB" * 32}, ProtocolError, "lower-case"),
        ({"pairwise": {}}, KeyMaterialError, "expected of b, c"),
        ({"signing_keys": {"a": "00" * 32}}, KeyMaterialError, "are of a, expected of a, b, c"),
        ({"signing_keys": dict.fromkeys("abcd", "00" * 32)}, KeyMaterialError, "of a, b, c, d"),
        ({"signing_keys": dict.fromkeys("abc", "00" * 31)}, KeyMaterialError, "of 'a' is '00"),
        ({"signing_keys": dict.fromkeys("abc", "key")}, KeyMaterialError, "of 'a' is 'key'"),
    ],
)
def test_what_cannot_be_a_session_is_refused(
    package: KeyPackage, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    roster = ("a", "b", "c")
    arguments: dict[str, Any] = {
        "bank": "a",
        "roster": roster,
        "roster_digest": ROSTER_DIGEST,
        "pairwise": agree_in_pairs(roster)["a"],
        "signer": Identity.generate(),
        "signing_keys": {name: Identity.generate().public.signing_key for name in roster},
    }
    SecureSum(package, **arguments)
    with pytest.raises(error, match=message):
        SecureSum(package, **(arguments | change))


def test_roster_digest_may_be_raw(package: KeyPackage) -> None:
    roster, identity = ("a", "b"), Identity.generate()
    raw, text = (
        SecureSum(
            package,
            bank="a",
            roster=roster,
            roster_digest=digest,
            pairwise=agree_in_pairs(roster)["a"],
            signer=identity,
            signing_keys=dict.fromkeys(roster, identity.public.signing_key),
        )
        for digest in (bytes.fromhex(ROSTER_DIGEST), ROSTER_DIGEST)
    )
    layout = raw.layout(1, (1,))
    contexts = {
        bank.context(
            layout,
            run_id="r",
            epoch=0,
            round_number=0,
            label="x",
            transcript=bank.begin_transcript(),
        ).digest
        for bank in (raw, text)
    }
    assert len(contexts) == 1


def test_session_does_not_print_secrets(package: KeyPackage, cohort: SummingCohort) -> None:
    text = repr(cohort.banks[0])
    assert package.expose_secret().hex() not in text
    assert all(secret.hex() not in text for secret in cohort.agreed["bank0"].values())
    assert len(text) < 80
