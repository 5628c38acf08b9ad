"""Become another program, which the kernel tells to stop when the parent dies (run as a file).

A parent that is killed (``kill -9``) can stop nothing itself. prctl(2) of Linux, PR_SET_PDEATHSIG:
the signal survives execve(2), and comes when the *thread* that has started the program ends, so it
has to live as long. Elsewhere than on Linux the program is started all the same.

Its arguments are the process id of the parent and the command.
"""

import ctypes
import os
import signal
import sys

#: From linux/prctl.h.
_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Take the place of this process; nothing is started if the parent is gone already."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        # SIGTERM: a service finishes what it has begun, and ends children of its own.
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
