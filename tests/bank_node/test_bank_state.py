"""The state directory: private, atomic, never half made."""

import stat
from pathlib import Path

import pytest

from bank_node.config import BankConfig
from bank_node.files import write_atomic, write_stream
from bank_node.state import StateDirectory
from fraudfed.errors import StateError


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(root)): (path.stat().st_mode, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def state(tmp_path, key_package) -> StateDirectory:
    return StateDirectory.create(tmp_path / "bank", BankConfig(name="bank-a"), key_package)


def test_everything_is_private(state, make_spec, key_package) -> None:
    state.save_token("t")
    state.pin_run("r1", make_spec(key_package))
    state.save_result("r1", b"{}", {"trees": 1})
    with state.locked():
        pass
    for path in (state.path, *state.path.rglob("*")):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_what_was_saved_is_read_again(state, make_spec, key_package) -> None:
    config = state.config.model_copy(update={"aggregator": "https://a.example", "run_id": "r1"})
    state.save_config(config)
    state.save_token("t")
    state.pin_run("r1", make_spec(key_package))
    state.save_result("r1", b"{}", {"trees": 1})
    again = StateDirectory(state.path)
    assert again.config == config
    assert again.token() == "t"
    assert again.current_run() == ("r1", make_spec(key_package))
    assert again.record("r1") == {"trees": 1}
    assert again.key_package().fingerprint == key_package.fingerprint


def test_a_second_init_changes_nothing(state, key_package) -> None:
    before = snapshot(state.path)
    with pytest.raises(StateError, match="already the state directory"):
        StateDirectory.create(state.path, BankConfig(name="bank-b"), key_package)
    assert snapshot(state.path) == before
    assert [path.name for path in state.path.parent.iterdir()] == ["bank"]


def test_a_foreign_directory_is_left_alone(tmp_path, key_package) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(StateError, match="not an empty directory"):
        StateDirectory.create(tmp_path, BankConfig(name="bank-a"), key_package)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(StateError, match="not the state directory of a bank"):
        StateDirectory(tmp_path)
    with pytest.raises(StateError, match="no such state directory"):
        StateDirectory(tmp_path / "none")


def test_a_place_that_cannot_be_written(tmp_path, key_package) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StateError, match="cannot be used"):
        StateDirectory.create(tmp_path / "file" / "bank", BankConfig(name="a"), key_package)
    with pytest.raises(StateError, match="cannot be written"):
        write_atomic(tmp_path / "none" / "x", b"")


def test_a_write_that_fails_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(stream) -> None:
        stream.write(b"new")
        raise OSError(28, "No space left on device")

    with pytest.raises(StateError, match="No space left"):
        write_stream(path, fail, mode=0o600)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "not readable as TOML"),
        ('format_version = 2\nname = "a"', "format_version is 2"),
        ('name = "a"', "format_version is None"),
        ('format_version = 1\nname = "A B"', "name is 'A B'"),
        ('format_version = 1\nname = "a"\nextra = 1', "extra"),
        ('format_version = 1\nname = "a"\nrun_id = "../x"', "run_id"),
        ('format_version = 1\nname = "a"\nmin_cohort = 0', "min_cohort"),
    ],
)
def test_a_damaged_bank_toml_is_named(state, text, message) -> None:
    (state.path / "bank.toml").write_text(text)
    with pytest.raises(StateError, match=message):
        StateDirectory(state.path)


def test_a_damaged_run_is_named(state, make_spec, key_package) -> None:
    state.pin_run("r1", make_spec(key_package))
    for name, read in (("run.json", state.pinned_run), ("record.json", state.record)):
        (state.path / "runs" / "r1" / name).write_text("{")
        with pytest.raises(StateError, match=name):
            read("r1")


def test_two_holders_of_one_directory(state) -> None:
    other = StateDirectory(state.path)
    with state.locked(), pytest.raises(StateError, match="another bank-node"), other.locked():
        pass
    with other.locked():
        pass
