"""What is wrong with a bank's own rows stops it before it joins; afterwards it looks at none."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from examples.ledgers import ledger_at
from rich.console import Console

from bank_node.jobs import training
from bank_node.jobs.training import TrainingJob
from bank_node.run.progress import RunProgress
from fraudfed.boosting import metrics
from fraudfed.boosting import train as boosting
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import DataError
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract, FeatureSpec, RunSpec

CONTRACT = DataContract(
    kind="table",
    label="label",
    weight="weight",
    max_weight=65536.0,
    features=(FeatureSpec(name="amount"),),
)
N_ROWS = 200


def load(
    directory: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> training.TrainingWork:
    """Do what a bank does with its file before it joins a run."""
    rng = np.random.default_rng(0)
    amounts, labels = rng.normal(size=N_ROWS), rng.integers(0, 2, N_ROWS)
    file = directory / "rows.csv"
    lines = [f"{a},{b},1.5" for a, b in zip(amounts, labels, strict=True)]
    file.write_text("\n".join(["amount,label,weight", *lines]) + "\n")
    parameters = {"num_boost_round": 2, "max_depth": 2} | settings
    params = BoosterParams.parse(parameters)
    spec = RunSpec(name="test", key_epoch=1, parameters=parameters, contract=CONTRACT)
    monkeypatch.setattr(training, "check_run", lambda run, rules: params)
    context: Any = SimpleNamespace(
        run=SimpleNamespace(contract=CONTRACT, spec=spec),
        rules=None,
        state=None,
        ledger=ledger_at(directory / "sets.ledger"),
        options=SimpleNamespace(
            data=file, mapping=None, threads=1, cluster=None, memory_limit=None
        ),
        progress=RunProgress(Console(), enabled=False),
    )
    return TrainingJob().load(context)


def test_own_sums_that_could_leave_62_bits_stop_a_bank_before_it_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits are the contract's and the parameters'; a member could shift the pooled ones."""
    with pytest.raises(DataError, match="exceed the range of exact sums"):
        load(tmp_path, monkeypatch, scale_pos_weight=65536.0)
    assert load(tmp_path, monkeypatch, scale_pos_weight=8.0).n_rows == N_ROWS


def test_own_losses_that_could_leave_62_bits_stop_a_bank_before_it_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_MOST_LOSSES", 10)
    with pytest.raises(DataError, match="validation rows exceed"):
        load(tmp_path, monkeypatch, early_stopping_rounds=1)
    load(tmp_path, monkeypatch, early_stopping_rounds=1, eval_metric="auc")


def test_after_joining_no_rule_looks_at_a_banks_own_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that the rules look at was opened, and is known to every bank."""
    work = load(tmp_path, monkeypatch, scale_pos_weight=2.0)

    def looks(*rows: object, **named: object) -> None:
        raise AssertionError("looked at own rows")

    monkeypatch.setattr(LocalShard, "check", looks)
    monkeypatch.setattr(boosting, "check_tables", looks)
    monkeypatch.setattr(training, "check_tables", looks)
    assert work.run(SoloCommunicator(), start=None, on_step=lambda state: None).result.trees == 2


def test_control_without_the_check_a_bank_joins_with_sums_that_wrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "check_tables", lambda *tables: None)
    work = load(tmp_path, monkeypatch, scale_pos_weight=65536.0)
    with pytest.raises(DataError, match="exceed the range of exact sums"):
        work.run(SoloCommunicator(), start=None, on_step=lambda state: None)
