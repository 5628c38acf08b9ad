"""Generations through a real server: the operator's commands, kill -9, a real deadline."""

import pytest
from federations.fake_banks import MODEL, FakeBank, TestKey, sum_round
from federations.server_process import ServerProcess, run_command

from aggregator.service.state_directory import StateDirectory
from fraudfed.wire.handovers import decode

pytestmark = pytest.mark.e2e


def verify(state: StateDirectory) -> None:
    result = run_command("audit", "verify", "--state", str(state.path))
    assert result.returncode == 0, result.stderr


def move(banks: list[FakeBank], server: ServerProcess) -> None:
    """Let the banks call another process of the same aggregator."""
    for bank in banks:
        bank.call = server


def lines_of(shown: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in shown.splitlines())
    return {name: value.strip() for name, value in pairs}


def test_the_operator_drops_a_bank_and_sees_who_is_waited_for(
    state: StateDirectory, key: TestKey
) -> None:
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        banks = federation.start(min_cohort=2)
        first, gone, last = banks
        login = ["--url", server.url, "--token-file", str(state.operator_token)]

        def show() -> dict[str, str]:
            return lines_of(run_command("runs", "show", *login, first.run_id).stdout)

        def listed() -> str:
            return run_command("runs", "list", *login).stdout.strip()

        first.contribute(0, [1])
        shown = show()
        assert shown["takes part"] == "bank-00, bank-01, bank-02 (generation 0)"
        assert shown["contributed"] == "bank-00"
        assert shown["waits for"] == "contribution of bank-01, bank-02"
        assert "3/3 banks" in listed()
        assert listed().endswith("(waits for contribution of bank-01, bank-02)")

        drop = ("runs", "drop-bank", *login, first.run_id)
        result = run_command(*drop, "nobody", "--reason", "x")
        assert (result.returncode, result.stderr.count("\n")) == (8, 1)
        assert "does not take part" in result.stderr
        result = run_command(*drop, gone.name, "--reason", "")
        assert result.returncode == 2
        result = run_command(*drop, "no name", "--reason", "x")
        assert result.returncode != 0
        assert result.stderr.startswith("error: ")
        result = run_command(*drop, gone.name, "--reason", "power cut")
        assert result.returncode == 0, result.stderr
        shown = lines_of(result.stdout)
        assert shown["state"] == "gathering"
        assert shown["takes part"] == "bank-00, bank-02 (generation 1)"
        assert shown["waits for"] == "-"
        assert "2/3 banks" in listed()
        result = run_command(*drop, last.name, "--reason", "x")
        assert result.returncode == 8
        assert "fewer than 2 banks" in result.stderr

        first.agree(1, step=0)
        assert show()["waits for"] == "agreement of bank-02"
        last.agree(1, step=0)
        number = federation.status(first.run_id)["round_number"]
        assert first.contribute(number, [1]).status == 202
        gone.join(first.run_id)
        shown = show()
        assert shown["comes in next"] == "bank-01"
        assert shown["waits for"] == "contribution of bank-02"
        result = run_command("runs", "cancel", *login, first.run_id, "--reason", "enough")
        assert lines_of(result.stdout)["failure"] == "operator: enough"
        assert server.stop() == 0
    assert "Traceback" not in server.log()
    verify(state)


def test_a_server_that_is_killed_while_banks_gather_goes_on(
    state: StateDirectory, key: TestKey
) -> None:
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        banks = federation.start(min_cohort=2)
        first, back, last = banks
        sum_round(banks, 0, [[1], [2], [3]])
        openings = first.openings(0).body
        first.contribute(1, [1], step=1)
        federation.drop(back)
        assert first.agree(1, step=1).status == 200
        back.join(first.run_id)
        assert last.agree(1, step=1).problem() == (409, "cohort-changed")
        assert first.agree(2, step=2).status == 200
        assert back.agree(2, step=0, more_rows=64).status == 200
        before = federation.status(first.run_id)
        server.kill()
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        move(banks, server)
        assert federation.status(first.run_id) == before
        # Who did not see its acknowledgement agrees again.
        assert back.agree(2, step=0, more_rows=64).json() == before
        assert last.agree(2, step=2).json()["state"] == "training"
        assert first.put_handover(2, b"sealed", step=2).status == 200
        assert back.handover(2).status == 204
        server.kill()
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        move(banks, server)
        assert last.put_handover(2, b"sealed", step=2).status == 200
        signatures, content = decode(back.handover(2).body, source="test")
        assert [one.bank for one in signatures.signatures] == [first.name, last.name]
        assert content == b"sealed"
        assert first.openings(0).body == openings
        assert sum_round(banks, 3, [[1], [2], [4]], step=2) == [7]
        for bank in banks:
            bank.submit_model()
        assert first.run_request("GET", "/model").body == MODEL
        server.kill()
    verify(state)


def test_a_bank_that_keeps_others_waiting_is_gone_on_without(
    state: StateDirectory, key: TestKey
) -> None:
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        banks = federation.start(min_cohort=2, deadline_seconds=1)
        first, slow, last = banks
        for bank in (first, last):
            assert bank.contribute(0, [1]).status == 202
        # Nobody does anything but wait: the service itself passes the deadline.
        answer = first.product(0, 0, wait=30)
        assert answer.problem() == (409, "cohort-changed")
        status = federation.status(first.run_id)
        assert (status["state"], status["generation"]["banks"]) == (
            "gathering",
            [first.name, last.name],
        )
        assert slow.contribute(0, [1]).problem() == (409, "cohort-changed")
        assert server.stop() == 0
    assert f"{slow.name} did not contribute to round 0 in time" in server.log()
    assert "Traceback" not in server.log()
    verify(state)
