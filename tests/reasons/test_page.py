"""``docs/reasons.md`` holds the catalogue as it is."""

import pytest

from fraudfed.lab.publish.reasons_page import PAGE, renewed
from fraudfed.reasons import PHRASES
from fraudfed.reasons.reasons import FEWEST, LEAST_SHARE, MOST

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_catalogue_is_that_of_the_code() -> None:
    # If this fails: python -m fraudfed.lab.publish.reasons_page
    assert renewed(TEXT) == TEXT


@pytest.mark.parametrize("recipe", PHRASES)
def test_a_text_that_was_changed_by_hand_is_noticed(recipe: str) -> None:
    begin = f"<!-- reasons: {recipe} -->\n"
    assert renewed(TEXT.replace(begin, begin + "x")) == TEXT
    with pytest.raises(ValueError, match="is missing"):
        renewed(TEXT.replace(begin, ""))


def test_how_many_reasons_there_are_is_what_the_page_says() -> None:
    assert (FEWEST, MOST, LEAST_SHARE) == (3, 5, 0.05)
    assert "Five at most. The first three need 1 %" in TEXT
    assert "the fourth and fifth 5 %" in TEXT
