"""What a statistics run asks of a bank: weighed against ``[approval]``, and shown to a person."""

from collections.abc import Iterator

from bank_node.approval.cost import statistics_cost
from bank_node.approval.facts import RunFacts, StatisticsFacts
from bank_node.approval.findings import Finding, finding, table_or_finding
from bank_node.approval.training import reviewed_columns, weigh_columns
from bank_node.approval_rules import ApprovalRules, StatisticsApproval
from bank_node.state.pinned_run import PinnedRun
from fraudfed.statistics.layout import Layout


def weigh_statistics(run: PinnedRun, rules: ApprovalRules) -> tuple[Finding, ...]:
    """Return what ``[approval]`` says to each thing that a statistics run asks for.

    Law: all of it is allowed exactly if ``statistics`` is ``"any"``, or every column of the
    contract matches a pattern of the table, and thresholds and entities are within it.
    """
    table = table_or_finding(rules.statistics, kind="statistics", several="statistics runs")
    if isinstance(table, tuple):
        return table
    return (*weigh_columns(run.contract, table.columns), *_weigh(run, table))


def _weigh(run: PinnedRun, rules: StatisticsApproval) -> Iterator[Finding]:
    spec = run.statistics
    for name in ("min_count", "min_customers"):
        asked, least = getattr(spec, name), getattr(rules, name)
        yield finding(
            name,
            asked >= least,
            for_it=f"is {asked}, at least {least}",
            against=f"is {asked}, below the {least} of [approval.statistics]",
        )
    if run.contract.kind == "table":
        return
    for entity in spec.entities:
        yield finding(
            f"compares each {entity.value}",
            entity in rules.entities,
            for_it="is in entities",
            against="is not in entities",
        )


def statistics_facts(run: PinnedRun, layout: Layout, *, key_bits: int) -> RunFacts:
    """Return everything that a bank agrees to in a statistics run.

    Parameters
    ----------
    layout : Layout
        Of the run.
    key_bits : int
        Of the run's Paillier key.
    """
    contract, spec = run.contract, run.statistics
    about = StatisticsFacts(
        data=contract.kind,
        columns=reviewed_columns(contract),
        counted=tuple(dict.fromkeys(column.name for column in layout.columns)),
        recipe=contract.recipe,
        train_from=contract.train_from,
        train_until=contract.train_until,
        entities=tuple(entity.value for entity in layout.entities),
        width=spec.width,
        min_count=spec.min_count,
        min_customers=spec.min_customers,
    )
    return RunFacts(
        about=about,
        cost=statistics_cost(layout, key_bits=key_bits),
        reveals=tuple(_reveals(run, about)),
    )


def _reveals(run: PinnedRun, about: StatisticsFacts) -> Iterator[str]:
    yield (
        f"For each of {len(about.counted)} columns: how many rows of all banks that take part "
        f"(at least {min(run.spec.min_cohort, len(run.cohort))} of the {len(run.cohort)}) hold "
        "nothing, each category, and each range of numbers (an eighth wide), and how many of these "
        "rows are fraud; never of one bank alone."
    )
    yield (
        f"This bank enters a count below {about.min_count} as 0, and every other one rounded to a "
        f"multiple of {about.min_count} (min_statistics_count of bank.toml can ask for more). That "
        "hides single rows, not what many rows have in common."
    )
    if about.entities:
        entities = ", ".join(about.entities)
        yield (
            f"Of each {entities}: what identifiers look like, and in how many banks one occurs. A "
            "member can look up every identifier that it knows: in how many other banks "
            f"{about.min_customers} or more customers paid there, but for accidents of hashing."
        )
    yield "The members alone read the sums; the aggregator holds them sealed."
