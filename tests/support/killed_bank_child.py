"""A bank as a process of its own that is killed when all of a contribution is written down.

Usage: ``python -m tests.support.killed_bank_child N ARGUMENTS...``: ``bank-node ARGUMENTS``, killed
by SIGKILL where it would send its N-th contribution; 1 is the first. What is sealed for that lies
on disk, and nothing of it was sent.
"""

import os
import signal
import sys

from bank_node.cli import main
from bank_node.http.client import AggregatorClient


def killed_at(number: int) -> None:
    """Let this process be killed where it would send a contribution of this number."""
    send, sent = AggregatorClient.contribute, 0

    def contribute(client: AggregatorClient, frame: bytes, *, wait_seconds: float):
        nonlocal sent
        sent += 1
        if sent == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return send(client, frame, wait_seconds=wait_seconds)

    AggregatorClient.contribute = contribute


if __name__ == "__main__":
    killed_at(int(sys.argv[1]))
    sys.argv[1:] = sys.argv[2:]
    main()
