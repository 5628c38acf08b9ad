"""Banks as real processes search together: killed, dropped, and with the bytes of one process."""

import hashlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cohorts.exact import run_cohort
from examples.search import COMMON, CONTRACT, SPEC, rows_of, search_run
from federations.bank_process import finish, start_bank
from federations.bank_states import Banks, serving

from bank_node.data.contract import TableShares, load_training_rows
from fraudfed.communicator import Communicator, SoloCommunicator
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.intake.windows import Windows
from fraudfed.search.search import search
from fraudfed.wire.messages import RunState, SearchSpec, SelectBy
from fraudfed.wire.search_results import encode

pytestmark = pytest.mark.e2e

POOLED = SPEC.model_copy(update={"select_by": SelectBy.POOLED})


def windows_of(path: Path) -> Windows:
    shares = TableShares(select=True, judge=True)
    return load_training_rows(path, CONTRACT, shares=shares).windows


def in_process(paths: list[Path], spec: SearchSpec) -> bytes:
    """Return what as many banks as there are files sign."""
    windows = [windows_of(path) for path in paths]

    def program(bank: int, communicator: Communicator) -> bytes:
        own = windows[bank]
        assert own.select is not None
        found = search(spec, COMMON, own.train, own.select, communicator)
        return encode(found.to_json(), found.model.to_json())

    if len(paths) == 1:
        return program(0, SoloCommunicator())
    return run_cohort(len(paths), program)[0]


@dataclass(frozen=True)
class Running:
    """A consortium with a search, and the files of its banks."""

    banks: Banks
    files: list[Path]

    def start(self, bank: int) -> "subprocess.Popen[str]":
        return start_bank("--quiet", "--log-format", "json", "search", *self.where(bank))

    def where(self, bank: int) -> tuple[str, ...]:
        name = self.banks.names[bank]
        return (
            *("--state", str(self.banks.state(name)), "--data", str(self.files[bank])),
            *("--run", self.banks.run_id),
        )

    def result(self, bank: int, name: str) -> bytes:
        state = self.banks.state(self.banks.names[bank])
        return (state / "runs" / self.banks.run_id / name).read_bytes()

    def both(self, bank: int) -> bytes:
        return self.result(bank, "search.json") + self.result(bank, "model.json")

    def wait_until_round(self, number: int) -> None:
        deadline = time.monotonic() + 60
        while self.banks.aggregator.status(self.banks.run_id).round_number < number:
            assert time.monotonic() < deadline, "the run makes no progress"
            time.sleep(0.02)


def begin(root: Path, banks: Banks, n_banks: int, **changes: Any) -> Running:
    files = [root / f"{bank}.parquet" for bank in range(n_banks)]
    for bank, path in enumerate(files):
        rows_of(bank, 200 + 100 * bank).to_parquet(path)
    banks.run_id = banks.aggregator.create_run(search_run(banks.key_epoch.epoch, **changes))
    return Running(banks, files)


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, key_package: KeyPackage
) -> Iterator[Running]:
    """Three banks; one was killed twice in the middle."""
    root = tmp_path_factory.mktemp("search")
    with serving(root, root) as aggregator:
        running = begin(root, Banks(root, aggregator, key_package), 3, search=POOLED)
        processes = [running.start(bank) for bank in range(3)]
        for number in (7, 14):
            running.wait_until_round(number)
            processes[1].kill()
            processes[1].communicate()
            assert aggregator.status(running.banks.run_id).state is RunState.TRAINING
            processes[1] = running.start(1)
        ended = [finish(process) for process in processes]
        assert [end.code for end in ended] == [0, 0, 0], [end.err for end in ended]
        yield running


def test_a_killed_bank_continues_to_the_bytes_of_one_process(
    finished: Running, tmp_path: Path
) -> None:
    status = finished.banks.aggregator.status(finished.banks.run_id)
    assert (status.state, status.generation.number) == (RunState.FINISHED, 0)
    content = finished.both(0)
    assert {finished.both(bank) for bank in range(3)} == {content}
    assert content == in_process(finished.files, POOLED)
    # What the banks have signed, and the registry holds, is the two files.
    assert hashlib.sha256(content).hexdigest() == status.model_sha256
    # On one bank's table of all rows: the same choice and the same model.
    pooled = tmp_path / "all.parquet"
    pd.concat([pd.read_parquet(path) for path in finished.files]).to_parquet(pooled)
    assert in_process([pooled], POOLED).partition(b"\n")[2] == finished.result(0, "model.json")
