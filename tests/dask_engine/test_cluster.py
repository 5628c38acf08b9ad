"""Clusters that cannot do the work: each is one line, before or in the middle of a run."""

import logging
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from examples.spread import hold_hungrily, in_parts, make_table, shard_on
from federations.watched import CONTRACT, make_rows

from bank_node.data.contract import TableShares, load_training_rows
from bank_node.data.digest import windows_digest
from bank_node.data.spread import hand_out, spread_rows
from fraudfed.boosting.predict import predict_margins
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dask_engine import workers
from fraudfed.dask_engine.cluster import open_cluster
from fraudfed.dask_engine.options import ClusterOptions
from fraudfed.dask_engine.work import Work
from fraudfed.dask_engine.workers import check_workers
from fraudfed.errors import ClusterError, ConfigurationError, DataError
from fraudfed.parameters import BoosterParams
from fraudfed.reading.location import open_data

pytestmark = pytest.mark.e2e

SHARES = TableShares(seed=3, select=True, judge=True)


def write_parts(folder: Path, rows: pd.DataFrame) -> Path:
    folder.mkdir()
    for number, part in enumerate((rows[:400], rows[:0], rows[400:])):
        part.to_parquet(folder / f"{number}.parquet", index=False)
    return folder


def test_a_cluster_on_this_machine_is_encrypted_and_for_this_machine_alone(cluster: Any) -> None:
    addresses = list(cluster.scheduler_info()["workers"])
    assert all(address.startswith("tls://127.0.0.1:") for address in addresses)
    assert cluster.scheduler.address.startswith("tls://127.0.0.1:")
    assert cluster.dashboard_link.startswith("http://127.0.0.1:")
    for directory in cluster.run(lambda dask_worker: dask_worker.local_directory).values():
        private = Path(directory).parent.parent
        assert stat.S_IMODE(private.stat().st_mode) == 0o700


def _pretend(release: str | None, without_kernels: bool) -> None:
    from fraudfed import __version__
    from fraudfed.dask_engine import workers as here

    here.__version__ = release or __version__
    os.environ["FRAUDFED_NO_EXT"] = "1" if without_kernels else "0"


def test_workers_of_another_kind_are_named(cluster: Any, monkeypatch) -> None:
    # One may have been killed by another test, and is started again.
    cluster.wait_for_workers(2, timeout=60)
    assert check_workers(cluster, insecure=False) == 2
    one = next(iter(cluster.scheduler_info()["workers"]))
    try:
        cluster.run(_pretend, "0.0.9", False, workers=[one])
        with pytest.raises(ClusterError, match=f"worker {one} has fraudfed 0.0.9, this program"):
            check_workers(cluster, insecure=False)
        cluster.run(_pretend, None, True, workers=[one])
        with pytest.raises(ClusterError, match=f"worker {one} has no compiled kernels"):
            check_workers(cluster, insecure=False)
    finally:
        cluster.run(_pretend, None, False)
    lacks = ModuleNotFoundError("No module named 'fraudfed'", name="fraudfed")
    assert workers.fault_of(lacks, workers.worker_facts()) == "has no fraudfed"
    monkeypatch.setattr(workers, "is_safe", lambda address: False)
    with pytest.raises(ConfigurationError, match="would travel to it in the clear"):
        check_workers(cluster, insecure=False)


def test_python_and_numpy_are_compared_before_a_function_is_sent() -> None:
    def facts(python: str, numpy: str) -> dict[str, Any]:
        return {"host": {"python": f"{python}.4.final.0"}, "packages": {"numpy": numpy}}

    found = {"client": facts("3.11", "2.1"), "workers": {"tls://a:1": facts("3.12", "2.1")}}
    with pytest.raises(ClusterError, match=r"worker tls://a:1 has Python 3\.12 and NumPy 2\.1"):
        workers._check_versions(found)


def test_a_scheduler_that_is_not_there_is_named() -> None:
    options = ClusterOptions(scheduler="tcp://127.0.0.1:9", wait_seconds=0.5)
    with (
        pytest.raises(ClusterError, match=r"scheduler tcp://127\.0\.0\.1:9: cannot be reached"),
        open_cluster(options),
    ):
        pass


def test_a_scheduler_without_workers_and_one_that_goes_in_the_middle() -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    ) as elsewhere:
        address = elsewhere.scheduler_address
        too_many = ClusterOptions(scheduler=address, workers=2, wait_seconds=0.5)
        with (
            pytest.raises(ClusterError, match=r"1 workers after 0\.5 s, expected 2"),
            open_cluster(too_many),
        ):
            pass
        with open_cluster(ClusterOptions(scheduler=address)) as client:
            shard = shard_on(Work(client), in_parts(make_table(300), 2))
            params = BoosterParams(num_boost_round=3, max_depth=2)
            with pytest.raises(ClusterError, match=r"the scheduler has gone|does not answer"):
                train(
                    params,
                    shard,
                    SoloCommunicator(),
                    on_tree=lambda _tree: elsewhere.close(),
                )


def test_a_worker_that_is_ended_for_its_memory_is_one_that_dies(tmp_path: Path) -> None:
    params = BoosterParams(num_boost_round=2, max_depth=2)
    table = make_table(300)
    expected = train(params, table, SoloCommunicator()).model.to_json()
    limit = 640 << 20
    with open_cluster(ClusterOptions(workers=1, memory_limit=limit, dashboard=None)) as client:
        assert [each["memory_limit"] for each in client.scheduler_info()["workers"].values()] == [
            limit
        ]
        times = tmp_path / "times"
        times.mkdir()
        shard = shard_on(Work(client), in_parts(table, 2), hold_hungrily, times)
        (times / "once").touch()
        assert train(params, shard, SoloCommunicator()).model.to_json() == expected
        assert not list(times.iterdir())
        # Once more than Dask tries it.
        client.cluster.scheduler.allowed_failures = 0
        (times / "again").touch()
        with pytest.raises(ClusterError, match=r"ended 1 times .* for want of memory; give"):
            train(
                params,
                shard_on(Work(client), in_parts(table, 2), hold_hungrily, times),
                SoloCommunicator(),
            )


def test_windows_of_partitions_are_those_of_one_file(cluster: Any, tmp_path: Path) -> None:
    rows = make_rows(1000)
    folder = write_parts(tmp_path / "parts", rows)
    whole = load_training_rows(folder, CONTRACT, shares=SHARES).windows
    found = spread_rows(cluster, open_data(folder), CONTRACT, SHARES)
    assert found.counts == whole.counts
    assert (found.train.n_rows, found.train.n_positives) == (
        whole.train.n_rows,
        int(whole.train.labels.sum()),
    )
    params = BoosterParams(num_boost_round=3, max_depth=3, early_stopping_rounds=2)
    model = train(params, found.train, SoloCommunicator(), validation=found.validation).model
    expected = train(params, whole.train, SoloCommunicator(), validation=whole.validation).model
    assert model.to_json() == expected.to_json()
    assert found.judged is not None
    assert whole.judge is not None
    margins = predict_margins(model, whole.judge.features, threads=1)
    np.testing.assert_array_equal(found.judged.margins(model), margins)
    np.testing.assert_array_equal(found.judged.outcomes.labels, whole.judge.outcomes.labels)
    assert found.digest == windows_digest(whole)
    handed = train(
        params, hand_out(cluster, whole.train), SoloCommunicator(), validation=whole.validation
    )
    assert handed.model.to_json() == expected.to_json()


def test_a_run_is_continued_with_other_parts_and_on_the_other_engine(
    cluster: Any, tmp_path: Path
) -> None:
    rows = make_rows(600)
    first = spread_rows(cluster, open_data(write_parts(tmp_path / "parts", rows)), CONTRACT, SHARES)
    # The same rows in another order, and in one file of many row groups.
    whole = tmp_path / "whole.parquet"
    rows.iloc[::-1].to_parquet(whole, index=False, row_group_size=100)
    second = spread_rows(cluster, open_data(whole), CONTRACT, SHARES)
    local = load_training_rows(whole, CONTRACT, shares=SHARES).windows
    assert first.digest == second.digest == windows_digest(local)
    params = BoosterParams(num_boost_round=4, max_depth=3)
    states: list[bytes] = []
    expected = train(
        params,
        first.train,
        SoloCommunicator(),
        validation=first.validation,
        on_step=lambda state: states.append(state.to_bytes()),
    ).model.to_json()
    schema = first.train.schema
    for step, (train_rows, validation) in (
        (2, (second.train, second.validation)),
        (3, (local.train, local.validation)),
    ):
        start = TrainingState.from_bytes(states[step - 1], schema=schema)
        found = train(params, train_rows, SoloCommunicator(), validation=validation, start=start)
        assert found.model.to_json() == expected


def test_other_rows_in_parts_have_another_digest(cluster: Any, tmp_path: Path) -> None:
    rows = make_rows(600)
    first = spread_rows(cluster, open_data(write_parts(tmp_path / "a", rows)), CONTRACT, SHARES)
    rows.loc[450, "hour"] = (rows.loc[450, "hour"] + 1) % 24
    other = spread_rows(cluster, open_data(write_parts(tmp_path / "b", rows)), CONTRACT, SHARES)
    assert other.digest != first.digest


def test_a_bad_cell_is_named_with_its_file_and_no_worker_logs_it(
    cluster: Any, tmp_path: Path, caplog
) -> None:
    rows = make_rows(600)
    rows["hour"] = rows["hour"].astype(float)
    rows.loc[450, "hour"] = np.inf
    folder = write_parts(tmp_path / "parts", rows)
    with caplog.at_level(logging.DEBUG), pytest.raises(DataError, match=r"2\.parquet.*hour"):
        spread_rows(cluster, open_data(folder), CONTRACT, SHARES)
    logs = str(cluster.get_worker_logs()) + caplog.text
    assert "inf" not in logs.replace("INFO", "").lower().replace("info", "")


def test_texts_are_read_alike_in_all_parts_or_refused(cluster: Any, tmp_path: Path) -> None:
    rows = make_rows(600)
    first, others = rows[:400], rows[400:]
    truths = pd.concat([first.assign(hour="true"), others.assign(hour="2")], ignore_index=True)
    folder = write_parts(tmp_path / "parts", truths)
    with pytest.raises(DataError, match=r"column 'hour' holds numbers in .* and truth values in"):
        spread_rows(cluster, open_data(folder), CONTRACT, SHARES)


def test_partitions_without_any_row_are_refused(cluster: Any, tmp_path: Path) -> None:
    folder = write_parts(tmp_path / "parts", make_rows(10)[:0])
    with pytest.raises(DataError, match="no row in any of them"):
        spread_rows(cluster, open_data(folder), CONTRACT, SHARES)
