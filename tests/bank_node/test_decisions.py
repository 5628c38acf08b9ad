"""The log of decisions: nothing acknowledged is lost, and what is erased opens no more."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.decisions.decision import Decision, decode, encode
from bank_node.decisions.log import DecisionLog, Written
from bank_node.decisions.segment import _RECORD
from bank_node.vault.key_sources import KeySource
from bank_node.vault.vault import NO_VAULT, SealedVault
from fraudfed.errors import FraudFedError, KeyMaterialError, StateError

DAY = 86_400
START = 1_700_000_000
VAULT = SealedVault(bytes(range(32)), source=KeySource.PASSPHRASE)
DIGEST = "ab" * 32

texts = st.text(max_size=20)
digests = st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex)
floats = st.none() | st.floats(allow_nan=False, allow_infinity=False)
times = st.integers(0, 2**33)
decisions = st.builds(
    Decision,
    transaction_id=texts,
    customer_id=texts,
    event_time=times,
    decided_at=times,
    channel=st.none() | texts,
    direction=st.none() | texts,
    amount_minor=st.integers(0, 10**12),
    currency=st.none() | texts,
    margin=floats,
    score=floats,
    probability=floats,
    action=texts,
    rule=texts,
    step=texts,
    model_sha256=digests,
    policy_sha256=digests,
    tables_sha256=digests,
    bins=st.binary(max_size=100),
    shown=st.binary(max_size=100),
    challenger_sha256=digests,
    propensity=floats,
    full_action=st.none() | texts,
    payee_id=st.none() | texts,
    payer_id=st.none() | texts,
    merchant_id=st.none() | texts,
    terminal_id=st.none() | texts,
    has_state=st.booleans(),
    warn_only=st.booleans(),
    with_reasons=st.booleans(),
    risk_age_days=st.none() | st.integers(0, 10_000),
    bundle_seconds=st.integers(0, 10**9),
)


def decision(number: int, **changed: Any) -> Decision:
    """Return a decision; one customer in three."""
    plain = Decision(
        transaction_id=f"t{number}",
        customer_id=f"c{number % 3}",
        event_time=START + number,
        decided_at=START + number,
        channel="transfer",
        direction="outbound",
        amount_minor=12_345,
        currency="GBP",
        margin=-1.5,
        score=0.18,
        probability=0.02,
        action="allow",
        rule="transfers out",
        step="full",
        model_sha256=DIGEST,
        bins=bytes(range(60)),
    )
    return replace(plain, **changed)


def opened(path: Path, **options: Any) -> DecisionLog:
    return DecisionLog(path, VAULT, **{"clock": lambda: START + DAY, **options})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DecisionLog]:
    """Open a log of nine decisions in several segments."""
    found = opened(tmp_path / "log", segment_bytes=1000)
    for number in range(9):
        found.append(decision(number))
    yield found
    found.close()


@given(decisions)
def test_a_decision_is_read_back_as_it_was_written(found: Decision) -> None:
    assert decode(encode(found), source="log") == found


@given(decisions, st.data())
def test_other_bytes_are_no_decision(found: Decision, data: st.DataObject) -> None:
    whole = encode(found)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for other in (whole[:cut], whole + b"\0"):
        with pytest.raises(StateError, match="log: damaged"):
            decode(other, source="log")


def test_a_search_can_leave_out_old_segments(log: DecisionLog) -> None:
    for since in range(9):
        found = [log.find(f"t{number}", since=START + since) for number in range(9)]
        assert found[since:] == [decision(number) for number in range(since, 9)]
    assert log.find("t0", since=START + 8) is None


def test_what_cannot_be_kept_is_refused(log: DecisionLog) -> None:
    for wrong in (
        {"margin": float("nan")},
        {"rule": "x" * 5000},
        {"model_sha256": "AB" * 32},
        {"bins": bytes((1 << 20) + 1)},
        {"challenger_margin": 1.0},
    ):
        with pytest.raises(ValueError, match=r"expected|no SHA-256"):
            log.append(decision(9, **wrong))
    assert log.verify().decisions == 9


@settings(max_examples=25)
@given(
    commands=st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 5)),
            st.tuples(st.just("margin"), st.integers(0, 3)),
            st.tuples(st.just("erase"), st.integers(0, 2)),
            st.tuples(st.just("reopen"), st.just(0)),
        ),
        max_size=25,
    )
)
def test_the_log_is_a_list_that_can_forget_customers(
    commands: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log")
    log, kept, erased = opened(path, segment_bytes=1200), list[Decision](), 0
    # Of this opening, with the number of each in ``kept`` by its own time.
    written: list[tuple[Written, Decision]] = []
    for number, (command, argument) in enumerate(commands):
        if command == "append":
            kept.append(
                decision(
                    argument,
                    decided_at=START + number % 7,
                    event_time=number,
                    customer_id=f"c{argument % 3}",
                    challenger_sha256=None if number % 3 == 0 else "cd" * 32,
                )
            )
            written.append((log.append(kept[-1]), kept[-1]))
        elif command == "margin":
            # Some are late, when their segment is closed, or their customer erased.
            for place, of in written[-1 - argument :][:1]:
                if of.challenger_sha256 is None:
                    continue
                log.append_challenger_margin(place, number / 4)
                kept = [
                    replace(each, challenger_margin=number / 4)
                    if each.event_time == of.event_time
                    else each
                    for each in kept
                ]
        elif command == "erase":
            before = len(kept)
            kept = [each for each in kept if each.customer_id != f"c{argument}"]
            assert log.erase(f"c{argument}") == before - len(kept)
            erased += before - len(kept)
        else:
            log.close()
            log, written = opened(path, segment_bytes=1200), []
    for reader in (log, opened(path, read_only=True) if (path / "log.key").exists() else log):
        assert list(reader.between(0, 2**40)) == kept
        assert list(reader.between(START + 2, START + 5)) == [
            each for each in kept if START + 2 <= each.decided_at < START + 5
        ]
        for number in range(6):
            last = [each for each in kept if each.transaction_id == f"t{number}"]
            assert reader.find(f"t{number}") == (last[-1] if last else None)
        for customer in ("c0", "c1", "c2"):
            of = [each for each in kept if each.customer_id == customer]
            assert list(reader.of_customer(customer)) == of
        found = reader.verify()
        assert (found.decisions, found.erased) == (len(kept), erased)
    log.close()


def test_a_crash_at_any_byte_loses_nothing_but_the_record_that_it_cut_off(tmp_path: Path) -> None:
    with_one = opened(tmp_path / "log")
    with_one.append(decision(0))
    first = (tmp_path / "log" / "000001.log").stat().st_size
    with_one.append(decision(1))
    with_one.close()
    data = (tmp_path / "log" / "000001.log").read_bytes()
    keys = (tmp_path / "log" / "000001.keys").read_bytes()
    for cut in range(first, len(data), 5):
        # A disk leaves zeros from a page on, not from within a head or a checksum.
        zeros = data[:cut] + bytes(len(data) - cut)
        ends_within = first < cut < first + 26 or cut > len(data) - 32
        for tail in (data[:cut], *([] if ends_within else [zeros])):
            (tmp_path / "log" / "000001.log").write_bytes(tail)
            log = opened(tmp_path / "log")
            assert list(log.between(0, 2**40)) == [decision(0)]
            log.append(decision(2))
            assert list(log.between(0, 2**40)) == [decision(0), decision(2)]
            log.close()
            (tmp_path / "log" / "000001.keys").write_bytes(keys)
    # The disk has the record, and its key only in part: it was never said to be durable.
    for cut in range(80, 160, 5):
        (tmp_path / "log" / "000001.log").write_bytes(data)
        (tmp_path / "log" / "000001.keys").write_bytes(keys[:cut] + bytes(160 - cut))
        log = opened(tmp_path / "log")
        assert list(log.between(0, 2**40)) == [decision(0)]
        log.append(decision(1))
        assert list(log.between(0, 2**40)) == [decision(0), decision(1)]
        log.close()


CHILD = """
import sys
from pathlib import Path
from test_decisions import decision, opened
log = opened(Path(sys.argv[1]), segment_bytes=2000)
number = 0
while True:
    log.append(decision(number))
    print(number, flush=True)
    number += 1
"""


def test_a_killed_process_has_lost_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    path = os.pathsep.join((str(Path(__file__).parent), *sys.path))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(40)]
    child.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in child.stdout.read().split("\n")[:-1]]
    child.wait()
    child.stdout.close()
    log = opened(tmp_path / "log")
    found = list(log.between(0, 2**40))
    assert len(found) - len(acknowledged) in (0, 1)
    assert found == [decision(number) for number in range(len(found))]
    log.close()


def test_what_is_erased_opens_no_more_and_nothing_else_changes(
    log: DecisionLog, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in (tmp_path / "log").glob("*")}
    assert log.erase("c1") == 3
    after = {path.name: path.read_bytes() for path in (tmp_path / "log").glob("*")}
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed
    assert all(name.endswith(".keys") for name in changed)
    # Where the key lay, nothing is left that anybody could unwrap, and no tag of the customer.
    for name in changed:
        for at in range(0, len(before[name]), 80):
            slot = after[name][at : at + 80]
            assert slot == before[name][at : at + 80] or slot == b"\2" + bytes(79)
    assert log.erase("c1") == 0
    assert log.verify().erased == 3
    assert log.find("t1") is None
    assert log.find("t2") == decision(2)


def test_another_process_erases_beside_the_one_that_adds(log: DecisionLog, tmp_path: Path) -> None:
    assert opened(tmp_path / "log", read_only=True).erase("c2") == 3
    # The service has held this customer's key until now.
    assert log.find("t8") is None
    log.append(decision(11))
    assert list(log.of_customer("c2")) == [decision(11)]
    assert log.find("t11") == decision(11)


def test_no_identifier_and_no_amount_lies_open(log: DecisionLog, tmp_path: Path) -> None:
    log.append(decision(70, transaction_id="TRANSACTION-70", customer_id="CUSTOMER-70"))
    for path in (tmp_path / "log").glob("*"):
        data = path.read_bytes()
        for text in (b"TRANSACTION", b"CUSTOMER", b"transfer", b"GBP", bytes(range(60))):
            assert text not in data
        assert path.stat().st_mode & 0o077 == 0


def test_a_changed_or_moved_record_is_refused(log: DecisionLog, tmp_path: Path) -> None:
    log.close()
    first, second = (tmp_path / "log" / f"00000{number}.log" for number in (1, 2))
    data = first.read_bytes()
    first.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with pytest.raises(StateError, match="byte 0: damaged: wrong checksum"):
        opened(tmp_path / "log", read_only=True).verify()
    first.write_bytes(second.read_bytes())
    with pytest.raises(StateError, match="does not open with its key"):
        opened(tmp_path / "log", read_only=True).verify()


def test_a_record_of_another_time_or_segment_is_refused(log: DecisionLog, tmp_path: Path) -> None:
    """With a fresh checksum, as an attacker who has no key can make it."""
    log.close()
    first = tmp_path / "log" / "000001.log"
    data = first.read_bytes()
    (found, *_) = _RECORD.unpack_row(data, source="log")
    content = bytearray(found.content)
    content[4] ^= 1
    first.write_bytes(_RECORD.pack(bytes(content)) + data[found.end :])
    with pytest.raises(StateError, match="byte 0: damaged: it does not open with its key"):
        opened(tmp_path / "log", read_only=True).verify()
    first.write_bytes(data)
    for suffix in (".log", ".keys", ".index"):
        shutil.copy(first.with_suffix(suffix), first.with_name(f"000009{suffix}"))
    with pytest.raises(KeyMaterialError, match=r"000009\.keys: key 0 does not open"):
        opened(tmp_path / "log", read_only=True).verify()


def test_without_its_key_or_with_another_vault_the_log_stays_shut(
    log: DecisionLog, tmp_path: Path
) -> None:
    log.close()
    for vault in (NO_VAULT, SealedVault(bytes(32), source=KeySource.PASSPHRASE)):
        with pytest.raises(KeyMaterialError):
            DecisionLog(tmp_path / "log", vault, read_only=True)
    (tmp_path / "log" / "log.key").unlink()
    with pytest.raises(KeyMaterialError, match="restore it from a backup"):
        opened(tmp_path / "log")


def test_control_without_a_vault_a_copy_of_the_log_opens(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "log", NO_VAULT)
    log.append(decision(1))
    log.close()
    shutil.copytree(tmp_path / "log", tmp_path / "copy")
    copy = DecisionLog(tmp_path / "copy", NO_VAULT, read_only=True)
    assert copy.find("t1") == decision(1)


def test_control_a_backup_of_the_keys_opens_what_was_erased(
    log: DecisionLog, tmp_path: Path
) -> None:
    shutil.copytree(tmp_path / "log", tmp_path / "backup")
    log.erase("c1")
    assert log.find("t1") is None
    for path in (tmp_path / "backup").glob("*.keys"):
        shutil.copy(path, tmp_path / "log")
    assert opened(tmp_path / "log", read_only=True).find("t1") == decision(1)


def test_one_process_adds_at_a_time(log: DecisionLog, tmp_path: Path) -> None:
    with pytest.raises(StateError, match="another process adds decisions"):
        opened(tmp_path / "log")
    reader = opened(tmp_path / "log", read_only=True)
    with pytest.raises(StateError, match="reading only"):
        reader.append(decision(1))
    with pytest.raises(StateError, match="has no decisions"):
        opened(tmp_path / "other", read_only=True)
    assert log.verify().decisions == 9


def test_segments_past_their_retention_are_removed(tmp_path: Path) -> None:
    now = [float(START)]
    log = opened(tmp_path / "log", retention_days=100, clock=lambda: now[0])
    for day in range(0, 200, 10):
        now[0] = START + day * DAY
        log.append(decision(day, decided_at=START + day * DAY))
        oldest = min(each.decided_at for each in log.between(0, 2**40))
        # A segment is removed as a whole, when the next one begins.
        assert now[0] - oldest <= (100 + 2 * 31 + 10) * DAY
    names = {path.suffix for path in (tmp_path / "log").glob("000001.*")}
    assert names == set()
    log.close()
    now[0] += 300 * DAY
    log = opened(tmp_path / "log", retention_days=100, clock=lambda: now[0])
    assert list(log.between(0, 2**40)) == []
    log.append(decision(1))
    log.close()


def test_an_index_that_is_lost_or_damaged_is_made_anew(log: DecisionLog, tmp_path: Path) -> None:
    log.close()
    for path in (tmp_path / "log").glob("*.index"):
        path.write_bytes(path.read_bytes()[:50])
    (tmp_path / "log" / "000001.index").unlink()
    for read_only in (True, False):
        again = opened(tmp_path / "log", read_only=read_only)
        assert [again.find(f"t{number}") for number in range(9)] == [
            decision(number) for number in range(9)
        ]
        again.close()
    assert (tmp_path / "log" / "000001.index").exists()


def test_a_margin_is_of_its_decision_alone_and_goes_with_it(tmp_path: Path) -> None:
    shadowed = {"challenger_sha256": DIGEST}
    log = opened(tmp_path / "log")
    first, second = (log.append(decision(number, **shadowed)) for number in (0, 1))
    log.append_challenger_margin(second, 0.5)
    log.append_challenger_margin(first, -2.0)
    log.close()
    path = tmp_path / "log" / "000001.margins"
    rows, log_size = path.read_bytes(), (tmp_path / "log" / "000001.log").stat().st_size
    size = len(rows) // 2
    # Cut off, at any byte, as a crash of the machine may leave it.
    for cut in range(size, len(rows)):
        for tail in (rows[:cut], rows[:cut] + bytes(len(rows) - cut)):
            path.write_bytes(tail)
            log = opened(tmp_path / "log")
            margins = [each.challenger_margin for each in log.between(0, 2**40)]
            log.close()
            if tail[-24:] != rows[-24:] and any(tail[-24:]):
                continue
            assert margins == [None, 0.5]
    # A row of another decision, or of none.
    path.write_bytes(rows[size : size + 8] + rows[8:size])
    with pytest.raises(StateError, match="row of the decision at byte 0 does not open"):
        opened(tmp_path / "log", read_only=True).find("t0")
    path.write_bytes(rows + log_size.to_bytes(8, "little") + rows[8:size])
    log = opened(tmp_path / "log")
    log.append(decision(2, **shadowed))
    assert log.verify().decisions == 3
    assert [each.challenger_margin for each in log.between(0, 2**40)] == [-2.0, 0.5, None]
    log.erase("c1")
    assert [each.challenger_margin for each in log.between(0, 2**40)] == [-2.0, None]
    log.close()


def test_a_full_disk_leaves_the_log_as_it_was(
    log: DecisionLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(FraudFedError, match="No space left"):
            log.append(decision(9))
    assert log.verify().decisions == 9
    log.append(decision(9))
    log.commit()
    assert log.find("t9") == decision(9)
