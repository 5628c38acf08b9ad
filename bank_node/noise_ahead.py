"""Make noise while waiting for the others: it does not depend on what will be encrypted.

The thread runs at a lower priority, so that on a machine where it competes with somebody's critical
path - in a demonstration, that of the very banks that are waited for - it takes only what is left.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Protocol

__all__ = ["NoiseAhead", "NoiseMaker"]

#: Ciphertexts whose noise is made in one go: a fraction of a millisecond with the fast kernel, so
#: that an answer is hardly ever waited for.
_CHUNK = 32
#: More is not kept, whatever a round takes: under a megabyte.
_MOST = 1024
#: Niceness of the thread, on systems that have it by thread (Linux).
_NICENESS = 10


class NoiseMaker(Protocol):
    """What makes and keeps noise: ``fraudfed.secure_sum.session.SecureSum``."""

    @property
    def noise_ready(self) -> int:
        """Ciphertexts for which noise is at hand."""
        ...

    def precompute(self, count: int) -> None:
        """Make the noise of ``count`` more."""
        ...


class NoiseAhead:
    """A thread that fills the store of noise while its owner says that it waits.

    Use it as a context manager: the thread ends with it.

    Parameters
    ----------
    maker : NoiseMaker
    """

    def __init__(self, maker: NoiseMaker) -> None:
        self._maker = maker
        self._wanted = 0
        self._is_waiting = False
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="noise-ahead", daemon=True)

    def __enter__(self) -> "NoiseAhead":
        """Start the thread, idle at first."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread, after the chunk at hand."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def used(self, count: int) -> None:
        """Learn how many ciphertexts a round takes: the largest so far is what is made ahead."""
        with self._changed:
            self._wanted = min(max(self._wanted, count), _MOST)

    @contextlib.contextmanager
    def while_waiting(self) -> Iterator[None]:
        """Make noise during the block, which leaves the processor alone."""
        with self._changed:
            self._is_waiting = True
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._is_waiting = False

    def _run(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._has_work())
                if self._is_closed:
                    return
            self._maker.precompute(_CHUNK)

    def _has_work(self) -> bool:
        return self._is_waiting and self._maker.noise_ready < self._wanted
