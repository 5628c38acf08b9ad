"""What the compiled modules are told of a modulus and of residues, on any processor."""

import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.paillier.kernels.adx import ADX
from fraudfed.paillier.kernels.compiled import Arithmetic, Square
from fraudfed.paillier.kernels.ifma import IFMA

ARITHMETICS = pytest.mark.parametrize("arithmetic", [ADX, IFMA], ids=lambda one: one.name)


@st.composite
def squares(draw: st.DrawFn, arithmetic: Arithmetic) -> Square:
    limbs = draw(st.sampled_from(arithmetic.sizes))
    root = draw(st.integers(1, 2 ** (arithmetic.limb_bits * limbs - 7) - 1)) * 2 + 1
    return Square(arithmetic, mpz(root), limbs)


@ARITHMETICS
def test_a_modulus_is_told_as_its_proofs_have_it(arithmetic: Arithmetic) -> None:
    @settings(max_examples=30, deadline=None)
    @given(square=squares(arithmetic))
    def law(square: Square) -> None:
        bits, limbs, root = arithmetic.limb_bits, square.limbs, square.root
        assert len(square.words) == 8 * (4 * limbs + 1)
        words = [
            int.from_bytes(square.words[start : start + 8], "little")
            for start in range(0, len(square.words), 8)
        ]
        assert all(word < 1 << bits for word in words)
        modulus, k, low, high = (
            sum(word << bits * i for i, word in enumerate(words[part * limbs : (part + 1) * limbs]))
            for part in range(4)
        )
        radix = 1 << bits * limbs
        assert modulus == root
        assert (64 * modulus) <= radix
        assert (k + radix - 1) % root == 0
        assert 0 <= k < root
        assert (low + high * root - radix * radix) % (root * root) == 0
        assert max(low, high) < root
        assert (root * words[-1] + 1) % (1 << bits) == 0

    law()


@ARITHMETICS
def test_residues_come_back_from_digits_of_up_to_twice_the_root(arithmetic: Arithmetic) -> None:
    @settings(max_examples=30, deadline=None)
    @given(square=squares(arithmetic), data=st.data())
    def law(square: Square, data: st.DataObject) -> None:
        root = int(square.root)
        digits = st.integers(0, root - 1).map(mpz)
        residues = data.draw(st.lists(st.tuples(digits, digits), max_size=5))
        packed = square.pack(residues)
        assert len(packed) == 2 * len(residues) * square.half_bytes
        assert square.unpack(packed) == residues
        # A low digit that has one root too many, and a high one that has, too.
        larger = square.pack([(low + root, high + root) for low, high in residues])
        assert square.unpack(larger) == [(low, (high + 1) % root) for low, high in residues]

    law()


@ARITHMETICS
def test_limbs_are_the_number(arithmetic: Arithmetic) -> None:
    value = mpz(3) ** 1000
    limbs = arithmetic.limbs_of(value, 40)
    assert sum(limb << arithmetic.limb_bits * i for i, limb in enumerate(limbs)) == value
    assert max(limbs) < 1 << arithmetic.limb_bits
