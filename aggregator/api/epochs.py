"""Key epochs: announced by a steward bank, acknowledged by every bank of the roster."""

from aggregator.api.declare import Access, Endpoint
from aggregator.api.services import services
from aggregator.caller import Caller
from aggregator.runs import combine
from fraudfed.errors import ConflictError, KeyMaterialError, NotFoundError
from fraudfed.http.server.declare import Endpoints
from fraudfed.wire.messages import KeyAcknowledgement, KeyEpoch, KeyEpochStatus

endpoints = Endpoints(Endpoint)


@endpoints.add(
    method="POST",
    rule="/epochs",
    summary="Announce the next key epoch: a key package sealed to each current member.",
    access=Access.BANK,
    kind="key-epoch",
    status=201,
    reads=KeyEpoch,
    answers=KeyEpochStatus,
    errors=(ConflictError, KeyMaterialError),
)
def announce_epoch(caller: Caller, body: KeyEpoch) -> KeyEpochStatus:
    """Check roster, number, public key and the steward's signature, and store it."""
    combine.public_key(
        body.public_key,
        insecure_allow_small_keys=services().config.insecure_allow_small_keys,
    )
    return services().epochs.announce(body, caller)


@endpoints.add(
    method="GET",
    rule="/epochs/current",
    summary="The newest key epoch and who has acknowledged it.",
    access=Access.READER,
    answers=KeyEpochStatus,
    errors=(NotFoundError,),
)
def current_epoch(caller: Caller) -> KeyEpochStatus:  # noqa: ARG001
    """Also one that is still pending."""
    return services().epochs.status()


@endpoints.add(
    method="GET",
    rule="/epochs/<number:epoch>",
    summary="A key epoch and who has acknowledged it.",
    access=Access.READER,
    answers=KeyEpochStatus,
    errors=(NotFoundError,),
)
def show_epoch(caller: Caller, epoch: int) -> KeyEpochStatus:  # noqa: ARG001
    """Superseded ones stay on record."""
    return services().epochs.status(epoch)


@endpoints.add(
    method="POST",
    rule="/epochs/<number:epoch>/acknowledgements",
    summary="Acknowledge a key epoch, signed; the same again changes nothing.",
    access=Access.BANK,
    kind="acknowledgement",
    reads=KeyAcknowledgement,
    answers=KeyEpochStatus,
    errors=(NotFoundError, ConflictError, KeyMaterialError),
)
def acknowledge_epoch(caller: Caller, epoch: int, body: KeyAcknowledgement) -> KeyEpochStatus:
    """Make the epoch active when every bank of its roster has acknowledged it."""
    return services().epochs.acknowledge(epoch, body, caller)
