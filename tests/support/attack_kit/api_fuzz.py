"""Requests made from the service's own OpenAPI document, right ones and wrong ones, each signed.

Laws that are checked after every single request:

* the answer comes within ``ANSWER_SECONDS`` and is none of 5xx;
* a refusal is a problem document on one line;
* a refused request has changed nothing in the database but the audit log and the nonces.
"""

import contextlib
import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import schemathesis
from examples.messages import mutated_bytes
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

ANSWER_SECONDS = 20.0
#: Written by refused requests too.
_RECORDS = frozenset({"audit", "nonces", "sqlite_sequence"})
#: Long polls are asked for, but not waited for.
_WAIT_SECONDS = 0.05
#: What would rightly end the run that the fuzz is to leave as it was.
_ENDING = frozenset({("POST", "/v1/runs/{run_id}/abort"), ("DELETE", "/v1/banks/{name}")})


class FuzzError(AssertionError):
    """A law was broken; the message holds the request."""


#: Signs or otherwise authorises a prepared request, or leaves it as it is.
Caller = Callable[[requests.PreparedRequest], None]


def stored(state: Path) -> dict[str, str]:
    """Return a digest of each table of the aggregator's database."""
    database = next(state.glob("*.db"))
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        return {
            name: hashlib.sha256(
                repr(sorted(map(repr, connection.execute(f'SELECT * FROM "{name}"')))).encode()
            ).hexdigest()
            for name in names
            if name not in _RECORDS
        }


@dataclass
class Fuzzer:
    """A running aggregator under fire.

    Attributes
    ----------
    url : str
    state : Path
        Its state directory.
    callers : mapping of name to Caller
    real : mapping of path parameter to values that exist
        Half of the requests name something that is there, or they would all be 404.
    frames : mapping of path ending to a valid body
        Bodies that the document describes as bytes only; they are mutated.
    statuses : Counter of (caller, operation, status)
    """

    url: str
    state: Path
    callers: Mapping[str, Caller]
    real: Mapping[str, list[str]]
    frames: Mapping[str, bytes]
    statuses: Counter[tuple[str, str, int]] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        """Number of requests so far."""
        return self.statuses.total()

    def run(self, per_combination: int) -> None:
        """Send so many requests for each operation, caller, and kind of data (right or wrong)."""
        document = requests.get(f"{self.url}/v1/openapi.json", timeout=ANSWER_SECONDS).json()
        api = schemathesis.openapi.from_dict(document)
        with requests.Session() as session:
            session.trust_env = False
            for found in api.get_all_operations():
                operation = found.ok()
                for caller in self.callers:
                    for mode in GenerationMode:
                        self._attack(session, operation, caller, mode, per_combination)

    def _attack(
        self,
        session: requests.Session,
        operation: Any,
        caller: str,
        mode: GenerationMode,
        count: int,
    ) -> None:
        before = stored(self.state)

        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            # Every law holds for every request; there is nothing to shrink while it does.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode), st.data())
        def send(case: Any, data: st.DataObject) -> None:
            nonlocal before
            request = self._prepared(case, data)
            self.callers[caller](request)
            before = self._send(session, request, caller, operation.label, before)

        with contextlib.suppress(Unsatisfiable):  # nothing about a bare GET can be wrong
            send()

    def _prepared(self, case: Any, data: st.DataObject) -> requests.PreparedRequest:
        template = case.operation.path
        for name in case.path_parameters or {}:
            known = self.real.get(name)
            if known and (case.method, template) not in _ENDING and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(known))
        if isinstance(case.query, dict):
            wait = case.query.get("wait")
            if isinstance(wait, (int, float)) and wait > _WAIT_SECONDS:
                case.query["wait"] = _WAIT_SECONDS
        arguments = case.as_transport_kwargs(base_url=self.url)
        arguments["headers"].pop("X-Schemathesis-TestCaseId", None)
        for ending, body in self.frames.items():
            if template.endswith(ending) and data.draw(st.booleans()):
                arguments.pop("json", None)
                arguments["data"] = data.draw(mutated_bytes(body))
                arguments["headers"]["Content-Type"] = "application/octet-stream"
        return requests.Request(
            method=arguments["method"],
            url=arguments["url"],
            headers=arguments["headers"],
            params=arguments.get("params"),
            data=arguments.get("data"),
            json=arguments.get("json"),
            files=arguments.get("files"),
        ).prepare()

    def _send(
        self,
        session: requests.Session,
        request: requests.PreparedRequest,
        caller: str,
        label: str,
        before: dict[str, str],
    ) -> dict[str, str]:
        shown = f"{caller}: {request.method} {request.url} {request.headers} {request.body!r:.2000}"
        try:
            answer = session.send(request, timeout=ANSWER_SECONDS, allow_redirects=False)
        except requests.exceptions.InvalidHeader:
            # Not a request: the client refuses to send it.
            return before
        except requests.RequestException as error:
            raise FuzzError(f"no answer ({error}) to {shown}") from error
        self.statuses[caller, label, answer.status_code] += 1
        if answer.status_code >= 500:
            raise FuzzError(f"{answer.status_code} {answer.text:.2000} to {shown}")
        if answer.status_code >= 400:
            media_type = answer.headers.get("content-type", "")
            problem = answer.json() if media_type == "application/problem+json" else {}
            detail = problem.get("detail", "\n")
            # What gunicorn itself refuses (no HTTP at all) has no problem document.
            if "\n" in detail or problem["status"] != answer.status_code:
                raise FuzzError(f"no problem document, but {answer.text:.500}, to {shown}")
        if request.method == "GET" or answer.ok:
            return stored(self.state) if answer.ok and request.method != "GET" else before
        after = stored(self.state)
        if after != before:
            changed = sorted(name for name in after if after[name] != before.get(name))
            raise FuzzError(f"{answer.status_code}, but {changed} changed, after {shown}")
        return after
