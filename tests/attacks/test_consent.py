"""An aggregator that asks for more than a bank agreed to.

The tampering proxy stands between a bank with a real state directory and the aggregator. The bank's
own rules approve nothing unless a test says so: what it takes part in, a person has approved.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from federations.approval import open_approval
from federations.lied_to import BANKS, Place, refused
from proxies.proxy import Exchange
from rich.console import Console

from bank_node.approval import training as approval_training
from bank_node.approval.decision import approve
from bank_node.approval.facts import Review
from bank_node.approval.training import weigh_training
from bank_node.approval_rules import ApprovalRules
from bank_node.consortium.connection import connect
from bank_node.jobs.registry import JOBS
from bank_node.jobs.training import TrainingJob, TrainingWork
from bank_node.run.abort import tell_others
from bank_node.run.context import RunContext, RunOptions
from bank_node.run.lifecycle import take_part
from bank_node.run.progress import RunProgress
from bank_node.run.review import review_run
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.errors import (
    CohortError,
    ConfigurationError,
    ConflictError,
    DataError,
    ForbiddenError,
    FraudFedError,
    ProtocolError,
)
from fraudfed.reading.problems import ProblemsError
from fraudfed.wire.messages import FeatureType, RunKind, RunStatus

Patch = pytest.MonkeyPatch

#: Two columns, one of them categorical, so that there is something to change.
CONTRACT = {
    "kind": "table",
    "features": [
        {"name": "f0"},
        {"name": "f1", "type": "categorical", "categories": ["no", "yes"], "nullable": True},
    ],
}


@pytest.fixture
def closed(place: Place) -> Place:
    """Let the first bank ask a person about every run."""
    place.changed_approval("bank-a", ApprovalRules())
    return place


@pytest.fixture
def run_id(closed: Place) -> str:
    return closed.live.create_run(1, contract=CONTRACT)


def reviewed(place: Place, run_id: str) -> Review:
    state = StateDirectory(place.states["bank-a"])
    with connect(state, None) as connection:
        return review_run(state, connection.client, run_id, JOBS)


def approved(place: Place, run_id: str) -> str:
    """Have a person at the first bank look at a run and approve it; return the hash."""
    hash_ = reviewed(place, run_id).hash
    approve(StateDirectory(place.states["bank-a"]), hash_)
    return hash_


def passes(place: Place, run_id: str) -> None:
    """Assert that neither approval nor pin stops the bank; its file comes after them."""
    with pytest.raises(FraudFedError) as ended:
        place.train("bank-a", run_id)
    # The rows of these tests have one column: the contract is what the bank would train on now.
    assert type(ended.value) not in {ForbiddenError, ConflictError}, ended.value


def joins(place: Place, run_id: str) -> None:
    """Assert that the bank takes part; it would begin if the others were there."""
    start = len(place.proxy.exchanges)
    with pytest.raises(CohortError, match="joined within"):
        place.train("bank-a", run_id)
    assert ("POST", f"/v1/runs/{run_id}/members") in place.sent_after(start)


def plain_run(place: Place, **changes: Any) -> str:
    """Open a run over the one column that the rows here have."""
    return place.live.create_run(1, **changes)


def describe(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any], Any]:
    """Return a lie about the specification of a run."""

    def changed(answer: Any) -> Any:
        spec = json.loads(json.dumps(answer["spec"]))
        change(spec)
        return {**answer, "spec": spec}

    return changed


# Without approval


def test_a_run_that_nobody_approved_is_not_joined(closed: Place) -> None:
    """Whatever the aggregator says of its state, and of who is in it already."""
    run_id = plain_run(closed)
    said = refused(closed, ForbiddenError, "bank-a", run_id)
    assert f"runs review {run_id}" in said
    for state in ("open", "training", "gathering"):
        closed.tamper_json(
            f"/v1/runs/{run_id}",
            lambda answer, s=state: {
                **answer,
                "state": s,
                "members": list(BANKS),
                "generation": {**answer["generation"], "number": 0, "banks": list(BANKS)},
            },
        )
        refused(closed, ForbiddenError, "bank-a", run_id)
    # To look at it is not to approve it.
    closed.proxy.after = None
    reviewed(closed, run_id)
    refused(closed, ForbiddenError, "bank-a", run_id)
    approved(closed, run_id)
    joins(closed, run_id)


def test_a_risk_run_that_nobody_approved_is_not_joined(closed: Place) -> None:
    spec = {"first_day": 20_000, "last_day": 20_009, "delay_days": 7}
    run_id = plain_run(
        closed, kind="risk", risk=spec, contract=None, parameters={}, model_visibility="members"
    )
    data = closed.work / "payments.csv"
    data.write_text("transaction_id\n")
    state = StateDirectory(closed.states["bank-a"])
    options = RunOptions(data=data, run_id=run_id, cohort_timeout_seconds=0.5)

    def take() -> None:
        progress = RunProgress(Console(quiet=True), enabled=False)
        with state.locked(), progress:
            take_part(state, options, RunKind.RISK, JOBS, progress)

    start = len(closed.proxy.exchanges)
    with pytest.raises(ForbiddenError, match=r"there is no \[approval\.risk\]"):
        take()
    assert closed.sent_after(start) == []
    approved(closed, run_id)
    # Its file is looked at now, and is none.
    with pytest.raises(DataError):
        take()
    assert closed.sent_after(start) == []


def test_control_without_approval_every_run_is_joined(closed: Place, monkeypatch: Patch) -> None:
    run_id = plain_run(closed)
    refused(closed, ForbiddenError, "bank-a", run_id)
    monkeypatch.setattr("bank_node.run.lifecycle.require_approved", lambda *_: None)
    joins(closed, run_id)


# Another description than the one that was approved


def add_column(spec: dict[str, Any]) -> None:
    spec["contract"]["features"].append({"name": "salary"})


def swap_columns(spec: dict[str, Any]) -> None:
    spec["contract"]["features"].reverse()


def add_category(spec: dict[str, Any]) -> None:
    spec["contract"]["features"][1]["categories"].append("perhaps")


def name_a_weight(spec: dict[str, Any]) -> None:
    spec["contract"]["weight"] = "balance"


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a column more": add_column,
    "another order of columns": swap_columns,
    "a category more": add_category,
    "a weight": name_a_weight,
    "max_weight": lambda spec: spec["contract"].update(max_weight=65536),
    "label": lambda spec: spec["contract"].update(label="is_rich"),
    "missing values": lambda spec: spec["contract"]["features"][0].update(nullable=False),
    "a parameter": lambda spec: spec.update(parameters={"eta": 0.3, "min_child_weight": 0}),
    "a parameter of another type": lambda spec: spec.update(parameters={"eta": "0.3"}),
    "visibility": lambda spec: spec.update(model_visibility="members"),
    "fewest banks": lambda spec: spec.update(min_cohort=1000),
    "name": lambda spec: spec.update(name="test run\u200b"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_run_that_was_changed_after_its_approval_is_refused(
    closed: Place, run_id: str, change: Callable[[dict[str, Any]], Any], monkeypatch: Patch
) -> None:
    """By the approval alone, and by the pin alone."""
    approved(closed, run_id)
    passes(closed, run_id)
    closed.tamper_json(f"/v1/runs/{run_id}", describe(change))
    start = len(closed.proxy.exchanges)
    with monkeypatch.context() as without_pin:
        without_pin.setattr(
            "bank_node.run.lifecycle.pin_run", lambda state, status: PinnedRun.of(status)
        )
        with pytest.raises(FraudFedError) as refusal:
            closed.train("bank-a", run_id)
    # A parameter that cannot be is refused even earlier.
    assert refusal.value.exit_code in {2, 7}
    assert closed.sent_after(start) == []
    closed.changed_approval("bank-a", open_approval())
    review = reviewed(closed, run_id)
    assert review.changed
    assert review.approved_by == ()
    with pytest.raises(ConfigurationError, match="no run with this hash was reviewed"):
        approve(StateDirectory(closed.states["bank-a"]), review.hash)


def test_control_without_hash_and_pin_a_changed_contract_is_taken(
    closed: Place, monkeypatch: Patch
) -> None:
    """With an approval of the run's name, as a form on paper would be."""
    run_id = plain_run(closed)
    monkeypatch.setattr(
        "bank_node.approval.decision.approval_hash",
        lambda run: hashlib.sha256(run.run_id.encode()).hexdigest(),
    )
    reviewed(closed, run_id)
    approve(StateDirectory(closed.states["bank-a"]), hashlib.sha256(run_id.encode()).hexdigest())
    closed.tamper_json(
        f"/v1/runs/{run_id}",
        describe(lambda spec: spec.update(parameters={"eta": 0.3, "min_child_weight": 0})),
    )
    refused(closed, ConflictError, "bank-a", run_id)
    monkeypatch.setattr(
        "bank_node.run.lifecycle.pin_run", lambda state, status: PinnedRun.of(status)
    )
    joins(closed, run_id)


def test_a_description_that_changes_while_the_bank_joins_is_not_used(closed: Place) -> None:
    """What was approved is asked for with the join only; the answer describes something else."""
    run_id = plain_run(closed)
    approved(closed, run_id)

    def after(exchange: Exchange) -> None:
        if exchange.route == ("POST", f"/v1/runs/{run_id}/members"):
            answer = json.loads(exchange.answer)
            answer["spec"]["parameters"] = {"eta": 0.3, "min_child_weight": 0}
            answer["state"] = "training"
            exchange.answer = json.dumps(answer).encode()

    closed.proxy.after = after
    start = len(closed.proxy.exchanges)
    with pytest.raises(ConflictError, match=r"changed spec\.parameters\.min_child_weight"):
        closed.train("bank-a", run_id)
    assert not [route for _, route in closed.sent_after(start) if "/rounds/" in route]


def test_a_description_with_unknown_fields_is_refused(closed: Place, run_id: str) -> None:
    """What this release does not know it cannot show to a person."""
    approved(closed, run_id)
    for change in (
        lambda spec: spec.update(share_rows=True),
        lambda spec: spec["contract"].update(joins="customers"),
        lambda spec: spec["contract"]["features"][0].update(bins="exact"),
    ):
        closed.tamper_json(f"/v1/runs/{run_id}", describe(change))
        refused(closed, ProtocolError, "bank-a", run_id)
        with pytest.raises(ProtocolError, match="Extra inputs"):
            reviewed(closed, run_id)


# The approval of another run


def test_an_approval_of_another_run_approves_nothing(closed: Place) -> None:
    """The same contract again and again is the same rows summed again and again."""
    first, second = plain_run(closed), plain_run(closed)
    hash_ = approved(closed, first)
    joins(closed, first)
    refused(closed, ForbiddenError, "bank-a", second)
    # The server passes the second one off as the first.
    closed.tamper_json(f"/v1/runs/{second}", lambda answer: {**answer, "run_id": first})
    refused(closed, ProtocolError, "bank-a", second)
    closed.proxy.after = None
    assert reviewed(closed, second).hash != hash_


def test_control_without_the_runs_id_one_approval_serves_all(
    closed: Place, monkeypatch: Patch
) -> None:
    original = PinnedRun.model_dump

    def without_id(self: PinnedRun, **options: Any) -> dict[str, Any]:
        return original(self, **options) | {"run_id": ""}

    first, second = plain_run(closed), plain_run(closed)
    monkeypatch.setattr(PinnedRun, "model_dump", without_id)
    approved(closed, first)
    joins(closed, second)


def test_a_hash_that_came_by_mail_approves_nothing(closed: Place) -> None:
    """Also for a run that the bank knows already, but that no person here was shown."""
    run_id = plain_run(closed)
    with pytest.raises(ForbiddenError):
        closed.train("bank-a", run_id)
    other = StateDirectory(closed.states["bank-b"])
    with connect(other, None) as connection:
        hash_ = review_run(other, connection.client, run_id, JOBS).hash
    with pytest.raises(ConfigurationError, match="no run with this hash was reviewed"):
        approve(StateDirectory(closed.states["bank-a"]), hash_)
    refused(closed, ForbiddenError, "bank-a", run_id)
    # Both banks were shown the same: a person can compare the hashes by telephone.
    assert reviewed(closed, run_id).hash == hash_


def test_approving_asks_the_aggregator_nothing(closed: Place) -> None:
    """There is no moment between reading and approving in which it could exchange the run."""
    hash_ = reviewed(closed, plain_run(closed)).hash
    start = len(closed.proxy.exchanges)
    approve(StateDirectory(closed.states["bank-a"]), hash_)
    assert closed.proxy.exchanges[start:] == []


# Rows against the limits of a contract


def begun_with(place: Place, run_id: str) -> None:
    """Have the server say that the run has begun with this bank, and the others wait for it."""
    place.tamper_json(
        f"/v1/runs/{run_id}",
        lambda answer: {
            **answer,
            "state": "training",
            "members": list(BANKS),
            "generation": {**answer["generation"], "banks": list(BANKS)},
        },
    )


#: Contracts that the rows of ``Place.train`` (1.0, 2.0 and 3.0) do not meet.
LIMITS: dict[str, dict[str, Any]] = {
    "a value": {"features": [{"name": "f0", "type": "categorical", "categories": ["1.0", "2.0"]}]},
    "a column": {"features": [{"name": "is_fraud"}], "label": "is_fraud_", "weight": "f0"},
    "weights": {"features": [{"name": "f0"}], "weight": "w", "max_weight": 0.5},
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("begun", [False, True], ids=["open", "begun"])
def test_a_bank_whose_rows_break_the_contract_tells_nobody(
    closed: Place, limits: dict[str, Any], begun: bool
) -> None:
    """Limits are questions about rows: an answer that others see would be an oracle."""
    run_id = plain_run(closed, contract={"kind": "table", **limits})
    approved(closed, run_id)
    if begun:
        begun_with(closed, run_id)
    refused(closed, ProblemsError, "bank-a", run_id)


def test_control_a_bank_that_reports_its_rows_answers_every_question(
    closed: Place, monkeypatch: Patch
) -> None:
    """The bank joined nothing: the server only says so, and is told that a value is missing."""
    original = TrainingJob.load

    def load(self: TrainingJob, context: RunContext) -> TrainingWork:
        try:
            return original(self, context)
        except DataError as error:
            tell_others(context.client, context.run_id, error)
            raise

    monkeypatch.setattr(TrainingJob, "load", load)
    run_id = plain_run(closed, contract={"kind": "table", **LIMITS["a value"]})
    approved(closed, run_id)
    begun_with(closed, run_id)
    start = len(closed.proxy.exchanges)
    with pytest.raises(DataError):
        closed.train("bank-a", run_id)
    assert ("POST", f"/v1/runs/{run_id}/abort") in closed.sent_after(start)


# Bytes that could be read in two ways


def split_names(spec: dict[str, Any]) -> None:
    """Move letters from one name to the next: joined, they are the same."""
    features = spec["contract"]["features"]
    features[0]["name"], features[1]["name"] = "f", "0f1"


def test_names_that_read_alike_when_joined_are_not_alike(closed: Place, run_id: str) -> None:
    approved(closed, run_id)
    closed.tamper_json(f"/v1/runs/{run_id}", describe(split_names))
    refused(closed, ForbiddenError, "bank-a", run_id)


def test_control_without_a_canonical_encoding_other_columns_are_approved(
    closed: Place, run_id: str, monkeypatch: Patch
) -> None:
    def joined(run: PinnedRun) -> bytes:
        return "".join(spec.name for spec in run.contract.features).encode()

    monkeypatch.setattr("bank_node.approval.digest.canonical_bytes", joined)
    monkeypatch.setattr("bank_node.run.agreement.pinning.canonical_bytes", joined)
    approved(closed, run_id)
    closed.tamper_json(f"/v1/runs/{run_id}", describe(split_names))
    passes(closed, run_id)


# Rules that approve alone


def ends(**parameters: Any) -> ApprovalRules:
    """Return rules that approve the runs of these tests, but for what is given here."""
    table = {"eta": [0, 1], **parameters}
    return ApprovalRules.model_validate({"columns": ["f0", "is_fraud"], "parameters": table})


BEYOND: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "too few rows in a leaf": ({"min_child_weight": [50, 1e9]}, {}),
    "too many trees": ({"num_boost_round": [1, 9]}, {}),
    "too many bins": ({"max_bin": [2, 255]}, {}),
    "a bin more": ({"max_bin": [2, 16]}, {"max_bin": 17}),
    "too deep": ({"max_depth": [1, 5]}, {}),
    "no limit of depth": (
        {"max_depth": [0, 30], "max_leaves": "any"},
        {"max_depth": 0, "max_leaves": 9},
    ),
    "no entry": ({}, {"max_cat_threshold": 65}),
    "another spelling": ({"lambda": [1, 9]}, {"reg_lambda": 0.5}),
}


@pytest.mark.parametrize(("rule", "asked"), BEYOND.values(), ids=BEYOND)
def test_a_run_beyond_the_banks_ends_is_refused(
    place: Place, rule: dict[str, Any], asked: dict[str, Any]
) -> None:
    place.changed_approval("bank-a", ends(**rule))
    run_id = plain_run(place, parameters={"eta": 0.3, **asked})
    assert "[approval] of bank.toml does not" in refused(place, ForbiddenError, "bank-a", run_id)


@pytest.mark.parametrize(("rule", "asked"), BEYOND.values(), ids=BEYOND)
def test_control_without_the_ends_a_run_beyond_them_is_joined(
    place: Place, rule: dict[str, Any], asked: dict[str, Any], monkeypatch: Patch
) -> None:
    """The same run, the same bank: only the comparison with the ends is gone."""
    place.changed_approval("bank-a", ends(**rule))
    run_id = plain_run(place, parameters={"eta": 0.3, **asked})
    monkeypatch.setattr(approval_training, "_weigh_parameters", lambda run, rules: iter(()))
    joins(place, run_id)


def test_a_run_with_columns_that_the_bank_did_not_name_is_refused(place: Place) -> None:
    place.changed_approval("bank-a", ends())
    joins(place, plain_run(place))
    for contract in (
        {"kind": "table", "features": [{"name": "f0"}, {"name": "salary"}]},
        {"kind": "table", "features": [{"name": "f0"}], "label": "is_rich"},
        {"kind": "table", "features": [{"name": "f0"}], "weight": "balance"},
        {"kind": "table", "features": [{"name": "F0"}]},
    ):
        run_id = plain_run(place, contract=contract)
        said = refused(place, ForbiddenError, "bank-a", run_id)
        assert "matches no pattern of columns" in said


def test_control_without_the_list_of_columns_any_column_is_taken(
    place: Place, monkeypatch: Patch
) -> None:
    place.changed_approval("bank-a", ends())
    contract = {"kind": "table", "features": [{"name": "f0"}], "max_weight": 1, "label": "is_rich"}
    run_id = plain_run(place, contract=contract)
    refused(place, ForbiddenError, "bank-a", run_id)
    monkeypatch.setattr(approval_training, "weigh_columns", lambda contract, rules: iter(()))
    passes(place, run_id)


def listing_values(place: Place) -> PinnedRun:
    """Describe a column by its name, and every single value of it as a category: a bin for each."""
    values = [f"{pence / 100:.2f}" for pence in range(5000)]
    contract = {
        "kind": "table",
        "features": [
            {"name": "f0", "type": FeatureType.CATEGORICAL.value, "categories": values},
        ],
    }
    run_id = plain_run(place, contract=contract)
    answer = place.live.operate("GET", f"/v1/runs/{run_id}")
    return PinnedRun.of(RunStatus.model_validate_json(answer.body))


def test_a_column_of_single_values_is_not_approved_by_its_name(place: Place) -> None:
    """Histograms would count the customers who paid exactly 12.34."""
    run = listing_values(place)
    place.changed_approval("bank-a", ends())
    said = refused(place, ForbiddenError, "bank-a", run.run_id)
    assert "categories of f0 are 5000, above the 100 of max_categories" in said


def test_control_without_a_limit_of_categories_single_values_are_approved(
    place: Place, monkeypatch: Patch
) -> None:
    run = listing_values(place)
    monkeypatch.setattr(approval_training, "weigh_limits", lambda contract, rules: iter(()))
    assert all(each.allowed for each in weigh_training(run, ends()))
