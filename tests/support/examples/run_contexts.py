"""What a bank knows of a run, for tests of parts that need a little of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bank_node.config import CohortRules
from bank_node.consortium.ceremony import AcceptedEpoch
from bank_node.run.context import RunContext, RunOptions


def make_context(
    bank: str,
    client: Any,
    *,
    run: Any,
    key_epoch: Any,
    package: Any = None,
    min_cohort: int = 3,
    round_timeout_seconds: float | None = None,
    cohort_timeout_seconds: float | None = None,
    identity: Any = None,
    **known: Any,
) -> RunContext:
    """Return a context; what is not given is missing, and using it is an error.

    Parameters
    ----------
    run : PinnedRun or str
        The run, or its id alone.
    key_epoch : KeyEpoch or int
        The key epoch, or its number alone.
    known
        Other attributes of the context: ``checkpoints``, ``outbox``, ``log``, ``progress``, ...
    """
    settings: dict[str, Any] = {
        "state": SimpleNamespace(config=SimpleNamespace(name=bank)),
        "connection": SimpleNamespace(client=client, identity=identity),
        "run": SimpleNamespace(run_id=run) if isinstance(run, str) else run,
        "epoch": AcceptedEpoch(
            SimpleNamespace(epoch=key_epoch) if isinstance(key_epoch, int) else key_epoch,
            package,
            missing=(),
            active=True,
        ),
        "rules": CohortRules(min_cohort=min_cohort),
        "roster_confirmed": False,
        "options": RunOptions(
            Path("rows.csv"),
            round_timeout_seconds=round_timeout_seconds,
            cohort_timeout_seconds=cohort_timeout_seconds,
        ),
        **dict.fromkeys(("agreements", "progress", "checkpoints", "outbox", "log")),
        **known,
    }
    return RunContext(**settings)
