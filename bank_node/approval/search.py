"""What a search asks of a bank: weighed against ``[approval]``, and shown to a person."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from bank_node.approval.cost import search_cost
from bank_node.approval.facts import ReviewedCandidate, ReviewedRung, RunFacts, SearchFacts
from bank_node.approval.findings import Finding, finding
from bank_node.approval.judging import judging_reveals
from bank_node.approval.training import (
    counted_banks,
    least_rows,
    readers,
    reveals_of_any,
    weigh_columns,
    weigh_limits,
    weigh_parameter,
    what_is_used,
)
from bank_node.approval_rules import ANY, Allowed, ApprovalRules, SearchApproval, ends_of
from bank_node.state.pinned_run import PinnedRun
from fraudfed.catalogue.run_check import check_candidates
from fraudfed.errors import ParameterError
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import SearchCandidate, SearchSpec, SelectBy

_WEIGHT: Final = "min_child_weight"
_COMPARED: Final = {
    SelectBy.MEAN_OF_BANKS: "the mean of the banks' own AUPRC, weighted by their frauds, at most "
    "200 of each",
    SelectBy.POOLED: "the AUPRC over the rows of all banks as one table",
}


def weigh_search(run: PinnedRun, rules: ApprovalRules) -> tuple[Finding, ...]:
    """Return what ``[approval]`` says to each thing that a search asks for.

    Law: all of it is allowed exactly if a training with the parameters of each candidate would be,
    and the search is no larger than ``search`` says. Of ``min_child_weight`` as a share of frauds
    no more is known than that it is at least 1.

    Raises
    ------
    ParameterError
        If candidates cannot be, or not together.
    """
    contract, spec = run.contract, run.search
    if rules.search is None:
        return (
            Finding(
                subject="this search",
                allowed=False,
                reason="is approved by no rule (there is no [approval.search])",
            ),
        )
    params = check_candidates(contract, spec, run.spec.parameters)
    return (
        *weigh_columns(contract, rules.columns),
        *weigh_limits(contract, rules),
        *_weigh_size(spec, rules.search),
        *_weigh_candidates(spec, params, rules.parameters),
    )


def _weigh_size(spec: SearchSpec, rules: SearchApproval | str) -> Iterator[Finding]:
    if not isinstance(rules, SearchApproval):
        yield Finding(subject="the search's size", allowed=True, reason=f'is left to it: "{ANY}"')
        return
    for name, asked in (("max_candidates", len(spec.candidates)), ("max_trees", all_trees(spec))):
        least = getattr(rules, name)
        yield finding(
            {"max_candidates": "candidates", "max_trees": "trees of all candidates"}[name],
            asked <= least,
            for_it=f"are {asked}, at most {least}",
            against=f"are {asked}, above the {least} of {name}",
        )


def _weigh_candidates(
    spec: SearchSpec, params: tuple[BoosterParams, ...], rules: str | Mapping[str, Allowed] | None
) -> Iterator[Finding]:
    """Yield one finding for each value that candidates have, which names them if it is refused."""
    if not isinstance(rules, Mapping):
        yield Finding(
            subject="parameters of candidates", allowed=True, reason=f'are left to the run: "{ANY}"'
        )
        return
    found: dict[Finding, list[str]] = defaultdict(list)
    for candidate, each in zip(spec.candidates, params, strict=True):
        for name, value in each.to_mapping().items():
            if name == _WEIGHT and candidate.min_child_share:
                found[_weigh_share(candidate, rules)].append(candidate.name)
            else:
                found[weigh_parameter(name, value, rules)].append(candidate.name)
    for one, names in found.items():
        if len(names) == len(params):
            yield one
        elif one.allowed:
            yield one.model_copy(update={"subject": f"{one.subject} of {_several(names)}"})
        else:
            listed = ", ".join(names)
            yield one.model_copy(update={"subject": f"{one.subject} of candidate {listed}"})


def _several(names: list[str]) -> str:
    return f"candidate {names[0]}" if len(names) == 1 else f"{len(names)} candidates"


def _weigh_share(candidate: SearchCandidate, rules: Mapping[str, Allowed]) -> Finding:
    """Weigh a weight that follows from the number of frauds, which nobody knows before the run."""
    entry = rules.get(_WEIGHT)
    ends = None if entry is None else ends_of(entry)
    from_1_on = ends is not None and ends[1] is None and (ends[0] is None or ends[0] <= 1)
    what = f"is {candidate.min_child_share:g} of the frauds trained on, at least 1"
    return finding(
        _WEIGHT,
        from_1_on or entry == ANY,
        for_it=f"{what}, within what is allowed",
        against=f'{what}, which is not known before; only [1, inf], wider ends or "{ANY}" allow it',
    )


def all_trees(spec: SearchSpec) -> int:
    """Return how many trees are grown at most, those of all candidates together."""
    before, trees = 0, 0
    for rung in spec.rungs:
        trees += rung.alive * (rung.trees - before)
        before = rung.trees
    return trees


def search_facts(run: PinnedRun, *, key_bits: int) -> RunFacts:
    """Return everything that a bank agrees to in a search; an unusable parameter is no error.

    Parameters
    ----------
    key_bits : int
        Of the run's Paillier key.
    """
    spec, contract = run.search, run.contract
    try:
        params = check_candidates(contract, spec, run.spec.parameters)
    except ParameterError:
        params = None
    try:
        trees = {"num_boost_round": spec.rungs[-1].trees}
        common = BoosterParams.parse({**run.spec.parameters, **trees})
    except ParameterError:
        common = None
    about = SearchFacts(
        shared=what_is_used(run, common, validation=_validation(spec)),
        candidates=tuple(
            ReviewedCandidate(
                name=one.name, parameters=one.parameters, min_child_share=one.min_child_share
            )
            for one in spec.candidates
        ),
        rungs=tuple(ReviewedRung(trees=rung.trees, alive=rung.alive) for rung in spec.rungs),
        trees=all_trees(spec),
        select_by=spec.select_by.value,
        patience=spec.patience,
        keep_each_share=spec.keep_each_share,
    )
    return RunFacts(
        about=about,
        cost=None if params is None else search_cost(contract, spec, params, key_bits=key_bits),
        reveals=() if params is None else tuple(_reveals(run, params)),
    )


def _validation(spec: SearchSpec) -> str:
    stops = (
        ""
        if spec.patience is None
        else f"; the last candidate stops when it has not improved for {spec.patience} trees"
    )
    return (
        "candidates are compared on the select window (of a table: one row in five), by "
        f"{_COMPARED[spec.select_by]}{stops}"
    )


def _reveals(run: PinnedRun, params: tuple[BoosterParams, ...]) -> Iterator[str]:
    spec, contract = run.search, run.contract
    yield from reveals_of_any(run, max_bin=params[0].max_bin)
    deepest = max(params, key=lambda each: each.max_depth or 1 << 30).max_depth
    depth = "no limit of depth" if deepest == 0 else f"up to {deepest} deep"
    yield (
        f"For each of {len(params)} candidates, as long as it is alive, all that a training would "
        f"show: for each of up to {all_trees(spec):,} trees in all ({depth}) and each of its "
        "nodes, the sums of gradients and hessians, about the numbers of rows and frauds, in each "
        f"range of {len(contract.features)} columns. Many models over the same rows show more of "
        "them than one."
    )
    rows = min(least_rows(each, max_weight=contract.max_weight) for each in params)
    yield (
        f"A leaf of the least careful candidate rests on {rows} row{'s' * (rows > 1)} or more of "
        "all banks together"
        + (
            "; so a single row can decide a leaf (which bank has it is not shown)."
            if rows == 1
            else ", and on many more once the model is sure of them."
        )
    )
    counting = [each for each in params if each.min_child_banks]
    if counting:
        yield counted_banks(
            min(counting, key=lambda each: (each.min_child_banks, each.min_bank_share))
        )
    yield (
        "Of each candidate, again and again: how the frauds and the other payments of the select "
        "window are spread over the scores, of all banks together, and the mean of the banks' own "
        "AUPRC. No bank's own is shown."
    )
    yield from judging_reveals(contract)
    yield (
        "The result: each candidate's curve, the choice, and the chosen model, its splits, leaf "
        f"weights and node statistics to {params[0].statistics_bits} significant bits. It is read "
        f"by {readers(run)}."
    )
