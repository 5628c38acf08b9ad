"""HTTP as a bank uses it: signed, written down, repeated, and never in the clear.

Every request of a bank is signed with its Ed25519 key (RFC 9421) and stands in its audit log before
it leaves. A request without an answer is sent again until the patience is used up, each time under
a signature, time and nonce of its own: an aggregator refuses what it has seen.
"""

import contextlib
import hashlib
import ipaddress
import logging
import ssl
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx

from bank_node.audit_log import AuditLog
from bank_node.config import TlsFiles
from bank_node.retry import RetryPolicy
from fraudfed import __version__
from fraudfed.consortium.documents import Signer
from fraudfed.consortium.signatures import sign_request
from fraudfed.errors import (
    ConfigurationError,
    FraudFedError,
    ProtocolError,
    ServerError,
    TransportError,
    error_classes,
)
from fraudfed.wire.messages import Problem, parse

__all__ = [
    "BINARY",
    "JSON",
    "Caller",
    "Purpose",
    "Transport",
    "check_tls_files",
    "check_url",
    "mapped_errors",
]

_log = logging.getLogger(__name__)

BINARY = "application/octet-stream"
JSON = "application/json"
#: Longest pause between two pieces of an answer or body, beside the time of a long poll.
_ANSWER_SECONDS = 60.0
_CONNECT_SECONDS = 10.0
#: The aggregator is restarting or overloaded: not an answer to the question.
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_PROBLEM = "application/problem+json"
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


class _NoAnswerError(Exception):
    """The request may be repeated: it met a dead connection, a timeout or a restart.

    Never leaves this module, and is no fraudfed error: those are found by their slug.
    """

    def __init__(self, message: str, *, hold_off_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.hold_off_seconds = hold_off_seconds


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
        self._caller = caller
        secured = self.url.startswith("https:")
        self._http = httpx.Client(
            headers={
                "Accept": f"{JSON}, {BINARY}, {_PROBLEM}",
                "User-Agent": f"fraudfed/{__version__}",
            },
            follow_redirects=False,
            verify=_ssl_context(tls) if secured else False,
            # Proxies of the environment are for the way out of the house only.
            trust_env=secured,
        )

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
    ) -> httpx.Response:
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

        Raises
        ------
        TransportError
            If there was no answer.
        ProtocolError
            If the answer is not an aggregator's.
        FraudFedError
            That of the problem document, if the answer is one.
        """
        attempt = {**(headers or {}), "X-Request-Id": uuid.uuid4().hex}
        if content is not None:
            attempt["Content-Type"] = content_type
        timeout = httpx.Timeout(_ANSWER_SECONDS + wait, connect=_CONNECT_SECONDS)
        attempts = self.retry.start()
        while True:
            request = self._http.build_request(
                method, self.url + path, content=content, headers=attempt, timeout=timeout
            )
            try:
                return self._checked(self._send(self._signed(request), purpose), expect)
            except _NoAnswerError as error:
                _log.debug("%s %s: %s", method, path, error)
                if not attempts.again(at_least_seconds=error.hold_off_seconds):
                    raise TransportError(
                        f"{error} ({attempts.attempts} attempts in "
                        f"{attempts.elapsed_seconds:.0f} s)"
                    ) from error

    def _signed(self, request: httpx.Request) -> httpx.Request:
        if self._caller is not None:
            request.headers.update(
                sign_request(
                    self._caller.signer,
                    keyid=self._caller.name,
                    method=request.method,
                    url=request.url.raw_path.decode("ascii"),
                    headers=request.headers,
                    body=request.content,
                    created=int(time.time()),
                )
            )
        return request

    def _send(self, request: httpx.Request, purpose: Purpose) -> httpx.Response:
        facts = self._facts(request, purpose)
        # On disk before it leaves, if it carries or changes anything.
        durable = request.method != "GET"
        self._write_down(event="sent", durable=durable, **facts)
        with mapped_errors(self.url):
            answer = self._http.send(request)
        if durable:
            self._write_down(event="answered", durable=False, status=answer.status_code, **facts)
        _log.debug(
            "%s %s -> %d, %d bytes out, %d bytes in, request %s",
            request.method,
            facts["path"],
            answer.status_code,
            facts["body_bytes"],
            len(answer.content),
            facts["request_id"],
        )
        if answer.status_code in _TRY_AGAIN:
            raise _NoAnswerError(
                f"{self.url}: HTTP {answer.status_code}; the aggregator is restarting or "
                "overloaded: try again later",
                hold_off_seconds=_retry_after_seconds(answer),
            )
        return answer

    def _facts(self, request: httpx.Request, purpose: Purpose) -> dict[str, str | int | None]:
        body = request.content
        return {
            "kind": purpose.kind,
            "method": request.method,
            "path": request.url.raw_path.decode("ascii"),
            "request_id": request.headers["x-request-id"],
            "body_bytes": len(body),
            "body_sha256": hashlib.sha256(body).hexdigest() if body else None,
            "run_id": purpose.run_id,
            "round_number": purpose.round_number,
            "label": purpose.label,
            "context": purpose.context,
        }

    def _write_down(self, *, durable: bool, **facts: str | int | None) -> None:
        if self._caller is not None:
            self._caller.audit.append(durable=durable, **facts)

    def _checked(self, answer: httpx.Response, expect: str) -> httpx.Response:
        if answer.is_error:
            raise self._problem(answer)
        if answer.status_code == httpx.codes.NO_CONTENT:
            if expect == BINARY:
                return answer
            raise ProtocolError(f"{self.url}: empty answer (HTTP 204), expected {expect}")
        if answer.status_code == httpx.codes.ACCEPTED and expect == BINARY:
            expect = JSON
        found = _content_type(answer)
        if not answer.is_success or found != expect:
            raise ProtocolError(
                f"{self.url}: HTTP {answer.status_code} with content type {found or 'none'!r}, "
                f"expected {expect}; is this the URL of an aggregator?"
            )
        return answer

    def _problem(self, answer: httpx.Response) -> FraudFedError:
        """Turn a problem document back into the error it was made from."""
        status = answer.status_code
        if _content_type(answer) != _PROBLEM:
            cls: type[FraudFedError] = ServerError if answer.is_server_error else ProtocolError
            return cls(
                f"{self.url}: HTTP {status} without a problem document; "
                "is this the URL of an aggregator?"
            )
        problem = parse(Problem, answer.content, source=self.url)
        slug = problem.type.removeprefix(_PROBLEM_PREFIX)
        known = error_classes().get(slug)
        if known is None or slug == problem.type:
            return ProtocolError(
                f"{self.url}: HTTP {status} with unknown problem type {problem.type!r}: "
                f"{_one_line(problem.detail)}"
            )
        return known(_one_line(problem.detail))


def check_url(url: str) -> str:
    """Return the base URL without a trailing slash.

    Raises
    ------
    ConfigurationError
        If it is no http(s) URL, holds a password, query or fragment, or is plain http to anything
        but loopback.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigurationError(
            f"aggregator URL {url!r}: not a URL ({error}); write https://HOST[:PORT]"
        ) from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ConfigurationError(
            f"aggregator URL {url!r}: expected https://HOST[:PORT], or http:// to loopback"
        )
    if parsed.userinfo:
        # Not repeated: what stands before the @ may be a password.
        raise ConfigurationError("aggregator URL: holds a user name; write https://HOST[:PORT]")
    if parsed.query or parsed.fragment:
        raise ConfigurationError(
            f"aggregator URL {url!r}: holds a query or fragment; write https://HOST[:PORT]"
        )
    if parsed.scheme == "http" and not _is_loopback(parsed.host):
        raise ConfigurationError(
            f"aggregator URL {url!r}: plain http is accepted for loopback only, got host "
            f"{parsed.host!r}; use https"
        )
    return str(parsed).rstrip("/")


def check_tls_files(tls: TlsFiles) -> None:
    """Raise ConfigurationError if a file cannot be used."""
    _ssl_context(tls)


@contextlib.contextmanager
def mapped_errors(url: str) -> Iterator[None]:
    """Turn every exception of httpx into one of fraudfed's; the only place that does."""
    try:
        yield
    except httpx.TransportError as error:
        message = (
            f"{url}: aggregator not reachable ({_reason(error)}); check that it runs and that "
            "URL, port and firewall are right"
        )
        # A certificate does not become valid by asking again; a wrong scheme neither.
        if _caused_by_tls(error) or isinstance(error, httpx.UnsupportedProtocol):
            raise TransportError(message) from error
        raise _NoAnswerError(message) from error
    except httpx.DecodingError as error:
        raise ProtocolError(f"{url}: answer cannot be decoded ({_reason(error)})") from error
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"aggregator URL {url!r}: {error}") from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise TransportError(f"{url}: request failed ({_reason(error)})") from error


def _ssl_context(tls: TlsFiles) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"{tls.ca_file}: cannot be used as --ca-file ({_reason(error)}); expected certificates "
            "in PEM"
        ) from None
    if tls.client_certificate is not None:
        try:
            # Without a password of our own, the library would ask for one at the terminal.
            context.load_cert_chain(tls.client_certificate, tls.client_key, password="")
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"{tls.client_certificate}, {tls.client_key}: cannot be used as client certificate "
                f"and key ({_reason(error)}); expected a pair in PEM, the key not encrypted"
            ) from None
    return context


def _content_type(answer: httpx.Response) -> str:
    value: str = answer.headers.get("content-type", "")
    return value.partition(";")[0].strip().lower()


def _retry_after_seconds(answer: httpx.Response) -> float:
    """Seconds the aggregator asks us to hold off; a date instead of a number counts as none."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _caused_by_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _reason(error: Exception) -> str:
    return _one_line(str(error)) or type(error).__name__


def _one_line(text: str) -> str:
    return " ".join(text.split())
