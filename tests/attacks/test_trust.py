"""Who counts: members that an operator makes up, owns twice, leaves out or has removed.

Banks with real state directories stand at a real aggregator, whose operator does what it can: it
invites banks of its own, shows banks different members, locks banks out, serves keys for some.
"""

import json
from typing import Any

import pytest
from cli_programs import run_program
from federations.fake_banks import make_spec
from federations.lied_to import BANKS, Place, refused
from proxies.proxy import Exchange

from aggregator.consortium import key_epochs
from bank_node.run.agreement import facts
from bank_node.run.agreement.facts import run_facts
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.consortium import roster, trust
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import seal_key_package
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.documents import sign_removal
from fraudfed.consortium.roster import PinnedRoster
from fraudfed.consortium.trust import Trust
from fraudfed.errors import CohortError, ConflictError, ForbiddenError, FraudFedError
from fraudfed.wire.messages import Generation, KeyEpoch, RunSpec

Patch = pytest.MonkeyPatch


def joins(place: Place, run_id: str) -> None:
    """Assert that bank-a takes part; it would begin if the others were there."""
    start = len(place.proxy.exchanges)
    with pytest.raises(CohortError, match="joined within"):
        place.train("bank-a", run_id)
    assert ("POST", f"/v1/runs/{run_id}/members") in place.sent_after(start)


def accepts_nothing(
    place: Place, error: type[Exception], message: str, number: int | None = None
) -> None:
    """Assert that bank-a refuses an epoch, keeps nothing of it, and sends nothing."""
    start, held = len(place.proxy.exchanges), StateDirectory(place.states["bank-a"]).epochs()
    with pytest.raises(error, match=message):
        place.accept("bank-a", number)
    assert StateDirectory(place.states["bank-a"]).epochs() == held
    assert place.sent_after(start) == []


def run_of_all(place: Place, epoch: int, **changes: Any) -> str:
    """Open a run after every bank has accepted its epoch."""
    for name in place.states:
        if name != "bank-a":
            place.accept(name)
    place.accept("bank-a")
    return place.live.create_run(epoch, **changes)


# Members that the operator makes up


def test_a_default_bank_sends_nothing_to_two_made_up_members(apart: Place) -> None:
    """The operator's own two banks make the key and would learn the third one's part."""
    apart.changed_rules("bank-a", insecure_trust_first_use=False)
    made = apart.make_epoch("bank-b", rotate=True)
    apart.accept("bank-c")
    accepts_nothing(apart, ForbiddenError, "bank-b, bank-c are not confirmed")
    # Nor does it take the key in passing, by a run that uses it.
    accepts_nothing(apart, ForbiddenError, "bank-b, bank-c are not confirmed", made.epoch)


def test_a_default_bank_enters_no_run_with_two_made_up_members(place: Place) -> None:
    """Though it holds the key, from the time when it trusted on first use."""
    run_id = place.live.create_run(1)
    place.changed_rules("bank-a", insecure_trust_first_use=False)
    refused(place, ForbiddenError, "bank-a", run_id)


def test_control_without_confirmation_a_default_bank_joins_made_up_members(
    apart: Place, monkeypatch: Patch
) -> None:
    apart.changed_rules("bank-a", insecure_trust_first_use=False)
    apart.make_epoch("bank-b", rotate=True)
    original = trust._counted
    monkeypatch.setattr(trust, "_counted", lambda pins, first_use: original(pins, first_use=True))
    joins(apart, run_of_all(apart, 2))


def test_a_set_of_which_most_are_made_up_is_refused(apart: Place) -> None:
    """Five banks, of which this one knows one: two confirmed are too few, five are too many."""
    for name in ("bank-x", "bank-y"):
        apart.enrol(name)
    apart.confirmed("bank-a", "bank-b")
    apart.make_epoch("bank-x", rotate=True)
    accepts_nothing(apart, ForbiddenError, "bank-c, bank-x, bank-y are not confirmed")


def test_control_without_the_members_check_a_set_of_strangers_is_taken(
    apart: Place, monkeypatch: Patch
) -> None:
    for name in ("bank-x", "bank-y"):
        apart.enrol(name)
    apart.confirmed("bank-a", "bank-b")
    apart.changed_rules("bank-a", tolerated_colluders=0)
    apart.make_epoch("bank-x", rotate=True)
    monkeypatch.setattr(Trust, "require_members", lambda self, names: None)
    joins(apart, run_of_all(apart, 2))


# One owner twice


def test_banks_of_one_owner_hide_nothing_from_it(place: Place) -> None:
    run_id = place.live.create_run(1)
    place.confirmed("bank-a", bank_b="Example Group", bank_c="example group")
    assert "of 3 banks of 2 owners" in refused(place, CohortError, "bank-a", run_id)
    # Nor is this bank hidden among its own sisters.
    place.confirmed("bank-a", bank_b="bank-b", bank_c="bank-a")
    assert "of 3 banks of 2 owners" in refused(place, CohortError, "bank-a", run_id)


def test_control_without_owners_sisters_count_twice(place: Place, monkeypatch: Patch) -> None:
    run_id = place.live.create_run(1)
    place.confirmed("bank-a", bank_b="Example Group", bank_c="example group")
    monkeypatch.setattr(
        trust, "owners_of", lambda pins: {pin.keys.name: pin.keys.name for pin in pins.pins}
    )
    joins(place, run_id)


# The number of colluders


def left_by_three_of_six(apart: Place) -> str:
    """Have three of six members removed by the others; return a run of those that are left."""
    gone = ("bank-d", "bank-e", "bank-f")
    for name in gone:
        apart.enrol(name)
    assert apart.trust("bank-a").tolerated_colluders == 2
    for name in gone:
        for signer in BANKS:
            apart.removes(signer, name)
        apart.live.operate("DELETE", f"/v1/banks/{name}")
        del apart.states[name]
    made = apart.make_epoch("bank-b", rotate=True)
    assert [member.name for member in made.roster] == list(BANKS)
    return run_of_all(apart, made.epoch)


def test_the_number_of_colluders_does_not_fall_with_the_members(apart: Place) -> None:
    run_id = left_by_three_of_six(apart)
    assert apart.trust("bank-a").left == {"bank-d", "bank-e", "bank-f"}
    assert "takes part from 4 on" in refused(apart, CohortError, "bank-a", run_id)
    # A person decides otherwise.
    apart.changed_rules("bank-a", tolerated_colluders=1)
    joins(apart, run_id)


def test_control_without_its_memory_the_number_falls_with_the_members(
    apart: Place, monkeypatch: Patch
) -> None:
    run_id = left_by_three_of_six(apart)
    original = trust.judged

    def forgets(pins: PinnedRoster, **rules: Any) -> PinnedRoster:
        return original(pins.model_copy(update={"most_colluders": 1}), **rules)

    monkeypatch.setattr("bank_node.consortium.members.judged", forgets)
    joins(apart, run_id)


# Members that are left out or removed


def test_the_operators_word_alone_leaves_nobody_out_of_a_key(apart: Place) -> None:
    apart.live.operate("DELETE", "/v1/banks/bank-c")
    with pytest.raises(CohortError, match=r"without bank-c.*which the members have not removed"):
        apart.make_epoch("bank-a", rotate=True)
    assert apart.trust("bank-a").left == frozenset()
    # A steward that helps the operator makes one all the same.
    apart.make_epoch("bank-b", rotate=True, without=("bank-c",))
    accepts_nothing(apart, CohortError, "--without bank-c")
    # As many signatures as may be colluders' change nothing.
    apart.removes("bank-b", "bank-c")
    accepts_nothing(apart, CohortError, "--without bank-c")
    # One more is one of an honest member: here this bank's own.
    apart.removes("bank-a", "bank-c")
    assert apart.accept("bank-a").epoch == 2


def test_control_without_whole_epochs_the_operators_word_is_enough(
    apart: Place, monkeypatch: Patch
) -> None:
    apart.live.operate("DELETE", "/v1/banks/bank-c")
    monkeypatch.setattr(Trust, "require_complete", lambda *_, **__: None)
    apart.make_epoch("bank-b", rotate=True)
    assert [member.name for member in apart.accept("bank-a").roster] == ["bank-a", "bank-b"]


def forged_removals(place: Place, *, of: str) -> None:
    """Have the server show removals that nobody signed, one in every member's name."""
    stranger = Identity.generate()
    removed = StateDirectory(place.states["bank-a"]).pinned_roster().members[of]

    def add(answer: Any) -> Any:
        forged = [sign_removal(stranger, removed=removed, signer=name) for name in BANKS]
        answer["removals"] = [one.model_dump(mode="json") for one in forged * 2]
        return answer

    place.tamper_json("/v1/roster", add)


def test_forged_removals_remove_nobody(place: Place) -> None:
    forged_removals(place, of="bank-c")
    found = place.trust("bank-a")
    assert found.left == frozenset()
    assert "bank-c" in found.owners
    assert StateDirectory(place.states["bank-a"]).pinned_roster().removals == ()


def test_control_without_signatures_forged_removals_remove_a_member(
    place: Place, monkeypatch: Patch
) -> None:
    forged_removals(place, of="bank-c")
    monkeypatch.setattr(roster, "verify_removal", lambda removal, signing_key: None)
    assert place.trust("bank-a").left == {"bank-c"}


def removed_by_made_up_members(apart: Place) -> None:
    """Let the operator's own banks sign, properly, that a real one has left."""
    for name in ("bank-x", "bank-y"):
        apart.enrol(name)
    apart.confirmed("bank-a", *BANKS)
    for name in ("bank-x", "bank-y"):
        apart.removes(name, "bank-c")


def test_made_up_members_remove_nobody(apart: Place) -> None:
    removed_by_made_up_members(apart)
    assert apart.trust("bank-a").left == frozenset()
    # The bank that counts whatever it is shown is the one that they deceive.
    assert apart.trust("bank-b").left == {"bank-c"}


def test_control_without_confirmation_made_up_members_remove_a_real_one(
    apart: Place, monkeypatch: Patch
) -> None:
    removed_by_made_up_members(apart)
    original = trust._counted
    monkeypatch.setattr(trust, "_counted", lambda pins, first_use: original(pins, first_use=True))
    assert apart.trust("bank-a").left == {"bank-c"}


def test_a_removal_that_is_no_longer_shown_still_counts(apart: Place) -> None:
    """Else the operator could bring back a bank that the members have removed."""
    for signer in ("bank-a", "bank-b"):
        apart.removes(signer, "bank-c")
    assert apart.trust("bank-a").left == {"bank-c"}
    apart.tamper_json("/v1/roster", lambda answer: {**answer, "removals": []})
    run_id = apart.live.create_run(1)
    assert "bank-c left the consortium" in refused(apart, ForbiddenError, "bank-a", run_id)


def for_three_of_five(apart: Place, monkeypatch: Patch) -> None:
    """Let two of five confirmed members make a key for themselves and bank-a, and serve it."""
    for name in ("bank-d", "bank-e"):
        apart.enrol(name)
    for name in apart.states:
        apart.trust(name)
        apart.confirmed(name)
    monkeypatch.setattr(key_epochs, "_require_roster", lambda session, wanted: None)
    state = StateDirectory(apart.states["bank-d"])
    chosen = [state.pinned_roster().members[name] for name in ("bank-a", "bank-d", "bank-e")]
    made = seal_key_package(
        next(apart.supply),
        epoch=2,
        steward=state.identity(),
        steward_name="bank-d",
        roster=chosen,
    )
    apart.publishes("bank-d", made)


def test_a_key_for_some_of_the_members_is_refused(apart: Place, monkeypatch: Patch) -> None:
    for_three_of_five(apart, monkeypatch)
    accepts_nothing(apart, CohortError, "--without bank-b --without bank-c")
    # Nor is it taken in passing, by a run that uses it.
    accepts_nothing(apart, CohortError, "without bank-b, bank-c", 2)
    for named in (("bank-b",), ("bank-c",)):
        with pytest.raises(CohortError):
            apart.accept("bank-a", without=named)
    assert apart.accept("bank-a", without=("bank-c", "bank-b")).epoch == 2


def test_control_without_whole_epochs_two_members_choose_the_third(
    apart: Place, monkeypatch: Patch
) -> None:
    for_three_of_five(apart, monkeypatch)
    monkeypatch.setattr(Trust, "require_complete", lambda *_, **__: None)
    assert apart.accept("bank-a").steward == "bank-d"


# What a person was shown


def roster_command(place: Place, name: str, *options: str) -> dict[str, Any]:
    ended = run_program("bank-node", "roster", "--state", place.states[name], "--json", *options)
    found: dict[str, Any] = json.loads(ended.out)
    return found


def confirmed(answer: dict[str, Any]) -> set[str]:
    return {one["name"] for one in answer["members"] if one["confirmed"]}


def joined_in_between(apart: Place) -> dict[str, Any]:
    """Let a bank join after the roster was shown, be pinned by another command, then confirm."""
    apart.changed_rules("bank-a", insecure_trust_first_use=False)
    assert set(roster_command(apart, "bank-a")["code_of"]) == set(BANKS)
    apart.enrol("bank-x")
    apart.trust("bank-a")
    start = len(apart.proxy.exchanges)
    answer = roster_command(apart, "bank-a", "--confirm")
    assert len(apart.proxy.exchanges) == start, "confirming asks for nothing"
    return answer


def test_a_member_that_nobody_was_shown_is_not_confirmed(apart: Place) -> None:
    answer = joined_in_between(apart)
    assert confirmed(answer) == set(BANKS)
    assert "bank-x" in {one["name"] for one in answer["members"]}


def test_control_without_what_was_shown_a_made_up_member_is_confirmed(
    apart: Place, monkeypatch: Patch
) -> None:
    def confirm(self: PinnedRoster, code: str | None = None) -> PinnedRoster:
        return self.confirm(self.members.values())

    monkeypatch.setattr(PinnedRoster, "confirm_shown", confirm)
    assert "bank-x" in confirmed(joined_in_between(apart))


def test_confirming_needs_no_aggregator(place: Place) -> None:
    code = roster_command(place, "bank-b")["code"]
    assert roster_command(place, "bank-a")["code"] == code
    state = StateDirectory(place.states["bank-a"])
    state.save_config(state.config.model_copy(update={"aggregator": "http://127.0.0.1:9"}))
    assert confirmed(roster_command(place, "bank-a", "--confirm", code)) == set(BANKS)


def shown_apart(place: Place) -> dict[str, Any]:
    """Show bank-a one member less than bank-b, and confirm with the code that bank-b reads out."""
    code = roster_command(place, "bank-b")["code"]

    def after(exchange: Exchange) -> None:
        if exchange.route == ("GET", "/v1/roster") and exchange.bank == "bank-a":
            answer = json.loads(exchange.answer)
            answer["members"] = [one for one in answer["members"] if one["name"] != "bank-c"]
            exchange.answer = json.dumps(answer).encode()

    place.proxy.after = after
    roster_command(place, "bank-a")
    return roster_command(place, "bank-a", "--confirm", code)


def test_banks_that_are_shown_different_members_confirm_nothing(place: Place) -> None:
    answer = shown_apart(place)
    assert answer["error"]["kind"] == "conflict"
    assert "nothing was confirmed" in answer["error"]["message"]
    pins = StateDirectory(place.states["bank-a"]).pinned_roster()
    assert [pin.keys.name for pin in pins.pins if pin.confirmed] == ["bank-a"]


def test_control_without_the_code_banks_confirm_what_differs(
    place: Place, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(roster, "is_roster_code", lambda code, members: True)
    assert confirmed(shown_apart(place)) == {"bank-a", "bank-b"}


# One epoch, two contents


def equivocated(apart: Place, packages: list[KeyPackage]) -> list[KeyEpoch]:
    """Let a steward sign two epochs under one number, and the server show each to one bank."""
    state = StateDirectory(apart.states["bank-c"])
    members = [state.pinned_roster().members[name] for name in BANKS]
    made = [
        seal_key_package(
            packages[0], epoch=2, steward=state.identity(), steward_name="bank-c", roster=members
        )
        for _ in range(2)
    ]
    apart.publishes("bank-c", made[0])
    show_to(apart, {"bank-a": made[0], "bank-b": made[1]})
    return made


def show_to(apart: Place, shown: dict[str, KeyEpoch]) -> None:
    def after(exchange: Exchange) -> None:
        if exchange.method == "GET" and exchange.route[1].startswith("/v1/epochs/"):
            epoch = shown[exchange.bank or ""].model_dump(mode="json")
            answer = {**json.loads(exchange.answer), "key_epoch": epoch, "acknowledged": []}
            exchange.answer = json.dumps(answer).encode()

    apart.proxy.after = after


def held_by(apart: Place, name: str) -> KeyEpoch:
    held = StateDirectory(apart.states[name]).key_epoch(2)
    assert held is not None
    return held


def facts_of(apart: Place, name: str, run: PinnedRun) -> bytes:
    generation = Generation(number=0, banks=BANKS)
    return run_facts(run, held_by(apart, name), generation, base=b"", more_rows=0)


def both_accept(apart: Place, packages: list[KeyPackage]) -> PinnedRun:
    first, second = equivocated(apart, packages)
    apart.accept("bank-a")
    # The honest half of this server refuses what it does not have; the bank holds its key by then.
    with pytest.raises(FraudFedError):
        apart.accept("bank-b")
    assert (held_by(apart, "bank-a"), held_by(apart, "bank-b")) == (first, second)
    spec = RunSpec.model_validate(make_spec(2))
    return PinnedRun(run_id="r", spec=spec, cohort=BANKS, public_key=first.public_key)


def test_banks_with_different_epochs_under_one_number_get_no_sum(
    apart: Place, packages: list[KeyPackage]
) -> None:
    """Each accepts what it was shown; what begins their transcripts differs, so nothing opens."""
    run = both_accept(apart, packages)
    assert facts_of(apart, "bank-a", run) != facts_of(apart, "bank-b", run)
    # And neither takes the other one afterwards.
    show_to(apart, {"bank-a": held_by(apart, "bank-b"), "bank-b": held_by(apart, "bank-a")})
    for name in ("bank-a", "bank-b"):
        with pytest.raises(ConflictError, match="shows banks different keys"):
            apart.accept(name)


def test_control_without_the_epochs_digest_banks_do_not_see_that_theirs_differ(
    apart: Place, packages: list[KeyPackage], monkeypatch: Patch
) -> None:
    run = both_accept(apart, packages)
    monkeypatch.setattr(facts, "key_epoch_digest", lambda key_epoch: "00")
    assert facts_of(apart, "bank-a", run) == facts_of(apart, "bank-b", run)
