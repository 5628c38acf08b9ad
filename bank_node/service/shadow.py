"""The challenger scores after the answer, in a thread of its own: it touches no answer.

The decision is in the log before that, with the champion's score. What the challenger says is
added to it as a row of its own. The queue is bounded: what does not fit has no such row, as what
was waiting when the process was killed.
"""

import logging
import queue
import threading
from collections.abc import Callable

from bank_node.decisions.log import Written
from bank_node.serving.bundle import Bundle
from fraudfed.dtypes import Float32Array

_log = logging.getLogger(__name__)

_MOST_WAITING = 10_000
_Task = tuple[Bundle, Float32Array, Written]


class Shadow:
    """Scores with the challenger.

    Parameters
    ----------
    keep : callable
        Adds a margin to a decision.
    failed : callable
        Counts a payment without a challenger's score.
    """

    def __init__(self, keep: Callable[[Written, float], None], failed: Callable[[], None]) -> None:
        self._keep, self._failed = keep, failed
        self._is_failing = False
        self._tasks: queue.Queue[_Task | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="challenger", daemon=True)
        self._thread.start()

    def score(self, bundle: Bundle, row: Float32Array, decision: Written) -> None:
        """Score a full row soon; nothing if it fails or there is no room."""
        try:
            self._tasks.put_nowait((bundle, row, decision))
        except queue.Full:
            self._failed()

    def close(self) -> None:
        """Finish what was begun."""
        self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            bundle, row, decision = task
            challenger = bundle.challenger
            if challenger is None:
                continue
            try:
                own = bundle.row_for(challenger, row)
                self._keep(decision, challenger.row(own, contributions=False).margin)
                self._is_failing = False
            except Exception:
                # Whatever a challenger raises ends neither this thread nor the payments after it.
                self._failed()
                # One line, not one for each payment.
                if not self._is_failing:
                    _log.exception("the challenger has failed; its margin is left out of the log")
                self._is_failing = True
