"""Checkpoints: the newest two, whole, of this bank and run, or an error that names the file."""

import dataclasses
import json
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bank_node.state import checkpoints as module
from bank_node.state.checkpoints import Checkpoint, Checkpoints
from bank_node.vault.vault import PlainVault
from fraudfed.durable_file import write_atomic
from fraudfed.errors import StateError

FIRST = Checkpoint(
    run_id="r1",
    bank="bank-a",
    step=0,
    generation=0,
    cohort=("bank-a", "bank-b", "bank-c"),
    first_step=0,
    first_round=0,
    round_number=4,
    transcript="a" * 64,
    facts_sha256="b" * 64,
    data_sha256="c" * 64,
    counted=("bank-a", "bank-b"),
    more_rows=7,
    exposed=("b",),
    state=b"",
)


def step(number: int, *, generation: int = 0, state: bytes = b"state") -> Checkpoint:
    return dataclasses.replace(FIRST, step=number, generation=generation, state=state)


@pytest.fixture
def directory(tmp_path) -> Path:
    return tmp_path / "checkpoints"


def opened(directory: Path, **changes: str) -> Checkpoints:
    return Checkpoints(
        directory, **{"run_id": "r1", "bank": "bank-a", "vault": PlainVault(), **changes}
    )


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_newest_two_steps_are_kept(directory) -> None:
    saved = opened(directory)
    assert saved.latest() is None
    assert saved.at(0) is None
    for number in range(13):
        saved.save(step(number))
        assert saved.latest() == opened(directory).latest() == step(number)
        assert saved.at(number - 1) == (step(number - 1) if number else None)
        assert len(names(directory)) == min(number + 1, 2)
    assert names(directory) == ["step-11.checkpoint", "step-12.checkpoint"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    saved.remove()
    assert not directory.exists()
    saved.remove()
    assert saved.latest() is None


@settings(max_examples=30, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 2**40), min_size=6, max_size=6),
    cohort=st.lists(st.text(max_size=9), unique=True, max_size=5),
    state=st.binary(max_size=500),
)
def test_a_checkpoint_is_read_as_it_was_saved(tmp_path_factory, numbers, cohort, state) -> None:
    saved = opened(tmp_path_factory.mktemp("run") / "checkpoints")
    fields = ("step", "generation", "first_step", "first_round", "round_number", "more_rows")
    checkpoint = dataclasses.replace(
        FIRST,
        **dict(zip(fields, numbers, strict=True)),
        cohort=tuple(cohort),
        counted=tuple(cohort[:2]),
        state=state,
    )
    saved.save(checkpoint)
    assert saved.latest() == saved.at(checkpoint.step) == checkpoint


def test_a_later_generation_replaces_what_it_goes_back_behind(directory) -> None:
    saved = opened(directory)
    for number in range(5):
        saved.save(step(number))
    saved.save(step(3, generation=1))
    # Step 4 is of the generation that was given up.
    assert saved.at(4) is None
    assert saved.at(3) == saved.latest() == step(3, generation=1)
    saved.save(step(4, generation=1))
    assert [saved.at(3), saved.at(4)] == [step(number, generation=1) for number in (3, 4)]


def test_a_crash_before_the_old_ones_are_removed(directory, monkeypatch) -> None:
    saved = opened(directory)
    for number in range(5):
        saved.save(step(number))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", interrupt_checkpoints(Path.unlink))
        with pytest.raises(KeyboardInterrupt):
            saved.save(step(3, generation=1))
    assert names(directory) == ["step-3.checkpoint", "step-4.checkpoint"]
    assert opened(directory).latest() == step(3, generation=1)


def interrupt_checkpoints(unlink):
    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".checkpoint":
            raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    return refuse


def test_every_flipped_byte_and_every_cut_is_noticed(directory) -> None:
    saved = opened(directory)
    saved.save(step(1))
    path = directory / "step-1.checkpoint"
    whole = path.read_bytes()
    for position in range(len(whole)):
        for mask in (0x01, 0xFF):
            damaged = bytearray(whole)
            damaged[position] ^= mask
            path.write_bytes(damaged)
            with pytest.raises(StateError, match=r"step-1\.checkpoint: damaged.*take part anew"):
                saved.latest()
        path.write_bytes(whole[:position])
        with pytest.raises(StateError, match=r"step-1\.checkpoint: damaged"):
            saved.at(1)
    path.write_bytes(whole[:-1])
    with pytest.raises(StateError, match=f"cut off after {len(whole) - 1} of {len(whole)} bytes"):
        saved.latest()
    path.write_bytes(whole + b"\0")
    with pytest.raises(StateError, match="damaged: 1 bytes too many"):
        saved.latest()
    path.write_bytes(whole)
    assert saved.latest() == step(1)


def test_a_damaged_newest_one_is_not_passed_over(directory) -> None:
    saved = opened(directory)
    saved.save(step(1))
    saved.save(step(2))
    (directory / "step-2.checkpoint").write_bytes(b"")
    with pytest.raises(StateError, match=r"step-2\.checkpoint: damaged"):
        saved.latest()
    assert saved.at(1) == step(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run_id": "r2"}, r"foreign: its run_id is 'r1', expected 'r2'"),
        ({"bank": "bank-b"}, r"foreign: its bank is 'bank-a', expected 'bank-b'"),
    ],
)
def test_a_foreign_checkpoint_is_refused(directory, changes, message) -> None:
    opened(directory).save(step(1))
    other = opened(directory, **changes)
    with pytest.raises(StateError, match=message):
        other.latest()
    with pytest.raises(ValueError, match="expected"):
        other.save(step(2))
    assert names(directory) == ["step-1.checkpoint"]


def test_a_renamed_checkpoint_is_refused(directory) -> None:
    opened(directory).save(step(1))
    (directory / "step-1.checkpoint").rename(directory / "step-9.checkpoint")
    with pytest.raises(StateError, match=r"its step is 1, expected 9"):
        opened(directory).latest()


def test_a_newer_release_is_named(directory, monkeypatch) -> None:
    saved = opened(directory)
    with monkeypatch.context() as patch:
        newer = dataclasses.replace(module._CONTAINER, version=2)
        patch.setattr(module, "_CONTAINER", newer)
        saved.save(step(1))
    with pytest.raises(StateError, match=r"written by another release \(format version 2"):
        saved.latest()


@pytest.mark.parametrize(
    "change", [{"step": "1"}, {"step": -1}, {"transcript": "x"}, {"more": 1}, {"cohort": 5}]
)
def test_a_header_that_no_program_writes_is_refused(directory, change) -> None:
    saved = opened(directory)
    saved.save(step(1))
    path = directory / "step-1.checkpoint"
    header, _, _ = module._CONTAINER.unpack(path.read_bytes(), source="x").partition(b"\n")
    changed = json.dumps({**json.loads(header), **change}).encode()
    write_atomic(path, module._CONTAINER.pack(changed, b"\nstate"))
    with pytest.raises(StateError, match="its header is wrong"):
        saved.latest()


def test_what_a_crash_left_behind_is_removed(directory) -> None:
    opened(directory).save(step(1))
    (directory / ".step-2.checkpoint.abc").write_bytes(b"half")
    assert opened(directory).latest() == step(1)
    assert names(directory) == ["step-1.checkpoint"]


def test_a_directory_that_cannot_be_used(tmp_path) -> None:
    with pytest.raises(StateError, match="cannot be used"):
        opened(tmp_path / "none" / "checkpoints").save(step(1))
    (tmp_path / "file").write_text("x")
    with pytest.raises(StateError, match="cannot be used"):
        opened(tmp_path / "file")
    (tmp_path / "checkpoints" / "step-1.checkpoint").mkdir(parents=True)
    with pytest.raises(StateError, match="cannot be read"):
        opened(tmp_path / "checkpoints").latest()
