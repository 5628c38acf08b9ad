"""What the bank node says: whether it ends a run for all, logs, progress, times."""

import io
import json
import logging

import pytest
from rich.console import Console

from bank_node.logs import ROUND, RUN, configure_logging
from bank_node.run.abort import abort_reason
from bank_node.run.progress import RunProgress
from bank_node.run.sums.phases import PhaseTimes
from fraudfed.errors import error_classes

#: Every class of error: whether the same command, started again, may go on. What may not ends the
#: run for all.
_GOES_ON = {
    "authentication": True,
    "body-too-large": False,
    "bound": False,
    "ciphertext": False,
    "cohort": True,
    "cohort-changed": True,
    "cluster": True,
    "configuration": False,
    "confirmation-needed": True,
    "conflict": False,
    "damaged": True,
    "data": False,
    "error": False,
    "forbidden": True,
    "keep-own": False,
    "key": False,
    "limit-broken": False,
    "not-found": False,
    "overloaded": True,
    "parameter": False,
    "privacy-budget": True,
    "protocol": False,
    "rate-limited": True,
    "run-description": False,
    "run-failed": True,
    "server": True,
    "state": True,
    "sum": False,
    "transport": True,
    "unavailable": True,
    "undecided": False,
    "version": False,
}


@pytest.mark.parametrize("slug", error_classes())
def test_only_what_no_new_start_can_cure_ends_the_run_for_all(slug: str) -> None:
    assert (abort_reason(error_classes()[slug]("why")) is None) == _GOES_ON[slug]


def test_json_logs_are_objects_with_run_and_round(capsys, restored_process) -> None:
    configure_logging(log_format="json", level="info", console=Console(stderr=True))
    tokens = RUN.set("r1"), ROUND.set(4)
    logging.getLogger("bank_node.jobs.training").info("tree\nfinished", extra={"tree": 2})
    logging.getLogger("fraudfed.boosting").debug("not shown")
    RUN.reset(tokens[0])
    ROUND.reset(tokens[1])
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert record["message"] == "tree\nfinished"
    assert (record["run"], record["round"], record["tree"]) == ("r1", 4, 2)
    assert record["level"] == "INFO"
    assert {"time", "logger"} <= set(record)


def test_text_logs_hold_the_facts_of_a_tree(capsys, restored_process) -> None:
    configure_logging(log_format="text", level="info", console=Console(stderr=True))
    extra = {"tree": 2, "leaves": 4, "metrics": {"aucpr": 0.5}}
    logging.getLogger("bank_node.jobs.training").info("tree finished", extra=extra)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("INFO tree finished tree=2 leaves=4 metrics={'aucpr': 0.5}")


def test_on_a_terminal_the_progress_bar_alone_shows_trees(restored_process) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    configure_logging(log_format="text", level="info", console=console)
    logger = logging.getLogger("bank_node.jobs.training")
    logger.info("tree finished", extra={"tree": 2})
    logger.info("the cohort is complete")
    assert "the cohort is complete" in screen.getvalue()
    assert "tree" not in screen.getvalue()


def test_text_logs_hold_the_facts_of_days_and_a_terminal_does_not(capsys, restored_process) -> None:
    configure_logging(log_format="text", level="info", console=Console(stderr=True))
    logger, extra = logging.getLogger("bank_node.jobs.risk.run"), {"days": 14, "of": 60}
    logger.info("days finished", extra=extra)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("INFO days finished days=14 of=60")
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    configure_logging(log_format="text", level="info", console=console)
    logger.info("days finished", extra=extra)
    assert screen.getvalue() == ""


@pytest.mark.parametrize("enabled", [True, False])
def test_progress_shows_banks_then_trees_with_the_metric(enabled: bool) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with RunProgress(console, enabled=enabled) as progress:
        progress.banks(("a", "b"), 3)
        progress.steps("trees", 0, 30, "")
        progress.steps("trees", 12, 30, "aucpr 0.71234")
    text = screen.getvalue()
    assert ("12/30" in text) == enabled
    assert ("aucpr 0.71234" in text) == enabled
    assert enabled or text == ""


def test_all_time_is_booked_once() -> None:
    times = PhaseTimes()
    for phase in ("histogram", "encrypt", "histogram"):
        times.mark(phase)
    assert set(times.wall_seconds) == {"histogram", "encrypt"}
    assert all(seconds >= 0 for seconds in times.wall_seconds.values())
    assert json.loads(json.dumps(times.to_dict()))["rounds"] == 0
