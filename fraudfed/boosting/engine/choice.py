"""Which engine does the work: the one place that decides."""

from fraudfed.boosting.engine.compiled import CompiledEngine
from fraudfed.boosting.engine.numpy_engine import NumpyEngine
from fraudfed.boosting.engine.protocol import Engine
from fraudfed.machine.native import load_native
from fraudfed.machine.threads import MAX_THREADS, usable_cores


def load_engine(threads: int | None = None) -> Engine:
    """Return the compiled engine, or NumPy where its kernels are missing or switched off.

    A caller cannot ask for one of them: ``FRAUDFED_NO_EXT=1`` switches the kernels of the whole
    process off. Functions that take an engine take any.

    Parameters
    ----------
    threads : int or None
        Threads of the compiled kernels, the calling one included; None is as many as the process
        may use cores. NumPy uses one.

    Raises
    ------
    ValueError
        If ``threads`` is not in 1 .. ``MAX_THREADS``.
    """
    threads = usable_cores() if threads is None else threads
    if not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"threads is {threads}, expected 1 to {MAX_THREADS}")
    native = load_native("fraudfed.boosting.engine._engine")
    if native.module is None:
        return NumpyEngine(native.reason)
    return CompiledEngine(native.module, threads)
