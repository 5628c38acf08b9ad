"""Handing the work so far to banks that come in: sealed to the members, signed by all that stay.

A handover is the length of its head (4 bytes, big-endian), the head as JSON with the banks whose
rows are ``counted``, and the state after the step, as ``StepState.to_bytes``. It carries nothing
that an entrant decides by: neither with whom it computed before nor any rule.
"""

import hashlib
import json
import logging
from typing import TypedDict

from bank_node.http.client import wait_for
from bank_node.run.context import RunContext
from bank_node.run.job import S, Work
from bank_node.run.record import R
from fraudfed.consortium.model_seal import open_handover, seal_handover
from fraudfed.consortium.public.generations import sign_handover, verify_handover_signature
from fraudfed.errors import AuthError, KeyMaterialError, ProtocolError, StateError
from fraudfed.foreign_json import parse_foreign
from fraudfed.wire.messages import Generation, HandoverSignatures

_log = logging.getLogger(__name__)

#: Of the head; the names of a roster are far fewer.
_MOST_HEAD_BYTES = 64 * 1024


class _Place(TypedDict):
    """What a handover is for."""

    run_id: str
    epoch: int
    generation: int
    step: int


def hand_over(
    context: RunContext, generation: Generation, base: bytes, counted: tuple[str, ...]
) -> None:
    """Seal the work so far, and send it for the entrants of a generation.

    Parameters
    ----------
    base : bytes
        The state that the generation begins with.
    counted : tuple of str
        Banks whose rows its bounds hold for.

    Raises
    ------
    FraudFedError
        As the aggregator's answers say.
    """
    head = json.dumps({"counted": counted}, separators=(",", ":")).encode()
    sealed = seal_handover(
        len(head).to_bytes(4, "big") + head + base,
        holder=context.epoch.package,
        run_id=context.run_id,
        generation=generation.number,
    )
    signature = sign_handover(
        context.connection.identity,
        **_place(context, generation),
        sha256=hashlib.sha256(sealed).hexdigest(),
    )
    context.client.put_handover(context.run_id, generation.number, sealed, signature=signature)
    _log.info("handed the work so far to %s", ", ".join(generation.entrants))


def take_handover(
    context: RunContext, work: Work[S, R], generation: Generation
) -> tuple[bytes, tuple[str, ...]] | None:
    """Return base and counted banks; None if a later generation begins before they arrive.

    Raises
    ------
    KeyMaterialError
        If the handover does not open, or a bank that stays has not signed it: it is altered, of
        another generation or run, or a bank continues from another state.
    ProtocolError
        If it is malformed, or holds no state of this run or the state after another step.
    """
    run_id, number = context.run_id, generation.number
    found = wait_for(
        lambda wait: context.client.handover(run_id, number, wait_seconds=wait),
        seconds=context.options.cohort_timeout_seconds,
    )
    if found is None:
        return None
    signatures, sealed = found
    _check_signatures(context, generation, signatures, sealed)
    data = open_handover(sealed, holder=context.epoch.package, run_id=run_id, generation=number)
    base, counted = _read(data, run_id=run_id)
    # Before it is kept: this bank must never continue from what it cannot read.
    try:
        steps = work.decode(base).n_steps
    except StateError as error:
        raise ProtocolError(
            f"run {run_id}: the handover to generation {number} holds no state of this run "
            f"({error}); a bank of the run uses another release, or is at fault"
        ) from None
    if steps != generation.first_step:
        raise ProtocolError(
            f"run {run_id}: the handover to generation {number} is of step {steps}, expected "
            f"{generation.first_step}; a bank of the run is at fault"
        )
    _log.info("took over the work so far, %d bytes", len(data))
    return base, counted


def _check_signatures(
    context: RunContext, generation: Generation, signatures: HandoverSignatures, sealed: bytes
) -> None:
    """Refuse a handover that not every bank that stays has signed."""
    given = {one.bank: one.signature for one in signatures.signatures}
    staying = [bank for bank in generation.banks if bank not in generation.entrants]
    missing = [bank for bank in staying if bank not in given]
    if missing or not staying:
        raise KeyMaterialError(
            f"run {context.run_id}: the handover to generation {generation.number} is signed by "
            f"{', '.join(given) or 'nobody'}, {', '.join(missing) or 'nobody'} stays and has not "
            "signed it; nothing was sent: the aggregator or a bank is at fault"
        )
    keys = {member.name: member.signing_key for member in context.epoch.key_epoch.roster}
    sha256 = hashlib.sha256(sealed).hexdigest()
    for bank in staying:
        try:
            verify_handover_signature(
                keys[bank],
                given[bank],
                bank=bank,
                **_place(context, generation),
                sha256=sha256,
            )
        except AuthError as error:
            raise KeyMaterialError(f"{error}; nothing was sent") from None


def _place(context: RunContext, generation: Generation) -> _Place:
    return {
        "run_id": context.run_id,
        "epoch": context.epoch.key_epoch.epoch,
        "generation": generation.number,
        "step": generation.first_step,
    }


def _read(data: bytes, *, run_id: str) -> tuple[bytes, tuple[str, ...]]:
    end = 4 + int.from_bytes(data[:4], "big")
    try:
        counted = parse_foreign(data[4:end], most_bytes=_MOST_HEAD_BYTES)["counted"]
        return data[end:], tuple(str(name) for name in counted)
    except (ValueError, KeyError, TypeError):
        raise ProtocolError(
            f"run {run_id}: the handover is malformed; a bank of the run uses another release"
        ) from None
