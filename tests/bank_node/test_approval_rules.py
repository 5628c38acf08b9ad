"""``[approval]`` of bank.toml: what it says, what it refuses to be, and which runs it approves."""

import math
import tomllib
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from bank_node.approval.risk import weigh_risk
from bank_node.approval.training import weigh_training
from bank_node.approval_rules import ApprovalRules
from bank_node.config import BankConfig, RulesFile
from bank_node.jobs.registry import JOBS
from bank_node.state.pinned_run import PinnedRun
from fraudfed.errors import ParameterError, StateError
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import (
    DataContract,
    FeatureSpec,
    FeatureType,
    ModelVisibility,
    PublicKeyMessage,
    RiskEntity,
    RiskSpec,
    RunKind,
    RunSpec,
)

KEY = PublicKeyMessage(n="ff", fingerprint="1" * 64)
DEFAULTS = BoosterParams().to_mapping()


def training(
    parameters: dict[str, Any] | None = None,
    *,
    columns: tuple[str, ...] = ("amount",),
    categories: int = 0,
    **contract: Any,
) -> PinnedRun:
    features = [FeatureSpec(name=name) for name in columns]
    if categories:
        texts = tuple(map(str, range(categories)))
        features.append(FeatureSpec(name="channel", type=FeatureType.CATEGORICAL, categories=texts))
    return PinnedRun(
        run_id="r",
        spec=RunSpec(
            name="test",
            key_epoch=1,
            parameters=parameters or {},
            contract=DataContract(kind="table", features=tuple(features), **contract),
        ),
        cohort=("a", "b", "c"),
        public_key=KEY,
    )


def risk(**changes: Any) -> PinnedRun:
    spec = RiskSpec(**{"first_day": 100, "last_day": 109, "delay_days": 7, **changes})
    return PinnedRun(
        run_id="r",
        spec=RunSpec(
            name="risk",
            key_epoch=1,
            kind=RunKind.RISK,
            risk=spec,
            model_visibility=ModelVisibility.MEMBERS,
        ),
        cohort=("a", "b", "c"),
        public_key=KEY,
    )


def rules(parameters: Any = "any", **changes: Any) -> ApprovalRules:
    settings = {"columns": ["amount", "channel", "is_fraud"], "parameters": parameters, **changes}
    return ApprovalRules.model_validate(settings)


def approves(run: PinnedRun, approval: ApprovalRules) -> bool:
    findings = JOBS[run.spec.kind].weigh(run, approval)
    return bool(findings) and all(each.allowed for each in findings)


def objections(run: PinnedRun, approval: ApprovalRules) -> list[str]:
    found = JOBS[run.spec.kind].weigh(run, approval)
    return [f"{each.subject} {each.reason}" for each in found if not each.allowed]


# What the table says


def config(approval: ApprovalRules) -> BankConfig:
    return BankConfig(
        name="a",
        aggregator="https://a.example",
        signing_key="1" * 64,
        agreement_key="2" * 64,
        approval=approval,
    )


@pytest.mark.parametrize(
    "approval",
    [
        ApprovalRules(),
        rules(),
        rules({"max_depth": [1, 6], "eta": [-math.inf, 0.5], "min_child_weight": [50, math.inf]}),
        rules({"eval_metric": ["aucpr", "auc"], "seed": "any", "grow_policy": ["lossguide"]}),
        rules({}, risk={"max_days": 400, "min_customers": 3, "entities": ["payee"]}),
        rules({"max_bin": [2, 64]}, columns=['a"b', "ü*"], risk="any", max_weight=2.5),
    ],
    ids=str,
)
def test_the_table_is_read_back_as_it_was_written(approval: ApprovalRules) -> None:
    made = config(approval)
    assert BankConfig.from_toml(made.to_toml(), source="bank.toml") == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('columns = ["a"]', r'set parameters = "any", or give a table'),
        ('columns = ["a"]\nparameters = "all"', r'expected "any" or a table'),
        ("columns = [7]", "columns.0"),
        ('columns = [""]', "columns.0"),
        ("max_weight = 0", "max_weight"),
        ("max_weight = nan", "max_weight"),
        ("max_categories = 0", "max_categories"),
        ("rounds = 4", "approval.rounds"),
        ("risk = true", r'expected "any" or a table \[approval.risk\]'),
        ("[approval.risk]\nmax_days = 3", "min_customers"),
        ("[approval.risk]\nmax_days = 0\nmin_customers = 1", "max_days"),
        ("[approval.risk]\nmax_days = 3\nmin_customers = 1\nentities = ['bank']", "entities"),
        ("[approval.parameters]\nmax_deep = [1, 2]", "max_deep: unknown.*did you mean 'max_depth'"),
        ("[approval.parameters]\nreg_lambda = [1, 2]", "reg_lambda: unknown"),
        ("[approval.parameters]\nmax_depth = [6, 1]", "max_depth: the ends 6 and 1 are reversed"),
        ("[approval.parameters]\neta = [-2, -1]", "eta: no run can have a value between -2 and -1"),
        ("[approval.parameters]\nmax_bin = [257, inf]", "max_bin: no run can have a value"),
        ("[approval.parameters]\nmax_bin = [16.2, 16.8]", "max_bin: no run can have a value"),
        ("[approval.parameters]\nsubsample = [-1, 0]", "subsample: no run can have a value"),
        ("[approval.parameters]\nmax_depth = [31, 40]", "max_depth: no run can have a value"),
        ("[approval.parameters]\nmax_depth = [1, nan]", "max_depth: an end is nan"),
        ("[approval.parameters]\nmax_depth = [true, 6]", "max_depth: an end is True"),
        ("[approval.parameters]\nmax_depth = [1]", r"expected \"any\" or \[least, largest\]"),
        ("[approval.parameters]\nmax_depth = [1, 2, 3]", r"expected \"any\" or \[least, largest\]"),
        ("[approval.parameters]\nmax_depth = 6", r"expected \"any\" or \[least, largest\]"),
        ("[approval.parameters]\nmax_depth = ['1', '6']", "max_depth: an end is '1'"),
        ("[approval.parameters]\neta = [inf, inf]", "eta: no number lies between inf and inf"),
        ("[approval.parameters]\neta = [-inf, -inf]", "no number lies between"),
        ("[approval.parameters]\neval_metric = ['rmse']", "eval_metric is 'rmse'"),
        ("[approval.parameters]\neval_metric = []", "eval_metric: is"),
        ("[approval.parameters]\neval_metric = [1, 2]", "eval_metric: holds 1"),
        ("[approval.parameters]\nmonotone_constraints = [0, 1]", "monotone_constraints: is"),
    ],
)
def test_a_table_that_cannot_be_is_named_and_never_ignored(text: str, message: str) -> None:
    whole = config(ApprovalRules()).to_toml().partition("\n[approval]\n")[0]
    with pytest.raises(StateError, match=rf"bank.toml: approval.*{message}|{message}"):
        BankConfig.from_toml(f"{whole}\n[approval]\n{text}\n", source="bank.toml")


def test_without_a_table_no_run_is_approved() -> None:
    for run in (training(), risk()):
        assert not approves(run, ApprovalRules())
        assert not approves(run, RulesFile().approval)
    assert not approves(risk(), rules())
    assert not approves(training(), ApprovalRules(risk="any"))


# Columns and limits


def test_every_column_counts_label_and_weight_among_them() -> None:
    assert approves(training(), rules())
    assert objections(training(columns=("amount", "name")), rules()) == [
        "column name matches no pattern of columns"
    ]
    assert objections(training(label="chargeback"), rules()) == [
        "column chargeback matches no pattern of columns"
    ]
    assert objections(training(weight="w"), rules()) == ["column w matches no pattern of columns"]
    assert approves(training(weight="w"), rules(columns=["*"]))
    # Case and blanks count.
    assert not approves(training(columns=("Amount",)), rules())
    assert not approves(training(columns=("amount ",)), rules())


def test_limits_of_the_contract_have_ends() -> None:
    assert approves(training(max_weight=1.0), rules())
    heavier = math.nextafter(1.0, 2)
    assert objections(training(max_weight=heavier), rules()) == [
        "max_weight is 1, above the 1 of max_weight"
    ]
    assert approves(training(max_weight=heavier), rules(max_weight=heavier))
    assert approves(training(categories=4), rules(max_categories=4))
    assert objections(training(categories=5), rules(max_categories=4)) == [
        "categories of channel are 5, above the 4 of max_categories"
    ]


NAMES = st.text(st.sampled_from("abc_*?1"), min_size=1, max_size=5)
PATTERNS = st.text(st.sampled_from("abc_*?[]1"), min_size=1, max_size=5)


@given(
    columns=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    label=NAMES,
    patterns=st.lists(PATTERNS, min_size=1, max_size=3),
)
@example(columns=["a"], label="b", patterns=["[ab]"])
@example(columns=["ab"], label="ba", patterns=["a?", "b*"])
def test_a_run_is_approved_exactly_if_every_column_matches(
    columns: list[str], label: str, patterns: list[str]
) -> None:
    assume(label not in columns)
    run = training(columns=tuple(columns), label=label)
    expected = all(any(fnmatchcase(name, p) for p in patterns) for name in (*columns, label))
    assert approves(run, rules(columns=patterns)) == expected


# Parameters

NUMBERS = {
    "eta": st.floats(0, 10, width=32),
    "max_depth": st.integers(0, 30),
    "max_leaves": st.integers(0, 64),
    "lambda": st.floats(0, 100, width=32),
    "min_child_weight": st.floats(0, 1000, width=32),
    "subsample": st.floats(0.015625, 1, width=32),
    "max_bin": st.integers(2, 256),
    "num_boost_round": st.integers(1, 1000),
    "seed": st.integers(0, 2**53),
    "statistics_bits": st.integers(1, 24),
    "min_child_banks": st.integers(0, 5),
    "min_bank_share": st.floats(0, 1, width=32),
    "max_bank_weight": st.floats(0, 1000, width=32),
    "early_stopping_rounds": st.none() | st.integers(1, 100),
}
ENDS = st.tuples(
    st.sampled_from([-math.inf, 0, 0.5, 1, 6, 50]), st.sampled_from([0, 0.5, 1, 6, 50, math.inf])
).filter(lambda ends: ends[0] <= ends[1])


@given(
    values=st.fixed_dictionaries({}, optional=NUMBERS),
    table=st.fixed_dictionaries({}, optional=dict.fromkeys(NUMBERS, ENDS)),
)
@example(values={"max_depth": 6}, table={"max_depth": (1, 6)})
@example(values={"max_depth": 7}, table={"max_depth": (1, 6)})
@example(
    values={"max_depth": 0, "max_leaves": 4}, table={"max_depth": (0, 50), "max_leaves": (0, 6)}
)
@example(
    values={"max_depth": 0, "max_leaves": 4},
    table={"max_depth": (0, math.inf), "max_leaves": (0, 6)},
)
@example(values={}, table={"min_child_weight": (50, math.inf)})
@example(values={"min_child_weight": 50}, table={"min_child_weight": (50, math.inf)})
@example(values={"eta": 0.30000001}, table={})
def test_a_run_is_approved_exactly_if_every_parameter_lies_within_its_ends(
    values: dict[str, Any], table: dict[str, tuple[float, float]]
) -> None:
    """Written without the code under test: 0 is no limit, and without an entry only the default."""
    try:
        resolved = BoosterParams.parse(values).to_mapping()
    except ParameterError:
        assume(False)
    expected = True
    for name in NUMBERS:
        value = resolved[name]
        if name not in table:
            expected &= value == DEFAULTS[name]
        elif value is not None:
            low, high = table[name]
            size = math.inf if name in {"max_depth", "max_leaves"} and value == 0 else value
            expected &= low <= size <= high
    try:
        approval = rules(table)
    except ValidationError:
        # Ends that no value can lie between approve nothing, and are refused when they are written.
        assert not expected
        return
    assert approves(training(values), approval) == expected


def test_texts_and_lists_are_approved_by_name() -> None:
    table = {"eval_metric": ["logloss", "aucpr"], "grow_policy": ["lossguide"]}
    run = training({"eval_metric": ["aucpr"], "grow_policy": "lossguide"})
    assert approves(run, rules(table))
    assert not approves(training({"eval_metric": ["aucpr", "auc"]}), rules(table))
    # An entry without the default asks every run to say another value.
    assert objections(training(), rules(table)) == ["grow_policy is depthwise, outside lossguide"]
    assert not approves(training({"monotone_constraints": [1]}), rules(table))
    assert approves(training({"monotone_constraints": [1]}), rules({"monotone_constraints": "any"}))


@pytest.mark.parametrize("name", ["lambda", "reg_lambda"])
def test_an_alias_is_held_to_the_same_ends(name: str) -> None:
    table = {"lambda": [1, 2]}
    assert approves(training({name: 2}), rules(table))
    assert objections(training({name: 3}), rules(table)) == ["lambda is 3.0, outside [1, 2]"]


def test_a_parameter_that_cannot_be_is_an_error_and_no_approval() -> None:
    with pytest.raises(ParameterError, match="max_deep"):
        weigh_training(training({"max_deep": 3}), rules())


# Risk runs


@given(
    days=st.integers(1, 500),
    customers=st.integers(1, 50),
    entities=st.sets(st.sampled_from(RiskEntity), min_size=1),
    most=st.integers(1, 500),
    least=st.integers(1, 50),
    allowed=st.sets(st.sampled_from(RiskEntity), min_size=1),
)
@example(10, 3, {RiskEntity.PAYEE}, 10, 3, {RiskEntity.PAYEE})
@example(11, 3, {RiskEntity.PAYEE}, 10, 3, {RiskEntity.PAYEE})
@example(10, 2, {RiskEntity.PAYEE}, 10, 3, {RiskEntity.PAYEE})
def test_a_risk_run_is_approved_exactly_within_its_ends(
    days: int,
    customers: int,
    entities: set[RiskEntity],
    most: int,
    least: int,
    allowed: set[RiskEntity],
) -> None:
    run = risk(last_day=99 + days, min_customers=customers, entities=tuple(sorted(entities)))
    table = {"max_days": most, "min_customers": least, "entities": sorted(allowed)}
    found = weigh_risk(run, rules(risk=table))
    expected = days <= most and customers >= least and entities <= allowed
    assert all(each.allowed for each in found) == expected
    assert approves(run, rules(risk="any"))


def test_the_example_in_the_documentation_is_a_table() -> None:
    text = """
columns = ["amount", "count_*", "is_fraud"]
max_weight = 1.0

[parameters]
max_depth = [1, 6]
min_child_weight = [50, inf]
num_boost_round = [1, 200]
seed = "any"

[risk]
max_days = 400
min_customers = 3
"""
    approval = ApprovalRules.model_validate(tomllib.loads(text))
    run = training({"max_depth": 5, "min_child_weight": 80, "num_boost_round": 100, "seed": 9})
    assert approves(run, approval)
    assert approves(risk(), approval)
