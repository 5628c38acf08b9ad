"""Back-up while serving, restore, and what a restored aggregator answers banks that are ahead."""

import shutil
import sqlite3
import stat
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import pytest
from federations.fake_banks import MODEL, FakeBank, Federation, TestKey, sum_round
from federations.postgres import Cluster, on_postgresql
from federations.server_process import ServerProcess, assert_fails, run_command

from aggregator.service.state_directory import StateDirectory
from fraudfed.wire.messages import RunState


def back_up(state: StateDirectory, target: Path) -> None:
    done = run_command("backup", "--state", str(state.path), "--out", str(target))
    assert done.returncode == 0, done.stderr
    assert str(state.audit_key) in done.stdout


def restore(state: StateDirectory, source: Path) -> None:
    """Do what docs/database.md says."""
    for name in ("aggregator.db", "aggregator.db-wal", "aggregator.db-shm"):
        (state.path / name).unlink(missing_ok=True)
    shutil.copy(source, state.database)


def move(banks: list[FakeBank], server: ServerProcess) -> None:
    for bank in banks:
        bank.call = server


@pytest.mark.e2e
def test_a_back_up_made_while_serving_is_one_state_and_goes_on(
    state: StateDirectory, key: TestKey, tmp_path: Path
) -> None:
    with ServerProcess(state.path) as server:
        banks = server.federation(state.path, key).start()
        made: list[Path] = []
        done = threading.Event()

        def keep_making() -> None:
            while not done.is_set():
                made.append(tmp_path / f"{len(made)}.db")
                back_up(state, made[-1])

        maker = threading.Thread(target=keep_making)
        maker.start()
        for number in range(4):
            assert sum_round(banks, number, [[1], [2], [3]]) == [6]
        done.set()
        maker.join()
        back_up(state, tmp_path / "last.db")
        server.kill()
    assert stat.S_IMODE(made[0].stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.new*")), "nothing but the back-ups themselves"
    secret = state.operator_token.read_text().strip().encode()
    for file in (*made, tmp_path / "last.db"):
        assert secret not in file.read_bytes()
        copy = StateDirectory(tmp_path / f"of {file.name}")
        copy.path.mkdir()
        shutil.copy(state.audit_key, copy.audit_key)
        restore(copy, file)
        verified = run_command("audit", "verify", "--state", str(copy.path))
        assert verified.returncode == 0, verified.stderr
    restore(state, tmp_path / "last.db")
    with ServerProcess(state.path) as server:
        move(banks, server)
        assert sum_round(banks, 4, [[4], [5], [6]]) == [15]
        assert [bank.submit_model().status for bank in banks] == [200] * 3
        assert banks[0].run_request("GET", "/model").body == MODEL
    again = run_command("backup", "--state", str(state.path), "--out", str(tmp_path / "last.db"))
    assert_fails(again, 5, "exists already")
    nowhere = tmp_path / "none" / "b.db"
    refused = run_command("backup", "--state", str(state.path), "--out", str(nowhere))
    assert_fails(refused, 5, "cannot be written")


def assert_banks_ahead_are_refused(federation: Federation, banks: list[FakeBank]) -> None:
    """Hold an aggregator that is back in round 1 against banks that have closed round 2."""
    before = federation.status(banks[0].run_id)
    assert before["round_number"] == 1
    answers = [
        *(bank.contribute(3, [7]) for bank in banks),
        *(bank.post_contribution(2, bank.sent[2]) for bank in banks),
        *(bank.open(2, index, 1) for index, bank in enumerate(banks)),
        *(bank.product(2, index) for index, bank in enumerate(banks)),
        *(bank.openings(2) for bank in banks),
    ]
    for answer in answers:
        status, _ = answer.problem()
        assert 400 <= status < 500, answer.body
        assert "round" in answer.json()["detail"]
    # Also in a round that is open again other bytes than were accepted are refused.
    assert banks[0].contribute(1, [999]).problem() == (409, "conflict")
    # No model comes of it: none of the refusals changed anything.
    assert federation.status(banks[0].run_id) == before
    assert banks[0].run_request("GET", "/model").status == 404


@pytest.mark.e2e
def test_banks_that_are_ahead_of_a_restored_aggregator_are_refused(
    state: StateDirectory, key: TestKey, tmp_path: Path
) -> None:
    with ServerProcess(state.path) as server:
        banks = server.federation(state.path, key).start()
        sum_round(banks, 0, [[1], [2], [3]])
        assert banks[0].contribute(1, [10]).status == 202
        back_up(state, tmp_path / "backup.db")
        first = banks[0].sent[1]
        assert banks[1].contribute(1, [20]).status == 202
        assert banks[2].contribute(1, [30]).status == 202
        for index, bank in enumerate(banks):
            assert bank.open(1, index, int(index == 0), box=f"box {index}".encode()).status == 202
        sum_round(banks, 2, [[1], [2], [3]])
        assert server.stop() == 0
    restore(state, tmp_path / "backup.db")
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        move(banks, server)
        kept = [dict(bank.sent) for bank in banks]
        assert_banks_ahead_are_refused(federation, banks)
        # What they sent in round 1 is taken again as it was: with the same bytes the same sum.
        assert banks[0].post_contribution(1, first).status == 202
        for bank, sent in zip(banks[1:], kept[1:], strict=True):
            assert bank.post_contribution(1, sent[1]).status == 202
        width = key.public.ciphertext_bytes
        total = int.from_bytes(banks[0].product(1, 0).body[-width:], "big")
        assert key.phe_private.raw_decrypt(total) == 60
        abort = federation.operate(
            "POST", f"/v1/runs/{banks[0].run_id}/abort", json={"reason": "restored"}
        )
        assert abort.json()["state"] == RunState.FAILED.value
    # The end that was noted before the restore is not in the log any more: that is told.
    with closing(sqlite3.connect(tmp_path / "backup.db")) as connection:
        count, end = connection.execute("SELECT max(seq), hash FROM audit").fetchone()
    verify = ("audit", "verify", "--state", str(state.path), "--expect")
    assert run_command(*verify, f"{count}:{end}").returncode == 0
    assert_fails(run_command(*verify, f"{count + 1}:{'0' * 64}"), 5, "rewritten")


@pytest.mark.e2e
@on_postgresql
def test_pg_dump_and_pg_restore_as_documented(
    state: StateDirectory, key: TestKey, tmp_path: Path, cluster: Cluster, database_url: str
) -> None:
    dump = tmp_path / "aggregator.dump"
    refused = run_command("backup", "--state", str(state.path), "--out", str(dump))
    assert_fails(refused, 5, "pg_dump", "docs/database.md")
    with ServerProcess(state.path, options=("--workers", "2")) as server:
        banks = server.federation(state.path, key).start()
        sum_round(banks, 0, [[1], [2], [3]])
        assert banks[0].contribute(1, [10]).status == 202
        program = cluster.bin / "pg_dump"
        subprocess.run(
            [program, "--format=custom", f"--file={dump}", f"--dbname={database_url}"], check=True
        )
        banks[1].contribute(1, [20])
        banks[2].contribute(1, [30])
        for index, bank in enumerate(banks):
            bank.open(1, index, int(index == 0))
        sum_round(banks, 2, [[1], [2], [3]])
        assert server.stop() == 0
    url = cluster.url()
    subprocess.run(
        [cluster.bin / "pg_restore", "--exit-on-error", f"--dbname={url}", dump], check=True
    )
    state.database_url.write_text(url + "\n")
    assert run_command("audit", "verify", "--state", str(state.path)).returncode == 0
    with ServerProcess(state.path, options=("--workers", "2")) as server:
        federation = server.federation(state.path, key)
        move(banks, server)
        assert_banks_ahead_are_refused(federation, banks)
    cluster.drop(url)
