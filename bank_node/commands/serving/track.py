"""``bank-node track``, and ``--tracking-uri`` of the commands that finish a run."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bank_node.commands.options import answers, state_option
from bank_node.commands.output import Tracked
from bank_node.state.directory import StateDirectory
from fraudfed.console import examples, say
from fraudfed.errors import FraudFedError

if TYPE_CHECKING:
    from bank_node.tracking.mlflow_server import Tracking

F = TypeVar("F", bound=Callable[..., Any])

_EXPERIMENT = click.option(
    "--experiment", default="fraudfed", show_default=True, help="Experiment in MLflow."
)


def tracking_options(command: F) -> F:
    """Add the options of a command that logs a run once it is finished."""
    uri = click.option(
        "--tracking-uri",
        default=None,
        metavar="URI",
        help="Log the finished run and its model in this bank's MLflow; its rows never.",
    )
    return uri(_EXPERIMENT(command))


def checked_tracking(uri: str | None, experiment: str) -> "Tracking | None":
    """Return where a run will be logged; raises ConfigurationError before anything is started."""
    if uri is None:
        return None
    from bank_node.tracking.mlflow_server import Tracking, check_tracking

    tracking = Tracking(uri, experiment)
    check_tracking(tracking)
    return tracking


def track_or_warn(state: StateDirectory, run_id: str, tracking: "Tracking | None") -> None:
    """Log a run that is finished; a server that fails makes no failure of the run."""
    if tracking is None:
        return
    try:
        _track(state, run_id, tracking)
    except FraudFedError as error:
        say(
            f"warning: the run is finished, but not logged: {error}",
            f"Log it later: bank-node track --state {state.path} {run_id} --tracking-uri URI",
            err=True,
        )


def _track(state: StateDirectory, run_id: str, tracking: "Tracking") -> Tracked:
    from bank_node.tracking.mlflow_server import log_run
    from bank_node.tracking.what_is_logged import logged_run

    at = log_run(logged_run(state, run_id), tracking)
    return Tracked(
        run_id=run_id,
        tracking_uri=tracking.shown,
        experiment=tracking.experiment,
        mlflow_run_id=at.mlflow_run_id,
        logged_before=at.again,
    )


def _show(found: Tracked) -> None:
    how = "was logged before" if found.logged_before else "is logged"
    say(
        f"run {found.run_id} {how} at {found.tracking_uri}, experiment {found.experiment}, as "
        f"{found.mlflow_run_id}; load its model with "
        f"mlflow.xgboost.load_model('runs:/{found.mlflow_run_id}/model')"
    )


@click.command(
    epilog=examples(
        "bank-node track --state bank-a RUN_ID --tracking-uri https://mlflow.bank.example"
    )
)
@state_option
@click.argument("run_id")
@click.option(
    "--tracking-uri",
    required=True,
    metavar="URI",
    help="Of this bank's MLflow: https://... or sqlite:///FILE.",
)
@_EXPERIMENT
@answers(Tracked, _show)
def track(path: Path, run_id: str, tracking_uri: str, experiment: str) -> Tracked:
    """Log a finished run and its model in this bank's MLflow; its rows never."""
    from bank_node.tracking.mlflow_server import Tracking

    return _track(StateDirectory(path), run_id, Tracking(tracking_uri, experiment))
