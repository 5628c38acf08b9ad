"""How the demo cuts time in windows: from the period and from how long reports took, no more."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudfed.errors import ConfigurationError
from fraudfed.lab.demo.cutoffs import choose_cutoffs

DAY = 86_400
START = 20_000 * DAY


def _frauds(*delays_days: float, at: int = START) -> tuple[np.ndarray, np.ndarray]:
    event = np.full(len(delays_days), at, dtype=np.int64)
    return event, event + (np.array(delays_days) * DAY).astype(np.int64)


def test_the_horizon_is_when_nine_of_ten_frauds_were_reported() -> None:
    found = choose_cutoffs((START, START + 120 * DAY), *_frauds(*[1] * 8, 7.5, 40))
    assert found.horizon_days == 8
    assert [(t - START) // DAY for t in (found.train_until, found.select_until)] == [66, 90]
    assert found.judge_until == START + 120 * DAY
    assert "9 of 10 frauds were reported" in found.note
    assert "label horizon 8 days" in found.note


def test_only_the_first_half_of_the_time_counts() -> None:
    early, late = _frauds(*[2] * 10), _frauds(*[11] * 90, at=START + 100 * DAY)
    both = (np.concatenate([early[0], late[0]]), np.concatenate([early[1], late[1]]))
    assert choose_cutoffs((START, START + 120 * DAY), *both).horizon_days == 2


def test_slow_reports_leave_the_windows_room_and_the_note_says_so() -> None:
    found = choose_cutoffs((START, START + 100 * DAY), *_frauds(*[5] * 6, *[60] * 4))
    assert found.horizon_days == 10
    assert "60% of frauds were reported within it" in found.note
    assert "9 of 10 within 60 days" in found.note


def test_without_a_report_a_tenth_of_the_time_is_waited() -> None:
    assert choose_cutoffs((START, START + 100 * DAY), *_frauds()).horizon_days == 10


def test_what_the_data_and_the_user_say_goes_first() -> None:
    found = choose_cutoffs(
        (START, START + 100 * DAY),
        *_frauds(1),
        horizon_days=3,
        select_until=START + 80 * DAY,
    )
    assert (found.horizon_days, found.select_until) == (3, START + 80 * DAY)


def test_a_horizon_that_empties_a_window_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"30 days leave no payment in a window of 20"):
        choose_cutoffs((START, START + 100 * DAY), *_frauds(1), horizon_days=30)


@given(st.integers(10, 400), st.lists(st.floats(0, 500), max_size=30))
def test_every_window_holds_days(days: int, delays: list[float]) -> None:
    found = choose_cutoffs((START, START + days * DAY), *_frauds(*delays))
    cuts = [START, found.train_until, found.select_until, found.judge_until]
    for begin, end in pairwise(cuts):
        assert begin < end - found.horizon_days * DAY
