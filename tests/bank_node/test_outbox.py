"""The outbox: for a context one contribution at most, and always those bytes."""

import copy
import dataclasses
import hashlib
import os
import pickle
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
SEEDS = st.binary(min_size=32, max_size=32)
LISTS = st.lists(SEEDS.map(bytes.hex), max_size=4).map(tuple)


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def frame(number: int) -> bytes:
    return f"contribution {number}".encode()


#: Of three banks; where a test does not care.
COMMITMENTS = ("1" * 64, "2" * 64, "3" * 64)


def seed(number: int) -> bytes:
    return hashlib.sha256(f"seed {number}".encode()).digest()


def keep(
    outbox: Outbox, number: int, content: bytes | None = None, *, secret: bytes | None = None
) -> None:
    outbox.keep(
        digest(number),
        frame(number) if content is None else content,
        seed=seed(number) if secret is None else secret,
        label="histogram",
        round_number=number,
    )


def reveal(
    outbox: Outbox, number: int, box: bytes = b"box", commitments: tuple[str, ...] = COMMITMENTS
) -> None:
    outbox.keep_opening(digest(number), box, commitments=commitments)


def sealed(number: int, content: bytes | None = None) -> Kept:
    return Kept(frame(number) if content is None else content, seed(number))


def opened(number: int, box: bytes = b"box") -> Kept:
    return Kept(frame(number), seed(number), box, COMMITMENTS)


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
        assert again.find(digest(0)) == sealed(0)
        with pytest.raises(SumError, match=r"used before.*round 0.*new run"):
            keep(again, 0, b"another")
        with pytest.raises(SumError, match="used before"):
            keep(again, 0, frame(0), secret=seed(9))
        assert again.find(digest(0)) == sealed(0)
    keep(Outbox(path), 2, b"")
    assert Outbox(path).find(digest(2)) == sealed(2, b"")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_box_is_kept_beside_its_contribution_with_what_it_was_signed_under(path) -> None:
    outbox = Outbox(path)
    with pytest.raises(ValueError, match="before its opening"):
        reveal(outbox, 0)
    keep(outbox, 0)
    reveal(outbox, 0)
    size = path.stat().st_size
    reveal(outbox, 0)
    assert path.stat().st_size == size
    for box, commitments in ((b"other", COMMITMENTS), (b"box", COMMITMENTS[::-1]), (b"box", ())):
        with pytest.raises(ValueError, match="another opening"):
            reveal(outbox, 0, box, commitments)
    keep(outbox, 1)
    for each in (outbox, Outbox(path)):
        assert each.find(digest(0)) == opened(0)
        assert each.find(digest(1)) == sealed(1)


def test_a_seed_that_was_forgotten_is_gone_from_the_file_and_never_revealed(path) -> None:
    outbox = Outbox(path)
    keep(outbox, 0)
    keep(outbox, 1)
    reveal(outbox, 0)
    assert seed(0) in path.read_bytes()
    assert seed(1) in path.read_bytes()
    outbox.forget_payloads()
    assert [each.name for each in path.parent.iterdir()] == ["sealed"]
    for number in (0, 1):
        assert seed(number) not in path.read_bytes()
        for each in (outbox, Outbox(path)):
            assert each.find(digest(number)) == Kept()
            with pytest.raises(ValueError, match="before its opening"):
                reveal(each, number)
            with pytest.raises(SumError, match="used before"):
                keep(each, number)


def test_a_seed_is_not_shown_and_does_not_travel(path) -> None:
    outbox = Outbox(path)
    keep(outbox, 0)
    reveal(outbox, 0)
    kept = outbox.find(digest(0))
    assert kept is not None
    for text in (repr(kept), str(kept), repr(outbox), str(vars(outbox))):
        assert repr(seed(0))[2:-1] not in text
        assert seed(0).hex() not in text
    for way in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="secret"):
            way(kept)
    with pytest.raises(ValueError, match="a seed of 31 bytes, expected 32") as failure:
        keep(outbox, 1, secret=seed(1)[:-1])
    assert seed(1).hex()[:20] not in str(failure.value)


def test_payloads_are_forgotten_and_contexts_are_not(path) -> None:
    outbox = Outbox(path)
    outbox.forget_payloads()
    assert not path.exists()
    for number in range(50):
        keep(outbox, number, bytes(1000))
        reveal(outbox, number, bytes(500))
    outbox.forget_payloads()
    assert path.stat().st_size < 50 * 32 + 200
    written = path.stat().st_mtime_ns, path.stat().st_ino
    outbox.forget_payloads()
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == written
    keep(outbox, 50)
    for each in (outbox, Outbox(path)):
        assert all(each.find(digest(number)) == Kept() for number in range(50))
        with pytest.raises(SumError, match="used before"):
            keep(each, 7)
        assert each.find(digest(50)) == sealed(50)
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
    assert kept == sealed(count - 1, b"sealed anew")


def test_nothing_of_a_long_cut_record_stays_behind_a_short_one(path) -> None:
    keep(Outbox(path), 0, bytes(range(256)) * 20)
    os.truncate(path, path.stat().st_size - 1)
    keep(Outbox(path), 1)
    outbox = Outbox(path)
    assert digest(0) not in outbox
    assert outbox.find(digest(1)) == sealed(1)


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
    reveal(outbox, 1)
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
    newer = dataclasses.replace(module._RECORD, version=4)
    path.write_bytes(newer.pack(bytes([2]), bytes(32), b"sealed in a way that is yet to come"))
    with pytest.raises(StateError, match=r"format version 4, this release reads 3"):
        Outbox(path)


def test_what_the_program_never_writes_is_refused(path) -> None:
    outbox = Outbox(path)
    keep(outbox, 0)
    contribution = path.read_bytes()
    reveal(outbox, 0)
    opening = path.read_bytes()[len(contribution) :]
    outbox.forget_payloads()
    used, context = path.read_bytes(), bytes.fromhex(digest(0))
    for content, what in (
        (contribution * 2, "second contribution"),
        (opening, "opening out of place"),
        (contribution + opening * 2, "opening out of place"),
        (used + contribution, "second contribution"),
        (contribution + used, "out of place"),
        (used + opening, "opening out of place"),
        (contribution + module._RECORD.pack(b"\3", context, b"\0\0\0"), "cut off"),
        (contribution + module._RECORD.pack(b"\3", context, b"\0\0\0\2", bytes(63)), "cut off"),
        (module._RECORD.pack(b"\2", context, bytes(31)), "unknown kind"),
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
    path.write_bytes(content.replace(frame(0), frame(0).upper()))
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


def test_what_is_sent_and_what_is_revealed_is_synced_before(path, monkeypatch) -> None:
    synced: list[int] = []

    def fdatasync(handle: int) -> None:
        synced.append(os.fstat(handle).st_size)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    outbox = Outbox(path)
    for number in range(3):
        keep(outbox, number)
        assert len(synced) == 2 * number + 1
        reveal(outbox, number)
        assert len(synced) == 2 * number + 2
    assert synced == sorted(set(synced))
    assert synced[-1] == path.stat().st_size
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
    (path.parent / ".sealed.k3_x9ab2").write_bytes(b"half")
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
        self.contributions: dict[int, tuple[bytes, bytes] | None] = {}
        self.openings: dict[int, tuple[bytes, tuple[str, ...]]] = {}
        # What is sure to be on the disk: the length at the last sync.
        self.synced_size = 0

    def teardown(self) -> None:
        self.directory.cleanup()

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def note_sync(self) -> None:
        self.synced_size = self.size()

    def cut_to(self, size: int) -> None:
        if self.path.exists():
            os.truncate(self.path, size)
        self.outbox = Outbox(self.path)
        # A program that starts syncs what it finds.
        self.note_sync()

    @rule(number=NUMBERS, content=FRAMES, secret=SEEDS)
    def keep(self, number: int, content: bytes, secret: bytes) -> None:
        if number in self.contributions:
            with pytest.raises(SumError, match="used before"):
                keep(self.outbox, number, content, secret=secret)
        else:
            keep(self.outbox, number, content, secret=secret)
            self.contributions[number] = content, secret
            self.note_sync()

    @rule(number=NUMBERS, box=FRAMES, commitments=LISTS)
    def reveal(self, number: int, box: bytes, commitments: tuple[str, ...]) -> None:
        wanted = (box, commitments)
        fits = self.openings.get(number, wanted) == wanted
        if self.contributions.get(number) is not None and fits:
            reveal(self.outbox, number, *wanted)
            self.openings[number] = wanted
            self.note_sync()
        else:
            with pytest.raises(ValueError, match="opening"):
                reveal(self.outbox, number, *wanted)

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

    @rule(data=st.data(), number=NUMBERS, content=FRAMES, secret=SEEDS)
    def cut_power_within_keep(
        self, data: st.DataObject, number: int, content: bytes, secret: bytes
    ) -> None:
        """Before ``keep`` returned: the contribution is there whole or not at all."""
        if number in self.contributions:
            return
        keep(self.outbox, number, content, secret=secret)
        whole = self.size()
        # The part of a record that an earlier cut left may have been longer than this one.
        size = data.draw(st.integers(min(self.synced_size, whole), whole))
        self.cut_to(size)
        assert (digest(number) in self.outbox) == (size == whole)
        if size == whole:
            self.contributions[number] = content, secret

    @rule(data=st.data(), number=NUMBERS, box=FRAMES, commitments=LISTS)
    def cut_power_within_reveal(
        self, data: st.DataObject, number: int, box: bytes, commitments: tuple[str, ...]
    ) -> None:
        """Before ``keep_opening`` returned, and so before the box was sent."""
        if self.contributions.get(number) is None or number in self.openings:
            return
        reveal(self.outbox, number, box, commitments)
        size = data.draw(st.integers(min(self.synced_size, self.size()), self.size()))
        is_whole = size == self.size()
        self.cut_to(size)
        if is_whole:
            self.openings[number] = box, commitments

    @invariant()
    def nothing_is_lost_and_nothing_is_changed(self) -> None:
        for number in range(_CONTEXTS):
            expected = None
            if number in self.contributions:
                contribution = self.contributions[number] or (None, None)
                expected = Kept(*contribution, *self.openings.get(number, (None, None)))
            assert self.outbox.find(digest(number)) == expected


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
