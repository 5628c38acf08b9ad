"""Telling the other banks why this one stops, without telling them anything about its rows.

Only a failure that no new start can cure ends the run for all. A bank that was stopped, has no room
on its disk, lost its way to the aggregator or is refused by it because a clock is wrong is started
again and continues. The others wait for it until the run's deadline, then continue without it.

What the others see of a failure is when the bank stops, and one constant or silence. Neither may
depend on the bank's own rows. The constant is chosen by the exact class of the error, never by its
text; whatever the rows alone can cause shares one constant with every fault of the program. And
from joining to the result no error is raised because of the bank's own values: what a bank sums is
encoded as it is, and only the sum, which is the same at every bank, is checked. So ``SumError`` and
its kind ``BoundError`` tell the others what they have seen themselves, and share a constant.
"""

import logging

from bank_node.http.client import AggregatorClient
from bank_node.http.retry import RetryPolicy
from fraudfed.errors import (
    AuthError,
    BodyTooLargeError,
    BoundError,
    CiphertextError,
    ClusterError,
    CohortChangedError,
    CohortError,
    ConfigurationError,
    ConfirmationNeededError,
    ConflictError,
    DamagedError,
    DataError,
    ForbiddenError,
    FraudFedError,
    KeepOwnError,
    KeyMaterialError,
    LimitBrokenError,
    NotFoundError,
    OverloadedError,
    ParameterError,
    PrivacyBudgetError,
    ProtocolError,
    RateLimitedError,
    RunDescriptionError,
    RunFailedError,
    ServerError,
    StateError,
    SumError,
    TransportError,
    UnavailableError,
    UndecidedError,
    VersionError,
)
from fraudfed.reading.problems import ProblemsError
from fraudfed.wire.messages import AbortReason

_log = logging.getLogger(__name__)

#: What the others are told, by exact class; None if a new start may cure it: they wait. What is
#: not here ends the run as stopped.
_REASONS: dict[type[BaseException], AbortReason | None] = {
    FraudFedError: AbortReason.STOPPED,
    ConfigurationError: AbortReason.CONFIGURATION,
    ParameterError: AbortReason.CONFIGURATION,
    RunDescriptionError: AbortReason.CONFIGURATION,
    DataError: AbortReason.STOPPED,
    ProblemsError: AbortReason.STOPPED,
    KeyMaterialError: AbortReason.KEY,
    StateError: None,
    DamagedError: None,
    TransportError: None,
    UnavailableError: None,
    OverloadedError: None,
    RateLimitedError: None,
    AuthError: None,
    ForbiddenError: None,
    ConfirmationNeededError: None,
    ProtocolError: AbortReason.PROTOCOL,
    VersionError: AbortReason.PROTOCOL,
    CiphertextError: AbortReason.PROTOCOL,
    BodyTooLargeError: AbortReason.PROTOCOL,
    NotFoundError: AbortReason.PROTOCOL,
    ConflictError: AbortReason.PROTOCOL,
    SumError: AbortReason.SUM,
    BoundError: AbortReason.SUM,
    CohortError: None,
    CohortChangedError: None,
    RunFailedError: None,
    ServerError: None,
    KeepOwnError: AbortReason.STOPPED,
    UndecidedError: AbortReason.STOPPED,
    LimitBrokenError: AbortReason.STOPPED,
    PrivacyBudgetError: None,
    ClusterError: None,
    KeyboardInterrupt: None,
    SystemExit: None,
}
_PATIENCE_SECONDS = 5.0


def abort_reason(error: BaseException) -> AbortReason | None:
    """Return all that the others learn of a failure; None if they are told nothing and wait."""
    return _REASONS.get(type(error), AbortReason.STOPPED)


def tell_others(client: AggregatorClient, run_id: str, error: BaseException) -> None:
    """End the run for all if this bank can never continue; never raises a fraudfed error."""
    reason = abort_reason(error)
    if reason is None:
        return
    client.be_patient(RetryPolicy(patience_seconds=_PATIENCE_SECONDS))
    try:
        client.abort(run_id, reason)
    except FraudFedError as failure:
        _log.warning("the other banks could not be told: %s", failure)
    else:
        _log.info("the other banks were told that this bank stops: %s", reason)
