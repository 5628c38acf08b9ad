"""Log lines of a real service: with run, round, request, caller and worker, and nothing secret."""

import base64
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from federations.fake_banks import FakeBank, Federation, TestKey, sum_round
from federations.server_process import ServerProcess

from aggregator.monitoring import logs
from aggregator.service.state_directory import StateDirectory

pytestmark = pytest.mark.e2e

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def exercise(federation: Federation) -> tuple[list[FakeBank], list[bytes]]:
    """Do two rounds and some wrong things; return the banks and what must not be logged."""
    secrets = [federation.operator_token.encode()]
    original = federation.call

    def call(method: str, path: str, **options: Any) -> Any:
        headers = options.get("headers") or {}
        secrets.extend(
            value.encode() for name, value in headers.items() if name.startswith("Signature")
        )
        if options.get("body"):
            body = options["body"]
            secrets.extend((body[-24:], base64.b64encode(body[-24:]), body[-24:].hex().encode()))
        return original(method, path, **options)

    federation.call = call
    secrets.append(federation.invite("bank-x").encode())
    banks = federation.start()
    for number in range(2):
        sum_round(banks, number, [[1], [2], [3]])
    federation.call("GET", "/v1/runs", token="a-token-that-nobody-has")
    secrets.append(b"a-token-that-nobody-has")
    banks[0].post_contribution(2, b"XXXXXXXX-no-frame-but-a-body-of-a-bank")
    banks[0].abort()
    return banks, secrets


def test_json_lines_carry_what_is_known(state: StateDirectory, key: TestKey) -> None:
    with ServerProcess(state.path, group_options=("--log-format", "json")) as server:
        banks, secrets = exercise(server.federation(state.path, key))
        assert server("GET", "/nowhere", headers={"X-Request-Id": "r-7"}).status == 404
        server.stop()
        text = server.log()
    lines = [json.loads(line) for line in text.splitlines()]
    requests = [line for line in lines if line["logger"] == "aggregator.request"]
    events = [line for line in lines if line["logger"] == "aggregator.runs.changes"]
    run_id = banks[0].run_id

    (worker,) = {line["worker"] for line in requests + events}
    assert worker != server.process.pid
    contributions = [line for line in requests if line["path"].endswith("/1/contributions")]
    assert {line["caller"] for line in contributions} == {f"bank:{bank.name}" for bank in banks}
    for line in contributions:
        assert (line["run_id"], line["round_number"]) == (run_id, 1)
    closed = [line for line in events if "round 1 closed" in line["message"]]
    opened = {line["request_id"] for line in requests if line["path"].endswith("/1/openings")}
    (line,) = closed
    assert (line["run_id"], line["round_number"]) == (run_id, 1)
    assert line["request_id"] in opened
    assert line["caller"].startswith("bank:")
    (failed,) = [line for line in events if line["level"] == "WARNING"]
    assert failed["caller"] == f"bank:{banks[0].name}"
    # Nothing of one request is left over in the next one of the same thread.
    (lost,) = [line for line in requests if line["request_id"] == "r-7"]
    assert lost["caller"] == "anonymous"
    assert "run_id" not in lost
    assert "round_number" not in lost
    for secret in secrets:
        assert secret.decode("latin-1") not in text


def test_text_lines_show_it_readably(state: StateDirectory, key: TestKey) -> None:
    with ServerProcess(state.path) as server:
        banks, secrets = exercise(server.federation(state.path, key))
        server.stop()
        text = server.log()
    lines = text.splitlines()
    run_id = banks[0].run_id
    (closed,) = [line for line in lines if "round 1 closed" in line]
    assert f" run_id={run_id} round_number=1 caller=bank:" in closed
    assert "request_id=" in closed
    for line in lines:
        # Each once, however many say it.
        for name in logs.CONTEXT_FIELDS:
            assert line.count(f" {name}=") <= 1
    for secret in secrets:
        assert secret.decode("latin-1") not in text


def test_every_field_is_documented(state: StateDirectory, key: TestKey) -> None:
    section = PAGE.partition("## Log fields")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in row.replace("`", "").replace(",", " ").split()}
    with ServerProcess(state.path, group_options=("--log-format", "json")) as server:
        exercise(server.federation(state.path, key))
        server.stop()
        fields = {name for line in server.log().splitlines() for name in json.loads(line)}
    assert fields == documented


def test_a_traceback_stands_below_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    formatter = logs._TextFormatter("%(levelname)s: %(message)s")
    logs.clear_context()
    logs.add_to_context(request_id="r-1")
    try:
        [][0]
    except IndexError as error:
        record = logging.LogRecord(
            "x", logging.ERROR, __file__, 1, "failed", None, (type(error), error, None)
        )
    logs._ContextFilter().filter(record)
    logs.clear_context()
    lines = formatter.format(record).split("\n")
    assert lines[0] == "ERROR: failed request_id=r-1"
    # Set in, so that nothing in it can pass for a line of its own.
    assert lines[-1] == "    IndexError: list index out of range"
    assert all(line.startswith("    ") for line in lines[1:])
