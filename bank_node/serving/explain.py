"""Why a payment has its score: from the log of decisions, or from a file.

Law: what is said of a logged decision is what was said when it was made. Its bins give margin and
contributions again, bit for bit, and the values that its texts were written from lie beside them.
"""

from dataclasses import dataclass

import numpy as np

from bank_node.data.contract import load_scoring_rows
from bank_node.decisions.bins import row_of
from bank_node.decisions.decision import Decision
from bank_node.serving.scorer import Scorer
from fraudfed.dtypes import Float32Array, Float64Array
from fraudfed.errors import DataError, StateError
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.reading.location import Location
from fraudfed.reasons import Catalogue, Reason, group_sums, reasons_in, with_shown


@dataclass(frozen=True)
class Explanation:
    """One payment's score and its reasons.

    Attributes
    ----------
    margin, score : float
        Log-odds, and the model's probability.
    probability : float or None
        Calibrated.
    base : float
        The margin before anything of the payment is looked at.
    reasons : tuple of Reason
        What raised the score.
    lowered : tuple of (str, float)
        Titles of phrases that lowered it, with what they took away, the largest first.
    same_words : bool
        False if a release has changed the catalogue since.
    has_values : bool
        False if nobody asked for reasons at the time, so that texts write ends of bins.
    """

    margin: float
    score: float
    probability: float | None
    base: float
    reasons: tuple[Reason, ...]
    lowered: tuple[tuple[str, float], ...]
    same_words: bool = True
    has_values: bool = True


def explain_decision(decision: Decision, scorer: Scorer) -> Explanation:
    """Say again why a payment was decided about as it was.

    Parameters
    ----------
    decision : Decision
        With bins.
    scorer : Scorer
        Of the model that the decision names.

    Raises
    ------
    StateError
        If bins or values are of another model, or do not give the margin of the decision.
    """
    if scorer.sha256 != decision.model_sha256:
        raise StateError(
            f"transaction {decision.transaction_id!r}: was scored by model "
            f"{decision.model_sha256}, got {scorer.sha256}; name the former with --model"
        )
    catalogue = Catalogue.of(scorer.contract)
    binned = row_of(decision.bins, scorer.model)
    shown, same_words = with_shown(binned, decision.shown, catalogue)
    found = _explained(scorer, catalogue, binned, shown, decision.currency)
    if decision.margin is None or np.float32(decision.margin) != np.float32(found.margin):
        raise StateError(
            f"transaction {decision.transaction_id!r}: its bins give margin {found.margin!r}, the "
            f"log says {decision.margin!r}: the record is damaged; restore it from a backup"
        )
    return Explanation(
        margin=found.margin,
        score=found.score,
        # Of the day: the calibration may have been replaced since.
        probability=decision.probability,
        base=found.base,
        reasons=found.reasons,
        lowered=found.lowered,
        same_words=same_words,
        has_values=decision.with_reasons or not found.reasons,
    )


def explain_row(
    data: Location,
    transaction: str,
    scorer: Scorer,
    *,
    mapping: Mapping | None = None,
    shared: SharedRisk | None = None,
) -> Explanation:
    """Say why a payment of a file has its score, with the history that the file holds.

    Parameters
    ----------
    data : Path
    transaction : str
        Its ``transaction_id``; in a table without such a column, the number of its row, from 1.
    scorer : Scorer
    mapping, shared
        As for ``score_file``.

    Raises
    ------
    DataError
        If the data do not meet the contract, or the payment is not in them.
    """
    rows = load_scoring_rows(data, scorer.contract, mapping=mapping, shared=shared)
    if rows.identifiers is None:
        names = [str(number) for number in range(1, len(rows.features) + 1)]
    else:
        names = rows.identifiers.to_pylist()
    if transaction not in names:
        raise DataError(
            f"{data}: transaction {transaction!r} is not among its {len(names):,} payments that "
            "the model judges; check the identifier"
        )
    row = rows.features[names.index(transaction)]
    return _explained(scorer, Catalogue.of(scorer.contract), row, row, None)


def _explained(
    scorer: Scorer,
    catalogue: Catalogue,
    row: Float32Array,
    shown: Float32Array,
    currency: str | None,
) -> Explanation:
    """Explain ``row`` with the values of ``shown``, which lie in the same bins."""
    scored = scorer.row(row)
    contributions = scored.contributions
    if contributions is None:
        raise RuntimeError("a row was scored without its contributions")
    sums = group_sums(contributions, catalogue)
    return Explanation(
        margin=scored.margin,
        score=scored.score,
        probability=scored.probability,
        base=float(contributions[-1]),
        reasons=reasons_in(catalogue, contributions, shown, currency=currency),
        lowered=_lowered(catalogue, sums),
    )


def _lowered(catalogue: Catalogue, sums: Float64Array) -> tuple[tuple[str, float], ...]:
    """Return the phrases that took away at least a hundredth of all that did."""
    all_of_it = float(sums[sums < 0].sum())
    order = [group for group in np.argsort(sums, kind="stable").tolist() if sums[group] < 0]
    return tuple(
        (catalogue.phrases[group].title, float(sums[group]))
        for group in order
        if sums[group] <= all_of_it / 100
    )
