"""Keys and ciphertexts of phe, with the real command ``pheutil`` as the oracle."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import phe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.errors import CiphertextError, KeyMaterialError
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.pheutil import (
    expose_pheutil_private_key,
    of_phe_numbers,
    read_pheutil_ciphertexts,
    read_pheutil_private_key,
    read_pheutil_public_key,
    to_phe_numbers,
    write_pheutil_ciphertexts,
    write_pheutil_public_key,
)
from fraudfed.paillier.private_key import PrivateKey


def pheutil(*arguments: str | Path) -> str:
    """Run the command; return what it prints."""
    code = "import phe.command_line as c; c.cli()"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def files(tmp_path: Path, small_key: PrivateKey) -> Path:
    """Return a directory with our key as pheutil's files."""
    (tmp_path / "public").write_text(write_pheutil_public_key(small_key.public, name="epoch 1"))
    (tmp_path / "private").write_text(expose_pheutil_private_key(small_key, name="epoch 1"))
    return tmp_path


def test_pheutil_reads_our_keys(files: Path, small_key: PrivateKey) -> None:
    assert pheutil("extract", files / "private", "-") == (files / "public").read_text().strip()
    encrypted = pheutil("encrypt", files / "public", "2.5")
    found = read_pheutil_ciphertexts(encrypted, public_key=small_key.public, source="x")
    assert found.exponent <= -32
    (plaintext,) = small_key.decrypt(found.vector)
    assert plaintext * Fraction(16) ** found.exponent == Fraction(5, 2)


def test_pheutil_decrypts_and_adds_our_ciphertexts(files: Path, small_key: PrivateKey) -> None:
    vector = small_key.encryptor().encrypt([-40, 55, 0])
    lines = write_pheutil_ciphertexts(vector).splitlines()
    for number, line in enumerate(lines):
        (files / f"c{number}").write_text(line)
    for number, expected in enumerate(("-40", "55", "0")):
        assert pheutil("decrypt", files / "private", files / f"c{number}") == expected
    total = pheutil("addenc", files / "public", files / "c0", files / "c1")
    (files / "sum").write_text(total)
    assert float(pheutil("decrypt", files / "private", files / "sum")) == 15
    found = read_pheutil_ciphertexts(total, public_key=small_key.public, source="x")
    (plaintext,) = small_key.decrypt(found.vector)
    assert plaintext * Fraction(16) ** found.exponent == 15


def test_we_read_what_pheutil_makes(tmp_path: Path) -> None:
    pheutil("genpkey", "--keysize", "2048", tmp_path / "private")
    pheutil("extract", tmp_path / "private", tmp_path / "public")
    private = read_pheutil_private_key((tmp_path / "private").read_text(), source="private")
    public = read_pheutil_public_key((tmp_path / "public").read_text(), source="public")
    assert public == private.public
    again = json.loads(expose_pheutil_private_key(private, name="x"))
    assert again | {"kid": 0, "pub": 0} == json.loads((tmp_path / "private").read_text()) | {
        "kid": 0,
        "pub": 0,
    }
    encrypted = pheutil("encrypt", tmp_path / "public", "--", "-3")
    found = read_pheutil_ciphertexts(encrypted, public_key=public, source="x")
    assert private.decrypt(found.vector) == [-3 * 16**-found.exponent]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(-(2**60), 2**60), max_size=4))
def test_to_phe_and_back(small_key: PrivateKey, plaintexts: list[int]) -> None:
    vector = small_key.encryptor().encrypt(plaintexts)
    text = write_pheutil_ciphertexts(vector)
    found = read_pheutil_ciphertexts(text, public_key=small_key.public, source="x")
    assert (found.vector, found.exponent) == (vector, 0)
    theirs = to_phe_numbers(vector)
    found = of_phe_numbers(theirs, public_key=small_key.public)
    assert small_key.decrypt(found.vector) == plaintexts
    doubled = of_phe_numbers([each + each for each in theirs], public_key=small_key.public)
    assert small_key.decrypt(doubled.vector) == [2 * each for each in plaintexts]


def test_what_phe_computed_gets_fresh_noise(small_key: PrivateKey) -> None:
    (number,) = to_phe_numbers(small_key.encryptor().encrypt([7]))
    shown = (number + number).ciphertext(be_secure=False)
    found = of_phe_numbers([number + number], public_key=small_key.public)
    assert found.vector.integers() != [shown]
    assert small_key.decrypt(found.vector) == [14]


def test_numbers_of_different_exponents_come_to_the_least(small_key: PrivateKey) -> None:
    public = phe.PaillierPublicKey(small_key.public.n)
    numbers = [public.encrypt(3), public.encrypt(0.5), public.encrypt(-2.25)]
    found = of_phe_numbers(numbers, public_key=small_key.public)
    values = [value * Fraction(16) ** found.exponent for value in small_key.decrypt(found.vector)]
    assert values == [3, Fraction(1, 2), Fraction(-9, 4)]


def test_bad_ciphertexts_are_refused(small_key: PrivateKey) -> None:
    public = small_key.public
    good = write_pheutil_ciphertexts(small_key.encryptor().encrypt([1]))
    for bad, message in (
        ("{", "line 2: not a ciphertext of pheutil"),
        ("[]", "line 2: not a ciphertext of pheutil"),
        ('{"v": "1"}', "line 2: not a ciphertext of pheutil"),
        ('{"v": 1, "e": 0}', "line 2: not a ciphertext of pheutil"),
        ('{"v": "1", "e": true}', "line 2: not a ciphertext of pheutil"),
        ('{"v": "-1", "e": 0}', "line 2: not a ciphertext of pheutil"),
        ('{"v": "٣", "e": 0}', "line 2: not a ciphertext of pheutil"),
        ('{"v": "0", "e": 0}', "line 2: ciphertext is not in 1"),
        (json.dumps({"v": str(public.n_squared), "e": 0}), "line 2: ciphertext is not in 1"),
        (json.dumps({"v": "9" * 10**6, "e": 0}), "line 2: ciphertext is not in 1"),
        (json.dumps({"v": str(public.n), "e": 0}), "shares a factor with the modulus"),
        (json.dumps({"v": "1", "e": -(10**9)}), "exponents go from -1000000000 to 0"),
    ):
        with pytest.raises(CiphertextError, match=message):
            read_pheutil_ciphertexts(good + bad, public_key=public, source="file")
    other = phe.PaillierPublicKey(public.n + 2).encrypt(1)
    with pytest.raises(CiphertextError, match="ciphertext 0 of 1 is under another key"):
        of_phe_numbers([other], public_key=public)


def test_bad_public_keys_are_refused(small_key: PrivateKey) -> None:
    fields = json.loads(write_pheutil_public_key(small_key.public, name="x"))
    for bad in (
        "{",
        "[]",
        json.dumps(fields | {"alg": "RSA"}),
        json.dumps(fields | {"n": 5}),
        json.dumps(fields | {"n": "!!"}),
        json.dumps({key: value for key, value in fields.items() if key != "n"}),
    ):
        with pytest.raises(KeyMaterialError, match=r"^file: "):
            read_pheutil_public_key(bad, source="file", insecure_allow_small_key=True)
    with pytest.raises(KeyMaterialError, match="expected at least 2048"):
        read_pheutil_public_key(json.dumps(fields), source="file")
    found = read_pheutil_public_key(json.dumps(fields), source="f", insecure_allow_small_key=True)
    assert found == PublicKey(small_key.public.n, insecure_allow_small_key=True)
