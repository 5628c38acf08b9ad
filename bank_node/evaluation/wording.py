"""The decision in one sentence with its reasons, and what a person may do."""

from collections.abc import Mapping, Sequence

from bank_node.evaluation.document import EarlierUse, Held, HeldLimit
from fraudfed.evaluation.readings import Reading
from fraudfed.gate.decision import MIN_CASES, Verdict

_READINGS = {
    Reading.UNBLOCKED: "judged by the payments that went through alone",
    Reading.CENSORED_CLEAN: "if all blocked payments that nobody reported were clean",
    Reading.CENSORED_FRAUD: "if all of them were fraud",
}


def decision_sentence(held: Held, *, cases: int, margin: float) -> str:
    """Return the decision with the numbers that it rests on."""
    difference = held.difference
    found = (
        f"of {cases} cases the shared model finds {held.only_model} that this bank's own misses, "
        f"and misses {held.only_own} that it finds ({_signed(difference.estimate)})"
    )
    lower, upper = _signed(difference.lower), _signed(difference.upper)
    surely = f"at {held.confidence:.0%} confidence the difference of case recall is"
    if held.verdict is Verdict.ADOPT:
        return f"adopt: {found}; {surely} at least {lower}, and may be {_signed(-margin)}"
    if held.verdict is Verdict.KEEP:
        return f"keep your own: {found}; {surely} at most {upper}, which is below 0"
    if cases < MIN_CASES:
        return f"undecided: {found}; fewer than {MIN_CASES} cases decide nothing"
    if difference.lower > -margin:
        return (
            f"undecided: {found}; {surely} above {_signed(-margin)}, the most that may be lost "
            f"({lower} to {upper}), but what was seen is a loss"
        )
    return (
        f"undecided: {found}; {surely} between {lower} and {upper}, and neither above "
        f"{_signed(-margin)} nor below 0"
    )


def advice(
    decision: Held,
    *,
    cases: int,
    adapted: str | None,
    readings: Mapping[Reading, Held],
    limits: Sequence[HeldLimit],
    earlier: Sequence[EarlierUse],
    in_time: bool,
) -> tuple[str, ...]:
    """Return what to do, and what to be careful about, most important first."""
    lines = []
    broken = [each for each in limits if not each.holds]
    if broken:
        lines.append(
            f"{len(broken)} of {len(limits)} limits are broken: do not deploy the shared model "
            "before a person has looked at them"
        )
    if decision.verdict is Verdict.UNDECIDED:
        lines.append(_shadow(decision, cases))
    if adapted is not None:
        lines.append(
            f"the adapted model {adapted} passed against the own one: deploy it where you do not "
            "deploy the shared model; these payments chose it, so its gain looks larger than it is"
        )
    for reading, held in readings.items():
        if held.verdict is not decision.verdict:
            lines.append(
                f"the decision hangs on blocked payments: {_READINGS[reading]}, it is "
                f"'{_verdict(held.verdict)}' ({_signed(held.difference.estimate)})"
            )
    if earlier:
        lines.append(
            f"payments of this judge window were used {_times(len(earlier))} before, by "
            f"{', '.join(sorted({use.run_id for use in earlier}))}: if anything was chosen by "
            "that, these numbers are too good; judge by later payments"
        )
    if not in_time:
        lines.append(
            "the rows have no times: the judge window is a fifth of the same rows, and says less "
            "than later payments would"
        )
    return tuple(lines)


def _shadow(decision: Held, cases: int) -> str:
    more = ""
    # Towards which verdict the numbers lean says which number of cases would settle it.
    needed = (
        decision.cases_to_adopt
        if decision.difference.estimate >= 0
        else decision.cases_to_tell_apart
    )
    if needed is not None and needed > cases:
        more = f"; a difference like this one needs about {needed} cases, this window has {cases}"
    elif decision.difference.estimate < 0:
        more = "; a loss as small as this one may never be told from none"
    return (
        "shadow: keep your own model in charge, score with the shared one beside it, and evaluate "
        f"again when more cases are mature{more}"
    )


def _verdict(verdict: Verdict) -> str:
    return "keep your own" if verdict is Verdict.KEEP else verdict.value


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _signed(share: float) -> str:
    return f"{share:+.3f}"
