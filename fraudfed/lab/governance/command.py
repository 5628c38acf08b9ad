"""``fraudfed governance build`` and ``check``."""

from pathlib import Path

import click

from fraudfed.console import Answer, answers, examples, say
from fraudfed.durable_file import write_atomic
from fraudfed.errors import StateError
from fraudfed.lab.governance.documents import TITLES, build
from fraudfed.lab.governance.records import Records

_PATH = click.Path(path_type=Path)
_MARK = "figures.json"


class BuiltGovernance(Answer):
    """``governance build``.

    Attributes
    ----------
    out : str
    run_id : str
    files : tuple of str
    figures, open_points : int
        Values with a source, and points for people, of all documents.
    """

    out: str
    run_id: str
    files: tuple[str, ...]
    figures: int
    open_points: int


class CheckedGovernance(Answer):
    """``governance check``: every file is what the records give.

    Attributes
    ----------
    folder : str
    run_id : str
    files : tuple of str
    """

    folder: str
    run_id: str
    files: tuple[str, ...]


def _show_built(built: BuiltGovernance) -> None:
    say(
        f"{built.out}: {len(built.files)} files, {built.figures} figures with their sources, "
        f"{built.open_points} open points for people; begin with index.md"
    )


def _show_checked(checked: CheckedGovernance) -> None:
    say(f"{checked.folder}: {len(checked.files)} files, all as the records of the run give them")


@click.group()
def governance() -> None:
    """Documents about a run for model risk, data protection and regulators."""


_STATE = click.option(
    "--state",
    type=_PATH,
    required=True,
    metavar="DIR",
    help="State directory of a bank that took part.",
)


@governance.command(
    name="build",
    epilog=examples("fraudfed governance build RUN --state bank-a --out governance"),
)
@click.argument("run")
@_STATE
@click.option("--out", type=_PATH, required=True, metavar="DIR", help="New or earlier folder.")
@answers(BuiltGovernance, _show_built)
def build_command(run: str, state: Path, out: Path) -> BuiltGovernance:
    """Write the documents of RUN from a bank's records, each figure with its source."""
    records = Records.read(state, run)
    files = build(records)
    try:
        if out.exists() and any(out.iterdir()) and not (out / _MARK).is_file():
            raise StateError(
                f"--out {out}: is not empty and was not written by this command; name a new folder"
            )
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomic(out / name, content)
    except OSError as error:
        raise StateError(
            f"--out {out}: cannot be written ({error.strerror}); name a folder you may write to"
        ) from error
    texts = [files[name].decode() for name in TITLES]
    return BuiltGovernance(
        out=str(out),
        run_id=records.run_id,
        files=tuple(sorted(files)),
        figures=sum(text.partition("## Sources")[2].count("| `/") for text in texts),
        open_points=sum(text.count("**OPEN ") for text in texts),
    )


@governance.command(
    name="check", epilog=examples("fraudfed governance check RUN governance --state bank-a")
)
@click.argument("run")
@click.argument("folder", type=_PATH)
@_STATE
@answers(CheckedGovernance, _show_checked)
def check_command(run: str, folder: Path, state: Path) -> CheckedGovernance:
    """Make the documents of RUN again, and compare those in FOLDER line by line."""
    files = build(Records.read(state, run))
    for name, content in sorted(files.items()):
        try:
            found = (folder / name).read_bytes()
        except OSError as error:
            raise StateError(
                f"{folder / name}: cannot be read ({error.strerror}); build the folder again"
            ) from error
        if found != content:
            raise StateError(f"{folder / name}: {_difference(found, content)}")
    return CheckedGovernance(folder=str(folder), run_id=run, files=tuple(sorted(files)))


def _difference(found: bytes, expected: bytes) -> str:
    """Say where a document is not what the records give."""
    lines = found.decode("utf-8", "replace").splitlines()
    right = expected.decode().splitlines()
    for number, (line, wanted) in enumerate(zip(lines, right, strict=False), start=1):
        if line != wanted:
            return (
                f"line {number} is {line[:120]!a}, the records give {wanted[:120]!a}; it was "
                "edited, or the records have changed: build the folder again"
            )
    return (
        f"has {len(lines)} lines, the records give {len(right)}; it was edited, or the records "
        "have changed: build the folder again"
    )
