"""Header fields add up without touching each other or the slots."""

from hypothesis import given
from hypothesis import strategies as st

from fraudfed.secure_sum.header import HEADER_BITS, MAXIMUM_BANKS, Header, join_header
from fraudfed.secure_sum.tags import TAG_PRIME


@given(
    tags=st.lists(st.integers(0, TAG_PRIME - 1), min_size=1, max_size=20),
    slots=st.integers(-(2**400), 2**400),
)
def test_headers_add_field_by_field(tags: list[int], slots: int) -> None:
    total = sum(join_header(tag, count=1) for tag in tags)
    assert 0 <= total < 2**HEADER_BITS
    assert Header.of(total + (slots << HEADER_BITS)) == Header(tag=sum(tags), count=len(tags))


def test_the_largest_cohort_with_the_largest_tags_fits() -> None:
    largest = join_header(TAG_PRIME - 1, count=1) * MAXIMUM_BANKS
    assert largest < 2**HEADER_BITS
    assert Header.of(largest - (1 << 3000)).count == MAXIMUM_BANKS
    assert Header.of(largest).tag == MAXIMUM_BANKS * (TAG_PRIME - 1)
    assert Header.of(largest).is_plausible(MAXIMUM_BANKS)
    # One bank more could carry out of the tag's field: that is where the limit comes from.
    assert (MAXIMUM_BANKS + 1) * (2**89 - 1) >= 1 << 99


def test_a_sum_taken_away_counts_negative() -> None:
    three = join_header(3 * 5, count=3)
    assert Header.of(-three).count in (-3, -4)  # the negative tag borrows one
    assert Header.of(2 * three).count == 6


@given(st.integers(0, 2**600))
def test_noise_is_rarely_plausible(value: int) -> None:
    header = Header.of(value)
    assert header.is_plausible(3) == (abs(header.count) <= 48)
    assert -(2**20) <= header.count < 2**20
