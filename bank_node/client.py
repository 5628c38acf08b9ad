"""The aggregator's API as a bank sees it. The bank always calls; nothing connects into a bank.

Every request of a round is idempotent by design of the API (same bytes, same receipt), so a
request without an answer is simply sent again until the patience is used up. The one exception is
the registration, whose answer is shown once.
"""

import contextlib
import ipaddress
import logging
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx

from bank_node.retry import RetryPolicy
from fraudfed.errors import (
    ConfigurationError,
    FraudFedError,
    ProtocolError,
    ServerError,
    TransportError,
    error_classes,
)
from fraudfed.wire import frames
from fraudfed.wire.messages import (
    Abort,
    BankRegistration,
    BankToken,
    FrameHeader,
    Health,
    Message,
    ModelReceipt,
    Problem,
    RoundReceipt,
    RunList,
    RunState,
    RunStatus,
    parse,
)

__all__ = ["LONG_POLL_SECONDS", "AggregatorClient", "check_url", "mapped_errors", "wait_for"]

_log = logging.getLogger(__name__)

#: The aggregator holds a question open at most 30 s.
LONG_POLL_SECONDS = 25.0
#: Longest pause between two pieces of an answer or body, beside the time of a long poll.
_ANSWER_SECONDS = 60.0
_CONNECT_SECONDS = 10.0
#: The aggregator is restarting or overloaded: not an answer to the question.
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_BINARY = "application/octet-stream"
_PROBLEM_PREFIX = "urn:fraudfed:problem:"

M = TypeVar("M", bound=Message)
T = TypeVar("T")


class _NoAnswerError(Exception):
    """The request may be repeated: it met a dead connection, a timeout or a restart.

    Never leaves this module, and is no fraudfed error: those are found by their slug.
    """

    def __init__(
        self, message: str, *, hold_off_seconds: float = 0.0, never_sent: bool = False
    ) -> None:
        super().__init__(message)
        self.hold_off_seconds = hold_off_seconds
        self.never_sent = never_sent


class AggregatorClient:
    """Calls of one bank to one aggregator; also a context manager that closes the connections.

    Parameters
    ----------
    url : str
        Base URL; https, or http to loopback.
    token : str or None
        The bank's bearer token. Never logged.
    retry : RetryPolicy
        Patience per request, in seconds.

    Raises
    ------
    ConfigurationError
        If the URL is none, or is plain http to another machine.
    """

    def __init__(
        self, url: str, *, token: str | None = None, retry: RetryPolicy | None = None
    ) -> None:
        self.url = check_url(url)
        self.retry = retry if retry is not None else RetryPolicy()
        headers = {"Accept": f"application/json, {_BINARY}, application/problem+json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            headers=headers,
            follow_redirects=False,
            # Proxies and CA files of the environment are for the way out of the house only.
            trust_env=self.url.startswith("https:"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def health(self) -> Health:
        """Ask whether the aggregator is up."""
        return self._message(Health, "GET", "/v1/health")

    def register(self, name: str) -> BankToken:
        """Make the bank known; its token is shown once."""
        # Sent over once: if the answer is lost, the name is taken and only the operator can help.
        return self._message(
            BankToken, "POST", "/v1/banks", body=BankRegistration(name=name), idempotent=False
        )

    def runs(self) -> RunList:
        """Return the open runs and those of this bank."""
        return self._message(RunList, "GET", "/v1/runs")

    def run(
        self,
        run_id: str,
        *,
        while_state: RunState | None = None,
        wait_seconds: float = LONG_POLL_SECONDS,
    ) -> RunStatus:
        """Return a run's status; with ``while_state`` wait as long as the run is still in it."""
        if while_state is None:
            return self._of_run(self._message(RunStatus, "GET", _run(run_id)), run_id)
        query = f"?wait={wait_seconds:g}&state={while_state.value}"
        status = self._message(RunStatus, "GET", f"{_run(run_id)}{query}", wait=wait_seconds)
        return self._of_run(status, run_id)

    def join(self, run_id: str) -> RunStatus:
        """Become a member of a run; idempotent for a member."""
        return self._of_run(self._message(RunStatus, "POST", f"{_run(run_id)}/members"), run_id)

    def abort(self, run_id: str, reason: str) -> RunStatus:
        """End a run for all its banks."""
        body = Abort(reason=reason)
        return self._message(RunStatus, "POST", f"{_run(run_id)}/abort", body=body)

    def contribute(self, run_id: str, round_number: int, frame: bytes) -> RoundReceipt:
        """Send this bank's ciphertexts of a round."""
        path = f"{_run(run_id)}/rounds/{round_number}/contributions"
        return self._message(RoundReceipt, "POST", path, body=frame)

    def product(
        self,
        run_id: str,
        round_number: int,
        *,
        shard: int,
        wait_seconds: float = LONG_POLL_SECONDS,
    ) -> tuple[FrameHeader, memoryview] | None:
        """Return this bank's shard of the product, or None when it is not complete yet."""
        body = self._frames(
            f"{_run(run_id)}/rounds/{round_number}/product?shard={shard}&wait={wait_seconds:g}",
            wait=wait_seconds,
        )
        return None if body is None else frames.decode(body, source=self.url)

    def send_opening(self, run_id: str, round_number: int, frame: bytes) -> RoundReceipt:
        """Send this bank's opened shard, sealed to the members."""
        path = f"{_run(run_id)}/rounds/{round_number}/openings"
        return self._message(RoundReceipt, "POST", path, body=frame)

    def openings(
        self, run_id: str, round_number: int, *, wait_seconds: float = LONG_POLL_SECONDS
    ) -> tuple[int, list[tuple[FrameHeader, memoryview]]] | None:
        """Return body length and all banks' openings in shard order, or None when incomplete."""
        body = self._frames(
            f"{_run(run_id)}/rounds/{round_number}/openings?wait={wait_seconds:g}",
            wait=wait_seconds,
        )
        return None if body is None else (len(body), frames.decode_many(body, source=self.url))

    def submit_model(self, run_id: str, sha256: str, model: bytes) -> ModelReceipt:
        """Vote for a model by sending it."""
        path = f"{_run(run_id)}/models/{sha256}"
        return self._message(ModelReceipt, "PUT", path, body=model, content_type="application/json")

    def model(self, run_id: str) -> bytes:
        """Return the accepted model's bytes."""
        return self._request("GET", f"{_run(run_id)}/model", expect="application/json").content

    def _message(
        self,
        cls: type[M],
        method: str,
        path: str,
        *,
        body: Message | bytes | None = None,
        content_type: str = _BINARY,
        wait: float = 0.0,
        idempotent: bool = True,
    ) -> M:
        content: bytes | None
        if isinstance(body, Message):
            content, content_type = body.model_dump_json().encode(), "application/json"
        else:
            content = body
        answer = self._request(
            method,
            path,
            content=content,
            content_type=content_type,
            expect="application/json",
            wait=wait,
            idempotent=idempotent,
        )
        return parse(cls, answer.content, source=self.url)

    def _frames(self, path: str, *, wait: float) -> bytes | None:
        answer = self._request("GET", path, expect=_BINARY, wait=wait)
        return None if answer.status_code == httpx.codes.NO_CONTENT else answer.content

    def _request(
        self,
        method: str,
        path: str,
        *,
        expect: str,
        content: bytes | None = None,
        content_type: str = _BINARY,
        wait: float = 0.0,
        idempotent: bool = True,
    ) -> httpx.Response:
        """Send until there is an answer or the patience is used up."""
        headers = {"X-Request-Id": uuid.uuid4().hex}
        if content is not None:
            headers["Content-Type"] = content_type
        timeout = httpx.Timeout(_ANSWER_SECONDS + wait, connect=_CONNECT_SECONDS)
        request = self._http.build_request(
            method, self.url + path, content=content, headers=headers, timeout=timeout
        )
        attempts = self.retry.start()
        while True:
            try:
                return self._checked(self._send(request), expect)
            except _NoAnswerError as error:
                _log.debug("%s %s: %s", method, path, error)
                if not (idempotent or error.never_sent):
                    raise TransportError(str(error)) from error
                if not attempts.again(at_least_seconds=error.hold_off_seconds):
                    raise TransportError(
                        f"{error} ({attempts.attempts} attempts in "
                        f"{attempts.elapsed_seconds:.0f} s)"
                    ) from error

    def _send(self, request: httpx.Request) -> httpx.Response:
        with mapped_errors(self.url):
            answer = self._http.send(request)
        _log.debug(
            "%s %s -> %d, %s bytes out, %d bytes in, request %s",
            request.method,
            request.url.raw_path.decode("ascii"),
            answer.status_code,
            request.headers.get("content-length", "0"),
            len(answer.content),
            request.headers["x-request-id"],
        )
        if answer.status_code in _TRY_AGAIN:
            raise _NoAnswerError(
                f"{self.url}: HTTP {answer.status_code}; the aggregator is restarting or "
                "overloaded: try again later",
                hold_off_seconds=_retry_after_seconds(answer),
            )
        return answer

    def _checked(self, answer: httpx.Response, expect: str) -> httpx.Response:
        if answer.is_error:
            raise self._problem(answer)
        if answer.status_code == httpx.codes.NO_CONTENT:
            if expect == _BINARY:
                return answer
            raise ProtocolError(f"{self.url}: empty answer (HTTP 204), expected {expect}")
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
        if _content_type(answer) != "application/problem+json":
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

    def _of_run(self, status: RunStatus, run_id: str) -> RunStatus:
        if status.run_id != run_id:
            raise ProtocolError(
                f"{self.url}: status of run {status.run_id!r}, expected {run_id!r}; "
                "the aggregator is at fault"
            )
        return status


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
        never_sent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
        raise _NoAnswerError(message, never_sent=never_sent) from error
    except httpx.DecodingError as error:
        raise ProtocolError(f"{url}: answer cannot be decoded ({_reason(error)})") from error
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"aggregator URL {url!r}: {error}") from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise TransportError(f"{url}: request failed ({_reason(error)})") from error


def wait_for(
    question: Callable[[float], T | None],
    *,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> T | None:
    """Ask by long polls until there is an answer; None when ``seconds`` are over."""
    deadline = clock() + seconds
    while True:
        left = deadline - clock()
        answer = question(max(0.0, min(LONG_POLL_SECONDS, left)))
        if answer is not None or left <= 0:
            return answer


def _run(run_id: str) -> str:
    return f"/v1/runs/{quote(run_id, safe='')}"


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
