"""``--json`` of all commands: one document on stdout whichever way they end, as documented."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from cli_programs import COMMANDS, PROGRAMS, Ended, run_program
from federations.server_process import ServerProcess

from aggregator.service.state_directory import StateDirectory
from bank_node.http.retry import RetryPolicy
from fraudfed.console import (
    EXIT_TERMINATED,
    OTHER_ENDS,
    ErrorDocument,
    answer_of,
    run_command,
    schemas_of,
)
from fraudfed.errors import DataError, FraudFedError, error_classes

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "cli.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_a_schema_and_a_line_in_the_docs(name: str) -> None:
    command = COMMANDS[name]
    assert "--json" in [option for parameter in command.params for option in parameter.opts]
    shape = answer_of(command)
    program, _, words = name.partition(" ")
    schemas = json.loads((DOCS / "schemas" / f"{program}.json").read_text())
    assert schemas["commands"][words]["title"] == shape.__name__
    shown = re.escape(shape.__name__)
    row = rf"^\| `{name}` \| .+ \| \[`{shown}`\]\(schemas/{program}.json\) \|$"
    assert re.search(row, PAGE, re.MULTILINE), f"docs/cli.md has no row for {name}: {row}"


def test_the_docs_have_no_other_command() -> None:
    listed = re.findall(r"^\| `((?:aggregator|bank-node|data-gen|fraudfed) [^`]+)` \|", PAGE, re.M)
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_published_schemas_are_those_of_the_code(program: str) -> None:
    # If this fails: {program} --json-schemas > docs/schemas/{program}.json
    published = json.loads((DOCS / "schemas" / f"{program}.json").read_text())
    assert published == schemas_of(PROGRAMS[program][0])
    printed = run_program(program, "--json-schemas")
    assert (printed.code, json.loads(printed.out)) == (0, published)


def test_every_kind_of_error_is_documented_with_code_and_advice() -> None:
    found = re.findall(r"^\| `([a-z-]+)` \| (\d+) \| (.+) \|$", PAGE, re.MULTILINE)
    expected = {slug: (cls.exit_code, cls.what_to_do) for slug, cls in error_classes().items()}
    expected |= OTHER_ENDS
    assert {kind: (int(code), advice) for kind, code, advice in found} == expected


@pytest.mark.parametrize("cls", error_classes().values(), ids=lambda cls: cls.__name__)
def test_every_error_says_what_to_do(cls: type[FraudFedError]) -> None:
    assert "what_to_do" in vars(cls), "a twin of its own, not the parent's"
    assert cls.what_to_do[0].isupper()
    assert cls.what_to_do.endswith(".")


def test_an_error_can_know_better_what_to_do() -> None:
    error = DataError("row 3 is wrong", what_to_do="delete it")
    assert (str(error), error.what_to_do) == ("row 3 is wrong; delete it", "delete it")
    assert DataError("row 3 is wrong").what_to_do == DataError.what_to_do


def end(failure: BaseException | None, capsys: Any, monkeypatch: Any, *arguments: str) -> Ended:
    @click.command()
    @click.option("--json", is_flag=True, expose_value=False)
    def command() -> None:
        if failure is not None:
            raise failure

    monkeypatch.setattr("sys.argv", ["test", *arguments])
    with pytest.raises(SystemExit) as stop:
        run_command(command, prog_name="test")
    out, err = capsys.readouterr()
    return Ended(stop.value.code, out, err)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (DataError("row 3 is wrong"), "data"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(EXIT_TERMINATED), "terminated"),
        (click.UsageError("wrong"), "usage"),
        (ZeroDivisionError("secret"), "defect"),
    ],
)
def test_every_end_is_a_document(failure, kind, capsys, monkeypatch) -> None:
    ended = end(failure, capsys, monkeypatch, "--json")
    ended.error(kind)
    assert "secret" not in ended.out + ended.err
    assert set(json.loads(ended.out)) == {"error"}
    as_text = end(failure, capsys, monkeypatch)
    assert (as_text.code, as_text.out) == (ended.code, "")
    assert as_text.err.count("\n") == 1 + (kind == "interrupted"), "click ends the line of a ^C"


def test_only_a_terminated_command_says_so(capsys, monkeypatch) -> None:
    assert end(SystemExit(3), capsys, monkeypatch, "--json") == Ended(3, "", "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_wrong_usage_is_a_document(program: str) -> None:
    for arguments in (("--json", "x"), ("unknown", "--json"), ("--unknown", "x", "--json")):
        run_program(program, *arguments).error("usage")


def test_the_generator_answers(tmp_path: Path) -> None:
    def run(*arguments: str | Path) -> Ended:
        return run_program("data-gen", *arguments, "--json")

    assert run("presets").answer("data-gen presets")["presets"][0]["name"] == "small"
    assert run("schema", "--kind", "credit").answer("data-gen schema")["kind"] == "credit"
    world = tmp_path / "world"
    size = ("--banks", "3", "--customers", "90", "--days", "14", "--format", "csv")
    made = run("generate", "--out", world, *size).answer("data-gen generate")
    manifest = json.loads((world / "manifest.json").read_text())
    assert made["rows"] == manifest["rows"]
    assert made["content_sha256"] == manifest["content_sha256"]
    described = run("describe", world).answer("data-gen describe")
    assert described["manifest"] == manifest
    assert all(len(row) == len(t["columns"]) for t in described["tables"] for row in t["rows"])
    checked = run("validate", world).answer("data-gen validate")
    assert (checked["rows"], checked["faults"]) == (manifest["rows"], [])
    run("generate", "--out", world).error("state")
    run("generate", "--out", tmp_path / "none", "--days", "3").error("configuration")
    run("describe", tmp_path).error("data")
    path = world / "bank_a" / "transactions.csv"
    path.write_text(path.read_text().replace("pos", "shop", 1))
    found = run("validate", path).error("data")
    assert found.result["faults"][0]["row"] == 1 + [
        "shop" in line for line in path.read_text().splitlines()[1:]
    ].index(True)


def test_the_tools_answer() -> None:
    recipe = run_program("fraudfed", "features", "--json").answer("fraudfed features")
    assert len(recipe["features"]) > 30
    counted = run_program(
        *("fraudfed", "bench", "ciphertexts", "--rows", "200", "--features", "2", "--trees", "1"),
        *("--max-depth", "2", "--max-bin", "4", "--key-bits", "2048", "--json"),
    ).answer("fraudfed bench ciphertexts")
    assert counted["ciphertexts"] > 0
    run_program("fraudfed", "demo", "--label", "x", "--json").error("configuration")
    run_program("fraudfed", "demo", "--out", __file__, "--json").error("state")


def test_an_aggregators_state_directory_answers(tmp_path: Path) -> None:
    def run(*arguments: str | Path) -> Ended:
        return run_program("aggregator", *arguments, "--state", tmp_path / "a", "--json")

    run("migrate").error("state")
    assert Path(run("init").answer("aggregator init")["operator_token_file"]).exists()
    run("init").error("state")
    migrated = run("migrate").answer("aggregator migrate")
    assert migrated["version_before"] == migrated["version"]
    out = tmp_path / "copy.db"
    assert run("backup", "--out", out).answer("aggregator backup")["out"] == str(out)
    create = ("tokens", "create", "--role", "viewer", "--name", "eve")
    token = run(*create).answer("aggregator tokens create")["token"]
    run(*create).error("conflict")
    listed = run("tokens", "list").answer("aggregator tokens list")["tokens"]
    assert "eve" in [one["name"] for one in listed]
    assert token not in json.dumps(listed)
    assert run("tokens", "revoke", "eve").answer("aggregator tokens revoke") == {"name": "eve"}
    run("tokens", "revoke", "nobody").error("not-found")
    verified = run("audit", "verify").answer("aggregator audit verify")
    entries = run("audit", "show").answer("aggregator audit show")["entries"]
    assert len(entries) == verified["entries"] > 0
    run("audit", "verify", "--expect", "x").error("configuration")
    openapi = run_program("aggregator", "openapi", "--json").answer("aggregator openapi")
    assert openapi["openapi"] == "3.1.0"


@pytest.mark.e2e
def test_an_operator_gets_answers_from_a_running_aggregator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = StateDirectory(tmp_path / "a")
    state.create()
    monkeypatch.setenv("AGGREGATOR_TOKEN_FILE", str(state.operator_token))

    def run(*arguments: str) -> Ended:
        return run_program("aggregator", *arguments, "--json")

    with ServerProcess(state.path) as server:
        monkeypatch.setenv("AGGREGATOR_URL", server.url)
        invited = run("invites", "create", "--name", "bank-a").answer("aggregator invites create")
        assert invited["code"]
        assert run("banks", "list").answer("aggregator banks list")["members"] == []
        assert run("runs", "list").answer("aggregator runs list")["runs"] == []
        run("epochs", "show").error("not-found")
        run("banks", "remove", "bank-b").error("not-found")
        run("runs", "show", "../x").error("configuration")
    run("runs", "list").error("transport")


@pytest.mark.e2e
def test_a_service_says_in_json_where_it_listens(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "a")
    state.create()
    command = str(Path(sys.executable).with_name("aggregator"))
    with subprocess.Popen(
        [command, "--quiet", "serve", "--state", str(state.path), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert re.fullmatch(r"http://127.0.0.1:\d+", json.loads(line)["url"])
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ""
        assert process.wait(timeout=60) == 0
    run_program("aggregator", "serve", "--state", tmp_path / "none", "--json").error("state")


def test_a_bank_answers_without_an_aggregator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bank_node.http.client.RetryPolicy", lambda: RetryPolicy(patience_seconds=0.2)
    )
    where = ("--state", tmp_path / "bank", "--json")
    join = ("join", "--name", "bank-a", "--aggregator", "http://127.0.0.1:9", "--invite", "A" * 43)

    def run(*arguments: str | Path) -> Ended:
        return run_program("bank-node", "--quiet", *arguments, *where)

    run("status").error("state")
    run(*join).error("transport")
    known = run("status").answer("bank-node status")
    assert (known["name"], known["registered"], known["run"]) == ("bank-a", False, None)
    assert run("keys", "show").answer("bank-node keys show") == {"key_epochs": []}
    assert run("audit", "verify").answer("bank-node audit verify")["compared_runs"] is None
    assert "registration" in str(run("audit", "explain").answer("bank-node audit explain"))
    assert run("risk", "show").answer("bank-node risk show") == {"runs": [], "gaps": []}
    run("roster").error("state")
    run("join", "--name", "No Name", *join[3:]).error("usage")


@pytest.mark.parametrize("no_color", [None, "1"])
def test_no_color_is_respected_on_a_terminal(tmp_path: Path, no_color: str | None) -> None:
    """The bar and the table of real commands, on a pseudo-terminal."""
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "120"}
    environment |= {} if no_color is None else {"NO_COLOR": no_color}
    programs = Path(sys.executable).parent
    size = ("--customers", "3000", "--days", "60")
    shown = ""
    for command in (
        (programs / "data-gen", "generate", "--out", tmp_path / "world", *size),
        (programs / "data-gen", "presets"),
    ):
        shown += on_a_terminal([str(word) for word in command], environment)
    assert "presets of data-gen" in shown
    colours = re.findall(r"\x1b\[[0-9;]*?\b(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[0-9;]*m", shown)
    assert bool(colours) == (no_color is None), colours[:5]


def on_a_terminal(command: list[str], environment: dict[str, str]) -> str:
    master, terminal = os.openpty()
    with subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    ) as process:
        os.close(terminal)
        parts = []
        # Linux ends the reading of a closed terminal with an error.
        try:
            while part := os.read(master, 65_536):
                parts.append(part)
        except OSError:
            pass
        process.wait(timeout=60)
    os.close(master)
    return b"".join(parts).decode(errors="replace")


def test_no_module_makes_a_console_of_its_own() -> None:
    root = Path(__file__).parents[2]
    found = [
        str(path.relative_to(root))
        for package in ("aggregator", "bank_node", "data_gen", "fraudfed")
        for path in (root / package).rglob("*.py")
        if re.search(r"\b(?:Console|_console_class\(own_text\))\(", path.read_text())
    ]
    assert found == ["fraudfed/console.py"]


@pytest.mark.parametrize(
    ("program", "typed", "expected"),
    [
        ("bank-node", "bank-node ke", "keys"),
        ("bank-node", "bank-node keys a", "accept"),
        ("bank-node", "bank-node train --js", "--json"),
        ("aggregator", "aggregator runs dr", "drop-bank"),
        ("data-gen", "data-gen generate --preset aml", "aml-mules"),
        ("fraudfed", "fraudfed bench pari", "parity"),
    ],
)
def test_the_shell_completes(program: str, typed: str, expected: str) -> None:
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    command = str(Path(sys.executable).with_name(program))
    assert f"{variable}=bash_source {program}" in PAGE
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    done = subprocess.run(
        [command],
        env={**os.environ, **words, variable: "bash_complete"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"plain,{expected}" in done.stdout.splitlines()


def test_the_completion_script_is_printed() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("bank-node"))],
        env={**os.environ, "_BANK_NODE_COMPLETE": "bash_source"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "complete -o nosort -F _bank_node_completion bank-node" in done.stdout


def test_an_error_document_is_known_by_one_key() -> None:
    """No answer has ``error`` on top, so that one look tells which of the two it is."""
    for command in COMMANDS.values():
        assert "error" not in getattr(answer_of(command), "model_fields", {})
    assert "error" in ErrorDocument.model_fields
