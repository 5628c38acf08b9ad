"""Banks make themselves known."""

from aggregator.api.endpoint import Access, Endpoints, services
from fraudfed.errors import ConflictError
from fraudfed.wire.messages import BankRegistration, BankToken

__all__ = ["endpoints"]

endpoints = Endpoints("banks")


@endpoints.add(
    method="POST",
    rule="/banks",
    summary="Register a bank under a free name; its token is shown this once.",
    access=Access.ANYONE,
    status=201,
    reads=BankRegistration,
    answers=BankToken,
    errors=(ConflictError,),
)
def register_bank(body: BankRegistration) -> BankToken:
    """Names are first come, first served."""
    return services().runs.register_bank(body.name)
