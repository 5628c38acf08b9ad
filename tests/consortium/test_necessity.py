"""Each defence is needed: with it taken out, the attack that it stops succeeds.

The attacks themselves, with the defences in place, are in the files beside this one. What is taken
out is taken out here, by patching; the product has no switch for it.
"""

import base64
import hashlib
from collections.abc import Iterator

import pytest
from cohorts.members import Members, forged_epoch

from fraudfed.consortium import key_ceremony
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import open_key_epoch
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public import documents, signatures
from fraudfed.consortium.public.signatures import content_digest, sign_request, verify_request
from fraudfed.consortium.roster import PinnedRoster
from fraudfed.errors import AuthError, KeyMaterialError
from fraudfed.wire.messages import KeyEpoch

NOW = 1_700_000_000
EMPTY = hashlib.sha256(b"").digest()


@pytest.fixture(autouse=True)
def _forget_keys_taken_without_checks() -> Iterator[None]:
    """Keys are cached once they have passed the checks, which these tests take out."""
    yield
    documents.load_signing_key.cache_clear()


def test_without_the_stewards_signature_an_aggregators_key_is_taken(
    members: Members, epoch_package: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = forged_epoch(members, epoch_package, signer=Identity.generate())

    def attack() -> KeyPackage:
        return open_key_epoch(
            forged,
            members["birch"],
            "birch",
            pinned=members.pinned,
            insecure_allow_small_key=True,
        )

    with pytest.raises(KeyMaterialError):
        attack()
    monkeypatch.setattr(key_ceremony, "verify_key_epoch", lambda key_epoch: None)
    assert attack().fingerprint == epoch_package.fingerprint


def test_without_pins_another_steward_is_taken(members: Members, epoch_package: KeyPackage) -> None:
    """Pins are given by the caller: none is patched, the attacker's are handed in."""
    impostors = Members()
    impostors.identities["birch"] = members["birch"]
    forged = impostors.seal(epoch_package)
    package = open_key_epoch(
        forged,
        members["birch"],
        "birch",
        pinned={member.name: member for member in forged.roster},
        insecure_allow_small_key=True,
    )
    assert package.fingerprint == epoch_package.fingerprint


def test_without_its_binding_a_box_opens_in_another_epoch(
    members: Members, epoch_package: KeyPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(key_ceremony, "sealed_key_bytes", lambda *fields: b"")
        first = members.seal(epoch_package)
        moved = first.model_copy(update={"epoch": 2})
        signature = members["alder"].sign(documents.key_epoch_bytes(moved)).hex()
        moved = moved.model_copy(update={"signature": signature})

        def attack(key_epoch: KeyEpoch) -> KeyPackage:
            return open_key_epoch(
                key_epoch,
                members["birch"],
                "birch",
                pinned=members.pinned,
                insecure_allow_small_key=True,
            )

        assert attack(moved).fingerprint == epoch_package.fingerprint
    with pytest.raises(KeyMaterialError):
        attack(moved)


def test_without_the_first_allowed_epoch_an_old_one_is_taken(
    members: Members, key_epoch: KeyEpoch
) -> None:
    """The number is given by the caller: with 1, which is where every bank starts, it opens."""
    with pytest.raises(KeyMaterialError, match="never taken again"):
        key_ceremony.check_key_epoch(key_epoch, pinned=members.pinned, first_allowed=2)
    key_ceremony.check_key_epoch(key_epoch, pinned=members.pinned)


def test_without_the_check_of_keys_a_key_of_small_order_is_pinned(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = PinnedRoster.of(members["birch"].member("birch"), now=NOW)
    weak = Identity.generate().member("dogwood").model_copy(update={"agreement_key": "00" * 32})
    with pytest.raises(KeyMaterialError):
        pins.pin([weak], now=NOW)
    monkeypatch.setattr("fraudfed.consortium.roster.check_member_keys", lambda member: None)
    assert "dogwood" in pins.pin([weak], now=NOW).members


def request_of(bank: Identity, body: bytes) -> dict[str, str]:
    headers = {"Content-Type": "application/json"} if body else {}
    return headers | sign_request(
        bank,
        keyid="birch",
        method="POST",
        url="/v1/runs/r/abort",
        headers=headers,
        body=body,
        created=NOW,
    )


def test_without_the_content_digest_another_body_is_taken(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = request_of(members["birch"], b'{"reason":"stop"}')

    def attack(body: bytes) -> None:
        verify_request(
            lambda _: members["birch"].public.signing_key,
            method="POST",
            target="/v1/runs/r/abort",
            headers=headers,
            body_sha256=hashlib.sha256(body).digest(),
            now=NOW,
        )

    with pytest.raises(AuthError, match="the body was altered"):
        attack(b"other")
    monkeypatch.setattr(signatures, "content_digest", lambda body: headers["Content-Digest"])
    attack(b"other")
    assert headers["Content-Digest"] != content_digest(EMPTY)


def test_without_the_profile_a_signature_that_covers_less_is_taken(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = f'();created={NOW};keyid="birch";alg="ed25519";nonce="{"A" * 22}";tag="fraudfed"'
    signature = members["birch"].sign(f'"@signature-params": {parameters}'.encode())
    headers = {
        "Signature-Input": f"fraudfed={parameters}",
        "Signature": f"fraudfed=:{base64.b64encode(signature).decode()}:",
    }

    def attack(target: str) -> None:
        verify_request(
            lambda _: members["birch"].public.signing_key,
            method="DELETE",
            target=target,
            headers=headers,
            body_sha256=EMPTY,
            now=NOW,
        )

    with pytest.raises(AuthError, match="covers"):
        attack("/v1/banks/alder")
    # What must be covered follows from the request; without that, nothing has to be.
    monkeypatch.setattr(signatures, "_components", lambda *given, **named: ())
    attack("/v1/banks/alder")
    attack("/v1/anything")


def test_without_the_clock_an_old_request_is_taken(members: Members) -> None:
    """The tolerance is given by the caller: with a century of it, time is no defence."""
    headers = request_of(members["birch"], b"")
    century = 100 * 366 * 86_400
    for tolerance in (signatures.MAX_SKEW_SECONDS, century):

        def attack(tolerance: int = tolerance) -> None:
            verify_request(
                lambda _: members["birch"].public.signing_key,
                method="POST",
                target="/v1/runs/r/abort",
                headers=headers,
                body_sha256=EMPTY,
                now=NOW + century,
                max_skew_seconds=tolerance,
            )

        if tolerance == century:
            attack()
        else:
            with pytest.raises(AuthError, match="apart"):
                attack()


def test_without_the_check_of_small_order_anybody_signs(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    neutral, forged = "01" + "00" * 31, "01" + "00" * 63
    with pytest.raises(KeyMaterialError):
        documents.is_signed_by(neutral, b"anything", forged)
    monkeypatch.setattr(documents, "_SMALL_ORDER_Y", frozenset())
    assert documents.is_signed_by(neutral, b"anything", forged)
