"""Banks as real processes search together: killed, dropped, and with the bytes of one process."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cohorts.exact import run_cohort
from examples.search import CHANNELS, COMMON, CONTRACT, SPEC, rows_of, search_run
from federations.bank_process import Process, finish, start_bank
from federations.bank_states import Banks, serving

from bank_node.data.contract import TableShares, load_training_rows
from fraudfed.communicator import Communicator, SoloCommunicator
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.intake.windows import Windows
from fraudfed.search.search import search
from fraudfed.search.state import SearchState
from fraudfed.wire.messages import DropRequest, RunState, SearchRung, SearchSpec, SelectBy
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

    def start(self, bank: int) -> Process:
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
        deadline = time.monotonic() + 120
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
    """Three banks; one was killed in the middle."""
    root = tmp_path_factory.mktemp("search")
    with serving(root, root) as aggregator:
        running = begin(root, Banks(root, aggregator, key_package), 3, search=POOLED)
        processes = [running.start(bank) for bank in range(3)]
        running.wait_until_round(10)
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


def test_the_record_holds_every_curve_and_what_the_winner_is_worth(finished: Running) -> None:
    found = json.loads(finished.result(0, "search.json"))
    records = [finished.banks.record(name) for name in finished.banks.names]
    for record in records:
        result = record["result"]
        assert (result["kind"], result["select_by"]) == ("search", "pooled")
        assert result["winner"] == found["choice"]["name"]
        assert result["parameters"] == found["choice"]["parameters"]
        curves = [(each["name"], each["curve"]) for each in result["candidates"]]
        assert curves == [(each["name"], each["curve"]) for each in found["candidates"]]
        assert result["verdict"]["window"] == "judge"
        assert "better than life" in result["verdict"]["note"]
        assert result["verdict"]["report"]["readings"]
        assert record["whole_run"]["protection"]["rounds_verified"] == record["whole_run"]["rounds"]
    verdicts = [record["result"]["verdict"] for record in records]
    assert verdicts == verdicts[:1] * 3
    trees = {each["name"]: each["trees"] for each in records[0]["result"]["candidates"]}
    assert sorted(trees.values()) == [2, 3, 4]


def test_the_winner_scores_at_once_and_is_shown(finished: Running, run_bank, tmp_path) -> None:
    state, run_id = finished.where(0)[:2], finished.banks.run_id
    again = run_bank("search", *finished.where(0))
    assert again.code == 0, again.err
    for part in ("shallow", "deep", "careful", "chosen", "3 candidates", "bank-node score"):
        assert part in again.out, again.out
    rows = rows_of(7, 40).drop(columns="is_fraud")
    rows.to_csv(tmp_path / "new.csv", index=False)
    # Also without --run: this bank has no training.
    for options in (("--run", run_id), ()):
        out = tmp_path / f"scores{len(options)}.csv"
        files = ("--data", tmp_path / "new.csv", "--out", out)
        scored = run_bank("score", *state, *files, *options)
        assert scored.code == 0, scored.err
    assert (tmp_path / "scores0.csv").read_bytes() == (tmp_path / "scores2.csv").read_bytes()
    assert pd.read_csv(tmp_path / "scores0.csv")["score"].nunique() > 3
    checked = run_bank("check-data", *state, "--data", finished.files[0], "--run", run_id)
    assert checked.code == 0, checked.err
    verified = run_bank("audit", "verify", *state, "--against-aggregator")
    assert verified.code == 0, verified.err
    assert run_id in run_bank("status", *state).out
    reviewed = " ".join(run_bank("runs", "review", run_id, *state).out.split())
    for part in ("3 to 2 trees, 2 to 3 trees, 1 to 4 trees", "9 trees in all", "of the frauds"):
        assert part in reviewed, reviewed
    trained = run_bank("train", *finished.where(0))
    assert trained.code == 2
    assert "is of kind search, expected training; use 'bank-node search'" in trained.error()


def test_the_search_continues_without_a_bank_that_drops_out(
    tmp_path: Path, aggregator, key_package: KeyPackage
) -> None:
    banks = Banks(tmp_path, aggregator, key_package, n_banks=4)
    # Long enough to be dropped in the middle.
    spec = SPEC.model_copy(update={"rungs": (*SPEC.rungs[:2], SearchRung(trees=12, alive=1))})
    running = begin(tmp_path, banks, 4, search=spec)
    processes = {bank: running.start(bank) for bank in range(4)}
    running.wait_until_round(12)
    processes[2].kill()
    processes.pop(2).communicate()
    request = DropRequest(bank=banks.names[2], reason="test")
    aggregator.operator("POST", f"/v1/runs/{banks.run_id}/drops", request)
    ended = [finish(process) for process in processes.values()]
    assert [end.code for end in ended] == [0, 0, 0], [end.err for end in ended]
    status = aggregator.status(banks.run_id)
    assert (status.generation.number, len(status.generation.banks)) == (1, 3)
    expected = after_a_change(running.files, spec, status.generation.first_step)
    assert {running.both(bank) for bank in (0, 1, 3)} == {expected}
    assert running.both(0) != in_process(running.files, spec)
    # The one that was dropped gets what the others have signed.
    late = finish(running.start(2))
    assert late.code == 0, late.err
    assert running.both(2) == expected
    record = banks.record(banks.names[2])
    assert record["taken_from_registry"]
    assert len(record["result"]["candidates"]) == 3
    assert record["result"]["verdict"] is None


def after_a_change(paths: list[Path], spec: SearchSpec, step: int) -> bytes:
    """Return what all but bank 2 sign that continue from a step without it."""
    windows = [windows_of(path) for path in paths]

    def until(bank: int, communicator: Communicator) -> SearchState:
        own, states = windows[bank], []
        search(spec, COMMON, own.train, own.select, communicator, on_step=states.append)
        return next(state for state in states if state.n_steps == step)

    start = run_cohort(4, until)[0].regrouped()
    left = [windows[bank] for bank in (0, 1, 3)]

    def on(bank: int, communicator: Communicator) -> bytes:
        own = left[bank]
        found = search(spec, COMMON, own.train, own.select, communicator, start=start)
        return encode(found.to_json(), found.model.to_json())

    return run_cohort(3, on)[0]


def test_no_fraud_to_select_by_at_any_bank_ends_the_run_with_one_line(
    tmp_path: Path, aggregator, key_package: KeyPackage
) -> None:
    running = begin(tmp_path, Banks(tmp_path, aggregator, key_package), 3)
    for path in running.files:
        own, rows = windows_of(path), pd.read_parquet(path)
        assert own.select is not None
        # What selects is chosen by content: frauds that would are left out.
        keep = rows["is_fraud"] == 0
        train = pd.DataFrame(own.train.features, columns=["amount", "age", "channel"])
        train["channel"] = [CHANNELS[int(code)] for code in train["channel"]]
        frauds = train[own.train.labels == 1].assign(is_fraud=1)
        frauds["amount"] = [float(f"{value:.6g}") for value in frauds["amount"]]
        pd.concat([rows[keep], frauds.astype(rows.dtypes)]).to_parquet(path)
    ended = [finish(process) for process in [running.start(bank) for bank in range(3)]]
    assert {end.code for end in ended} <= {3, 11}, [end.err for end in ended]
    assert any("rows of the select window" in end.err for end in ended)
    assert aggregator.status(running.banks.run_id).state is RunState.FAILED
