"""Threads that share the work on one bank's rows; they change no result."""

from fraudfed.boosting.engine.compiled import load_engine
from fraudfed.threads import MAX_THREADS, usable_cores


class Workers:
    """Up to so many threads for the compiled kernels, the calling one included.

    They are started when there is work for them, sleep in between, and end with this object. While
    one thread of the process uses them, the others do their work alone. NumPy uses none of them.

    Parameters
    ----------
    threads : int or None
        None is as many as the process may use cores.

    Raises
    ------
    ValueError
        If ``threads`` is not in 1 .. ``MAX_THREADS``.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = usable_cores() if threads is None else threads
        if not 1 <= self.threads <= MAX_THREADS:
            raise ValueError(f"threads is {self.threads}, expected 1 to {MAX_THREADS}")
        engine = load_engine()
        #: The pool of the kernels; None where NumPy must do.
        self.pool = None if engine is None else engine.new_workers(self.threads)
