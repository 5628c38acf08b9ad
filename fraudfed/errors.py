"""All errors a user can meet, in one tree.

::

    FraudFedError                      exit  http
      |- ConfigurationError             2    400   option, parameter or file of settings is wrong
      |    |- ParameterError            2    400   a training parameter is unknown or out of range
      |    '- RunDescriptionError       2    422   a run that no bank could take part in
      |- DataError                      3    422   rows do not meet the data contract
      |- KeyMaterialError               4    422   key file unreadable, too small, or another key
      |- StateError                     5    409   state or output directory unusable, or foreign
      |    '- DamagedError               5    500   the aggregator's database is damaged
      |- TransportError                 6    503   aggregator not reachable, or the connection broke
      |    '- UnavailableError           6    503   aggregator cannot serve now, ask again later
      |         |- OverloadedError       6    503   more requests at once than it takes
      |         '- RateLimitedError      6    429   more requests of one sender than it takes
      |- AuthError                      7    401   token missing or unknown
      |    '- ForbiddenError            7    403   known, but not allowed to do this
      |         '- ConfirmationNeededError  7   403   another operator has to confirm it
      |- ProtocolError                  8    400   a message that is malformed or out of place
      |    |- VersionError              8    400   a message of another protocol version
      |    |- CiphertextError           8    422   truncated or malformed ciphertext array
      |    |- BodyTooLargeError         8    413   request body above the aggregator's limit
      |    |- NotFoundError             8    404   no such run, round or model
      |    '- ConflictError             8    409   contradicts what was accepted before
      |- SumError                       9    409   a secure sum that did not open to a number
      |    '- BoundError                9    422   a value outside its public bound
      |- CohortError                   10    409   too few banks
      |    '- CohortChangedError       10    409   other banks take part now; continue with them
      |- RunFailedError                11    409   the run was ended by a bank or the operator
      |- ServerError                   12    500   unexpected failure inside the aggregator
      |- KeepOwnError                  13    422   a gate: this bank's own model is better
      |- UndecidedError                14    422   a gate: too little is known to decide
      |- LimitBrokenError              15    422   a gate: the model does not reach a limit
      |- PrivacyBudgetError            16    422   a bank's rows have no privacy budget left for it
      '- ClusterError                  17    503   the Dask cluster is gone, or its workers unfit

A message says what, what it got, what it expected, and what to do, on one line. Its twin
``what_to_do`` says the last alone, for ``--json``: in general for the class, or as the place that
raises knows better.
``exit_code`` is the exit code of every command that ends with the error; ``http_status`` and
``slug`` make the RFC 9457 problem document (``type`` is ``urn:fraudfed:problem:<slug>``).
"""

from typing import ClassVar


class FraudFedError(Exception):
    """Base of every error that fraudfed raises on purpose.

    Parameters
    ----------
    message : str
    what_to_do : str, optional
        Follows the message, and replaces the general advice of the class.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    slug: ClassVar[str] = "error"
    title: ClassVar[str] = "fraudfed error"
    what_to_do: str = "Read the message; it names what is wrong."

    def __init__(self, message: str, *, what_to_do: str | None = None) -> None:
        super().__init__(message if what_to_do is None else f"{message}; {what_to_do}")
        if what_to_do is not None:
            self.what_to_do = what_to_do


class ConfigurationError(FraudFedError):
    """A command-line option, a settings file or a run description is wrong."""

    exit_code = 2
    http_status = 400
    slug = "configuration"
    title = "Configuration is wrong"
    what_to_do = "Correct the option, parameter or settings file that the message names."


class ParameterError(ConfigurationError, ValueError):
    """A training parameter is unknown or out of its range."""

    slug = "parameter"
    title = "Training parameter is wrong"
    what_to_do = "Correct the training parameter; docs/parameters.md lists all with their ranges."


class RunDescriptionError(ConfigurationError):
    """A run's description contradicts itself, or asks for what no bank could give."""

    http_status = 422
    slug = "run-description"
    title = "Run cannot work as it is described"
    what_to_do = "Correct what the message names in the run's description, and open the run then."


class DataError(FraudFedError, ValueError):
    """Rows do not meet the data contract; names file, row, column, value and expectation."""

    exit_code = 3
    http_status = 422
    slug = "data"
    title = "Data do not meet the contract"
    what_to_do = "Correct the rows or columns that the message names, and start the command again."


class KeyMaterialError(FraudFedError):
    """A key file is missing, unreadable, too small, or belongs to another consortium."""

    exit_code = 4
    http_status = 422
    slug = "key"
    title = "Key cannot be used"
    what_to_do = "Give the right key file or passphrase, or restore the key from a backup."


class StateError(FraudFedError):
    """A state or output directory cannot be used as it is."""

    exit_code = 5
    http_status = 409
    slug = "state"
    title = "State directory cannot be used"
    what_to_do = "Make the directory usable or name another one; never edit its files by hand."


class DamagedError(StateError):
    """The aggregator's database is damaged; nothing is written into it any more."""

    http_status = 500
    slug = "damaged"
    title = "Database of the aggregator is damaged"
    what_to_do = "Stop the aggregator and restore its database from a backup (docs/operations.md)."


class TransportError(FraudFedError):
    """The aggregator could not be reached, or the connection broke and retries were used up."""

    exit_code = 6
    http_status = 503
    slug = "transport"
    title = "Aggregator not reachable"
    what_to_do = "Check the address, the network and that the aggregator runs; then try again."


class UnavailableError(TransportError):
    """The aggregator cannot serve now (it is stopping, or its database fails): ask again later.

    Attributes
    ----------
    retry_after_seconds : int
        How long to hold off; sent as ``Retry-After``.
    """

    slug = "unavailable"
    title = "Aggregator cannot serve now"
    what_to_do = "Wait a moment and try again."

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class OverloadedError(UnavailableError):
    """The aggregator has as many requests as it takes at once: ask again later."""

    slug = "overloaded"
    title = "Aggregator is overloaded"
    what_to_do = "Wait a moment and try again; if it lasts, the operator raises the limits."


class RateLimitedError(UnavailableError):
    """The sender has sent more requests than the aggregator takes of one: slow down."""

    http_status = 429
    slug = "rate-limited"
    title = "Too many requests"
    what_to_do = "Wait a moment and send fewer requests."


class AuthError(FraudFedError):
    """No token was sent, or one the aggregator does not know."""

    exit_code = 7
    http_status = 401
    slug = "authentication"
    title = "Not authenticated"
    what_to_do = "Give a valid token or invite, and check that the clock of this machine is right."


class ForbiddenError(AuthError):
    """The caller is known but may not do this."""

    http_status = 403
    slug = "forbidden"
    title = "Not allowed"
    what_to_do = "Ask the operator for the right to do this, or use a token that has it."


class ConfirmationNeededError(ForbiddenError):
    """An operator has asked for what takes two; it happens when another one sends the same."""

    slug = "confirmation-needed"
    title = "Another operator has to confirm"
    what_to_do = "Let another operator, with another token, send the same request within a day."


class ProtocolError(FraudFedError):
    """A message that is malformed or does not belong here."""

    exit_code = 8
    http_status = 400
    slug = "protocol"
    title = "Message cannot be accepted"
    what_to_do = "Check the request against docs/api.md, and that both sides run the same release."


class VersionError(ProtocolError):
    """A message of another protocol version."""

    slug = "version"
    title = "Message of another protocol version"
    what_to_do = "Install the same release of fraudfed on both sides."


class CiphertextError(ProtocolError, ValueError):
    """A ciphertext array that is truncated, malformed or out of range."""

    http_status = 422
    slug = "ciphertext"
    title = "Ciphertext array cannot be accepted"
    what_to_do = "Start the command again; if it repeats, report it with both sides' logs."


class BodyTooLargeError(ProtocolError):
    """A request body above the aggregator's limit."""

    http_status = 413
    slug = "body-too-large"
    title = "Request body is too large"
    what_to_do = "Send less at once, or ask the operator to raise max_body_bytes."


class NotFoundError(ProtocolError):
    """No such run, round, model or endpoint."""

    http_status = 404
    slug = "not-found"
    title = "Not found"
    what_to_do = "Check the name; the list commands show what there is."


class ConflictError(ProtocolError):
    """Contradicts something that was accepted before."""

    http_status = 409
    slug = "conflict"
    title = "Contradicts what was accepted before"
    what_to_do = "Compare both sides: look at the status of what the message names, then decide."


class SumError(FraudFedError):
    """A secure sum did not open to a number."""

    exit_code = 9
    http_status = 409
    slug = "sum"
    title = "Secure sum did not open"
    what_to_do = "Do not trust this run's result; compare the audit logs of all banks."


class BoundError(SumError, ValueError):
    """A value lies outside the public bound of its slot."""

    http_status = 422
    slug = "bound"
    title = "Value outside its public bound"
    what_to_do = "Report the message: a value was outside the bound that the banks agreed on."


class CohortError(FraudFedError):
    """Fewer banks than the rules allow."""

    exit_code = 10
    http_status = 409
    slug = "cohort"
    title = "Cohort is too small"
    what_to_do = "Wait until enough banks take part, then start the command again."


class CohortChangedError(CohortError):
    """Other banks take part in the run now than the sender of a message believes.

    A bank node agrees to the new generation, or rejoins, and continues.
    """

    slug = "cohort-changed"
    title = "Other banks take part now"
    what_to_do = "Start the command again; it continues with the banks that take part now."


class RunFailedError(FraudFedError):
    """The run was ended by a bank or the operator; the message gives the cause."""

    exit_code = 11
    http_status = 409
    slug = "run-failed"
    title = "Run has failed"
    what_to_do = "Settle the cause with the operator; then the operator opens a new run."


class ServerError(FraudFedError):
    """A service met a failure it has no better name for."""

    exit_code = 12
    http_status = 500
    slug = "server"
    title = "Unexpected failure in the aggregator"
    what_to_do = "Look into the service's log, or ask its operator to; then try again."


class KeepOwnError(FraudFedError):
    """A gate that was asked for found this bank's own model better than the shared one."""

    exit_code = 13
    http_status = 422
    slug = "keep-own"
    title = "Own model is better"
    what_to_do = "Deploy this bank's own model, or an adapted one that the evaluation names."


class UndecidedError(FraudFedError):
    """A gate that was asked for cannot tell which model is better."""

    exit_code = 14
    http_status = 422
    slug = "undecided"
    title = "Models cannot be told apart"
    what_to_do = "Score with the shared model beside your own, and evaluate again with more cases."


class LimitBrokenError(FraudFedError):
    """The shared model does not reach a limit of ``gate.toml``."""

    exit_code = 15
    http_status = 422
    slug = "limit-broken"
    title = "Model does not reach a limit"
    what_to_do = "Do not deploy the shared model before a person has looked at the limit."


class PrivacyBudgetError(FraudFedError):
    """The rows of a run have less of this bank's privacy budget left than the run costs."""

    exit_code = 16
    http_status = 422
    slug = "privacy-budget"
    title = "Privacy budget is used up"
    what_to_do = (
        "Take part with rows of other days, or in a run with a smaller epsilon; what was revealed "
        "is never refunded."
    )


class ClusterError(FraudFedError):
    """The Dask cluster cannot be reached, has gone, or its workers cannot do the work."""

    exit_code = 17
    http_status = 503
    slug = "cluster"
    title = "Dask cluster cannot be used"
    what_to_do = (
        "See that scheduler and workers run, then give the same command again: it continues where "
        "it stopped."
    )


def error_classes() -> dict[str, type[FraudFedError]]:
    """Return every class of the tree by its ``slug``.

    A class without a slug of its own is a private detail: its parent stands for it.
    """
    found: dict[str, type[FraudFedError]] = {}
    pending: list[type[FraudFedError]] = [FraudFedError]
    while pending:
        cls = pending.pop()
        if "slug" in vars(cls):
            found[cls.slug] = cls
        pending.extend(cls.__subclasses__())
    return found
