"""What went wrong with a cluster, in one line; nothing of ``distributed`` reaches a user."""

import asyncio
import contextlib
from collections.abc import Iterator

from fraudfed.errors import ClusterError, ConfigurationError


def missing_extra(error: ImportError) -> ConfigurationError:
    """Return what to say where the packages of the extra are not installed."""
    return ConfigurationError(
        f"the Dask engine needs packages that are not installed here ({error.name}); install them "
        "with pip install 'fraudfed[dask]', or leave --engine dask out"
    )


def scheduler_gone() -> ClusterError:
    """Return what to say where the connection to a scheduler that was there is lost."""
    return ClusterError(
        "cluster: the scheduler has gone; what the banks have finished is kept, start it and give "
        "the same command again"
    )


@contextlib.contextmanager
def cluster_failures() -> Iterator[None]:
    """Turn what ``distributed`` raises while it works into one line.

    Raises
    ------
    ClusterError
    """
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise ClusterError(
            f"cluster: the worker ended {error.allowed_failures + 1} times at the same piece of "
            "work, most likely for want of memory; give the workers more memory, or smaller "
            "partitions"
        ) from error
    except (CancelledError, asyncio.CancelledError, CommClosedError) as error:
        raise scheduler_gone() from error
    except (TimeoutError, OSError) as error:
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        raise ClusterError(
            f"cluster: does not answer ({reason}); what the banks have finished is kept, see that "
            "scheduler and workers run and give the same command again"
        ) from error
