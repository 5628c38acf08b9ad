"""Noise is random, hides zero, and is never used twice."""

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from gmpy2 import mpz

from fraudfed.paillier.encryption import Encryptor
from fraudfed.paillier.kernels.kernel import select_kernel
from fraudfed.paillier.kernels.residues import to_digits
from fraudfed.paillier.noise import NoisePool, PublicNoise
from fraudfed.paillier.private_key import PrivateKey
from fraudfed.paillier.vector import CiphertextVector


class CountingSource:
    """Noise 0, 1, 2 ... of which every value can be told apart."""

    def __init__(self) -> None:
        self.made = 0

    def fresh(self, count: int, *, threads: int = 1) -> list[mpz]:
        values = [mpz(self.made + i) for i in range(count)]
        self.made += count
        return values


def test_noise_is_taken_once_in_order_and_topped_up() -> None:
    source = CountingSource()
    pool = NoisePool(source)
    pool.precompute(5)
    assert len(pool) == 5
    taken = pool.take(3) + pool.take(4) + pool.take(2)
    assert taken == list(range(9))
    assert len(pool) == 0
    assert source.made == 9


def test_threads_never_get_the_same_noise() -> None:
    pool = NoisePool(CountingSource())
    pool.precompute(3000)
    with ThreadPoolExecutor(8) as executor:
        parts = executor.map(pool.take, [10] * 300)
        taken = [int(value) for part in parts for value in part]
    assert sorted(taken) == list(range(3000))


FORKING_PROGRAM = """
import os
from fraudfed.paillier.noise import NoisePool

class Source:
    def fresh(self, count, *, threads=1):
        return [1] * count

pool = NoisePool(Source())
pool.precompute(4)
child = os.fork()
if child == 0:
    os._exit(len(pool))
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, "the child got the parent's noise"
assert len(pool) == 4
"""


def test_forked_child_starts_with_an_empty_pool() -> None:
    # In a process of its own: the test runner has threads, with which fork is not safe.
    subprocess.run([sys.executable, "-c", FORKING_PROGRAM], check=True, timeout=60)


def test_pool_cannot_be_copied() -> None:
    pool = NoisePool(CountingSource())
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="once only"):
            duplicate(pool)
    assert repr(pool) == "<NoisePool with 0 values>"


def test_precomputed_noise_serves_later_encryption(small_key: PrivateKey) -> None:
    encryptor = small_key.encryptor()
    encryptor.precompute(3)
    assert encryptor.ready == 3
    vector = encryptor.encrypt([1, -2])
    assert encryptor.ready == 1
    assert small_key.decrypt(vector.product(encryptor.encrypt([10, 20]))) == [11, 18]
    assert encryptor.ready == 0


def test_noise_encrypts_zero(small_key: PrivateKey, plain_key: PrivateKey) -> None:
    kernel = select_kernel("gmp")
    for key in (small_key, plain_key):
        for source in (key.noise_source(), PublicNoise(key.public, kernel)):
            values = source.fresh(6)
            assert len(set(values)) == 6
            ciphertexts = source.hide([0] * 6, values)
            assert key.decrypt(CiphertextVector(key.public, ciphertexts)) == [0] * 6


def test_public_and_key_holder_noise_agree(small_key: PrivateKey) -> None:
    public = PublicNoise(small_key.public, select_kernel())
    assert public._powers is not None
    alpha_bits = small_key.public.alpha_bits
    assert alpha_bits is not None
    exponents = [0, 1, 2, 2**alpha_bits - 1, *small_key.noise_source().random_exponents(5)]
    expected = [pow(small_key.public.hs or 0, r, small_key.public.n_squared) for r in exponents]
    digits = to_digits([mpz(value) for value in expected], small_key.public.modulus)
    assert public._powers.powers(exponents) == digits
    assert small_key.noise_source().powers(exponents) == digits


def test_random_exponents_use_all_bits(small_key: PrivateKey) -> None:
    bits = small_key.public.alpha_bits
    assert bits is not None
    seen_set, seen_clear = 0, 0
    for r in small_key.noise_source().random_exponents(200):
        assert 0 <= r < 2**bits
        seen_set |= r
        seen_clear |= ~r
    everything = 2**bits - 1
    assert seen_set == everything
    assert seen_clear & everything == everything


def test_encryption_from_the_public_key_alone(small_key: PrivateKey, plain_key: PrivateKey) -> None:
    for key in (small_key, plain_key):
        encryptor = Encryptor(key.public, PublicNoise(key.public, select_kernel()))
        assert encryptor.public_key == key.public
        assert key.decrypt(encryptor.encrypt([3, -4])) == [3, -4]
