"""Run a federation on loopback: an aggregator process, and for each run a process per bank."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from fraudfed.errors import RunFailedError, TransportError
from fraudfed.lab.local_federation.consortium import (
    FIRST_EPOCH,
    Consortium,
    bank_log,
    start_aggregator,
)
from fraudfed.lab.local_federation.processes import Program, ProgramGroup
from fraudfed.machine.usage import Usage, usage_of
from fraudfed.wire.messages import (
    DataContract,
    ModelVisibility,
    RiskSpec,
    RunKind,
    RunSpec,
    RunStatus,
    SearchSpec,
    parse,
)

_POLL_SECONDS = 0.2

#: Makes a bank's way to the aggregator: is given the bank's name and the aggregator's URL; the
#: context manager gives the URL that the bank is to call.
Network = Callable[[str, str], AbstractContextManager[str]]


def _direct(_bank: str, url: str) -> AbstractContextManager[str]:
    return nullcontext(url)


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
class RunOutcome:
    """A finished run.

    Attributes
    ----------
    run_id : str
    result : bytes
        What the banks agreed on, as the aggregator holds it: a model, or sealed tables of risk.
    status : RunStatus
    banks : tuple of BankOutcome
        In the order in which their files were given.
    seconds : float
        Wall time from the start of the banks' processes to the end of the last one: with their
        imports, the reading and checking of their files, and their waiting for each other.
    aggregator : Usage
        What the aggregator used in that time; its peak is that of its whole life.
    """

    run_id: str
    result: bytes
    status: RunStatus
    banks: tuple[BankOutcome, ...]
    seconds: float
    aggregator: Usage


class Federation:
    """Banks with keys and an aggregator that is running; made by :func:`open_federation`.

    Attributes
    ----------
    states : mapping of bank name to its state directory
    set_up_seconds : float
        Wall time of starting the aggregator, enrolment and the key ceremony.
    """

    def __init__(
        self, consortium: Consortium, group: ProgramGroup, server: Program, *, work: Path
    ) -> None:
        self._consortium = consortium
        self._group = group
        self._server = server
        self._work = work
        self.states = consortium.states
        self.set_up_seconds = 0.0

    def train(
        self,
        files: Mapping[str, Path],
        *,
        name: str,
        contract: DataContract,
        parameters: Mapping[str, Any],
        threads: int | None = None,
        options: Sequence[str] = (),
        engines: Mapping[str, Sequence[str]] | None = None,
        on_progress: Callable[[int], None] = lambda _trees: None,
    ) -> RunOutcome:
        """Train a model.

        Parameters
        ----------
        files : mapping of bank name to the file its node trains on
        name : of the run
        contract, parameters : of the run
        threads : of each bank node; None leaves it the choice
        options : further ones of each bank node
        engines : further ones of some banks alone, that say where they work on their rows
        on_progress : called with the number of trees finished so far

        Raises
        ------
        FraudFedError
            The error of the first program that failed, with its exit code's class.
        """
        spec = RunSpec(
            name=name, key_epoch=FIRST_EPOCH, parameters=dict(parameters), contract=contract
        )
        limits = () if threads is None else ("--threads", str(threads))
        return self._run(
            spec,
            files,
            ("train",),
            (*limits, *options),
            lambda node: on_progress(_trees_finished(node)),
            engines=engines,
        )

    def search(
        self,
        files: Mapping[str, Path],
        *,
        name: str,
        contract: DataContract,
        parameters: Mapping[str, Any],
        search: SearchSpec,
        threads: int | None = None,
        on_progress: Callable[[int], None] = lambda _trees: None,
    ) -> RunOutcome:
        """Find the best of several sets of parameters, and its model.

        Parameters
        ----------
        files : mapping of bank name to the file its node trains on
        name : of the run
        contract : of the run
        parameters : that all candidates share
        search : candidates and rungs
        threads : of each bank node; None leaves it the choice
        on_progress : called with the number of trees finished so far, of the candidates that grow
            longest

        Raises
        ------
        FraudFedError
            The error of the first program that failed, with its exit code's class.
        """
        spec = RunSpec(
            name=name,
            key_epoch=FIRST_EPOCH,
            kind=RunKind.SEARCH,
            parameters=dict(parameters),
            contract=contract,
            search=search,
        )
        limits = () if threads is None else ("--threads", str(threads))
        return self._run(
            spec, files, ("search",), limits, lambda node: on_progress(_trees_finished(node))
        )

    def share_risk(self, files: Mapping[str, Path], *, name: str, spec: RiskSpec) -> RunOutcome:
        """Sum the counts of payments and frauds at what the banks have in common.

        Parameters
        ----------
        files : mapping of bank name to its file of transactions
        name : of the run
        spec : what is counted

        Raises
        ------
        FraudFedError
            The error of the first program that failed, with its exit code's class.
        """
        run = RunSpec(
            name=name,
            key_epoch=FIRST_EPOCH,
            kind=RunKind.RISK,
            risk=spec,
            model_visibility=ModelVisibility.MEMBERS,
        )
        return self._run(run, files, ("risk", "update"), (), lambda _node: None)

    def _run(
        self,
        spec: RunSpec,
        files: Mapping[str, Path],
        command: tuple[str, ...],
        options: tuple[str, ...],
        on_progress: Callable[[Program], None],
        *,
        engines: Mapping[str, Sequence[str]] | None = None,
    ) -> RunOutcome:
        """Open a run and let every bank take part in it with its file."""
        run_id = self._consortium.create_run(spec, file=self._work / f"{spec.name}.json")
        before = usage_of(self._server.process.pid)
        started = time.monotonic()
        nodes = [
            self._group.start(
                bank_log(bank, spec.name),
                [
                    *("bank-node", "--log-format", "json", *command, "--run", run_id, *options),
                    *("--state", str(self.states[bank]), "--data", str(file)),
                    *(engines or {}).get(bank, ()),
                ],
            )
            for bank, file in files.items()
        ]
        _watch(self._group, self._server, nodes, on_progress)
        seconds = time.monotonic() - started
        aggregator = usage_of(self._server.process.pid).since(before)
        token = self._consortium.token_file.read_text().strip()
        status, result = _fetch(self._consortium.url, run_id, token)
        return RunOutcome(
            run_id,
            result,
            status,
            tuple(
                BankOutcome(
                    name=bank,
                    state=self.states[bank],
                    record=json.loads(
                        (self.states[bank] / "runs" / run_id / "record.json").read_text()
                    ),
                )
                for bank in files
            ),
            seconds,
            aggregator,
        )


@contextmanager
def open_federation(
    banks: Sequence[str],
    *,
    key_bits: int,
    work: Path,
    port: int = 0,
    network: Network = _direct,
) -> Iterator[Federation]:
    """Make a consortium over real processes and HTTP, and keep it until the block ends.

    Parameters
    ----------
    banks : names, the steward first
    key_bits : size of the Paillier key, which the first bank makes and seals to the others
    work : directory for state, logs and the descriptions of runs
    port : for the aggregator; 0 takes a free one
    network : makes the way of each bank to the aggregator

    Raises
    ------
    FraudFedError
        The error of the first program that failed, with its exit code's class.
    """
    logs = work / "logs"
    states = {bank: work / "banks" / bank for bank in banks}
    with ProgramGroup(logs=logs) as group, ExitStack() as networks:
        started = time.monotonic()
        server, url = start_aggregator(group, work / "aggregator", logs=logs, port=port)
        token_file = work / "aggregator" / "operator.token"
        consortium = Consortium(url, token_file, states, logs)
        consortium.enrol(
            bank_urls={bank: networks.enter_context(network(bank, url)) for bank in banks}
        )
        consortium.make_keys(key_bits=key_bits)
        federation = Federation(consortium, group, server, work=work)
        federation.set_up_seconds = time.monotonic() - started
        yield federation


def _watch(
    group: ProgramGroup,
    server: Program,
    nodes: Sequence[Program],
    on_progress: Callable[[Program], None],
) -> None:
    """Wait until every bank has ended; a bank's own failure comes before its echo elsewhere."""
    while any(node.process.poll() is None for node in nodes):
        if server.process.poll() is not None:
            raise TransportError(f"aggregator: {server.last_error()} (log {server.log})")
        on_progress(nodes[0])
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
    on_progress(nodes[0])


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
