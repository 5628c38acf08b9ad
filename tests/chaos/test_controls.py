"""Negative controls: with one defence taken out, the harness must see that something is wrong."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from chaos_kit.federation import ChaosError, Setting
from chaos_kit.kinds import ChaosKind
from chaos_kit.oracle import Workload
from chaos_kit.run import run_chaos

pytestmark = pytest.mark.chaos

WORKLOAD = Workload(banks=3, rows=300, trees=40)
KILLS = [ChaosKind.BANK_KILL_UNACKNOWLEDGED] * 3
DUPLICATES = [ChaosKind.DUPLICATE, ChaosKind.DUPLICATE_LATER] * 3


def run(work: Path, setting: Setting, sequence: list[ChaosKind]) -> None:
    run_chaos(7, WORKLOAD, work, setting, sequence=sequence)


def forget_what_was_sealed(state: Path, data: Path, starts: int) -> None:
    for sealed in state.glob("runs/*/sealed"):
        sealed.unlink()


def change_rows(state: Path, data: Path, starts: int) -> None:
    if starts == 1:
        rows = pd.read_parquet(data)
        rows["amount"] = np.roll(rows["amount"].to_numpy(), len(rows) // 2)
        rows.to_parquet(data, index=False)


def test_with_all_defences_both_end_well(tmp_path: Path) -> None:
    """Or the controls below would show nothing."""
    run(tmp_path, Setting(), KILLS + DUPLICATES)


def test_a_bank_that_lost_what_it_had_sealed_stops_the_run(tmp_path: Path) -> None:
    """That defence holds: the bank seals nothing anew. The harness sees that nothing goes on."""
    setting = Setting(patience_seconds=45, before_bank_starts=forget_what_was_sealed)
    with pytest.raises(ChaosError, match=r"did not happen within 45 s.*state directory"):
        run(tmp_path, setting, KILLS)


def test_changed_rows_stop_the_run(tmp_path: Path) -> None:
    setting = Setting(patience_seconds=45, before_bank_starts=change_rows)
    with pytest.raises(ChaosError, match=r"did not happen within 45 s.*the data differ"):
        run(tmp_path, setting, KILLS)


def test_changed_rows_that_nobody_looks_at_end_the_run_or_change_the_model(tmp_path: Path) -> None:
    """In the middle of a tree, sums may leave their bounds; between two, the model is another."""
    sabotaged = {"CHAOS_SABOTAGE": "any-rows"}
    setting = Setting(before_bank_starts=change_rows, environment=sabotaged)
    seen = r"the models of bank_a, bank_b, bank_c differ from|the run has failed: .*sum-failed"
    with pytest.raises(ChaosError, match=seen):
        run(tmp_path, setting, KILLS)


def test_another_model_is_seen(tmp_path: Path) -> None:
    """All banks agree on it: only the oracle can tell."""
    setting = Setting(environment={"CHAOS_SABOTAGE": "half-learning-rate"})
    with pytest.raises(ChaosError, match="the models of bank_a, bank_b, bank_c differ from"):
        run(tmp_path, setting, DUPLICATES[:2])


def test_replays_that_are_taken_are_seen(tmp_path: Path) -> None:
    setting = Setting(environment={"CHAOS_SABOTAGE": "replays"})
    with pytest.raises(ChaosError, match="taken twice"):
        run(tmp_path, setting, DUPLICATES)
