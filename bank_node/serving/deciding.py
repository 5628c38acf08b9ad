"""What a policy does with a payment that was scored: also where nothing speaks but other banks.

Law: a payment that the policy would allow if nothing were known of shared risk rests on a look-up
alone, and gets no more than the policy's ``lookup_most``, which is never a block.
"""

from functools import partial

import numpy as np

from bank_node.policy import Action, Decided, Policy
from bank_node.policy.policy import draw_from_system
from bank_node.serving.ladder import Judged
from bank_node.serving.scorer import RowScore
from fraudfed.features.payment import Payment


def decide(policy: Policy, payment: Payment, judged: Judged, *, amount_minor: int) -> Decided:
    """Return what is done with a payment.

    Parameters
    ----------
    policy : Policy
    payment : Payment
    judged : Judged
    amount_minor : int
        In the policy's currency, in its minor unit.
    """
    by = partial(_by, policy, payment, amount_minor)
    decided = by(judged.scored)
    # Only a stronger action has anything to lose: the others need no second score.
    if decided.full_action.strength <= Action(policy.lookup_most).strength:
        return decided
    unknown = _without_shared_risk(judged)
    if unknown is None or by(unknown, draws=False).full_action is not Action.ALLOW:
        return decided
    return by(judged.scored, lookup_only=True)


def _by(
    policy: Policy,
    payment: Payment,
    amount_minor: int,
    scored: RowScore | None,
    *,
    lookup_only: bool = False,
    draws: bool = True,
) -> Decided:
    return policy.decide(
        probability=None if scored is None else scored.probability,
        score=None if scored is None else scored.score,
        amount_minor=amount_minor,
        channel=payment.channel,
        direction=payment.direction,
        lookup_only=lookup_only,
        draw=draw_from_system if draws else _never_held_out,
    )


def _never_held_out() -> float:
    return 1.0


def _without_shared_risk(judged: Judged) -> RowScore | None:
    """Score a payment as if nothing were known of shared risk; None if nothing is."""
    if judged.scorer is None or judged.row is None:
        return None
    names = [spec.name for spec in judged.scorer.contract.features]
    shared = np.array([name.startswith("shared_") for name in names])
    if np.isnan(judged.row[shared]).all():
        return None
    return judged.scorer.row(np.where(shared, np.float32(np.nan), judged.row), contributions=False)
