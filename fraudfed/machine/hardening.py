"""What a program does before it reads a secret: its memory goes neither to a file nor to others.

A core dump holds keys, rows and statistics, and outlives the process; so does what a debugger of
the same user reads. Root, and the swap of the machine, are for its operator (docs/operations.md).
"""

import ctypes
import resource

#: Of prctl(2), Linux.
_PR_SET_DUMPABLE = 4


def keep_memory_private() -> None:
    """Let no core be dumped and no process of the same user attach; children inherit both.

    What the system does not offer is left out: ``prctl`` is Linux's own.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
