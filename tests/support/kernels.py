"""Run a piece of a test without the compiled kernels, whatever is installed."""

import contextlib
import os
from collections.abc import Iterator
from types import ModuleType
from unittest import mock

import pytest

from fraudfed.boosting.engine.choice import load_engine
from fraudfed.machine.native import DISABLING_VARIABLE, load_native

#: For tests that compare the two engines: with one of them alone there is nothing to compare.
needs_engine = pytest.mark.skipif(
    load_engine().name != "compiled", reason=f"no compiled kernels: {load_engine().name}"
)


def compiled() -> ModuleType:
    """Return the compiled kernels; for tests marked ``needs_engine``."""
    module = load_native("fraudfed.boosting.engine._engine").module
    assert module is not None
    return module


@contextlib.contextmanager
def numpy_only() -> Iterator[None]:
    """Let ``load_engine`` return NumPy, as ``FRAUDFED_NO_EXT=1`` does for a process."""
    with mock.patch.dict(os.environ, {DISABLING_VARIABLE: "1"}):
        assert load_engine().name.startswith("numpy")
        yield
