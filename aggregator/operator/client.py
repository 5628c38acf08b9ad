"""The operator's side of the API, for the commands that call a running aggregator."""

import http.client
import os
import re
import stat
from http import HTTPStatus
from pathlib import Path
from typing import Self, TypeVar

from fraudfed import __version__
from fraudfed.errors import (
    ConfigurationError,
    FraudFedError,
    ProtocolError,
    TransportError,
    error_classes,
)
from fraudfed.foreign_text import visible
from fraudfed.http.address import check_url
from fraudfed.http.connections import Answer, HttpConnections
from fraudfed.http.failures import refused_in_between, unreachable
from fraudfed.http.trust import read_trust
from fraudfed.wire.media_types import BINARY, JSON, PROBLEM
from fraudfed.wire.messages import (
    Abort,
    DropRequest,
    Invite,
    InviteRequest,
    KeyEpochStatus,
    Message,
    Problem,
    Roster,
    RunCreated,
    RunList,
    RunSpec,
    RunStatus,
)
from fraudfed.wire.messages import parse as parse_message

#: For request and whole answer, beside the least time of their bytes.
_ANSWER_SECONDS = 30.0
_MESSAGE_BYTES = 2 * 1024 * 1024
_LIST_BYTES = 32 * 1024 * 1024
#: As ``max_body_bytes`` of a service, by default.
_MODEL_BYTES = 64 * 1024 * 1024
_MAXIMUM_TOKEN_FILE_BYTES = 4096
_SOURCE = "the aggregator's answer"

M = TypeVar("M", bound=Message)


def read_token(path: Path) -> str:
    """Read a token file.

    Raises
    ------
    ConfigurationError
        If it cannot be read, holds no token, or others than its owner can reach it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(_MAXIMUM_TOKEN_FILE_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"token file {path} cannot be read ({error}); give the operator.token that "
            "`aggregator init` wrote"
        ) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(
            f"token file {path} has mode {stat.S_IMODE(mode):04o}, so others than its owner can "
            f"reach it; expected 0600: run `chmod 600 {path}`"
        )
    if not token or not token.isprintable():
        raise ConfigurationError(f"token file {path} holds no token; give operator.token")
    return token


class OperatorClient:
    """Calls one aggregator with the token of an operator or viewer.

    What answers may be hostile: the rules of addresses, and the limits of answers, are those of a
    bank's client (``fraudfed.http``). A token can be used by anybody who reads it, so it goes over
    TLS with the aggregator or stays on this machine: a proxy of the environment passes on what it
    cannot read, and no redirect is followed.

    Parameters
    ----------
    url : str
        Base URL; https, or http to loopback.
    ca_file : Path, optional
        Root certificates to trust instead of the system's.
    client_certificate : Path, optional
        PEM file with a certificate and its key, for an aggregator that asks for one.

    Raises
    ------
    ConfigurationError
        If the URL is none, is plain http to another machine or holds a user name, or a certificate
        file cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        ca_file: Path | None = None,
        client_certificate: Path | None = None,
    ) -> None:
        self._url = check_url(url)
        self._token = token
        secured = self._url.startswith("https:")
        trust = read_trust(ca_file, client_certificate) if secured else None
        self._http = HttpConnections(self._url, trust=trust)

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()

    def create_invite(self, request: InviteRequest) -> Invite:
        """Invite a bank."""
        return self._call("POST", "/invites", Invite, request)

    def roster(self) -> Roster:
        """Return the members."""
        return self._call("GET", "/roster", Roster)

    def remove_bank(self, name: str) -> Roster:
        """Remove a bank; return the members that are left."""
        return self._call("DELETE", f"/banks/{_segment(name, 'bank name')}", Roster)

    def key_epoch(self, epoch: int | None) -> KeyEpochStatus:
        """Return a key epoch, the newest without a number."""
        path = "/epochs/current" if epoch is None else f"/epochs/{epoch}"
        return self._call("GET", path, KeyEpochStatus)

    def create_run(self, spec: RunSpec) -> RunCreated:
        """Open a run."""
        return self._call("POST", "/runs", RunCreated, spec)

    def list_runs(self) -> RunList:
        """Return all runs, newest first."""
        return self._call("GET", "/runs", RunList, answer_bytes=_LIST_BYTES)

    def show_run(self, run_id: str) -> RunStatus:
        """Return the status of a run."""
        return self._call("GET", f"/runs/{_segment(run_id, 'run id')}", RunStatus)

    def model(self, run_id: str) -> bytes:
        """Return the result of a finished run as it is registered."""
        path = f"/runs/{_segment(run_id, 'run id')}/model"
        return self._content("GET", path, answer_bytes=_MODEL_BYTES)

    def drop_bank(self, run_id: str, request: DropRequest) -> RunStatus:
        """Go on without a bank."""
        path = f"/runs/{_segment(run_id, 'run id')}/drops"
        return self._call("POST", path, RunStatus, request)

    def cancel_run(self, run_id: str, reason: str) -> RunStatus:
        """End a run."""
        path = f"/runs/{_segment(run_id, 'run id')}/abort"
        return self._call("POST", path, RunStatus, Abort(reason=reason))

    def _call(
        self,
        method: str,
        path: str,
        answer: type[M],
        body: Message | None = None,
        *,
        answer_bytes: int = _MESSAGE_BYTES,
    ) -> M:
        content = self._content(method, path, body, answer_bytes=answer_bytes)
        return parse_message(answer, content, source=_SOURCE)

    def _content(
        self, method: str, path: str, body: Message | None = None, *, answer_bytes: int
    ) -> bytes:
        content = None if body is None else body.model_dump_json().encode()
        try:
            got = self._http.send(
                method,
                f"/v1{path}",
                headers={
                    "Authorization": f"Bearer {self._token}",
                    "Accept": f"{JSON}, {BINARY}, {PROBLEM}",
                    "Accept-Encoding": "identity",
                    "User-Agent": f"fraudfed/{__version__}",
                    **({} if body is None else {"Content-Type": JSON}),
                },
                body=content,
                answer_seconds=_ANSWER_SECONDS,
                answer_bytes=answer_bytes,
            )
        except (OSError, http.client.HTTPException) as error:
            advice = "start it with `aggregator serve` or check --url"
            raise TransportError(unreachable(self._http.route, error, advice=advice)) from None
        if HTTPStatus.OK <= got.status < HTTPStatus.MULTIPLE_CHOICES:
            return got.content
        raise _error_of(got, self._url, sent_bytes=len(content or b""))


def _segment(text: str, what: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-]+", text) is None:
        raise ConfigurationError(f"{what} {text!r} is no {what}; list them to see")
    return text


def _error_of(answer: Answer, url: str, *, sent_bytes: int) -> FraudFedError:
    """Return the exception that a problem document stands for."""
    try:
        problem = parse_message(Problem, answer.content, source=_SOURCE)
    except ProtocolError:
        if answer.leads_to is not None:
            return ProtocolError(
                f"{_SOURCE} is status {answer.status} and leads to {answer.leads_to}, which is not "
                "followed; if the aggregator is there, give its address"
            )
        refused = refused_in_between(url, answer.status, sent_bytes=sent_bytes)
        return refused or ProtocolError(
            f"{_SOURCE} is status {answer.status} without a problem document; is this "
            "address an aggregator?"
        )
    cls = error_classes().get(problem.type.rpartition(":")[2], ProtocolError)
    return cls(visible(problem.detail))
