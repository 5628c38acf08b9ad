"""Whom a bank counts: the number of colluders, owners, and members that others have removed."""

from collections.abc import Iterable

import pytest
from cohorts.members import Members
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.consortium.identity import Identity
from fraudfed.consortium.public.documents import sign_removal
from fraudfed.consortium.roster import PinnedRoster
from fraudfed.consortium.trust import Trust, TrustKind, judged, owners_of
from fraudfed.errors import CohortError, ConfigurationError, ForbiddenError
from fraudfed.wire.messages import MemberRemoval

NOW = 1_700_000_000
NAMES = tuple("abcdefghij")


@pytest.fixture(scope="module")
def ten() -> Members:
    return Members(NAMES)


def known(members: Members, names: Iterable[str], *, confirmed: Iterable[str] = ()) -> PinnedRoster:
    """Return the pins of bank a that has seen some members and confirmed some of them."""
    seen = [members[name].member(name) for name in names]
    pins = PinnedRoster.of(members["a"].member("a"), now=NOW).pin(seen, now=NOW)
    return pins.confirm(member for member in seen if member.name in confirmed)


def decided(
    pins: PinnedRoster, *, t: int | None = None, first_use: bool = False
) -> tuple[PinnedRoster, Trust]:
    after = judged(pins, tolerated_colluders=t, first_use=first_use)
    return after, Trust.of(after, tolerated_colluders=t, first_use=first_use)


def removal(members: Members, name: str, signer: str) -> MemberRemoval:
    return sign_removal(members[signer], removed=members[name].member(name), signer=signer)


# The number of colluders


@given(n=st.integers(1, 10), n_unknown=st.integers(0, 9))
def test_a_third_of_the_confirmed_members_may_collude_and_at_least_one(
    ten: Members, n: int, n_unknown: int
) -> None:
    _, trust = decided(known(ten, NAMES[: n + n_unknown], confirmed=NAMES[:n]))
    assert trust.tolerated_colluders == max(1, n // 3)
    assert trust.least_banks == trust.tolerated_colluders + 2
    assert trust.kind is TrustKind.CONFIRMED


def test_on_first_use_what_the_aggregator_showed_counts(ten: Members) -> None:
    pins = known(ten, NAMES[:6])
    assert decided(pins)[1].owners == {"a": "a"}
    _, trust = decided(pins, first_use=True)
    assert set(trust.owners) == set(NAMES[:6])
    assert (trust.tolerated_colluders, trust.kind) == (2, TrustKind.FIRST_USE)


@given(changes=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from("oxyl")), max_size=12))
def test_the_number_never_falls_by_what_happens_to_the_members(
    ten: Members, changes: list[tuple[str, str]]
) -> None:
    """Whatever members leave, belong to one owner, or are not shown any more."""
    pins, trust = decided(known(ten, NAMES, confirmed=NAMES))
    least = trust.tolerated_colluders
    assert least == 3
    for name, change in changes:
        pins = pins.with_left([name]) if change == "l" else pins.own(name, change)
        pins, trust = decided(pins)
        assert trust.tolerated_colluders >= least
    # Only a person lowers it, by writing it down.
    assert decided(pins, t=0)[1].tolerated_colluders == 0
    assert decided(pins)[1].tolerated_colluders >= least


def test_a_number_that_a_person_wrote_down_is_taken_as_it_is(ten: Members) -> None:
    pins = known(ten, NAMES, confirmed=NAMES)
    for t in (0, 1, 7):
        assert decided(pins, t=t)[1].least_banks == t + 2


# Owners


def test_banks_of_one_owner_count_once(ten: Members) -> None:
    pins = known(ten, NAMES[:4], confirmed=NAMES[:4])
    pins = pins.own("b", "Example Group").own("c", "EXAMPLE group")
    _, trust = decided(pins)
    assert trust.independent("abc") == 2
    assert not trust.is_enough("abc")
    assert trust.is_enough("abcd")
    with pytest.raises(CohortError, match=r"of 3 banks of 2 owners \(a, b, c\)"):
        trust.require_enough("abc", where="the set")


def test_owners_of_owners_are_followed(ten: Members) -> None:
    pins = known(ten, NAMES[:6], confirmed=NAMES[:6])
    pins = pins.own("b", "c").own("c", "d").own("e", "f").own("f", "e")
    owners = owners_of(pins)
    assert owners["b"] == owners["c"] == owners["d"] == "d"
    assert owners["e"] == owners["f"]
    assert len(set(owners.values())) == 3


@given(recorded=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=15))
def test_banks_that_a_chain_of_owners_joins_count_once(
    ten: Members, recorded: list[tuple[str, str]]
) -> None:
    pins = known(ten, NAMES, confirmed=NAMES)
    for name, owner in recorded:
        pins = pins.own(name, owner)
    owners, last = owners_of(pins), dict(recorded)
    for name, owner in last.items():
        assert owners[name] == owners[owner]
    parts = {frozenset([name]) for name in NAMES}
    for name, owner in last.items():
        mine, theirs = (next(p for p in parts if one in p) for one in (name, owner))
        parts = (parts - {mine, theirs}) | {mine | theirs}
    assert len(set(owners.values())) == len(parts)


# Sets and epochs


def test_banks_that_are_not_counted_are_refused_however_many_others_there_are(
    ten: Members,
) -> None:
    _, trust = decided(known(ten, NAMES, confirmed=NAMES[:7]))
    trust.require_members(NAMES[:7])
    with pytest.raises(ForbiddenError, match="h is not confirmed at this bank"):
        trust.require_members(NAMES[:8])
    with pytest.raises(ForbiddenError, match="nobody-knows is not confirmed"):
        trust.require_members([*NAMES[:5], "nobody-knows"])


def test_a_key_for_some_of_the_members_needs_their_exact_names(ten: Members) -> None:
    _, trust = decided(known(ten, NAMES[:6], confirmed=NAMES[:5]))
    trust.require_complete("abcde", (), where="epoch")
    trust.require_complete("abcdef", (), where="epoch")
    for without in ((), ("b",), ("c",), ("f",)):
        with pytest.raises(CohortError, match=r"--without b --without c"):
            trust.require_complete("ade", without, where="epoch")
    trust.require_complete("ade", ("c", "b"), where="epoch")
    for without in (("b", "c", "d"), ("b", "c", "f"), ("b", "c", "x")):
        with pytest.raises(ConfigurationError, match="name exactly the members"):
            trust.require_complete("ade", without, where="epoch")


# Removals


def test_a_member_has_left_when_one_more_than_may_collude_has_signed(ten: Members) -> None:
    pins = known(ten, NAMES[:6], confirmed=NAMES[:6])
    for n_signers, gone in ((2, False), (3, True)):
        signed = [removal(ten, "f", signer) for signer in NAMES[:n_signers]]
        after, trust = decided(pins.add_removals(signed))
        assert ("f" in trust.left) is gone
        assert ("f" in trust.owners) is not gone
        # It has left for good, whatever the aggregator shows later.
        assert decided(after.add_removals([]))[1] == trust
        assert trust.tolerated_colluders == 2


def test_signatures_that_do_not_count(ten: Members) -> None:
    """Two of six are enough with one colluder; here there is never more than one that counts."""
    pins = known(ten, NAMES[:6], confirmed=NAMES[:5]).own("c", "group").own("d", "group")
    pins = pins.own("b", "sister").own("e", "sister")
    stranger = Identity.generate()
    own = removal(ten, "e", "a")
    forged = own.model_copy(update={"signer": "c"})
    of_another = removal(ten, "d", "c").model_copy(update={"removed": own.removed})
    cases = {
        "repeated": [own, own],
        "forged for another signer": [own, forged],
        "made for another member": [own, of_another],
        "signed by an unconfirmed member": [own, removal(ten, "e", "f")],
        "signed by a bank of the leaving one's owner": [own, removal(ten, "e", "b")],
        "signed twice by one owner": [removal(ten, "e", "c"), removal(ten, "e", "d")],
        "signed by nobody known": [
            own,
            sign_removal(stranger, removed=own.removed, signer="zebra"),
        ],
        "of other keys": [own, sign_removal(ten["c"], removed=stranger.member("e"), signer="c")],
        "signed by itself": [own, sign_removal(ten["e"], removed=own.removed, signer="e")],
    }
    for what, signed in cases.items():
        _, trust = decided(pins.add_removals(signed), t=1)
        assert trust.left == frozenset(), what
    _, trust = decided(pins.add_removals([own, removal(ten, "e", "c")]), t=1)
    assert trust.left == {"e"}


def test_a_member_that_left_removes_nobody(ten: Members) -> None:
    pins = known(ten, NAMES[:6], confirmed=NAMES[:6])
    pins, _ = decided(pins.add_removals(removal(ten, "f", s) for s in "ab"), t=1)
    _, trust = decided(pins.add_removals([removal(ten, "a", "f"), removal(ten, "a", "b")]), t=1)
    assert trust.left == {"f"}


def test_a_removal_never_makes_the_next_one_easier(ten: Members) -> None:
    """Colluders that remove one after the other need as many signatures for the last one."""
    pins, trust = decided(known(ten, NAMES, confirmed=NAMES))
    assert trust.tolerated_colluders == 3
    for name in "jihg":
        for signers, gone in (("bcd", False), ("bcda", True)):
            pins, trust = decided(pins.add_removals(removal(ten, name, s) for s in signers))
            assert (name in trust.left) is gone
    assert trust.least_banks == 5
    assert len(trust.owners) == 6
