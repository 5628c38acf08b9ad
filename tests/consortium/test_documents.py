"""Documents: one field changed is another document, and no signature is another's."""

import hashlib
import json
from typing import Any

import pytest
from cohorts.members import Members, flip
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import acknowledge
from fraudfed.consortium.public.documents import (
    FIRST_PREVIOUS_HASH,
    acknowledgement_bytes,
    audit_entry_bytes,
    check_member_keys,
    is_signed_by,
    key_epoch_bytes,
    key_epoch_digest,
    load_signing_key,
    model_bytes,
    roster_bytes,
    roster_digest,
    sealed_key_bytes,
    sign_audit_entry,
    verify_acknowledgement,
    verify_audit_entry,
    verify_key_epoch,
    verify_model_signature,
)
from fraudfed.errors import AuthError, FraudFedError, KeyMaterialError, ProtocolError
from fraudfed.wire.messages import (
    AuditEntry,
    AuditStatus,
    KeyAcknowledgement,
    KeyEpoch,
    MemberKeys,
    parse,
)

AUDIT = Identity.generate()
CHARACTERS = st.characters(min_codepoint=32, max_codepoint=126)


def audit_log(count: int = 4, *, signer: Identity = AUDIT) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for seq in range(1, count + 1):
        entries.append(
            sign_audit_entry(
                signer,
                seq=seq,
                time=1_700_000_000 + seq,
                kind="contribution",
                actor="bank:alder",
                subject=f"run/r/round/{seq}",
                status=AuditStatus.ACCEPTED if seq % 2 else AuditStatus.REFUSED,
                detail="",
                body_sha256=hashlib.sha256(bytes([seq])).hexdigest() if seq % 2 else None,
                previous_hash=entries[-1].hash if entries else FIRST_PREVIOUS_HASH,
            )
        )
    return entries


def verify_log(entries: list[AuditEntry]) -> None:
    for previous, entry in zip([None, *entries], entries, strict=False):
        verify_audit_entry(entry, AUDIT.public.signing_key, previous=previous)


@settings(max_examples=300)
@given(data=st.data())
def test_no_byte_of_a_key_epoch_can_be_changed(key_epoch: KeyEpoch, data: st.DataObject) -> None:
    text = key_epoch.model_dump_json()
    changed = flip(text, data.draw(st.integers(0, len(text) - 1)), data.draw(CHARACTERS))
    if changed == text:
        return
    with pytest.raises(FraudFedError):
        verify_key_epoch(parse(KeyEpoch, changed, source="test"))


@given(data=st.data())
def test_no_byte_of_an_acknowledgement_can_be_changed(
    key_epoch: KeyEpoch, members: Members, data: st.DataObject
) -> None:
    text = acknowledge(key_epoch, members["birch"], "birch").model_dump_json()
    verify_acknowledgement(parse(KeyAcknowledgement, text, source="test"), key_epoch)
    changed = flip(text, data.draw(st.integers(0, len(text) - 1)), data.draw(CHARACTERS))
    if changed == text:
        return
    with pytest.raises(FraudFedError):
        verify_acknowledgement(parse(KeyAcknowledgement, changed, source="test"), key_epoch)


@given(data=st.data())
def test_no_byte_of_an_audit_entry_can_be_changed(data: st.DataObject) -> None:
    text = audit_log(1)[0].model_dump_json()
    changed = flip(text, data.draw(st.integers(0, len(text) - 1)), data.draw(CHARACTERS))
    if changed == text:
        return
    with pytest.raises(FraudFedError):
        verify_log([parse(AuditEntry, changed, source="test")])


def test_a_steward_is_who_its_roster_says(key_epoch: KeyEpoch, members: Members) -> None:
    verify_key_epoch(key_epoch)
    with pytest.raises(KeyMaterialError, match="not that of its steward birch"):
        verify_key_epoch(key_epoch.model_copy(update={"steward": "birch"}))
    forged = members["birch"].sign(key_epoch_bytes(key_epoch)).hex()
    with pytest.raises(KeyMaterialError, match="not that of its steward alder"):
        verify_key_epoch(key_epoch.model_copy(update={"signature": forged}))


def test_an_acknowledgement_is_of_one_epoch_by_one_member(
    key_epoch: KeyEpoch, members: Members
) -> None:
    good = acknowledge(key_epoch, members["birch"], "birch")
    verify_acknowledgement(good, key_epoch)
    for change, said in (
        ({"bank": "cedar"}, "not that of cedar"),
        ({"bank": "dogwood"}, "dogwood, which is not in its roster"),
        ({"epoch": 2}, "birch acknowledged epoch 2"),
        ({"digest": "0" * 64}, "it was shown another"),
        ({"signature": "0" * 128}, "not that of birch"),
    ):
        with pytest.raises(KeyMaterialError, match=said):
            verify_acknowledgement(good.model_copy(update=change), key_epoch)
    with pytest.raises(KeyMaterialError, match="not that of birch"):
        verify_acknowledgement(acknowledge(key_epoch, members["cedar"], "birch"), key_epoch)


def test_a_digest_covers_everything_but_the_signature(key_epoch: KeyEpoch) -> None:
    assert key_epoch_digest(key_epoch.model_copy(update={"signature": "0" * 128})) == (
        key_epoch_digest(key_epoch)
    )
    for change in ({"epoch": 2}, {"steward": "birch"}, {"roster": ()}, {"sealed": ()}):
        assert key_epoch_digest(key_epoch.model_copy(update=change)) != key_epoch_digest(key_epoch)
    for change in ({"hs": None}, {"alpha_bits": None}, {"n": "3"}, {"fingerprint": "0" * 64}):
        other = key_epoch.public_key.model_copy(update=change)
        assert key_epoch_digest(key_epoch.model_copy(update={"public_key": other})) != (
            key_epoch_digest(key_epoch)
        )


FIELDS = st.tuples(
    st.integers(0, 2**31 - 1), st.text(max_size=5), st.text(max_size=5), st.text(max_size=5)
)


@given(FIELDS, FIELDS, st.booleans())
def test_fields_do_not_run_into_each_other(
    one: tuple[int, str, str, str], two: tuple[int, str, str, str], swap: bool
) -> None:
    if swap:  # the same characters, otherwise divided
        joined = "".join(one[1:])
        two = (one[0], joined[:1], joined[1:2], joined[2:])

    def data(fields: tuple[int, str, str, str]) -> bytes:
        return sealed_key_bytes(fields[0], fields[1], (), fields[2], fields[3])

    assert (data(one) == data(two)) == (one == two)


def test_documents_of_different_kinds_never_agree(key_epoch: KeyEpoch) -> None:
    kinds = [
        key_epoch_bytes(key_epoch),
        acknowledgement_bytes(epoch=1, bank="alder", digest="0" * 64),
        roster_bytes(key_epoch.roster),
        model_bytes(run_id="r", plain_sha256="0" * 64),
        audit_entry_bytes(audit_log(1)[0]),
        sealed_key_bytes(1, "alder", key_epoch.roster, "0" * 64, "birch"),
    ]
    domains = [data[: data.index(b"\0") + 1] for data in kinds]
    assert len(set(domains)) == len(kinds)
    for domain in domains:
        assert sum(other.startswith(domain) for other in domains) == 1
        # The first byte of a request's signature base is a quotation mark (RFC 9421, section 2.5).
        assert domain.startswith(b"fraudfed ")


def test_roster_digest_covers_names_keys_and_order(members: Members) -> None:
    roster = members.roster
    digests = {
        roster_digest(listed)
        for listed in (
            roster,
            roster[:2],
            roster[::-1],
            (),
            (roster[0].model_copy(update={"name": "x"}), *roster[1:]),
            (roster[0].model_copy(update={"signing_key": "0" * 64}), *roster[1:]),
            (roster[0].model_copy(update={"agreement_key": "0" * 64}), *roster[1:]),
        )
    }
    assert len(digests) == 7


def test_documents_never_change_their_bytes() -> None:
    """A changed encoding would make all stored signatures wrong: it needs another version."""
    member = MemberKeys(name="alder", signing_key="11" * 32, agreement_key="22" * 32)
    expected = "9b85070e9974c80dc3f1fa2b974b13bbfcc9ff0282ae16d37f01fd8610a271da"
    assert roster_digest([member]) == expected
    assert model_bytes(run_id="r", plain_sha256="0" * 64) == (b"fraudfed model v1\0r\0" + b"0" * 64)
    data = acknowledgement_bytes(epoch=1, bank="b", digest="d")
    assert data == (
        b"fraudfed key acknowledgement v1\0"
        + (8).to_bytes(8, "big")
        + (1).to_bytes(8, "big")
        + (1).to_bytes(8, "big")
        + b"b"
        + (1).to_bytes(8, "big")
        + b"d"
    )


def test_a_model_signature_is_of_one_bank_run_and_model(members: Members) -> None:
    key = members["alder"].public.signing_key
    model = hashlib.sha256(b"model").hexdigest()
    signature = members["alder"].sign(model_bytes(run_id="r", plain_sha256=model)).hex()
    good: dict[str, Any] = {"bank": "alder", "run_id": "r", "plain_sha256": model}
    verify_model_signature(key, signature, **good)
    for change in ({"run_id": "s"}, {"plain_sha256": "0" * 64}):
        with pytest.raises(AuthError, match="not that of alder"):
            verify_model_signature(key, signature, **(good | change))
    with pytest.raises(AuthError):
        verify_model_signature(members["birch"].public.signing_key, signature, **good)
    with pytest.raises(AuthError):
        verify_model_signature(key, "zz", **good)


@pytest.mark.parametrize(
    "change", [{"run_id": "r\0" + "0" * 64}, {"plain_sha256": "0"}, {"plain_sha256": "A" * 64}]
)
def test_a_model_document_has_one_reading(change: dict[str, str]) -> None:
    with pytest.raises(ProtocolError, match="expected SHA-256"):
        model_bytes(**({"run_id": "r", "plain_sha256": "0" * 64} | change))


def test_a_whole_log_verifies_and_so_does_an_excerpt() -> None:
    entries = audit_log()
    verify_log(entries)
    verify_audit_entry(entries[2], AUDIT.public.signing_key)


def test_a_log_cannot_be_rewritten() -> None:
    entries = audit_log()
    other = audit_log(signer=Identity.generate())
    with pytest.raises(ProtocolError, match="audit entry 3: follows entry 1, expected entry 2"):
        verify_log([entries[0], *entries[2:]])
    with pytest.raises(ProtocolError, match="written by another aggregator"):
        verify_log([other[0]])
    again = sign_audit_entry(
        AUDIT,
        seq=2,
        time=1,
        kind="k",
        actor="a",
        subject="s",
        status=AuditStatus.ACCEPTED,
        detail="d",
        body_sha256=None,
        previous_hash=entries[0].hash,
    )
    with pytest.raises(ProtocolError, match="does not continue entry 2"):
        verify_log([entries[0], again, *entries[2:]])
    headless = sign_audit_entry(
        AUDIT,
        seq=1,
        time=1,
        kind="k",
        actor="a",
        subject="s",
        status=AuditStatus.ACCEPTED,
        detail="d",
        body_sha256=None,
        previous_hash=entries[0].hash,
    )
    with pytest.raises(ProtocolError, match="before the first"):
        verify_log([headless])


@pytest.mark.parametrize(
    "change",
    [
        {"time": 1},
        {"kind": "x"},
        {"actor": "x"},
        {"subject": "x"},
        {"status": AuditStatus.REFUSED},
        {"detail": "x"},
        {"body_sha256": None},
        {"body_sha256": "0" * 64},
    ],
)
def test_an_entry_covers_each_of_its_fields(change: dict[str, Any]) -> None:
    entry = audit_log(1)[0].model_copy(update=change)
    with pytest.raises(ProtocolError, match="its hash is not that of its content"):
        verify_log([entry])
    rehashed = entry.model_copy(
        update={"hash": hashlib.sha256(audit_entry_bytes(entry)).hexdigest()}
    )
    with pytest.raises(ProtocolError, match="signature is not that of audit key"):
        verify_log([rehashed])


#: Encodings of all points of small order, canonical and not (RFC 8032, section 5.1.2).
SMALL_ORDER_SIGNING = [
    "00" * 32,
    "00" * 31 + "80",
    "01" + "00" * 31,
    "01" + "00" * 30 + "80",
    "ec" + "ff" * 30 + "7f",
    "ec" + "ff" * 31,
    "ed" + "ff" * 30 + "7f",
    "ee" + "ff" * 30 + "7f",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
]


@pytest.mark.parametrize("key", [*SMALL_ORDER_SIGNING, "", "00", "zz" * 32])
def test_signing_keys_that_identify_nobody_are_refused(key: str) -> None:
    with pytest.raises(KeyMaterialError, match="signing key is"):
        load_signing_key(key)
    with pytest.raises(KeyMaterialError):
        is_signed_by(key, b"", "01" + "00" * 63)


def test_member_keys_are_checked_both(members: Members) -> None:
    member = members.roster[0]
    check_member_keys(member)
    with pytest.raises(KeyMaterialError, match="signing key is"):
        check_member_keys(member.model_copy(update={"signing_key": SMALL_ORDER_SIGNING[8]}))
    for key in ("00" * 32, "ec" + "ff" * 30 + "7f"):
        with pytest.raises(KeyMaterialError, match="agreement key of alder"):
            check_member_keys(member.model_copy(update={"agreement_key": key}))


def test_what_is_signed_does_not_depend_on_json_text(key_epoch: KeyEpoch) -> None:
    spaced = json.dumps(json.loads(key_epoch.model_dump_json()), indent=3, sort_keys=True)
    verify_key_epoch(parse(KeyEpoch, spaced, source="test"))
