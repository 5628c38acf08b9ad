"""A server that lies about members, keys and cohorts, to banks with real state directories.

The tampering proxy stands between ``bank_node`` and the aggregator from the first request on. Each
lie must stop the bank before it contributes anything.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from federations.lied_to import BANKS, Place, refused
from proxies.proxy import Exchange

from bank_node.consortium.connection import connect
from bank_node.consortium.members import observe_roster
from bank_node.state.directory import StateDirectory
from fraudfed.consortium import roster
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import open_key_epoch
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.trust import Trust
from fraudfed.errors import (
    AuthError,
    CohortError,
    ConfigurationError,
    ConflictError,
    ForbiddenError,
    FraudFedError,
    KeyMaterialError,
)
from fraudfed.wire.messages import KeyEpoch, KeyEpochStatus, ModelVisibility

Patch = pytest.MonkeyPatch


@pytest.fixture
def run_id(place: Place) -> str:
    return place.live.create_run(1)


def test_without_a_lie_the_bank_joins(place: Place, run_id: str) -> None:
    """It waits for the others then: a bank is late, which ends this test and no run."""
    start = len(place.proxy.exchanges)
    with pytest.raises(CohortError, match="bank-b, bank-c"):
        place.train("bank-a", run_id)
    assert place.sent_after(start) == [("POST", f"/v1/runs/{run_id}/members")]


# Rosters


def with_other_keys(name: str) -> Callable[[Any], Any]:
    other = Identity.generate().member(name).model_dump(mode="json")

    def change(answer: Any) -> Any:
        answer["members"] = [other if m["name"] == name else m for m in answer["members"]]
        return answer

    return change


def test_a_changed_key_of_a_known_bank_stops_the_bank(place: Place, run_id: str) -> None:
    place.tamper_json("/v1/roster", with_other_keys("bank-b"))
    why = refused(place, ConflictError, "bank-a", run_id)
    assert "bank-b" in why
    assert "CHANGED" in why
    # Not even a question afterwards.
    assert place.proxy.exchanges[-1].route == ("GET", "/v1/roster")


def test_control_without_pins_a_changed_key_passes(
    place: Place, run_id: str, monkeypatch: Patch
) -> None:
    def pin(self: roster.PinnedRoster, members: Any, *, now: int) -> roster.PinnedRoster:
        return roster.PinnedRoster(
            pins=tuple(roster.Pin(keys=m, confirmed=False, first_seen=now) for m in members)
        )

    monkeypatch.setattr(roster.PinnedRoster, "pin", pin)
    place.tamper_json("/v1/roster", with_other_keys("bank-b"))
    state = StateDirectory(place.states["bank-a"])
    with state.locked(), connect(state, None) as connection:
        found = observe_roster(state, connection.client)
    own = StateDirectory(place.states["bank-b"]).config.signing_key
    assert own not in [member.signing_key for member in found.members]


def test_different_rosters_for_different_banks_are_refused(apart: Place) -> None:
    """A bank that is new was shown another bank-b; the epoch that it is given betrays that."""
    lie = with_other_keys("bank-b")

    def after(exchange: Exchange) -> None:
        if exchange.route == ("GET", "/v1/roster") and exchange.bank == "bank-d":
            exchange.answer = json.dumps(lie(json.loads(exchange.answer))).encode()

    apart.proxy.after = after
    apart.enrol("bank-d")
    made = apart.make_epoch("bank-a", rotate=True)
    assert "bank-d" in [member.name for member in made.roster]
    with pytest.raises(ConflictError, match="another roster"):
        apart.accept("bank-d")
    assert StateDirectory(apart.states["bank-d"]).epochs() == []
    # The others go on: they see a bank that does not acknowledge.
    assert apart.accept("bank-b") == made


def test_members_that_nobody_confirmed_are_refused(place: Place, run_id: str) -> None:
    """By default; and a run may take no bank that has agreed to count them all the same."""
    strict = place.live.create_run(1, require_confirmed_roster=True)
    assert "takes only banks with a confirmed roster" in refused(
        place, ForbiddenError, "bank-a", strict
    )
    place.confirmed("bank-a", "bank-a")
    for run in (run_id, strict):
        assert "bank-b, bank-c are not confirmed" in refused(place, ForbiddenError, "bank-a", run)
    place.confirmed("bank-a", "bank-b")
    assert "bank-c is not confirmed" in refused(place, ForbiddenError, "bank-a", strict)


# Runs


def test_a_lie_about_the_cohort_is_refused(place: Place, run_id: str) -> None:
    for cohort in (["bank-a", "bank-b"], ["bank-a", "bank-b", "bank-x"], [*BANKS, "bank-x"]):
        place.tamper_json(f"/v1/runs/{run_id}", lambda answer, c=cohort: {**answer, "cohort": c})
        place.changed_rules("bank-a", tolerated_colluders=0)
        assert "cohort" in refused(place, CohortError, "bank-a", run_id)


def test_a_run_under_another_key_is_refused(place: Place, run_id: str, package: KeyPackage) -> None:
    forged = package.public_key.to_hex()
    place.tamper_json(
        f"/v1/runs/{run_id}",
        lambda answer: {**answer, "public_key": {**answer["public_key"], **forged}},
    )
    assert "public key" in refused(place, KeyMaterialError, "bank-a", run_id)


def test_a_run_that_is_described_anew_is_refused(place: Place, run_id: str) -> None:
    with pytest.raises(CohortError):
        place.train("bank-a", run_id)
    for change in ({"name": "another"}, {"parameters": {"eta": 0.9}}):
        place.tamper_json(
            f"/v1/runs/{run_id}",
            lambda answer, c=change: {**answer, "spec": {**answer["spec"], **c}},
        )
        assert "changed" in refused(place, ConflictError, "bank-a", run_id)


def test_a_cohort_that_is_too_small_is_refused(place: Place, run_id: str) -> None:
    place.changed_rules("bank-a", tolerated_colluders=2)
    assert "from 4 on, as it tolerates 2" in refused(place, CohortError, "bank-a", run_id)


def test_control_without_the_rule_a_small_cohort_trains(
    place: Place, run_id: str, monkeypatch: Patch
) -> None:
    """The same run, the same bank: only the rule is gone, and the bank joins."""
    place.changed_rules("bank-a", tolerated_colluders=2)
    monkeypatch.setattr(Trust, "require_enough", lambda self, banks, *, where: None)
    start = len(place.proxy.exchanges)
    with pytest.raises(CohortError, match="joined within"):
        place.train("bank-a", run_id)
    assert ("POST", f"/v1/runs/{run_id}/members") in place.sent_after(start)


def of_two_banks(place: Place, run_id: str, *, state: str = "training") -> None:
    """Have the server say that the run goes on with two of three banks, or is about to."""
    place.tamper_json(
        f"/v1/runs/{run_id}",
        lambda answer: {
            **answer,
            "state": state,
            "members": list(BANKS),
            "generation": {**answer["generation"], "number": 1, "banks": ["bank-a", "bank-b"]},
        },
    )


def test_a_generation_that_is_too_small_is_refused(place: Place) -> None:
    """Though the run may continue with two banks, and this bank has joined it."""
    small = place.live.create_run(1, min_cohort=2)
    with pytest.raises(CohortError, match="joined within"):
        place.train("bank-a", small)
    of_two_banks(place, small)
    assert "generation 1 is of 2 banks" in refused(place, CohortError, "bank-a", small)


def test_control_without_the_rule_a_small_generation_trains(
    place: Place, monkeypatch: Patch
) -> None:
    small = place.live.create_run(1, min_cohort=2)
    monkeypatch.setattr(Trust, "is_enough", lambda self, banks: True)
    of_two_banks(place, small, state="gathering")
    start = len(place.proxy.exchanges)
    with pytest.raises(FraudFedError):
        # The real aggregator behind the one that lies has not begun.
        place.train("bank-a", small)
    # It agrees to compute with one other bank.
    assert place.sent_after(start)[0] == ("POST", f"/v1/runs/{small}/generations/1/banks")


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"model_visibility": (ModelVisibility.MEMBERS,)}, ConfigurationError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value.__name__,
)
def test_a_run_against_the_banks_rules_is_refused(
    place: Place, run_id: str, rule: dict[str, Any], error: type[FraudFedError]
) -> None:
    place.changed_rules("bank-a", **rule)
    refused(place, error, "bank-a", run_id)


# Epochs


def recorded(apart: Place, number: int) -> KeyEpoch:
    answer = apart.live.operate("GET", f"/v1/epochs/{number}")
    return KeyEpochStatus.model_validate_json(answer.body).key_epoch


def test_an_old_epoch_served_again_is_refused(apart: Place) -> None:
    """A bank that holds a later key never goes back to an earlier one."""
    latest = apart.make_epoch("bank-a", rotate=True).epoch
    for name in BANKS:
        apart.accept(name)
    run_id = apart.live.create_run(latest)
    old = recorded(apart, 1)
    apart.tamper_json(
        f"/v1/runs/{run_id}",
        lambda answer: {
            **answer,
            "spec": {**answer["spec"], "key_epoch": 1},
            "public_key": old.public_key.model_dump(mode="json"),
        },
    )
    assert "an old key is never used again" in refused(apart, KeyMaterialError, "bank-a", run_id)


def test_another_epoch_under_a_known_number_is_refused(apart: Place) -> None:
    """Signed by a steward and all: the bank has accepted a different one before."""
    first = apart.accept("bank-a")
    latest = apart.make_epoch("bank-a", rotate=True)
    other = recorded(apart, first.epoch).model_dump(mode="json")
    apart.tamper_json(
        f"/v1/epochs/{latest.epoch}",
        lambda answer: {**answer, "key_epoch": {**other, "epoch": latest.epoch}},
    )
    with pytest.raises(ConflictError, match="another one"):
        apart.accept("bank-a", latest.epoch)


def test_an_altered_epoch_is_refused(apart: Place) -> None:
    """Every part of it is signed by the steward; nothing of it is kept."""
    made = apart.make_epoch("bank-a", rotate=True)
    document = made.model_dump(mode="json")
    boxes = document["sealed"]
    swapped = [
        {**boxes[0], "box": boxes[1]["box"]},
        {**boxes[1], "box": boxes[0]["box"]},
        boxes[2],
    ]
    other_key = recorded(apart, made.epoch - 1).public_key.model_dump(mode="json")
    for change in (
        {"epoch": made.epoch + 1},
        {"sealed": swapped},
        {"public_key": other_key},
        {"steward": "bank-c"},
        {"signature": "00" * 64},
        {"roster": document["roster"][:2], "sealed": boxes[:2]},
    ):
        apart.tamper_json(
            "/v1/epochs/current",
            lambda answer, c=change: {**answer, "key_epoch": {**document, **c}},
        )
        held = StateDirectory(apart.states["bank-b"]).epochs()
        with pytest.raises((KeyMaterialError, ConflictError)):
            apart.accept("bank-b")
        assert StateDirectory(apart.states["bank-b"]).epochs() == held


def test_a_bank_that_left_opens_no_later_epoch(apart: Place) -> None:
    apart.live.operate("DELETE", "/v1/banks/bank-c")
    made = apart.make_epoch("bank-a", rotate=True, without=("bank-c",))
    assert [member.name for member in made.roster] == ["bank-a", "bank-b"]
    # The aggregator does not even answer it.
    with pytest.raises(AuthError):
        apart.accept("bank-c")
    # With a recording of the whole epoch it gets no further.
    state = StateDirectory(apart.states["bank-c"])
    identity, pins = state.identity(), state.pinned_roster().members
    with pytest.raises(KeyMaterialError):
        open_key_epoch(made, identity, "bank-c", pinned=pins)
    for pretended in ("bank-a", "bank-b"):
        with pytest.raises((KeyMaterialError, ConflictError)):
            open_key_epoch(made, identity, pretended, pinned=pins)
    # Nothing that it holds of earlier epochs is of use in this one.
    before = state.key_package(max(state.epochs()))
    now = StateDirectory(apart.states["bank-a"]).key_package(made.epoch)
    assert before.public_key != now.public_key
    assert before.expose_secret() != now.expose_secret()
