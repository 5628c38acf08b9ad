"""A program that writes a bank's files until it is killed; says on stdout what it has done.

Usage: ``python -m tests.support.bank_files_child DIRECTORY SEED``. Each line is written, whole,
after the call that it names has returned: from then on the parent may hold the files to it.
"""

import hashlib
import os
import random
import sys
from pathlib import Path

from bank_node.state.checkpoints import Checkpoint, Checkpoints
from bank_node.state.outbox import Outbox
from bank_node.vault.vault import PlainVault

STATE_BYTES = 20_000


def digest(number: int) -> str:
    """Return the context of a round."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def make_checkpoint(step: int, seed: int) -> Checkpoint:
    """Return a checkpoint whose state follows from step and writer."""
    return Checkpoint(
        run_id="r1",
        bank="bank-a",
        step=step,
        generation=0,
        cohort=("bank-a",),
        first_step=0,
        first_round=0,
        round_number=3 * step,
        transcript=digest(step),
        facts_sha256=digest(0),
        data_sha256=digest(1),
        counted=("bank-a",),
        more_rows=0,
        exposed=(),
        state=random.Random(f"{seed} {step}").randbytes(STATE_BYTES),
    )


def opened(directory: Path) -> tuple[Outbox, Checkpoints]:
    """Open the files as a bank does."""
    return Outbox(directory / "sealed"), Checkpoints(
        directory / "checkpoints", run_id="r1", bank="bank-a", vault=PlainVault()
    )


def say(*words: object) -> None:
    """Tell the parent, in one write."""
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


def main(directory: Path, seed: int) -> None:
    """Go on where the files say, round by round, three rounds a step."""
    outbox, checkpoints = opened(directory)
    last = checkpoints.latest()
    step = 0 if last is None else last.step
    say("started", step)
    while True:
        for number in range(3 * step, 3 * step + 3):
            kept = outbox.find(digest(number))
            if kept is None:
                # Sealed anew by each program, so that a second contribution shows.
                frame = os.urandom(random.randrange(1, 30_000))
                outbox.keep(digest(number), frame, label="histogram", round_number=number)
            else:
                frame = kept.contribution
            say("sent", number, "-" if frame is None else hashlib.sha256(frame).hexdigest())
            outbox.keep_opening(digest(number), b"opening %d" % number)
        step += 1
        checkpoints.save(make_checkpoint(step, seed))
        say("saved", step, seed)
        outbox.forget_payloads()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
