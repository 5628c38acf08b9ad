"""Generations: banks agree to continue together, hand over the training, or are dropped."""

import re

from flask import request

from aggregator.api.declare import Access, Endpoint, WaitQuery
from aggregator.api.services import services
from aggregator.caller import Caller
from fraudfed.errors import (
    CohortChangedError,
    ConfirmationNeededError,
    ConflictError,
    KeyMaterialError,
    NotFoundError,
    ProtocolError,
    RunFailedError,
)
from fraudfed.http.server.declare import Binary, Endpoints, Header
from fraudfed.wire.media_types import BINARY
from fraudfed.wire.messages import (
    HANDOVER_SIGNATURE_HEADER,
    DropRequest,
    HandoverReceipt,
    Ready,
    RunStatus,
)

endpoints = Endpoints(Endpoint)

_SIGNATURE = re.compile(r"[0-9a-f]{128}")


@endpoints.add(
    method="POST",
    rule="/runs/<run_id>/generations/<number:generation>/banks",
    summary="Agree to take part in a generation; it begins when all of its banks have agreed.",
    access=Access.BANK,
    kind="ready",
    reads=Ready,
    answers=RunStatus,
    errors=(
        NotFoundError,
        ConflictError,
        CohortChangedError,
        KeyMaterialError,
        RunFailedError,
    ),
)
def become_ready(caller: Caller, run_id: str, generation: int, body: Ready) -> RunStatus:
    """Agree; the same again changes nothing."""
    return services().generations.become_ready(run_id, generation, caller, body)


@endpoints.add(
    method="POST",
    rule="/runs/<run_id>/generations/<number:generation>/refusals",
    summary="Decline a generation; banks that were not in the last one are turned away.",
    access=Access.BANK,
    kind="decline",
    answers=RunStatus,
    errors=(NotFoundError, ConflictError, CohortChangedError, RunFailedError),
)
def decline(caller: Caller, run_id: str, generation: int) -> RunStatus:
    """Decline; nothing changes if no bank could be turned away."""
    return services().generations.decline(run_id, generation, caller)


@endpoints.add(
    method="PUT",
    rule="/runs/<run_id>/generations/<number:generation>/handover",
    summary="Hand the training so far, sealed to the members, to those that enter a generation.",
    access=Access.BANK,
    kind="handover",
    reads=(BINARY,),
    headers=(
        Header(
            name=HANDOVER_SIGNATURE_HEADER,
            required=True,
            pattern=_SIGNATURE.pattern,
            description="The bank's Ed25519 signature over run, generation, step and handover.",
        ),
    ),
    answers=HandoverReceipt,
    errors=(NotFoundError, ConflictError, CohortChangedError, RunFailedError),
)
def put_handover(caller: Caller, run_id: str, generation: int, body: bytes) -> HandoverReceipt:
    """Every bank that stays sends the same bytes, signed; others are refused."""
    signature = request.headers.get(HANDOVER_SIGNATURE_HEADER)
    if signature is None or _SIGNATURE.fullmatch(signature) is None:
        raise ProtocolError(
            f"header {HANDOVER_SIGNATURE_HEADER} is {(signature or 'missing')[:80]!r}, expected "
            "the bank's signature over the handover, 128 lower-case hexadecimal digits"
        )
    return services().generations.put_handover(run_id, generation, caller, signature, body)


@endpoints.add(
    method="GET",
    rule="/runs/<run_id>/generations/<number:generation>/handover",
    summary="The training so far, sealed to the members, for those that enter a generation.",
    access=Access.BANK,
    query=WaitQuery,
    answers=(BINARY,),
    empty="Not every bank that stays has sent it yet.",
    errors=(NotFoundError, CohortChangedError, RunFailedError),
)
def handover(caller: Caller, run_id: str, generation: int, query: WaitQuery) -> Binary | None:
    """Wait until every bank that stays has sent it; the signatures of all stand in front."""
    found = services().generations.handover(run_id, generation, caller, seconds=query.wait)
    return None if found is None else Binary(found)


@endpoints.add(
    method="POST",
    rule="/runs/<run_id>/drops",
    summary="Go on without a bank, from the last step that all others have finished.",
    access=Access.OPERATOR,
    kind="drop",
    takes_two=True,
    reads=DropRequest,
    answers=RunStatus,
    errors=(ConfirmationNeededError, NotFoundError, ConflictError, RunFailedError),
)
def drop_bank(caller: Caller, run_id: str, body: DropRequest) -> RunStatus:
    """Form a generation of the other banks; the bank may come back."""
    return services().generations.drop(run_id, caller, body)
