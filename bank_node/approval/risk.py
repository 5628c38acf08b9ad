"""What a risk run asks of a bank: weighed against ``[approval.risk]``, and shown to a person."""

from collections.abc import Iterator

from bank_node.approval.cost import risk_cost
from bank_node.approval.facts import RiskFacts, RunFacts
from bank_node.approval.findings import Finding, finding
from bank_node.approval_rules import ANY, ApprovalRules, RiskApproval
from bank_node.data.risk_days import day_text
from bank_node.state.pinned_run import PinnedRun


def weigh_risk(run: PinnedRun, rules: ApprovalRules) -> tuple[Finding, ...]:
    """Return what ``[approval.risk]`` says to each thing that a risk run asks for."""
    if rules.risk is None:
        return (
            Finding(
                subject="this risk run",
                allowed=False,
                reason="is approved by no rule (there is no [approval.risk])",
            ),
        )
    if not isinstance(rules.risk, RiskApproval):
        return (Finding(subject="risk runs", allowed=True, reason=f'are all approved: "{ANY}"'),)
    return tuple(_weigh(run, rules.risk))


def _weigh(run: PinnedRun, rules: RiskApproval) -> Iterator[Finding]:
    spec = run.risk
    days = spec.last_day - spec.first_day + 1
    yield finding(
        "days",
        days <= rules.max_days,
        for_it=f"are {days}, at most {rules.max_days}",
        against=f"are {days}, above the {rules.max_days} of max_days",
    )
    yield finding(
        "min_customers",
        spec.min_customers >= rules.min_customers,
        for_it=f"is {spec.min_customers}, at least {rules.min_customers}",
        against=f"is {spec.min_customers}, below the {rules.min_customers} of [approval.risk]",
    )
    for entity in spec.entities:
        yield finding(
            f"counts by {entity.value}",
            entity in rules.entities,
            for_it="are in entities",
            against="are not in entities",
        )


def risk_facts(run: PinnedRun, *, key_bits: int) -> RunFacts:
    """Return everything that a bank agrees to in a risk run.

    Parameters
    ----------
    key_bits : int
        Of the run's Paillier key.
    """
    spec = run.risk
    about = RiskFacts(
        first_day=day_text(spec.first_day),
        last_day=day_text(spec.last_day),
        n_days=spec.last_day - spec.first_day + 1,
        delay_days=spec.delay_days,
        entities=tuple(entity.value for entity in spec.entities),
        min_customers=spec.min_customers,
        depth=spec.depth,
        transaction_width=spec.transaction_width,
        fraud_width=spec.fraud_width,
        days_per_step=spec.days_per_step,
    )
    return RunFacts(
        about=about, cost=risk_cost(spec, key_bits=key_bits), reveals=tuple(_reveals(run, about))
    )


def _reveals(run: PinnedRun, about: RiskFacts) -> Iterator[str]:
    entities = ", ".join(about.entities)
    yield (
        f"For each of {about.n_days} days and each {entities}: about how many payments and how "
        "many reported frauds all banks that take part had there together "
        f"(at least {min(run.spec.min_cohort, len(run.cohort))} of the {len(run.cohort)}), never "
        "one bank alone. A member can ask the tables about every identifier that it knows."
    )
    yield (
        f"Payments at an entity are counted only where {about.min_customers} or more customers of "
        "this bank paid within 30 days. Reported frauds are always counted: at an entity that only "
        "this bank knows, the sum is this bank's number. A report that a bank takes back counts "
        "as one of the day on which it does so: members can ask for these, too."
    )
    yield "The members alone read the tables; the aggregator holds them sealed."
