"""The law of the secure sum with real keys, and everything that must not give a number."""

import dataclasses
import secrets
from functools import reduce

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.errors import BoundError, CiphertextError, CohortError, KeyMaterialError, SumError
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.packing import MAXIMUM_BANKS, SlotLayout
from fraudfed.secure_sum.session import BOX_OVERHEAD_BYTES, SecureSum

quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def new_context(bank: SecureSum, layout: SlotLayout, n_banks: int) -> RoundContext:
    return bank.context(
        layout,
        run_id="run",
        epoch=0,
        round_number=3,
        label="histogram:0",
        roster=[f"bank{i}" for i in range(n_banks)],
    )


def multiply(bank: SecureSum, payloads: list[bytes]) -> CiphertextVector:
    """Do what the aggregator does."""
    vectors = [CiphertextVector(bank.public_key, payload) for payload in payloads]
    for vector in vectors:
        vector.check()
    return reduce(CiphertextVector.product, vectors)


def secure_sum(
    package: KeyPackage, parts: list[Int64Array], bound: int | Int64Array
) -> list[Int64Array]:
    """Run one round; return what each bank ends up with."""
    n_banks = len(parts)
    banks = [SecureSum(package, threads=1 + i % 2) for i in range(n_banks)]
    layout = banks[0].layout(bound, parts[0].shape)
    context = new_context(banks[0], layout, n_banks)
    payloads = [b.seal(part, layout, context) for b, part in zip(banks, parts, strict=True)]
    product = multiply(banks[0], payloads)
    boxes = [
        bank.open_shard(product.shard(j, n_banks).data, layout, context, shard=j)
        for j, bank in enumerate(banks)
    ]
    return [bank.combine(boxes, layout, context) for bank in banks]


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
    bound[0, 0] = 2**62
    for result in secure_sum(package, parts, bound):
        np.testing.assert_array_equal(result, sum(parts))


@pytest.mark.parametrize("shape", [(0,), (4, 0), (), (3,)])
def test_vectors_without_ciphertexts(package: KeyPackage, shape: tuple[int, ...]) -> None:
    parts = [np.zeros(shape, dtype=np.int64)] * 3
    for result in secure_sum(package, parts, 0):
        assert result.shape == shape
        np.testing.assert_array_equal(result, parts[0])


class Round:
    """One round of three banks, taken apart so that a test can damage any piece of it."""

    def __init__(self, package: KeyPackage) -> None:
        self.banks = [SecureSum(package) for _ in range(3)]
        self.bank = self.banks[0]
        # 40 slots of 23 bits in plaintexts of 510 bits: three ciphertexts, one for each bank.
        self.layout = self.bank.layout(2**21, (40,))
        self.context = new_context(self.bank, self.layout, 3)
        self.parts = [np.arange(40, dtype=np.int64) * (i - 1) + i for i in range(3)]
        self.payloads = [bank.seal(x, self.layout, self.context) for bank, x in self.pairs()]
        self.product = multiply(self.bank, self.payloads)
        self.boxes = self.open(self.product)

    def pairs(self) -> list[tuple[SecureSum, Int64Array]]:
        return list(zip(self.banks, self.parts, strict=True))

    def open(self, product: CiphertextVector) -> list[bytes]:
        return [
            bank.open_shard(product.shard(j, 3).data, self.layout, self.context, shard=j)
            for j, bank in enumerate(self.banks)
        ]

    def combine(self, boxes: list[bytes]) -> Int64Array:
        return self.bank.combine(boxes, self.layout, self.context)


@pytest.fixture
def one_round(package: KeyPackage) -> Round:
    return Round(package)


def flipped(data: bytes, position: int, bit: int = 0) -> bytes:
    damaged = bytearray(data)
    damaged[position] ^= 1 << bit
    return bytes(damaged)


def test_undamaged_round_gives_the_sum(one_round: Round) -> None:
    assert len(one_round.product) == 3
    np.testing.assert_array_equal(one_round.combine(one_round.boxes), sum(one_round.parts))
    as_views = [memoryview(box) for box in one_round.boxes]
    np.testing.assert_array_equal(one_round.combine(as_views), sum(one_round.parts))


def test_damaged_ciphertext_gives_no_number(one_round: Round) -> None:
    width = one_round.bank.public_key.ciphertext_bytes
    for position in (0, 1, width // 2, width - 1, width + 5, 3 * width - 1):
        product = CiphertextVector(
            one_round.bank.public_key, flipped(one_round.product.data, position)
        )
        with pytest.raises((SumError, CiphertextError)):
            one_round.combine(one_round.open(product))


@pytest.mark.parametrize("other", [1, 2])
def test_swapped_ciphertexts_give_no_number(one_round: Round, other: int) -> None:
    # 40 slots: 18 + 18 + 4. The first two plaintexts have the same slots; only the weights of
    # their checksums tell them apart.
    values = one_round.product.integers()
    values[0], values[other] = values[other], values[0]
    product = CiphertextVector.of_integers(one_round.bank.public_key, values)
    with pytest.raises(SumError):
        one_round.combine(one_round.open(product))


def test_ciphertexts_of_another_layout_give_no_number(one_round: Round) -> None:
    layout = one_round.bank.layout(2**20, (40,))
    other = new_context(one_round.bank, layout, 3)
    payloads = [bank.seal(x, layout, other) for bank, x in one_round.pairs()]
    with pytest.raises((SumError, CiphertextError)):
        one_round.combine(one_round.open(multiply(one_round.bank, payloads)))


@pytest.mark.parametrize("position", [0, 11, 12, 40, -1])
@pytest.mark.parametrize("shard", [0, 1, 2])
def test_damaged_box_names_the_bank(one_round: Round, shard: int, position: int) -> None:
    boxes = list(one_round.boxes)
    boxes[shard] = flipped(boxes[shard], position, 7)
    with pytest.raises(SumError, match=f"opening of bank 'bank{shard}' does not authenticate"):
        one_round.combine(boxes)


def test_swapped_boxes_are_refused(one_round: Round) -> None:
    first, second, third = one_round.boxes
    assert len(first) == len(second)
    with pytest.raises(SumError, match="'bank0' does not authenticate"):
        one_round.combine([second, first, third])


def test_missing_and_truncated_boxes_are_refused(one_round: Round) -> None:
    with pytest.raises(SumError, match="2 openings, expected 3"):
        one_round.combine(one_round.boxes[:2])
    for cut in (b"", one_round.boxes[1][:20], one_round.boxes[1][:-1], one_round.boxes[1] + b"x"):
        with pytest.raises(SumError, match=f"'bank1' has {len(cut)} bytes"):
            one_round.combine([one_round.boxes[0], cut, one_round.boxes[2]])


@pytest.mark.parametrize(
    "change", [{"round_number": 4}, {"run_id": "r"}, {"epoch": 1}, {"label": "histogram:1"}]
)
def test_boxes_of_another_context_do_not_open(
    one_round: Round, change: dict[str, int | str]
) -> None:
    other = dataclasses.replace(one_round.context, **change)  # type: ignore[arg-type]
    with pytest.raises(SumError, match="'bank0' does not authenticate"):
        one_round.bank.combine(one_round.boxes, one_round.layout, other)


def test_same_key_with_another_secret_does_not_open(package: KeyPackage, one_round: Round) -> None:
    stranger = SecureSum(KeyPackage(package.private_key, secrets.token_bytes(32)))
    with pytest.raises(SumError, match="another key package"):
        stranger.combine(one_round.boxes, one_round.layout, one_round.context)


def test_boxes_differ_and_show_nothing(one_round: Round) -> None:
    again = one_round.open(one_round.product)
    assert all(a != b for a, b in zip(one_round.boxes, again, strict=True))
    plaintexts = one_round.bank.decrypt(
        one_round.product.shard(0, 3).data, one_round.layout, one_round.context, shard=0
    )
    width = one_round.bank.public_key.plaintext_bytes
    shown = (plaintexts[0] % one_round.bank.public_key.n).to_bytes(width, "big")
    assert all(shown[:8] not in box and shown[-8:] not in box for box in one_round.boxes)
    assert len(one_round.boxes[0]) == width + BOX_OVERHEAD_BYTES


def test_every_context_and_secret_has_its_own_key(package: KeyPackage, one_round: Round) -> None:
    # Beside the associated data: a nonce drawn twice would then meet two different keys.
    bank, context = one_round.bank, one_round.context
    other = dataclasses.replace(context, round_number=context.round_number + 1)
    stranger = SecureSum(KeyPackage(package.private_key, secrets.token_bytes(32)))
    keys = {bank._opening_key(context), bank._opening_key(other), stranger._opening_key(context)}
    assert len(keys) == 3
    assert bank._opening_key(context) == one_round.banks[1]._opening_key(context)


def test_other_key_is_refused(one_round: Round, other_package: KeyPackage) -> None:
    stranger = SecureSum(other_package)
    with pytest.raises(KeyMaterialError, match="under key"):
        stranger.seal(one_round.parts[0], one_round.layout, one_round.context)
    with pytest.raises(KeyMaterialError, match="under key"):
        stranger.combine(one_round.boxes, one_round.layout, one_round.context)
    with pytest.raises(KeyMaterialError, match="under key"):
        stranger.open_shard(
            one_round.product.shard(0, 3).data, one_round.layout, one_round.context, shard=0
        )


def test_contribution_under_another_key_gives_no_number(
    one_round: Round, other_package: KeyPackage
) -> None:
    stranger = SecureSum(other_package)
    context = new_context(stranger, one_round.layout, 3)
    payload = stranger.seal(one_round.parts[0], one_round.layout, context)
    # Relabelled as ciphertexts of our key; whatever passes the range check must not open.
    smuggled = CiphertextVector.of_integers(
        one_round.bank.public_key,
        [
            value % one_round.bank.public_key.n_squared
            for value in CiphertextVector(stranger.public_key, payload).integers()
        ],
    )
    with pytest.raises(SumError):
        one_round.combine(one_round.open(one_round.product.product(smuggled)))


def test_layout_and_context_must_agree(one_round: Round) -> None:
    other = one_round.bank.layout(2**22, (40,))
    with pytest.raises(SumError, match="another layout"):
        one_round.bank.seal(one_round.parts[0], other, one_round.context)
    with pytest.raises(SumError, match="another layout"):
        one_round.bank.combine(one_round.boxes, other, one_round.context)


def test_shard_of_the_wrong_length_is_refused(one_round: Round) -> None:
    shard = one_round.product.shard(0, 3).data
    for wrong, message in (
        (b"", "has 0 ciphertexts, expected 1"),
        (shard * 2, "has 2 ciphertexts, expected 1"),
        (shard[:-1], "multiple of"),
    ):
        with pytest.raises(CiphertextError, match=message):
            one_round.bank.open_shard(wrong, one_round.layout, one_round.context, shard=0)
    for outside in (-1, 3):
        with pytest.raises(SumError, match=r"expected one of 0 \.\. 2"):
            one_round.bank.open_shard(shard, one_round.layout, one_round.context, shard=outside)


@pytest.mark.parametrize("name", ["zero", "N", "multiple of P", "N^2", "all ones"])
def test_what_is_no_ciphertext_is_not_opened(
    package: KeyPackage, one_round: Round, name: str
) -> None:
    key = one_round.bank.public_key
    bad = {
        "zero": 0,
        "N": key.n,
        "multiple of P": 2 * package.private_key.expose_secret_parts()["P"],
        "N^2": key.n_squared,
        "all ones": 256**key.ciphertext_bytes - 1,
    }[name]
    shard = bad.to_bytes(key.ciphertext_bytes, "big")
    with pytest.raises(CiphertextError, match="ciphertext 0 of 1"):
        one_round.bank.open_shard(shard, one_round.layout, one_round.context, shard=0)


def test_value_outside_its_bound_is_not_sealed(one_round: Round) -> None:
    values = one_round.parts[0].copy()
    values[11] = 2**21 + 1
    with pytest.raises(BoundError, match=r"\(11,\)"):
        one_round.bank.seal(values, one_round.layout, one_round.context)


def test_bound_broken_together_gives_no_number(one_round: Round) -> None:
    values = np.zeros(40, dtype=np.int64)
    values[5] = 2**21
    payloads = [
        bank.seal(values, one_round.layout, one_round.context) for bank, _ in one_round.pairs()
    ]
    with pytest.raises(SumError):
        one_round.combine(one_round.open(multiply(one_round.bank, payloads)))


def test_opener_that_sends_a_number_above_the_modulus_is_named(one_round: Round) -> None:
    key = one_round.bank.public_key
    # As a member that runs other software could: right AEAD key, wrong content.
    honest = one_round.bank._opening_key(one_round.context)
    nonce = bytes(12)
    associated = bytes.fromhex(one_round.context.digest) + (0).to_bytes(4, "big")
    content = b"\xff" * key.plaintext_bytes
    box = nonce + ChaCha20Poly1305(honest).encrypt(nonce, content, associated)
    with pytest.raises(SumError, match="'bank0' holds a number above the modulus"):
        one_round.combine([box, *one_round.boxes[1:]])


def test_precomputed_noise_is_used(one_round: Round) -> None:
    bank = one_round.bank
    bank.precompute(4)
    first = bank.seal(one_round.parts[0], one_round.layout, one_round.context)
    second = bank.seal(one_round.parts[0], one_round.layout, one_round.context)
    width = bank.public_key.ciphertext_bytes
    ciphertexts = {
        data[i : i + width] for data in (first, second) for i in range(0, 3 * width, width)
    }
    assert len(ciphertexts) == 6


def test_too_many_banks_are_refused(one_round: Round) -> None:
    context = new_context(one_round.bank, one_round.layout, MAXIMUM_BANKS + 1)
    with pytest.raises(CohortError, match="65537 banks"):
        one_round.bank.seal(one_round.parts[0], one_round.layout, context)


def test_session_does_not_print_secrets(package: KeyPackage, one_round: Round) -> None:
    text = repr(one_round.bank)
    assert package.expose_secret().hex() not in text
    assert len(text) < 80
