"""Telling the other banks why this one stops, without telling them anything about its rows.

Only a failure that no new start can cure ends the run for all. A bank that was stopped, has no room
on its disk, lost its way to the aggregator or is refused by it because a clock is wrong is started
again and continues. The others wait for it until the run's deadline, then continue without it.
"""

import logging

from bank_node.http.client import AggregatorClient
from bank_node.http.retry import RetryPolicy
from fraudfed.errors import (
    AuthError,
    CohortError,
    FraudFedError,
    ParameterError,
    ProtocolError,
    RunFailedError,
    ServerError,
    StateError,
    SumError,
    TransportError,
)

_log = logging.getLogger(__name__)

#: Their messages speak of public things only: rounds, labels, parameters, URLs.
_PUBLIC = (CohortError, ParameterError, ProtocolError, SumError, TransportError)
#: What a new start may cure, or is none of the others' business.
_RESUMABLE = (AuthError, CohortError, RunFailedError, ServerError, StateError, TransportError)
_PATIENCE_SECONDS = 5.0
_REASON_CHARACTERS = 500


def abort_reason(error: BaseException) -> str:
    """Return what the others may read: class and, if it holds nothing of this bank, message."""
    if isinstance(error, _PUBLIC):
        return f"{type(error).__name__}: {error}"[:_REASON_CHARACTERS]
    if isinstance(error, FraudFedError):
        return f"{type(error).__name__}: {error.title}; details stay at the bank"
    return f"unexpected {type(error).__name__}; details stay at the bank"


def can_be_resumed(error: BaseException) -> bool:
    """Tell whether the same command, started again, may continue the run."""
    return isinstance(error, (*_RESUMABLE, KeyboardInterrupt, SystemExit))


def tell_others(client: AggregatorClient, run_id: str, error: BaseException) -> None:
    """End the run for all if this bank can never continue; never raises a fraudfed error."""
    if can_be_resumed(error):
        return
    client.be_patient(RetryPolicy(patience_seconds=_PATIENCE_SECONDS))
    try:
        client.abort(run_id, abort_reason(error))
    except FraudFedError as failure:
        _log.warning("the other banks could not be told: %s", failure)
    else:
        _log.info("the other banks were told why this bank stops")
