"""Text from others reaches terminals and logs as one visible line, by one function."""

import ast
import io
import json
import logging
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from aggregator.monitoring import logs as aggregator_logs
from bank_node import logs as bank_logs
from fraudfed import console
from fraudfed.foreign_text import visible, visible_json, visible_lines

ROOT = Path(__file__).parents[2]

#: A title, a cleared screen, C1's CSI, a line that looks like one of ours, orders of letters.
HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J\x9b2J\nerror: none\r2026-01-01 ERROR forged"
    "\u2028next\u2029\u0085\u202egnp.exe\u2066\u200b\x00\x7f"
)


@given(st.text(), st.integers(1, 50))
@example(HOSTILE, 2000)
@example("\ud800 lone", 10)
def test_what_is_visible_is_one_printable_bounded_line(text: str, limit: int) -> None:
    shown = visible(text, limit)
    assert shown.isprintable()
    assert len(shown) <= 10 * limit + 40
    if text.isprintable() and len(text) <= limit:
        assert shown == text
    shown.encode()


@given(st.text(alphabet=st.characters(blacklist_characters="\\", blacklist_categories=["Cs"])))
def test_what_was_escaped_can_be_told(text: str) -> None:
    """Unlike question marks: the escapes are those of Python."""
    assert ast.literal_eval('"' + visible(text, 10_000).replace('"', '\\"') + '"') == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(max_codepoint=999)), inner)
    ),
    max_leaves=8,
)


@given(JSON, st.sampled_from([None, 1, 2]))
@example({HOSTILE: [HOSTILE, "\U000e0001"]}, 2)
def test_a_visible_document_is_the_same_document(value: object, indent: int | None) -> None:
    document = json.dumps(value, indent=indent, ensure_ascii=False)
    shown = visible_json(document)
    assert json.loads(shown) == value
    assert shown.replace("\n", "").isprintable()


def _logger(kind: str, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """Return a logger of a program, whose handler writes into ``stream``."""
    program, form = kind.split()
    monkeypatch.setattr("sys.stderr", stream)
    if program == "aggregator":
        root = logging.getLogger()
        monkeypatch.setattr(root, "handlers", [])
        monkeypatch.setattr(root, "level", root.level)
        aggregator_logs.configure_logging(aggregator_logs.LogFormat(form), quiet=False)
        return logging.getLogger("aggregator.test")
    terminal = Console(file=stream, force_terminal=form == "terminal", width=200, color_system=None)
    for name in bank_logs._PROGRAM_LOGGERS:
        logger = logging.getLogger(name)
        for attribute in ("handlers", "level", "propagate"):
            monkeypatch.setattr(logger, attribute, getattr(logger, attribute))
    log_format = "json" if form == "json" else "text"
    bank_logs.configure_logging(log_format=log_format, level="info", console=terminal)
    return logging.getLogger("bank_node.test")


KINDS = ["aggregator text", "aggregator json", "bank text", "bank json", "bank terminal"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_begins_a_record_of_its_own(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    logger = _logger(kind, stream, monkeypatch)
    logger.info("run %s failed", HOSTILE, extra={"run_id": HOSTILE, "metrics": HOSTILE})
    try:
        int(HOSTILE, 36)
    except ValueError:
        logger.exception("failed: %s", HOSTILE)
    text = stream.getvalue()
    lines = text.splitlines()
    assert not [c for c in text if c != "\n" and not c.isprintable()]
    assert not [line for line in lines if line.startswith(("error:", "2026-01-01 ERROR"))]
    if kind.endswith("json"):
        assert [json.loads(line)["message"] for line in lines] == [
            f"run {HOSTILE} failed",
            f"failed: {HOSTILE}",
        ]


def test_control_a_plain_formatter_lets_a_record_be_forged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("aggregator.monitoring.logs.visible", lambda text: text)
    logger = _logger("aggregator text", stream, monkeypatch)
    logger.info("run %s failed", HOSTILE)
    assert [line for line in stream.getvalue().splitlines() if line.startswith("2026-01-01 ERROR")]
    assert "\x1b" in stream.getvalue()


def test_answers_tables_and_failures_are_visible(capsys: pytest.CaptureFixture[str]) -> None:
    console.say(HOSTILE, "second")
    shown = console.stdout_console()
    table = Table("bank", title=HOSTILE)
    table.add_row(f"[red]{HOSTILE}[/red] :warning:")
    shown.print(table)
    console.say_json(json.dumps({"name": HOSTILE}, ensure_ascii=False))
    text = capsys.readouterr().out
    assert text.splitlines()[1] == "second"
    assert not [c for c in text if c != "\n" and not c.isprintable()]
    assert "[red]" in text
    assert ":warning:" in text


def test_control_a_plain_table_passes_escapes_on(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("bank")
    table.add_row(HOSTILE)
    Console().print(table)
    assert "\x9b" in capsys.readouterr().out


def test_a_traceback_is_set_in() -> None:
    assert visible_lines("a\nb\x1b\nc") == "a\n    b\\x1b\n    c"


#: Calls that write to a terminal, and where they may stand: there, texts are made visible first.
_WRITERS = {"echo", "secho", "echo_via_pager", "print", "Console", "RichHandler", "StreamHandler"}
_PLACES = {
    ("fraudfed/console.py", "echo"),
    ("fraudfed/console.py", "VisibleConsole"),
    ("bank_node/logs.py", "RichHandler"),
    ("bank_node/logs.py", "StreamHandler"),
    ("aggregator/monitoring/logs.py", "StreamHandler"),
    # A table, on a console of fraudfed.console.
    ("bank_node/checking/report.py", "print"),
    *((f"bank_node/commands/{name}.py", "print") for name in ("keys", "members")),
    ("bank_node/commands/runs.py", "print"),
    *((f"bank_node/commands/risk/{name}.py", "print") for name in ("command", "lookup")),
    ("bank_node/commands/statistics.py", "print"),
    *((f"bank_node/commands/training/{name}.py", "print") for name in ("run", "search", "verdict")),
    *((f"bank_node/commands/deciding/{name}.py", "print") for name in ("outcomes", "policy")),
    ("bank_node/commands/evaluate.py", "print"),
    ("bank_node/commands/privacy.py", "print"),
    *((f"bank_node/commands/serving/{name}.py", "print") for name in ("models", "monitor")),
}


def _writers(path: Path) -> set[tuple[str, str]]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name in _WRITERS:
            found.add((str(path.relative_to(ROOT)), name))
        if name in {"write", "writelines"} and isinstance(function, ast.Attribute):
            owner = ast.unparse(function.value)
            if owner.startswith("sys.std"):
                found.add((str(path.relative_to(ROOT)), owner))
    return found


def test_nothing_is_written_to_a_terminal_past_the_function() -> None:
    """A new way to the terminal has to go through ``fraudfed.console``, or is argued here."""
    paths = [
        *(ROOT / "bank_node").rglob("*.py"),
        *(ROOT / "aggregator").rglob("*.py"),
        *(ROOT / "fraudfed" / "features").rglob("*.py"),
        ROOT / "fraudfed" / "console.py",
    ]
    found = set().union(*(_writers(path) for path in paths))
    assert sorted(found - _PLACES) == []


def test_control_the_search_finds_a_raw_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "raw.py"
    path.write_text("click.echo(x)\nprint(x)\nsys.stderr.write(x)\nrich.console.Console()\n")
    assert {name for _, name in _writers(path)} == {"echo", "print", "sys.stderr", "Console"}
