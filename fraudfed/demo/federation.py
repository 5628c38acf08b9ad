"""Run one federation on loopback: an aggregator process and one process per bank."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.demo.processes import Program, ProgramGroup, run_program
from fraudfed.demo.sources import BankSource
from fraudfed.errors import RunFailedError, TransportError
from fraudfed.wire.messages import DataContract, PublicKeyMessage, RunSpec, RunStatus, parse

__all__ = ["BankOutcome", "FederationOutcome", "run_federation"]

_START_SECONDS = 60.0
_POLL_SECONDS = 0.2
_LISTENING = "aggregator listening on "


@dataclass(frozen=True)
class BankOutcome:
    """What one bank's process left behind."""

    bank: BankSource
    state: Path
    record: Mapping[str, Any]
    """The bank node's own record of the run: phases, rounds, ciphertexts, bytes, key, kernel."""


@dataclass(frozen=True)
class FederationOutcome:
    """A finished run."""

    model_json: bytes
    status: RunStatus
    banks: tuple[BankOutcome, ...]
    train_seconds: float


def run_federation(
    banks: Sequence[BankSource],
    *,
    contract: DataContract,
    parameters: Mapping[str, Any],
    key_package: KeyPackage,
    work: Path,
    port: int,
    on_progress: Callable[[int], None],
) -> FederationOutcome:
    """Train over real processes and HTTP; return the model that every bank agreed on.

    Parameters
    ----------
    banks : the banks and their files
    contract, parameters : of the run
    key_package : handed to every bank's state directory, never to the aggregator
    work : directory for state, logs and the run's description
    port : for the aggregator; 0 takes a free one
    on_progress : called with the number of trees finished so far

    Raises
    ------
    FraudFedError
        The error of the first program that failed, with its exit code's class.
    """
    key_file = work / "consortium.key"
    key_package.save(key_file)
    aggregator_state = work / "aggregator"
    logs = work / "logs"
    with ProgramGroup(logs=logs) as group:
        run_program(
            ["aggregator", "init", "--state", str(aggregator_state)],
            log=logs / "aggregator-init.log",
        )
        server = group.start(
            "aggregator",
            [
                *("aggregator", "--log-format", "json", "serve"),
                *("--state", str(aggregator_state), "--host", "127.0.0.1", "--port", str(port)),
            ],
        )
        url = group.wait_for_line(server, _LISTENING, seconds=_START_SECONDS)
        token_file = aggregator_state / "operator.token"
        run_id = _create_run(
            url, token_file, contract, parameters, len(banks), key_package, work=work, logs=logs
        )
        states = {bank.name: work / "banks" / bank.name for bank in banks}
        with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
            enrolled = [
                pool.submit(_enrol, bank, states[bank.name], key_file, url, run_id, logs=logs)
                for bank in banks
            ]
            for future in enrolled:
                future.result()
        started = time.monotonic()
        nodes = [
            group.start(
                bank.name,
                [
                    *("bank-node", "--log-format", "json", "train"),
                    *("--state", str(states[bank.name]), "--data", str(bank.train_file)),
                ],
            )
            for bank in banks
        ]
        _watch(group, server, nodes, on_progress)
        train_seconds = time.monotonic() - started
        token = token_file.read_text().strip()
        status, model = _fetch(url, run_id, token)
    outcomes = []
    for bank in banks:
        record_file = states[bank.name] / "runs" / run_id / "record.json"
        record = json.loads(record_file.read_text())
        outcomes.append(BankOutcome(bank=bank, state=states[bank.name], record=record))
    return FederationOutcome(model, status, tuple(outcomes), train_seconds)


def _create_run(
    url: str,
    token_file: Path,
    contract: DataContract,
    parameters: Mapping[str, Any],
    cohort_size: int,
    key_package: KeyPackage,
    *,
    work: Path,
    logs: Path,
) -> str:
    spec = RunSpec(
        name="demo",
        cohort_size=cohort_size,
        parameters=dict(parameters),
        contract=contract,
        public_key=PublicKeyMessage.model_validate(key_package.public_key.to_hex()),
    )
    spec_file = work / "run.json"
    spec_file.write_text(spec.model_dump_json(indent=1))
    output = run_program(
        [
            *("aggregator", "runs", "create", "--url", url),
            *("--token-file", str(token_file), "--spec", str(spec_file)),
        ],
        log=logs / "runs-create.log",
    )
    return output.split()[-1]


def _enrol(
    bank: BankSource, state: Path, key_file: Path, url: str, run_id: str, *, logs: Path
) -> None:
    where = ("--state", str(state))
    run_program(
        ["bank-node", "init", *where, "--name", bank.name, "--key-package", str(key_file)],
        log=logs / f"{bank.name}-init.log",
    )
    run_program(
        ["bank-node", "join", *where, "--aggregator", url, "--run", run_id],
        log=logs / f"{bank.name}-join.log",
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
    return sum('"tree finished"' in line for line in node.log.open(errors="replace"))


def _fetch(url: str, run_id: str, token: str) -> tuple[RunStatus, bytes]:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30.0) as client:
        answers = [client.get(f"/v1/runs/{run_id}{part}") for part in ("", "/model")]
    for answer in answers:
        if answer.status_code != httpx.codes.OK:
            raise TransportError(f"aggregator answered {answer.status_code} for {answer.url}")
    return parse(RunStatus, answers[0].content, source="the aggregator"), answers[1].content
