"""The command ``aggregator``: what it prints, its exit codes, one line for each failure."""

import json
import re
import sqlite3
import stat
from pathlib import Path

import click
import pytest
from federations.fake_banks import Federation, TestKey, make_spec
from federations.server_process import (
    ServerProcess,
    assert_fails,
    run_command,
    run_process,
    write_secret,
)

from aggregator import run_machine
from aggregator.cli import cli
from aggregator.config import ServiceConfig, load_config
from aggregator.runs.effects import Payload
from aggregator.runs.store import Accepted, StaleError
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from aggregator.storage.dialect import Kind
from aggregator.storage.schema import SCHEMA_VERSION
from aggregator.storage.transaction import Transaction
from fraudfed import __version__
from fraudfed.consortium.public.fingerprint import fingerprint
from fraudfed.errors import ConfigurationError, StateError


def test_init_makes_a_private_directory_once(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "a" / "state")
    made = run_process("init", "--state", str(state.path))
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.count("\n") == 1
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
    assert_fails(run_command("serve", "--state", str(tmp_path)), 5, "is damaged")
    (tmp_path / "aggregator.db").unlink()
    sqlite3.connect(tmp_path / "aggregator.db").close()
    with pytest.raises(StateError, match="not an aggregator's"):
        StateDirectory(tmp_path).open_store()


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0", ("no release had", "aggregator init")),
        ("999", (f"knows up to {SCHEMA_VERSION}", f"use fraudfed {__version__}")),
    ],
)
def test_another_schema_is_refused_by_name(
    state: StateDirectory, version: str, words: tuple[str, ...]
) -> None:
    connection = sqlite3.connect(state.database)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (version,))
    connection.commit()
    connection.close()
    result = run_command("serve", "--state", str(state.path))
    assert_fails(result, 5, f"schema version {version}", *words)


def test_the_database_is_durable_and_guarded(store: Store, federation: Federation) -> None:

    def settings(opened: Transaction) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [opened.connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    for kind, synchronous in ((Kind.READ, 2), (Kind.WRITE, 2), (Kind.WRITE_BEHIND, 1)):
        assert store.database.transaction("test", kind, settings) == ["wal", synchronous, 1]
    # A write that was planned on an older version of the run is refused.
    names = [federation.register(name).name for name in ("bank-a", "bank-b")]
    run_id = federation.open_run()
    before = store.runs.snapshot(run_id)
    steps = [
        run_machine.advance(before.run, None, run_machine.Join(bank, "1" * 64, "2" * 128))
        for bank in names
    ]
    store.runs.commit(before, [Accepted(steps[0], Payload(), [])])
    with pytest.raises(StaleError):
        store.runs.commit(before, [Accepted(steps[1], Payload(), [])])
    assert store.runs.status(run_id).members == ("bank-a",)


def test_a_second_service_on_one_directory_is_refused(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.service.state_directory._LOCK_SECONDS", 0.2)
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
    spec.write_text(json.dumps(make_spec()))
    with ServerProcess(state.path) as server:
        login = ["--url", server.url, "--token-file", str(state.operator_token)]
        create = ["runs", "create", *login, "--spec", str(spec)]
        assert_fails(run_command(*create), 2, "no key epoch 1")
        assert_fails(run_command("epochs", "show", *login), 8, "no key epoch yet")
        federation = server.federation(state.path, key)
        federation.register("bank-a")
        federation.register("bank-b")
        federation.make_epoch()
        shown = run_command("epochs", "show", *login).stdout
        assert "state:          active" in shown
        assert "acknowledged:   bank-a, bank-b" in shown
        assert run_command("epochs", "show", *login, "1").stdout == shown
        created = run_command(*create)
        assert created.returncode == 0, created.stderr
        run_id = created.stdout.strip()
        listed = run_command("runs", "list", *login).stdout
        assert listed.startswith(run_id)
        assert "0/2 banks" in listed
        ended = run_command("runs", "cancel", *login, run_id, "--reason", "wrong spec")
        assert "failure:        operator: wrong spec" in ended.stdout
        shown = json.loads(run_command("runs", "show", *login, run_id, "--json").stdout)
        assert shown["state"] == "failed"
        assert_fails(run_command("runs", "show", *login, "x"), 8, "no run 'x'")
        assert_fails(run_command("runs", "show", *login, "../x"), 2, "run id")
        spec.write_text('{"name": "x"}')
        assert_fails(run_command(*create), 2, "key_epoch")
        days = ["runs", "create-risk", *login, "2026-01-05", "2026-02-01", "--delay-days", "7"]
        created = run_command(*days, "--fraud-width", "256", "--entity", "payee")
        assert created.returncode == 0, created.stderr
        run_id = created.stdout.strip()
        shown = json.loads(run_command("runs", "show", *login, run_id, "--json").stdout)["spec"]
        assert (shown["name"], shown["kind"]) == ("risk 2026-01-05..2026-02-01", "risk")
        assert (shown["key_epoch"], shown["model_visibility"]) == (1, "members")
        risk = shown["risk"]
        # Days since 1970-01-01: date -d 2026-01-05 +%s, divided by 86400.
        assert (risk["first_day"], risk["last_day"], risk["delay_days"]) == (20_458, 20_485, 7)
        assert (risk["fraud_width"], risk["transaction_width"]) == (256, 4096)
        assert risk["entities"] == ["payee"]
        assert "kind:           risk" in run_command("runs", "show", *login, run_id).stdout
        assert_fails(run_command(*days, "--fraud-width", "300"), 2, "power of two")
        backwards = ["2026-02-01", "2026-01-05", "--delay-days", "7"]
        assert_fails(run_command("runs", "create-risk", *login, *backwards), 2, "last_day")
        write_secret(tmp_path / "token", "unknown\n")
        wrong = ["--url", server.url, "--token-file", str(tmp_path / "token")]
        assert_fails(run_command("runs", "list", *wrong), 7, "unknown to this aggregator")
    assert_fails(run_command("runs", "list", *login), 6, "not reachable")


def test_the_operator_invites_lists_and_removes_banks(state: StateDirectory, key: TestKey) -> None:
    with ServerProcess(state.path) as server:
        login = ["--url", server.url, "--token-file", str(state.operator_token)]
        invited = run_command("invites", "create", *login, "--name", "bank-a")
        assert invited.returncode == 0
        assert "for bank bank-a, until 20" in invited.stderr
        bank = server.federation(state.path, key).stranger("bank-a")
        assert bank.register(invited.stdout.strip()).status == 201
        as_json = run_command("invites", "create", *login, "--name", "bank-b", "--json").stdout
        assert json.loads(as_json)["name"] == "bank-b"
        shown = fingerprint(bank.name, bank.keys.signing_key, bank.keys.agreement_key)
        assert run_command("banks", "list", *login).stdout == f"bank-a  {shown}\n"
        assert run_command("banks", "remove", *login, "bank-a").stdout == ""
        assert_fails(run_command("banks", "remove", *login, "bank-c"), 8, "no bank 'bank-c'")
        assert_fails(run_command("invites", "create", *login, "--name", "Bank"), 8, "InviteRequest")


def test_tokens_have_roles_and_end(state: StateDirectory, tmp_path: Path) -> None:
    where = ["--state", str(state.path)]
    with ServerProcess(state.path) as server:
        made = run_command("tokens", "create", *where, "--role", "viewer", "--name", "eve")
        write_secret(tmp_path / "eve", made.stdout)
        login = ["--url", server.url, "--token-file", str(tmp_path / "eve")]
        assert run_command("runs", "list", *login).returncode == 0
        refused = run_command("invites", "create", *login, "--name", "bank-a")
        assert_fails(refused, 7, "viewer:eve", "only the operator")
        assert "eve  viewer  made 20" in run_command("tokens", "list", *where).stdout
        assert run_command("tokens", "revoke", *where, "eve").returncode == 0
        assert_fails(run_command("runs", "list", *login), 7, "revoked")
        assert "revoked 20" in run_command("tokens", "list", *where).stdout
    again = run_command("tokens", "create", *where, "--role", "viewer", "--name", "eve")
    assert_fails(again, 8, "used before")
    assert_fails(run_command("tokens", "revoke", *where, "eve"), 8, "revoked already")
    assert_fails(run_command("tokens", "revoke", *where, "x"), 8, "no token 'x'")
    wrong = run_command("tokens", "create", *where, "--role", "viewer", "--name", "E v e")
    assert_fails(wrong, 2, "token name")


def test_usage_errors_are_one_line(tmp_path: Path) -> None:
    helped = run_process()
    assert (helped.returncode, helped.stdout) == (2, "")
    assert all(name in helped.stderr for name in cli.commands)
    assert_fails(run_command("serve"), 2, "--state")
    token = ["--token-file", str(tmp_path / "none")]
    assert_fails(run_command("runs", "list", *token), 2, "token file")
    write_secret(tmp_path / "token", "t\n")
    login = ["--token-file", str(tmp_path / "token"), "--url", "ftp://x"]
    assert_fails(run_command("runs", "list", *login), 2, "aggregator URL")
    missing = ["--spec", str(tmp_path / "none.json")]
    assert_fails(run_command("runs", "create", *login, *missing), 2, "run description")


def test_version_and_openapi() -> None:
    assert run_process("--version").stdout.strip() == f"aggregator, version {__version__}"
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


def test_the_page_on_databases_names_all_that_belongs_to_them() -> None:
    text = (Path(__file__).parents[2] / "docs" / "database.md").read_text()
    options = {"init": ["--database"], "migrate": [], "backup": ["--out"]}
    for name, expected in options.items():
        command = cli.commands[name]
        found = [p.opts[0] for p in command.params if p.opts[0] not in ("--state", "--json")]
        assert found == expected
        assert all(re.search(rf"^\| `{name} [^`]*{one}", text, re.MULTILINE) for one in found)
        assert f"`{name} " in text
    assert "--workers" in text
    assert f"The first release has schema version {SCHEMA_VERSION}" in text


def test_every_command_that_pages_and_messages_name_exists() -> None:
    root = Path(__file__).parents[2]
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("aggregator/**/*.py")]
    named = set()
    for name, group in cli.commands.items():
        if isinstance(group, click.Group):
            # As code: in prose an aggregator runs, too.
            pattern = rf"(?:`|^ +(?:\$ )?)aggregator {name} ([a-z-]+(?:\\?\|[a-z-]+)*)"
            for page in pages:
                for found in re.findall(pattern, page.read_text(), re.MULTILINE):
                    for one in re.split(r"\\?\|", found):
                        assert one in group.commands, f"{page.name}: aggregator {name} {one}"
                        named.add((name, one))
    assert ("runs", "drop-bank") in named
    assert ("runs", "cancel") in named
