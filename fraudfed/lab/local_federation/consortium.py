"""Make a consortium on loopback by the commands that people use: invite, join, make keys."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fraudfed.lab.local_federation.processes import Program, ProgramGroup, run_program
from fraudfed.machine.threads import usable_cores
from fraudfed.wire.messages import RunSpec

#: A new consortium's first key epoch.
FIRST_EPOCH = 1
_START_SECONDS = 60.0
#: What ``aggregator serve`` prints when it is ready; its URL follows.
LISTENING = "aggregator listening on "


def start_aggregator(
    group: ProgramGroup,
    state: Path,
    *,
    logs: Path,
    port: int = 0,
    threads: int | None = None,
    workers: int | None = None,
    database: str | None = None,
) -> tuple[Program, str]:
    """Initialise and start an aggregator on loopback; return it and its URL.

    Parameters
    ----------
    group : ProgramGroup
    state : Path
        Its state directory, made here.
    logs : Path
    port : int
        0 for any that is free.
    threads, workers : int or None
        None for its default.
    database : str or None
        URL of an empty PostgreSQL database, which stands on a command line for a moment; None is
        SQLite.

    Raises
    ------
    FraudFedError
        If it does not start: its own error.
    """
    where = () if database is None else ("--database", database)
    run_program(
        ["aggregator", "init", "--state", str(state), *where], log=logs / "aggregator-init.log"
    )
    server = group.start(
        "aggregator",
        [
            *("aggregator", "--log-format", "json", "serve"),
            *("--state", str(state), "--host", "127.0.0.1", "--port", str(port)),
            *(() if threads is None else ("--threads", str(threads))),
            *(() if workers is None else ("--workers", str(workers))),
        ],
    )
    return server, group.wait_for_line(server, LISTENING, seconds=_START_SECONDS)


#: The rules of banks that one person starts on one machine, as nobody else's data are at stake.
BANK_RULES = """\
[rules]
insecure_trust_first_use = true
set_changes = 1000

[approval]
columns = ["*"]
parameters = "any"
max_weight = 65536.0
max_categories = 1000000
risk = "any"
statistics = "any"
search = "any"
monitor = "any"
privacy = "any"
"""


@dataclass(frozen=True)
class Consortium:
    """The banks of a consortium and its operator.

    Attributes
    ----------
    url : str
        The aggregator, as the operator reaches it.
    token_file : Path
        The operator's token.
    states : mapping of bank name to its state directory
    logs : Path
    rules : str
        The file of rules that every bank begins with.
    """

    url: str
    token_file: Path
    states: Mapping[str, Path]
    logs: Path
    rules: str = BANK_RULES

    def enrol(self, *, bank_urls: Mapping[str, str]) -> None:
        """Invite every bank and let it join at its URL of the aggregator; each makes its keys."""
        rules = self.logs / "rules.toml"
        rules.write_text(self.rules)

        def join(name: str) -> None:
            code = self._operator("invites", "create", "--name", name, log=bank_log(name, "invite"))
            self._bank(
                *(name, "join", "--name", name, "--aggregator", bank_urls[name]),
                *("--invite", code.split()[-1], "--rules", str(rules)),
            )

        _at_once(join, self.states)

    def make_keys(self, *, key_bits: int) -> None:
        """Let the first bank make the consortium's key, and all check and accept it."""
        steward = next(iter(self.states))
        self._bank(steward, "keys", "create", "--key-bits", str(key_bits))
        _at_once(lambda name: self._bank(name, "keys", "accept"), self.states)

    def create_run(self, spec: RunSpec, *, file: Path) -> str:
        """Open a run over all banks and return its id; its description is kept in ``file``."""
        file.write_text(spec.model_dump_json(indent=1))
        created = self._operator("runs", "create", "--spec", str(file), log=f"create-{spec.name}")
        return created.split()[-1]

    def _operator(self, *command: str, log: str) -> str:
        where = ("--url", self.url, "--token-file", str(self.token_file))
        return run_program(
            ["aggregator", *command[:2], *where, *command[2:]], log=self.logs / f"{log}.log"
        )

    def _bank(self, name: str, *command: str) -> str:
        where = ("--state", str(self.states[name]))
        verb = command[:2] if command[0] == "keys" else command[:1]
        return run_program(
            ["bank-node", *verb, *where, *command[len(verb) :]],
            log=self.logs / f"{bank_log(name, '-'.join(verb))}.log",
        )


def bank_log(bank: str, step: str) -> str:
    """Return the name of the log of a step of a bank; no two steps of banks have one.

    A bank's name holds hyphens and no dots.
    """
    return f"{bank}.{step}"


def _at_once(step: Callable[[str], object], names: Iterable[str]) -> None:
    """Run a step for every bank, as many at a time as there are cores; raise the first failure."""
    with ThreadPoolExecutor(max_workers=usable_cores()) as workers:
        list(workers.map(step, names))
