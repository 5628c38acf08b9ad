"""Generations: banks agree to continue together, hand over the training, or are dropped."""

from aggregator.api.declare import Access, Binary, Endpoints, WaitQuery
from aggregator.api.services import services
from aggregator.caller import Caller
from fraudfed.errors import (
    CohortChangedError,
    ConfirmationNeededError,
    ConflictError,
    NotFoundError,
    RunFailedError,
)
from fraudfed.wire.media_types import BINARY
from fraudfed.wire.messages import DropRequest, HandoverReceipt, Ready, RunStatus

endpoints = Endpoints()


@endpoints.add(
    method="POST",
    rule="/runs/<run_id>/generations/<number:generation>/banks",
    summary="Agree to take part in a generation; it begins when all of its banks have agreed.",
    access=Access.BANK,
    kind="ready",
    reads=Ready,
    answers=RunStatus,
    errors=(NotFoundError, ConflictError, CohortChangedError, RunFailedError),
)
def become_ready(caller: Caller, run_id: str, generation: int, body: Ready) -> RunStatus:
    """Agree; the same again changes nothing."""
    return services().generations.become_ready(run_id, generation, caller, body)


@endpoints.add(
    method="PUT",
    rule="/runs/<run_id>/generations/<number:generation>/handover",
    summary="Hand the training so far, sealed to the members, to those that enter a generation.",
    access=Access.BANK,
    kind="handover",
    reads=(BINARY,),
    answers=HandoverReceipt,
    errors=(NotFoundError, ConflictError, CohortChangedError, RunFailedError),
)
def put_handover(caller: Caller, run_id: str, generation: int, body: bytes) -> HandoverReceipt:
    """Every bank that took part before sends the same bytes; others are refused."""
    return services().generations.put_handover(run_id, generation, caller, body)


@endpoints.add(
    method="GET",
    rule="/runs/<run_id>/generations/<number:generation>/handover",
    summary="The training so far, sealed to the members, for those that enter a generation.",
    access=Access.BANK,
    query=WaitQuery,
    answers=(BINARY,),
    empty="No bank has sent it yet.",
    errors=(NotFoundError, CohortChangedError, RunFailedError),
)
def handover(caller: Caller, run_id: str, generation: int, query: WaitQuery) -> Binary | None:
    """Wait for the first bank that sends it."""
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
