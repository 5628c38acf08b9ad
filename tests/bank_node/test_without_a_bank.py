"""A finished training again without a bank: exactly the others' model, at a price."""

import subprocess
from pathlib import Path

import pytest
from federations.bank_process import finish
from federations.bank_states import Banks
from federations.server_process import run_command
from oracles.stages import Bank, Stage, simulate

from bank_node.approval.repeated import price_of_repeating
from bank_node.data.contract import load_training_rows
from bank_node.run.agreement.epoch_check import check_epoch
from bank_node.state.directory import StateDirectory
from fraudfed.errors import CohortError
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import RunSpec, parse

pytestmark = pytest.mark.e2e

PARAMETERS = {"num_boost_round": 3, "max_depth": 2, "max_bin": 8, "eta": 0.4}


def command(*words: object) -> "subprocess.CompletedProcess[str]":
    return run_command(*map(str, words))


def train(banks: Banks, files: list[Path], *places: int) -> list[int]:
    running = [banks.train(banks.names[place], files[place]) for place in places]
    return [finish(process).code for process in running]


def test_the_others_get_what_they_would_have_got_alone(
    make_banks, make_rows, tmp_path: Path
) -> None:
    files = [tmp_path / f"rows-{place}.parquet" for place in range(4)]
    for place, path in enumerate(files):
        make_rows(place, n_rows=60 + 40 * place).to_parquet(path)
    banks = make_banks(4, parameters=PARAMETERS)
    banks.allow_set_changes(0)
    first, victim = banks.run_id, banks.names[3]
    token = tmp_path / "token"
    token.write_text(banks.aggregator.operator_token)
    token.chmod(0o600)
    create = ("runs", "create", "--url", banks.aggregator.url, "--token-file", token)
    like = (*create, "--like", first, "--without", victim)

    ended = command(*like, "--yes")
    assert ended.returncode == 2, ended.stderr
    assert "expected a finished run" in ended.stderr, ended.stderr
    assert train(banks, files, 0, 1, 2, 3) == [0] * 4

    ended = command(*create, "--like", first, "--without", "nobody", "--yes")
    assert (ended.returncode, "took no part in run" in ended.stderr) == (2, True)
    ended = command(*like)
    assert ended.returncode == 2
    assert "pays one of its set_changes" in ended.stderr
    assert "nobody is there to ask" in ended.stderr
    ended = command(*like, "--dry-run")
    spec = parse(RunSpec, ended.stdout, source="test")
    before = banks.aggregator.status(first)
    changed = {"name": f"{before.spec.name} without {victim}", "without": (victim,)}
    assert spec == before.spec.model_copy(update=changed)

    ended = command(*like, "--yes")
    assert ended.returncode == 0, ended.stderr
    banks.run_id = ended.stdout.strip()
    status = banks.aggregator.status(banks.run_id)
    assert status.cohort == tuple(banks.names[:3])
    # Each bank's own rule decides: nothing is joined, and the review says it before.
    assert train(banks, files, 0) == [10]
    bank = StateDirectory(banks.state(banks.names[0]))
    run = bank.pinned_run(banks.run_id)
    assert run is not None
    lines = price_of_repeating(bank, run)
    assert f"repeats run {first} without {victim}" in lines[0]
    assert "0 are allowed in bank.toml, 0 used up at most; that is not enough" in lines[1]
    # A cohort without a bank that the run does not leave out is the aggregator's fault.
    epoch = bank.key_epoch(run.spec.key_epoch)
    assert epoch is not None
    lied = run.model_copy(update={"spec": run.spec.model_copy(update={"without": ()})})
    with pytest.raises(CohortError, match="is signed for"):
        check_epoch(lied, epoch, latest=epoch.epoch)

    banks.allow_set_changes(1)
    assert train(banks, files, 0, 1, 2) == [0] * 3
    parts = [Bank(load_training_rows(file, banks.contract).table) for file in files[:3]]
    alone = simulate(BoosterParams.parse(PARAMETERS), parts, [Stage((0, 1, 2))]).model.to_json()
    for name in banks.names[:3]:
        path = StateDirectory(banks.state(name)).model_path
        assert path(banks.run_id).read_bytes() == alone
        assert path(first).read_bytes() != alone
    # The allowance is spent.
    bank = StateDirectory(bank.path)
    assert "1 are allowed in bank.toml, 1 used up at most" in price_of_repeating(bank, run)[-1]
