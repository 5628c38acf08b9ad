"""Scheduler and workers that are programs of their own, over TLS: what they compute, how they end.

Wherever it ends well, the model has the bytes of one machine.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from dask_programs import (
    NO_FRAUDFED,
    OTHER_RELEASE,
    ClusterElsewhere,
    cluster_elsewhere,
    wait_until_joined,
)
from examples.certificates import certify
from federations.commands import run_in_process
from federations.watched import CONTRACT, make_rows

from bank_node.cli import main
from bank_node.commands import engine
from bank_node.config import BankConfig
from bank_node.data.contract import TableShares, load_training_rows
from bank_node.data.spread import spread_rows
from bank_node.state.directory import StateDirectory
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium.identity import Identity
from fraudfed.dask_engine import newcomers, work
from fraudfed.dask_engine.options import ClusterOptions
from fraudfed.dask_engine.work import Work
from fraudfed.errors import ClusterError
from fraudfed.parameters import BoosterParams
from fraudfed.reading.location import open_data

pytestmark = pytest.mark.e2e

PARAMS = BoosterParams(num_boost_round=4, max_depth=3, max_bin=16)
SHARES = TableShares(seed=3, select=True, judge=True)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterElsewhere]:
    with cluster_elsewhere(tmp_path_factory.mktemp("elsewhere")) as found:
        yield found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "parts"
    folder.mkdir()
    rows = make_rows(600)
    for number, start in enumerate((0, 200, 400)):
        rows[start : start + 200].to_parquet(folder / f"{number}.parquet", index=False)
    return folder


@pytest.fixture(scope="module")
def expected(data: Path) -> bytes:
    rows = load_training_rows(data, CONTRACT, shares=SHARES).windows.train
    return train(PARAMS, rows, SoloCommunicator(), threads=1).model.to_json()


def model_on(client: Any, data: Path, after_first: Callable[[], object] = lambda: None) -> bytes:
    """Train there, and do something once the first tree is there."""
    rows = spread_rows(client, open_data(data), CONTRACT, SHARES)
    trees: list[object] = []

    def on_tree(tree: object) -> None:
        trees.append(tree)
        if len(trees) == 1:
            after_first()

    found = train(PARAMS, rows.train, SoloCommunicator(), on_tree=on_tree).model
    assert len(trees) == PARAMS.num_boost_round
    return found.to_json()


def test_workers_that_all_die_for_good_are_one_line(
    elsewhere: ClusterElsewhere, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_LOOK_SECONDS", 0.1)
    with (
        elsewhere.opened(1) as client,
        pytest.raises(ClusterError, match=r"no worker for 1\.2 s.*start workers"),
    ):
        model_on(client, data, elsewhere.kill_workers)


def test_a_worker_of_another_release_that_joins_is_sent_away(
    elsewhere: ClusterElsewhere,
    data: Path,
    expected: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All workers die; first strangers come in their place, then one that can do the work."""
    monkeypatch.setattr(work, "_LOOK_SECONDS", 0.5)
    strangers = []

    with elsewhere.opened(2) as client:
        addresses = [client.scheduler.address, *client.scheduler_info(-1)["workers"]]
        assert all(address.startswith("tls://127.0.0.1:") for address in addresses)
        assert len(addresses) == 3

        def join() -> None:
            elsewhere.kill_workers()
            # What was on the others is given to it at once, and it cannot even read what it is.
            assert elsewhere.start_worker(NO_FRAUDFED).process.wait(60) is not None
            stranger = elsewhere.start_worker(OTHER_RELEASE)
            wait_until_joined(client, stranger)
            strangers.append(stranger)
            elsewhere.start_worker()

        assert model_on(client, data, join) == expected
    (stranger,) = strangers
    assert stranger.process.wait(60) is not None
    assert "has fraudfed 0.0.9, this program" in caplog.text
    assert "it has joined in the middle and is sent away" in caplog.text


def test_control_without_the_look_a_worker_that_joins_changes_the_model(
    elsewhere: ClusterElsewhere, data: Path, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give(works: Work, what: str, function: Any, *arguments: Any) -> Any:
        works.n_given += 1
        key = f"{what}-unchecked-{works._name}-{works.n_given}"
        return works._client.submit(function, *arguments, key=key, pure=False)

    monkeypatch.setattr(Work, "give", give)
    monkeypatch.setattr(newcomers.Newcomers, "look", lambda self, workers: [])
    with elsewhere.opened(1) as client:

        def join() -> None:
            elsewhere.kill_workers()
            wait_until_joined(client, elsewhere.start_worker(OTHER_RELEASE))

        try:
            assert model_on(client, data, join) != expected
        finally:
            elsewhere.kill_workers()


def test_what_cannot_connect_is_one_line_and_exit_code_17(
    elsewhere: ClusterElsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "ClusterOptions", partial(ClusterOptions, wait_seconds=2.0))
    tls, port = elsewhere.tls, elsewhere.address.rpartition(":")[2]
    identity = Identity.generate()
    config = BankConfig(
        name="a",
        aggregator="http://127.0.0.1:1",
        signing_key=identity.public.signing_key,
        agreement_key=identity.public.agreement_key,
    )
    state = StateDirectory.create(tmp_path / "bank", config, identity).path
    other = certify(tmp_path, "other")
    stranger = certify(tmp_path, "stranger", other, host="127.0.0.1")
    for address, files in (
        # The scheduler's certificate is not of this authority.
        (elsewhere.address, (other.certificate_file, tls.cert, tls.key)),
        # This program's certificate is not of the scheduler's.
        (elsewhere.address, (tls.ca, *stranger.files)),
        # In the clear, to a port of TLS.
        (f"tcp://127.0.0.1:{port}", ()),
        # Nothing listens there.
        ("tls://127.0.0.1:9", (tls.ca, tls.cert, tls.key)),
    ):
        options = ("--dask-tls", ",".join(map(str, files))) if files else ()
        ended = run_in_process(
            main,
            "bank-node",
            *("train", "--state", str(state), "--data", str(tmp_path)),
            *("--engine", "dask", "--scheduler", address, *options),
        )
        lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
        assert ended.returncode == 17, ended.stderr
        assert len(lines) == 1
        assert f"scheduler {address}: cannot be reached within 2 s" in lines[0]
        assert "Traceback" not in ended.stderr


def test_a_scheduler_that_is_killed_is_one_line(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_LOOK_SECONDS", 0.5)
    with cluster_elsewhere(tmp_path / "gone") as found, found.opened(1) as client:

        def kill() -> None:
            found.scheduler.process.kill()
            found.scheduler.process.wait()

        with pytest.raises(ClusterError, match=r"the scheduler has gone|does not answer"):
            model_on(client, data, kill)
