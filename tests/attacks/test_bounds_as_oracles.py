"""A bound that a malicious member has chosen tells nothing about how a sum splits.

A member can steer sums, and the next round's bounds follow from the sums. Here it is worse: the
bound is any number T that it likes. Two banks split 600 between them, (600, 0) or (300, 300). If
anything that a bank does, sends or says depended on its own part, T would be a threshold to compare
it with, and some 20 rounds would give the exact number.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from attack_kit.sums import AttackedSums
from attack_kit.sums_without import without_the_record_of_contexts
from cohorts.secure import SummingRound
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraudfed.communicator import check_bound
from fraudfed.dtypes import Int64Array
from fraudfed.errors import FraudFedError, SumError
from fraudfed.secure_sum.faults import SumFault
from fraudfed.secure_sum.header import HEADER_BITS, Header
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.secure_sum.session import SecureSum
from fraudfed.secure_sum.tags import TAG_PRIME, TagCoefficients

MakeSums = Callable[..., AttackedSums]
Patch = pytest.MonkeyPatch

SPLITS = ((600, 0), (300, 300))
THRESHOLDS = (0, 1, 149, 299, 300, 301, 450, 511, 512, 599, 600, 601, 1023, 1024, 2**40, 2**62)
#: Elements beside the one that is split: a slot below it, one above, and some that have none.
OTHERS = [3, 0, 0, 5, 0]


@dataclass(frozen=True)
class View:
    """All that the member and the aggregator see of one round."""

    sizes: tuple[int, ...]
    """Of every contribution and every box."""
    failed_at: str
    plaintexts: tuple[tuple[int, int, int], ...]
    """Of each opened plaintext, without the masks: slots, count and tag modulo its prime."""
    outcomes: tuple[tuple[int, ...] | str, ...]
    """The sum of each bank, or its error."""


def vector(value: int, other: int) -> Int64Array:
    return np.array([other, value, *OTHERS], dtype=np.int64)


def view(sums: AttackedSums, split: tuple[int, int], threshold: int, *, low: int = 0) -> View:
    """Sum once, under the same context for every split: tag masks and coefficients are equal."""
    bound = vector(threshold, 9)
    parts = [vector(split[0], 1), vector(split[1], 2), np.zeros(7, dtype=np.int64)]
    # Only the element that is split is under attack: the others' sums have room.
    bound[2:] *= 2
    layout = sums.banks[0].layout(bound, bound.shape, low=np.full(7, low))
    contexts = [sums.context(bank, layout, round_number=threshold) for bank in range(3)]
    try:
        one = SummingRound(sums.banks, layout, contexts, parts)
    except FraudFedError as error:
        return View((), "seal", (), (str(error),))
    boxes = one.open(one.product)
    outcomes: list[tuple[int, ...] | str] = []
    for bank in range(3):
        try:
            outcomes.append(tuple(one.combine(boxes, bank=bank).tolist()))
        except FraudFedError as error:
            outcomes.append(f"{type(error).__name__}: {error}")
    opened = one.unmasked(one.product)
    headers = [Header.of(plaintext) for plaintext in opened]
    return View(
        sizes=tuple(map(len, [*(payload.data for payload in one.payloads), *boxes])),
        failed_at="combine",
        plaintexts=tuple(
            (plaintext >> HEADER_BITS, header.count, header.tag % TAG_PRIME)
            for plaintext, header in zip(opened, headers, strict=True)
        ),
        outcomes=tuple(outcomes),
    )


@pytest.fixture
def sums(make_sums: MakeSums, monkeypatch: Patch) -> AttackedSums:
    without_the_record_of_contexts(monkeypatch)
    return make_sums(3)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_a_bound_is_no_threshold_for_a_banks_own_part(sums: AttackedSums, threshold: int) -> None:
    views = [view(sums, split, threshold) for split in SPLITS]
    assert views[0] == views[1]
    (outcome,) = set(views[0].outcomes)
    if threshold >= 600:
        assert outcome == (3, 600, *(2 * other for other in OTHERS))
    else:
        # Not even that it is an element of its own that is out of range.
        assert isinstance(outcome, str)
        assert outcome.startswith(f"SumError: sum 'histogram:0': {SumFault.TAG}: ")
    assert views[0].failed_at == "combine"


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    total=st.integers(-(2**62), 2**62) | st.integers(-3, 1000),
    firsts=st.tuples(st.integers(-(2**61), 2**61), st.integers(-3, 1003)),
    threshold=st.integers(0, 2**62) | st.integers(0, 1000),
    low=st.integers(-1000, 0),
)
def test_no_bound_tells_two_splits_of_one_sum_apart(
    sums: AttackedSums, total: int, firsts: tuple[int, int], threshold: int, low: int
) -> None:
    views = [view(sums, (first, total - first), threshold, low=low) for first in firsts]
    assert views[0] == views[1]
    passed = low <= total <= threshold
    assert all(isinstance(outcome, tuple) == passed for outcome in views[0].outcomes)


@pytest.mark.parametrize("split", [(2**63 - 1, -(2**63) + 601), (-600, 1200), (601, -1)])
def test_parts_far_out_of_range_look_like_any_other(
    sums: AttackedSums, split: tuple[int, int]
) -> None:
    for threshold in (0, 599, 600, 2**40):
        assert view(sums, split, threshold) == view(sums, SPLITS[1], threshold)


def test_a_lower_bound_is_no_threshold_either(sums: AttackedSums) -> None:
    for low in (0, -1, -300, -(2**40)):
        views = [view(sums, split, 600, low=low) for split in ((700, -100), (300, 300))]
        assert views[0] == views[1]


def shifted_view(sums: AttackedSums, split: tuple[int, int], threshold: int, by: int) -> View:
    """Let the member be bank-0, which opens the one plaintext, and add ``by`` to the split sum.

    It has seen the other boxes, and makes the tag fit.
    """
    bound = vector(threshold, 9)
    bound[2:] *= 2
    parts = [np.zeros(7, dtype=np.int64), vector(split[0], 1), vector(split[1], 2)]
    layout = sums.banks[0].layout(bound, bound.shape, low=0)
    assert layout.n_plaintexts == 1
    contexts = [sums.context(bank, layout, round_number=500 + threshold) for bank in range(3)]
    one = SummingRound(sums.banks, layout, contexts, parts)
    change = vector(by, 0) * np.array([0, 1, 0, 0, 0, 0, 0])
    coefficients = TagCoefficients(
        sums.package.expose_secret(), contexts[0].digest, firsts=layout.firsts, n_values=7
    )
    (amount,), (tag,) = layout.join(change), coefficients.tags(change, count=0)
    opened = [value + amount + tag for value in sums.package.private_key.decrypt(one.product)]
    boxes = [one.box(opened, bank=0), *one.open(one.product)[1:]]
    outcomes: list[tuple[int, ...] | str] = []
    for bank in range(3):
        try:
            outcomes.append(tuple(one.combine(boxes, bank=bank).tolist()))
        except FraudFedError as error:
            outcomes.append(f"{type(error).__name__}: {error}")
    (plaintext,) = one.unmasked(one.product)
    header = Header.of(plaintext)
    return View(
        sizes=tuple(map(len, [*(payload.data for payload in one.payloads), *boxes])),
        failed_at="combine",
        plaintexts=((plaintext >> HEADER_BITS, header.count, header.tag % TAG_PRIME),),
        outcomes=tuple(outcomes),
    )


@pytest.mark.parametrize("by", [0, 1, -1, -300, -600, 424])
def test_a_member_that_shifts_totals_learns_nothing_about_the_split(
    sums: AttackedSums, by: int
) -> None:
    """It chooses what is compared with the bound, after it has seen the sum: still only the sum."""
    for threshold in (0, 299, 300, 599, 600, 601, 1023):
        views = [shifted_view(sums, split, threshold, by) for split in SPLITS]
        assert views[0] == views[1]
        (outcome,) = set(views[0].outcomes)
        # The tag hides nothing from the member: a total in range passes.
        if 0 <= 600 + by <= threshold and threshold >= 600:
            assert outcome[:2] == (3, 600 + by)


def own_check_back(patch: Patch) -> None:
    seal = SecureSum.seal

    def checked(self, values, layout, context):  # type: ignore[no-untyped-def]
        check_bound(values, layout.highs, low=layout.lows, label=context.label)
        return seal(self, values, layout, context)

    patch.setattr(SecureSum, "seal", checked)


def test_control_with_the_own_check_back_the_bound_is_a_threshold(
    sums: AttackedSums, monkeypatch: Patch
) -> None:
    """The bank above it names itself: half of the interval is gone with every round."""
    own_check_back(monkeypatch)
    low, high = 0, 1024
    while high - low > 1:
        middle = (low + high) // 2
        refused = view(sums, SPLITS[0], middle - 1).failed_at == "seal"
        low, high = (middle, high) if refused else (low, middle)
    assert low == 600
    differing = [t for t in THRESHOLDS if view(sums, SPLITS[0], t) != view(sums, SPLITS[1], t)]
    assert differing == [t for t in THRESHOLDS if 300 <= t < 600]


def test_control_with_a_clamp_and_a_flag_the_sum_is_the_oracle(
    sums: AttackedSums, monkeypatch: Patch
) -> None:
    """What is clamped adds up to min(a, T) + min(b, T), which opens the parts."""
    flat = SlotLayout.flat

    def clamped(self, values, *, label="vector"):  # type: ignore[no-untyped-def]
        return np.clip(flat(self, values, label=label), self.lows, self.highs)

    monkeypatch.setattr(SlotLayout, "flat", clamped)
    differing = [t for t in THRESHOLDS if view(sums, SPLITS[0], t) != view(sums, SPLITS[1], t)]
    assert differing == [t for t in THRESHOLDS if 1 <= t < 600]
    # That of (600, 0) lies within the bound, so that all are shown it as a number.
    assert view(sums, SPLITS[0], 511).outcomes[0] == (3, 511, 6, 0, 0, 10, 0)


# Elements without a slot


def without_a_slot(sums: AttackedSums, first: int, second: int) -> set[str]:
    bound = np.array([5, 0, 7], dtype=np.int64)
    parts = [np.array([1, value, 1]) for value in (first, second, 0)]
    layout = sums.banks[0].layout(bound, (3,))
    contexts = [sums.context(bank, layout, round_number=1) for bank in range(3)]
    one = SummingRound(sums.banks, layout, contexts, parts)
    boxes, found = one.open(one.product), set()
    for bank in range(3):
        try:
            found.add(str(one.combine(boxes, bank=bank).tolist()))
        except SumError as error:
            found.add(str(error))
    return found


@pytest.mark.parametrize(
    "bound", [[0, 0, 5], [5, 0, 0], [0], [0, 0]], ids=["before", "after", "alone", "none"]
)
def test_an_element_without_a_slot_is_noticed_wherever_it_lies(
    sums: AttackedSums, bound: list[int]
) -> None:
    for place in [place for place, most in enumerate(bound) if not most]:
        parts = [np.zeros(len(bound), dtype=np.int64) for _ in range(3)]
        parts[1][place] = 1
        one = sums.round(parts, np.array(bound), round_number=10 + place)
        boxes = one.open(one.product)
        for bank in range(3):
            with pytest.raises(SumError, match=SumFault.TAG):
                one.combine(boxes, bank=bank)


def test_an_element_without_a_slot_counts_by_its_sum(sums: AttackedSums) -> None:
    assert without_a_slot(sums, 4, -4) == without_a_slot(sums, 0, 0) == {"[3, 0, 3]"}
    (text,) = without_a_slot(sums, 4, -3)
    assert f": {SumFault.TAG}: " in text
    assert without_a_slot(sums, 0, -(2**63)) == without_a_slot(sums, 1, 0) == {text}


def test_control_a_tag_over_slots_alone_lets_it_pass(
    sums: AttackedSums, monkeypatch: Patch
) -> None:
    tags = TagCoefficients.tags

    def of_slots(self, values, *, count):  # type: ignore[no-untyped-def]
        return tags(self, values * np.array([1, 0, 1]), count=count)

    monkeypatch.setattr(TagCoefficients, "tags", of_slots)
    assert without_a_slot(sums, 4, 0) == {"[3, 0, 3]"}


def test_a_sum_that_wraps_around_the_modulus_is_the_same_fault_for_every_split(
    sums: AttackedSums,
) -> None:
    """Slots up to the top of a plaintext, and a sum that leaves it altogether: header and all."""
    n_values = 3 * 17  # three plaintexts, filled
    layout = sums.banks[0].layout(2**20, (n_values,))
    assert layout.n_plaintexts == 3
    most, texts = 2**63 - 1, set()
    for split in ((most, most, 0), (0, most, most), (most - 2, most, 2)):
        parts = [np.zeros(n_values, dtype=np.int64) for _ in range(3)]
        for part, value in zip(parts, split, strict=True):
            part[16::17] = value
        contexts = [sums.context(bank, layout, round_number=77) for bank in range(3)]
        one = SummingRound(sums.banks, layout, contexts, parts)
        boxes = one.open(one.product)
        for bank in range(3):
            with pytest.raises(SumError) as caught:
                one.combine(boxes, bank=bank)
            texts.add(str(caught.value))
    assert len(texts) == 1
