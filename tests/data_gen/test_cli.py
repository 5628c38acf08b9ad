"""The command: options, exit codes, one line per error, and what ``describe`` prints."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from data_gen.catalogue import PURPOSES, SCHEMAS
from data_gen.cli import main
from data_gen.credit.plots import CREDIT_PLOT_NAMES
from data_gen.describing.plots import PLOT_NAMES
from data_gen.writing.output import Progress
from data_gen.writing.progress_bar import progress_bar

SMALL = ("--banks", "3", "--customers", "90", "--days", "14")


def _run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["data-gen", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    code = int(end.value.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_generate_then_describe_and_validate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = str(tmp_path / "world")
    code, stdout, stderr = _run(
        monkeypatch, capsys, "generate", "--out", out, "--format", "both", *SMALL
    )
    assert (code, stdout) == (0, "")
    assert "transactions of 3 banks" in stderr
    assert (tmp_path / "world" / "bank_c" / "transactions.csv").is_file()
    plots = tmp_path / "plots"
    code, stdout, stderr = _run(monkeypatch, capsys, "describe", out, "--plots", str(plots))
    assert (code, stderr) == (0, "")
    for expected in ("bank_a", "bank_c", "2025-01-01", "card not present", "ecommerce"):
        assert expected in stdout
    assert {path.stem for path in plots.iterdir()} == set(PLOT_NAMES)
    assert stdout.count(str(plots)) == len(PLOT_NAMES)
    code, stdout, stderr = _run(monkeypatch, capsys, "validate", out)
    assert (code, stderr) == (0, "")
    assert "in 6 files, no fault" in stdout


def test_credit_is_generated_described_and_validated_by_the_same_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out, plots = tmp_path / "credit", tmp_path / "plots"
    options = ("--preset", "credit", "--banks", "3", "--customers", "600", "--seed", "7")
    dials = ("--set", "default_rate=0.1", "--workers", "2")
    found = _run(monkeypatch, capsys, "generate", "--out", str(out), *options, *dials)
    assert found[0] == 0
    assert "applications of 3 banks" in found[2]
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["preset"], manifest["seed"], manifest["kind"]) == ("credit", 7, "credit")
    assert manifest["config"]["default_rate"] == 0.1
    code, stdout, _ = _run(monkeypatch, capsys, "describe", str(out), "--plots", str(plots))
    assert code == 0
    for expected in ("bank_c", "self_employed", "65+", "female"):
        assert expected in stdout
    assert {path.stem for path in plots.iterdir()} == set(CREDIT_PLOT_NAMES)
    code, stdout, _ = _run(monkeypatch, capsys, "validate", str(out))
    assert (code, "no fault" in stdout) == (0, True)


def test_every_dial_is_reached_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "world"
    dials = ("--set", "fraud_travel=0.25", "--set", "dirichlet=5", "--set", "drift_days=7,9")
    code, _, _ = _run(monkeypatch, capsys, "generate", "--out", str(out), "--quiet", *SMALL, *dials)
    assert code == 0
    config = json.loads((out / "manifest.json").read_text())["config"]
    assert (config["fraud_travel"], config["dirichlet"]) == (0.25, 5.0)
    assert (config["drift_days"], config["banks"]) == ([7, 9], 3)


def test_presets_are_listed_with_their_purpose(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, stdout, _ = _run(monkeypatch, capsys, "presets")
    assert code == 0
    for name, purpose in PURPOSES.items():
        assert name in stdout
        assert " ".join(purpose.split()[:3]) in stdout


@pytest.mark.parametrize("kind", ["transactions", "credit"])
def test_the_schema_is_printed_for_people_and_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    code, stdout, _ = _run(monkeypatch, capsys, "schema", "--kind", kind, "--json")
    assert code == 0
    assert json.loads(stdout) == SCHEMAS[kind].as_dict()
    code, stdout, _ = _run(monkeypatch, capsys, "schema", "--kind", kind)
    assert code == 0
    for column in SCHEMAS[kind].columns:
        assert column.name in stdout


def test_faults_are_listed_and_end_with_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "world"
    _run(monkeypatch, capsys, "generate", "--out", str(out), "--format", "csv", "--quiet", *SMALL)
    path = out / "bank_c" / "transactions.csv"
    lines = path.read_text().splitlines()
    amount = lines[0].split(",").index("amount_minor")
    for number in (1, 2, 4):
        fields = lines[number].split(",")
        lines[number] = ",".join([*fields[:amount], "0", *fields[amount + 1 :]])
    path.write_text("\n".join(lines) + "\n")
    code, stdout, stderr = _run(monkeypatch, capsys, "validate", str(path), "--most-faults", "2")
    assert code == 3
    assert stdout.splitlines() == [
        f"{path}: row {row}, column 'amount_minor': got 0, expected a whole number of at least 1"
        for row in (1, 2)
    ]
    assert stderr.startswith(f"error: {path}: 2 faults")
    assert stderr.count("\n") == 1
    code, stdout, _ = _run(monkeypatch, capsys, "validate", str(out))
    size = (out / "manifest.json").read_text().split('"bytes": ')[3].split(",")[0]
    assert (code, stdout.splitlines()[0].endswith(f"expected {size} bytes")) == (3, True)


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
        (("--set", "bank=3"), 2, "no dial 'bank'"),
        (("--seed", "3", "--set", "seed=4"), 2, "seed is given as --seed as well"),
        (("--preset", "credit", "--fraud-rate", "0.01"), 2, "--fraud-rate: does not apply"),
        (("--preset", "credit", "--set", "fraud_travel=1"), 2, "no dial 'fraud_travel'"),
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
        (("validate", str(tmp_path)), 3),
        (("validate", str(tmp_path / "none.csv")), 3),
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
    assert (done.returncode, done.stdout) == (2, "")
    assert "generate" in done.stderr
    assert "describe" in done.stderr


def test_the_bar_shows_both_phases_on_a_terminal_and_nothing_elsewhere() -> None:
    shown = []
    for is_terminal in (True, False):
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=is_terminal, width=120)
        with progress_bar(console) as on_progress:
            on_progress(Progress("making", 3, 9))
            on_progress(Progress("writing", 100_000, 900_000))
        shown.append(stream.getvalue())
    assert "making parts" in shown[0]
    assert "writing rows" in shown[0]
    assert "100000/900000" in shown[0]
    assert shown[1].strip() == ""
