"""The audit log: complete, chained, signed, append-only, and bounded for who is refused."""

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federations.fake_banks import MODEL_SHA256, FakeBank, Federation, sum_round
from federations.server_process import ServerProcess, run_command
from flask import Flask

from aggregator.audit.key import AuditKey
from aggregator.audit.log import AuditHead, AuditRecord, AuditTrail
from aggregator.commands.output import AuditEntries
from aggregator.guards.refusals import Refusals
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from aggregator.storage.dialect import Kind
from fraudfed.consortium.public.documents import verify_audit_entry
from fraudfed.errors import KeyMaterialError, StateError
from fraudfed.wire.messages import AuditEntry, AuditStatus


def finish_a_run(federation: Federation) -> list[FakeBank]:
    banks = federation.start()
    sum_round(banks, 0, [[1], [2], [3]])
    for bank in banks:
        assert bank.submit_model().status == 200
    return banks


@pytest.fixture
def database(state: StateDirectory) -> Iterator[sqlite3.Connection]:
    """Open the file as anybody can who has it."""
    connection = sqlite3.connect(state.database)
    yield connection
    connection.close()


def tamper(database: sqlite3.Connection, *statements: str) -> None:
    for trigger in ("audit_no_update", "audit_no_delete"):
        database.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    for statement in statements:
        database.execute(statement)
    database.commit()


def test_the_log_tells_the_whole_life_of_a_run(federation: Federation, store: Store) -> None:
    banks = finish_a_run(federation)
    # Deleted when the run had ended: the log is what stays of them.
    query = "SELECT count(*) FROM contributions"
    left = store.database.transaction(
        "test", Kind.READ, lambda read: read.connection.exec_driver_sql(query).scalar()
    )
    assert left == 0
    entries = federation.audit()
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    kinds = [entry["kind"] for entry in entries]
    expected = ["initialised", "token-created", *["invite", "registration"] * 3, "key-epoch"]
    expected += [*["acknowledgement"] * 3, "run-created", *["join"] * 3, *["contribution"] * 3]
    expected += [*["opening"] * 3, *["model"] * 3, "run-finished"]
    # The steward asked for the current epoch before there was one.
    assert [kind for kind in kinds if kind != "read"] == expected
    run_id = banks[0].run_id
    found = {
        (entry["actor"], entry["subject"], entry["body_sha256"])
        for entry in entries
        if entry["kind"] in ("contribution", "model")
    }
    for bank in banks:
        sent = hashlib.sha256(bank.sent[0]).hexdigest()
        assert (f"bank:{bank.name}", f"run/{run_id}/round/0", sent) in found
        assert (f"bank:{bank.name}", f"run/{run_id}", MODEL_SHA256) in found
    head = store.audit.verify()
    assert head == AuditHead(entries[-1]["seq"], entries[-1]["hash"])


def test_a_bank_reads_the_entries_of_its_runs_and_checks_them(federation: Federation) -> None:
    banks = finish_a_run(federation)
    run_id = banks[0].run_id
    federation.register("other")
    federation.open_run()
    key = banks[0].request("GET", "/v1/audit/key").json()["audit_key"]
    found = banks[0].request("GET", f"/v1/audit?run={run_id}").json()["entries"]
    assert {entry["kind"] for entry in found} == {
        "run-created",
        "join",
        "contribution",
        "opening",
        "model",
        "run-finished",
    }
    for entry in found:
        assert entry["subject"].startswith(f"run/{run_id}")
        verify_audit_entry(AuditEntry.model_validate(entry), key)
    paged = banks[0].request("GET", f"/v1/audit?run={run_id}&start={found[2]['seq']}&limit=2")
    assert paged.json()["entries"] == found[2:4]
    # A run that has failed tells its banks why, in the log as well.
    later = federation.open_run()
    federation.operate("POST", f"/v1/runs/{later}/abort", json={"reason": "wrong"})
    answer = banks[0].request("GET", f"/v1/audit?run={later}")
    assert answer.json()["entries"][-1]["detail"] == "operator: wrong"


def test_a_contradiction_is_on_record_with_the_body_that_showed_it(federation: Federation) -> None:
    banks = federation.start()
    banks[0].contribute(0, [1])
    assert banks[1].contribute(0, [1], label="leaf").problem() == (409, "run-failed")
    failed, refused = federation.audit()[-2:]
    assert (failed["kind"], failed["actor"]) == ("run-failed", f"bank:{banks[1].name}")
    assert "disagree" in failed["detail"]
    assert (refused["kind"], refused["status"]) == ("contribution", "refused")
    assert refused["body_sha256"] is not None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("time", "1"),
        ("kind", "'opening'"),
        ("actor", "'bank:bank-09'"),
        ("subject", "'run/x'"),
        ("status", "'refused'"),
        ("status", "'unheard of'"),
        ("detail", "''"),
        ("body_sha256", f"'{'0' * 64}'"),
        ("body_sha256", "NULL"),
        ("previous_hash", f"'{'0' * 64}'"),
        ("hash", f"'{'0' * 64}'"),
        ("signature", f"'{'0' * 128}'"),
    ],
)
def test_an_altered_entry_is_found(
    federation: Federation, store: Store, database: sqlite3.Connection, column: str, value: str
) -> None:
    finish_a_run(federation)
    store.audit.verify()
    seq = next(e["seq"] for e in federation.audit() if e["kind"] == "contribution")
    tamper(database, f"UPDATE audit SET {column} = {value} WHERE seq = {seq}")
    with pytest.raises(StateError, match=f"entry {seq}"):
        store.audit.verify()


def test_removed_swapped_and_inserted_entries_are_found(
    federation: Federation, store: Store, database: sqlite3.Connection, state: StateDirectory
) -> None:
    for index in range(3):
        federation.register(f"bank-{index}")
    head = store.audit.verify()
    tamper(database, "DELETE FROM audit WHERE seq = 3")
    with pytest.raises(StateError, match="entry 4: follows entry 2"):
        store.audit.verify()
    tamper(database, "DELETE FROM audit WHERE seq < 3")
    with pytest.raises(StateError, match="begins with entry 4"):
        store.audit.verify()
    # A whole log of another aggregator's key does not pass either.
    other = AuditTrail(store.database, AuditKey.generate())
    tamper(database, "DELETE FROM audit")
    with pytest.raises(StateError, match="empty"):
        store.audit.verify()
    for _ in range(head.entries):
        other.record(AuditRecord(kind="x", actor="anonymous", subject="", detail=""))
    with pytest.raises(StateError, match="entry 1: its signature"):
        store.audit.verify()


def test_a_log_that_was_cut_is_found_by_what_is_stored_or_was_noted(
    federation: Federation, store: Store, database: sqlite3.Connection
) -> None:
    finish_a_run(federation)
    head = store.audit.verify()
    tamper(database, f"DELETE FROM audit WHERE seq = {head.entries}")
    shorter = store.audit.verify()  # "run-finished" follows from the votes
    with pytest.raises(StateError, match="was cut"):
        store.audit.verify(expected=head)
    tamper(database, f"DELETE FROM audit WHERE seq = {shorter.entries}")
    with pytest.raises(StateError, match=f"model {MODEL_SHA256} .* without an entry"):
        store.audit.verify()


def test_a_rewritten_log_is_found_by_what_was_noted(store: Store) -> None:
    head = store.audit.verify()
    store.audit.record(AuditRecord(kind="x", actor="anonymous", subject="", detail=""))
    assert store.audit.verify(expected=head).entries == head.entries + 1
    with pytest.raises(StateError, match="rewritten"):
        store.audit.verify(expected=AuditHead(head.entries, "0" * 64))


@pytest.mark.parametrize("statement", ["UPDATE audit SET detail = ''", "DELETE FROM audit"])
def test_the_table_is_append_only(
    store: Store, database: sqlite3.Connection, statement: str
) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.execute(statement)


def test_no_change_without_its_entry(
    federation: Federation, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    banks = federation.start()

    def fail(*_: object) -> None:
        raise RuntimeError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(AuditTrail, "append", fail)
        assert banks[0].contribute(0, [1]).problem() == (500, "server")
    assert federation.status(banks[0].run_id)["ciphertexts"] == 0
    assert store.runs.product(banks[0].run_id, 0) is None
    assert banks[0].post_contribution(0, banks[0].sent[0]).status == 202


def test_refusals_of_one_caller_are_bounded_and_counted(store: Store) -> None:
    now = [0.0]
    refusals = Refusals(store.audit, burst=3, per_minute=1, clock=lambda: now[0])

    def refuse(actor: str, detail: str = "") -> None:
        refusals.record(
            AuditRecord(
                kind="read",
                actor=actor,
                subject="service",
                detail=detail,
                status=AuditStatus.REFUSED,
            )
        )

    def recorded(actor: str) -> list[str]:
        return [entry.detail for entry in store.audit.entries() if entry.actor == actor]

    for index in range(10):
        refuse("anonymous", str(index))
    assert recorded("anonymous") == ["0", "1", "2"]
    # Another caller's are not touched by it.
    refuse("bank:bank-a", "own")
    assert recorded("bank:bank-a") == ["own"]
    now[0] = 61
    refuse("anonymous", "later")
    assert recorded("anonymous")[3:] == [
        "7 more refusals of this caller were counted, but not recorded one by one",
        "later",
    ]
    refuse("anonymous")
    refusals.flush()
    assert recorded("anonymous")[-1].startswith("1 more refusals")
    refusals.flush()
    assert len(recorded("anonymous")) == 6
    store.audit.verify()


def test_the_service_counts_what_it_does_not_record(app: Flask, federation: Federation) -> None:
    for _ in range(250):
        assert federation.call("GET", "/v1/runs").status == 401
    assert len(federation.refusals()) == 200
    # The operator is still heard.
    assert federation.operate("GET", "/v1/runs/x").status == 404
    assert federation.refusals()[-1]["actor"] == "operator:operator"


def test_an_entry_is_short_whatever_was_sent(federation: Federation) -> None:
    federation.operate("GET", "/v1/runs/" + "x" * 5000)
    federation.operate("GET", "/v1/runs/a%0Ab%00%1b[31m")
    federation.call("GET", "/v1/runs", headers={"Authorization": "Basic " + "x" * 5000})
    entries = federation.refusals()
    assert len(entries) == 3
    for entry in entries:
        assert len(str(entry)) < 2000
        assert entry["detail"].isprintable()
        assert entry["subject"].isprintable()


def test_answers_about_a_failed_run_are_no_refusals(federation: Federation) -> None:
    banks = federation.start()
    banks[0].abort()
    before = len(federation.audit())
    assert banks[1].product(0, 0).problem() == (409, "run-failed")
    assert len(federation.audit()) == before
    assert banks[1].contribute(0, [1]).problem() == (409, "run-failed")
    assert len(federation.audit()) == before + 1


def test_nothing_secret_is_in_the_log(federation: Federation, state: StateDirectory) -> None:
    finish_a_run(federation)
    bad = "a-token-of-some-other-service"
    federation.call("GET", "/v1/runs", token=bad)
    text = str(federation.audit())
    assert bad not in text
    assert federation.operator_token not in text
    assert "PRIVATE" not in text
    assert AuditKey.load(state.audit_key).to_pem().decode().splitlines()[1] not in text


@pytest.mark.e2e
def test_the_commands_check_and_show_the_log(state: StateDirectory, key: Any) -> None:
    where = ["--state", str(state.path)]
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        finish_a_run(federation)
        server("GET", "/v1/runs")
        # While it runs, too.
        verified = run_command("audit", "verify", *where)
        assert verified.returncode == 0, verified.stderr
        shown = run_command("audit", "show", *where).stdout
        assert len(shown.splitlines()) == len(federation.audit())
        assert "refused   read  anonymous  service  GET /v1/runs: 401 authentication" in shown
        run_id = federation.banks[0].run_id
        of_run = run_command("audit", "show", *where, "--run", run_id, "--json").stdout
        entries = AuditEntries.model_validate_json(of_run).entries
        assert entries[0].kind == "run-created"
        assert run_command("audit", "show", *where, "--start", "9999").stdout == ""
        server.kill()
    end = verified.stdout.split("end ")[1].split(",")[0]
    assert run_command("audit", "verify", *where, "--expect", end).returncode == 0
    connection = sqlite3.connect(state.database)
    tamper(connection, "UPDATE audit SET actor = 'bank:bank-x' WHERE kind = 'join'")
    connection.close()
    broken = run_command("audit", "verify", *where)
    assert broken.returncode == 5
    assert broken.stderr.startswith("error: audit log does not verify: audit entry ")
    assert broken.stderr.count("\n") == 1
    wrong = run_command("audit", "verify", *where, "--expect", "x")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_the_audit_key_is_private_and_must_be_there(state: StateDirectory, tmp_path: Path) -> None:
    assert state.audit_key.stat().st_mode & 0o777 == 0o600
    key = AuditKey.load(state.audit_key)
    assert "PRIVATE" not in repr(key)
    with pytest.raises(TypeError):
        key.__reduce__()
    state.audit_key.chmod(0o640)
    with pytest.raises(KeyMaterialError, match="0640"):
        state.open_store()
    state.audit_key.chmod(0o600)
    state.audit_key.write_text("no key")
    with pytest.raises(KeyMaterialError, match="no Ed25519 key"):
        state.open_store()
    state.audit_key.unlink()
    with pytest.raises(KeyMaterialError, match="cannot be read"):
        state.open_store()
