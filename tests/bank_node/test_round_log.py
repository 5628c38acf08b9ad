"""The log of rounds: whole after a restart, and never wrong."""

import dataclasses
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.state.round_log import _RECORD, LoggedRound, RoundLog
from bank_node.state.round_record import RoundRecord
from fraudfed.errors import StateError


def record(number: int) -> RoundRecord:
    return RoundRecord(
        number=number,
        label="histogram:tree 0",
        context=f"{number:064x}",
        key_fingerprint="f" * 64,
        key_bits=3072,
        ciphertexts=150,
        ciphertext_bytes=768,
        kernel="ifma",
        masks=4,
        signed_openings=5,
        tag_verified=True,
    )


def append(log: RoundLog, number: int) -> LoggedRound:
    log.append(record(number), bytes_sent=100 + number, bytes_received=7)
    return LoggedRound(record(number), 100 + number, 7)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "rounds.log"


def test_what_was_appended_is_read_again(path) -> None:
    log = RoundLog(path)
    log.sync()
    assert log.read(9) == []
    # Rounds 2 and 3 were given up.
    expected = [append(log, number) for number in (0, 1, 4, 5)]
    log.sync()
    for each in (log, RoundLog(path)):
        assert each.read(6) == expected
    with pytest.raises(ValueError, match="round 5 after round 5"):
        append(log, 5)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    log.remove()
    log.remove()
    assert RoundLog(path).read(9) == []


@settings(max_examples=50, deadline=None)
@given(
    numbers=st.sets(st.integers(0, 20), max_size=8).map(sorted),
    before=st.integers(0, 21),
    cut=st.integers(0, 200),
)
def test_a_restarted_bank_does_later_rounds_again(tmp_path_factory, numbers, before, cut) -> None:
    path = tmp_path_factory.mktemp("run") / "rounds.log"
    log = RoundLog(path)
    rounds = [append(log, number) for number in numbers]
    if numbers and cut:
        # A crash within the last record.
        path.write_bytes(path.read_bytes()[:-cut])
        rounds.pop()
    kept = [each for each in rounds if each.record.number < before]
    again = RoundLog(path)
    assert again.read(before) == kept
    assert RoundLog(path).read(99) == kept
    kept.append(append(again, max(before, 21)))
    assert again.read(99) == RoundLog(path).read(99) == kept


def test_every_flipped_byte_is_noticed(path) -> None:
    log = RoundLog(path)
    append(log, 0)
    append(log, 1)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for mask in (0x01, 0xFF):
            damaged = bytearray(whole)
            damaged[position] ^= mask
            path.write_bytes(damaged)
            with pytest.raises(StateError, match=r"rounds\.log: byte [0-9]+: damaged"):
                RoundLog(path)


def test_records_out_of_order_are_damage(path) -> None:
    log = RoundLog(path)
    append(log, 0)
    append(log, 1)
    whole = path.read_bytes()
    first, second = whole[: len(whole) // 2], whole[len(whole) // 2 :]
    for content in (second + first, first + first):
        path.write_bytes(content)
        with pytest.raises(StateError, match=f"byte {len(first)}: damaged: it is out of order"):
            RoundLog(path)


def test_a_place_that_cannot_be_used(tmp_path) -> None:
    with pytest.raises(StateError, match="cannot be written"):
        append(RoundLog(tmp_path / "none" / "rounds.log"), 0)
    (tmp_path / "rounds.log").mkdir()
    with pytest.raises(StateError, match="cannot be read"):
        RoundLog(tmp_path / "rounds.log")


def test_a_record_says_every_field(path) -> None:
    append(RoundLog(path), 3)
    record = path.read_bytes()
    assert all(f'"{field.name}":'.encode() in record for field in dataclasses.fields(RoundRecord))
    assert b'"bytes_sent":103' in record


@pytest.mark.parametrize("content", [b"", b"{}", b'{"record":{},"bytes_sent":0}', b"[1]"])
def test_a_record_that_no_program_writes_is_refused(path, content) -> None:
    path.write_bytes(_RECORD.pack(content))
    with pytest.raises(StateError, match=r"rounds\.log: byte 0: damaged: it is no finished round"):
        RoundLog(path)
