"""Banks: invited by the operator, registered by themselves, seen by all members."""

from aggregator.api.declare import Access, Endpoint
from aggregator.api.services import services
from aggregator.caller import Caller
from aggregator.consortium.members import SignedNonce
from fraudfed.errors import (
    ConfirmationNeededError,
    ConflictError,
    ForbiddenError,
    KeyMaterialError,
    NotFoundError,
)
from fraudfed.http.server.declare import Endpoints
from fraudfed.wire.messages import (
    BankRegistration,
    Invite,
    InviteRequest,
    MemberKeys,
    MemberRemoval,
    Roster,
)

endpoints = Endpoints(Endpoint)


@endpoints.add(
    method="POST",
    rule="/invites",
    summary="Invite a bank by name; the code works once and is shown this once.",
    access=Access.OPERATOR,
    kind="invite",
    status=201,
    reads=InviteRequest,
    answers=Invite,
    errors=(ConflictError,),
)
def create_invite(caller: Caller, body: InviteRequest) -> Invite:
    """Keep only the hash of the code."""
    return services().members.invite(body, caller)


@endpoints.add(
    method="POST",
    rule="/banks",
    summary="Register an invited bank with its keys; signed with the key that it announces.",
    access=Access.CANDIDATE,
    kind="registration",
    status=201,
    reads=BankRegistration,
    answers=MemberKeys,
    errors=(ForbiddenError, ConflictError, KeyMaterialError),
)
def register_bank(caller: Caller, signed: SignedNonce, body: BankRegistration) -> MemberKeys:
    """Take the same registration again without effect, for a bank that missed the answer."""
    return services().members.register(body, caller, signed)


@endpoints.add(
    method="GET",
    rule="/roster",
    summary="The members of the consortium and their public keys.",
    access=Access.READER,
    answers=Roster,
)
def show_roster(caller: Caller) -> Roster:  # noqa: ARG001
    """Sorted by name, with all signed removals; a bank holds both against what it has pinned."""
    return services().members.roster()


@endpoints.add(
    method="POST",
    rule="/banks/<name>/removals",
    summary="Say, signed, that another bank has left; the same again changes nothing.",
    access=Access.BANK,
    kind="member-removal",
    status=201,
    reads=MemberRemoval,
    answers=Roster,
    errors=(NotFoundError, ConflictError, KeyMaterialError),
)
def sign_removal(caller: Caller, name: str, body: MemberRemoval) -> Roster:
    """Store it and show it to all. How many signatures count is each bank's own to decide."""
    return services().members.sign_removal(name, body, caller)


@endpoints.add(
    method="DELETE",
    rule="/banks/<name>",
    summary="Lock a bank out; its key epochs are superseded, the runs that wait for it end.",
    access=Access.OPERATOR,
    kind="removal",
    takes_two=True,
    answers=Roster,
    errors=(ConfirmationNeededError, NotFoundError),
)
def remove_bank(caller: Caller, name: str) -> Roster:
    """Answer the members that are left. To remove it again changes nothing.

    The other banks count it among the members until enough of them have signed its removal.
    """
    left = services().members.remove(name, caller)
    services().runs.end_runs_of(name, caller)
    return left
