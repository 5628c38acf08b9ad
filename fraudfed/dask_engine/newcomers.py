"""Workers that join a cluster while this program works on it.

Those of the beginning are checked before anything is sent (``workers``). One that comes later could
be of another release: what it computed would go into sums that other banks wait for. So each piece
of work looks where it is, and is done in no process but one that computes as this program does
(``only_alike``); and this program looks every few seconds who has come (``Newcomers``).
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from fraudfed.dask_engine.addresses import is_safe
from fraudfed.dask_engine.workers import WorkerFacts, fault_of, worker_facts

if TYPE_CHECKING:
    from distributed import Client

_log = logging.getLogger(__name__)

#: An idle worker is chosen again until it is sent away: this keeps it from being so at once.
_PAUSE_SECONDS: Final = 0.5


def only_alike(expected: WorkerFacts, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function, or let Dask give the piece of work to another worker; runs on a worker.

    Parameters
    ----------
    expected : WorkerFacts
        Of the program that asks.
    function : callable
    *arguments
        Of the function.
    """
    if fault_of(worker_facts(), expected) is not None:
        from distributed import Reschedule

        time.sleep(_PAUSE_SECONDS)
        raise Reschedule
    return function(*arguments)


class Newcomers:
    """Looks at workers once, and sends those away that cannot do the work.

    Parameters
    ----------
    client : Client

    Attributes
    ----------
    own : WorkerFacts
        Of this program.
    """

    def __init__(self, client: "Client") -> None:
        self.own = worker_facts()
        self._client = client
        self._fit: set[str] = set()

    def look(self, workers: Iterable[str]) -> list[str]:
        """Look at the workers that are there now.

        Parameters
        ----------
        workers : iterable of str
            Their addresses.

        Returns
        -------
        list of str
            What is wrong with those that were sent away; the log says the same.
        """
        here = set(workers)
        new = sorted(here - self._fit)
        self._fit &= here
        if not new:
            return []
        # Where others may be reached in the clear, the operator has said that this is well.
        clear = any(not is_safe(address) for address in self._fit)
        found = self._client.run(worker_facts, workers=new, on_error="return")
        faults: dict[str, str] = {}
        for address, facts in found.items():
            if isinstance(facts, OSError):
                # It is gone already, or is asked again.
                continue
            fault = fault_of(facts, self.own)
            if fault is None and self._fit and not (clear or is_safe(address)):
                fault = "would be reached in the clear"
            if fault is None:
                self._fit.add(address)
            else:
                faults[address] = fault
        said = [f"worker {address} {fault}" for address, fault in faults.items()]
        for text in said:
            _log.warning(
                "%s: it has joined in the middle and is sent away; start every worker from the "
                "installation that this program runs from",
                text,
            )
        if faults:
            self._client.retire_workers(list(faults), close_workers=True)
        return said
