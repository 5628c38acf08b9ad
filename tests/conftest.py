"""What holds for all tests.

A law that is checked on a busy machine may take its time. And each drawn test states how many
examples it needs; ``FRAUDFED_TEST_DRAWS`` multiplies that, for a whole run: 20 to see whether a new
law holds for every draw, 0.1 where the same laws have been checked already and only the Python or
the packages are others.
"""

import os
import signal

import pytest
from hypothesis import settings

settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background so, and every program that a test starts would
    # ignore an interrupt as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

DRAWS = float(os.environ.get("FRAUDFED_TEST_DRAWS", "1"))

#: A law is not tested by fewer examples than these, or by its own number where that is lower.
LEAST_EXAMPLES = 5

#: Where Hypothesis keeps the settings of a test: it has no public name for what they are.
_SETTINGS = "_hypothesis_internal_use_settings"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Multiply the examples of all drawn tests."""
    if DRAWS == 1:
        return
    for drawn in {_drawn(item) for item in items} - {None}:
        if isinstance(drawn, type):
            drawn.settings = _multiplied(drawn.settings)
        else:
            setattr(drawn, _SETTINGS, _multiplied(getattr(drawn, _SETTINGS, None)))


def _drawn(item: pytest.Item) -> object:
    """Return what has the settings of a test: its function, or the class of a state machine."""
    found = getattr(item, "obj", None)
    if getattr(found, "is_hypothesis_test", False):
        function = getattr(found, "__func__", found)
        return getattr(item, "cls", None) if hasattr(item.cls, "settings") else function
    return None


def _multiplied(found: settings | None) -> settings:
    own = settings() if found is None else found
    least = min(own.max_examples, LEAST_EXAMPLES)
    return settings(own, max_examples=max(least, round(own.max_examples * DRAWS)))
