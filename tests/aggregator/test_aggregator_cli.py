"""The command ``aggregator``: what it prints, its exit codes, one line for each failure."""

import json
import sqlite3
import stat
from pathlib import Path

import pytest
from aggregator_federation import TestKey, make_spec
from aggregator_process import ServerProcess, run_command

from aggregator import run_machine
from aggregator.cli import cli
from aggregator.config import ServiceConfig, load_config
from aggregator.effects import Payload
from aggregator.state_directory import StateDirectory
from aggregator.store import StaleError, Store
from fraudfed import __version__
from fraudfed.errors import ConfigurationError, StateError
from fraudfed.wire.messages import RunSpec


def assert_fails(result: object, code: int, *words: str) -> None:
    assert result.returncode == code, result  # type: ignore[attr-defined]
    text = result.stderr  # type: ignore[attr-defined]
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    for word in words:
        assert word in text


def test_init_makes_a_private_directory_once(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "a" / "state")
    assert run_command("init", "--state", str(state.path)).returncode == 0
    assert stat.S_IMODE(state.operator_token.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.database.stat().st_mode) == 0o600
    token = state.operator_token.read_text()
    assert len(token.strip()) >= 43
    assert token.strip().encode() not in state.database.read_bytes()
    assert_fails(run_command("init", "--state", str(state.path)), 5, "already holds an aggregator")
    assert state.operator_token.read_text() == token


def test_init_repeats_a_creation_that_was_cut_off(tmp_path: Path) -> None:
    (tmp_path / "operator.token").write_text("stale")
    (tmp_path / "aggregator.db.new").write_text("half written")
    state = StateDirectory(tmp_path)
    state.create()
    state.open_store().close()
    assert state.operator_token.read_text() != "stale"


def test_unusable_state_directories(tmp_path: Path) -> None:
    assert_fails(run_command("serve", "--state", str(tmp_path / "none")), 5, "aggregator init")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StateError, match="cannot be written"):
        StateDirectory(file / "state").create()
    (tmp_path / "aggregator.db").write_bytes(b"this is no database " * 100)
    assert_fails(run_command("serve", "--state", str(tmp_path)), 5, "cannot be read")
    (tmp_path / "aggregator.db").unlink()
    sqlite3.connect(tmp_path / "aggregator.db").close()
    with pytest.raises(StateError, match="not an aggregator's"):
        StateDirectory(tmp_path).open_store()


def test_a_newer_schema_is_refused_by_name(state: StateDirectory) -> None:
    connection = sqlite3.connect(state.database)
    connection.execute("UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    connection.commit()
    connection.close()
    assert_fails(run_command("serve", "--state", str(state.path)), 5, "schema version 2", "needs 1")


def test_the_database_is_durable_and_guarded(store: Store, key: TestKey) -> None:
    with store._read() as session:
        connection = session.connection()
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    # A write that was planned on an older version of the run is refused.
    store.register_bank("bank-a", "0" * 64)
    store.register_bank("bank-b", "1" * 64)
    run_id = store.create_run(RunSpec.model_validate(make_spec(key)))
    before = store.snapshot(run_id)
    steps = [
        run_machine.advance(before.run, None, run_machine.Join(bank))
        for bank in ("bank-a", "bank-b")
    ]
    store.commit(before, steps[0], Payload())
    with pytest.raises(StaleError):
        store.commit(before, steps[1], Payload())
    assert store.status(run_id).members == ("bank-a",)


def test_a_second_service_on_one_directory_is_refused(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.state_directory._LOCK_SECONDS", 0.2)
    with (
        state.locked(),
        pytest.raises(StateError, match="served by another"),
        StateDirectory(state.path).locked(),
    ):
        pass
    with state.locked():
        pass


def test_the_operator_opens_lists_shows_and_ends_runs(
    state: StateDirectory, key: TestKey, tmp_path: Path
) -> None:
    spec = tmp_path / "run.json"
    spec.write_text(json.dumps(make_spec(key)))
    with ServerProcess(state.path) as server:
        login = ["--url", server.url, "--token-file", str(state.operator_token)]
        created = run_command("runs", "create", *login, "--spec", str(spec))
        assert created.returncode == 0, created.stderr
        run_id = created.stdout.strip()
        listed = run_command("runs", "list", *login).stdout
        assert listed.startswith(run_id)
        assert "0/3 banks" in listed
        ended = run_command("runs", "abort", *login, run_id, "--reason", "wrong spec")
        assert "failure:        operator: wrong spec" in ended.stdout
        shown = json.loads(run_command("runs", "show", *login, run_id, "--json").stdout)
        assert shown["state"] == "failed"
        assert_fails(run_command("runs", "show", *login, "x"), 8, "no run 'x'")
        assert_fails(run_command("runs", "show", *login, "../x"), 2, "run id")
        spec.write_text('{"name": "x"}')
        assert_fails(run_command("runs", "create", *login, "--spec", str(spec)), 8, "cohort_size")
        (tmp_path / "token").write_text("unknown\n")
        wrong = ["--url", server.url, "--token-file", str(tmp_path / "token")]
        assert_fails(run_command("runs", "list", *wrong), 7, "unknown to this aggregator")
    assert_fails(run_command("runs", "list", *login), 6, "not reachable")


def test_usage_errors_are_one_line(tmp_path: Path) -> None:
    assert_fails(run_command(), 2, "Missing command")
    assert_fails(run_command("serve"), 2, "--state")
    token = ["--token-file", str(tmp_path / "none")]
    assert_fails(run_command("runs", "list", *token), 2, "token file")
    (tmp_path / "token").write_text("t\n")
    login = ["--token-file", str(tmp_path / "token"), "--url", "ftp://x"]
    assert_fails(run_command("runs", "list", *login), 2, "--url")
    missing = ["--spec", str(tmp_path / "none.json")]
    assert_fails(run_command("runs", "create", *login, *missing), 2, "run description")


def test_version_and_openapi() -> None:
    assert run_command("--version").stdout.strip() == f"aggregator, version {__version__}"
    assert json.loads(run_command("openapi").stdout)["openapi"] == "3.1.0"


def test_json_logs_are_one_object_per_line(state: StateDirectory) -> None:
    options = ("--log-format", "json")
    server = ServerProcess(state.path, group_options=options)
    with server:
        server("GET", "/v1/health", headers={"X-Request-Id": "r-1"})
        server.stop()
    lines = [json.loads(line) for line in server.log().splitlines()]
    (request,) = [line for line in lines if line["logger"] == "aggregator.request"]
    assert request["path"] == "/v1/health"
    assert request["status"] == 200
    assert request["request_id"] == "r-1"
    assert request["duration_ms"] >= 0


def test_settings_come_from_a_json_file(tmp_path: Path) -> None:
    assert load_config(None) == ServiceConfig()
    file = tmp_path / "settings.json"
    file.write_text('{"max_body_bytes": 2048, "threads": 8}')
    assert load_config(file) == ServiceConfig(max_body_bytes=2048, threads=8)
    for text, word in (('{"colour": 1}', "colour"), ('{"threads": 1}', "threads"), ("{", "file")):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=word):
            load_config(file)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_config(tmp_path / "none")


def test_every_option_is_explained() -> None:
    pending = [cli]
    while pending:
        command = pending.pop()
        assert command.help
        pending += getattr(command, "commands", {}).values()
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert parameter.help, (command.name, parameter.name)


def test_every_setting_and_command_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    for name, field in ServiceConfig.model_fields.items():
        default = str(field.default).lower()
        assert f"| `{name}` | {default} |" in text
    for name in cli.commands:
        assert f"`aggregator {name}" in text
