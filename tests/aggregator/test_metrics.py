"""What /metrics gives is what docs/operations.md lists, adds up, and names nobody."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from federations.fake_banks import DocumentedClient, Federation, TestKey, sum_round
from federations.server_process import ServerProcess
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

import aggregator
from aggregator.caller import Role
from aggregator.config import MetricsAccess, ServiceConfig
from aggregator.guards.bodies import Bodies
from aggregator.monitoring.metrics import CONTENT_TYPE, forget_worker
from aggregator.monitoring.round_times import RoundTimes
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app, declared_endpoints
from aggregator.service.state_directory import StateDirectory
from aggregator.service.store import Store
from fraudfed.errors import error_classes
from fraudfed.wire.messages import RunState

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()

SOURCE = Path(aggregator.__file__).parent


def transactions_of_the_source() -> list[str]:
    """Return the name of every transaction; none may be made up while the program runs."""
    found = []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="transaction"), args=[name, *_]):
                    assert isinstance(name, ast.Constant), f"{file} line {node.lineno}"
                    found.append(name.value)
    return found


TRANSACTIONS = transactions_of_the_source()

#: Every value that a label may have: the series are bounded by this program's source.
VALUES = {
    "endpoint": {endpoint.name for endpoint in declared_endpoints()} | {"none"},
    "status": {str(status) for status in (*range(200, 207), 304, *range(400, 430), 500, 503)},
    "problem": set(error_classes()),
    "state": {state.value for state in RunState},
    "kind": {"read", "write"},
    "transaction": set(TRANSACTIONS),
    "place": {"memory", "file"},
    "version": None,
    "le": None,
}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def documented() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return type and labels of each metric of the table."""
    section = PAGE.partition("## Metrics")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(fraudfed_\w+)` \| (\w+) \|([^|]*)\|", section, re.MULTILINE)
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def given(text: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return type and labels of each metric of an answer."""
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):
            continue  # when a counter was made: of the library, not ours
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = (family.type, tuple(sorted(labels)))
    return found


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(text: str, name: str, **labels: str) -> float:
    return samples(text).get((name, frozenset(labels.items())), 0.0)


def read(federation: Federation) -> str:
    answer = federation.operate("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == CONTENT_TYPE
    return answer.body.decode()


def exercise(federation: Federation) -> None:
    """Cause every kind of event."""
    banks = federation.start()
    sum_round(banks, 0, [[1], [2], [3]])
    sum_round(banks, 1, [[1], [2], [3]])
    federation.call("GET", "/nowhere")
    federation.call("GET", "/v1/runs")


def test_every_metric_is_documented_and_every_documented_one_is_given(
    federation: Federation,
) -> None:
    exercise(federation)
    assert given(read(federation)) == documented()


def test_every_transaction_has_a_name_of_its_own_that_is_documented() -> None:
    listed = PAGE.partition('<a id="transactions"></a>')[2].partition("\n\n")[0]
    assert sorted(TRANSACTIONS) == sorted(re.findall(r"`([a-z-]+)`", listed))
    assert len(set(TRANSACTIONS)) == len(TRANSACTIONS) > 30


@pytest.mark.e2e
def test_a_real_service_gives_the_same(state: StateDirectory, key: TestKey) -> None:
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        exercise(federation)
        text = read(federation)
        assert given(text) == documented()
        assert sample(text, "fraudfed_rounds_opened_total") == 2
        assert sample(text, "fraudfed_rounds_closed_total") == 2
        assert sample(text, "fraudfed_round_complete_seconds_count") == 2
        assert sample(text, "fraudfed_round_close_seconds_count") == 2
        assert sample(text, "fraudfed_runs", state="training") == 1
        changes = {"transaction": "change-run", "kind": "write"}
        assert sample(text, "fraudfed_transaction_seconds_count", **changes) > 0
        assert server.stop() == 0
    # A service that starts counts from 0, as Prometheus expects of a restart.
    with ServerProcess(state.path) as server:
        federation = server.federation(state.path, key)
        assert sample(read(federation), "fraudfed_rounds_opened_total") == 0
        assert sample(read(federation), "fraudfed_runs", state="training") == 1


def test_labels_have_known_values_and_name_nobody(federation: Federation) -> None:
    exercise(federation)
    text = read(federation)
    for _, labels in samples(text):
        for name, value in labels:
            known = VALUES[name]
            assert known is None or value in known, (name, value)
    for bank in federation.banks:
        assert bank.name not in text
        assert bank.run_id not in text
    assert "operator" not in text


def test_the_series_do_not_grow_with_runs_banks_and_addresses(federation: Federation) -> None:
    exercise(federation)
    federation.operate("GET", "/v1/runs/none")
    read(federation)
    before = set(samples(read(federation)))
    for number in range(5):
        federation.call("GET", f"/nowhere/{number}")
        federation.operate("GET", f"/v1/runs/none-{number}")
    banks = federation.banks
    for number in range(2, 5):
        sum_round(banks, number, [[1], [2], [3]])
    assert set(samples(read(federation))) - before == set()


def test_requests_and_bytes_are_counted(federation: Federation) -> None:
    banks = federation.start()
    before = read(federation)
    body = banks[0].contribution(0, [1, 2])
    for _ in range(3):
        assert banks[0].post_contribution(0, body).status == 202
    banks[0].post_contribution(0, banks[0].contribution(0, [3, 4]))
    after = read(federation)

    def more(name: str, **labels: str) -> float:
        return sample(after, name, **labels) - sample(before, name, **labels)

    contribute = {"endpoint": "contribute"}
    assert more("fraudfed_request_seconds_count", status="202", **contribute) == 3
    assert more("fraudfed_request_seconds_count", status="409", **contribute) == 1
    assert more("fraudfed_received_bytes_total", **contribute) == 4 * len(body)
    assert more("fraudfed_problems_total", problem="conflict") == 1
    assert more("fraudfed_bodies_total", place="memory") == 4
    assert more("fraudfed_bodies_total", place="file") == 0
    assert sample(after, "fraudfed_bodies_held", place="memory") == 0
    assert more("fraudfed_sent_bytes_total", **contribute) > 0
    # This one is being worked on while it is read.
    assert sample(after, "fraudfed_requests_working") == 0
    assert sample(after, "fraudfed_requests_waiting") == 0


def test_bodies_in_files_are_counted(
    store: Store, waiters: Waiters, state: StateDirectory, key: TestKey
) -> None:
    app = create_app(ServiceConfig(insecure_allow_small_keys=True), store, waiters)
    services = app.extensions["fraudfed"]
    object.__setattr__(services, "bodies", Bodies(state.path, arriving_bytes=0))
    token = state.operator_token.read_text().strip()
    federation = Federation(DocumentedClient(app), token, key)
    federation.invite("bank-a")
    text = read(federation)
    assert sample(text, "fraudfed_bodies_total", place="file") == 1
    assert sample(text, "fraudfed_bodies_held", place="file") == 0


def test_waiting_is_no_work(federation: Federation) -> None:
    bank = federation.start()[0]
    assert bank.product(0, 0, wait=0.3).status == 204
    text = read(federation)
    waited = sample(text, "fraudfed_wait_seconds_sum", endpoint="product")
    assert waited >= 0.3
    assert sample(text, "fraudfed_wait_seconds_count", endpoint="product") == 1
    whole = sample(text, "fraudfed_request_seconds_sum", endpoint="product", status="204")
    assert whole < waited


def test_a_viewer_and_an_operator_may_read_them_and_nobody_else(
    federation: Federation, store: Store
) -> None:
    viewer = store.tokens.create("prometheus", Role.VIEWER)
    bank = federation.register("bank-a")
    assert federation.call("GET", "/metrics", token=viewer).status == 200
    assert federation.call("GET", "/metrics").problem() == (401, "authentication")
    assert bank.request("GET", "/metrics").problem() == (403, "forbidden")


@pytest.mark.parametrize(
    ("access", "status"), [(MetricsAccess.OPEN, 200), (MetricsAccess.OFF, 404)]
)
def test_they_may_be_open_or_off(
    store: Store, waiters: Waiters, state: StateDirectory, access: MetricsAccess, status: int
) -> None:
    call = DocumentedClient(create_app(ServiceConfig(metrics=access), store, waiters))
    token = state.operator_token.read_text().strip()
    assert call("GET", "/metrics", token=token).status == status
    assert call("GET", "/metrics").status == (401 if access is MetricsAccess.OFF else 200)


def test_they_are_there_while_the_database_fails(
    app: Flask, store: Store, waiters: Waiters, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = DocumentedClient(create_app(ServiceConfig(metrics=MetricsAccess.OPEN), store, waiters))
    store.close()
    (Path(store.database.directory) / "aggregator.db").write_bytes(b"no database" * 1000)
    for suffix in ("-wal", "-shm"):
        (Path(store.database.directory) / f"aggregator.db{suffix}").unlink(missing_ok=True)
    text = call("GET", "/metrics").body.decode()
    assert "fraudfed_info" in text
    assert "fraudfed_runs{" not in text


# Several processes

WORKER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from aggregator.monitoring.metrics import Metrics
from aggregator import run_machine as machine
metrics = Metrics(dict, directory=Path(sys.argv[1]), workers=int(sys.argv[3]))
effect = {
    "opened": machine.RoundOpened(3, machine.Terms("l", "c", 1)),
    "complete": machine.ProductComplete(3),
    "closed": machine.RoundClosed(3),
}[sys.argv[2]]
metrics.observe(SimpleNamespace(run=SimpleNamespace(run_id="r"), effects=(effect,)))
metrics.at_once(2, 5)
sys.stdout.write(str(__import__("os").getpid()) + "\\n" + metrics.text().decode())
"""


def work(directory: Path, what: str, *, workers: int = 2) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(directory), what, str(workers)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    pid, _, text = done.stdout.partition("\n")
    return int(pid), text


def test_worker_processes_add_up_and_time_a_round_together(tmp_path: Path) -> None:
    first, _ = work(tmp_path, "opened")
    forget_worker(tmp_path, first)
    work(tmp_path, "complete")
    _, text = work(tmp_path, "closed")
    assert sample(text, "fraudfed_rounds_opened_total") == 1
    assert sample(text, "fraudfed_rounds_closed_total") == 1
    assert sample(text, "fraudfed_round_complete_seconds_count") == 1
    assert sample(text, "fraudfed_round_close_seconds_count") == 1
    # Those that run hold places; the one that has ended holds none.
    assert sample(text, "fraudfed_requests_waiting") == 10


@pytest.mark.parametrize("shared", [False, True])
def test_only_the_marked_round_is_timed(tmp_path: Path, shared: bool) -> None:
    now = [10.0]
    times = RoundTimes(tmp_path if shared else None, clock=lambda: now[0])
    assert times.since("r", "opened", 0) is None
    times.mark("r", "opened", 0)
    times.mark("s", "opened", 4)
    now[0] += 2.5
    assert times.since("r", "opened", 0) == 2.5
    assert times.since("r", "opened", 1) is None
    assert times.since("r", "completed", 0) is None
    times.forget("r")
    assert times.since("r", "opened", 0) is None
    assert times.since("s", "opened", 4) == 2.5
    if shared:
        (tmp_path / "s.opened").write_text("half")
        assert times.since("s", "opened", 4) is None


def test_what_an_aggregator_counts_is_not_left_by_the_last_one(state: StateDirectory) -> None:
    state.empty_metrics()
    (state.metrics_directory / "counter_1.db").write_text("stale")
    state.empty_metrics()
    found: list[Any] = list(state.metrics_directory.iterdir())
    assert found == []
