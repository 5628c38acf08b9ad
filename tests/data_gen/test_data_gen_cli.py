"""The command: options, exit codes, one line per error, and what ``describe`` prints."""

import subprocess
import sys
from pathlib import Path

import pytest

from data_gen.cli import main

SMALL = ("--banks", "3", "--customers", "90", "--days", "14")


def _run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["data-gen", *arguments])
    try:
        main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_generate_then_describe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = str(tmp_path / "world")
    code, stdout, stderr = _run(
        monkeypatch, capsys, "generate", "--out", out, "--format", "both", *SMALL
    )
    assert (code, stdout) == (0, "")
    assert "transactions of 3 banks" in stderr
    assert (tmp_path / "world" / "bank_c" / "transactions.csv").is_file()
    code, stdout, stderr = _run(monkeypatch, capsys, "describe", out)
    assert (code, stderr) == (0, "")
    for expected in ("bank_a", "bank_c", "2025-01-01", "card not present", "ecommerce"):
        assert expected in stdout


def test_quiet_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = str(tmp_path / "world")
    assert _run(monkeypatch, capsys, "generate", "--out", out, "--quiet", *SMALL) == (0, "", "")
    assert not (tmp_path / "world" / "bank_a" / "transactions.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--banks", "0"), 2, "banks: got 0, expected"),
        (("--customers", "x"), 2, "'x' is not a valid integer"),
        (("--days", "3"), 2, "days: got 3"),
        (("--preset", "none"), 2, "--preset"),
        (("--workers", "0"), 2, "workers: got 0"),
        (("--fraud-rate", "0.5"), 2, "fraud_rate: got 0.5"),
        (("--unknown",), 2, "--unknown"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    found, stdout, stderr = _run(
        monkeypatch, capsys, "generate", "--out", str(tmp_path / "world"), *arguments
    )
    assert (found, stdout) == (code, "")
    assert message in stderr
    assert stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_directories_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").touch()
    for arguments, expected in (
        (("generate", "--out", str(tmp_path)), 5),
        (("generate", "--out", str(tmp_path / "mine.txt")), 5),
        (("generate", "--out", str(tmp_path / "mine.txt" / "below")), 5),
        (("describe", str(tmp_path)), 3),
    ):
        code, stdout, stderr = _run(monkeypatch, capsys, *arguments)
        assert (code, stdout, stderr.count("\n")) == (expected, "", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_installed_command_helps() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from data_gen.cli import main; main()"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "generate" in done.stdout
    assert "describe" in done.stdout
