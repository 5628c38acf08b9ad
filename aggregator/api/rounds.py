"""Rounds, in two exchanges: contribution in and product out, opening in and openings out.

A bank that sends its part may wait for the answer in the same request. After a broken connection,
or a wait that was too short, it asks for the answer alone. "All" are always the banks of the run's
generation: a bank outside it is told so (``cohort-changed``).
"""

from pydantic import Field

from aggregator.api.declare import Access, Endpoint, Exchange, WaitQuery
from aggregator.api.services import services
from aggregator.caller import Caller
from fraudfed.errors import (
    CiphertextError,
    CohortChangedError,
    ConflictError,
    NotFoundError,
    RunFailedError,
)
from fraudfed.http.server.declare import Binary, Endpoints
from fraudfed.wire.media_types import BINARY
from fraudfed.wire.messages import RoundReceipt

endpoints = Endpoints(Endpoint)


class ProductQuery(WaitQuery):
    """Query of a product."""

    shard: int = Field(
        ge=0,
        description="Index of a bank among the k of the run's generation: ciphertexts j with "
        "j mod k == shard.",
    )


@endpoints.add(
    method="POST",
    rule="/runs/<run_id>/rounds/<number:number>/contributions",
    summary="Contribute ciphertexts to the open round and wait for one's own shard of the product; "
    "the same bytes again change nothing.",
    access=Access.BANK,
    kind="contribution",
    reads=(BINARY,),
    query=WaitQuery,
    answers=(BINARY,),
    accepted=RoundReceipt,
    errors=(NotFoundError, CiphertextError, ConflictError, CohortChangedError, RunFailedError),
)
def contribute(caller: Caller, run_id: str, number: int, query: WaitQuery, body: bytes) -> Exchange:
    """Make it durable, then wait for the last contribution."""
    runs, bank, seconds = services().runs, caller.name, query.wait
    receipt = runs.contribute(run_id, number, caller, body)
    if not seconds:
        return Exchange(receipt, None)
    return Exchange(receipt, lambda: runs.product(run_id, number, bank, seconds=seconds))


@endpoints.add(
    method="GET",
    rule="/runs/<run_id>/rounds/<number:number>/product",
    summary="One shard of the product of all contributions, as a frame, until the round is closed.",
    access=Access.BANK,
    query=ProductQuery,
    answers=(BINARY,),
    empty="Not every bank of the generation has contributed yet.",
    errors=(NotFoundError, CohortChangedError, RunFailedError),
)
def product(caller: Caller, run_id: str, number: int, query: ProductQuery) -> Binary | None:
    """Wait for the last contribution."""
    frame = services().runs.product(
        run_id, number, caller.name, shard=query.shard, seconds=query.wait
    )
    return None if frame is None else Binary(frame)


@endpoints.add(
    method="POST",
    rule="/runs/<run_id>/rounds/<number:number>/openings",
    summary="Send the sealed opening of one's own shard and wait for all openings; "
    "the same bytes again change nothing.",
    access=Access.BANK,
    kind="opening",
    reads=(BINARY,),
    query=WaitQuery,
    answers=(BINARY,),
    accepted=RoundReceipt,
    errors=(NotFoundError, CiphertextError, ConflictError, CohortChangedError, RunFailedError),
)
def send_opening(
    caller: Caller, run_id: str, number: int, query: WaitQuery, body: bytes
) -> Exchange:
    """Make it durable, then wait for the last opening."""
    runs, bank, seconds = services().runs, caller.name, query.wait
    receipt = runs.open(run_id, number, caller, body)
    if not seconds:
        return Exchange(receipt, None)
    return Exchange(receipt, lambda: runs.openings(run_id, number, bank, seconds=seconds))


@endpoints.add(
    method="GET",
    rule="/runs/<run_id>/rounds/<number:number>/openings",
    summary="All openings in shard order: frames, each preceded by its length in 8 bytes.",
    access=Access.BANK,
    query=WaitQuery,
    answers=(BINARY,),
    empty="Not every bank of the generation has sent its opening yet.",
    errors=(NotFoundError, CohortChangedError, RunFailedError),
)
def openings(caller: Caller, run_id: str, number: int, query: WaitQuery) -> Binary | None:
    """Wait for the last opening."""
    joined = services().runs.openings(run_id, number, caller.name, seconds=query.wait)
    return None if joined is None else Binary(joined)
