"""The key package file: round trip, modes, and every way in which it can be wrong."""

import copy
import json
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.errors import KeyMaterialError


@pytest.fixture(scope="module")
def package() -> KeyPackage:
    return KeyPackage.generate(512, insecure_allow_small_key=True)


@pytest.fixture
def saved(package: KeyPackage, tmp_path: Path) -> Path:
    path = tmp_path / "consortium.key"
    package.save(path)
    return path


def load(path: Path) -> KeyPackage:
    return KeyPackage.load(path, insecure_allow_small_key=True)


def rewrite(path: Path, **changes: Any) -> None:
    fields = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in fields.items() if v is not None}))


def test_round_trip(package: KeyPackage, saved: Path) -> None:
    again = load(saved)
    assert again.fingerprint == package.fingerprint
    assert again.public_key == package.public_key
    assert again.expose_secret() == package.expose_secret()
    vector = package.private_key.encryptor().encrypt([-5, 6])
    assert again.private_key.decrypt(vector) == [-5, 6]


def test_default_key_has_3072_bits(tmp_path: Path) -> None:
    path = tmp_path / "consortium.key"
    package = KeyPackage.generate()
    assert package.public_key.key_bits == 3072
    package.save(path)
    assert KeyPackage.load(path).fingerprint == package.fingerprint


def test_file_belongs_to_its_owner_alone(package: KeyPackage, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        package.save(tmp_path / "consortium.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "consortium.key").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["consortium.key"]


def test_existing_file_is_not_overwritten(package: KeyPackage, saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(KeyMaterialError, match="file exists and a key package is never"):
        package.save(saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_directory_that_does_not_exist(package: KeyPackage, tmp_path: Path) -> None:
    with pytest.raises(KeyMaterialError, match="cannot be written"):
        package.save(tmp_path / "nowhere" / "consortium.key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601])
def test_file_that_others_can_reach_is_refused(saved: Path, mode: int) -> None:
    saved.chmod(mode)
    with pytest.raises(KeyMaterialError, match=rf"mode {mode:04o}.*chmod 600 .*consortium\.key"):
        load(saved)
    saved.chmod(0o400)
    load(saved)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        KeyMaterialError,
        match="no such key file; get the consortium's with `bank-node keys accept`",
    ):
        load(tmp_path / "consortium.key")


def test_directory_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(KeyMaterialError, match=r"cannot be read|regular"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "another format"),
        (b'"x"', "another format"),
        (b'{"format": "pem"}', "another format"),
        (b'{"format": "fraudfed key package", "version": 2}', "another version than 1"),
        (b'{"format": "fraudfed key package"}', "another version than 1"),
        (b'{"format": "fraudfed key package", "version": 1}', "missing or malformed"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b" " * 70_000, "larger than 65536"),
    ],
)
def test_what_is_no_key_package(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "consortium.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyMaterialError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["P", "Q", "p", "q", "hs", "secret", "alpha_bits", "fingerprint"])
@pytest.mark.parametrize("damage", ["missing", "malformed", "changed", "wrong type"])
def test_damaged_field_is_found_and_not_shown(saved: Path, name: str, damage: str) -> None:
    fields = json.loads(saved.read_text())
    value = fields[name]
    changed: Any = {
        "missing": None,
        "malformed": "not a number",
        "wrong type": ["x"],
        "changed": value + 2
        if isinstance(value, int)
        else value[:-1] + ("0" if value[-1] != "0" else "1"),
    }[damage]
    rewrite(saved, **{name: changed})
    with pytest.raises(KeyMaterialError) as caught:
        load(saved)
    for secret in ("P", "Q", "p", "q", "secret"):
        assert fields[secret] not in str(caught.value)


def test_small_key_is_refused_unless_insecure_is_said(saved: Path) -> None:
    with pytest.raises(KeyMaterialError, match="512 bits, expected at least 2048"):
        KeyPackage.load(saved)
    with pytest.raises(KeyMaterialError, match="key_bits is 1024"):
        KeyPackage.generate(1024)


def test_pheutil_key_gets_a_fresh_secret(tmp_path: Path) -> None:
    path = tmp_path / "phe.json"
    code = "import phe.command_line as c; c.cli()"
    command = [sys.executable, "-c", code, "genpkey", "--keysize", "2048", str(path)]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    path.chmod(0o600)
    one, two = KeyPackage.load(path), KeyPackage.load(path)
    assert one.public_key == two.public_key
    assert one.expose_secret() != two.expose_secret()
    assert one.fingerprint != two.fingerprint
    vector = one.private_key.encryptor().encrypt([3])
    assert two.private_key.decrypt(vector) == [3]
    with pytest.raises(KeyMaterialError, match="plain Paillier key cannot be saved"):
        one.save(tmp_path / "consortium.key")


def test_secret_of_the_wrong_length(package: KeyPackage) -> None:
    for length in (0, 31, 33):
        with pytest.raises(KeyMaterialError, match=f"has {length} bytes, expected 32"):
            KeyPackage(package.private_key, bytes(length))


def test_fingerprint_is_readable_and_covers_key_and_secret(package: KeyPackage) -> None:
    groups = package.fingerprint.split(" ")
    assert [len(group) for group in groups] == [4] * 8
    assert set("".join(groups)) <= set("0123456789abcdef")
    assert KeyPackage(package.private_key, bytes(32)).fingerprint != package.fingerprint
    assert package.expose_secret().hex()[:8] not in "".join(groups)


def test_package_does_not_print_pickle_or_copy(package: KeyPackage) -> None:
    assert str(package) == repr(package) == f"<KeyPackage {package.fingerprint}>"
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            duplicate(package)
    assert package != KeyPackage(package.private_key, package.expose_secret())
    assert not hasattr(package, "__dict__")
