"""Whether the candidates of a search can be grown side by side: what can be said without data.

Candidates of one search are compared by one metric after the same numbers of trees. So some
parameters are the search's own and no candidate can have them.
"""

from collections.abc import Mapping
from typing import Any, Final

from fraudfed.errors import ParameterError
from fraudfed.parameters import BoosterParams, overridden
from fraudfed.wire.messages import SearchCandidate, SearchSpec

#: The parameter -> what says it in a search, for all candidates.
_SAID_BY_SEARCH: Final = {
    "num_boost_round": "the rungs say how many trees there are",
    "early_stopping_rounds": "patience says when to stop",
    "eval_metric": "select_by says what decides",
}


def check_search(spec: SearchSpec, common: Mapping[str, Any]) -> tuple[BoosterParams, ...]:
    """Return the parameters of each candidate, in their order, if all can be grown together.

    ``num_boost_round`` is that of the last rung. Where ``min_child_share`` is given,
    ``min_child_weight`` is the least that it can become, 1.

    Parameters
    ----------
    spec : SearchSpec
    common : mapping of str to value
        What all candidates share, under XGBoost's names.

    Raises
    ------
    ParameterError
        Naming the candidate: if a parameter is unknown, not allowed, said twice, or one that the
        search has; or if two candidates are the same.
    """
    _check_free(common, "")
    try:
        # What is wrong for all of them is not the fault of the first.
        BoosterParams.parse({**common, "num_boost_round": spec.rungs[-1].trees})
    except ParameterError as error:
        raise ParameterError(f"of all candidates: {error}") from None
    found: dict[tuple[BoosterParams, float | None], str] = {}
    for candidate in spec.candidates:
        params = candidate_parameters(spec, common, candidate)
        key = (params, candidate.min_child_share)
        if key in found:
            raise ParameterError(
                f"candidates {found[key]!r} and {candidate.name!r} are the same parameters; leave "
                "one of them out"
            )
        found[key] = candidate.name
    limits = {params.max_bank_weight for params, _ in found}
    if len(limits) > 1:
        raise ParameterError(
            f"candidates have {len(limits)} values of max_bank_weight, expected one: they share "
            "the weights of their rows; give it to all candidates together"
        )
    return tuple(params for params, _ in found)


def candidate_parameters(
    spec: SearchSpec, common: Mapping[str, Any], candidate: SearchCandidate
) -> BoosterParams:
    """Return the parameters of one candidate; raises ParameterError as ``check_search``."""
    where = f"candidate {candidate.name!r}: "
    _check_free(candidate.parameters, where)
    given = dict(candidate.parameters)
    if candidate.min_child_share is not None:
        if "min_child_weight" in given:
            raise ParameterError(
                f"{where}has min_child_share and min_child_weight, which contradict each other; "
                "give one of them"
            )
        given["min_child_weight"] = 1.0
    try:
        return BoosterParams.parse(
            {**overridden(common, given), "num_boost_round": spec.rungs[-1].trees}
        )
    except ParameterError as error:
        raise ParameterError(f"{where}{error}") from None


def _check_free(parameters: Mapping[str, Any], where: str) -> None:
    for name, instead in _SAID_BY_SEARCH.items():
        if name in parameters:
            raise ParameterError(
                f"{where}{name} is {parameters[name]!r}, expected no such parameter in a search: "
                f"{instead}; leave it out"
            )
