"""The private key against its oracle, phe, and against damage."""

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import gmpy2
import phe
import pytest
from gmpy2 import mpz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraudfed.errors import BoundError, CiphertextError, KeyMaterialError
from fraudfed.paillier.kernels.gmp import GmpKernel
from fraudfed.paillier.kernels.residues import Residue, from_digits
from fraudfed.paillier.pheutil import is_pheutil_private_key, read_pheutil_private_key
from fraudfed.paillier.private_key import PrivateKey
from fraudfed.paillier.vector import CiphertextVector

quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Wider than N / 2 of a 512-bit key on purpose: reduced in the test to the whole plaintext range.
numbers = st.integers(-(2**520), 2**520)


def phe_keys(key: PrivateKey) -> tuple[phe.PaillierPublicKey, phe.PaillierPrivateKey]:
    parts = key.expose_secret_parts()
    public = phe.PaillierPublicKey(key.public.n)
    return public, phe.PaillierPrivateKey(public, parts["P"], parts["Q"])


def centred(value: int, n: int) -> int:
    value %= n
    return value - n if value > n // 2 else value


@quick
@given(values=st.lists(numbers, max_size=8))
def test_decrypt_undoes_encrypt(small_key: PrivateKey, values: list[int]) -> None:
    plaintexts = [centred(v, small_key.public.n) for v in values]
    vector = small_key.encryptor().encrypt(plaintexts)
    assert len(vector) == len(values)
    assert small_key.decrypt(vector) == plaintexts


@quick
@given(values=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
def test_product_decrypts_to_the_sum(small_key: PrivateKey, values: list[tuple[int, int]]) -> None:
    n = small_key.public.n
    encryptor = small_key.encryptor()
    left = encryptor.encrypt([centred(a, n) for a, _ in values])
    right = encryptor.encrypt([centred(b, n) for _, b in values])
    assert small_key.decrypt(left.product(right)) == [centred(a + b, n) for a, b in values]


@quick
@given(value=numbers)
def test_phe_decrypts_ours_and_we_decrypt_phes(
    small_key: PrivateKey, plain_key: PrivateKey, value: int
) -> None:
    for key in (small_key, plain_key):
        public, private = phe_keys(key)
        plaintext = centred(value, key.public.n)
        (ours,) = key.encryptor().encrypt([plaintext]).integers()
        assert private.raw_decrypt(int(ours)) == plaintext % key.public.n
        theirs = public.raw_encrypt(plaintext % key.public.n)
        assert key.decrypt(CiphertextVector.of_integers(key.public, [theirs])) == [plaintext]


def test_real_key_against_phe(real_key: PrivateKey) -> None:
    public, private = phe_keys(real_key)
    half = real_key.public.n // 2
    plaintexts = [0, 1, -1, half, -half, 2 ** (real_key.public.plaintext_bits - 1)]
    ours = real_key.encryptor().encrypt(plaintexts)
    assert [private.raw_decrypt(int(c)) for c in ours.integers()] == [
        m % real_key.public.n for m in plaintexts
    ]
    mixed = CiphertextVector.of_integers(
        real_key.public,
        [
            int(c) if i % 2 else public.raw_encrypt(m % real_key.public.n)
            for i, (c, m) in enumerate(zip(ours.integers(), plaintexts, strict=True))
        ],
    )
    assert real_key.decrypt(mixed, threads=2) == plaintexts
    # An encoded, signed phe number too, added to one of ours inside phe.
    theirs = public.encrypt(-41)
    (one,) = real_key.encryptor().encrypt([1]).integers()
    assert private.decrypt(theirs + phe.EncryptedNumber(public, int(one))) == -40


def test_real_key_meets_the_schemes_requirements(real_key: PrivateKey) -> None:
    parts = real_key.expose_secret_parts()
    big_p, big_q, p, q = (parts[name] for name in ("P", "Q", "p", "q"))
    n, hs, bits = real_key.public.n, real_key.public.hs, real_key.public.key_bits
    alpha_bits = real_key.public.alpha_bits
    assert hs is not None
    assert alpha_bits == {2048: 448, 3072: 512}[bits]
    assert n == big_p * big_q
    assert n.bit_length() in {2048, 3072}
    assert big_p.bit_length() == big_q.bit_length() == bits // 2
    assert p.bit_length() == q.bit_length() == alpha_bits // 2
    p_prime, q_prime = (big_p - 1) // (2 * p), (big_q - 1) // (2 * q)
    assert (2 * p * p_prime + 1, 2 * q * q_prime + 1) == (big_p, big_q)
    assert all(gmpy2.is_prime(x, 50) for x in (big_p, big_q, p, q, p_prime, q_prime))
    assert len({p, q, p_prime, q_prime}) == 4
    assert gmpy2.gcd(big_p - 1, big_q - 1) == 2
    assert gmpy2.gcd(p * q, p_prime * q_prime) == 1
    assert gmpy2.gcd(n, (big_p - 1) * (big_q - 1)) == 1
    assert big_p % 4 == big_q % 4 == 3
    assert abs(big_p - big_q).bit_length() > bits // 2 - 100
    # hs is an N-th residue whose order is exactly 2 p q.
    assert gmpy2.powmod(hs, 2 * p * q, n * n) == 1
    assert all(gmpy2.powmod(hs, e, n * n) != 1 for e in (p * q, 2 * p, 2 * q))
    # h has Jacobi symbol +1, as every -y^2 for primes of the form 4k + 3.
    assert gmpy2.jacobi(hs % n, n) == 1


def test_encryption_is_randomised(small_key: PrivateKey) -> None:
    vector = small_key.encryptor().encrypt([7] * 100)
    assert len({int(c) for c in vector.integers()}) == 100


def test_plaintext_out_of_range_is_refused_without_naming_it(small_key: PrivateKey) -> None:
    half = small_key.public.n // 2
    for value in (half + 1, -half - 1):
        with pytest.raises(BoundError, match="plaintext 1 of 2") as caught:
            small_key.encryptor().encrypt([0, value])
        assert str(value) not in str(caught.value)


@pytest.mark.parametrize("name", ["zero", "N", "multiple of P", "multiple of Q", "N^2"])
def test_what_is_no_ciphertext_is_not_decrypted(small_key: PrivateKey, name: str) -> None:
    parts, n = small_key.expose_secret_parts(), small_key.public.n
    bad = {
        "zero": 0,
        "N": n,
        "multiple of P": 6 * parts["P"],
        "multiple of Q": parts["Q"] ** 2,
        "N^2": n * n,
    }[name]
    good = small_key.encryptor().encrypt([5]).integers()[0]
    vector = CiphertextVector.of_integers(small_key.public, [good, bad, good])
    with pytest.raises(CiphertextError, match="ciphertext 1 of 3"):
        small_key.decrypt(vector)


def test_other_key_is_refused(small_key: PrivateKey, other_small_key: PrivateKey) -> None:
    vector = small_key.encryptor().encrypt([5])
    with pytest.raises(CiphertextError, match="under key"):
        other_small_key.decrypt(vector)


def test_threads_do_not_change_the_result(small_key: PrivateKey) -> None:
    plaintexts = list(range(-11, 12))
    vector = small_key.encryptor().encrypt(plaintexts)
    assert all(small_key.decrypt(vector, threads=t) == plaintexts for t in (1, 2, 3, 50))


class RecordingKernel(GmpKernel):
    """Remembers what the secret exponent was applied to."""

    __slots__ = ("bases",)

    def __init__(self) -> None:
        self.bases: list[int] = []

    def common_exponent(
        self, bases: Sequence[Residue], exponent: mpz, root: mpz, *, threads: int = 1
    ) -> list[Residue]:
        self.bases += [int(base) for base in from_digits(bases, root)]
        return super().common_exponent(bases, exponent, root, threads=threads)


def test_decryption_is_blinded(small_key: PrivateKey) -> None:
    parts, kernel = small_key.expose_secret_parts(), RecordingKernel()
    key = PrivateKey(
        small_key.public,
        (mpz(parts["P"]), mpz(parts["Q"])),
        (mpz(parts["p"]), mpz(parts["q"])),
        kernel=kernel,
    )
    vector = key.encryptor().encrypt([1, 2, 3])
    chosen = {int(c) % parts[name] ** 2 for c in vector.integers() for name in ("P", "Q")}
    assert key.decrypt(vector) == key.decrypt(vector) == [1, 2, 3]
    assert len(set(kernel.bases)) == 12
    assert not chosen & set(kernel.bases)


@pytest.mark.parametrize(
    ("key_bits", "alpha_bits", "insecure", "message"),
    [
        (2046, None, False, "key_bits is 2046"),
        (1024, None, False, "key_bits is 1024"),
        (3073, None, False, "even"),
        (8194, None, False, "key_bits is 8194"),
        (128, None, True, "from 256"),
        (3072, 448, False, "alpha_bits is 448"),
        (3072, 513, False, "alpha_bits is 513"),
        (512, 300, True, "alpha_bits is 300"),
    ],
)
def test_sizes_that_cannot_be_are_refused(
    key_bits: int, alpha_bits: int | None, insecure: bool, message: str
) -> None:
    with pytest.raises(KeyMaterialError, match=message):
        PrivateKey.generate(key_bits, alpha_bits=alpha_bits, insecure_allow_small_key=insecure)


def rebuild(key: PrivateKey, **changes: int) -> PrivateKey:
    parts = key.expose_secret_parts()
    fields = {
        "p": parts["p"],
        "q": parts["q"],
        "hs": key.public.hs,
        "alpha_bits": key.public.alpha_bits,
    } | changes
    return PrivateKey.from_primes(
        fields.pop("prime_p", parts["P"]),
        fields.pop("prime_q", parts["Q"]),
        insecure_allow_small_key=True,
        **fields,
    )


def test_key_can_be_rebuilt_from_its_parts(small_key: PrivateKey) -> None:
    again = rebuild(small_key)
    assert again.public == small_key.public
    assert again.decrypt(small_key.encryptor().encrypt([-3])) == [-3]


def test_every_damaged_part_is_found(small_key: PrivateKey, other_small_key: PrivateKey) -> None:
    parts, other = small_key.expose_secret_parts(), other_small_key.expose_secret_parts()
    n = small_key.public.n
    damages = [
        {"prime_p": other["P"]},
        {"prime_p": parts["P"] + 2},
        {"prime_q": parts["P"], "q": parts["p"]},
        {"p": other["p"]},
        {"p": (parts["P"] - 1) // (2 * parts["p"])},
        {"q": parts["q"] + 2},
        {"p": parts["q"], "q": parts["p"]},
        {"hs": n + 1},  # of order N: no noise, but a plaintext
        {"hs": pow(2, n, n * n)},  # noise of another scheme
        {"hs": pow(small_key.public.hs or 0, 2, n * n)},  # half the order
        {"hs": pow(small_key.public.hs or 0, parts["p"], n * n)},
        {"alpha_bits": (small_key.public.alpha_bits or 0) + 2},
    ]
    for damage in damages:
        with pytest.raises(KeyMaterialError, match=r"damaged|not meet|order"):
            rebuild(small_key, **damage)


def test_plain_key_of_bad_factors_is_refused() -> None:
    for first, second in ((2**89 - 1, 2**89 - 1), (2**89 - 1, 2**89 + 1), (7, 29)):
        with pytest.raises(KeyMaterialError, match="distinct primes"):
            PrivateKey.from_phe_primes(first, second, insecure_allow_small_key=True)
    with pytest.raises(KeyMaterialError, match="at least 2048"):
        PrivateKey.from_phe_primes(2**89 - 1, 2**89 - 3)


def test_secrets_do_not_print_pickle_or_copy(small_key: PrivateKey) -> None:
    noise = small_key.noise_source()
    secret = [str(v) for v in small_key.expose_secret_parts().values()]
    secret += [format(v, "x") for v in small_key.expose_secret_parts().values()]
    for thing in (small_key, noise, small_key.encryptor(), *noise._powers):
        for text in (repr(thing), str(thing), f"{thing}"):
            assert not any(s in text for s in secret)
    for thing in (small_key, noise, *noise._powers):
        with pytest.raises(TypeError, match=r"pickled|copied"):
            pickle.dumps(thing)
        with pytest.raises(TypeError, match=r"pickled|copied"):
            copy.deepcopy(thing)
    assert small_key != rebuild(small_key)  # comparing would be a way to test guesses


def test_pheutil_key_file(tmp_path: Path) -> None:
    path = tmp_path / "phe.json"
    code = "import phe.command_line as c; c.cli()"
    command = [sys.executable, "-c", code, "genpkey", "--keysize", "2048", str(path)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    text = path.read_text()
    assert is_pheutil_private_key(text)
    key = read_pheutil_private_key(text, source="phe.json")
    assert not key.is_fast
    assert key.public.key_bits == 2048
    fields = json.loads(text)
    public = phe.PaillierPublicKey(phe.util.base64_to_int(fields["pub"]["n"]))
    theirs = public.encrypt(12).ciphertext()
    vector = CiphertextVector.of_integers(key.public, [theirs])
    assert key.decrypt(vector) == [12]
    assert key.decrypt(key.encryptor().encrypt([-7, 8])) == [-7, 8]

    # Damage in every way, and the message never quotes the key.
    broken = [
        json.dumps(fields["pub"]),
        json.dumps(fields | {"p": fields["q"]}),
        json.dumps(fields | {"p": "!!"}),
        json.dumps(fields | {"p": 5}),
        json.dumps({k: v for k, v in fields.items() if k != "q"}),
        json.dumps(fields | {"kty": "RSA"}),
        "[]",
        text[:40],
    ]
    for bad in broken:
        with pytest.raises(KeyMaterialError, match=r"^phe\.json: ") as caught:
            read_pheutil_private_key(bad, source="phe.json")
        assert fields["p"] not in str(caught.value)
        assert fields["q"] not in str(caught.value)
    assert not is_pheutil_private_key("[1]")
    assert not is_pheutil_private_key("{")
