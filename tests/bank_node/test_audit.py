"""The bank's own audit log, and what shows when somebody changes it or the aggregator's."""

import hashlib
import json
import multiprocessing
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.audit.check import compare_logs, subject_of, verify_aggregator_log
from bank_node.audit.explain import FIELDS, explain
from bank_node.state.audit_log import AuditLog, BankAuditEntry, read_audit_log, verify_audit_log
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.public.documents import FIRST_PREVIOUS_HASH, sign_audit_entry
from fraudfed.errors import ProtocolError, StateError
from fraudfed.wire.messages import (
    MODEL_PLAIN_HEADER,
    MODEL_SIGNATURE_HEADER,
    Abort,
    AuditEntry,
    AuditStatus,
    BankRegistration,
    FrameHeader,
    KeyAcknowledgement,
    KeyEpoch,
    Ready,
)

BODY = hashlib.sha256(b"body").hexdigest()
CONTEXT = "c" * 64


@pytest.fixture(scope="module")
def identity() -> Identity:
    return Identity.generate()


@pytest.fixture
def log(tmp_path, identity) -> AuditLog:
    return AuditLog(tmp_path / "audit.log", identity)


def facts(**changes: object) -> dict[str, object]:
    return {
        "event": "sent",
        "kind": "contribution",
        "method": "POST",
        "path": "/v1/runs/r/rounds/0/contributions",
        "request_id": "1",
        "body_bytes": 4,
        "body_sha256": BODY,
        "run_id": "r",
        "round_number": 0,
        "label": "histogram:tree 1",
        "context": CONTEXT,
        **changes,
    }


def fill(log: AuditLog) -> Path:
    for number in range(4):
        log.append(durable=False, **facts(round_number=number, request_id=str(number)))
    return log._path


def verified(path: Path, identity: Identity) -> list[BankAuditEntry]:
    return verify_audit_log(path, signing_key=identity.public.signing_key)


def test_a_log_is_read_back_whole_and_private(log, identity, tmp_path) -> None:
    assert verified(tmp_path / "audit.log", identity) == []
    path = fill(log)
    log.append(durable=True, **facts(event="answered", status=201, label=None, context=None))
    entries = verified(path, identity)
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert entries[0].previous_hash == FIRST_PREVIOUS_HASH
    assert entries[-1].status == 201
    assert entries[2].label == "histogram:tree 1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_log_goes_on_after_a_restart_and_between_two_writers(log, identity) -> None:
    path = fill(log)
    other = AuditLog(path, identity)
    for writer in (other, log, other, log):
        writer.append(durable=False, **facts())
    assert [entry.seq for entry in verified(path, identity)] == list(range(1, 9))


def _write(path: Path, key: Path, count: int) -> None:
    log = AuditLog(path, Identity.from_bytes(key.read_bytes(), source="key"))
    for _ in range(count):
        log.append(durable=False, **facts())


def test_processes_may_write_at_once(tmp_path, identity) -> None:
    key = tmp_path / "identity.key"
    key.write_bytes(identity.expose_bytes())
    path = tmp_path / "audit.log"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, key, 50)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert len(verified(path, identity)) == 100


def test_a_line_cut_off_by_a_crash_is_replaced(log, identity) -> None:
    path = fill(log)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert len(verified(path, identity)) == 3
    AuditLog(path, identity).append(durable=True, **facts(request_id="again"))
    entries = verified(path, identity)
    assert [entry.request_id for entry in entries] == ["0", "1", "2", "again"]


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (lambda lines: lines[:1] + lines[2:], "line 2: entry 3 does not follow"),
        (lambda lines: lines[1:], "line 1: entry 2 does not follow"),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], "line 2: entry 3 does not follow"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], "line 3: entry 2 does not follow"),
        (lambda lines: [*lines[:1], b"{}", *lines[1:]], "line 2: is no entry"),
        (
            lambda lines: [lines[0].replace(b"tree 1", b"tree 2"), *lines[1:]],
            "line 1: entry 1 was changed",
        ),
    ],
)
def test_every_change_of_the_log_is_named(
    log, identity, tamper: Callable[[list[bytes]], list[bytes]], message: str
) -> None:
    path = fill(log)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join(tamper(lines)) + b"\n")
    with pytest.raises(StateError, match=message):
        verified(path, identity)


def test_an_entry_rewritten_with_another_key_is_named(log, identity, tmp_path) -> None:
    path = fill(log)
    forger = AuditLog(tmp_path / "forged.log", Identity.generate())
    fill(forger)
    with pytest.raises(StateError, match="entry 1 is not signed with this bank's key"):
        verified(tmp_path / "forged.log", identity)
    # The same, hidden among genuine entries.
    lines = path.read_bytes().splitlines()
    fake = json.loads(lines[1])
    fake["label"] = "metric"
    entry = BankAuditEntry(**fake)
    fake["hash"] = hashlib.sha256(entry.signed_bytes()).hexdigest()
    lines[1] = json.dumps(fake).encode()
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(StateError, match="entry 2 is not signed"):
        verified(path, identity)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_no_byte_of_an_entry_can_be_changed(identity, tmp_path_factory, data) -> None:
    path = tmp_path_factory.mktemp("log") / "audit.log"
    fill(AuditLog(path, identity))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 2))
    before = bytes(content)
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    expected = list(read_audit_log_of(before, path.with_name("before.log")))
    try:
        found = verified(path, identity)
    except StateError:
        return
    # Another spelling of the same entry (a space for a tab) is no change.
    assert found == expected


def read_audit_log_of(content: bytes, path: Path) -> list[BankAuditEntry]:
    path.write_bytes(content)
    return list(read_audit_log(path))


def test_a_log_that_cannot_be_written_stops_what_would_be_sent(tmp_path, identity) -> None:
    with pytest.raises(StateError, match=r"cannot be written.*nothing was sent"):
        AuditLog(tmp_path / "none" / "audit.log", identity).append(durable=True, **facts())
    (tmp_path / "audit.log").write_bytes(b"not a log\n")
    with pytest.raises(StateError, match="last entry: is no entry"):
        AuditLog(tmp_path / "audit.log", identity).append(durable=True, **facts())


class TheirLog:
    """An aggregator's log under construction."""

    def __init__(self) -> None:
        self.key = Identity.generate()
        self.entries: list[AuditEntry] = []

    def add(self, **changes: object) -> AuditEntry:
        fields = {
            "seq": len(self.entries) + 1,
            "time": 1,
            "kind": "contribution",
            "actor": "bank:a",
            "subject": "run/r/round/0",
            "status": AuditStatus.ACCEPTED,
            "detail": "",
            "body_sha256": BODY,
            "previous_hash": self.entries[-1].hash if self.entries else FIRST_PREVIOUS_HASH,
            **changes,
        }
        self.entries.append(sign_audit_entry(self.key, **fields))  # type: ignore[arg-type]
        return self.entries[-1]


def compare(log: AuditLog, theirs: TheirLog) -> list[str]:
    verify_aggregator_log(theirs.entries, audit_key=theirs.key.public.signing_key)
    return compare_logs(read_audit_log(log._path), theirs.entries, bank="a", run_id="r")


def test_logs_that_agree_have_no_difference(log) -> None:
    theirs = TheirLog()
    log.append(durable=True, **facts())
    log.append(durable=True, **facts())
    log.append(durable=True, **facts(event="answered", status=201))
    log.append(durable=True, **facts(kind="question", method="GET", body_sha256=None))
    log.append(durable=True, **facts(round_number=1))
    theirs.add()
    theirs.add(actor="bank:b", body_sha256="b" * 64)
    theirs.add(kind="run-created", actor="operator:main", subject="run/r")
    assert compare(log, theirs) == [], "an unanswered request may or may not have been accepted"


@pytest.mark.parametrize(
    "claim",
    [
        {"body_sha256": "b" * 64},
        {"subject": "run/r/round/1"},
        {"kind": "opening"},
        {"body_sha256": "b" * 64, "status": AuditStatus.REFUSED},
    ],
)
def test_what_the_aggregator_says_it_got_must_have_left_the_bank(log, claim) -> None:
    theirs = TheirLog()
    log.append(durable=True, **facts())
    theirs.add()
    theirs.add(**claim)
    (difference,) = compare(log, theirs)
    assert "aggregator's entry 2 says that this bank sent" in difference


def test_what_the_bank_was_told_is_accepted_must_be_in_the_log(log) -> None:
    theirs = TheirLog()
    log.append(durable=True, **facts())
    log.append(durable=True, **facts(event="answered", status=201))
    (difference,) = compare(log, theirs)
    assert "this bank's entry 2 says that the aggregator accepted a contribution" in difference
    theirs.add(status=AuditStatus.REFUSED)
    assert len(compare(log, theirs)) == 1, "a refusal is not an acceptance"


def test_entries_cut_off_the_end_of_the_banks_log_show_against_the_aggregators(
    log, identity
) -> None:
    theirs = TheirLog()
    for number in range(3):
        log.append(durable=True, **facts(round_number=number))
        theirs.add(subject=f"run/r/round/{number}")
    assert compare(log, theirs) == []
    lines = log._path.read_bytes().splitlines(keepends=True)
    log._path.write_bytes(b"".join(lines[:-1]))
    assert len(verified(log._path, identity)) == 2
    (difference,) = compare(log, theirs)
    assert "run/r/round/2" in difference


def test_an_altered_log_of_the_aggregator_is_refused(log) -> None:
    theirs = TheirLog()
    for number in range(3):
        theirs.add(subject=f"run/r/round/{number}")
    key = theirs.key.public.signing_key
    verify_aggregator_log([theirs.entries[0], theirs.entries[2]], audit_key=key)
    changed = theirs.entries[1].model_copy(update={"detail": "x"})
    for entries in (
        [theirs.entries[0], changed, theirs.entries[2]],
        [theirs.entries[1], theirs.entries[0]],
        [theirs.entries[0], theirs.entries[0]],
    ):
        with pytest.raises(ProtocolError):
            verify_aggregator_log(entries, audit_key=key)
    with pytest.raises(ProtocolError):
        verify_aggregator_log(theirs.entries, audit_key="a" * 64)


def test_subjects_are_the_aggregators() -> None:
    blank = {"hash": "0" * 64, "signature": "0" * 128, "previous_hash": "0" * 64}
    entry = BankAuditEntry(seq=1, time=1, **facts(), **blank)
    assert subject_of(entry) == "run/r/round/0"
    assert subject_of(entry.model_copy(update={"round_number": None})) == "run/r"


@pytest.mark.parametrize(
    ("kind", "message", "besides"),
    [
        ("registration", BankRegistration, set()),
        ("key-epoch", KeyEpoch, set()),
        ("acknowledgement", KeyAcknowledgement, set()),
        ("abort", Abort, set()),
        ("ready", Ready, set()),
        ("contribution", FrameHeader, {"payload"}),
        ("opening", FrameHeader, {"payload"}),
    ],
)
def test_every_field_of_every_message_is_explained(kind, message, besides) -> None:
    sent = set(message.model_fields) - {"protocol_version"}
    assert set(FIELDS[kind]) == sent | besides


def test_the_fields_of_a_model_are_explained() -> None:
    assert {MODEL_PLAIN_HEADER, MODEL_SIGNATURE_HEADER} <= set(FIELDS["model"])


def test_explain_says_what_left_in_which_run(log) -> None:
    assert list(explain([], run_id=None)) == ["nothing has left this bank"]
    log.append(durable=True, **facts())
    log.append(durable=True, **facts())
    log.append(durable=True, **facts(event="answered", status=201))
    log.append(durable=True, **facts(round_number=7, label="cuts:2", request_id="2"))
    log.append(
        durable=True,
        **facts(kind="registration", run_id=None, round_number=None, label=None, context=None),
    )
    entries = list(read_audit_log(log._path))
    text = "\n".join(explain(entries, run_id=None))
    assert "run r: 3 requests, 12 bytes" in text
    assert "contribution: 3 requests (1 of them repeated, as no answer came), 12 bytes" in text
    assert "of rounds 0 to 7, summing: cuts 1, histogram 2" in text
    assert "outside of runs: 1 requests" in text
    assert "invite: the one-time code" in text
    only = "\n".join(explain(entries, run_id="r"))
    assert "outside of runs" not in only
    assert list(explain(entries, run_id="q")) == ["run q: nothing was sent"]
