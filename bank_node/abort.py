"""Telling the other banks why this one stops, without telling them anything about its rows."""

import logging

from bank_node.client import AggregatorClient
from bank_node.retry import RetryPolicy
from fraudfed.errors import (
    CohortError,
    FraudFedError,
    ParameterError,
    ProtocolError,
    RunFailedError,
    SumError,
    TransportError,
)

__all__ = ["abort_reason", "tell_others"]

_log = logging.getLogger(__name__)

#: Their messages speak of public things only: rounds, labels, parameters, URLs.
_PUBLIC = (CohortError, ParameterError, ProtocolError, SumError, TransportError)
_PATIENCE_SECONDS = 5.0
_REASON_CHARACTERS = 500


def abort_reason(error: BaseException) -> str:
    """Return what the others may read: class and, if it holds nothing of this bank, message."""
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return "stopped by its operator"
    if isinstance(error, _PUBLIC):
        return f"{type(error).__name__}: {error}"[:_REASON_CHARACTERS]
    if isinstance(error, FraudFedError):
        return f"{type(error).__name__}: {error.title}; details stay at the bank"
    return f"unexpected {type(error).__name__}; details stay at the bank"


def tell_others(client: AggregatorClient, run_id: str, error: BaseException) -> None:
    """End the run for all, so that nobody waits for this bank; never raises a fraudfed error."""
    if isinstance(error, RunFailedError):
        return
    client.be_patient(RetryPolicy(patience_seconds=_PATIENCE_SECONDS))
    try:
        client.abort(run_id, abort_reason(error))
    except FraudFedError as failure:
        _log.warning("the other banks could not be told: %s", failure)
    else:
        _log.info("the other banks were told why this bank stops")
