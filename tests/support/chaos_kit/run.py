"""One run under faults, from its seed to the table of what happened."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from federations.postgres import binaries
from oracles.audited_stages import stages_of

from chaos_kit.disk import can_mount
from chaos_kit.faults import disturb
from chaos_kit.federation import ChaosError, Federation, Setting, federation
from chaos_kit.kinds import CHANGES_BANKS, NEEDS_POSTGRESQL, NEEDS_ROOT, NEEDS_SQLITE, ChaosKind
from chaos_kit.oracle import Workload, expected_model, model_of_stages
from fraudfed.errors import FraudFedError
from fraudfed.lab.local_federation.processes import run_program

_LONGEST_PAUSE_SECONDS = 0.3


@dataclass(frozen=True)
class Happened:
    """One fault, and how long it took until the run had gone on.

    Attributes
    ----------
    kind : ChaosKind
    outcome : str
        ``went on``, or what went wrong.
    seconds : float
    """

    kind: ChaosKind
    outcome: str
    seconds: float


@dataclass
class ChaosReport:
    """What happened in one run.

    Attributes
    ----------
    seed : int
    workload : Workload
    happened : list of Happened
    replayed : int
        Captured requests that were sent a second time; all were refused.
    restarts : int
        Of all programs.
    generations : int
        That began after the first one.
    """

    seed: int
    workload: Workload
    happened: list[Happened] = field(default_factory=list)
    replayed: int = 0
    restarts: int = 0
    generations: int = 0


def left_out(scratch: Path) -> dict[ChaosKind, str]:
    """Return the kinds that cannot be tried here, each with the reason."""
    found: dict[ChaosKind, str] = {}
    if not can_mount(scratch):
        found |= dict.fromkeys(NEEDS_ROOT, "fills a disk of its own, which only root can make")
    if binaries() is None:
        found |= dict.fromkeys(NEEDS_POSTGRESQL, "no PostgreSQL server programs here")
    return found


def kinds_for(setting: Setting, *, changes_banks: bool) -> list[ChaosKind]:
    """Return the kinds that make sense in a setting."""
    omitted = NEEDS_POSTGRESQL if setting.cluster is None else NEEDS_SQLITE
    if not setting.with_disks:
        omitted |= NEEDS_ROOT
    if not changes_banks:
        omitted |= CHANGES_BANKS
    return [kind for kind in ChaosKind if kind not in omitted]


def run_chaos(
    seed: int, workload: Workload, work: Path, setting: Setting, *, sequence: Sequence[ChaosKind]
) -> ChaosReport:
    """Train undisturbed and under faults, and hold every bank's model against the first.

    If other banks took part from some step on, the model must be the one that these banks' rows
    give (``oracles.stages.simulate``). The seed decides to whom the faults of ``sequence`` happen
    and with which pauses; how far the run is when one happens depends on the machine, too.

    Raises
    ------
    ChaosError
        If the run stops, a bank's model is wrong, or an audit log does not verify. Its message
        names the seed.
    """
    random = Random(seed)
    report = ChaosReport(seed, workload)
    try:
        with federation(workload, work, setting, random=random) as found:
            _disturb(report, found, random, sequence)
            found.be_clean()
            models = found.wait_for_the_end()
            report.restarts = sum(
                program.starts - 1 for program in (found.aggregator, *found.banks.values())
            )
            _check_models(report, found, models)
            _check_replays(report, found)
            _check_audit_logs(found, work)
    except (ChaosError, FraudFedError) as error:
        raise ChaosError(f"{to_text([report])}\nseed {seed}, {workload}: {error}") from error
    return report


def _disturb(
    report: ChaosReport, found: Federation, random: Random, sequence: Sequence[ChaosKind]
) -> None:
    for kind in sequence:
        found.lasting.wait(random.uniform(0.0, _LONGEST_PAUSE_SECONDS))
        if found.is_over():
            break
        started = time.monotonic()
        try:
            disturb(found, kind, random)
        except ChaosError as error:
            report.happened.append(_ended(kind, "THE RUN STOPPED", started))
            raise ChaosError(f"after {len(report.happened)} faults: {error}") from error
        report.happened.append(_ended(kind, "went on", started))


def _check_models(report: ChaosReport, found: Federation, models: dict[str, bytes]) -> None:
    stages = stages_of(found.audit(), sorted(models))
    report.generations = sum(entry.kind == "generation-begun" for entry in found.audit())
    if report.generations == 0:
        expected, what = expected_model(report.workload), "the undisturbed one"
    else:
        expected, what = model_of_stages(report.workload, stages), f"that of {stages}"
    different = [name for name, model in models.items() if model != expected]
    if different:
        raise ChaosError(f"the models of {', '.join(different)} differ from {what}")


def _check_replays(report: ChaosReport, found: Federation) -> None:
    replays = [status for proxy in found.proxies.values() for status in proxy.replays]
    report.replayed = len(replays)
    if any(status < 400 for status in replays):
        raise ChaosError(f"a request that was sent twice was taken twice: {replays}")


def _check_audit_logs(found: Federation, work: Path) -> None:
    verify = ["aggregator", "audit", "verify", "--state", str(found.aggregator_state)]
    run_program(verify, log=work / "verify.log")
    for name, state in found.states.items():
        # Both logs, and that they tell the same story.
        verify = ["bank-node", "audit", "verify", "--against-aggregator", "--state", str(state)]
        run_program(verify, log=work / f"verify-{name}.log")


def _ended(kind: ChaosKind, outcome: str, started: float) -> Happened:
    return Happened(kind, outcome, time.monotonic() - started)


def draw_sequence(random: Random, kinds: Sequence[ChaosKind], faults: int) -> list[ChaosKind]:
    """Draw so many faults, every kind once before any is drawn twice.

    A bank that stays away until the end is away from late in the sequence on, and only once.
    """
    others = [kind for kind in kinds if kind is not ChaosKind.DROPPED_FOR_GOOD]
    found: list[ChaosKind] = []
    while len(found) < faults:
        found += random.sample(others, len(others))
    found = found[:faults]
    if len(others) < len(kinds):
        found[-max(1, faults // 4)] = ChaosKind.DROPPED_FOR_GOOD
    return found


def to_text(reports: Iterable[ChaosReport], omitted: dict[ChaosKind, str] | None = None) -> str:
    """Return the table of faults by kind and outcome, for a terminal."""
    rows = _rows(reports, omitted or {})
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def to_markdown(reports: Iterable[ChaosReport], omitted: dict[ChaosKind, str] | None = None) -> str:
    """Return the same table as Markdown."""
    head, *rows = _rows(reports, omitted or {})
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def _rows(reports: Iterable[ChaosReport], omitted: dict[ChaosKind, str]) -> list[list[str]]:
    happened = [one for report in reports for one in report.happened]
    rows = [["fault", "times", "the run went on", "longest until the next round"]]
    for kind in ChaosKind:
        ours = [one for one in happened if one.kind is kind]
        if ours:
            good = sum(one.outcome == "went on" for one in ours)
            longest = max(one.seconds for one in ours)
            rows.append([kind.value, str(len(ours)), str(good), f"{longest:.1f} s"])
        elif kind in omitted:
            rows.append([kind.value, "0", f"not tried: {omitted[kind]}", "-"])
    return rows
