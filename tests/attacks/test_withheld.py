"""A lying server, and a member that helps it, against the one box that a bank reveals for a round.

Real communicators with real outboxes, over HTTP, to a real aggregator behind a proxy that lies. The
member holds the Paillier key: whatever the server keeps, it can decrypt.
"""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from attack_kit.liar import (
    BANKS,
    MEMBER,
    VICTIM,
    Liar,
    Lie,
    assert_refused,
    assert_sum,
    continue_without,
    contributed,
    held,
    next_cohort,
    own_place,
    parts_of,
)
from attack_kit.sums import BOUND, N_VALUES
from attack_kit.sums_without import without_self_masks
from federations.live import LiveFederation
from federations.live_cohort import LiveCohort

import fraudfed.secure_sum.session as session_module
from bank_node.state.outbox import Outbox
from fraudfed.dtypes import Int64Array
from fraudfed.errors import (
    CohortChangedError,
)
from fraudfed.secure_sum import openings
from fraudfed.secure_sum.faults import SumFault
from fraudfed.secure_sum.masks.streams import signed_sum
from fraudfed.secure_sum.openings import centred
from fraudfed.wire.messages import FrameHeader

Patch = pytest.MonkeyPatch


# A list that is not of the round


def rotated(_: str, header: FrameHeader) -> tuple[str, ...]:
    """Everybody's own is there, at another's place."""
    listed = header.commitments or ()
    return (*listed[1:], listed[0])


def of_another_round(liar: Liar) -> Callable[[str, FrameHeader], tuple[str, ...]]:
    def told(bank: str, _: FrameHeader) -> tuple[str, ...]:
        return liar.products[0, bank][0].commitments or ()

    return told


def own_replaced(bank: str, header: FrameHeader) -> tuple[str, ...]:
    listed = list(header.commitments or ())
    listed[own_place(bank)] = secrets.token_hex(32)
    return tuple(listed)


def own_twice(bank: str, header: FrameHeader) -> tuple[str, ...]:
    """At another's place as well: the list is one too long."""
    listed = header.commitments or ()
    return (listed[own_place(bank)], *listed)


def own_missing(bank: str, header: FrameHeader) -> tuple[str, ...]:
    place, listed = own_place(bank), header.commitments or ()
    return listed[:place] + listed[place + 1 :]


def nobody(_: str, __: FrameHeader) -> tuple[str, ...]:
    return ()


#: Lists of the right length, each a lie to every bank that is told it.
LISTS = {
    "rotated": lambda _: rotated,
    "of another round": of_another_round,
    "own replaced": lambda _: own_replaced,
}
SHORT_AND_LONG = {
    "own twice": lambda _: own_twice,
    "own missing": lambda _: own_missing,
    "nobody": lambda _: nobody,
}


def listing(told: Callable[[str, FrameHeader], tuple[str, ...]]) -> Lie:
    def lie(bank: str, header: FrameHeader, shard: bytes) -> tuple[FrameHeader, bytes]:
        return header.model_copy(update={"commitments": told(bank, header)}), shard

    return lie


@pytest.mark.parametrize("which", [*LISTS, *SHORT_AND_LONG])
def test_no_box_leaves_for_a_list_without_the_banks_own_commitment(
    cohort: LiveCohort, liar: Liar, which: str
) -> None:
    assert_sum(cohort.sum(parts_of(1)), 1)
    liar.lie = listing((LISTS | SHORT_AND_LONG)[which](liar))
    outcomes = cohort.sum(parts_of(2), tell=False)
    assert_refused(outcomes)
    assert {SumFault.COMMITMENTS.value in str(outcome) for outcome in outcomes.values()} == {True}
    assert liar.boxes == len(BANKS)
    for bank in BANKS:
        assert held(cohort, bank)[-1].opening is None


@pytest.mark.parametrize("which", LISTS)
def test_control_without_the_check_of_its_own_commitment_a_box_leaves(
    cohort: LiveCohort, liar: Liar, monkeypatch: Patch, which: str
) -> None:
    assert_sum(cohort.sum(parts_of(1)), 1)
    monkeypatch.setattr(session_module, "is_committed", lambda *_, **__: True)
    liar.lie = listing(LISTS[which](liar))
    cohort.sum(parts_of(2), tell=False)
    assert liar.boxes == 2 * len(BANKS)


# A product of another time


def test_a_product_of_an_older_round_gets_no_box(cohort: LiveCohort, liar: Liar) -> None:
    """Whole, under the header of the open round, with the commitments that belong to it."""
    assert_sum(cohort.sum(parts_of(1)), 1)

    def older(bank: str, header: FrameHeader, _: bytes) -> tuple[FrameHeader, bytes]:
        old, shard = liar.products[0, bank]
        return header.model_copy(update={"commitments": old.commitments}), shard

    liar.lie = older
    assert_refused(cohort.sum(parts_of(2), tell=False))
    assert liar.boxes == len(BANKS)


def withheld(
    live: LiveFederation, liar: Liar, cohort: LiveCohort, work: Path
) -> tuple[list[Int64Array], LiveCohort]:
    """Let all banks seal a round that none gets the product of; drop the victim; return the rest.

    The first of the attack on a step: no box leaves, and nothing is opened.
    """
    parts = parts_of(1)
    liar.withholds = True
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cohort.sum, parts, tell=False)
        contributed(live, cohort.run_id, len(BANKS))
        continue_without(live, cohort.run_id, VICTIM)
        outcomes = waiting.result(timeout=60)
    assert {type(outcome) for outcome in outcomes.values()} == {CohortChangedError}
    assert liar.boxes == 0
    liar.withholds = False
    return parts, next_cohort(live, liar.proxy, cohort.run_id, work)


def test_a_withheld_product_gets_no_box_from_the_next_set_of_banks(
    live: LiveFederation, liar: Liar, cohort: LiveCohort, tmp_path: Path
) -> None:
    """The server drops a bank and shows the others the product with it, at its place or later."""
    _, rest = withheld(live, liar, cohort, tmp_path)
    whole, n_banks = liar.product(0), len(BANKS) - 1

    def older(bank: str, header: FrameHeader, _: bytes) -> tuple[FrameHeader, bytes]:
        shard = whole.shard(rest.communicators[bank]._shard, n_banks).data
        old = liar.products[0, bank][0].commitments or ()
        return header.model_copy(update={"commitments": old[:n_banks]}), shard

    liar.lie = older
    outcomes = rest.sum(parts_of(1)[:n_banks], tell=False)
    rest.close()
    assert_refused(outcomes)
    assert liar.boxes == 0


def test_control_without_the_check_the_next_set_opens_what_was_withheld(
    live: LiveFederation, liar: Liar, cohort: LiveCohort, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(session_module, "is_committed", lambda *_, **__: True)
    _, rest = withheld(live, liar, cohort, tmp_path)
    whole, n_banks = liar.product(0), len(BANKS) - 1

    def older(bank: str, header: FrameHeader, _: bytes) -> tuple[FrameHeader, bytes]:
        shard = whole.shard(rest.communicators[bank]._shard, n_banks).data
        old = liar.products[0, bank][0].commitments or ()
        return header.model_copy(update={"commitments": old[:n_banks]}), shard

    liar.lie = older
    rest.sum(parts_of(1)[:n_banks], tell=False)
    rest.close()
    assert liar.boxes == n_banks


def decrypted(live: LiveFederation, liar: Liar, cohort: LiveCohort, number: int) -> Int64Array:
    """Return what server and member read in all contributions of a round, with all they know.

    The server multiplies what it was sent; the member decrypts it and takes its own mask off.
    """
    n = live.package.public_key.n
    communicator = cohort.communicators[MEMBER]
    layout = communicator._session.layout(BOUND, (N_VALUES,))
    values = live.package.private_key.decrypt(liar.product(number))
    seed = held(cohort, MEMBER)[number].seed
    known = session_module.self_streams([seed])
    masks = signed_sum(known, layout.n_plaintexts, n)
    opened = [centred(value - mask, n) for value, mask in zip(values, masks, strict=True)]
    return layout.split(opened)[0].reshape(N_VALUES)


def difference(
    live: LiveFederation, liar: Liar, cohort: LiveCohort, work: Path
) -> tuple[Int64Array, Int64Array]:
    """Withhold a product, drop the victim, let the rest sum; return what remains, and the truth.

    The round that the rest repeats is an honest one: its sum is known to every member. What is
    left, if the withheld product can be read, is the victim's own part.
    """
    parts, rest = withheld(live, liar, cohort, work)
    outcomes = rest.sum(parts[:-1])
    rest.close()
    for outcome in outcomes.values():
        np.testing.assert_array_equal(outcome, np.sum(parts[:-1], axis=0))
    return decrypted(live, liar, cohort, 0) - outcomes[MEMBER], parts[-1]


def test_a_withheld_product_is_noise_to_a_member_that_decrypts_it(
    live: LiveFederation, liar: Liar, cohort: LiveCohort, tmp_path: Path
) -> None:
    """Less the sum of the banks that stayed it shows nothing of the one that was dropped."""
    left, truth = difference(live, liar, cohort, tmp_path)
    assert np.count_nonzero(left == truth) <= 1


def test_control_without_self_masks_the_member_reads_the_victims_part(
    live: LiveFederation, liar: Liar, cohort: LiveCohort, tmp_path: Path, monkeypatch: Patch
) -> None:
    """Exactly, in every element, and nothing is counted anywhere: no box has left for it."""
    without_self_masks(monkeypatch)
    left, truth = difference(live, liar, cohort, tmp_path)
    np.testing.assert_array_equal(left, truth)


def test_a_product_that_a_member_fetches_early_is_noise(
    live: LiveFederation, liar: Liar, cohort: LiveCohort
) -> None:
    """It wants to know the sum before it decides what it does: no other bank has revealed."""
    liar.withholds = True
    parts = parts_of(1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cohort.sum, parts, tell=False)
        contributed(live, cohort.run_id, len(BANKS))
        member = live[MEMBER]
        member.run_id = cohort.run_id
        early = [member.product(0, shard, wait=5) for shard in range(len(BANKS))]
        seen = decrypted(live, liar, cohort, 0)
        liar.withholds = False
        outcomes = waiting.result(timeout=60)
    assert {answer.status for answer in early} == {200}
    assert_sum(outcomes, 1)
    assert np.count_nonzero(seen == np.sum(parts, axis=0)) <= 1


# Different lists to different banks


def equivocated(bank: str, header: FrameHeader, shard: bytes) -> tuple[FrameHeader, bytes]:
    """Tell one bank another commitment of the member than the others."""
    listed = list(header.commitments or ())
    if bank == "bank-a":
        listed[own_place(MEMBER)] = secrets.token_hex(32)
    return header.model_copy(update={"commitments": tuple(listed)}), shard


def test_banks_that_are_told_different_lists_get_no_number(cohort: LiveCohort, liar: Liar) -> None:
    """Each signs for the list that it was told, and each checks all signatures for its own."""
    liar.lie, liar.lied_round = equivocated, 0
    outcomes = cohort.sum(parts_of(1), tell=False)
    assert_refused(outcomes)
    assert {SumFault.SIGNATURE.value in str(outcome) for outcome in outcomes.values()} == {True}


@pytest.mark.parametrize("forgotten", [False, True])
def test_nor_does_a_bank_that_only_reads_what_was_closed_so(
    live: LiveFederation, cohort: LiveCohort, liar: Liar, tmp_path: Path, forgotten: bool
) -> None:
    """Told no list at all, or the one that it still holds."""
    liar.lie, liar.lied_round = equivocated, 0
    assert_refused(cohort.sum(parts_of(1), tell=False))
    for bank in BANKS:
        if forgotten:
            Outbox(cohort.outbox(bank)).forget_payloads()
    reading = LiveCohort(live, liar.proxy.url, cohort.run_id, tmp_path, closed_rounds=1)
    outcomes = reading.sum(parts_of(2), tell=False)
    reading.close()
    assert {SumFault.SIGNATURE.value in str(outcome) for outcome in outcomes.values()} == {True}
    assert liar.boxes == len(BANKS)


def test_control_without_signatures_over_the_list_they_get_one(
    cohort: LiveCohort, liar: Liar, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(openings, "check", lambda *_: None)
    liar.lie, liar.lied_round = equivocated, 0
    assert_sum(cohort.sum(parts_of(1), tell=False), 1)
