"""A program that changes the life cycle of models, killed before each step of its writing in turn.

Usage: ``python -m tests.support.killed_models_child STATE WORK COMMAND...``. For each number it
copies STATE to ``WORK/NUMBER`` and forks a process that types ``bank-node models COMMAND`` there
and sends itself SIGKILL before the step of that number. It ends after the first process that ends
by itself, and prints what each ended with: ``killed``, or an exit code.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bank_node.cli import main

#: Calls that change what is on disk, or make it last.
_STEPS = ("open", "write", "replace", "rename", "mkdir", "fsync", "fdatasync", "link", "unlink")


def kill_before(number: int) -> None:
    """Let this process die before so many of its steps."""
    left = [number]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return call(*arguments, **options)

        return step

    for name in _STEPS:
        setattr(os, name, counted(getattr(os, name)))


def attempt(state: Path, number: int, command: list[str]) -> str:
    """Return how a process ended that was to die before a step."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv = ["bank-node", "models", command[0], "--state", str(state), *command[1:]]
        kill_before(number)
        try:
            main()
        except SystemExit as end:
            os._exit(end.code if isinstance(end.code, int) else 0)
        os._exit(70)
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else str(os.waitstatus_to_exitcode(status))


def run(state: Path, work: Path, command: list[str]) -> None:
    """Kill at every step."""
    for number in range(1000):
        ended = attempt(Path(shutil.copytree(state, work / str(number))), number, command)
        print(ended, flush=True)
        if ended != "killed":
            return


if __name__ == "__main__":
    import bank_node.lifecycle.changes
    import bank_node.policy.policy_file  # noqa: F401

    run(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
