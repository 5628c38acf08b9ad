"""The facts that begin a generation's transcript: what every bank must have been told alike."""

import hashlib
import json

from bank_node.state.pinned_run import PinnedRun
from fraudfed.consortium.public.documents import key_epoch_digest
from fraudfed.wire.messages import Generation, KeyEpoch


def run_facts(
    run: PinnedRun, key_epoch: KeyEpoch, generation: Generation, *, base: bytes, more_rows: int
) -> bytes:
    """Return what every bank must have been told alike, in one encoding.

    Law: no sum opens between two banks whose facts differ, since the facts enter the context of
    every round. They differ if the banks were shown different descriptions of the run, different
    key epochs under one number, different sets of banks or different answers of a bank, or continue
    from different states.

    Parameters
    ----------
    base : bytes
        The work so far, as ``StepState.to_bytes``; empty at the beginning.
    more_rows : int
        Upper bound of the rows of banks that rejoin now and were never counted.
    """
    facts = {
        "run": run.model_dump(mode="json"),
        "generation": generation.number,
        "banks": generation.banks,
        "first_step": generation.first_step,
        "first_round": generation.first_round,
        "entrants": generation.entrants,
        "ready": [(one.bank, one.step, one.more_rows, one.key) for one in generation.ready],
        "base": hashlib.sha256(base).hexdigest(),
        "more_rows": more_rows,
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return b"fraudfed run v3\0" + text.encode() + bytes.fromhex(key_epoch_digest(key_epoch))
