"""The outbox: for a context one contribution at most, and always those bytes."""

import dataclasses
import hashlib
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bank_node.state import outbox as module
from bank_node.state.outbox import Kept, Outbox
from fraudfed.errors import StateError, SumError

_CONTEXTS = 6
NUMBERS = st.integers(0, _CONTEXTS - 1)
FRAMES = st.binary(max_size=200)


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def frame(number: int) -> bytes:
    return f"contribution {number}".encode()


def keep(outbox: Outbox, number: int, content: bytes | None = None) -> None:
    outbox.keep(
        digest(number),
        frame(number) if content is None else content,
        label="histogram",
        round_number=number,
    )


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "sealed"


def test_a_context_is_used_up_once(path) -> None:
    outbox = Outbox(path)
    assert outbox.find(digest(0)) is None
    keep(outbox, 0)
    keep(outbox, 1)
    for again in (outbox, Outbox(path)):
        assert digest(0) in again
        assert again.find(digest(0)) == Kept(frame(0), None)
        with pytest.raises(SumError, match=r"used before.*round 0.*new run"):
            keep(again, 0, b"another")
        assert again.find(digest(0)) == Kept(frame(0), None)
    keep(Outbox(path), 2, b"")
    assert Outbox(path).find(digest(2)) == Kept(b"", None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_opening_is_kept_beside_its_contribution(path) -> None:
    outbox = Outbox(path)
    with pytest.raises(ValueError, match="before its opening"):
        outbox.keep_opening(digest(0), b"box")
    keep(outbox, 0)
    outbox.keep_opening(digest(0), b"box")
    size = path.stat().st_size
    outbox.keep_opening(digest(0), b"box")
    assert path.stat().st_size == size
    with pytest.raises(ValueError, match="another opening"):
        outbox.keep_opening(digest(0), b"other")
    keep(outbox, 1)
    for each in (outbox, Outbox(path)):
        assert each.find(digest(0)) == Kept(frame(0), b"box")
        assert each.find(digest(1)) == Kept(frame(1), None)


def test_payloads_are_forgotten_and_contexts_are_not(path) -> None:
    outbox = Outbox(path)
    outbox.forget_payloads()
    assert not path.exists()
    for number in range(50):
        keep(outbox, number, bytes(1000))
        outbox.keep_opening(digest(number), bytes(500))
    outbox.forget_payloads()
    assert path.stat().st_size < 50 * 32 + 200
    written = path.stat().st_mtime_ns, path.stat().st_ino
    outbox.forget_payloads()
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == written
    keep(outbox, 50)
    for each in (outbox, Outbox(path)):
        assert all(each.find(digest(number)) == Kept(None, None) for number in range(50))
        with pytest.raises(SumError, match="used before"):
            keep(each, 7)
        assert each.find(digest(50)) == Kept(frame(50), None)
    Outbox(path).forget_payloads()
    assert all(digest(number) in Outbox(path) for number in range(51))


def test_a_file_of_something_else_is_refused(path) -> None:
    for content in (b"x", f"{digest(0)}\n".encode(), bytes(3) + b"FFOB", b"FFOB" + bytes(60)):
        path.write_bytes(content)
        with pytest.raises(StateError, match=r"sealed: byte 0: damaged"):
            Outbox(path)
        assert path.read_bytes() == content


@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(1, 4))
def test_a_record_cut_off_by_a_crash_is_forgotten_alone(tmp_path_factory, data, count) -> None:
    path = tmp_path_factory.mktemp("run") / "sealed"
    outbox, ends = Outbox(path), [0]
    for number in range(count):
        keep(outbox, number)
        ends.append(path.stat().st_size)
    size = data.draw(st.integers(ends[-2], ends[-1] - 1))
    zeros = data.draw(st.integers(0, 50))
    path.write_bytes(path.read_bytes()[:size] + (bytes(zeros) if size == ends[-2] else b""))
    again = Outbox(path)
    assert [digest(number) in again for number in range(count)] == [True] * (count - 1) + [False]
    keep(again, count - 1, b"sealed anew")
    assert all(digest(number) in Outbox(path) for number in range(count))
    kept = Outbox(path).find(digest(count - 1))
    assert kept == Kept(b"sealed anew", None)


def test_nothing_of_a_long_cut_record_stays_behind_a_short_one(path) -> None:
    keep(Outbox(path), 0, bytes(range(256)) * 20)
    os.truncate(path, path.stat().st_size - 1)
    keep(Outbox(path), 1)
    outbox = Outbox(path)
    assert digest(0) not in outbox
    assert outbox.find(digest(1)) == Kept(frame(1), None)


def test_a_record_whose_end_was_never_written_is_dropped(path) -> None:
    keep(Outbox(path), 0)
    keep(Outbox(path), 1)
    # A power cut may leave the length without the bytes.
    path.write_bytes(path.read_bytes()[:-32] + bytes(32))
    assert digest(0) in Outbox(path)
    assert digest(1) not in Outbox(path)


def test_every_flipped_byte_is_noticed(path) -> None:
    outbox = Outbox(path)
    keep(outbox, 0)
    outbox.forget_payloads()
    keep(outbox, 1)
    outbox.keep_opening(digest(1), b"box")
    keep(outbox, 2)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for mask in (0x01, 0xFF):
            damaged = bytearray(whole)
            damaged[position] ^= mask
            path.write_bytes(damaged)
            with pytest.raises(StateError, match=r"sealed: .*(damaged|format version)"):
                Outbox(path)
    path.write_bytes(whole)
    Outbox(path)


def test_a_file_of_a_newer_release_is_named(path) -> None:
    newer = dataclasses.replace(module._RECORD, version=2)
    path.write_bytes(newer.pack(bytes([2]), bytes(32), b"sealed in a way that is yet to come"))
    with pytest.raises(StateError, match=r"format version 2, this release reads 1"):
        Outbox(path)


def test_what_the_program_never_writes_is_refused(path) -> None:
    outbox = Outbox(path)
    keep(outbox, 0)
    contribution = path.read_bytes()
    outbox.keep_opening(digest(0), b"box")
    opening = path.read_bytes()[len(contribution) :]
    outbox.forget_payloads()
    used = path.read_bytes()
    for content, what in (
        (contribution * 2, "second contribution"),
        (opening, "opening out of place"),
        (contribution + opening * 2, "opening out of place"),
        (used + contribution, "second contribution"),
        (contribution + used, "out of place"),
        (module._RECORD.pack(b"\4", bytes(32)), "unknown kind"),
        (module._RECORD.pack(b"\2", bytes(31)), "unknown kind"),
        (module._RECORD.pack(), "unknown kind"),
    ):
        path.write_bytes(content)
        with pytest.raises(StateError, match=what):
            Outbox(path)


def test_damage_while_the_program_runs_is_not_sent(path) -> None:
    outbox = Outbox(path)
    keep(outbox, 0)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"contribution", b"Contribution"))
    with pytest.raises(StateError, match="damaged"):
        outbox.find(digest(0))
    path.write_bytes(content[:-1])
    with pytest.raises(StateError, match="damaged"):
        outbox.find(digest(0))
    path.unlink()
    with pytest.raises(StateError, match="cannot be read"):
        outbox.find(digest(0))


def test_a_place_that_cannot_be_used(tmp_path) -> None:
    with pytest.raises(StateError, match="cannot be written"):
        keep(Outbox(tmp_path / "none" / "sealed"), 0)
    (tmp_path / "sealed").mkdir()
    with pytest.raises(StateError, match="cannot be read"):
        Outbox(tmp_path / "sealed")


def test_what_is_sent_is_synced_before_and_nothing_else_is(path, monkeypatch) -> None:
    synced: list[int] = []

    def fdatasync(handle: int) -> None:
        synced.append(os.fstat(handle).st_size)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    outbox = Outbox(path)
    for number in range(3):
        keep(outbox, number)
        outbox.keep_opening(digest(number), b"box")
        assert len(synced) == number + 1
    assert synced[0] < synced[1] < synced[2] < path.stat().st_size
    synced.clear()
    # A program killed within its sync leaves a record that the disk may not hold. It is found.
    Outbox(path)
    assert synced == [path.stat().st_size]


def test_a_file_that_another_program_cut_is_not_written_to(path) -> None:
    outbox = Outbox(path)
    keep(outbox, 0)
    os.truncate(path, 10)
    with pytest.raises(StateError, match="10 bytes, expected at least"):
        keep(outbox, 1)
    assert path.stat().st_size == 10
    assert digest(1) not in outbox


def test_what_a_crash_left_beside_the_file_is_removed(path) -> None:
    keep(Outbox(path), 0)
    (path.parent / ".sealed.abc").write_bytes(b"half")
    (path.parent / ".other").write_bytes(b"not ours")
    Outbox(path)
    assert sorted(each.name for each in path.parent.iterdir()) == [".other", "sealed"]


class OutboxMachine(RuleBasedStateMachine):
    """The outbox against two dictionaries, with the power cut at any byte behind the last sync."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "sealed"
        self.outbox = Outbox(self.path)
        self.contributions: dict[int, bytes | None] = {}
        self.openings: dict[int, bytes] = {}
        # What is sure to be on the disk: the length at the last sync, and the openings before it.
        self.synced_size = 0
        self.synced_openings: set[int] = set()

    def teardown(self) -> None:
        self.directory.cleanup()

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def note_sync(self) -> None:
        self.synced_size = self.size()
        self.synced_openings = set(self.openings)

    def cut_to(self, size: int) -> None:
        if self.path.exists():
            os.truncate(self.path, size)
        self.outbox = Outbox(self.path)
        for number in list(self.openings):
            found = self.outbox.find(digest(number))
            if found is not None and found.opening is None:
                assert number not in self.synced_openings
                del self.openings[number]
        # A program that starts syncs what it finds.
        self.note_sync()

    @rule(number=NUMBERS, content=FRAMES)
    def keep(self, number: int, content: bytes) -> None:
        if number in self.contributions:
            with pytest.raises(SumError, match="used before"):
                keep(self.outbox, number, content)
        else:
            keep(self.outbox, number, content)
            self.contributions[number] = content
            self.note_sync()

    @rule(number=NUMBERS, content=FRAMES)
    def keep_opening(self, number: int, content: bytes) -> None:
        fits = self.openings.get(number, content) == content
        if number in self.contributions and fits:
            self.outbox.keep_opening(digest(number), content)
            self.openings[number] = content
        else:
            with pytest.raises(ValueError, match="opening"):
                self.outbox.keep_opening(digest(number), content)

    @rule()
    def forget(self) -> None:
        holds_payloads = self.openings or any(
            content is not None for content in self.contributions.values()
        )
        self.outbox.forget_payloads()
        self.contributions = dict.fromkeys(self.contributions)
        self.openings = {}
        if holds_payloads:
            self.note_sync()

    @rule()
    def kill(self) -> None:
        self.cut_to(self.size())

    @rule(data=st.data())
    def cut_power(self, data: st.DataObject) -> None:
        self.cut_to(data.draw(st.integers(self.synced_size, self.size())))

    @rule(data=st.data(), number=NUMBERS, content=FRAMES)
    def cut_power_within_keep(self, data: st.DataObject, number: int, content: bytes) -> None:
        """Before ``keep`` returned: the contribution is there whole or not at all."""
        if number in self.contributions:
            return
        keep(self.outbox, number, content)
        whole = self.size()
        # The part of a record that an earlier cut left may have been longer than this one.
        size = data.draw(st.integers(min(self.synced_size, whole), whole))
        self.cut_to(size)
        assert (digest(number) in self.outbox) == (size == whole)
        if size == whole:
            self.contributions[number] = content

    @invariant()
    def nothing_is_lost_and_nothing_is_changed(self) -> None:
        for number in range(_CONTEXTS):
            expected = None
            if number in self.contributions:
                expected = Kept(self.contributions[number], self.openings.get(number))
            assert self.outbox.find(digest(number)) == expected


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
