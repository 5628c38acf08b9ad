"""Pieces of work on a cluster: given out, waited for, and added up there.

One piece of work for each part, and a tree of additions above them: this program receives one
answer, however many parts there are. What is given out is small; parts stay where they are.
"""

import itertools
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final

from fraudfed.dask_engine.adding import add_answers
from fraudfed.dask_engine.failures import cluster_failures, scheduler_gone
from fraudfed.dask_engine.held import HeldBins, HeldRows
from fraudfed.dask_engine.newcomers import Newcomers, only_alike
from fraudfed.dask_engine.requests import Answer, unpacked
from fraudfed.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client, Future

#: Answers that one piece of work adds up.
_ADDED_AT_ONCE: Final = 8
#: How often to look who is there, and how many looks in a row may find no worker.
_LOOK_SECONDS: Final = 5.0
_LOOKS_WITHOUT_WORKERS: Final = 12
#: What a piece of work has found, margins of all rows at most, may take so long to come here.
_FETCH_SECONDS: Final = 600.0


class Work:
    """A cluster, as shards use it.

    Parameters
    ----------
    client : Client
    """

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._numbers = itertools.count()
        self._name = uuid.uuid4().hex[:12]
        self._newcomers = Newcomers(client)
        self._next_look = time.monotonic() + _LOOK_SECONDS
        #: Pieces of work given out, and answers received: what a test counts.
        self.n_given = 0
        self.n_received = 0

    def give(self, what: str, function: Callable[..., Any], *arguments: Any) -> "Future":
        """Let a worker call a function; among the arguments are results of earlier calls.

        Parameters
        ----------
        what : str
            What the dashboard calls it.
        """
        self.n_given += 1
        key = f"{what}-{self._name}-{next(self._numbers)}"
        with cluster_failures():
            # A key of its own: what has been asked once is never the answer to another question.
            return self._client.submit(
                only_alike, self._newcomers.own, function, *arguments, key=key, pure=False
            )

    def receive(self, given: Sequence["Future"]) -> Answer:
        """Add answers up on the cluster and return the sum.

        Raises
        ------
        ClusterError
            If the scheduler has gone, or all workers have.
        """
        waiting = list(given)
        while len(waiting) > 1:
            waiting = [
                chunk[0] if len(chunk) == 1 else self.give("add", _add, *chunk)
                for chunk in _chunks(waiting, _ADDED_AT_ONCE)
            ]
        self.n_received += 1
        answer: Answer = self.wait(waiting[0])
        return answer

    def wait(self, future: "Future") -> Any:
        """Return what a piece of work found; raises as ``receive``."""
        with cluster_failures():
            try:
                return self._waited(future)
            except (ClusterError, OSError, CancelledError):
                raise
            except Exception as error:
                # A worker without this installation ends where it is given something. If it is
                # started again each time, that is why the piece of work was given up.
                wrong = self._newcomers.look(self._workers)
                if not wrong:
                    raise
                raise ClusterError(
                    f"cluster: {wrong[0]}; it has joined in the middle and was sent away, but a "
                    "piece of work is lost: give the same command again"
                ) from error

    def _waited(self, future: "Future") -> Any:
        looks = 0
        while True:
            # A scheduler that has gone would be waited for by whatever asks it something.
            if self._client.status != "running":
                raise scheduler_gone()
            if time.monotonic() >= self._next_look:
                self._newcomers.look(self._workers)
                self._next_look = time.monotonic() + _LOOK_SECONDS
            is_done = future.status != "pending"
            try:
                return future.result(timeout=_FETCH_SECONDS if is_done else _LOOK_SECONDS)
            except TimeoutError:
                # If it is not this one call that was too short, it is what a worker has raised.
                if is_done:
                    raise
            if self._client.status != "running":
                raise scheduler_gone()
            looks = looks + 1 if self.n_workers == 0 else 0
            if looks >= _LOOKS_WITHOUT_WORKERS:
                raise ClusterError(
                    f"cluster: no worker for {looks * _LOOK_SECONDS:g} s; what the banks have "
                    "finished is kept, start workers and give the same command again"
                )

    @property
    def n_workers(self) -> int:
        """Workers that are there now."""
        return len(self._workers)

    @property
    def _workers(self) -> dict[str, Any]:
        # A scheduler that has gone has told nothing.
        found: dict[str, Any] = self._client.scheduler_info(n_workers=-1).get("workers", {})
        return found

    @property
    def n_threads(self) -> int:
        """Pieces of work that are done at once; at least 1."""
        return max(1, sum(int(each["nthreads"]) for each in self._workers.values()))

    def by_worker(self, given: Sequence["Future"]) -> list[int]:
        """Return the order in which parts of one worker stand side by side."""
        with cluster_failures():
            holders = self._client.who_has(list(given))
        places = [next(iter(holders.get(each.key, ())), "") for each in given]
        return sorted(range(len(places)), key=lambda number: (places[number], number))


def _chunks(items: list[Any], size: int) -> list[list[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


# What workers call. A part whose rows are refused has its refusal in its place.


def _add(*answers: Answer) -> Answer:
    return add_answers(answers)


def ask(held: HeldRows | Answer, question: bytes) -> Answer:
    """Ask rows."""
    return held if isinstance(held, Answer) else held.ask(unpacked(question))


def answer(held: HeldBins | Answer, request: bytes) -> Answer:
    """Ask bins, and what grows on them."""
    return held if isinstance(held, Answer) else held.answer(unpacked(request))


def bin_rows(held: HeldRows | Answer, how: bytes) -> HeldBins | Answer:
    """Replace values by bins."""
    if isinstance(held, Answer):
        return held
    cuts, for_draws = unpacked(how)
    return held.binned(cuts, for_draws=for_draws)


def scale_rows(held: HeldRows | Answer, factor: float) -> HeldRows | Answer:
    """Multiply weights."""
    return held if isinstance(held, Answer) else held.scaled(factor)
