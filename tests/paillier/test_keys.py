"""The public key: what is accepted, its widths and its fingerprint."""

import subprocess
import sys

import pytest

from fraudfed.errors import KeyMaterialError
from fraudfed.paillier.keys import DEFAULT_KEY_BITS, PublicKey, noise_exponent_bits
from fraudfed.paillier.private_key import PrivateKey

SMALL_N = (2**61 - 1) * (2**89 - 1)


def test_exponent_is_four_times_the_security_level() -> None:
    sizes = {2048: 448, 3070: 448, 3072: 512, 4096: 640, 7680: 768, 8192: 768}
    assert {bits: noise_exponent_bits(bits) for bits in sizes} == sizes
    assert DEFAULT_KEY_BITS == 3072


def test_fingerprint_has_a_fixed_value() -> None:
    plain = PublicKey(SMALL_N, insecure_allow_small_key=True)
    fast = PublicKey(SMALL_N, 12345, 64, insecure_allow_small_key=True)
    assert plain.fingerprint == PLAIN_FINGERPRINT
    assert fast.fingerprint == FAST_FINGERPRINT


PLAIN_FINGERPRINT = "54db0cb68313ae5e4bdf2e4c0bc642172bbcf84ffda44e1ebef707ad4c82474e"
FAST_FINGERPRINT = "d58a1b82b6efffa8d1e68ab569d8aa2eefb6829380d83120cb607c9a6aeeac91"


def test_widths() -> None:
    key = PublicKey(SMALL_N, insecure_allow_small_key=True)
    assert key.key_bits == 150
    assert key.ciphertext_bytes == 38
    assert key.plaintext_bytes == 19
    # A balanced plaintext of that many bits and its negative stay below N / 4.
    assert 2 ** (key.plaintext_bits - 1) <= SMALL_N / 4


def test_small_modulus_is_refused_unless_insecure_is_said() -> None:
    with pytest.raises(KeyMaterialError, match="150 bits, expected at least 2048"):
        PublicKey(SMALL_N)


@pytest.mark.parametrize(
    ("n", "hs", "alpha_bits", "message"),
    [
        (SMALL_N + 1, None, None, "even"),
        (9, None, None, "tiny"),
        (SMALL_N, 5, None, "only one of hs"),
        (SMALL_N, None, 64, "only one of hs"),
        (SMALL_N, 5, 63, "alpha_bits is 63"),
        (SMALL_N, 5, 150, "alpha_bits is 150"),
        (SMALL_N, 1, 64, "hs is not"),
        (SMALL_N, 0, 64, "hs is not"),
        (SMALL_N, SMALL_N**2 - 1, 64, "hs is not"),
        (SMALL_N, SMALL_N**2 + 5, 64, "hs is not"),
        (SMALL_N, 2**61 - 1, 64, "hs is not"),
        (2**9001 + 1, None, None, "at most 8192"),
    ],
)
def test_what_is_no_key_is_refused(
    n: int, hs: int | None, alpha_bits: int | None, message: str
) -> None:
    with pytest.raises(KeyMaterialError, match=message):
        PublicKey(n, hs, alpha_bits, insecure_allow_small_key=True)


def test_short_exponent_is_refused_for_a_real_key(real_key: PrivateKey) -> None:
    public = real_key.public
    with pytest.raises(KeyMaterialError, match="alpha_bits is 447"):
        PublicKey(public.n, public.hs, 447)


def test_hex_round_trip(small_key: PrivateKey, plain_key: PrivateKey) -> None:
    for key in (small_key.public, plain_key.public):
        fields = key.to_hex()
        again = PublicKey.from_hex(fields, insecure_allow_small_key=True)
        assert again == key
        assert again.fingerprint == key.fingerprint
        assert again.to_hex() == fields


def test_altered_hex_is_refused(small_key: PrivateKey) -> None:
    fields = small_key.public.to_hex()
    alpha_bits = small_key.public.alpha_bits
    assert alpha_bits is not None
    for change in ({"alpha_bits": alpha_bits + 2}, {"fingerprint": "0" * 64}):
        with pytest.raises(KeyMaterialError, match="altered"):
            PublicKey.from_hex(fields | change, insecure_allow_small_key=True)
    with pytest.raises(KeyMaterialError, match="cannot be read"):
        PublicKey.from_hex(fields | {"n": "xyz"}, insecure_allow_small_key=True)
    del fields["hs"]
    with pytest.raises(KeyMaterialError, match="cannot be read"):
        PublicKey.from_hex(fields, insecure_allow_small_key=True)


def test_public_modules_do_not_load_the_private_key() -> None:
    code = (
        "import sys\n"
        "from fraudfed.paillier import encryption, keys, noise, vector\n"
        "from fraudfed.paillier.kernels import gmp, kernel\n"
        "assert 'fraudfed.paillier.private_key' not in sys.modules\n"
        "assert 'fraudfed.paillier.pheutil' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
