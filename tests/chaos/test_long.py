"""Many disturbed runs: ``make chaos``. ``CHAOS_SEED=... make chaos`` repeats one."""

import contextlib
import os
import secrets
from pathlib import Path
from random import Random

import pytest
from chaos_kit.federation import Setting
from chaos_kit.kinds import NEEDS_POSTGRESQL, NEEDS_ROOT, ChaosKind
from chaos_kit.oracle import Workload
from chaos_kit.run import draw_sequence, kinds_for, left_out, run_chaos, to_markdown, to_text
from federations import postgres

pytestmark = pytest.mark.chaos

RUNS = int(os.environ.get("CHAOS_RUNS", "6"))
FAULTS = int(os.environ.get("CHAOS_FAULTS", "204"))
#: Of a run whose banks are dropped by it: longer than a bank takes to start on a quiet machine.
SHORT_DEADLINE_SECONDS = 8


def test_nothing_that_happens_to_a_run_changes_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints its seed before it starts, and the table of faults at its end.

    Of three runs, one waits for its banks and must end with the undisturbed model; in the others
    banks are dropped and come back, in one of them over PostgreSQL with two workers. There are at
    least ``CHAOS_RUNS``, and so many that ``CHAOS_FAULTS`` have happened in all; ``CHAOS_TABLE``
    names a file for the table as Markdown.
    """
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbelow(2**32))
    omitted = left_out(tmp_path / "scratch")
    with capsys.disabled():
        print(f"\nCHAOS_SEED={seed}", flush=True)
    random, reports = Random(seed), []
    with contextlib.ExitStack() as stack:
        cluster = None
        if NEEDS_POSTGRESQL.isdisjoint(omitted):
            cluster = stack.enter_context(postgres.started())
        number = happened = 0
        while number < RUNS or happened < FAULTS:
            changes_banks = number % 3 != 0
            shared = number % 3 == 2
            setting = Setting(
                with_disks=NEEDS_ROOT.isdisjoint(omitted),
                cluster=cluster if shared else None,
                workers=2 if shared and cluster is not None else 1,
                deadline_seconds=SHORT_DEADLINE_SECONDS if changes_banks else 3600,
            )
            workload = Workload(
                banks=random.randint(4 if changes_banks else 3, 5),
                rows=random.randint(200, 600),
                trees=200,
            )
            kinds = kinds_for(setting, changes_banks=changes_banks)
            sequence = draw_sequence(random, kinds, -(-FAULTS // RUNS))
            work = tmp_path / f"run-{number}"
            report = run_chaos(random.getrandbits(32), workload, work, setting, sequence=sequence)
            assert changes_banks or report.generations == 0
            assert not changes_banks or report.generations > 0
            reports.append(report)
            with capsys.disabled():
                print(
                    f"run {number}: {workload.banks} banks, "
                    f"{'PostgreSQL, 2 workers' if setting.cluster else 'SQLite'}, "
                    f"{len(report.happened)} faults, {report.restarts} restarts, "
                    f"{report.generations} later generations, {report.replayed} replays refused: "
                    "right bytes",
                    flush=True,
                )
            number += 1
            happened += len(report.happened)
            assert happened >= 5 * number, "the runs are over before much can happen to them"
    with capsys.disabled():
        print(to_text(reports, omitted), flush=True)
    if (table := os.environ.get("CHAOS_TABLE")) is not None:
        Path(table).write_text(to_markdown(reports, omitted) + "\n")


def test_postgresql_may_crash_again_and_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each restart hits what two workers are just doing; no bank notices more than a pause."""
    sequence = [ChaosKind.POSTGRESQL_RESTART] * 10
    sequence += [ChaosKind.AGGREGATOR_WORKER_KILL, ChaosKind.AGGREGATOR_KILL] * 4
    workload = Workload(banks=3, rows=300, trees=80)
    with postgres.started() as cluster:
        setting = Setting(cluster=cluster, workers=2)
        report = run_chaos(3, workload, tmp_path, setting, sequence=sequence)
    with capsys.disabled():
        print("\n" + to_text([report]), flush=True)
    assert len(report.happened) == len(sequence), "the run was over before"
    assert report.generations == 0
