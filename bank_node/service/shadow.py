"""The challenger scores after the answer, in a thread of its own: it touches no answer.

A decision of a service with a challenger is written when both models have scored it, so that one
row holds both margins. The queue is bounded: what does not fit is written without the challenger.
"""

import logging
import queue
import threading
from collections.abc import Callable

from bank_node.serving.bundle import Bundle
from fraudfed.dtypes import Float32Array

_log = logging.getLogger(__name__)

_MOST_WAITING = 10_000
#: Bundle, full row, and what takes the challenger's margin or None.
_Task = tuple[Bundle, Float32Array, Callable[[float | None], None]]


class Shadow:
    """Scores with the challenger.

    Parameters
    ----------
    failed : callable
        Counts a failure.
    """

    def __init__(self, failed: Callable[[], None]) -> None:
        self._failed = failed
        self._tasks: queue.Queue[_Task | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="challenger", daemon=True)
        self._thread.start()

    def score(
        self, bundle: Bundle, row: Float32Array, then: Callable[[float | None], None]
    ) -> None:
        """Score a full row soon, and pass the margin on; None if it fails or there is no room."""
        try:
            self._tasks.put_nowait((bundle, row, then))
        except queue.Full:
            self._failed()
            then(None)

    def close(self) -> None:
        """Finish what was begun."""
        self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            bundle, row, then = task
            margin = None
            try:
                challenger = bundle.challenger
                if challenger is not None:
                    own = bundle.row_for(challenger, row)
                    margin = challenger.row(own, contributions=False).margin
            except Exception:
                self._failed()
                _log.exception("the challenger has failed; its margin is left out of the log")
            try:
                then(margin)
            except Exception:
                _log.exception("a decision could not be written down")
