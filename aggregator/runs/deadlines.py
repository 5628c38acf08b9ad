"""The runs' deadlines: a run continues without a bank that stays away too long.

A deadline is measured with this process's monotonic clock, from when it first saw that something is
waited for. So no jump of the wall clock drops a bank, and a service that was restarted gives all
banks the whole time again. Several processes may watch the same runs: the event names the stage
that it is about, and has no effect on any other.
"""

import logging
import threading
import time
from collections.abc import Callable

from aggregator.run_machine import Stage, StageKind
from aggregator.runs.generations import GenerationService
from fraudfed.errors import FraudFedError
from fraudfed.wire.messages import RunSpec

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


class Deadlines:
    """Watches all runs that have not ended.

    Parameters
    ----------
    generations : GenerationService
    clock : callable
        Seconds that never jump.
    """

    def __init__(
        self, generations: GenerationService, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._generations = generations
        self._clock = clock
        #: Run -> key of its stage, and when it was first seen.
        self._since: dict[str, tuple[tuple[str, int, int], float]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)

    def start(self) -> None:
        """Watch from now on, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()

    def look(self) -> None:
        """Look at every run once, and pass the deadlines that are over."""
        now = self._clock()
        stages = self._generations.stages()
        self._since = {
            run_id: self._since[run_id]
            for run_id, (_, stage) in stages.items()
            if stage is not None and self._since.get(run_id, (None, 0.0))[0] == stage.key
        }
        for run_id, (spec, stage) in stages.items():
            allowed = None if stage is None else _allowed_seconds(spec, stage)
            if stage is None or allowed is None:
                continue
            _, since = self._since.setdefault(run_id, (stage.key, now))
            if now - since >= allowed:
                self._pass(run_id, stage)

    def _pass(self, run_id: str, stage: Stage) -> None:
        # A run that cannot be changed must not hold up those after it; the next look tries again.
        try:
            self._generations.pass_deadline(run_id, stage.key)
        except FraudFedError as error:
            _log.warning("run %s: its deadline could not be passed: %s", run_id, error)
        except Exception:
            _log.exception("run %s: its deadline could not be passed", run_id)

    def _watch(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            try:
                self.look()
            except FraudFedError as error:
                _log.warning("deadlines could not be looked at: %s", error)
                # The banks could not reach us either: all get the whole time again.
                self._since = {}
            except Exception:
                # The next look may succeed; a service without deadlines would hang indefinitely.
                _log.exception("deadlines could not be looked at")


def _allowed_seconds(spec: RunSpec, stage: Stage) -> int | None:
    if stage.kind is StageKind.JOIN:
        return spec.join_deadline_seconds
    return spec.deadline_seconds
