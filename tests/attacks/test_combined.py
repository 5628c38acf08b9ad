"""Attacks that put several parts together: an operator, a lying server and a member that helps it.

Each defence alone is attacked beside it. Here one part gives way, or is used as it is meant to be
used, and another one has to hold. What is read is read out of real sums.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from attack_kit.colluders import Colluders, assert_uniform
from attack_kit.entering import (
    CONTRACT,
    ENTRANT,
    MEMBERS,
    NAMES,
    TOLD,
    Banks,
    Handed,
    assert_no_number,
    assert_sum,
)
from attack_kit.sums import AttackedSums, Outcome, make_parts
from attack_kit.sums_without import without_self_masks
from examples.ledgers import ledger_at
from examples.run_contexts import make_context

from bank_node.data.contract import load_training_rows
from bank_node.run import generations as participation
from bank_node.run.reveals import LedgerGate, refusal
from bank_node.state import ledger as ledger_module
from bank_node.state.ledger import Account, Reveal
from fraudfed.consortium import model_seal
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.dtypes import Int64Array
from fraudfed.errors import CohortError

Patch = pytest.MonkeyPatch

#: The honest bank whose ledger decides, another one, the member, the victim, and a made-up bank.
HONEST, OTHER, MEMBER, VICTIM, MADE_UP = (f"bank-{i}" for i in range(5))
WITH = (HONEST, OTHER, MEMBER, VICTIM)
WITHOUT = (HONEST, OTHER, MEMBER)
PARTS = dict(zip(WITH, make_parts(4, 3), strict=True)) | {MADE_UP: make_parts(1)[0] * 0}
ROSTER = tuple(Identity.generate().member(name) for name in (*WITH, MADE_UP))
WORK: Any = SimpleNamespace(sources=lambda step: ("5" * 32,))


class Runs:
    """Runs that an operator opens over the same rows, as the honest bank takes part in them."""

    def __init__(self, root: Path, package: KeyPackage, *, set_changes: int = 0) -> None:
        self.ledger, self.package, self.set_changes = (
            ledger_at(root / "ledger"),
            package,
            set_changes,
        )

    def context(self, run_id: str) -> Any:
        return make_context(
            HONEST,
            None,
            run=run_id,
            key_epoch=SimpleNamespace(epoch=1, roster=ROSTER),
            ledger=self.ledger,
            set_changes=self.set_changes,
        )

    def is_joined(self, run_id: str, banks: Sequence[str]) -> bool:
        """Tell whether the bank would join; nothing is noted."""
        return refusal(self.context(run_id), WORK, 0, banks, step=None) is None

    def sum(self, run_id: str, banks: Sequence[str]) -> Int64Array:
        """Sum with some banks, if the gate of the honest one lets its boxes go."""
        sums = AttackedSums(self.package, banks)
        one = sums.contribute([PARTS[name] for name in banks])
        LedgerGate(self.context(run_id), WORK, 0, banks, step=0).require()
        outcome: Outcome = sums.open(one.product)[MEMBER]
        assert isinstance(outcome, np.ndarray)
        return outcome


@pytest.fixture
def runs(tmp_path: Path, package: KeyPackage) -> Runs:
    return Runs(tmp_path, package)


# Two runs at once


def both_at_once(runs: Runs) -> Int64Array:
    """Have the bank join two runs before it reveals anything in either; return the difference."""
    assert runs.is_joined("r1", WITH)
    assert runs.is_joined("r2", WITHOUT)
    first = runs.sum("r1", WITH)
    return first - runs.sum("r2", WITHOUT)


def test_of_two_runs_that_were_joined_at_once_one_is_summed(runs: Runs) -> None:
    """The member asks for both; the operator opens them with its victim and without."""
    with pytest.raises(CohortError, match="nothing was revealed"):
        both_at_once(runs)
    # The one that was noted goes on.
    runs.sum("r1", WITH)


def test_control_a_ledger_that_is_asked_before_joining_alone_shows_the_victim(
    runs: Runs, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(LedgerGate, "require", lambda self: None)
    np.testing.assert_array_equal(both_at_once(runs), PARTS[VICTIM])


# A made-up bank in the victim's place


def exchanged(runs: Runs) -> Int64Array:
    """Sum with the victim, then with a bank of the operator's own that puts in nothing."""
    first = runs.sum("r1", WITH)
    return first - runs.sum("r2", (*WITHOUT, MADE_UP))


def test_a_made_up_bank_in_the_victims_place_is_another_set(runs: Runs) -> None:
    """Also where a bank trusts on first use, and takes it for a member."""
    with pytest.raises(CohortError, match=f"without {VICTIM} and with {MADE_UP}"):
        exchanged(runs)


def test_control_a_ledger_of_how_many_banks_lets_the_victim_be_exchanged(
    runs: Runs, monkeypatch: Patch
) -> None:
    def price(self: Account, reveal: Reveal) -> int:
        return int(any(len(one.members) != len(reveal.members) for one in self.reveals))

    monkeypatch.setattr(ledger_module.Account, "price", price)
    np.testing.assert_array_equal(exchanged(runs), PARTS[VICTIM])


# A bank that is kept in the generation that the others have left


N_ROUNDS = 20
COLLUDERS_VIEW = frozenset({HONEST, OTHER, VICTIM})
Made = tuple[AttackedSums, AttackedSums]


def left_behind(package: KeyPackage) -> Made:
    """Return a generation with the victim that was sealed, and the next one, without it.

    Nothing of the first was revealed when the others agreed to the second, which is summed.
    """
    older, newer = AttackedSums(package, WITH), AttackedSums(package, WITHOUT)
    for _ in range(N_ROUNDS):
        older.contribute([PARTS[name] for name in WITH])
    newer.contribute([PARTS[name] for name in WITHOUT])
    return older, newer


def read_of_the_victim(made: Made, *, revealed: Sequence[str]) -> Int64Array:
    """Return what is left of the old generation's sum less the new one's, an honest sum."""
    older, newer = made
    colluders = Colluders(older, COLLUDERS_VIEW)
    plaintexts = colluders.opened(0, dict.fromkeys(WITH, 0), revealed=revealed, strip=False)
    summed = newer.open(newer.rounds[0].product)[MEMBER]
    assert isinstance(summed, np.ndarray)
    difference: Int64Array = colluders.read(plaintexts) - summed
    return difference


def test_a_bank_that_is_kept_in_an_old_generation_reveals_nothing_of_itself(
    package: KeyPackage,
) -> None:
    """The server tells it alone that the generation continues: it gives its seed, as it should.

    The others have erased theirs when they agreed to the next one, whose sum the member knows.
    """
    made = left_behind(package)
    revealed = (VICTIM, MEMBER)
    colluders = Colluders(made[0], COLLUDERS_VIEW)
    for strip in (False, True):
        for chosen in (WITH, (VICTIM,), (VICTIM, MEMBER)):
            found = [
                plaintext
                for number in range(N_ROUNDS)
                for plaintext in colluders.opened(
                    number,
                    dict.fromkeys(chosen, number),
                    revealed=[name for name in revealed if name in chosen],
                    strip=strip,
                )
            ]
            assert_uniform(found, colluders.n)
    read = read_of_the_victim(made, revealed=revealed)
    assert np.count_nonzero(read == PARTS[VICTIM]) <= 1


def test_control_others_that_keep_their_seeds_show_the_bank_that_is_kept(
    package: KeyPackage,
) -> None:
    """They agree to the next generation, and answer for the old one all the same."""
    read = read_of_the_victim(left_behind(package), revealed=WITH)
    np.testing.assert_array_equal(read, PARTS[VICTIM])


def test_control_without_self_masks_nobody_has_to_be_kept(
    package: KeyPackage, monkeypatch: Patch
) -> None:
    without_self_masks(monkeypatch)
    read = read_of_the_victim(left_behind(package), revealed=())
    np.testing.assert_array_equal(read, PARTS[VICTIM])


# A member that hands over, and a server that lies about who comes in


@pytest.fixture
def banks(tmp_path: Path, package: KeyPackage) -> Banks:
    path = tmp_path / "rows.csv"
    rows = pd.DataFrame({"amount": range(1, 9), "is_fraud": [0, 1] * 4})
    rows.to_csv(path, index=False)
    return Banks(tmp_path, package, load_training_rows(path, CONTRACT).table)


def another_training(banks: Banks) -> Handed:
    """Return a well-formed training that nobody did, sealed and signed by the member alone."""
    _, sealed = banks.honestly_handed()
    place: Any = {"holder": banks.package, "run_id": "r1", "generation": TOLD.number}
    data, whole = model_seal.open_handover(sealed, **place), banks.states[2].to_bytes()
    other = dataclasses.replace(banks.states[2], base_score=0.875).to_bytes()
    sealed = model_seal.seal_handover(data.removesuffix(whole) + other, **place)
    sha256 = hashlib.sha256(sealed).hexdigest()
    return {MEMBER: MEMBERS.handover_signature(MEMBER, TOLD, sha256)}, sealed


def handed_over_alone(banks: Banks) -> dict[str, Outcome]:
    """Tell the entrant that all but the member came in with it: the member alone has to sign.

    What it signs is a training of its own. The others are told the truth, as they know better.
    """
    handed = another_training(banks)
    told = TOLD.model_copy(update={"entrants": tuple(n for n in TOLD.banks if n != MEMBER)})
    entry = banks.enter(ENTRANT, told, gives=handed)
    sums = AttackedSums(banks.package, NAMES)
    for place, name in enumerate(NAMES):
        of = entry if name == ENTRANT else banks.enter(name, TOLD)
        sums.transcripts[place] = of.at.transcript
    return sums.sum(make_parts(len(NAMES)))


def test_a_base_of_a_member_that_is_said_to_stay_alone_gives_no_number(banks: Banks) -> None:
    """The entrant cannot know who was there before. It takes the base, and gets nothing with it."""
    assert_no_number(handed_over_alone(banks))


def test_control_without_entrants_and_base_in_the_facts_the_member_chooses_the_base(
    banks: Banks, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(participation, "run_facts", lambda *_, **__: b"the run")
    assert_sum(handed_over_alone(banks))
