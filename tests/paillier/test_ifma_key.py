"""A key holder's work in C against the Python that does the same."""

import pickle
import secrets
from collections.abc import Sequence

import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.machine.native import load_native
from fraudfed.paillier.kernels.compiled import WINDOW_BITS, Square
from fraudfed.paillier.kernels.ifma import IFMA
from fraudfed.paillier.kernels.ifma_key import IfmaKey
from fraudfed.paillier.kernels.kernel import select_kernel
from fraudfed.paillier.kernels.residues import Residue
from fraudfed.paillier.noise import hide_digits
from fraudfed.paillier.private_key import PrivateKey
from fraudfed.paillier.vector import CiphertextVector

NATIVE = load_native("fraudfed.paillier.kernels._ifma").module
pytestmark = pytest.mark.skipif(
    bool(IFMA.why_unavailable()), reason=IFMA.why_unavailable() or "it is there"
)


@pytest.fixture(scope="module", params=[512, 2048, 3072])
def key(request: pytest.FixtureRequest) -> PrivateKey:
    return PrivateKey.generate(request.param, insecure_allow_small_key=request.param < 2048)


def compiled(key: PrivateKey) -> IfmaKey:
    native = key.noise_source().native
    assert native is not None
    return native


def in_python(key: PrivateKey) -> PrivateKey:
    parts = key.expose_secret_parts()
    return PrivateKey(
        key.public,
        (mpz(parts["P"]), mpz(parts["Q"])),
        (mpz(parts["p"]), mpz(parts["q"])),
        kernel=select_kernel("gmp"),
    )


def digits_of(key: PrivateKey, noise: Sequence[bytes]) -> list[Residue]:
    half = len(noise[0]) // 2
    return [
        (mpz.from_bytes(one[:half], "little"), mpz.from_bytes(one[half:], "little"))
        for one in noise
    ]


def edges(n: int) -> list[int]:
    return [0, 1, 2, n // 2, n // 2 + 1, n - 2, n - 1, (1 << (n.bit_length() - 1)) - 1]


@pytest.mark.parametrize("threads", [1, 3])
def test_noise_is_that_of_the_same_exponents(key: PrivateKey, threads: int) -> None:
    source = key.noise_source()
    bits = key.public.alpha_bits
    assert bits is not None
    exponents = [0, 1, 2, 255, 256, 2**bits - 1, *source.random_exponents(15)]
    noise = compiled(key).noise(exponents, threads=threads)
    assert digits_of(key, noise) == source.powers(exponents)
    assert in_python(key).noise_source().powers(exponents) == source.powers(exponents)


@pytest.mark.parametrize("threads", [1, 3])
def test_hiding_gives_the_same_bytes(key: PrivateKey, threads: int) -> None:
    n = key.public.n
    plaintexts = [*edges(n), *(secrets.randbelow(n) for _ in range(13))]
    noise = compiled(key).noise(
        key.noise_source().random_exponents(len(plaintexts)), threads=threads
    )
    width = key.public.ciphertext_bytes
    hidden = compiled(key).hide(plaintexts, noise, width=width, threads=threads)
    assert hidden == hide_digits(key.public, plaintexts, digits_of(key, noise))
    opened = compiled(key).open(hidden, width=width, together=8, threads=threads)
    assert opened == plaintexts
    centred = in_python(key).decrypt(CiphertextVector(key.public, hidden))
    assert [plaintext % n for plaintext in centred] == plaintexts


def test_digits_at_their_ends_are_hidden_right(key: PrivateKey) -> None:
    n, half = key.public.n, (52 * 2 * (20 if key.public.key_bits < 3072 else 30) + 7) // 8
    cases = [(m, low, high) for m in edges(n) for low in (1, n - 1) for high in (0, n - 1)]
    noise = [low.to_bytes(half, "little") + high.to_bytes(half, "little") for _, low, high in cases]
    plaintexts = [m for m, _, _ in cases]
    hidden = compiled(key).hide(plaintexts, noise, width=key.public.ciphertext_bytes)
    assert hidden == hide_digits(
        key.public, plaintexts, [(mpz(low), mpz(high)) for _, low, high in cases]
    )


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_sums_open_like_in_python(data: st.DataObject) -> None:
    key = small_key()
    n = key.public.n
    ends = st.sampled_from(edges(n)) | st.integers(0, n - 1)
    first = data.draw(st.lists(ends, max_size=20))
    second = [data.draw(ends) for _ in first]
    vectors = [
        CiphertextVector(
            key.public, key.noise_source().hide(part, key.noise_source().fresh(len(part)))
        )
        for part in (first, second)
    ]
    total = vectors[0].product(vectors[1])
    half = n // 2
    expected = [(a + b) % n for a, b in zip(first, second, strict=True)]
    centred = [value - n if value > half else value for value in expected]
    assert key.decrypt(total, threads=2) == in_python(key).decrypt(total) == centred


KEYS: list[PrivateKey] = []


def small_key() -> PrivateKey:
    if not KEYS:
        KEYS.append(PrivateKey.generate(512, insecure_allow_small_key=True))
    return KEYS[0]


def test_foreign_noise_and_no_units_are_left_to_python(key: PrivateKey) -> None:
    n_squared, width = key.public.n_squared, key.public.ciphertext_bytes
    prime = key.expose_secret_parts()["P"]
    unit = secrets.randbelow(key.public.n)
    for value in (pow(unit, key.public.n, n_squared), 0, prime, prime * prime, key.public.n):
        data = int(value).to_bytes(width, "big")
        assert compiled(key).open(data, width=width, together=8) is None
    foreign = CiphertextVector.of_integers(key.public, [mpz(pow(unit, key.public.n, n_squared))])
    assert key.decrypt(foreign) == [0]


def test_every_ciphertext_is_blinded(key: PrivateKey) -> None:
    # A blind outside the noise's subgroup would show in the result: so it is multiplied in.
    assert NATIVE is not None
    native, width = compiled(key), key.public.ciphertext_bytes
    limbs = 20 if key.public.key_bits < 3072 else 30
    count, together = 20, 8
    vector = key.encryptor().encrypt(list(range(count)))
    parts = key.expose_secret_parts()
    squares = [Square(IFMA, mpz(parts[name]), limbs) for name in ("P", "Q")]
    one = [square.pack([(mpz(1), mpz(0))]) for square in squares]
    foreign = [square.pack([(mpz(2), mpz(0))]) for square in squares]

    def opened(blinds: list[list[bytes]]) -> bytes:
        _, flags = NATIVE.open(
            limbs,
            native._words,
            *native._exponents,
            *(b"".join(side) for side in blinds),
            together,
            vector.data,
            width,
        )
        return bytes(flags)

    assert opened([[one[0]] * 3, [one[1]] * 3]) == bytes([1] * 20)
    for place, flags in enumerate(
        ([0] * 8 + [1] * 12, [1] * 8 + [0] * 8 + [1] * 4, [1] * 16 + [0] * 4)
    ):
        for side in (0, 1):
            blinds = [[one[0]] * 3, [one[1]] * 3]
            blinds[side][place] = foreign[side]
            assert opened(blinds) == bytes(flags)


def test_other_keys_have_none() -> None:
    large = PrivateKey.generate(512, insecure_allow_small_key=True)
    assert in_python(large).noise_source().native is None
    assert large.noise_source().native is not None


def test_lengths_that_do_not_fit_are_refused(key: PrivateKey) -> None:
    assert NATIVE is not None
    native = compiled(key)
    n, words = native._limbs, native._words
    tables = [table.table for table in native._tables]
    rows = native._tables[0].rows
    half = (52 * 2 * n + 7) // 8
    with pytest.raises(ValueError, match="expected 20 or 30"):
        NATIVE.hide(40, words, b"", b"", 10)
    with pytest.raises(ValueError, match="key has"):
        NATIVE.hide(n, words[8:], b"", b"", 10)
    for width in (0, -1, 26 * n + 1):
        with pytest.raises(ValueError, match="width is"):
            NATIVE.hide(n, words, b"", b"", width)
    for noise, plaintexts in ((bytes(half), bytes(half)), (bytes(2 * half), bytes(half - 1))):
        with pytest.raises(ValueError, match="no whole numbers"):
            NATIVE.hide(n, words, noise, plaintexts, 10)
    good = (n, words, *tables, WINDOW_BITS, rows, bytes(rows), bytes(rows), rows)
    assert len(NATIVE.noise(*good)) == 2 * half
    for place, value in ((2, tables[0][8:]), (4, 2), (5, rows + 1), (6, bytes(rows - 1)), (8, 0)):
        wrong = [*good[:place], value, *good[place + 1 :]]
        with pytest.raises(ValueError, match="lengths that do not fit"):
            NATIVE.noise(*wrong)
    pair = bytes(2 * ((52 * n + 7) // 8))
    for exponent, blind, together, data in (
        (b"", pair, 8, bytes(10)),
        (b"\1", pair[1:], 8, bytes(10)),
        (b"\1", pair, 12, bytes(10)),
        (b"\1", pair, 0, bytes(10)),
        (b"\1", pair, 8, bytes(11)),
    ):
        with pytest.raises(ValueError, match=r"an exponent is empty|no whole numbers"):
            NATIVE.open(n, words, exponent, exponent, blind, blind, together, data, 10)


def test_constants_are_not_pickled_or_printed(key: PrivateKey) -> None:
    assert str(key.expose_secret_parts()["P"])[:20] not in repr(compiled(key))
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(compiled(key))
