"""What a monitor run asks of a bank: weighed against ``[approval]``, and shown to a person."""

from collections.abc import Iterator

from bank_node.approval.cost import monitor_cost
from bank_node.approval.facts import MonitorFacts, RunFacts
from bank_node.approval.findings import Finding, finding, table_or_finding
from bank_node.approval.training import reviewed_columns, weigh_columns
from bank_node.approval_rules import ApprovalRules
from bank_node.state.pinned_run import PinnedRun
from fraudfed.evaluation.drift.watch import Watch


def weigh_monitor(run: PinnedRun, rules: ApprovalRules) -> tuple[Finding, ...]:
    """Return what ``[approval]`` says to each thing that a monitor run asks for.

    Law: all of it is allowed exactly if ``monitor`` is ``"any"``, or every column of the contract
    matches a pattern of the table, and ``min_count`` is within it.
    """
    table = table_or_finding(rules.monitor, kind="monitor", several="monitor runs")
    if isinstance(table, tuple):
        return table
    asked, least = run.monitor.min_count, table.min_count
    return (
        *weigh_columns(run.contract, table.columns),
        finding(
            "min_count",
            asked >= least,
            for_it=f"is {asked}, at least {least}",
            against=f"is {asked}, below the {least} of [approval.monitor]",
        ),
    )


def monitor_facts(run: PinnedRun, watch: Watch, *, key_bits: int) -> RunFacts:
    """Return everything that a bank agrees to in a monitor run.

    Parameters
    ----------
    watch : Watch
        Of the run.
    key_bits : int
        Of the run's Paillier key.
    """
    spec, weeks = run.monitor, watch.weeks
    about = MonitorFacts(
        model_run=spec.model_run,
        model_sha256=spec.model_sha256,
        columns=reviewed_columns(run.contract),
        recipe=run.contract.recipe,
        weeks_from=weeks.start,
        until=weeks.stop,
        reference_until=weeks.reference_stop,
        weeks=weeks.n_weeks,
        reference_weeks=weeks.n_reference,
        alert_score=spec.alert_score,
        min_count=spec.min_count,
    )
    return RunFacts(
        about=about,
        cost=monitor_cost(watch, key_bits=key_bits),
        reveals=tuple(_reveals(run, about)),
    )


def _reveals(run: PinnedRun, about: MonitorFacts) -> Iterator[str]:
    banks = f"(at least {min(run.spec.min_cohort, len(run.cohort))} of the {len(run.cohort)})"
    yield (
        f"For each day of {about.weeks} weeks and each channel: how many payments of all banks "
        f"that take part {banks} there are, how many the model alerts on, and how many lack each "
        "column; never of one bank alone."
    )
    yield ("For each week and channel: how scores are spread (a quarter of the logit wide).")
    yield (
        f"For each week: how the values of each of {len(about.columns)} columns are spread (half "
        "octaves, or categories), and how many reported frauds of each kind there are, with those "
        "that the model alerts on."
    )
    yield (
        f"This bank enters a count below {about.min_count} as 0, and every other one rounded to a "
        f"multiple of {about.min_count} (min_statistics_count of bank.toml can ask for more). That "
        "hides single payments, not what many have in common."
    )
    yield "The members alone read the sums; the aggregator holds them sealed."
