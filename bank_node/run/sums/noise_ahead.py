"""Make noise while waiting for the others: it does not depend on what will be encrypted.

The thread runs at a lower priority. On a machine where it competes with other work - in a
demonstration, with that of the banks that this one waits for - it takes only what is left.
"""

import contextlib
import os
import queue
import threading
from collections.abc import Iterator
from typing import Protocol

#: Ciphertexts whose noise is made in one go: a fraction of a millisecond with the fast kernel, so
#: that an answer is hardly ever waited for.
_CHUNK = 32
#: More is not kept, whatever a round takes: under a megabyte.
_MOST = 1024
#: How long an ending waits for the chunk at hand; the thread is a daemon and holds nothing to lose.
_END_SECONDS = 2.0
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

    Use it as a context manager: the thread ends with it, also when Ctrl-C ends the block. The two
    share no lock for that reason: an interrupt that falls between taking a lock and entering its
    block leaves it taken indefinitely. Flags are written by the owner alone. It wakes the thread by
    ``queue.SimpleQueue``, whose ``put`` is documented to be re-entrant.

    Parameters
    ----------
    maker : NoiseMaker
    """

    def __init__(self, maker: NoiseMaker) -> None:
        self._maker = maker
        self._wanted = 0
        self._is_waiting = False
        self._is_closed = False
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="noise-ahead", daemon=True)

    def __enter__(self) -> "NoiseAhead":
        """Start the thread, idle at first."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread, after the chunk at hand."""
        self._is_closed = True
        self._wakes.put(None)
        self._thread.join(_END_SECONDS)

    def used(self, count: int) -> None:
        """Learn how many ciphertexts a round takes: the largest so far is what is made ahead."""
        self._wanted = min(max(self._wanted, count), _MOST)

    @contextlib.contextmanager
    def while_waiting(self) -> Iterator[None]:
        """Make noise during the block, which leaves the processor alone."""
        self._is_waiting = True
        self._wakes.put(None)
        try:
            yield
        finally:
            self._is_waiting = False

    def _run(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not self._is_closed:
            if self._has_work():
                self._maker.precompute(_CHUNK)
            else:
                self._wakes.get()

    def _has_work(self) -> bool:
        return self._is_waiting and self._maker.noise_ready < self._wanted
