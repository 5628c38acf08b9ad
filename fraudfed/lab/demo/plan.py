"""How the demo's models come to their parameters: one small search for each, or one fixed set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fraudfed.catalogue.plans import PLANS, SearchPlan, find_plan
from fraudfed.wire.messages.kinds.search import SearchCandidate, SearchRung, SearchSpec

DEMO = "demo"
NONE = "none"


def _candidate(share: float, lambda_: int) -> SearchCandidate:
    return SearchCandidate(
        name=f"share{share:g}-lambda{lambda_}",
        parameters={"lambda": lambda_},
        min_child_share=share,
    )


#: Small enough that the whole demo takes minutes: shallow trees on some of the columns. The work of
#: a level is that of its nodes times its columns. In larger steps there are so few trees that which
#: columns they draw moves the result more than what is compared.
DEMO_PLAN = SearchPlan(
    name=DEMO,
    purpose="A few shallow candidates, so that a demo takes minutes.",
    common={
        "eta": 0.12,
        "max_delta_step": 4,
        "max_depth": 4,
        "subsample": 0.8,
        "colsample_bytree": 0.4,
        "max_bin": 64,
    },
    spec=SearchSpec(
        candidates=(
            _candidate(0.0, 1),
            _candidate(0.005, 10),
            _candidate(0.02, 1),
            _candidate(0.08, 10),
        ),
        rungs=(
            SearchRung(trees=20, alive=4),
            SearchRung(trees=45, alive=2),
            SearchRung(trees=100, alive=1),
        ),
        patience=25,
        keep_each_share=False,
    ),
    monotone="share0.02-lambda1",
)

#: What ``--plan`` can say.
PLAN_NAMES = (DEMO, *PLANS, NONE)


@dataclass(frozen=True)
class Fitting:
    """How every model of a demo is fitted.

    Attributes
    ----------
    parameters : mapping of str to value
        Under XGBoost's names: those that all candidates share, or without a plan all of them.
    plan : SearchPlan or None
        None trains with ``parameters`` as they are.
    """

    parameters: Mapping[str, Any]
    plan: SearchPlan | None = None


def plan_named(name: str) -> SearchPlan | None:
    """Return a plan by its name; None for ``none``.

    Raises
    ------
    ConfigurationError
        If there is none of that name.
    """
    if name == NONE:
        return None
    return DEMO_PLAN if name == DEMO else find_plan(name)
