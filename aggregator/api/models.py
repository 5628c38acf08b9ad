"""Models: stored under the hash of their bytes once every bank has submitted the same."""

import re

from aggregator.api.endpoint import JSON, Access, Binary, Endpoints, services
from aggregator.auth import Principal
from fraudfed.errors import ConflictError, NotFoundError, ProtocolError, RunFailedError
from fraudfed.wire.messages import ModelReceipt

__all__ = ["endpoints"]

endpoints = Endpoints("models")

_SHA256 = re.compile(r"[0-9a-f]{64}")


@endpoints.add(
    method="PUT",
    rule="/runs/<run_id>/models/<sha256>",
    summary="Submit the model a bank ended with; accepted when all banks submitted the same.",
    access=Access.BANK,
    reads=JSON,
    answers=ModelReceipt,
    errors=(NotFoundError, ConflictError, RunFailedError),
)
def submit_model(caller: Principal, run_id: str, sha256: str, body: bytes) -> ModelReceipt:
    """Fails the run when banks ended with different models."""
    if _SHA256.fullmatch(sha256) is None:
        raise ProtocolError(
            f"model address is {sha256[:80]!r}, expected a SHA-256 as 64 lower-case hexadecimal "
            "digits"
        )
    return services().runs.submit_model(run_id, caller.name, sha256, body)


@endpoints.add(
    method="GET",
    rule="/runs/<run_id>/model",
    summary="The accepted model, XGBoost JSON.",
    access=Access.CALLER,
    answers=JSON,
    cached=True,
    errors=(NotFoundError, RunFailedError),
)
def download_model(caller: Principal, run_id: str) -> Binary:
    """Its ETag is its SHA-256."""
    sha256, content = services().runs.model(run_id, caller)
    return Binary(content, JSON, etag=sha256)
