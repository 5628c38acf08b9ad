"""Which bytes a bank approves, who approved them, and what a person is shown before."""

import contextlib
import hashlib
import io
import json
import stat
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bank_node.approval.cost import risk_cost, training_cost
from bank_node.approval.decision import (
    approve,
    decide,
    record_review,
    require_approved,
    revoke,
)
from bank_node.approval.digest import approval_hash, canonical_bytes, differences
from bank_node.approval.facts import Review
from bank_node.approval.findings import Finding
from bank_node.approval.risk import risk_facts
from bank_node.approval.training import least_rows, training_facts
from bank_node.commands.runs import _show_review
from bank_node.config import BankConfig
from bank_node.state.approvals import ApprovalEvent, Approvals
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.column_names import category_fault, feature_fault
from fraudfed.communicator import check_bound
from fraudfed.consortium.identity import Identity
from fraudfed.dtypes import Int64Array
from fraudfed.errors import ConfigurationError, ForbiddenError, ProtocolError, StateError
from fraudfed.features.shared_risk import RiskTables, risk_entries, sum_tables
from fraudfed.parameters import BoosterParams
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.wire.messages import (
    DataContract,
    FeatureSpec,
    FeatureType,
    LabelHorizon,
    PrivacySpec,
    PublicKeyMessage,
    RiskSpec,
    RunSpec,
)

KEY = PublicKeyMessage(n="ff", fingerprint="1" * 64)
PRIVACY: dict[str, Any] = {"epsilon": 3.0, "tolerated_colluders": 1, "declared_rows": 1000}
NO = (Finding(subject="max_depth", allowed=False, reason="is 9, outside [1, 6]"),)
YES = (Finding(subject="max_depth", allowed=True, reason="is 5, within [1, 6]"),)


def pinned(run_id: str = "r1", cohort: tuple[str, ...] = ("a", "b", "c"), **spec: Any) -> PinnedRun:
    settings: dict[str, Any] = {
        "name": "test",
        "key_epoch": 1,
        "parameters": {"max_depth": 9},
        "contract": DataContract(kind="table", features=(FeatureSpec(name="amount"),)),
    }
    return PinnedRun(run_id=run_id, spec=RunSpec(**settings | spec), cohort=cohort, public_key=KEY)


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    identity = Identity.generate()
    config = BankConfig(
        name="a",
        aggregator="https://a.example",
        signing_key=identity.public.signing_key,
        agreement_key=identity.public.agreement_key,
    )
    return StateDirectory.create(tmp_path / "bank", config, identity)


@pytest.fixture
def reviewed(state: StateDirectory) -> PinnedRun:
    run = pinned()
    state.pin_run(run)
    record_review(state, run)
    return run


# The hash

TEXT = st.text(st.sampled_from('ab",:{}[]\\é\n'), max_size=4)
#: Names that a contract may give to a feature; neither label nor weight.
NAME = st.text(st.sampled_from('ab",:{}\\é'), min_size=1, max_size=4).filter(str.strip)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.0, -0.0, 1.0, 0.5]) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RUNS = st.builds(
    pinned,
    st.sampled_from(["r1", "r2"]),
    st.sampled_from([("a", "b"), ("ab",), ("a", "b", "c")]),
    name=TEXT.filter(bool),
    parameters=st.dictionaries(TEXT, JSON, max_size=3),
    contract=st.builds(
        DataContract,
        kind=st.just("transactions"),
        recipe=TEXT,
        features=st.lists(
            st.builds(FeatureSpec, name=NAME, description=TEXT),
            min_size=1,
            max_size=3,
            unique_by=lambda spec: spec.name,
        ).map(tuple),
        label=NAME.map("label {}".format),
        weight=st.none() | NAME.map("weight {}".format),
    ),
)


def typed(value: Any) -> Any:
    """Return a value that is equal to another exactly if they are the same JSON."""
    if isinstance(value, dict):
        return {key: typed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [typed(each) for each in value]
    return (type(value).__name__, repr(value))


@given(RUNS, RUNS)
def test_descriptions_have_the_same_bytes_exactly_if_they_are_equal(
    one: PinnedRun, other: PinnedRun
) -> None:
    same = typed(one.model_dump(mode="json")) == typed(other.model_dump(mode="json"))
    assert (canonical_bytes(one) == canonical_bytes(other)) == same
    assert (approval_hash(one) == approval_hash(other)) == same
    zeros = str(typed(one.model_dump(mode="json"))).replace("-0.0", "0.0") == str(
        typed(other.model_dump(mode="json"))
    ).replace("-0.0", "0.0")
    assert bool(differences(one, other)) != zeros


@given(RUNS)
def test_the_bytes_can_be_read_back(run: PinnedRun) -> None:
    """So nothing can be moved from one field to another without other bytes."""
    read = PinnedRun.model_validate_json(canonical_bytes(run))
    assert typed(read.model_dump(mode="json")) == typed(run.model_dump(mode="json"))
    assert approval_hash(read) == approval_hash(run)


#: What a training does not have.
_OF_ONE_KIND = {"kind", "risk", "statistics", "search", "monitor"}


@given(RUNS, st.data())
def test_every_field_is_covered(run: PinnedRun, data: st.DataObject) -> None:
    """Whichever value is replaced by another: the hash is another."""
    document = run.model_dump(mode="json")
    names = [(name,) for name in ("run_id",)]
    names += [("spec", name) for name in RunSpec.model_fields if name not in _OF_ONE_KIND]
    names += [("spec", "contract", name) for name in DataContract.model_fields if name != "kind"]
    names += [("public_key", name) for name in ("n", "fingerprint")]
    where = data.draw(st.sampled_from(names))
    inner: Any = document
    for name in where[:-1]:
        inner = inner[name]
    others: dict[str, Any] = {
        "protocol_version": None,
        "model_visibility": "members",
        "parameters": {"another": 1},
        "features": [*inner.get("features", []), {"name": "one more"}],
        "contract": None,
        "require_confirmed_roster": True,
        "fingerprint": "2" * 64,
        "n": "fe",
        "max_weight": 2.0,
        "shared_risk": None,
        "recipe": None,
        # Not for plain tables: tests/bank_node/test_contract_terms.py.
        "population": None,
        "currency": None,
        # This release has no other rules.
        "identifier_rules": None,
        "like": "another-run",
        "without": ["bank_z"],
        "privacy": PRIVACY,
        # Not for plain tables: tests/bank_node/test_contract_terms.py.
        **dict.fromkeys(
            (
                "train_from",
                "train_until",
                "select_until",
                "judge_until",
                "label_horizon_days",
                "risk_delay_days",
                "risk_publication_lag_days",
                "gap_days",
                "exclude_known_compromised",
                "alerts_per_day",
            )
        ),
    }
    new = others.get(where[-1], "another")
    if where[-1] in {"key_epoch", "min_cohort", "max_rejoins"}:
        new = 77
    if where[-1].endswith("_seconds"):
        new = 77
    assume(new is not None)
    inner[where[-1]] = new
    changed = PinnedRun.model_validate(document)
    assert approval_hash(changed) != approval_hash(run)
    assert any(name.startswith(".".join(where)) for name in differences(run, changed))


@pytest.mark.parametrize(
    "changes",
    [
        {"epsilon": 2.0},
        {"delta": 1e-7},
        {"unit": "customer"},
        {"history": "none"},
        {"way": "histograms"},
        {"cuts": "contract"},
        {"tolerated_colluders": 0},
        {"declared_rows": 999},
        {"gradient_cap": 2.0},
        {"row_cap": 8},
        {"features_per_tree": 2},
        {"cuts_share": 0.1},
        {"counts_share": 0.0},
        {"metric_share": 0.0},
    ],
)
def test_every_privacy_term_is_covered(changes: dict[str, Any]) -> None:
    one, other = pinned(privacy=PRIVACY), pinned(privacy={**PRIVACY, **changes})
    assert set(changes) < set(PrivacySpec.model_fields)
    assert approval_hash(one) != approval_hash(other)
    assert differences(one, other) == tuple(f"spec.privacy.{name}" for name in changes)
    assert differences(one, pinned()) == ("spec.privacy",)


def test_the_hash_is_this_one() -> None:
    """Approvals outlive an update of the program: what is hashed, and under which domain, stays."""
    run = pinned()
    text = json.dumps(run.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    expected = hashlib.sha256(b"fraudfed approved run v1\0" + text.encode()).hexdigest()
    assert approval_hash(run) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_json_cannot_hold_cannot_be_agreed_to(value: float) -> None:
    with pytest.raises(ProtocolError, match="a number that JSON cannot hold"):
        approval_hash(pinned(parameters={"eta": value}))


def test_numbers_that_python_calls_equal_are_three_descriptions() -> None:
    runs = [pinned(parameters={"eta": value}) for value in (1, 1.0, True)]
    assert len({approval_hash(run) for run in runs}) == 3
    assert differences(runs[0], runs[1]) == ("spec.parameters.eta",)


def test_differences_name_the_place() -> None:
    def features(*names: str) -> DataContract:
        return DataContract(kind="table", features=tuple(FeatureSpec(name=n) for n in names))

    one = pinned(contract=features("a", "b"))
    assert differences(one, pinned(contract=features("b", "a"))) == (
        "spec.contract.features[0].name",
        "spec.contract.features[1].name",
    )
    assert differences(one, pinned(contract=features("a", "b", "c"))) == ("spec.contract.features",)
    assert differences(one, pinned("r2", contract=features("a", "b"))) == ("run_id",)


# Who approved


def test_a_run_that_nobody_approved_is_refused_with_what_to_do(
    state: StateDirectory, reviewed: PinnedRun
) -> None:
    with pytest.raises(ForbiddenError) as refusal:
        require_approved(state, reviewed, NO)
    said = str(refusal.value)
    assert "max_depth is 9, outside [1, 6]" in said
    assert "runs review r1" in said
    assert "runs approve HASH" in said
    # Nothing that was found is not an approval either.
    with pytest.raises(ForbiddenError):
        require_approved(state, reviewed, ())
    require_approved(state, reviewed, YES)
    with pytest.raises(ForbiddenError):
        require_approved(state, reviewed, (*YES, *NO))


def test_a_persons_last_word_counts(state: StateDirectory, reviewed: PinnedRun) -> None:
    hash_ = approval_hash(reviewed)
    assert approve(state, hash_).run_id == "r1"
    require_approved(StateDirectory(state.path), reviewed, NO)
    assert decide(state, reviewed, NO).by_person
    revoke(state, hash_)
    with pytest.raises(ForbiddenError):
        require_approved(state, reviewed, NO)
    approve(state, hash_)
    # To look at it again takes nothing back.
    record_review(state, reviewed)
    require_approved(state, reviewed, NO)


def test_only_what_was_reviewed_here_is_approved(state: StateDirectory) -> None:
    """A hash from the operator, or of a run that is merely known, approves nothing."""
    run = pinned()
    state.pin_run(run)
    for hash_ in (approval_hash(run), "0" * 64, "", "r1"):
        with pytest.raises(ConfigurationError, match="no run with this hash was reviewed"):
            approve(state, hash_)
    assert state.approvals().entries() == []


def test_an_approval_is_of_one_run(state: StateDirectory, reviewed: PinnedRun) -> None:
    approve(state, approval_hash(reviewed))
    for other in (
        pinned("r2"),
        pinned(parameters={"max_depth": 8}),
        pinned(cohort=("a", "b")),
        reviewed.model_copy(update={"public_key": KEY.model_copy(update={"n": "fe"})}),
    ):
        with pytest.raises(ForbiddenError):
            require_approved(state, other, NO)


def test_what_is_no_longer_here_as_reviewed_is_not_approved(
    state: StateDirectory, reviewed: PinnedRun
) -> None:
    state.pin_run(pinned(parameters={"max_depth": 8}))
    with pytest.raises(StateError, match="does not hold the description that was reviewed"):
        approve(state, approval_hash(reviewed))


def test_approvals_are_private_and_survive_a_crash(
    state: StateDirectory, reviewed: PinnedRun
) -> None:
    path = state.path / "approvals.log"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    whole = path.read_bytes()
    approve(state, approval_hash(reviewed))
    grown = path.read_bytes()
    assert grown.startswith(whole)
    for size in range(len(whole), len(grown)):
        # Cut off at every byte: the approval was not acknowledged, and is not there.
        path.write_bytes(grown[:size])
        assert [e.event for e in Approvals(path).entries()] == [ApprovalEvent.REVIEWED]
    approve(state, approval_hash(reviewed))
    assert [e.event for e in Approvals(path).entries()][-1] is ApprovalEvent.APPROVED
    damaged = bytearray(path.read_bytes())
    damaged[len(whole) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StateError, match=r"approvals\.log: byte 0: damaged"):
        require_approved(state, reviewed, NO)


def test_approvals_of_several_people_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "approvals.log"

    def work(number: int) -> None:
        for step in range(5):
            Approvals(path).append(ApprovalEvent.REVIEWED, f"{number * 5 + step:064x}", "r")

    with ThreadPoolExecutor(4) as people:
        list(people.map(work, range(4)))
    assert sorted(int(entry.hash, 16) for entry in Approvals(path).entries()) == list(range(20))


# What it costs and reveals


class Counting:
    """One bank alone; counts the ciphertexts that a consortium would take."""

    n_banks = 1

    def __init__(self, key_bits: int) -> None:
        self.key_bits = key_bits
        self.rounds = self.ciphertexts = 0

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        check_bound(values, bound, low=low, label=label)
        layout = SlotLayout.for_bounds(
            bound, values.shape, plaintext_bits=self.key_bits - 2, low=low
        )
        self.rounds += 1
        self.ciphertexts += layout.n_plaintexts
        return values.copy()


def table(contract: DataContract, n_rows: int = 3000) -> TrainingTable:
    rng = np.random.default_rng(3)
    n = len(contract.features)
    features = rng.normal(size=(n_rows, n)).astype(np.float32)
    for index, spec in enumerate(contract.features):
        if spec.categories:
            features[:, index] = rng.integers(0, len(spec.categories), n_rows)
    labels = (rng.random(n_rows) < 0.2 + 0.3 * (features[:, 0] > 0.5)).astype(np.float32)
    return TrainingTable(
        schema=FeatureSchema(
            tuple(spec.name for spec in contract.features),
            tuple(len(spec.categories or ()) for spec in contract.features),
        ),
        features=np.asfortranarray(features),
        labels=labels,
        max_weight=contract.max_weight,
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_depth": 5},
        {"max_depth": 3, "max_bin": 16, "base_score": 0.5},
        {"max_depth": 8, "max_leaves": 12, "min_child_weight": 0},
        {"max_depth": 0, "max_leaves": 9, "grow_policy": "lossguide"},
        {"max_depth": 0, "max_leaves": 9, "min_child_weight": 0},
        {"max_depth": 4, "colsample_bynode": 0.5, "subsample": 0.5},
        {"max_depth": 4, "early_stopping_rounds": 9, "eval_metric": ["logloss", "auc", "aucpr"]},
        {"max_depth": 1, "min_child_weight": 1e8},
        {"max_depth": 4, "min_child_banks": 1, "min_bank_share": 0.4},
        {"max_depth": 0, "max_leaves": 9, "grow_policy": "lossguide", "min_child_banks": 1},
    ],
    ids=str,
)
def test_the_cost_is_an_upper_bound(parameters: dict[str, Any]) -> None:
    contract = DataContract(
        kind="table",
        features=(
            *(FeatureSpec(name=f"f{i}") for i in range(4)),
            FeatureSpec(name="c", type=FeatureType.CATEGORICAL, categories=tuple("abcdefg")),
        ),
        max_weight=3.0,
    )
    params = BoosterParams.parse({"num_boost_round": 4, **parameters})
    estimate = training_cost(contract, params, key_bits=2048)
    counted = Counting(2048)
    rows = table(contract)
    validation = None if params.early_stopping_rounds is None else table(contract, 500)
    train(params, rows, counted, validation=validation)
    assert counted.rounds <= estimate.rounds
    assert counted.ciphertexts <= estimate.ciphertexts
    # The bound is of some use: it is not further off than its assumption of many more rows.
    assert estimate.rounds <= 3 * counted.rounds + 16


def test_the_cost_of_a_risk_run_is_an_upper_bound(make_transactions: Callable[[], Any]) -> None:
    spec = RiskSpec(
        first_day=20_000, last_day=20_009, delay_days=0, min_customers=1, days_per_step=4
    )
    estimate = risk_cost(spec, key_bits=2048)
    counted = Counting(2048)
    entries = risk_entries(make_transactions(), spec, hash_key=bytes(32))
    sum_tables(entries, counted, start=RiskTables(spec, bytes(16)))
    assert counted.rounds == estimate.rounds == 6
    assert 0 < counted.ciphertexts <= estimate.ciphertexts


@pytest.fixture
def make_transactions() -> Callable[[], Any]:
    import pandas as pd

    def make() -> pd.DataFrame:
        rng = np.random.default_rng(1)
        n = 400
        return pd.DataFrame(
            {
                "event_time": 20_000 * 86_400 + rng.integers(0, 10 * 86_400, n),
                "customer_id": rng.integers(0, 40, n).astype(str),
                "terminal_id": rng.integers(0, 15, n).astype(str),
                "merchant_id": rng.integers(0, 15, n).astype(str),
                "payee_id": rng.integers(0, 15, n).astype(str),
            }
        )

    return make


@given(
    least=st.floats(0, 500),
    max_weight=st.floats(0.25, 8),
    weights=st.lists(st.floats(0.0625, 1), min_size=1, max_size=40),
)
def test_no_leaf_rests_on_fewer_rows_than_a_person_is_told(
    least: float, max_weight: float, weights: list[float]
) -> None:
    """However sure or unsure the model is of them: no hessian exceeds a quarter of the weight."""
    params = BoosterParams(min_child_weight=least)
    hessian = sum(weight * max_weight * 0.25 for weight in weights)
    if hessian >= params.min_child_weight:
        assert len(weights) >= least_rows(params, max_weight=max_weight)


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


SHORT_NAME = st.text(min_size=1, max_size=3).filter(lambda name: feature_fault(name) is None)
SHORT_CATEGORY = st.text(max_size=3).filter(lambda text: category_fault(text) is None)
EXTREMES = st.builds(
    pinned,
    name=st.text(min_size=1, max_size=8),
    parameters=st.dictionaries(
        st.sampled_from(sorted(BoosterParams().to_mapping())),
        st.sampled_from(
            [0, 1, 30, 256, 65536, 100_000, 2**53, 5e-324, 1e-40, 1e9, 0.5, "auc", None, [1], {}]
        ),
        max_size=3,
    ),
    contract=st.builds(
        DataContract,
        kind=st.just("transactions"),
        recipe=st.text(max_size=3),
        features=st.lists(
            st.builds(FeatureSpec, name=SHORT_NAME, description=st.text())
            | st.builds(
                FeatureSpec,
                name=SHORT_NAME,
                type=st.just(FeatureType.CATEGORICAL),
                categories=st.lists(SHORT_CATEGORY, min_size=1, max_size=3, unique_by=composed),
            ),
            min_size=1,
            max_size=3,
            unique_by=lambda spec: composed(spec.name),
        ).map(tuple),
        label=SHORT_NAME.map("label {}".format),
        weight=st.none() | SHORT_NAME.map("weight {}".format),
        max_weight=st.sampled_from([5e-324, 1e-200, 1e-9, 1.0, 65536.0]),
        train_from=st.none() | st.integers(0, 2**33),
        label_horizon_days=st.builds(LabelHorizon, days=st.integers(0, 1000)),
        gap_days=st.integers(0, 1000),
    ),
)


@settings(max_examples=40)
@given(EXTREMES)
def test_whatever_is_published_can_be_shown(run: PinnedRun) -> None:
    """A description that nobody can look at would be one that nobody refuses knowingly."""
    facts = training_facts(run, key_bits=2048)
    review = Review(
        run_id=run.run_id,
        name=run.spec.name,
        hash=approval_hash(run),
        changed=(),
        state="open",
        key_epoch=1,
        key_bits=2048,
        key_fingerprint="1" * 64,
        model_visibility=run.spec.model_visibility.value,
        require_confirmed_roster=False,
        min_cohort=run.spec.min_cohort,
        deadline_seconds=run.spec.deadline_seconds,
        join_deadline_seconds=None,
        max_rejoins=2,
        without=(),
        price=("It repeats run r0.",),
        cohort=(),
        facts=facts,
        refused=None,
        findings=(),
        approved_by=(),
    )
    assert Review.model_validate_json(review.model_dump_json()) == review
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        _show_review(review)
    assert all(c.isprintable() or c == "\n" for c in shown.getvalue())
    if facts.cost is not None:
        assert min(facts.cost.rounds, facts.cost.ciphertexts, facts.cost.bytes) > 0


@given(
    first=st.integers(0, 99_420),
    days=st.integers(0, 3000),
    step=st.integers(1, 400),
    width=st.integers(4, 22),
)
def test_whatever_risk_run_is_published_can_be_shown(
    first: int, days: int, step: int, width: int
) -> None:
    spec = RiskSpec(
        first_day=first,
        last_day=min(first + days, 99_420),
        delay_days=1000,
        days_per_step=step,
        transaction_width=1 << width,
    )
    run = PinnedRun(
        run_id="r",
        spec=RunSpec(name="r", key_epoch=1, kind="risk", risk=spec, model_visibility="members"),
        cohort=("a",),
        public_key=KEY,
    )
    facts = risk_facts(run, key_bits=2048)
    assert facts.cost is not None
    assert facts.cost.rounds == 2 * -(-(spec.last_day - first + 1) // step)


def test_a_review_says_what_is_revealed_in_words() -> None:
    parameters = {"min_child_weight": 50, "max_depth": 4, "num_boost_round": 7}
    text = " ".join(training_facts(pinned(parameters=parameters), key_bits=3072).reveals)
    assert "up to 7 trees (up to 4 deep)" in text
    assert "at least 50 (min_child_weight): on 200 rows or more" in text
    assert "the operator of the aggregator" in text
    small = training_facts(pinned(parameters={"min_child_weight": 0}), key_bits=3072)
    assert "a single row can decide a leaf" in " ".join(small.reveals)
    refused = training_facts(pinned(parameters={"max_deep": 1}), key_bits=3072)
    assert (refused.cost, refused.reveals) == (None, ())


def test_what_judging_shows_and_costs_is_said_where_there_are_rows_to_judge_by() -> None:
    plain = training_facts(pinned(), key_bits=3072)
    judged = training_facts(
        pinned(parameters={"max_depth": 9, "early_stopping_rounds": 5}), key_bits=3072
    )
    assert not any("judge the model" in line for line in plain.reveals)
    (line,) = [line for line in judged.reveals if "judge the model" in line]
    assert "each of 11,008 public ranges" in line
    # A table has no groups, accounts or amounts.
    assert "channel" not in line
    assert plain.cost is not None
    assert judged.cost is not None
    trees = BoosterParams().num_boost_round
    assert judged.cost.rounds == plain.cost.rounds + trees + 3
