"""Run a piece of a test without the compiled kernels, whatever is installed."""

import contextlib
import os
from collections.abc import Iterator
from unittest import mock

import pytest

from fraudfed.boosting.engine.compiled import Engine, engine_module, load_engine
from fraudfed.native import DISABLING_VARIABLE

#: For tests that compare the two: with one of them alone there is nothing to compare.
needs_engine = pytest.mark.skipif(
    load_engine() is None, reason=f"no compiled kernels: {engine_module().reason}"
)


def compiled() -> Engine:
    """Return the compiled kernels; for tests marked ``needs_engine``."""
    engine = load_engine()
    assert engine is not None
    return engine


@contextlib.contextmanager
def numpy_only() -> Iterator[None]:
    """Leave the compiled kernels unused, as ``FRAUDFED_NO_EXT=1`` does for a process."""
    with mock.patch.dict(os.environ, {DISABLING_VARIABLE: "1"}):
        engine_module.cache_clear()
        assert load_engine() is None
        try:
            yield
        finally:
            engine_module.cache_clear()
