"""Pieces of one sum that are under way at once: one travels, the next is made, the last is read.

Law: what ``next`` gives, and what is done with it, is what it would be one after the other. Only
when something is computed differs, never what leaves this bank: the thread here sends and keeps
nothing.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

P = TypeVar("P")
R = TypeVar("R")


class UnderWay(Generic[P, R]):
    """One thread beside the caller's; a context manager that ends it.

    Parameters
    ----------
    prepare : callable
        Makes the piece of an index, in the thread.
    count : int
        Pieces, at least one.
    drop : callable
        Given, in the caller's thread, a piece that was made and never asked for: the block ended
        before its turn.
    """

    def __init__(self, prepare: Callable[[int], P], count: int, *, drop: Callable[[P], None]):
        self._prepare, self._count, self._drop = prepare, count, drop
        # One worker: what is to be read goes before what is to be made after it.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="pieces")
        self._made = 0
        self._ahead: Future[P] | None = None
        self._behind: tuple[Future[R], Callable[[R], None]] | None = None

    def __enter__(self) -> Self:
        """Begin with the first piece."""
        self._make_next()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Settle what is left if all went well, and end the thread."""
        try:
            if error is None:
                self.settle()
        finally:
            self._worker.shutdown(cancel_futures=True)
            ahead, self._ahead = self._ahead, None
            if ahead is not None and not ahead.cancelled() and ahead.exception() is None:
                self._drop(ahead.result())

    def next(self) -> P:
        """Return the next piece when it is made, and let the one after it be made meanwhile.

        Raises
        ------
        BaseException
            What ``prepare`` raises.
        """
        if self._ahead is None:
            raise IndexError(f"all {self._count} pieces were given")
        ahead, self._ahead = self._ahead, None
        piece = ahead.result()
        self._make_next()
        return piece

    def later(self, work: Callable[[], R], then: Callable[[R], None]) -> None:
        """Do ``work`` in the thread, and ``then`` in the caller's when it settles."""
        self.settle()
        self._behind = self._worker.submit(work), then

    def settle(self) -> None:
        """Wait for what was to be done later; nothing if there is none.

        Raises
        ------
        BaseException
            What the work raises.
        """
        behind, self._behind = self._behind, None
        if behind is not None:
            work, then = behind
            then(work.result())

    def _make_next(self) -> None:
        if self._made < self._count:
            self._ahead = self._worker.submit(self._prepare, self._made)
            self._made += 1
