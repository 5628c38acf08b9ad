"""The operator's side of the API, for the commands that call a running aggregator."""

import re
import ssl
from pathlib import Path
from typing import Self, TypeVar

import httpx
from pydantic import ValidationError

from fraudfed.errors import (
    ConfigurationError,
    FraudFedError,
    ProtocolError,
    TransportError,
    error_classes,
)
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

_TIMEOUT_SECONDS = 30.0
_SOURCE = "the aggregator's answer"

M = TypeVar("M", bound=Message)


def read_token(path: Path) -> str:
    """Read a token file.

    Raises
    ------
    ConfigurationError
        If it cannot be read or is empty.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"token file {path} cannot be read ({error}); give the operator.token that "
            "`aggregator init` wrote"
        ) from None
    if not token or not token.isprintable():
        raise ConfigurationError(f"token file {path} holds no token; give operator.token")
    return token


class OperatorClient:
    """Calls one aggregator with the token of an operator or viewer.

    Parameters
    ----------
    ca_file : Path, optional
        Root certificates to trust instead of the system's.
    client_certificate : Path, optional
        PEM file with a certificate and its key, for an aggregator that asks for one.

    Raises
    ------
    ConfigurationError
        If the URL is none, or a certificate file cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        ca_file: Path | None = None,
        client_certificate: Path | None = None,
    ) -> None:
        self._url = url
        try:
            context = httpx.create_ssl_context()
            if ca_file is not None:
                context = ssl.create_default_context(cafile=ca_file)
            if client_certificate is not None:
                context.load_cert_chain(client_certificate)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"certificate file {client_certificate or ca_file} cannot be used: "
                f"{error.strerror or error}; give a PEM file"
            ) from None
        try:
            self._http = httpx.Client(
                base_url=url.rstrip("/") + "/v1",
                headers={"Authorization": f"Bearer {token}"},
                timeout=_TIMEOUT_SECONDS,
                verify=context,
            )
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"--url {url!r} is no address: {error}") from None

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
        return self._call("GET", "/runs", RunList)

    def show_run(self, run_id: str) -> RunStatus:
        """Return the status of a run."""
        return self._call("GET", f"/runs/{_segment(run_id, 'run id')}", RunStatus)

    def drop_bank(self, run_id: str, request: DropRequest) -> RunStatus:
        """Go on without a bank."""
        path = f"/runs/{_segment(run_id, 'run id')}/drops"
        return self._call("POST", path, RunStatus, request)

    def cancel_run(self, run_id: str, reason: str) -> RunStatus:
        """End a run."""
        path = f"/runs/{_segment(run_id, 'run id')}/abort"
        return self._call("POST", path, RunStatus, Abort(reason=reason))

    def _call(self, method: str, path: str, answer: type[M], body: Message | None = None) -> M:
        try:
            response = self._http.request(
                method,
                path,
                content=None if body is None else body.model_dump_json(),
                headers={} if body is None else {"Content-Type": "application/json"},
            )
        except httpx.UnsupportedProtocol:
            raise ConfigurationError(
                f"--url {self._url!r} is no http address; give one like http://127.0.0.1:8765"
            ) from None
        except httpx.TransportError as error:
            raise TransportError(
                f"aggregator at {self._url} not reachable ({error}); start it with `aggregator "
                "serve` or check --url"
            ) from None
        if response.is_success:
            return parse_message(answer, response.content, source=_SOURCE)
        raise _error_of(response)


def _segment(text: str, what: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-]+", text) is None:
        raise ConfigurationError(f"{what} {text!r} is no {what}; list them to see")
    return text


def _error_of(response: httpx.Response) -> FraudFedError:
    """Return the exception that a problem document stands for."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return ProtocolError(
            f"{_SOURCE} is status {response.status_code} without a problem document; is this "
            "address an aggregator?"
        )
    cls = error_classes().get(problem.type.rpartition(":")[2], ProtocolError)
    return cls(problem.detail)
