"""Keys of one generation: laws of the secrets that follow from them, and who can tell them."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.consortium import ephemeral
from fraudfed.consortium.ephemeral import EphemeralKey, local_digest, pair_secret
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.public.generations import (
    check_agreement_key,
    ephemeral_key_bytes,
    generation_digest,
    handover_bytes,
    sign_ephemeral_key,
    sign_handover,
    verify_ephemeral_key,
    verify_handover_signature,
)
from fraudfed.errors import AuthError, KeyMaterialError
from fraudfed.wire.messages import MemberKeys

SECRETS = st.binary(min_size=32, max_size=32)
NAMES = st.text("abcdefg-0123456789", min_size=1, max_size=8)


def test_two_banks_share_a_secret_that_nobody_else_has() -> None:
    ours, theirs, thief = (EphemeralKey.generate(b"") for _ in range(3))
    assert ours.exchange(theirs.public) == theirs.exchange(ours.public)
    assert ours.exchange(theirs.public) != ours.exchange(thief.public)
    again = EphemeralKey.of_secret(ours.expose_secret())
    assert again.public == ours.public
    assert again.exchange(theirs.public) == ours.exchange(theirs.public)


def test_a_key_follows_from_fresh_bytes_and_from_what_it_is_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = {EphemeralKey.generate(b"one").public for _ in range(8)}
    assert len(keys) == 8
    monkeypatch.setattr(ephemeral.secrets, "token_bytes", lambda n: b"\1" * n)
    one, two = (EphemeralKey.generate(binding).public for binding in (b"one", b"two"))
    assert one != two
    assert EphemeralKey.generate(b"one").public == one


@given(SECRETS, SECRETS, NAMES, NAMES, NAMES, st.integers(0, 2**31))
def test_both_banks_derive_the_same(
    first: bytes, second: bytes, a: str, b: str, run_id: str, generation: int
) -> None:
    one = pair_secret(first, second, names=(a, b), run_id=run_id, generation=generation)
    two = pair_secret(first, second, names=(b, a), run_id=run_id, generation=generation)
    assert one == two
    assert len(one) == 32


def test_every_part_of_a_pair_secret_counts() -> None:
    place = {"names": ("a", "b"), "run_id": "r", "generation": 1}
    e, s = b"\1" * 32, b"\2" * 32
    found = [
        pair_secret(e, s, **place),
        pair_secret(s, e, **place),
        pair_secret(e, e, **place),
        pair_secret(s, s, **place),
        pair_secret(e, s, **{**place, "names": ("a", "c")}),
        pair_secret(e, s, **{**place, "run_id": "q"}),
        pair_secret(e, s, **{**place, "generation": 2}),
        e,
        s,
    ]
    assert len(set(found)) == len(found)
    for wrong in ((e + b"\0", s), (e, b""), (e[:31], s + b"\0")):
        with pytest.raises(KeyMaterialError, match="expected 32 each"):
            pair_secret(*wrong, **place)


@given(st.lists(st.text(max_size=6), max_size=4), st.lists(st.text(max_size=6), max_size=4))
def test_local_digests_are_equal_for_equal_parts_alone(one: list[str], two: list[str]) -> None:
    assert (local_digest(*one) == local_digest(*two)) == (one == two)


def test_a_private_key_is_never_shown_or_copied() -> None:
    key = EphemeralKey.generate(b"")
    secret = key.expose_secret().hex()
    assert secret not in repr(key)
    assert secret not in str(key)
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            take(key)
    assert not hasattr(key, "__dict__")


@pytest.mark.parametrize("key", ["", "00", "zz" * 32, "00" * 32, "01" + "00" * 31])
def test_no_secret_is_shared_with_what_is_no_key(key: str) -> None:
    with pytest.raises(KeyMaterialError, match="expected an X25519 public key"):
        EphemeralKey.generate(b"").exchange(key)


PRIME = 2**255 - 19


@pytest.mark.parametrize(
    "key",
    [
        *(number.to_bytes(32, "little").hex() for number in (0, 1, PRIME - 1, PRIME, PRIME + 1)),
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ],
)
def test_points_of_small_order_are_refused(key: str) -> None:
    with pytest.raises(KeyMaterialError, match="small order"):
        check_agreement_key(key, what="key")


@given(st.integers(0, 18))
def test_a_second_spelling_of_a_key_is_refused(low: int) -> None:
    """X25519 ignores the highest bit, and takes coordinates modulo the prime."""
    key = bytes.fromhex(EphemeralKey.generate(b"").public)
    check_agreement_key(key.hex(), what="key")
    high = bytes([*key[:31], key[31] | 0x80]).hex()
    with pytest.raises(KeyMaterialError, match="canonical"):
        check_agreement_key(high, what="key")
    if low > 1:
        with pytest.raises(KeyMaterialError, match="canonical"):
            check_agreement_key((PRIME + low).to_bytes(32, "little").hex(), what="key")


PLACE = {"run_id": "r", "epoch": 1, "generation": 2}
OTHER_PLACES = [{"run_id": "q"}, {"epoch": 2}, {"generation": 3}]


def test_a_signed_key_is_of_its_bank_run_epoch_and_generation() -> None:
    bank, other = Identity.generate(), Identity.generate()
    key = EphemeralKey.generate(b"").public
    named = {**PLACE, "bank": "a", "key": key}
    signature = sign_ephemeral_key(bank, **named)
    verify_ephemeral_key(bank.public.signing_key, signature, **named)
    wrong = [*OTHER_PLACES, {"bank": "b"}, {"key": EphemeralKey.generate(b"").public}]
    for changes in wrong:
        with pytest.raises(AuthError, match="not signed by it"):
            verify_ephemeral_key(bank.public.signing_key, signature, **{**named, **changes})
    with pytest.raises(AuthError):
        verify_ephemeral_key(other.public.signing_key, signature, **named)


def test_a_signed_handover_is_of_its_bytes_step_and_place() -> None:
    bank = Identity.generate()
    named = {**PLACE, "step": 4, "sha256": "1" * 64}
    signature = sign_handover(bank, **named)
    verify_handover_signature(bank.public.signing_key, signature, bank="a", **named)
    for changes in [*OTHER_PLACES, {"step": 5}, {"sha256": "2" * 64}]:
        with pytest.raises(AuthError, match="not signed by a"):
            verify_handover_signature(
                bank.public.signing_key, signature, bank="a", **{**named, **changes}
            )


def test_no_document_is_one_of_another_kind() -> None:
    """Neither signature can be used as the other, whatever their fields are."""
    key = ephemeral_key_bytes(run_id="r", epoch=1, generation=2, bank="a", key="1" * 64)
    handover = handover_bytes(run_id="r", epoch=1, generation=2, step=4, sha256="1" * 64)
    assert key.split(b"\0")[0] == b"fraudfed ephemeral key v1"
    assert handover.split(b"\0")[0] == b"fraudfed handover v1"


def test_every_part_of_a_generation_counts() -> None:
    members = [
        MemberKeys(name=name, signing_key=f"{i:064x}", agreement_key=f"{i + 9:064x}")
        for i, name in enumerate("abc")
    ]
    keys = {name: f"{i + 99:064x}" for i, name in enumerate("abc")}
    digests = [
        generation_digest(members, keys=keys, **PLACE),
        generation_digest(members[:2], keys=keys, **PLACE),
        generation_digest(members[::-1], keys=keys, **PLACE),
        generation_digest(members, keys={**keys, "b": keys["c"]}, **PLACE),
        generation_digest(members, keys={**keys, "b": keys["c"], "c": keys["b"]}, **PLACE),
        *(generation_digest(members, keys=keys, **{**PLACE, **one}) for one in OTHER_PLACES),
        generation_digest(
            [members[0].model_copy(update={"agreement_key": "f" * 64}), *members[1:]],
            keys=keys,
            **PLACE,
        ),
    ]
    assert len(set(digests)) == len(digests)
    with pytest.raises(KeyError):
        generation_digest(members, keys={}, **PLACE)
