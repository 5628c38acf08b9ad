"""Kernels and primes against Python's own integers."""

import pickle

import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.errors import ConfigurationError
from fraudfed.paillier.kernel import kernel_names, select_kernel
from fraudfed.paillier.primes import structured_prime

moduli = st.integers(2, 2**300).map(lambda x: 2 * x + 1)


@pytest.mark.parametrize("name", kernel_names())
def test_fixed_base_powers_equal_pow(name: str) -> None:
    @settings(max_examples=25, deadline=None)
    @given(
        base=st.integers(0, 2**310),
        modulus=moduli,
        bits=st.integers(1, 40),
        data=st.data(),
    )
    def law(base: int, modulus: int, bits: int, data: st.DataObject) -> None:
        exponents = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=5))
        table = select_kernel(name).fixed_base(mpz(base), mpz(modulus), exponent_bits=bits)
        assert table.powers(exponents) == [pow(base, e, modulus) for e in exponents]

    law()


@pytest.mark.parametrize("name", kernel_names())
@pytest.mark.parametrize("threads", [1, 3])
def test_common_exponent_equals_pow(name: str, threads: int) -> None:
    @settings(max_examples=25, deadline=None)
    @given(
        bases=st.lists(st.integers(0, 2**310), max_size=12),
        exponent=st.integers(0, 2**300),
        modulus=moduli,
    )
    def law(bases: list[int], exponent: int, modulus: int) -> None:
        powers = select_kernel(name).common_exponent(
            [mpz(b) for b in bases], mpz(exponent), mpz(modulus), threads=threads
        )
        assert powers == [pow(b, exponent, modulus) for b in bases]

    law()


def test_exponent_above_the_table_is_an_error_not_a_wrong_power() -> None:
    table = select_kernel().fixed_base(mpz(3), mpz(1009), exponent_bits=16)
    with pytest.raises(OverflowError):
        table.powers([2**16])


def test_table_is_not_pickled_or_printed() -> None:
    table = select_kernel().fixed_base(mpz(3), mpz(1009), exponent_bits=16)
    assert "1009" not in repr(table)
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(table)


def test_kernels_are_chosen_by_name() -> None:
    assert select_kernel().name == kernel_names()[0]
    assert select_kernel("gmp").name == "gmp"
    with pytest.raises(ConfigurationError, match="'abacus', expected one of gmp"):
        select_kernel("abacus")


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
