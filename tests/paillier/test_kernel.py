"""Kernels and primes against Python's own integers and GMP."""

import os
import pickle
import secrets
import subprocess
import sys

import gmpy2
import phe
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.errors import ConfigurationError
from fraudfed.machine.native import load_native
from fraudfed.paillier.kernels.ifma import IFMA
from fraudfed.paillier.kernels.kernel import kernel_names, kernel_note, select_kernel
from fraudfed.paillier.kernels.residues import from_digits, to_digits
from fraudfed.paillier.noise import PublicNoise
from fraudfed.paillier.primes import structured_prime
from fraudfed.paillier.private_key import PrivateKey

NATIVE = load_native("fraudfed.paillier.kernels._ifma").module
needs_ifma = pytest.mark.skipif(
    bool(IFMA.why_unavailable()), reason=IFMA.why_unavailable() or "it is there"
)

roots = st.integers(1, 2**300).map(lambda x: 2 * x + 1)
#: The largest roots that each size of the ifma kernel serves, in bits.
SIZES = {20: 1034, 30: 1554, 40: 2074, 60: 3114}


@pytest.mark.parametrize("name", kernel_names())
@pytest.mark.parametrize("threads", [1, 3])
def test_fixed_base_powers_equal_pow(name: str, threads: int) -> None:
    @settings(max_examples=25, deadline=None)
    @given(base=st.integers(0, 2**610), root=roots, bits=st.integers(1, 40), data=st.data())
    def law(base: int, root: int, bits: int, data: st.DataObject) -> None:
        exponents = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=20))
        table = select_kernel(name).fixed_base(mpz(base), mpz(root), exponent_bits=bits)
        expected = [pow(base, e, root * root) for e in exponents]
        assert from_digits(table.powers(exponents, threads=threads), mpz(root)) == expected

    law()


@pytest.mark.parametrize("name", kernel_names())
@pytest.mark.parametrize("threads", [1, 3])
def test_common_exponent_equals_pow(name: str, threads: int) -> None:
    @settings(max_examples=25, deadline=None)
    @given(
        bases=st.lists(st.integers(0, 2**610), max_size=20),
        exponent=st.integers(0, 2**300),
        root=roots,
    )
    def law(bases: list[int], exponent: int, root: int) -> None:
        powers = select_kernel(name).common_exponent(
            to_digits([mpz(b) for b in bases], mpz(root)), mpz(exponent), mpz(root), threads=threads
        )
        assert all(0 <= digit < root for power in powers for digit in power)
        expected = [pow(b, exponent, root * root) for b in bases]
        assert from_digits(powers, mpz(root)) == expected

    law()


def adversarial_roots(limbs: int) -> list[mpz]:
    """Roots whose carries are the worst: all ones, a single one, sparse and random, odd all."""
    bits = SIZES[limbs]
    top = mpz(1) << (bits - 1)
    ones = (mpz(1) << bits) - 1
    checkered = sum(mpz(0xFFFFFFFFFFFFF) << shift for shift in range(0, bits - 52, 104)) | top | 1
    return [ones, top | 1, ones - 2, checkered, mpz(secrets.randbits(bits)) | top | 1]


def adversarial_residues(root: mpz) -> list[mpz]:
    """0, 1, the ends of the range, halves that are 0 or the largest, and limbs of all ones."""
    square = root * root
    edges = [0, 1, 2, root - 1, root, root + 1, square - 1, square - root, root * (root - 1)]
    ones = ((mpz(1) << (root.bit_length() - 1)) - 1) * (1 + root)
    return [mpz(x) % square for x in (*edges, ones, secrets.randbelow(int(square)))]


@needs_ifma
@pytest.mark.parametrize("limbs", SIZES)
def test_ifma_equals_gmp_at_every_size_on_the_worst_operands(limbs: int) -> None:
    kernel = select_kernel("ifma")
    exponents = [0, 1, 2, 15, 16, 255, 256, 2**64 - 1, 2**257 - 1, secrets.randbits(257)]
    for root in adversarial_roots(limbs):
        assert IFMA.limbs_for(int(root)) == limbs
        square, bases = root * root, adversarial_residues(root)
        for exponent in exponents:
            powers = kernel.common_exponent(to_digits(bases, root), mpz(exponent), root)
            expected = [gmpy2.powmod(base, exponent, square) for base in bases]
            assert powers == to_digits(expected, root)
        for base in bases:
            table = kernel.fixed_base(base, root, exponent_bits=257)
            expected = [gmpy2.powmod(base, e, square) for e in exponents]
            assert table.powers(exponents) == to_digits(expected, root)


@needs_ifma
def test_sizes_end_where_the_bounds_of_the_products_end() -> None:
    for limbs, bits in SIZES.items():
        assert bits == 52 * limbs - 6
        assert IFMA.limbs_for(2**bits - 1) == limbs
        assert IFMA.limbs_for(2**bits + 1) == {20: 30, 30: 40, 40: 60, 60: None}[limbs]
    assert IFMA.limbs_for(2**100) is None


@needs_ifma
@pytest.mark.parametrize("root", [2**3114 + 1, 2**200], ids=["too-long", "even"])
def test_other_roots_are_left_to_gmp(root: int) -> None:
    kernel = select_kernel("ifma")
    bases = to_digits([mpz(3), mpz(5)], mpz(root))
    powers = kernel.common_exponent(bases, mpz(1000), mpz(root))
    assert powers == to_digits([mpz(base) ** 1000 for base in (3, 5)], mpz(root))
    table = kernel.fixed_base(mpz(7), mpz(root), exponent_bits=20)
    assert table.powers([9_999]) == to_digits([mpz(7) ** 9_999], mpz(root))


@needs_ifma
def test_compiled_functions_refuse_lengths_that_do_not_fit() -> None:
    assert NATIVE is not None
    words = bytes(8 * (4 * 20 + 1))
    for n in (0, 19, 61, -20):
        with pytest.raises(ValueError, match="expected 20, 30, 40 or 60"):
            NATIVE.common_exponent(n, words, b"\1", b"")
    with pytest.raises(ValueError, match="modulus has 640 bytes"):
        NATIVE.common_exponent(20, words[8:], b"\1", b"")
    for exponent, bases in ((b"\1", bytes(259)), (b"", bytes(260))):
        with pytest.raises(ValueError, match="no whole pairs"):
            NATIVE.common_exponent(20, words, exponent, bases)
    with pytest.raises(ValueError, match=r"expected 3 .. 16 bits"):
        NATIVE.fixed_base_table(20, words, bytes(260), 17, 2)
    for base, rows in ((bytes(259), 2), (bytes(260), 0), (bytes(260), 5000)):
        with pytest.raises(ValueError, match="base is no pair"):
            NATIVE.fixed_base_table(20, words, base, 8, rows)
    table = bytes(2 * 256 * 40 * 8)
    with pytest.raises(ValueError, match="table has another size"):
        NATIVE.fixed_base_powers(20, words, table[8:], 8, 2, bytes(2), 2)
    for exponents, size in ((bytes(3), 2), (bytes(3), 3), (bytes(2), 0)):
        with pytest.raises(ValueError, match="no whole numbers"):
            NATIVE.fixed_base_powers(20, words, table, 8, 2, exponents, size)


@pytest.mark.parametrize("name", kernel_names())
@pytest.mark.parametrize("key_bits", [2048, 3072])
def test_ciphertexts_of_every_kernel_decrypt_under_phe(name: str, key_bits: int) -> None:
    made = PrivateKey.generate(key_bits)
    parts = made.expose_secret_parts()
    key = PrivateKey(
        made.public,
        (mpz(parts["P"]), mpz(parts["Q"])),
        (mpz(parts["p"]), mpz(parts["q"])),
        kernel=select_kernel(name),
    )
    public = phe.PaillierPublicKey(key.public.n)
    oracle = phe.PaillierPrivateKey(public, parts["P"], parts["Q"])
    plaintexts = [0, 1, -1, 2**100, -(2**100), key.public.n // 2, -(key.public.n // 2)]
    vector = key.encryptor(threads=2).encrypt(plaintexts)
    opened = [oracle.raw_decrypt(int(value)) for value in vector.integers()]
    assert opened == [plaintext % key.public.n for plaintext in plaintexts]
    assert key.decrypt(vector, threads=2) == plaintexts
    # And the other way round: phe's own noise.
    theirs = vector.of_integers(key.public, [mpz(public.raw_encrypt(m)) for m in (5, 2**90)])
    assert key.decrypt(theirs) == [5, 2**90]


@pytest.mark.parametrize("key_bits", [2048, 3072])
def test_every_kernel_makes_the_same_noise_of_the_same_exponents(key_bits: int) -> None:
    public = PrivateKey.generate(key_bits).public
    assert public.hs is not None
    assert public.alpha_bits is not None
    exponents = [secrets.randbits(public.alpha_bits) for _ in range(9)]
    made = [
        select_kernel(name)
        .fixed_base(mpz(public.hs), public.modulus, exponent_bits=public.alpha_bits)
        .powers(exponents)
        for name in kernel_names()
    ]
    assert all(values == made[0] for values in made)
    assert len(set(made[0])) == 9
    assert len(PublicNoise(public, select_kernel()).fresh(3)) == 3


@pytest.mark.parametrize("name", kernel_names())
def test_exponent_above_the_table_is_an_error_not_a_wrong_power(name: str) -> None:
    table = select_kernel(name).fixed_base(mpz(3), mpz(1009), exponent_bits=16)
    with pytest.raises(OverflowError):
        table.powers([2**16])
    with pytest.raises(OverflowError):
        table.powers([-1])


@pytest.mark.parametrize("name", kernel_names())
def test_table_is_not_pickled_or_printed(name: str) -> None:
    table = select_kernel(name).fixed_base(mpz(3), mpz(1009), exponent_bits=16)
    assert "1009" not in repr(table)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(table)


def test_kernels_are_chosen_by_name() -> None:
    assert select_kernel().name == kernel_names()[0]
    for name in kernel_names():
        assert select_kernel(name).name == name
    with pytest.raises(ConfigurationError, match=r"'abacus', expected one of .*gmp"):
        select_kernel("abacus")
    assert kernel_note().startswith(kernel_names()[0])


def test_without_compiled_modules_gmp_serves_and_says_why() -> None:
    program = (
        "from fraudfed.paillier.kernels.kernel import kernel_names, kernel_note, select_kernel\n"
        "print(kernel_names(), kernel_note())\n"
        "select_kernel('ifma')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "FRAUDFED_NO_EXT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("('gmp',) gmp (ifma does not run here: FRAUDFED_NO_EXT=1 is set")
    assert "expected one of gmp (ifma: FRAUDFED_NO_EXT=1 is set)" in done.stderr


@pytest.mark.parametrize(("prime_bits", "subgroup_bits"), [(128, 32), (160, 40), (256, 64)])
def test_structured_primes(prime_bits: int, subgroup_bits: int) -> None:
    for _ in range(5):
        prime, p = structured_prime(prime_bits, subgroup_bits)
        assert prime.bit_length() == prime_bits
        assert p.bit_length() == subgroup_bits
        # The square is above 2^(2 bits - 1): products of two have all their bits.
        assert prime * prime >> (2 * prime_bits - 1) == 1
        cofactor, rest = divmod(prime - 1, 2 * p)
        assert rest == 0
        assert all(x.is_prime(50) for x in (prime, p, cofactor))
