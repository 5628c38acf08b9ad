"""What a risk run asks of a bank: weighed against ``[approval.risk]``, and shown to a person."""

from collections.abc import Iterator

from bank_node.approval.cost import risk_cost
from bank_node.approval.facts import RiskFacts, RiskPrivacyFacts, RunFacts
from bank_node.approval.findings import Finding, finding
from bank_node.approval_rules import ANY, ApprovalRules, RiskApproval
from bank_node.data.risk_days import day_text
from bank_node.state.pinned_run import PinnedRun
from fraudfed.features.shared_risk.noise import RiskNoise
from fraudfed.wire.messages import RiskSpec


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
    if spec.privacy is not None:
        yield Finding(
            subject="noise in risk tables",
            allowed=False,
            reason="is approved by no rule: a person decides what it may cost of [privacy]",
        )
        return
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
        privacy=_privacy(spec),
    )
    return RunFacts(
        about=about, cost=risk_cost(spec, key_bits=key_bits), reveals=tuple(_reveals(run, about))
    )


def _privacy(spec: RiskSpec) -> RiskPrivacyFacts | None:
    if spec.privacy is None:
        return None
    noise = RiskNoise.of(spec)
    return RiskPrivacyFacts(
        epsilon=spec.privacy.epsilon,
        delta=spec.privacy.delta,
        tolerated_colluders=spec.privacy.tolerated_colluders,
        payment_noise=noise.payment_sigma,
        fraud_noise=noise.fraud_sigma,
    )


def _reveals(run: PinnedRun, about: RiskFacts) -> Iterator[str]:
    entities = ", ".join(about.entities)
    if about.privacy is not None:
        of = about.privacy
        yield (
            f"For each of {about.n_days} days and each {entities}: how many payments and how many "
            "reported frauds all banks that take part had there together, each count with noise of "
            f"{of.payment_noise:,.1f} and {of.fraud_noise:,.1f} (one standard deviation). Of one "
            f"customer of this bank all days of a month together show no more than epsilon "
            f"{of.epsilon:g} allows (delta {of.delta:g}), unless more than "
            f"{of.tolerated_colluders} of the other banks subtract their noise."
        )
        yield (
            "Counted are one payment of each customer and day and kind, and two reports of each "
            "customer and month, chosen by this bank. A customer of two banks is two customers, "
            "and a month is bounded by itself: a year shows twelve times as much."
        )
        yield "The members alone read the tables; the aggregator holds them sealed."
        return
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
