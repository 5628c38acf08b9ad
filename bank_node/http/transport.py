"""HTTP as a bank uses it: signed, written down, repeated, and never in the clear.

Every request of a bank is signed with its Ed25519 key (RFC 9421) and stands in its audit log before
it leaves. A request without an answer is sent again until the patience is used up, each time under
a signature, time and nonce of its own: an aggregator refuses what it has seen.
"""

import contextlib
import http.client
import logging
import math
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

from bank_node.config import TlsFiles
from bank_node.http.retry import RetryPolicy
from bank_node.state.audit_log import AuditLog
from fraudfed import __version__
from fraudfed.consortium.public.documents import Signer
from fraudfed.consortium.public.signatures import read_content_digest, sign_request
from fraudfed.errors import (
    ConfigurationError,
    FraudFedError,
    ProtocolError,
    ServerError,
    TransportError,
    error_classes,
)
from fraudfed.foreign_text import visible
from fraudfed.http.address import check_url
from fraudfed.http.connections import Answer, HttpConnections
from fraudfed.http.failures import is_final, reason_of, refused_in_between, unreachable
from fraudfed.http.route import Route
from fraudfed.http.trust import Trust, read_trust
from fraudfed.wire.media_types import BINARY, JSON, PROBLEM
from fraudfed.wire.messages import Problem, parse

_log = logging.getLogger(__name__)

#: Answers for people and settings of runs: a key epoch of fifty banks has a tenth of it.
MESSAGE_BYTES = 2 * 1024 * 1024
#: A longer pause than this is the run's to decide on, whatever the aggregator asks for.
_MOST_HOLD_OFF_SECONDS = 3600.0
#: The aggregator is restarting or overloaded: not an answer to the question.
_TRY_AGAIN = frozenset({429, 502, 503, 504})
#: A proxy gave up waiting for an answer: from then on questions ask for one earlier, in this share
#: of the time that it took, and never more often than once a second.
_SHARE = 0.7
_LEAST_WAIT_SECONDS = 1.0
_PROBLEM_PREFIX = "urn:fraudfed:problem:"


@dataclass(frozen=True)
class Caller:
    """The bank that sends, and its log of what it sent."""

    name: str
    signer: Signer
    audit: AuditLog


@dataclass(frozen=True)
class Purpose:
    """What a request is, for the audit log.

    Attributes
    ----------
    kind : str
    run_id, round_number, label, context : str, int or None
        What its body belongs to, if it belongs to a run or round.
    """

    kind: str
    run_id: str | None = None
    round_number: int | None = None
    label: str | None = None
    context: str | None = None

    def counted_as(self, target: str) -> str:
        """Return what the request counts as: its kind, or what of a round is asked for."""
        if self.kind != "question" or self.round_number is None:
            return self.kind
        return target.partition("?")[0].rpartition("/")[2]


@dataclass(frozen=True)
class _Request:
    """One request, the same in every attempt but for its signature."""

    method: str
    target: str
    """Path behind that of the base URL, and query, percent-encoded: what is signed."""
    headers: dict[str, str]
    body: bytes | None
    answer_seconds: float
    answer_bytes: int


class _NoAnswerError(Exception):
    """The request may be repeated: it met a dead connection, a timeout or a restart.

    Never leaves this module, and is no fraudfed error: those are found by their slug.
    """

    def __init__(
        self, message: str, *, hold_off_seconds: float = 0.0, is_given_up_between: bool = False
    ) -> None:
        super().__init__(message)
        self.hold_off_seconds = hold_off_seconds
        self.is_given_up_between = is_given_up_between


class Transport:
    """Requests of one bank to one aggregator.

    Parameters
    ----------
    url : str
        Base URL; https, or http to loopback.
    caller : Caller or None
        None sends unsigned requests, which an aggregator answers for its health only.
    tls : TlsFiles
    retry : RetryPolicy
        Patience per request, in seconds.

    Attributes
    ----------
    requests : Counter of str
        Requests that left so far, by ``Purpose.counted_as``: each is a round trip, and one that is
        sent again is another.

    Raises
    ------
    ConfigurationError
        If the URL is none, is plain http to another machine, or a file of ``tls`` is unusable.
    """

    def __init__(
        self, url: str, *, caller: Caller | None, tls: TlsFiles, retry: RetryPolicy
    ) -> None:
        self.url = check_url(url)
        self.retry = retry
        self.requests: Counter[str] = Counter()
        self._caller = caller
        secured = self.url.startswith("https:")
        self._longest_wait = math.inf
        self._http = HttpConnections(self.url, trust=read_tls_files(tls) if secured else None)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        purpose: Purpose,
        *,
        expect: str,
        content: bytes | None = None,
        content_type: str = BINARY,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
        answer_bytes: int = MESSAGE_BYTES,
    ) -> Answer:
        """Send until there is an answer or the patience is used up.

        Parameters
        ----------
        path : str
            With its query.
        expect : str
            Media type of a good answer. In place of an octet stream there may be nothing yet (204),
            or the receipt for what was sent (202, JSON).
        wait : float
            Seconds that the aggregator may hold the answer back.
        answer_bytes : int
            Most bytes of a good answer; a problem document has ``MESSAGE_BYTES`` at most.

        Raises
        ------
        TransportError
            If there was no answer.
        ProtocolError
            If the answer is not an aggregator's, or is too large.
        FraudFedError
            That of the problem document, if the answer is one.
        """
        request = _Request(
            method,
            path,
            {
                "Accept": f"{JSON}, {BINARY}, {PROBLEM}",
                "Accept-Encoding": "identity",
                "User-Agent": f"fraudfed/{__version__}",
                "X-Request-Id": uuid.uuid4().hex,
                **(headers or {}),
                **({} if content is None else {"Content-Type": content_type}),
            },
            content,
            answer_seconds=self.retry.answer_seconds + wait,
            answer_bytes=answer_bytes,
        )
        attempts = self.retry.start()
        while True:
            held = min(wait, self._longest_wait)
            target = path.replace(f"wait={wait:g}", f"wait={held:g}", 1) if held < wait else path
            begun = self.retry.clock()
            try:
                answer = self._send(replace(request, target=target), purpose)
                return self._checked(answer, expect, sent_bytes=len(content or b""))
            except _NoAnswerError as error:
                _log.debug("%s %s: %s", method, path, error)
                if error.is_given_up_between and held:
                    lasted = self.retry.clock() - begun
                    self._longest_wait = max(_LEAST_WAIT_SECONDS, min(held, _SHARE * lasted))
                if not attempts.again(at_least_seconds=error.hold_off_seconds):
                    raise TransportError(
                        f"{error} ({attempts.attempts} attempts in "
                        f"{attempts.elapsed_seconds:.0f} s)"
                    ) from error

    def _signature(self, request: _Request) -> dict[str, str]:
        """Return the headers that sign a request."""
        if self._caller is None:
            return {}
        return sign_request(
            self._caller.signer,
            keyid=self._caller.name,
            method=request.method,
            url=request.target,
            headers=request.headers,
            body=request.body,
            created=int(time.time()),
        )

    def _send(self, request: _Request, purpose: Purpose) -> Answer:
        signature = self._signature(request)
        facts = _facts(request, signature, purpose)
        # On disk before it leaves, if it carries or changes anything.
        durable = request.method != "GET"
        self._write_down(event="sent", durable=durable, **facts)
        self.requests[purpose.counted_as(request.target)] += 1
        with mapped_errors(self._http.route):
            answer = self._http.send(
                request.method,
                request.target,
                headers={**request.headers, **signature},
                body=request.body,
                answer_seconds=request.answer_seconds,
                answer_bytes=request.answer_bytes,
            )
        if durable:
            self._write_down(event="answered", durable=False, status=answer.status, **facts)
        _log.debug(
            "%s %s -> %d, %d bytes out, %d bytes in, request %s",
            request.method,
            facts["path"],
            answer.status,
            facts["body_bytes"],
            len(answer.content),
            facts["request_id"],
        )
        if answer.status in _TRY_AGAIN:
            raise _NoAnswerError(
                f"{self.url}: HTTP {answer.status}; the aggregator is restarting or "
                "overloaded: try again later",
                hold_off_seconds=_retry_after_seconds(answer),
                is_given_up_between=answer.status == HTTPStatus.GATEWAY_TIMEOUT,
            )
        return answer

    def _write_down(self, *, durable: bool, **facts: str | int | None) -> None:
        if self._caller is not None:
            self._caller.audit.append(durable=durable, **facts)

    def _checked(self, answer: Answer, expect: str, *, sent_bytes: int) -> Answer:
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise self._problem(answer, sent_bytes=sent_bytes)
        if answer.status == HTTPStatus.NO_CONTENT:
            if expect == BINARY:
                return answer
            raise ProtocolError(f"{self.url}: empty answer (HTTP 204), expected {expect}")
        if answer.status == HTTPStatus.ACCEPTED and expect == BINARY:
            expect = JSON
        if answer.leads_to is not None:
            raise ProtocolError(
                f"{self.url}: HTTP {answer.status} leads to {answer.leads_to}, which is not "
                "followed; if the aggregator is there, give its URL"
            )
        found = _content_type(answer)
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES or found != expect:
            raise ProtocolError(
                f"{self.url}: HTTP {answer.status} with content type {found[:100] or 'none'!r}, "
                f"expected {expect}; is this the URL of an aggregator?"
            )
        return answer

    def _problem(self, answer: Answer, *, sent_bytes: int) -> FraudFedError:
        """Turn a problem document back into the error it was made from."""
        status = answer.status
        if _content_type(answer) != PROBLEM:
            refused = refused_in_between(self.url, status, sent_bytes=sent_bytes)
            if refused is not None:
                return refused
            at_fault = status >= HTTPStatus.INTERNAL_SERVER_ERROR
            cls: type[FraudFedError] = ServerError if at_fault else ProtocolError
            return cls(
                f"{self.url}: HTTP {status} without a problem document; "
                "is this the URL of an aggregator?"
            )
        problem = parse(Problem, answer.content, source=self.url)
        slug = problem.type.removeprefix(_PROBLEM_PREFIX)
        known = error_classes().get(slug)
        if known is None or slug == problem.type:
            return ProtocolError(
                f"{self.url}: HTTP {status} with unknown problem type {problem.type[:100]!r}: "
                f"{visible(problem.detail)}"
            )
        return known(visible(problem.detail))


def read_tls_files(tls: TlsFiles) -> Trust:
    """Return what https is spoken with; raise ConfigurationError if a file cannot be used."""
    return read_trust(tls.ca_file, tls.client_certificate, tls.client_key)


@contextlib.contextmanager
def mapped_errors(route: Route) -> Iterator[None]:
    """Turn every exception of ``HttpConnections`` into one of fraudfed's; the only place that does.

    ``http.client`` raises what stands here and nothing else, a test says so.
    """
    try:
        yield
    except ProtocolError as error:
        raise ProtocolError(f"{route.url}: {error}") from error
    except http.client.InvalidURL as error:
        raise ConfigurationError(f"aggregator URL {route.url!r}: {error}") from error
    except (http.client.ImproperConnectionState, http.client.NotConnected) as error:
        raise TransportError(f"{route.url}: request failed ({reason_of(error)})") from error
    except (OSError, http.client.HTTPException) as error:
        message = unreachable(route, error)
        if is_final(error):
            raise TransportError(message) from error
        raise _NoAnswerError(message) from error


def _facts(
    request: _Request, signature: Mapping[str, str], purpose: Purpose
) -> dict[str, str | int | None]:
    """Return what the audit log says of a request; its body's digest is the signed one."""
    digest = read_content_digest(signature.get("Content-Digest", ""))
    return {
        "kind": purpose.kind,
        "method": request.method,
        "path": request.target,
        "request_id": request.headers["X-Request-Id"],
        "body_bytes": len(request.body or b""),
        "body_sha256": None if digest is None else digest.hex(),
        "run_id": purpose.run_id,
        "round_number": purpose.round_number,
        "label": purpose.label,
        "context": purpose.context,
    }


def _content_type(answer: Answer) -> str:
    value = answer.headers.get("content-type") or ""
    return value.partition(";")[0].strip().lower()


def _retry_after_seconds(answer: Answer) -> float:
    """Seconds the aggregator asks us to hold off; a date instead of a number counts as none."""
    text = answer.headers.get("retry-after") or ""
    if not (text.isascii() and text.isdigit()):
        return 0.0
    # More digits than a pause has are not even read.
    return min(float(text[:9]), _MOST_HOLD_OFF_SECONDS)
