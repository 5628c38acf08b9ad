"""Run one federation on loopback: an aggregator process and one process per bank."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from fraudfed.errors import RunFailedError, TransportError
from fraudfed.federation.consortium import Consortium, start_aggregator
from fraudfed.federation.processes import Program, ProgramGroup
from fraudfed.usage import Usage, usage_of
from fraudfed.wire.messages import DataContract, RunStatus, parse

__all__ = ["BankOutcome", "FederationOutcome", "run_federation"]

_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class BankOutcome:
    """What one bank's process left behind.

    Attributes
    ----------
    name : str
    state : Path
        The bank node's state directory.
    record : mapping
        The bank node's own record of the run: phases, rounds, ciphertexts, bytes, key, kernel.
    """

    name: str
    state: Path
    record: Mapping[str, Any]


@dataclass(frozen=True)
class FederationOutcome:
    """A finished run.

    Attributes
    ----------
    model_json : bytes
    status : RunStatus
    banks : tuple of BankOutcome
        In the order in which their files were given.
    set_up_seconds : float
        Wall time until the run was open: starting the aggregator, enrolment, key ceremony.
    train_seconds : float
        Wall time from the start of the banks' processes to the end of the last one: with their
        imports, the reading and checking of their files, and their waiting for each other.
    aggregator : Usage
        What the aggregator used in that time; its peak is that of its whole life.
    """

    model_json: bytes
    status: RunStatus
    banks: tuple[BankOutcome, ...]
    set_up_seconds: float
    train_seconds: float
    aggregator: Usage


def run_federation(
    train_files: Mapping[str, Path],
    *,
    name: str,
    contract: DataContract,
    parameters: Mapping[str, Any],
    key_bits: int,
    work: Path,
    port: int = 0,
    threads: int | None = None,
    network: Callable[[str, str], AbstractContextManager[str]] = lambda _bank, url: nullcontext(
        url
    ),
    on_progress: Callable[[int], None] = lambda _trees: None,
) -> FederationOutcome:
    """Make a consortium and train over real processes and HTTP.

    Parameters
    ----------
    train_files : mapping of bank name to the file its node trains on
    name : of the run
    contract, parameters : of the run
    key_bits : size of the Paillier key, which the first bank makes and seals to the others
    work : directory for state, logs and the run's description
    port : for the aggregator; 0 takes a free one
    threads : of each bank node; None leaves it the choice
    network : makes a bank's way to the aggregator: is given the bank's name and the aggregator's
        URL; the context manager gives the URL that the bank is to call
    on_progress : called with the number of trees finished so far

    Returns
    -------
    FederationOutcome
        With the model that every bank agreed on.

    Raises
    ------
    FraudFedError
        The error of the first program that failed, with its exit code's class.
    """
    logs = work / "logs"
    states = {bank: work / "banks" / bank for bank in train_files}
    token_file = work / "aggregator" / "operator.token"
    with ProgramGroup(logs=logs) as group, ExitStack() as networks:
        started = time.monotonic()
        server, url = start_aggregator(group, work / "aggregator", logs=logs, port=port)
        consortium = Consortium(url, token_file, states, logs)
        consortium.enrol(
            bank_urls={bank: networks.enter_context(network(bank, url)) for bank in train_files}
        )
        consortium.make_keys(key_bits=key_bits)
        run_id = consortium.create_run(
            name=name, contract=contract, parameters=parameters, file=work / "run.json"
        )
        set_up_seconds = time.monotonic() - started
        before = usage_of(server.process.pid)
        started = time.monotonic()
        limits = () if threads is None else ("--threads", str(threads))
        nodes = [
            group.start(
                bank,
                [
                    *("bank-node", "--log-format", "json", "train", "--run", run_id, *limits),
                    *("--state", str(states[bank]), "--data", str(file)),
                ],
            )
            for bank, file in train_files.items()
        ]
        _watch(group, server, nodes, on_progress)
        train_seconds = time.monotonic() - started
        aggregator = usage_of(server.process.pid).since(before)
        status, model = _fetch(url, run_id, token_file.read_text().strip())
    outcomes = []
    for bank, state in states.items():
        record = json.loads((state / "runs" / run_id / "record.json").read_text())
        outcomes.append(BankOutcome(name=bank, state=state, record=record))
    return FederationOutcome(
        model, status, tuple(outcomes), set_up_seconds, train_seconds, aggregator
    )


def _watch(
    group: ProgramGroup,
    server: Program,
    nodes: Sequence[Program],
    on_progress: Callable[[int], None],
) -> None:
    """Wait until every bank has ended; a bank's own failure comes before its echo elsewhere."""
    while any(node.process.poll() is None for node in nodes):
        if server.process.poll() is not None:
            raise TransportError(f"aggregator: {server.last_error()} (log {server.log})")
        on_progress(_trees_finished(nodes[0]))
        if group.first_failure(nodes) is not None:
            break
        time.sleep(_POLL_SECONDS)
    for node in nodes:
        node.process.wait()
    failures = [error for node in nodes if (error := group.first_failure([node])) is not None]
    if failures:
        # "run failed" is what the others say after the first: the cause is the one that is not.
        own = [error for error in failures if not isinstance(error, RunFailedError)]
        raise (own or failures)[0]
    on_progress(_trees_finished(nodes[0]))


def _trees_finished(node: Program) -> int:
    """Count the trees in a bank's JSON log."""
    return node.log.read_text(errors="replace").count('"tree finished"')


def _fetch(url: str, run_id: str, token: str) -> tuple[RunStatus, bytes]:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30.0) as client:
        answers = [client.get(f"/v1/runs/{run_id}{part}") for part in ("", "/model")]
    for answer in answers:
        if answer.status_code != httpx.codes.OK:
            raise TransportError(f"aggregator answered {answer.status_code} for {answer.url}")
    return parse(RunStatus, answers[0].content, source="the aggregator"), answers[1].content
