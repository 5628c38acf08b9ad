"""What a bank knows of a run, for tests of parts that need a little of it."""

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bank_node.config import CohortRules
from bank_node.consortium.ceremony import AcceptedEpoch
from bank_node.run.context import RunContext, RunOptions
from fraudfed.consortium.trust import Trust, TrustKind


def trust_in(names: Iterable[str], *, tolerated_colluders: int = 1) -> Trust:
    """Return the trust of a bank whose people have confirmed these members, each its own owner."""
    return Trust(
        owners={name: name for name in names},
        left=frozenset(),
        tolerated_colluders=tolerated_colluders,
        kind=TrustKind.CONFIRMED,
    )


def make_context(
    bank: str,
    client: Any,
    *,
    run: Any,
    key_epoch: Any,
    package: Any = None,
    tolerated_colluders: int = 1,
    set_changes: int = 0,
    round_timeout_seconds: float | None = None,
    cohort_timeout_seconds: float | None = None,
    identity: Any = None,
    **known: Any,
) -> RunContext:
    """Return a context; what is not given is missing, and using it is an error.

    Parameters
    ----------
    run : PinnedRun or str
        The run, or the id alone of one without privacy terms.
    key_epoch : KeyEpoch or int
        The key epoch, or its number alone.
    known
        Other attributes of the context: ``checkpoints``, ``outbox``, ``log``, ``progress``, ...
    """
    settings: dict[str, Any] = {
        "state": SimpleNamespace(config=SimpleNamespace(name=bank)),
        "connection": SimpleNamespace(client=client, identity=identity),
        "run": _exact_run(run) if isinstance(run, str) else run,
        "epoch": AcceptedEpoch(
            SimpleNamespace(epoch=key_epoch) if isinstance(key_epoch, int) else key_epoch,
            package,
            missing=(),
            active=True,
        ),
        "rules": CohortRules(tolerated_colluders=tolerated_colluders, set_changes=set_changes),
        "trust": trust_in(getattr(run, "cohort", ()), tolerated_colluders=tolerated_colluders),
        "options": RunOptions(
            Path("rows.csv"),
            round_timeout_seconds=round_timeout_seconds,
            cohort_timeout_seconds=cohort_timeout_seconds,
        ),
        **dict.fromkeys(("agreements", "progress", "checkpoints", "ledger", "outbox", "log")),
        **known,
    }
    return RunContext(**settings)


def _exact_run(run_id: str) -> Any:
    return SimpleNamespace(
        run_id=run_id, spec=SimpleNamespace(noise_terms=None, privacy=None, risk=None)
    )
