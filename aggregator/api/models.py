"""Models: stored under the hash of their bytes once all that take part have submitted the same."""

import re

from flask import request

from aggregator.api.declare import Access, Endpoint
from aggregator.api.services import services
from aggregator.caller import Caller
from aggregator.run_machine import ModelHashes
from fraudfed.errors import (
    CohortChangedError,
    ConflictError,
    NotFoundError,
    ProtocolError,
    RunFailedError,
)
from fraudfed.http.server.declare import Binary, Endpoints, Header
from fraudfed.wire.media_types import BINARY, JSON
from fraudfed.wire.messages import (
    MODEL_PLAIN_HEADER,
    MODEL_SIGNATURE_HEADER,
    ModelReceipt,
    ModelSignatures,
    ModelVisibility,
)

endpoints = Endpoints(Endpoint)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")


@endpoints.add(
    method="PUT",
    rule="/runs/<run_id>/models/<sha256>",
    summary="Submit the model a bank ended with; accepted when all banks of the generation "
    "submitted the same.",
    access=Access.BANK,
    kind="model",
    reads=(JSON, BINARY),
    headers=(
        Header(
            name=MODEL_SIGNATURE_HEADER,
            required=True,
            pattern=_SIGNATURE.pattern,
            description="The bank's Ed25519 signature over run and plain model.",
        ),
        Header(
            name=MODEL_PLAIN_HEADER,
            required=False,
            pattern=_SHA256.pattern,
            description="SHA-256 of the plain model; needed if the body is a sealed one.",
        ),
    ),
    answers=ModelReceipt,
    errors=(NotFoundError, ConflictError, CohortChangedError, RunFailedError),
)
def submit_model(caller: Caller, run_id: str, sha256: str, body: bytes) -> ModelReceipt:
    """Fails the run when banks ended with different models."""
    if _SHA256.fullmatch(sha256) is None:
        raise ProtocolError(
            f"model address is {sha256[:80]!r}, expected a SHA-256 as 64 lower-case hexadecimal "
            "digits"
        )
    signature = _header(MODEL_SIGNATURE_HEADER, _SIGNATURE, None)
    plain = _header(MODEL_PLAIN_HEADER, _SHA256, sha256)
    model = ModelHashes(sha256, plain)
    return services().runs.submit_model(run_id, caller, model, signature, body)


@endpoints.add(
    method="GET",
    rule="/runs/<run_id>/model",
    summary="The accepted model: XGBoost JSON, or bytes sealed to the members.",
    access=Access.READER,
    answers=(JSON, BINARY),
    cached=True,
    errors=(NotFoundError, RunFailedError),
)
def download_model(caller: Caller, run_id: str) -> Binary:
    """Its ETag is its SHA-256."""
    sha256, content, visibility = services().runs.model(run_id, caller)
    media_type = BINARY if visibility is ModelVisibility.MEMBERS else JSON
    return Binary(content, media_type, etag=sha256)


@endpoints.add(
    method="GET",
    rule="/runs/<run_id>/model/signatures",
    summary="Every bank's signature over the accepted model.",
    access=Access.READER,
    answers=ModelSignatures,
    errors=(NotFoundError, RunFailedError),
)
def model_signatures(caller: Caller, run_id: str) -> ModelSignatures:
    """Kept with the model, whether that is sealed or not."""
    return services().runs.model_signatures(run_id, caller)


def _header(name: str, pattern: re.Pattern[str], default: str | None) -> str:
    value = request.headers.get(name, default)
    if value is None:
        raise ProtocolError(f"header {name} is missing; a model is submitted with its signature")
    if pattern.fullmatch(value) is None:
        raise ProtocolError(
            f"header {name} is {value[:80]!r}, expected lower-case hexadecimal digits matching "
            f"{pattern.pattern}"
        )
    return value
