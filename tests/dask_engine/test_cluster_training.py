"""The same bytes on a real cluster of processes as on one machine, also when one of them dies."""

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from examples.searched import COMMON, SELECT, SPEC, alone, rows
from examples.spread import in_parts, make_table, part_of, shard_on

from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dask_engine.work import Work
from fraudfed.dtypes import Int64Array
from fraudfed.errors import ClusterError
from fraudfed.parameters import BoosterParams
from fraudfed.search.search import search
from fraudfed.search.selection import SelectRows

pytestmark = pytest.mark.e2e

PARAMS = BoosterParams(
    num_boost_round=5, max_depth=4, eta=0.3, subsample=0.7, max_bin=32, early_stopping_rounds=3
)
TABLE, VALIDATION = make_table(3000), make_table(800, seed=1)


class Interrupted(SoloCommunicator):
    """Does something before one of the sums."""

    def __init__(self, label: str, act: Callable[[], object]) -> None:
        super().__init__()
        self._label, self._act, self.n_acts = label, act, 0

    def sum(self, values: Int64Array, **options: Any) -> Int64Array:
        if options["label"] == self._label and not self.n_acts:
            self.n_acts += 1
            self._act()
        return super().sum(values, **options)


@pytest.fixture(scope="module")
def expected() -> bytes:
    found = train(PARAMS, TABLE, SoloCommunicator(), validation=VALIDATION, threads=1)
    assert len(found.model.trees) > 2
    return found.model.to_json()


@pytest.mark.parametrize("n_parts", [1, 2, 7])
def test_any_number_of_parts_gives_the_bytes_of_one_table(
    cluster: Any, expected: bytes, n_parts: int
) -> None:
    work = Work(cluster)
    # Unsorted and uneven; with seven parts, some are empty.
    shard = shard_on(work, in_parts(TABLE, n_parts))
    validation = shard_on(work, in_parts(VALIDATION, n_parts))
    found = train(PARAMS, shard, SoloCommunicator(), validation=validation)
    assert found.model.to_json() == expected
    assert found.margins.size == TABLE.n_rows


def test_a_worker_that_is_killed_in_a_tree_costs_time_and_no_byte(
    cluster: Any, expected: bytes
) -> None:
    work = Work(cluster)
    shard = shard_on(work, in_parts(TABLE, 7))
    validation = shard_on(work, in_parts(VALIDATION, 2))

    def kill_one() -> None:
        before = cluster.run(os.getpid)
        os.kill(min(before.values()), signal.SIGKILL)

    # A sum within the second tree: its root and one level are summed, and nodes are split.
    communicator = Interrupted("histogram:tree 1 step 1", kill_one)
    found = train(PARAMS, shard, communicator, validation=validation)
    assert communicator.n_acts == 1
    assert found.model.to_json() == expected


def test_a_request_that_is_made_again_has_the_same_answer(cluster: Any) -> None:
    cuts = train(PARAMS, TABLE, SoloCommunicator(), validation=VALIDATION, threads=1).cuts
    shard = shard_on(Work(cluster), in_parts(TABLE, 3))
    boosted = shard.bin(cuts).start((), 0.4)
    first, again = boosted.case_margins(), boosted.case_margins()
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_an_answer_that_takes_longer_to_come_than_a_look_is_waited_for(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(cluster)
    given = [work.give("zeros", np.zeros, 1 << 22) for _ in range(3)]
    monkeypatch.setattr("fraudfed.dask_engine.work._LOOK_SECONDS", 0.001)
    for each in given:
        assert work.wait(each).size == 1 << 22


def test_work_that_failed_while_a_stranger_was_there_names_the_stranger(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(cluster)
    failed = work.give("divide", divmod, 1, 0)
    with pytest.raises(ZeroDivisionError):
        work.wait(failed)
    stranger = "worker tls://a:1 has no fraudfed"
    monkeypatch.setattr(work._newcomers, "look", lambda workers: [stranger])
    with pytest.raises(ClusterError, match=rf"cluster: {stranger}; .* the same command again"):
        work.wait(failed)


def test_a_search_on_a_cluster_gives_the_bytes_of_one_machine(cluster: Any) -> None:
    table = rows(weighted=True)
    work, owner = Work(cluster), np.arange(table.n_rows) % 3
    shard = shard_on(work, [part_of(table, np.flatnonzero(owner == part)) for part in range(3)])
    of_select = SelectRows.of(SELECT, threads=1)
    spread = SelectRows(shard_on(work, in_parts(of_select.shard.table, 2)), of_select.weight)
    found = search(SPEC, COMMON, shard, spread, SoloCommunicator())
    expected = alone(table=table)
    assert found.to_json() == expected.to_json()
    assert found.model.to_json() == expected.model.to_json()
