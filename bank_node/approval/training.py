"""What a training asks of a bank: weighed against ``[approval]``, and shown to a person."""

import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from bank_node.approval.cost import training_cost
from bank_node.approval.facts import ReviewedColumn, ReviewedParameter, RunFacts, TrainingFacts
from bank_node.approval.findings import Finding, finding
from bank_node.approval.judging import is_judged, judging_reveals
from bank_node.approval.privacy import privacy_facts, private_reveals, weigh_privacy
from bank_node.approval_rules import ANY, Allowed, ApprovalRules, ends_of
from bank_node.state.pinned_run import PinnedRun
from fraudfed.dtypes import FIXED_POINT_ONE
from fraudfed.errors import ParameterError
from fraudfed.features.population import population_text
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract

#: XGBoost reads 0 as no limit.
_UNLIMITED_AT_0: Final = frozenset({"max_depth", "max_leaves"})
#: How much larger a hessian may become when it is rounded to fixed point.
_ROUNDING: Final = 0.5 / FIXED_POINT_ONE
#: The alias in a run's parameters -> the name that they are written out under.
_GIVEN_NAMES: Final = {
    "reg_lambda": "lambda",
    "reg_alpha": "alpha",
    "learning_rate": "eta",
    "min_split_loss": "gamma",
    "random_state": "seed",
}


def weigh_training(run: PinnedRun, rules: ApprovalRules) -> tuple[Finding, ...]:
    """Return what ``[approval]`` says to each thing that a training asks for.

    Law: all of it is allowed exactly if every column, label and weight among them, matches a
    pattern of ``columns``, every parameter lies within its ends or has its default if it has none,
    ``max_weight`` and the number of categories of each column are within theirs, and so are the
    privacy terms.

    Raises
    ------
    ParameterError
        If a parameter is unknown or cannot be.
    """
    contract = run.contract
    if not rules.columns:
        return (
            Finding(
                subject="this training",
                allowed=False,
                reason="is approved by no rule (no columns are named there)",
            ),
        )
    return (
        *weigh_columns(contract, rules.columns),
        *weigh_limits(contract, rules),
        *_weigh_parameters(run, rules),
        *weigh_privacy(run.spec.privacy, rules),
    )


def column_names(contract: DataContract) -> tuple[str, ...]:
    """Return the names of all columns that a contract uses: features, label, weight."""
    weight = () if contract.weight is None else (contract.weight,)
    return (*(spec.name for spec in contract.features), contract.label, *weight)


def weigh_columns(contract: DataContract, patterns: tuple[str, ...]) -> Iterator[Finding]:
    """Yield what patterns of ``columns`` say to each column of a contract."""
    for name in column_names(contract):
        pattern = next((each for each in patterns if fnmatchcase(name, each)), None)
        yield finding(
            f"column {name}",
            pattern is not None,
            for_it=f"matches {pattern!r} of columns",
            against="matches no pattern of columns",
        )


def weigh_limits(contract: DataContract, rules: ApprovalRules) -> Iterator[Finding]:
    """Yield what ``max_weight`` and ``max_categories`` say to a contract."""
    yield finding(
        "max_weight",
        contract.max_weight <= rules.max_weight,
        for_it=f"is {contract.max_weight:g}, at most {rules.max_weight:g}",
        against=f"is {contract.max_weight:g}, above the {rules.max_weight:g} of max_weight",
    )
    for spec in contract.features:
        if spec.categories is None:
            continue
        n = len(spec.categories)
        yield finding(
            f"categories of {spec.name}",
            n <= rules.max_categories,
            for_it=f"are {n}, at most {rules.max_categories}",
            against=f"are {n}, above the {rules.max_categories} of max_categories",
        )


def _weigh_parameters(run: PinnedRun, rules: ApprovalRules) -> Iterator[Finding]:
    values = BoosterParams.parse(run.spec.parameters).to_mapping()
    if not isinstance(rules.parameters, dict):
        yield Finding(subject="parameters", allowed=True, reason=f'are left to the run: "{ANY}"')
        return
    for name, value in values.items():
        yield weigh_parameter(name, value, rules.parameters)


def weigh_parameter(
    name: str, value: Any, allowed: Mapping[str, Allowed], *, subject: str | None = None
) -> Finding:
    """Return what the entries of ``parameters`` say to a value of one of them.

    Parameters
    ----------
    name : str
        As it is written out.
    value : object
    allowed : mapping
        Of ``ApprovalRules.parameters``.
    subject : str or None
        Of the finding, instead of the name.
    """
    shown, entry = _shown(name, value), allowed.get(name)
    if entry is None:
        default = BoosterParams().to_mapping()[name]
        return finding(
            name if subject is None else subject,
            value == default,
            for_it=f"is {shown}, the default",
            against=f"is {shown}, and has no entry: the default {default} is expected",
        )
    return finding(
        name if subject is None else subject,
        _is_within(name, value, entry),
        for_it=f"is {shown}, within {ends_text(entry)}",
        against=f"is {shown}, outside {ends_text(entry)}",
    )


def _is_within(name: str, value: Any, allowed: Allowed) -> bool:
    if allowed == ANY or value is None:
        # An optional parameter that is not used has nothing to bound.
        return True
    if isinstance(value, str):
        return value in allowed
    if isinstance(value, list):
        return all(each in allowed for each in value)
    ends = ends_of(allowed)
    if ends is None:
        return False
    number = math.inf if name in _UNLIMITED_AT_0 and value == 0 else value
    low, high = ends
    return (low is None or number >= low) and (high is None or number <= high)


def ends_text(allowed: Allowed) -> str:
    """Return what is approved of a parameter, in words."""
    if isinstance(allowed, str):
        return f'"{allowed}"'
    ends = ends_of(allowed)
    if ends is None:
        return ", ".join(str(each) for each in allowed)
    low, high = ends
    return f"[{'-inf' if low is None else low}, {'inf' if high is None else high}]"


def _shown(name: str, value: Any) -> str:
    unlimited = " (no limit)" if name in _UNLIMITED_AT_0 and value == 0 else ""
    return f"{value}{unlimited}"


def training_facts(run: PinnedRun, *, key_bits: int) -> RunFacts:
    """Return everything that a bank agrees to in a training; an unusable parameter is no error.

    Parameters
    ----------
    key_bits : int
        Of the run's Paillier key.
    """
    try:
        params = BoosterParams.parse(run.spec.parameters)
    except ParameterError:
        params = None
    contract = run.contract
    validation = "not known" if params is None else _validation(contract, params)
    return RunFacts(
        about=what_is_used(run, params, validation=validation),
        cost=None if params is None else training_cost(contract, params, key_bits=key_bits),
        reveals=() if params is None else tuple(_reveals(run, params)),
    )


def what_is_used(run: PinnedRun, params: BoosterParams | None, *, validation: str) -> TrainingFacts:
    """Return the data and the parameters of a training, or those that candidates share."""
    contract = run.contract
    return TrainingFacts(
        data=contract.kind,
        columns=reviewed_columns(contract),
        max_weight=contract.max_weight,
        recipe=contract.recipe,
        train_from=contract.train_from,
        train_until=contract.train_until,
        select_until=contract.select_until,
        judge_until=contract.judge_until,
        label_horizon=contract.label_horizon_days.text,
        risk_delay_days=contract.risk_delay_days,
        risk_publication_lag_days=contract.risk_publication_lag_days,
        gap_days=contract.gap_days,
        exclude_known_compromised=contract.exclude_known_compromised,
        alerts_per_day=contract.alerts_per_day,
        shared_risk=contract.shared_risk,
        population=None if contract.population is None else population_text(contract.population),
        currency=_currency(contract),
        parameters=None if params is None else _parameters(run, params),
        validation=validation,
        privacy=None if run.spec.privacy is None else privacy_facts(run.spec.privacy),
    )


def _currency(contract: DataContract) -> str | None:
    if contract.currency is None:
        return None
    rates = {code: len(days) for code, days in sorted(contract.currency.rates.items())}
    listed = ", ".join(f"{code} ({count})" for code, count in rates.items())
    return f"{contract.currency.code}; dated rates of {listed or 'no other'}"


def reviewed_columns(contract: DataContract) -> tuple[ReviewedColumn, ...]:
    """Return the columns of a contract: features, label, weight."""
    features = tuple(
        ReviewedColumn(
            name=spec.name,
            role="feature",
            type=spec.type.value,
            nullable=spec.nullable,
            categories=spec.categories,
            description=spec.description,
            unit=spec.unit,
        )
        for spec in contract.features
    )
    label = ReviewedColumn(name=contract.label, role="label", type="0 or 1", nullable=False)
    if contract.weight is None:
        return (*features, label)
    kind = f"above 0, at most {contract.max_weight:g}"
    weight = ReviewedColumn(name=contract.weight, role="weight", type=kind, nullable=False)
    return (*features, label, weight)


def _parameters(run: PinnedRun, params: BoosterParams) -> tuple[ReviewedParameter, ...]:
    given = {_GIVEN_NAMES.get(name, name) for name in run.spec.parameters}
    return tuple(
        ReviewedParameter(name=name, value=value, given=name in given)
        for name, value in params.to_mapping().items()
    )


def _validation(contract: DataContract, params: BoosterParams) -> str:
    if params.early_stopping_rounds is None:
        return "none: all trees are grown"
    which = (
        "the payments that select"
        if contract.kind == "transactions"
        else "one row in five, chosen by a hash of its content, as a table has no times"
    )
    return (
        f"{which}; training stops when {params.eval_metric[-1]} has not improved for "
        f"{params.early_stopping_rounds} trees"
    )


def least_rows(params: BoosterParams, *, max_weight: float) -> int:
    """Return the fewest rows of all banks that a leaf can rest on.

    A row's hessian is ``w p (1 - p)``, at most a quarter of its largest weight, and rounded to
    fixed point.
    """
    largest = max_weight * max(1.0, params.scale_pos_weight) / 4
    return max(math.ceil(params.min_child_weight / (largest + _ROUNDING)), 1)


def _reveals(run: PinnedRun, params: BoosterParams) -> Iterator[str]:
    contract = run.contract
    n_features, trees = len(contract.features), params.num_boost_round
    if run.spec.privacy is not None:
        yield from private_reveals(
            run.spec.privacy, banks=_banks(run), trees=trees, readers=readers(run)
        )
        return
    yield from reveals_of_any(run, max_bin=params.max_bin)
    depth = "no limit of depth" if params.max_depth == 0 else f"up to {params.max_depth} deep"
    leaves = "" if params.max_leaves == 0 else f", up to {params.max_leaves} leaves"
    yield (
        f"For each of up to {trees} trees ({depth}{leaves}) and each of its nodes: the sums of "
        f"gradients and hessians, about the numbers of rows and frauds, in each range of "
        f"{n_features} columns."
    )
    rows = least_rows(params, max_weight=contract.max_weight)
    yield (
        f"A leaf rests on hessians of at least {params.min_child_weight:g} (min_child_weight): on "
        f"{rows} row{'s' * (rows > 1)} or more of all banks together"
        + (
            "; so a single row can decide a leaf (which bank has it is not shown)."
            if rows == 1
            else ", and on many more once the model is sure of them."
        )
    )
    if params.min_child_banks:
        yield counted_banks(params)
    if params.early_stopping_rounds is not None:
        yield f"After each tree, {', '.join(params.eval_metric)} on the validation rows of all."
    if is_judged(contract, selects=params.early_stopping_rounds is not None):
        yield from judging_reveals(contract)
    yield (
        f"The model: its splits, leaf weights and node statistics to {params.statistics_bits} "
        f"significant bits. It is read by {readers(run)}."
    )


def counted_banks(params: BoosterParams) -> str:
    """Return what counting banks reveals, in words."""
    least = f"{params.min_bank_share:.3g} of its hessians" if params.min_bank_share else "a row"
    return (
        f"For both sides of every split that is tried, how many banks have at least {least} there, "
        f"not which (min_child_banks: a split needs {params.min_child_banks} on each side)."
    )


def reveals_of_any(run: PinnedRun, *, max_bin: int) -> Iterator[str]:
    """Yield what every training and search reveals before the first tree."""
    yield (
        "Every bank that takes part, and no one else, reads sums over all banks that take part "
        f"({_banks(run)}), never "
        "of one bank: the numbers of rows and of frauds, and all that follows."
    )
    yield (
        f"For each numeric column, how many rows lie in each of up to {max_bin} ranges of "
        "values (about 0.05 % wide where rows are dense), and which ranges are empty."
    )


def _banks(run: PinnedRun) -> str:
    return f"at least {min(run.spec.min_cohort, len(run.cohort))} of the {len(run.cohort)}"


def readers(run: PinnedRun) -> str:
    """Return the readers of a run's model, in words."""
    if run.spec.model_visibility.value == "aggregator":
        return "the members and the operator of the aggregator"
    return "the members alone; the aggregator holds it sealed"
