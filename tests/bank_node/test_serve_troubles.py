"""A killed service, a store that is away, a full disk, callers without a certificate."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from examples.certificates import certify
from serving_kit.scored_bank import OTHER_RUN, START, make_bank, payments, put
from serving_kit.service_process import ServiceProcess

from bank_node.lifecycle.stage_history import Action
from bank_node.serving.scorer import Scorer
from bank_node.state.directory import StateDirectory

pytestmark = pytest.mark.e2e

#: A payment a minute: none is too late, however often it is sent.
ROWS: list[dict[str, Any]] = (
    payments(5, 200)
    .assign(event_time=[START + 60 * number for number in range(200)])
    .drop(columns=["label_time", "is_fraud"])
    .to_dict("records")
)
#: A busy machine takes its time.
PATIENT = ("--deadline-ms", "20000")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> StateDirectory:
    state = make_bank(tmp_path_factory.mktemp("bank"))
    put(state, Action.CHALLENGE, OTHER_RUN)
    return state


@pytest.fixture
def state(bank: StateDirectory, tmp_path: Path) -> StateDirectory:
    shutil.copytree(bank.path, tmp_path / "state")
    return StateDirectory(tmp_path / "state")


def until(found: Callable[[], Any]) -> Any:
    """Return what is found within a minute."""
    ends = time.monotonic() + 60
    while not (result := found()):
        assert time.monotonic() < ends
        time.sleep(0.1)
    return result


def one(service: ServiceProcess, path: str, payment: dict[str, Any]) -> dict[str, Any]:
    answer = service.post(path, payment)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["answers"][0]
    return found


def logged(service: ServiceProcess, transaction_id: str) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get(f"/v1/decisions/{transaction_id}").json()
    return found


def worker_of(service: ServiceProcess) -> int:
    """Return the process that answers."""
    path = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    return int(path.read_text().split()[0])


def test_with_a_challenger_no_answered_payment_is_lost_to_kill(state: StateDirectory) -> None:
    champion = Scorer.read(state.model_path("run-1"), state.current_run("run-1").contract)
    challenger = Scorer.read(state.model_path(OTHER_RUN), champion.contract)
    with ServiceProcess(state.path, *PATIENT) as service:
        assert service.client.get("/v1/serving").json()["challenger_sha256"]
        answered = [one(service, "/v1/payments", row) for row in ROWS[:30]]
        # The one that watches it must not start another.
        service.process.send_signal(signal.SIGSTOP)
        os.kill(worker_of(service), signal.SIGKILL)
        service.process.kill()
        service.process.wait()
    with ServiceProcess(state.path, *PATIENT) as service:
        for answer in answered:
            found = logged(service, answer["transaction_id"])
            for name in ("margin", "score", "step", "model_sha256", "decided_at"):
                assert found[name] == answer[name]
            assert found["challenger_sha256"] == challenger.sha256
        # What the challenger says comes in its own time.
        payment = {**ROWS[-1], "transaction_id": "shadowed"}
        answer = one(service, "/v1/score", payment)
        assert answer["model_sha256"] == champion.sha256
        assert "challenger_margin" not in answer
        found = until(
            lambda: (
                (entry := logged(service, "shadowed"))["challenger_margin"] is not None and entry
            )
        )
        assert (found["margin"], found["action"]) == (answer["margin"], None)


class Redis:
    """A server of its own, which keeps its data."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.directory = directory
        directory.mkdir()
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--dir", str(self.directory)]
        command += ["--appendonly", "yes", "--save", "", "--bind", "127.0.0.1"]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log)
        until(lambda: self._is_up())

    def _is_up(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    pytest.importorskip("redis", reason="install fraudfed[redis]")
    server = Redis(tmp_path / "redis")
    yield server
    server.stop()


def test_a_store_that_is_away_is_a_step_of_the_ladder(state: StateDirectory, redis: Redis) -> None:
    address = f"redis://127.0.0.1:{redis.port}/0?socket_timeout=2&socket_connect_timeout=2"
    with ServiceProcess(state.path, "--store", address, *PATIENT) as service:
        rows = iter(ROWS)

        def pay(step: str) -> dict[str, Any]:
            """Pay until a payment is answered at a step."""
            return until(
                lambda: (
                    (answer := one(service, "/v1/payments", next(rows)))["step"] == step and answer
                )
            )

        assert pay("full")["arrival"] == "new"
        for is_gone in (False, True):
            if is_gone:
                redis.stop()
            else:
                redis.process.send_signal(signal.SIGSTOP)
            away = pay("no-state")
            assert (away["arrival"], away["has_state"]) == ("not-remembered", False)
            assert away["margin"] is not None
            observed = service.post("/v1/observe", ROWS[0])
            assert observed.status_code == 503
            assert int(observed.headers["retry-after"]) >= 1
            for path in ("/v1/health", "/v1/ready"):
                assert service.client.get(path).status_code == 200
            if is_gone:
                redis.start()
            else:
                redis.process.send_signal(signal.SIGCONT)
            assert pay("full")["arrival"] == "new"
            # The same answer again, and now it is remembered.
            row = next(row for row in ROWS if row["transaction_id"] == away["transaction_id"])
            again = one(service, "/v1/payments", row)
            assert again.pop("arrival") in ("new", "late")
            assert again == {name: value for name, value in away.items() if name != "arrival"}
        metrics = service.client.get("/metrics").text
        assert 'fraudfed_scoring_payments_total{step="no-state"}' in metrics
        assert 'fraudfed_scoring_arrivals_total{arrival="not-remembered"}' in metrics
        log = service.log.read_text()
        assert "answered at step no-state of the ladder" in log
        assert "the feature store answers again" in log


@contextlib.contextmanager
def little_room(place: Path, how: str) -> Iterator[None]:
    """Put a directory on a disk of 16 MiB of its own."""
    if how == "disk":
        place.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)],
            capture_output=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip("only a privileged user may mount a small disk; its twin runs anywhere")
    else:
        place.mkdir()
    try:
        yield
    finally:
        if how == "disk":
            subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("how", ["disk", "limit"])
def test_a_full_disk_refuses_payments_and_nothing_else(
    bank: StateDirectory, tmp_path: Path, how: str
) -> None:
    with little_room(tmp_path / "small", how):
        place = tmp_path / "small" / "state"
        shutil.copytree(bank.path, place)
        with ServiceProcess(place, *PATIENT) as service:
            before = one(service, "/v1/payments", ROWS[0])
            limits = resource.prlimit(worker_of(service), resource.RLIMIT_FSIZE)
            filler = tmp_path / "small" / "filler"
            if how == "disk":
                with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                    while True:
                        file.write(bytes(4096))
            else:
                resource.prlimit(worker_of(service), resource.RLIMIT_FSIZE, (1, limits[1]))
            refused = until(
                lambda: next(
                    (
                        answer
                        for answer in (service.post("/v1/payments", row) for row in ROWS[1:60])
                        if answer.status_code != 200
                    ),
                    None,
                )
            )
            assert refused.status_code == 503
            assert refused.headers["content-type"] == "application/problem+json"
            assert int(refused.headers["retry-after"]) >= 1
            assert "make room" in refused.json()["detail"]
            assert service.client.get("/v1/health").status_code == 200
            assert service.client.get("/v1/ready").status_code == 503
            assert service.client.get("/metrics").status_code == 200
            label = {
                "transaction_id": ROWS[0]["transaction_id"],
                "status": "reported",
                "source": "customer",
                "time": ROWS[0]["event_time"] + 60,
            }
            assert service.post("/v1/labels", {"labels": [label]}).status_code == 503
            known = one(service, "/v1/score", ROWS[0])
            assert known["margin"] == before["margin"]
            if how == "disk":
                filler.unlink()
            else:
                resource.prlimit(worker_of(service), resource.RLIMIT_FSIZE, limits)
            for row in ROWS[:60]:
                answer = one(service, "/v1/payments", row)
                assert answer["arrival"] in ("new", "repeated", "late")
            assert service.post("/v1/labels", {"labels": [label]}).json()["new"] == 1
            assert service.client.get("/v1/ready").status_code == 200
        if how == "disk":
            return
        with ServiceProcess(place, *PATIENT) as service:
            for row in ROWS[:60]:
                assert one(service, "/v1/payments", row)["arrival"] == "repeated"


def test_a_caller_without_a_certificate_gets_no_answer(
    state: StateDirectory, tmp_path: Path
) -> None:
    roots, other_roots = (certify(tmp_path, name) for name in ("roots", "other-roots"))
    site = certify(tmp_path, "site", roots, host="127.0.0.1")
    caller, stranger = certify(tmp_path, "caller", roots), certify(tmp_path, "them", other_roots)
    options = [
        *("--tls-certificate", str(site.certificate_file), "--tls-key", str(site.key_file)),
        *("--client-ca", str(roots.certificate_file), *PATIENT),
    ]
    with ServiceProcess(state.path, *options) as service:
        assert service.url.startswith("https://")

        def call(shown: Any, path: str = "/v1/score") -> httpx.Response:
            context = ssl.create_default_context(cafile=str(roots.certificate_file))
            if shown is not None:
                context.load_cert_chain(shown.certificate_file, shown.key_file)
            with httpx.Client(
                base_url=service.url, verify=context, timeout=60, trust_env=False
            ) as client:
                return client.post(path, json=ROWS[0])

        answer = call(caller)
        assert answer.status_code == 200, answer.text
        assert answer.json()["answers"][0]["step"] == "full"
        for shown in (None, stranger):
            with pytest.raises(httpx.TransportError):
                call(shown)
        with pytest.raises(httpx.TransportError):
            httpx.get(service.url.replace("https", "http") + "/v1/health", trust_env=False)
