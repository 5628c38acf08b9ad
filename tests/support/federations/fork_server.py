"""Has imported ``bank-node`` and forks a process for each command: see ``bank_process``.

Run as a script with a socket as its standard input; over it come commands, each with the files for
output, for errors, and for the number of its process and how that ended.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable

from bank_node.cli import _COMMANDS, cli, main
from bank_node.jobs.registry import JOBS

_N_FILES = 3
_LONGEST_COMMAND = 1 << 16


def serve(commands: socket.socket) -> Callable[[], None]:
    """Fork for each command. Returns in the processes of commands only, what they have to do."""
    # Nobody waits for the processes between, so they leave no trace.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        body, files, _, _ = socket.recv_fds(commands, _LONGEST_COMMAND, _N_FILES)
        if not body:
            sys.exit()
        if os.fork() == 0:
            commands.close()
            if (program := _watched(json.loads(body), *files)) is not None:
                return program
            os._exit(0)
        for file in files:
            os.close(file)


def _watched(command: dict[str, str], out: int, err: int, told: int) -> Callable[[], None] | None:
    """Fork again; in the parent tell the child's number, and its status when it has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child:
        os.write(told, b"%d\n" % child)
        _, status = os.waitpid(child, 0)
        os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
        return None
    os.close(told)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, standard in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(ours, standard)
        os.close(ours)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(command["directory"])
    sys.argv = ["bank-node", *command["arguments"]]
    return main


if __name__ == "__main__":
    for name in _COMMANDS:
        assert cli.commands[name]
    assert all(JOBS.values())
    serve(socket.socket(fileno=os.dup(0)))()
