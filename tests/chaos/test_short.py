"""A run that is disturbed all the time ends with the bytes that it must end with."""

from pathlib import Path

import pytest
from chaos_kit.federation import Setting
from chaos_kit.kinds import NEEDS_ROOT, ChaosKind
from chaos_kit.oracle import Workload
from chaos_kit.run import left_out, run_chaos, to_text

pytestmark = pytest.mark.e2e

#: A short one: `make chaos` is the long one, with seeds of its own.
SEED = 20
#: Slow enough that a fast machine is not at the end before the last fault.
PACE = 0.1
SEQUENCE = [
    ChaosKind.CUT_REQUEST,
    ChaosKind.BANK_KILL,
    ChaosKind.DUPLICATE,
    ChaosKind.AGGREGATOR_KILL_UNACKNOWLEDGED,
    ChaosKind.BANK_DISK_FULL,
    ChaosKind.REORDER,
    ChaosKind.BANK_KILL_UNACKNOWLEDGED,
    ChaosKind.CUT_ANSWER,
    ChaosKind.AGGREGATOR_DISK_FULL,
    ChaosKind.DROPPED_BY_OPERATOR,
    ChaosKind.DUPLICATE_LATER,
    ChaosKind.AGGREGATOR_WORKER_KILL,
    ChaosKind.DROPPED_BY_DEADLINE,
]


def test_faults_change_nothing_but_who_takes_part(tmp_path: Path) -> None:
    omitted = left_out(tmp_path / "scratch")
    sequence = [kind for kind in SEQUENCE if kind not in omitted]
    setting = Setting(with_disks=NEEDS_ROOT.isdisjoint(omitted), deadline_seconds=4, pace=PACE)
    workload = Workload(banks=3, rows=300, trees=50)
    report = run_chaos(SEED, workload, tmp_path / "run", setting, sequence=sequence)
    print(to_text([report], omitted))
    assert len(report.happened) == len(sequence), "the run was over before"
    assert report.restarts > 0
    # The one that the operator drops is up, and may be back before the others have begun without
    # it. The last one may find the run finished when it comes back.
    assert report.generations >= 2, "two banks were dropped, and one came back"
