"""Named plans of a search: which candidates, and how long each of them is grown.

A plan means the same at one bank and at five: ``min_child_weight`` of a candidate is a share of the
frauds that are trained on. docs/parameters.md says what each plan was measured on.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

from fraudfed.catalogue.recipes import find_recipe
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import DataContract
from fraudfed.wire.messages.kinds.search import SearchCandidate, SearchRung, SearchSpec

#: What all candidates of a plan share unless they say otherwise. Training begins at the pooled
#: prevalence (no ``base_score``): from 0.5, where one payment in a thousand is fraud, the mean
#: score of 20 trees is still far from it, and early rungs would compare how fast candidates come
#: down. From there the first steps of a strong feature would be dozens of log-odds (a leaf's share
#: of fraud divided by the prevalence), so no leaf moves a score by more than ``eta`` times 4. With
#: 1 all suspicious leaves are cut off to one value, and 20 trees hardly rank: docs/parameters.md.
_COMMON: Mapping[str, Any] = MappingProxyType(
    {"eta": 0.1, "max_delta_step": 4, "subsample": 0.8, "max_bin": 64}
)
#: Shares of the frauds trained on that a leaf must hold at least, by their weight.
_SHARES = (0.0, 0.005, 0.02, 0.08)
_DEPTHS = (4, 6)
_COLUMNS = (0.4, 0.8)
_LAMBDAS = (1, 10)
#: XGBoost's own defaults where those of a plan differ. Bins are shared by all candidates.
_STOCK: Mapping[str, Any] = MappingProxyType(
    {
        "eta": 0.3,
        "max_delta_step": 0,
        "subsample": 1.0,
        "max_depth": 6,
        "colsample_bytree": 1.0,
        "lambda": 1,
    }
)
#: What is in the names of features that count what was reported as fraud.
_REPORTS = ("_fraud_count_", "_fraud_rate_", "_reported_")
_MONOTONE = "monotone"


@dataclass(frozen=True)
class SearchPlan:
    """Candidates and rungs that go together.

    Attributes
    ----------
    name : str
    purpose : str
        When to take it, in one sentence.
    common : mapping of str to value
        Parameters that all candidates share, under XGBoost's names: the run's ``parameters``.
    spec : SearchSpec
        Of a contract whose features count no frauds.
    monotone : str
        The candidate whose scores never fall where more fraud was reported, if the contract's
        features count it: see :meth:`spec_for`.
    """

    name: str
    purpose: str
    common: Mapping[str, Any]
    spec: SearchSpec
    monotone: str

    def spec_for(self, contract: DataContract) -> SearchSpec:
        """Return the candidates for the features of a contract.

        One of them is called ``monotone``: it is constrained to rise with each of the contract's
        counts and rates of reported fraud. Where the contract has none of them, this candidate is
        as it is in ``spec``, so that a plan always has the same number of candidates.

        Raises
        ------
        ConfigurationError
            If this release does not know the contract's recipe.
        """
        rising = rising_features(contract)
        if not rising:
            return self.spec
        constraints = dict.fromkeys(rising, 1)
        return self.spec.model_copy(
            update={
                "candidates": tuple(
                    SearchCandidate(
                        name=_MONOTONE,
                        parameters={**one.parameters, "monotone_constraints": constraints},
                        min_child_share=one.min_child_share,
                    )
                    if one.name == self.monotone
                    else one
                    for one in self.spec.candidates
                )
            }
        )


def rising_features(contract: DataContract) -> tuple[str, ...]:
    """Return the features of a contract that count what was reported as fraud, in its order.

    Own columns and the columns of tables are none of them, whatever their names are: only of a
    recipe's features is it known what more of them means.

    Raises
    ------
    ConfigurationError
        If this release does not know the contract's recipe.
    """
    if contract.recipe is None:
        return ()
    known = {
        feature.name
        for feature in find_recipe(contract.recipe).definitions(shared=True)
        if any(part in feature.name for part in _REPORTS)
    }
    return tuple(spec.name for spec in contract.features if spec.name in known and not spec.is_own)


def _cell(
    share: float, depth: int, columns: float, lambda_: int, **others: float
) -> SearchCandidate:
    extra = "".join(f"-{name.rpartition('_')[2]}{value:g}" for name, value in others.items())
    return SearchCandidate(
        name=f"share{share:g}-depth{depth}-columns{columns:g}-lambda{lambda_}{extra}",
        parameters={
            "max_depth": depth,
            "colsample_bytree": columns,
            "lambda": lambda_,
            **others,
        },
        min_child_share=share,
    )


def _grid() -> list[SearchCandidate]:
    """Return all combinations; ``lambda`` by the parity of the others, which halves their number.

    A half fraction of a factorial design: no main effect is confounded with another (Box, Hunter,
    Hunter, Statistics for Experimenters, 2nd edition, 2005, chapter 6).
    """
    return [
        _cell(_SHARES[i], _DEPTHS[j], _COLUMNS[k], _LAMBDAS[(i + j + k) % 2])
        for i, j, k in product(range(len(_SHARES)), range(len(_DEPTHS)), range(len(_COLUMNS)))
    ]


def _with_stock(
    cells: Iterable[SearchCandidate], *, instead_of: str
) -> tuple[SearchCandidate, ...]:
    stock = SearchCandidate(name="stock", parameters=dict(_STOCK), min_child_share=0.0)
    return tuple(stock if cell.name == instead_of else cell for cell in cells)


def _rungs(*rungs: tuple[int, int]) -> tuple[SearchRung, ...]:
    return tuple(SearchRung(trees=trees, alive=alive) for trees, alive in rungs)


#: Cells of the grid that give way: the one that is nearest to the stock defaults, and the one that
#: becomes monotone.
_STOCK_CELL = "share0-depth6-columns0.8-lambda1"
_MONOTONE_CELL = "share0.02-depth6-columns0.8-lambda1"

_STANDARD = SearchPlan(
    name="standard",
    purpose="Sixteen candidates in about four times the work of one training.",
    common=_COMMON,
    spec=SearchSpec(
        candidates=_with_stock(_grid(), instead_of=_STOCK_CELL),
        rungs=_rungs((20, 16), (50, 6), (100, 3), (200, 1)),
        patience=20,
    ),
    monotone=_MONOTONE_CELL,
)

_QUICK = SearchPlan(
    name="quick",
    purpose="Eight candidates and at most 100 trees: to see soon whether parameters matter here.",
    common=_COMMON,
    spec=SearchSpec(
        candidates=_with_stock(
            # Depth, too, by parity: one of four combinations of each share and half the columns.
            [
                _cell(_SHARES[i], _DEPTHS[(i + k) % 2], _COLUMNS[k], _LAMBDAS[k])
                for i, k in product(range(len(_SHARES)), range(len(_COLUMNS)))
            ],
            instead_of="share0-depth6-columns0.8-lambda10",
        ),
        rungs=_rungs((20, 8), (50, 4), (100, 1)),
        patience=20,
    ),
    monotone="share0.02-depth6-columns0.8-lambda10",
)

_WIDE = SearchPlan(
    name="wide",
    purpose="Thirty-two candidates, other steps and weights among them, for a run over night.",
    common=_COMMON,
    spec=SearchSpec(
        candidates=(
            *_STANDARD.spec.candidates,
            *(
                _cell(
                    _SHARES[i],
                    _DEPTHS[j],
                    _COLUMNS[k],
                    _LAMBDAS[(i + j + k) % 2],
                    eta=(0.05, 0.2)[(i + j) % 2],
                    scale_pos_weight=(1, 10)[(i + k) % 2],
                )
                for i, j, k in product(
                    range(len(_SHARES)), range(len(_DEPTHS)), range(len(_COLUMNS))
                )
            ),
        ),
        # With half the step, half the trees are no comparison.
        rungs=_rungs((40, 32), (80, 10), (160, 4), (400, 1)),
        patience=40,
    ),
    monotone=_MONOTONE_CELL,
)

PLANS: Mapping[str, SearchPlan] = MappingProxyType(
    {plan.name: plan for plan in (_QUICK, _STANDARD, _WIDE)}
)


def find_plan(name: str) -> SearchPlan:
    """Return a plan by its name.

    Raises
    ------
    ConfigurationError
        If there is none of that name.
    """
    found = PLANS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, PLANS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(PLANS)}"
        raise ConfigurationError(f"plan {name!r}: there is none of that name; {hint}")
    return found
