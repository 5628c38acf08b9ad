"""What a training's privacy terms ask of a bank: weighed against ``[approval]``, and in words."""

from collections.abc import Iterator
from typing import Final

from bank_node.approval.facts import PrivacyFacts
from bank_node.approval.findings import Finding, finding
from bank_node.approval_rules import ApprovalRules
from fraudfed.privacy.terms import History, PrivacyUnit, PrivateCuts, TrainingWay
from fraudfed.wire.messages import PrivacySpec

_UNITS: Final = {
    PrivacyUnit.ROW: "one row of training data: whether it is there or not, all other rows and "
    "their features as they are",
    PrivacyUnit.CUSTOMER: "all training rows of one customer at one bank: whether they are there "
    "or not, all other rows and their features as they are",
}
_WAYS: Final = {
    TrainingWay.HISTOGRAMS: "noised histograms of a few features for each tree",
    TrainingWay.RANDOM_SPLITS: "splits drawn before any row is seen, and noised leaves",
    TrainingWay.CYCLIC: "one feature for each tree, its bins noised once",
}
_HISTORIES: Final = {
    History.DECLARED: "from payments as they are: the members accept the traces",
    History.DP_TABLES: "from shared tables that carry noise of their own",
    History.NONE: "there are none",
}


def weigh_privacy(privacy: PrivacySpec | None, rules: ApprovalRules) -> Iterator[Finding]:
    """Yield what ``[approval]`` says to the privacy terms of a training, or to there being none.

    Law: a training without terms is allowed unless the table asks for them; one with terms is
    allowed if ``privacy`` is ``"any"``, or all of them are within the table.
    """
    table = rules.privacy
    if privacy is None:
        if table is not None and not isinstance(table, str) and table.required:
            yield Finding(
                subject="privacy terms",
                allowed=False,
                reason="are none, and required = true in [approval.privacy]",
            )
        return
    if table is None:
        yield Finding(
            subject="privacy terms",
            allowed=False,
            reason="are approved by no rule (there is no [approval.privacy])",
        )
        return
    if isinstance(table, str):
        yield Finding(subject="privacy terms", allowed=True, reason='are all approved: "any"')
        return
    for name, value, most in (
        ("epsilon", privacy.epsilon, table.max_epsilon),
        ("delta", privacy.delta, table.max_delta),
    ):
        yield finding(
            name,
            value <= most,
            for_it=f"is {value:g}, at most {most:g}",
            against=f"is {value:g}, above the {most:g} of max_{name}",
        )
    for name, chosen, allowed in (
        ("unit of privacy", privacy.unit, table.units),
        ("history under privacy terms", privacy.history, table.histories),
    ):
        listed = ", ".join(one.value for one in allowed)
        yield finding(
            name,
            chosen in allowed,
            for_it=f"is {chosen.value}, one of {listed}",
            against=f"is {chosen.value}, expected one of {listed}",
        )


def privacy_facts(privacy: PrivacySpec) -> PrivacyFacts:
    """Return the terms as a person reads them."""
    return PrivacyFacts(
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        unit=privacy.unit.value,
        hides=_UNITS[privacy.unit],
        history=f"{privacy.history.value}: {_HISTORIES[privacy.history]}",
        way=f"{privacy.way.value}: {_WAYS[privacy.way]}",
        cuts="from the contract" if privacy.cuts is PrivateCuts.CONTRACT else "noised",
        tolerated_colluders=privacy.tolerated_colluders,
        declared_rows=privacy.declared_rows,
        not_covered=tuple(_not_covered(privacy)),
    )


def private_reveals(privacy: PrivacySpec, *, banks: str, trees: int, readers: str) -> Iterator[str]:
    """Yield what a training with privacy terms reveals.

    Parameters
    ----------
    banks : str
        Those that take part, in words.
    trees : int
    readers : str
        Of the model, in words.
    """
    yield (
        f"Every bank that takes part, and no one else, reads sums over all banks ({banks}). Each "
        f"sum carries noise of every bank, enough without that of {privacy.tolerated_colluders} of "
        "them: no sum is exact."
    )
    yield (
        f"Privacy of {_UNITS[privacy.unit]}. Whatever is concluded from all sums and the model "
        f"together is at most e^{privacy.epsilon:g} times as likely with it as without, but for a "
        f"chance of {privacy.delta:g}."
    )
    if privacy.cuts is PrivateCuts.NOISED:
        yield "For each numeric column, with noise: where edges of its ranges lie."
    if privacy.counts_share > 0:
        yield "With noise: the numbers of rows and frauds."
    yield f"For each of {trees} trees, with noise: {_WAYS[privacy.way]}."
    if privacy.metric_share > 0:
        yield "At the end, once and with noise: how rows of each label score."
    yield f"The model, which follows from the above. It is read by {readers}."
    for line in _not_covered(privacy):
        yield f"Not covered: {line}."


def _not_covered(privacy: PrivacySpec) -> Iterator[str]:
    if privacy.history is not History.NONE:
        yield (
            "traces of a payment in the features of other rows: of its terminal, merchant and "
            "counterparty, and in risk tables"
        )
    if privacy.unit is PrivacyUnit.ROW:
        yield (
            "a customer with many rows: the bound is of one row, and the same customer's later "
            "rows have features of the earlier ones"
        )
    yield "a customer of several banks counts once at each of them"
    yield "other runs over the same rows without privacy terms, whatever they open"
