"""Identity: agreement, signatures, and the file with and without a passphrase."""

import copy
import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.consortium.identity import HPKE_SUITE, Identity
from fraudfed.errors import KeyMaterialError

#: u-coordinates of small order and their non-canonical twins (RFC 7748, section 6.1; the list of
#: https://cr.yp.to/ecdh.html), little-endian.
SMALL_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.fixture(scope="module")
def identity() -> Identity:
    return Identity.generate()


@pytest.fixture(scope="module")
def encrypted(identity: Identity, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Text of the identity's file under the passphrase "right", which is slow to make."""
    path = tmp_path_factory.mktemp("identity") / "identity.key"
    identity.save(path, "right")
    return path.read_text()


def written(path: Path, fields: dict[str, Any]) -> Path:
    path.touch(mode=0o600)
    path.write_text(json.dumps(fields))
    return path


@pytest.fixture(params=[None, "correct horse"], ids=["plain", "encrypted"])
def passphrase(request: pytest.FixtureRequest) -> str | None:
    found: str | None = request.param
    return found


def test_two_banks_agree_and_a_third_does_not(identity: Identity) -> None:
    other, third = Identity.generate(), Identity.generate()
    secret = identity.exchange(other.public.agreement_key)
    assert len(secret) == 32
    assert other.exchange(identity.public.agreement_key) == secret
    assert third.exchange(identity.public.agreement_key) != secret


@given(message=st.binary(max_size=100))
def test_a_signature_is_that_of_the_public_key(identity: Identity, message: bytes) -> None:
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(identity.public.signing_key))
    key.verify(identity.sign(message), message)


@pytest.mark.parametrize("key", [*SMALL_ORDER, "", "00", "x", "00" * 33])
def test_an_agreement_key_that_agrees_on_nothing_is_refused(identity: Identity, key: str) -> None:
    with pytest.raises(KeyMaterialError, match="agreement key is"):
        identity.exchange(key)


def test_unseal_opens_only_its_own_box(identity: Identity) -> None:
    public = X25519PublicKey.from_public_bytes(bytes.fromhex(identity.public.agreement_key))
    box = HPKE_SUITE.encrypt(b"package", public, info=b"purpose")
    assert identity.unseal(box, info=b"purpose") == b"package"
    altered = [box[:i] + bytes([box[i] ^ 1]) + box[i + 1 :] for i in range(len(box))]
    for wrong in (*altered, box[:-1], box + b"\0", b"", box[:32]):
        with pytest.raises(KeyMaterialError, match="does not open"):
            identity.unseal(wrong, info=b"purpose")
    with pytest.raises(KeyMaterialError, match="does not open"):
        identity.unseal(box, info=b"another")
    with pytest.raises(KeyMaterialError, match="does not open"):
        Identity.generate().unseal(box, info=b"purpose")


def test_round_trip(identity: Identity, tmp_path: Path, passphrase: str | None) -> None:
    path = tmp_path / "identity.key"
    before = os.umask(0)
    try:
        identity.save(path, passphrase)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    again = Identity.load(path, passphrase)
    assert again.public == identity.public
    assert again.sign(b"x") == identity.sign(b"x")
    peer = Identity.generate().public.agreement_key
    assert again.exchange(peer) == identity.exchange(peer)


def test_an_encrypted_file_holds_no_private_key(
    identity: Identity, encrypted: str, tmp_path: Path
) -> None:
    identity.save(tmp_path / "plain.key")
    identity.save(tmp_path / "again.key", "right")
    private = json.loads((tmp_path / "plain.key").read_text())["private_keys"]
    again = (tmp_path / "again.key").read_text()
    for half in (private[:64], private[64:]):
        assert half not in encrypted
        assert half not in again
    assert json.loads(encrypted)["private_keys"] != json.loads(again)["private_keys"]


def test_the_passphrase_must_be_the_right_one(
    identity: Identity, encrypted: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "identity.key", json.loads(encrypted))
    with pytest.raises(KeyMaterialError, match="passphrase is wrong"):
        Identity.load(path, "Right")
    with pytest.raises(KeyMaterialError, match="passphrase is wrong"):
        Identity.load(path, "")
    with pytest.raises(KeyMaterialError, match="is encrypted; give its passphrase"):
        Identity.load(path)
    with pytest.raises(KeyMaterialError, match="passphrase is empty"):
        identity.save(tmp_path / "other.key", "")
    assert not (tmp_path / "other.key").exists()
    identity.save(tmp_path / "plain.key")
    with pytest.raises(KeyMaterialError, match="is not encrypted"):
        Identity.load(tmp_path / "plain.key", "right")


def test_existing_file_is_not_overwritten(identity: Identity, tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    path.write_text("before")
    with pytest.raises(KeyMaterialError, match="file exists and an identity is never"):
        identity.save(path)
    assert path.read_text() == "before"
    with pytest.raises(KeyMaterialError, match="cannot be written"):
        identity.save(tmp_path / "nowhere" / "identity.key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601])
def test_file_that_others_can_reach_is_refused(
    identity: Identity, tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "identity.key"
    identity.save(path)
    path.chmod(mode)
    with pytest.raises(KeyMaterialError, match=rf"mode {mode:04o}.*chmod 600 .*identity\.key"):
        Identity.load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[]", "another format"),
        (b'{"format": "fraudfed key package", "version": 1}', "another format"),
        (b'{"format": "fraudfed identity", "version": 2}', "version 2, this program reads 1"),
        (b'{"format": "fraudfed identity", "version": 1}', "missing or malformed"),
        (b" " * 70_000, "larger than 65536"),
        (None, "no such key file; make one with `bank-node join`"),
    ],
)
def test_what_is_no_identity(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "identity.key"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(KeyMaterialError, match=message) as caught:
        Identity.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["signing_key", "agreement_key", "private_keys", "encryption"])
@pytest.mark.parametrize("damage", ["missing", "wrong type", "changed", "short"])
def test_damage_is_found_and_not_shown(
    identity: Identity, tmp_path: Path, name: str, damage: str
) -> None:
    path = tmp_path / "identity.key"
    identity.save(path)
    fields: dict[str, Any] = json.loads(path.read_text())
    private = fields["private_keys"]
    if damage == "missing" and name != "encryption":
        del fields[name]
    elif name == "encryption":
        fields[name] = {"kdf": "none"} if damage == "changed" else ["x"]
    else:
        value = fields[name]
        flipped = ("0" if value[0] != "0" else "f") + value[1:]
        fields[name] = {"wrong type": 7, "changed": flipped, "short": value[:-2]}[damage]
    path.write_text(json.dumps(fields))
    with pytest.raises(KeyMaterialError) as caught:
        Identity.load(path, "x" if name == "encryption" else None)
    assert private[:16] not in str(caught.value)
    assert private[-16:] not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kdf", "pbkdf2"),
        ("log2_n", 1),
        ("log2_n", 40),
        ("r", 1 << 30),
        ("p", 2),
        ("salt", "00" * 16),
        ("salt", "zz"),
        ("cipher", "none"),
        ("nonce", "00" * 12),
        ("nonce", ""),
    ],
)
def test_encryption_parameters_cannot_be_changed(
    encrypted: str, tmp_path: Path, name: str, value: Any
) -> None:
    fields = json.loads(encrypted)
    fields["encryption"][name] = value
    with pytest.raises(KeyMaterialError):
        Identity.load(written(tmp_path / "identity.key", fields), "right")


def test_public_keys_of_an_encrypted_file_cannot_be_changed(encrypted: str, tmp_path: Path) -> None:
    fields = json.loads(encrypted) | {"signing_key": Identity.generate().public.signing_key}
    with pytest.raises(KeyMaterialError, match="does not open"):
        Identity.load(written(tmp_path / "identity.key", fields), "right")


def test_an_identity_does_not_print_pickle_or_copy(identity: Identity, tmp_path: Path) -> None:
    identity.save(tmp_path / "plain.key")
    private = json.loads((tmp_path / "plain.key").read_text())["private_keys"]
    shown = f"{identity} {identity!r}"
    assert identity.public.signing_key[:16] in shown
    assert private[:8] not in shown
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            duplicate(identity)
    assert not hasattr(identity, "__dict__")
