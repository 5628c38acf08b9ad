"""What a process of gunicorn needs before it serves."""

import ctypes
import logging
import resource
from typing import Any

from gunicorn.glogging import Logger

#: Descriptors that a worker asks for, as far as the machine allows: connections, files, database.
_DESCRIPTORS = 8192
#: Parameter of mallopt(3), from malloc.h.
_M_ARENA_MAX = -8


class QuietLogger(Logger):  # type: ignore[misc]  # gunicorn has no type hints
    """gunicorn's messages go where all others go; requests are logged by the application."""

    def setup(self, cfg: Any) -> None:
        """Leave the handlers alone."""
        self.cfg = cfg
        self.error_log.propagate = True
        # Starting and stopping is said by our own lines.
        self.error_log.setLevel(logging.WARNING)

    def access(self, *_arguments: Any) -> None:
        """Log nothing: the application does."""


def raise_descriptors() -> None:
    """Ask for as many descriptors as connections may need, within what the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def share_one_heap() -> None:
    """Let all threads take memory from one heap, where the C library can be told so (glibc).

    By default it gives threads heaps of their own, each of which keeps what a contribution needed
    once: the memory of a service would grow with the banks that it has served.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
