"""An error as an RFC 9457 problem document."""

from fraudfed.errors import FraudFedError
from fraudfed.wire.messages import Problem


def problem_type(cls: type[FraudFedError]) -> str:
    """Return the ``type`` URI of an error class."""
    return f"urn:fraudfed:problem:{cls.slug}"


def problem_of(error: FraudFedError, *, status: int | None = None) -> Problem:
    """Return the document of an error; ``status`` replaces the class's own where HTTP says so."""
    return Problem(
        type=problem_type(type(error)),
        title=error.title,
        status=error.http_status if status is None else status,
        detail=str(error),
    )
