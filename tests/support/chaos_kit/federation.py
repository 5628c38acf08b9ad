"""A federation of real processes, each bank behind a faulty network of its own."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import httpx
from federations.postgres import Cluster
from federations.watched import CONTRACT
from proxies.faulty import FaultProxy, Traffic

from chaos_kit.disk import SmallDisk, small_disk
from chaos_kit.oracle import Workload
from chaos_kit.programs import Supervised, Supervisor, never_restarted
from fraudfed.lab.local_federation.consortium import BANK_RULES, FIRST_EPOCH, Consortium
from fraudfed.lab.local_federation.processes import run_program
from fraudfed.wire.messages import (
    AuditEntry,
    AuditLog,
    DropRequest,
    RunCreated,
    RunSpec,
    RunState,
    RunStatus,
)

_POLL_SECONDS = 0.05
#: More than a run's database needs; small enough to be filled at once.
_DISK_MEBIBYTES = 32
_UNITS = Path(__file__).parents[3] / "deploy" / "systemd"
_PATCHES = Path(__file__).with_name("patches")


class ChaosError(AssertionError):
    """The run did not go on, or did not end as it must."""


@dataclass(frozen=True)
class Setting:
    """What a federation runs on, and under which rules.

    Attributes
    ----------
    with_disks : bool
        Every program keeps its state on a small disk of its own.
    cluster : Cluster or None
        Where the aggregator keeps all; None is its own directory.
    workers : int
        Of the aggregator.
    deadline_seconds : int
        Of the run: for so long a bank is waited for.
    min_cohort : int
        Of the run and of every bank.
    patience_seconds : float
        Whatever the test waits for is over long before, or something hangs.
    pace : float
        Seconds by which every request that sends something is late while faults happen.
    environment : mapping of str to str
        What the programs get beside ours.
    before_bank_starts : callable or None
        Called with a bank's state directory, its data file and the number of its starts so far,
        before the bank is started again.
    """

    with_disks: bool = False
    cluster: Cluster | None = None
    workers: int = 1
    deadline_seconds: int = 600
    min_cohort: int = 2
    patience_seconds: float = 120.0
    pace: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)
    before_bank_starts: Callable[[Path, Path, int], None] | None = None


@dataclass
class Federation:
    """Everything a fault can be done to.

    Attributes
    ----------
    setting : Setting
    aggregator : Supervised
    banks : dict of str to Supervised
    proxies : dict of str to FaultProxy
        Each bank's way to the aggregator.
    clocks : dict of str to Path
        By program; a file with the seconds by which its clock is wrong.
    disks : dict of str to SmallDisk
        By program; empty if they cannot be made.
    away : set of str
        Banks that stay away until the end.
    """

    setting: Setting
    aggregator: Supervised
    banks: dict[str, Supervised]
    proxies: dict[str, FaultProxy]
    clocks: dict[str, Path]
    disks: dict[str, SmallDisk]
    run_id: str
    states: dict[str, Path]
    aggregator_state: Path
    supervisor: Supervisor
    http: httpx.Client
    statuses: list[RunStatus] = field(default_factory=list)
    lasting: threading.Event = field(default_factory=threading.Event)
    """Never set: faults last for a while by waiting for it."""
    away: set[str] = field(default_factory=set)

    def status(self) -> RunStatus | None:
        """Ask the aggregator how the run is, past all proxies; None if it does not answer."""
        try:
            answer = self.http.get(f"/v1/runs/{self.run_id}")
        except httpx.HTTPError:
            return None
        if answer.status_code != httpx.codes.OK:
            return None
        status = RunStatus.model_validate_json(answer.content)
        if status.state is RunState.FAILED:
            raise ChaosError(f"the run has failed: {status.failure}")
        self.statuses.append(status)
        return status

    def wait_until(self, good: Callable[[], bool], what: str) -> None:
        """Wait, but not indefinitely.

        Raises
        ------
        ChaosError
            If it takes longer than the setting's patience or a program cannot go on.
        """
        patience = self.setting.patience_seconds
        deadline = time.monotonic() + patience
        while not good():
            if (reason := self.supervisor.given_up()) is not None:
                self.status()  # the run's own reason, if it has one
                raise ChaosError(f"{what} did not happen: {reason}")
            if time.monotonic() > deadline:
                programs = (self.aggregator, *self.banks.values())
                ends = "; ".join(f"{p.name} {p.exit_codes}: {p.last_lines(1)}" for p in programs)
                last = self.statuses[-1] if self.statuses else None
                where = "no answer yet" if last is None else _where(last)
                for program in programs:
                    program.write_stacks()
                # So long they may take to write it, before all end.
                time.sleep(1.0)
                raise ChaosError(f"{what} did not happen within {patience:g} s: {where}: {ends}")
            time.sleep(_POLL_SECONDS)

    def wait_for_status(self, what: str) -> RunStatus:
        """Wait until the aggregator answers."""
        found: list[RunStatus] = []

        def asked() -> bool:
            status = self.status()
            if status is not None:
                found.append(status)
            return bool(found)

        self.wait_until(asked, what)
        return found[0]

    def is_over(self) -> bool:
        """Whether the run has its model."""
        return bool(self.statuses) and self.statuses[-1].state is RunState.FINISHED

    def wait_for_next_round(self, what: str) -> None:
        """Wait until the run has gone on from where it is now, or is over."""
        before = self.wait_for_status(f"{what}: an answer of the aggregator").round_number

        def gone_on() -> bool:
            status = self.status()
            return status is not None and (status.round_number > before or self.is_over())

        self.wait_until(gone_on, f"{what}: another round after round {before}")

    @property
    def present(self) -> list[str]:
        """Banks that are not away until the end."""
        return sorted(set(self.banks) - self.away)

    def wait_for_all_present(self, what: str) -> None:
        """Wait until every bank that is not away takes part, or the run is over."""

        def complete() -> bool:
            status = self.status()
            if status is None:
                return False
            began = status.state is RunState.TRAINING and not status.waiting
            return self.is_over() or (began and list(status.generation.banks) == self.present)

        self.wait_until(complete, f"{what}: all of {', '.join(self.present)} take part")

    def wait_until_dropped(self, bank: str, what: str) -> None:
        """Wait until the others have continued without a bank, or the run is over."""

        def gone() -> bool:
            status = self.status()
            if status is None:
                return False
            began = status.state is RunState.TRAINING
            return self.is_over() or (began and bank not in status.generation.banks)

        self.wait_until(gone, f"{what}: the others go on without {bank}")

    def drop(self, bank: str, reason: str) -> None:
        """Drop a bank as the operator does.

        Raises
        ------
        ChaosError
            If the aggregator refuses it though the run goes on.
        """
        body = DropRequest(bank=bank, reason=reason).model_dump_json()

        def dropped() -> bool:
            answer = self.http.post(
                f"/v1/runs/{self.run_id}/drops",
                content=body,
                headers={"Content-Type": "application/json"},
            )
            # Refused for a moment while another bank is coming in.
            refused = answer.status_code == httpx.codes.CONFLICT
            if not answer.is_success and not refused and not self._has_ended():
                raise ChaosError(f"{bank} cannot be dropped: {answer.text}")
            return answer.is_success or self._has_ended()

        self.wait_until(dropped, f"the drop of {bank}")

    def _has_ended(self) -> bool:
        return self.status() is not None and self.is_over()

    def audit(self) -> list[AuditEntry]:
        """Return the aggregator's audit log of the run."""
        found: list[AuditEntry] = []
        while True:
            start = found[-1].seq + 1 if found else 1
            answer = self.http.get("/v1/audit", params={"run": self.run_id, "start": start})
            answer.raise_for_status()
            entries = AuditLog.model_validate_json(answer.content).entries
            if not entries:
                return found
            found += entries

    def be_clean(self) -> None:
        """Let no more faults happen."""
        for proxy in self.proxies.values():
            proxy.be_clean()

    def wait_for_the_end(self) -> dict[str, bytes]:
        """Wait until every bank has ended well; return their models, by bank."""
        self.wait_until(
            lambda: all(self.banks[name].done for name in self.present), "the end of the training"
        )
        for name in self.away:
            self.banks[name].release()
        self.wait_until(lambda: all(bank.done for bank in self.banks.values()), "the end")
        self.wait_for_status("the end: an answer of the aggregator")
        return {
            name: (state / "runs" / self.run_id / "model.json").read_bytes()
            for name, state in self.states.items()
        }


@contextmanager
def federation(
    workload: Workload, work: Path, setting: Setting, *, random: Random
) -> Iterator[Federation]:
    """Set a federation up undisturbed and start its run; all of it is gone after the block."""
    logs = work / "logs"
    logs.mkdir(parents=True)
    parts = workload.parts()
    with ExitStack() as stack:
        disks: dict[str, SmallDisk] = {}
        if setting.with_disks:
            for name in ("aggregator", *parts):
                disk = small_disk(work / f"disk-{name}", mebibytes=_DISK_MEBIBYTES)
                disks[name] = stack.enter_context(disk)
        homes = {
            name: disks[name].path if name in disks else work for name in ("aggregator", *parts)
        }
        state = homes["aggregator"] / "aggregator"
        states = {name: homes[name] / name for name in parts}
        clocks = {name: work / f"{name}.clock" for name in ("aggregator", *parts)}
        supervisor = stack.enter_context(Supervisor(Random(random.random())))

        inherited = [path for path in (os.environ.get("PYTHONPATH"),) if path]

        def program(
            name: str,
            arguments: list[str],
            *,
            unit: str,
            ends: bool,
            before_start: Callable[[int], None] | None = None,
        ) -> Supervised:
            environment = {
                "PYTHONPATH": os.pathsep.join([str(_PATCHES), *inherited]),
                "CHAOS_CLOCK_FILE": str(clocks[name]),
                **setting.environment,
            }
            return supervisor.add(
                Supervised(
                    name,
                    arguments,
                    log=logs / f"{name}.log",
                    environment=environment,
                    final=never_restarted(_UNITS / unit),
                    ends=ends,
                    before_start=before_start,
                )
            )

        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        init = ["aggregator", "init", "--state", str(state)]
        if setting.cluster is not None:
            init += ["--database", setting.cluster.url()]
        run_program(init, log=logs / "init.log")
        serve = ["aggregator", "--log-format", "json", "serve", "--state", str(state)]
        serve += ["--port", str(port), "--workers", str(setting.workers)]
        aggregator = program("aggregator", serve, unit="fraudfed-aggregator.service", ends=False)
        token_file = state / "operator.token"
        headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"}
        http = stack.enter_context(
            httpx.Client(base_url=url, headers=headers, timeout=5.0, trust_env=False)
        )
        traffic = Traffic()
        proxies = {
            name: stack.enter_context(
                FaultProxy(url, random=Random(random.random()), traffic=traffic, pace=setting.pace)
            )
            for name in parts
        }
        found = Federation(
            setting,
            aggregator,
            {},
            proxies,
            clocks,
            disks,
            "",
            states,
            state,
            supervisor,
            http,
        )
        found.wait_until(lambda: _answers(http), "the start of the aggregator")
        consortium = Consortium(url, token_file, states, logs, rules=_bank_rules(setting))
        consortium.enrol(bank_urls={name: proxy.url for name, proxy in proxies.items()})
        consortium.make_keys(key_bits=2048)
        found.run_id = _create_run(http, workload, setting)
        for name, part in parts.items():
            data = work / f"{name}.parquet"
            part.to_parquet(data, index=False)
            train = ["bank-node", "--log-format", "json", "train", "--state", str(states[name])]
            train += ["--run", found.run_id, "--data", str(data), "--threads", "1"]
            before = None
            if setting.before_bank_starts is not None:
                before = partial(setting.before_bank_starts, states[name], data)
            found.banks[name] = program(
                name, train, unit="fraudfed-bank@.service", ends=True, before_start=before
            )
        found.wait_until(lambda: _has_begun(found), "the beginning of the training")
        yield found


def _bank_rules(setting: Setting) -> str:
    colluders = f"tolerated_colluders = {setting.min_cohort - 2}\n"
    return BANK_RULES.replace("[rules]\n", f"[rules]\n{colluders}")


def _create_run(http: httpx.Client, workload: Workload, setting: Setting) -> str:
    spec = RunSpec(
        name="chaos",
        key_epoch=FIRST_EPOCH,
        parameters=workload.parameters,
        contract=CONTRACT,
        min_cohort=setting.min_cohort,
        deadline_seconds=setting.deadline_seconds,
        # How often a bank is dropped here is not what is tried.
        max_rejoins=1000,
    )
    answer = http.post(
        "/v1/runs",
        content=spec.model_dump_json(),
        headers={"Content-Type": "application/json"},
    )
    answer.raise_for_status()
    return RunCreated.model_validate_json(answer.content).run_id


def _has_begun(found: Federation) -> bool:
    status = found.status()
    return status is not None and status.state is not RunState.OPEN and status.round_number > 0


def _where(status: RunStatus) -> str:
    return (
        f"{status.state} in round {status.round_number} of generation "
        f"{status.generation.number} with {', '.join(status.generation.banks)}, "
        f"waiting {', '.join(status.waiting) or 'nobody'}"
    )


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/v1/health").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
