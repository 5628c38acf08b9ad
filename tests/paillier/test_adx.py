"""The adx kernel against GMP at every size, on the operands whose carries are the worst."""

import secrets

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.machine.native import load_native
from fraudfed.paillier.kernels import kernel
from fraudfed.paillier.kernels.adx import ADX
from fraudfed.paillier.kernels.compiled import Arithmetic, CompiledKernel
from fraudfed.paillier.kernels.gmp import GmpKernel
from fraudfed.paillier.kernels.residues import to_digits

NATIVE = load_native("fraudfed.paillier.kernels._adx").module
needs_adx = pytest.mark.skipif(
    bool(ADX.why_unavailable()), reason=ADX.why_unavailable() or "it is there"
)

#: The largest roots that each size serves, in bits.
SIZES = {17: 1082, 25: 1594, 33: 2106, 49: 3130}
EXPONENTS = [0, 1, 2, 15, 16, 255, 256, 2**64 - 1, 2**257 - 1]


def adversarial_roots(bits: int) -> list[mpz]:
    """Roots of all ones, of a single one, of words of all ones and zeros by turns; odd all."""
    top = mpz(1) << (bits - 1)
    ones = (mpz(1) << bits) - 1
    checkered = sum(mpz(2**64 - 1) << shift for shift in range(0, bits - 64, 128)) | top
    return [ones, top | 1, ones - 2, checkered, mpz(secrets.randbits(bits)) | top | 1]


def adversarial_residues(root: mpz) -> list[mpz]:
    """0, 1, the ends of the range, halves that are 0 or the largest, and words of all ones."""
    square = root * root
    edges = [0, 1, root - 1, root, root + 1, square - 1, square - root, root * (root - 1)]
    ones = ((mpz(1) << (root.bit_length() - 1)) - 1) * (1 + root)
    return [mpz(x) % square for x in (*edges, ones, secrets.randbelow(int(square)))]


@needs_adx
@pytest.mark.parametrize("words", SIZES)
def test_equals_gmp_at_every_size_on_the_worst_operands(words: int) -> None:
    for root in adversarial_roots(SIZES[words]):
        assert ADX.limbs_for(int(root)) == words
        square, bases = root * root, adversarial_residues(root)
        for exponent in (*EXPONENTS, secrets.randbits(257)):
            powers = CompiledKernel(ADX).common_exponent(
                to_digits(bases, root), mpz(exponent), root
            )
            expected = [gmpy2.powmod(base, exponent, square) for base in bases]
            assert powers == to_digits(expected, root)
        for base in bases[::3]:
            table = CompiledKernel(ADX).fixed_base(base, root, exponent_bits=257)
            expected = [gmpy2.powmod(base, e, square) for e in EXPONENTS]
            assert table.powers(EXPONENTS) == to_digits(expected, root)


@needs_adx
@settings(max_examples=40, deadline=None)
@given(
    # Words of all ones and all zeros, where a lost carry shows.
    digits=st.lists(st.sampled_from([0, 1, 2**63, 2**64 - 1]), min_size=1, max_size=32),
    exponent=st.integers(0, 2**20),
    root_words=st.lists(st.sampled_from([0, 1, 2**63, 2**64 - 1]), min_size=1, max_size=16),
)
def test_carries_over_whole_words(digits: list[int], exponent: int, root_words: list[int]) -> None:
    root = mpz(sum(word << 64 * i for i, word in enumerate(root_words)) | 1 | 2)
    base = mpz(sum(word << 64 * i for i, word in enumerate(digits))) % (root * root)
    bases = to_digits([base], root)
    expected = GmpKernel().common_exponent(bases, mpz(exponent), root)
    assert CompiledKernel(ADX).common_exponent(bases, mpz(exponent), root) == expected


def test_sizes_end_where_the_bounds_of_the_products_end() -> None:
    for words, bits in SIZES.items():
        assert bits == 64 * words - 6
        assert ADX.limbs_for(2**bits - 1) == words
        assert ADX.limbs_for(2**bits + 1) == {17: 25, 25: 33, 33: 49, 49: None}[words]
    assert ADX.limbs_for(2**100) is None


@needs_adx
@pytest.mark.parametrize("root", [2**3130 + 1, 2**200], ids=["too-long", "even"])
def test_other_roots_are_left_to_gmp(root: int) -> None:
    bases = to_digits([mpz(3), mpz(5)], mpz(root))
    powers = CompiledKernel(ADX).common_exponent(bases, mpz(1000), mpz(root))
    assert powers == to_digits([mpz(base) ** 1000 for base in (3, 5)], mpz(root))
    table = CompiledKernel(ADX).fixed_base(mpz(7), mpz(root), exponent_bits=20)
    assert table.powers([9_999]) == to_digits([mpz(7) ** 9_999], mpz(root))


@needs_adx
def test_compiled_functions_refuse_lengths_that_do_not_fit() -> None:
    assert NATIVE is not None
    words = bytes(8 * (4 * 17 + 1))
    pair = bytes(2 * 17 * 8)
    for n in (0, 16, 18, 50, -17):
        with pytest.raises(ValueError, match="expected 17, 25, 33 or 49"):
            NATIVE.common_exponent(n, words, b"\1", b"")
    with pytest.raises(ValueError, match="modulus has 544 bytes"):
        NATIVE.common_exponent(17, words[8:], b"\1", b"")
    for exponent, bases in ((b"\1", pair[1:]), (b"", pair)):
        with pytest.raises(ValueError, match="no whole pairs"):
            NATIVE.common_exponent(17, words, exponent, bases)
    with pytest.raises(ValueError, match="expected 8 bits"):
        NATIVE.fixed_base_table(17, words, pair, 7, 2)
    for base, rows in ((pair[1:], 2), (pair, 0), (pair, 5000)):
        with pytest.raises(ValueError, match="base is no pair"):
            NATIVE.fixed_base_table(17, words, base, 8, rows)
    table = bytes(2 * 256 * len(pair))
    with pytest.raises(ValueError, match="table has another size"):
        NATIVE.fixed_base_powers(17, words, table[8:], 8, 2, bytes(2), 2)
    for exponents, size in ((bytes(3), 2), (bytes(3), 3), (bytes(2), 0)):
        with pytest.raises(ValueError, match="no whole numbers"):
            NATIVE.fixed_base_powers(17, words, table, 8, 2, exponents, size)


def test_the_note_names_every_kernel_that_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {"ifma": "no IFMA", "adx": "no ADX"}
    monkeypatch.setattr(Arithmetic, "why_unavailable", lambda self: reasons[self.name])
    assert kernel.kernel_note() == "gmp (ifma does not run here: no IFMA; nor adx: no ADX)"
    reasons["adx"] = ""
    assert kernel.kernel_note().startswith("adx (BMI2 and ADX; sizes that it does not cover")
    assert kernel.kernel_note().endswith("ifma does not run here: no IFMA)")
