"""Identity: agreement, signatures, and the bytes that are kept of it."""

import copy
import json
import pickle
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


def test_round_trip(identity: Identity) -> None:
    again = Identity.from_bytes(identity.expose_bytes(), source="identity.key")
    assert again.public == identity.public
    assert again.sign(b"x") == identity.sign(b"x")
    peer = Identity.generate().public.agreement_key
    assert again.exchange(peer) == identity.exchange(peer)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[]", "another format"),
        (b'{"format": "fraudfed key package", "version": 1}', "another format"),
        (b'{"format": "fraudfed identity", "version": 1}', "version 1, this program reads 2"),
        (b'{"format": "fraudfed identity", "version": 2}', "missing or malformed"),
    ],
)
def test_what_is_no_identity(content: bytes, message: str) -> None:
    with pytest.raises(KeyMaterialError, match=message) as caught:
        Identity.from_bytes(content, source="bank/identity.key")
    assert str(caught.value).startswith("bank/identity.key")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["signing_key", "agreement_key", "private_keys"])
@pytest.mark.parametrize("damage", ["missing", "wrong type", "changed", "short"])
def test_damage_is_found_and_not_shown(identity: Identity, name: str, damage: str) -> None:
    fields: dict[str, Any] = json.loads(identity.expose_bytes())
    private = fields["private_keys"]
    if damage == "missing":
        del fields[name]
    else:
        value = fields[name]
        flipped = ("0" if value[0] != "0" else "f") + value[1:]
        fields[name] = {"wrong type": 7, "changed": flipped, "short": value[:-2]}[damage]
    with pytest.raises(KeyMaterialError) as caught:
        Identity.from_bytes(json.dumps(fields).encode(), source="identity.key")
    assert private[:16] not in str(caught.value)
    assert private[-16:] not in str(caught.value)


def test_an_identity_does_not_print_pickle_or_copy(identity: Identity) -> None:
    private = json.loads(identity.expose_bytes())["private_keys"]
    shown = f"{identity} {identity!r}"
    assert identity.public.signing_key[:16] in shown
    assert private[:8] not in shown
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            duplicate(identity)
    assert not hasattr(identity, "__dict__")
