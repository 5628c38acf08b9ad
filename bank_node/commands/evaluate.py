"""``bank-node evaluate``: compare the shared model with what this bank can have alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bank_node.commands.options import (
    PATH,
    Output,
    answers,
    data_option,
    last_run_option,
    map_option,
    passphrase_option,
    state_option,
)
from bank_node.consortium.connection import read_passphrase
from bank_node.state.directory import StateDirectory
from fraudfed.console import examples, say, stdout_console
from fraudfed.errors import FraudFedError, KeepOwnError, LimitBrokenError, UndecidedError
from fraudfed.machine.threads import MAX_THREADS, usable_cores

if TYPE_CHECKING:
    from bank_node.evaluation.document import Bounds, Evaluation


def _evaluation() -> "type[Evaluation]":
    # What judges takes a second to import, which no other command needs.
    from bank_node.evaluation.document import Evaluation

    return Evaluation


def _show(found: "Evaluation") -> None:
    from rich.table import Table

    money = found.currency is not None
    columns = ["model", "trees", "case recall", "of money", "AUPRC", "more cases than own"]
    if money:
        columns.append(f"net benefit, {found.currency}")
    each_day = "one payment in 200"
    if found.alerts_per_day is not None:
        each_day = f"{found.alerts_per_day:g} a day"
    days = f"{found.days} days, " if found.in_time else ""
    title = f"judge window: {found.cases} cases, {days}{found.alerts} alerts ({each_day})"
    table = Table(*columns, title=title)
    held = {each.model: each for each in (found.decision, *found.others)}
    for each in found.models:
        against = held.get(each.name)
        row = [
            f"{each.name} *" if each.name == found.own else each.name,
            str(each.trees),
            _text(each.case_recall),
            "-" if each.case_value_recall is None else _text(each.case_value_recall),
            _text(each.auprc),
            "" if against is None else _text(against.difference, signed=True),
        ]
        if money:
            row.append("-" if each.net_benefit is None else f"{each.net_benefit:,.0f}")
        table.add_row(*row)
    stdout_console().print(table)
    say(
        f"* this bank's own model, by {found.plan}, that the others are held against. Each bound "
        "holds at 95 %; those of blend and continued against it hold at 95 % all together.",
    )
    for limit in found.limits:
        say(f"limit {limit.limit}: {'holds' if limit.holds else 'BROKEN'}, {limit.reason}")
    for name, reason in found.left_out.items():
        say(f"no adapted model {name}: {reason}")
    say(found.sentence, *(f"  {line}" for line in found.advice))
    # The files of this evaluation lie together.
    say(f"kept in {Path(found.models[-1].file).parent}")


def _fails(found: "Evaluation") -> FraudFedError | None:
    from fraudfed.gate.decision import Verdict

    if not found.gate:
        return None
    broken = [each for each in found.limits if not each.holds]
    if broken:
        return LimitBrokenError(
            f"gate: {len(broken)} of {len(found.limits)} limits are broken, the first is "
            f"{broken[0].limit}: {broken[0].reason}"
        )
    if found.decision.verdict is Verdict.KEEP:
        return KeepOwnError(f"gate: {found.sentence}")
    if found.decision.verdict is Verdict.UNDECIDED:
        return UndecidedError(f"gate: {found.sentence}")
    return None


def _text(bounds: "Bounds", *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{bounds.estimate:{sign}.3f} ({bounds.lower:{sign}.3f} to {bounds.upper:{sign}.3f})"


@click.command(
    epilog=examples(
        "bank-node evaluate --state bank-a --data payments.parquet --alerts-per-day 40",
        "bank-node evaluate --state bank-a --run RUN_ID --data payments.csv --gate gate.toml",
    )
)
@state_option
@data_option
@map_option
@last_run_option
@click.option(
    "--gate",
    type=PATH,
    default=None,
    help="TOML file with margin, alerts and limits; the exit code then tells of the decision.",
)
@click.option("--costs", type=PATH, default=None, help="TOML file of this bank's costs.")
@click.option(
    "--plan",
    default=None,
    help="Plan of this bank's own models.  [default: that of the run; standard for a training]",
)
@click.option(
    "--alerts-per-day",
    type=click.FloatRange(min=0, min_open=True, max=1e9),
    default=None,
    help="Payments a day that this bank can look into.  [default: that of the gate file; else one "
    "payment in 200]",
)
@click.option(
    "--threads",
    type=click.IntRange(1, MAX_THREADS),
    default=usable_cores,
    help="Cores to use at once.  [default: all that the process may use]",
)
@passphrase_option
@answers(_evaluation, _show, fails=_fails)
@click.pass_obj
def evaluate(
    output: Output, /, path: Path, run_id: str | None, passphrase_file: Path | None, **options: Any
) -> "Evaluation":
    """Compare a run's model with the best one this bank can have alone; needs no network."""
    from bank_node.evaluation.evaluate import EvaluationOptions, judged_run
    from bank_node.evaluation.evaluate import evaluate as evaluated
    from bank_node.jobs.risk.history import training_tables
    from bank_node.run.progress import RunProgress

    state = StateDirectory(path)
    state.unlock(read_passphrase(passphrase_file))
    run, content = judged_run(state, run_id)
    with RunProgress(output.console, enabled=output.progress) as progress:
        return evaluated(
            state,
            run,
            content,
            EvaluationOptions(**options),
            shared=training_tables(state, run.contract),
            on_tree=lambda name, done, total: progress.steps(f"trees of {name}", done, total, ""),
        )
