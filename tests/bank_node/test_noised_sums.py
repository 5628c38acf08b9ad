"""Sums with noise over a real aggregator: whose noise, from which key, and what is asked before."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from federations.summing_banks import SummingBanks, sent_bodies
from hypothesis import given
from hypothesis import strategies as st

import fraudfed.secure_sum.session as session_module
from bank_node.run.sums.noising import OwnNoise, PrivateSums
from bank_node.run.sums.secure_communicator import SecureCommunicator
from bank_node.state.outbox import Kept, Outbox
from fraudfed.dtypes import Int64Array
from fraudfed.errors import (
    BoundError,
    CohortError,
    ConfigurationError,
    StateError,
)
from fraudfed.privacy.noise.drawing import LEAST_PART_VARIANCE
from fraudfed.privacy.noise.sampler import sample
from fraudfed.privacy.releases import NoisedRelease
from fraudfed.privacy.terms import PrivacyTerms
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.noise_keys import new_noise_key

TERMS = PrivacyTerms(epsilon=3.0, tolerated_colluders=1, declared_rows=1000)
VARIANCE = 1 << 30
RELEASE = NoisedRelease(variance=VARIANCE, moved=Fraction(1, 100))
VALUES = np.arange(24, dtype=np.int64).reshape(2, 12)
LABEL = "noised-bins:tree 0"


class Noted:
    """Charges that only note what happens, beside what else is noted."""

    def __init__(self, *, left: bool = True) -> None:
        self.events: list[str] = []
        self.contexts: list[str] = []
        self._left = left

    def reserve(
        self, context_digest: str, *, label: str, release: NoisedRelease, n_values: int
    ) -> None:
        assert (label, release, n_values) == (LABEL, RELEASE, VALUES.size)
        if not self._left:
            raise StateError("nothing is left")
        self.events.append("reserve")
        self.contexts.append(context_digest)

    def commit(self, context_digest: str) -> None:
        # A bank that was started again has set it aside before.
        assert self.contexts in ([], [context_digest])
        self.events.append("commit")


def noised(bank: SecureCommunicator, *, label: str = LABEL) -> Int64Array:
    return bank.noised_sum(VALUES, bound=100, low=0, label=label, release=RELEASE)


def private(charges: Noted | None = None) -> PrivateSums:
    return PrivateSums(TERMS, Noted() if charges is None else charges)


def all_private(cohort: SummingBanks, **changes) -> SummingBanks:
    size = len(cohort.banks)
    cohort.banks = [cohort.bank(index, private=private(), **changes) for index in range(size)]
    return cohort


def kept_of(cohort: SummingBanks, index: int) -> list[Kept]:
    outbox = Outbox(cohort.outbox(index))
    return [outbox.find(context.hex()) or Kept() for context in outbox._places]


def own_noise(kept: Kept, size: int) -> Int64Array:
    assert kept.noise_key is not None
    parts = OwnNoise.of(RELEASE, VALUES.shape, TERMS, n_banks=size).variances
    return sample(np.ascontiguousarray(parts), kept.noise_key)


@pytest.fixture
def as_a_new_process() -> Callable[[], None]:
    """Forget what only a process knows: what stays is on disk."""
    return session_module._USED_CONTEXTS._used.clear


@pytest.mark.e2e
@pytest.mark.parametrize("size", [3, 5])
def test_all_banks_get_one_sum_and_its_noise_is_that_of_their_keys(make_cohort, size: int) -> None:
    cohort = all_private(make_cohort(size))
    sums = cohort.each(lambda _, bank: noised(bank))
    kept = [kept_of(cohort, index)[0] for index in range(size)]
    expected = size * VALUES + sum(own_noise(one, size) for one in kept)
    for total in sums:
        np.testing.assert_array_equal(total, expected)
    assert len({one.noise_key for one in kept}) == size
    # A noise of this width is never 0 everywhere, and never as wide as its room.
    assert (expected != size * VALUES).any()
    reach = OwnNoise.of(RELEASE, VALUES.shape, TERMS, n_banks=size).reach
    assert (np.abs(expected - size * VALUES) < reach).all()


@given(
    n_banks=st.integers(2, 40),
    colluders=st.integers(0, 40),
    variance=st.integers(LEAST_PART_VARIANCE, 1 << 50),
)
def test_what_is_left_without_the_colluders_noise_is_the_whole_variance(
    n_banks: int, colluders: int, variance: int
) -> None:
    terms = PrivacyTerms(epsilon=1.0, tolerated_colluders=colluders, declared_rows=1)
    release = NoisedRelease(variance=variance * n_banks, moved=Fraction(1))
    if n_banks - colluders < 2:
        with pytest.raises(CohortError, match="at least 2 more"):
            OwnNoise.of(release, (3,), terms, n_banks=n_banks)
        return
    noise = OwnNoise.of(release, (3,), terms, n_banks=n_banks)
    left = (n_banks - colluders) * noise.variances
    assert (left >= release.variance).all()
    assert (left < release.variance + n_banks - colluders).all()


def test_noise_that_is_too_narrow_is_refused() -> None:
    release = NoisedRelease(variance=LEAST_PART_VARIANCE, moved=Fraction(1))
    with pytest.raises(BoundError, match="sigma of 2\\^8"):
        OwnNoise.of(release, (3,), TERMS, n_banks=3)


def test_bounds_that_leave_int64_with_the_noise_are_refused() -> None:
    noise = OwnNoise.of(RELEASE, (2,), TERMS, n_banks=3)
    high, low = noise.widened(100, 0)
    np.testing.assert_array_equal(high, 100 + noise.reach)
    np.testing.assert_array_equal(low, -noise.reach)
    np.testing.assert_array_equal(noise.widened(100, None)[1], -100 - noise.reach)
    most = np.iinfo(np.int64).max
    with pytest.raises(BoundError, match="leave int64"):
        noise.widened(most - int(noise.reach[0]) + 1, 0)
    with pytest.raises(BoundError, match="leave int64"):
        noise.widened(0, -most)


@given(took=st.floats(0, 0.2, allow_nan=False))
def test_a_sum_continues_at_a_public_instant(took: float) -> None:
    """However long a draw takes, what others can see is a multiple of a public time."""
    noise = OwnNoise.of(RELEASE, (4000,), TERMS, n_banks=3)
    now, slept = 10.0, []

    def clock() -> float:
        nonlocal now
        now += took
        return now

    noise.draw(bytes(32), clock=clock, sleep=slept.append)
    apart = 4000 * 0.5e-6
    multiples = (took + slept[0]) / apart
    assert 0 < slept[0] <= apart
    assert abs(multiples - round(multiples)) < 1e-6
    assert round(multiples) >= 1


@pytest.mark.e2e
def test_the_ledger_is_asked_before_sealing_and_charged_before_the_box(
    make_cohort, monkeypatch
) -> None:
    cohort = make_cohort(3)
    charges = Noted()

    def watched(name: str, owner: object, attribute: str) -> None:
        original = getattr(owner, attribute)

        def call(*arguments, **named):
            charges.events.append(name)
            return original(*arguments, **named)

        monkeypatch.setattr(owner, attribute, call)

    banks = [cohort.bank(0, private=private(charges)), *map_private(cohort, (1, 2))]
    watched("seal", banks[0]._session, "seal")
    watched("keep", banks[0]._outbox, "keep")
    watched("send", cohort.members[0].client, "contribute")
    watched("box", banks[0]._outbox, "keep_opening")
    watched("reveal", cohort.members[0].client, "send_opening")
    cohort.banks = banks
    cohort.each(lambda _, bank: noised(bank))
    seen = [
        event for index, event in enumerate(charges.events) if event not in charges.events[:index]
    ]
    assert seen == ["reserve", "seal", "keep", "send", "commit", "box", "reveal"]


def map_private(cohort: SummingBanks, indices: tuple[int, ...]) -> list[SecureCommunicator]:
    return [cohort.bank(index, private=private()) for index in indices]


@pytest.mark.e2e
def test_without_budget_nothing_is_sealed_or_sent(make_cohort, monkeypatch) -> None:
    cohort = make_cohort(3)
    bodies = sent_bodies(cohort, 0, monkeypatch)
    with pytest.raises(StateError):
        noised(cohort.bank(0, private=private(Noted(left=False))))
    assert bodies == []
    assert kept_of(cohort, 0) == []


@pytest.mark.e2e
def test_only_declared_sums_are_made(make_cohort, monkeypatch) -> None:
    cohort = make_cohort(3)
    bodies = sent_bodies(cohort, 0, monkeypatch)
    bank = cohort.bank(0, private=private())
    with pytest.raises(ConfigurationError, match="would be exact"):
        bank.sum(VALUES, bound=100, low=0, label="histogram:tree 0 step 0")
    with pytest.raises(ConfigurationError, match="is not declared"):
        bank.sum(VALUES, bound=100, low=0, label="something new")
    with pytest.raises(ConfigurationError, match="not declared as a sum that does"):
        noised(bank, label="histogram:tree 0 step 0")
    with pytest.raises(ConfigurationError, match="no privacy terms"):
        noised(cohort.bank(0))
    # Not even a vector without elements.
    with pytest.raises(ConfigurationError, match="would be exact"):
        bank.sum(VALUES[:0], bound=100, low=0, label="rows")
    assert bodies == []


@pytest.mark.e2e
def test_control_without_the_table_an_exact_sum_opens_in_a_run_with_privacy_terms(
    make_cohort, monkeypatch
) -> None:
    monkeypatch.setattr("bank_node.run.sums.noising.require_exact", lambda label: None)
    cohort = all_private(make_cohort(3))
    for total in cohort.each(lambda _, b: b.sum(VALUES, bound=100, low=0, label="histogram:0")):
        np.testing.assert_array_equal(total, 3 * VALUES)


@pytest.mark.e2e
def test_too_few_banks_sum_nothing_with_noise(make_cohort) -> None:
    cohort = make_cohort(2)
    with pytest.raises(CohortError, match="of 2 banks, of which 1 may collude"):
        noised(cohort.bank(0, private=private()))


def killed_before_it_sends(cohort: SummingBanks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let bank 0 be killed when all is written down, and nothing was sent."""

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cohort.members[0].client, "contribute", dies)
        with pytest.raises(KeyboardInterrupt):
            noised(cohort.bank(0, private=private()))


@pytest.mark.e2e
def test_a_bank_killed_before_it_sends_sends_the_noise_that_it_drew(
    make_cohort, as_a_new_process, monkeypatch
) -> None:
    cohort = make_cohort(3)
    killed_before_it_sends(cohort, monkeypatch)
    (before,) = kept_of(cohort, 0)
    as_a_new_process()
    bodies = sent_bodies(cohort, 0, monkeypatch)
    all_private(cohort)
    sums = cohort.each(lambda _, bank: noised(bank))
    assert bodies[0] == before.contribution
    (after,) = kept_of(cohort, 0)
    assert after.noise_key == before.noise_key
    kept = [before, kept_of(cohort, 1)[0], kept_of(cohort, 2)[0]]
    expected = 3 * VALUES + sum(own_noise(one, 3) for one in kept)
    assert all(np.array_equal(total, expected) for total in sums)


@pytest.mark.e2e
def test_control_without_the_outbox_a_restarted_bank_draws_other_noise(
    make_cohort, as_a_new_process, monkeypatch
) -> None:
    cohort = make_cohort(3)
    killed_before_it_sends(cohort, monkeypatch)
    (before,) = kept_of(cohort, 0)
    cohort.outbox(0).unlink()
    as_a_new_process()
    bodies = sent_bodies(cohort, 0, monkeypatch)
    all_private(cohort)
    cohort.each(lambda _, bank: noised(bank))
    (after,) = kept_of(cohort, 0)
    assert bodies[0] != before.contribution
    assert after.noise_key != before.noise_key
    assert (own_noise(after, 3) != own_noise(before, 3)).any()


@pytest.mark.e2e
def test_the_key_of_the_noise_is_erased_with_the_seed(make_cohort) -> None:
    cohort = all_private(make_cohort(3))
    cohort.each(lambda _, bank: noised(bank))
    (kept,) = kept_of(cohort, 0)
    assert kept.noise_key is not None
    assert kept.noise_key in cohort.outbox(0).read_bytes()
    assert "noise" not in repr(kept)
    Outbox(cohort.outbox(0)).forget_payloads()
    assert kept.noise_key not in cohort.outbox(0).read_bytes()
    assert kept_of(cohort, 0) == [Kept()]


@pytest.mark.e2e
def test_no_member_is_sent_the_key_of_the_noise(make_cohort, monkeypatch) -> None:
    """The box that a bank sends opens for all members: seed and numbers are in it, no key."""
    cohort = make_cohort(3)
    bodies = sent_bodies(cohort, 0, monkeypatch)
    opened: list[bytes] = []
    box = session_module.openings.box

    def watched(values, seed, *arguments, **named) -> bytes:
        opened.append(seed)
        return box(values, seed, *arguments, **named)

    monkeypatch.setattr(session_module.openings, "box", watched)
    all_private(cohort)
    cohort.each(lambda _, bank: noised(bank))
    kept = [kept_of(cohort, index)[0] for index in range(3)]
    assert set(opened) == {one.seed for one in kept}
    assert not set(opened) & {one.noise_key for one in kept}
    assert all(one.noise_key not in body for one in kept for body in bodies if one.noise_key)


def context(**changes) -> RoundContext:
    known = {
        "run_id": "r",
        "epoch": 1,
        "round_number": 0,
        "label": LABEL,
        "n_values": 24,
        "bounds_digest": "1" * 64,
        "roster": ("a", "b", "c"),
        "key_fingerprint": "2" * 64,
        "roster_digest": "3" * 64,
        "previous": "4" * 64,
    }
    return RoundContext(**{**known, **changes})


def test_a_machine_that_was_set_back_has_other_noise_elsewhere(monkeypatch) -> None:
    """Even if the operating system repeats its bytes: another context, vector or bank."""
    monkeypatch.setattr("fraudfed.secure_sum.noise_keys.secrets.token_bytes", bytes)
    one = new_noise_key(context(), VALUES, bank="a")
    others = [
        new_noise_key(context(previous="5" * 64), VALUES, bank="a"),
        new_noise_key(context(roster=("a", "b", "d")), VALUES, bank="a"),
        new_noise_key(context(), VALUES + 1, bank="a"),
        new_noise_key(context(), VALUES, bank="b"),
    ]
    assert len({one, *others}) == 5
    assert new_noise_key(context(), VALUES, bank="a") == one
    monkeypatch.undo()
    assert new_noise_key(context(), VALUES, bank="a") != one
