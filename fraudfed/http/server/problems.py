"""Every error of a service as one RFC 9457 problem document."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import quote

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from fraudfed.errors import (
    AuthError,
    BodyTooLargeError,
    DamagedError,
    ForbiddenError,
    FraudFedError,
    NotFoundError,
    ProtocolError,
    ServerError,
    UnavailableError,
)
from fraudfed.wire.media_types import PROBLEM
from fraudfed.wire.messages import Problem

_log = logging.getLogger(__name__)

#: Titles that another service than the aggregator has for some classes of errors.
Titles = Mapping[type[FraudFedError], str]


def problem_type(cls: type[FraudFedError]) -> str:
    """Return the ``type`` URI of an error class."""
    return f"urn:fraudfed:problem:{cls.slug}"


def title_of(cls: type[FraudFedError], titles: Titles) -> str:
    """Return the title of an error class at a service with these ``titles``."""
    return titles.get(cls, cls.title)


def problem_of(
    error: FraudFedError, *, status: int | None = None, titles: Titles | None = None
) -> Problem:
    """Return the document of an error; ``status`` replaces the class's own where HTTP says so."""
    return Problem(
        type=problem_type(type(error)),
        title=title_of(type(error), titles or {}),
        status=error.http_status if status is None else status,
        detail=str(error),
    )


def _see_description(_path: str) -> str:
    return "see /v1/openapi.json"


@dataclass(frozen=True, kw_only=True)
class Refusing:
    """How a service says no.

    Attributes
    ----------
    count : callable
        Told the slug of every problem document.
    titles : mapping
        Of errors whose own title is another service's.
    challenge : mapping of str to str
        Headers that say how to authenticate.
    advice : callable
        What to do about an unknown path.
    """

    count: Callable[[str], None]
    titles: Titles = field(default_factory=dict)
    challenge: Mapping[str, str] = field(default_factory=lambda: {"WWW-Authenticate": "Bearer"})
    advice: Callable[[str], str] = _see_description

    def install(self, app: Flask) -> None:
        """Answer every error of the application with a problem document."""
        app.register_error_handler(FraudFedError, self._fraudfed_error)
        app.register_error_handler(HTTPException, self._http_error)
        app.register_error_handler(Exception, self._unexpected_error)

    def _fraudfed_error(self, error: FraudFedError) -> Response:
        response = self._respond(problem_of(error, titles=self.titles))
        if isinstance(error, DamagedError) or type(error) is UnavailableError:
            # What the database or the disk said is for the operator, not for the caller.
            _log.error("request %s: %s: %s", g.get("request_id", "-"), error, _cause(error))
        if isinstance(error, UnavailableError):
            response.headers["Retry-After"] = str(error.retry_after_seconds)
        if isinstance(error, AuthError) and not isinstance(error, ForbiddenError):
            response.headers.update(self.challenge)
        return response

    def _http_error(self, error: HTTPException) -> Response:
        """Translate what Flask itself refuses: unknown address, method, media type, body."""
        status = error.code or ServerError.http_status
        where = f"{request.method} {quote(request.path)}"
        match status:
            case HTTPStatus.NOT_FOUND:
                document = self._problem(
                    NotFoundError(f"{where}: no such address; {self.advice(request.path)}")
                )
            case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                return self._fraudfed_error(BodyTooLargeError(f"{where}: {error.description}"))
            case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return self._unexpected_error(error)
            case _:
                refused = ProtocolError(f"{where}: {error.description}")
                document = self._problem(refused, status=status)
        response = self._respond(document)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            response.headers["Allow"] = dict(error.get_headers()).get("Allow", "")
        return response

    def _unexpected_error(self, error: Exception) -> Response:
        _log.error("request %s failed unexpectedly", g.get("request_id", "-"), exc_info=error)
        return self._respond(
            self._problem(
                ServerError(
                    f"{request.method} {quote(request.path)} failed unexpectedly; nothing was "
                    f"stored; tell the operator request id {g.get('request_id', '-')}"
                )
            )
        )

    def _problem(self, error: FraudFedError, *, status: int | None = None) -> Problem:
        return problem_of(error, status=status, titles=self.titles)

    def _respond(self, document: Problem) -> Response:
        self.count(document.type.rpartition(":")[2])
        response = Response(
            document.model_copy(
                update={"instance": f"urn:fraudfed:request:{g.get('request_id', '-')}"}
            ).model_dump_json(),
            status=document.status,
            content_type=PROBLEM,
        )
        announced = request.content_length or request.headers.get("Transfer-Encoding")
        if announced and not g.get("body_received", False):
            # A body that is not read is not waited for either: no other request can follow it.
            response.headers["Connection"] = "close"
        return response


def _cause(error: FraudFedError) -> str:
    """Return the first line of what the driver or the system said."""
    cause = error.__cause__
    lines = str(getattr(cause, "orig", None) or cause or "").strip().splitlines()
    return lines[0] if lines else "no cause"
