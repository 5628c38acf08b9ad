"""Log a run in MLflow: parameters, metrics by tree, report, and the model in its xgboost flavour.

The client is told to send no usage statistics, to print nothing, and to give up soon.
"""

import importlib
import logging
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bank_node.tracking.what_is_logged import BANK_TAG, RUN_TAG, LoggedRun
from fraudfed.errors import ConfigurationError, FraudFedError, UnavailableError
from fraudfed.foreign_text import visible

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_log = logging.getLogger(__name__)

DEFAULT_EXPERIMENT = "fraudfed"
MODEL_ARTIFACT = "model"
_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql")
#: MLflow's own settings. Those of the person who started the command come before the second ones.
_ALWAYS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_BY_DEFAULT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
#: As MLflow takes them at once.
_PARAMETERS_AT_ONCE = 100
_POINTS_AT_ONCE = 1000


@dataclass(frozen=True)
class Tracking:
    """Where runs are logged.

    Attributes
    ----------
    uri : str
        May hold a password: it is never shown.
    experiment : str
    """

    uri: str
    experiment: str = DEFAULT_EXPERIMENT

    @property
    def shown(self) -> str:
        """The address without user, password and what follows a question mark."""
        parts = urlsplit(self.uri)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}" if host else f"{parts.scheme}:{parts.path}"


@dataclass(frozen=True)
class LoggedAt:
    """Where a run is in MLflow; ``again`` if it was there already."""

    mlflow_run_id: str
    again: bool


def check_tracking(tracking: Tracking) -> None:
    """Refuse an address that cannot be one, before anything is started.

    Raises
    ------
    ConfigurationError
        If it has another scheme, or MLflow's client is not installed.
    """
    scheme = urlsplit(tracking.uri).scheme.partition("+")[0]
    if scheme not in _SCHEMES:
        raise ConfigurationError(
            f"--tracking-uri: begins with {scheme or 'no scheme'!r}, expected one of "
            f"{', '.join(_SCHEMES)}, such as https://mlflow.bank.example or sqlite:///mlflow.db"
        )
    if not tracking.experiment.strip():
        raise ConfigurationError("--experiment: is empty, expected a name")
    _imported()


def _imported() -> Any:
    """Return the package ``mlflow`` with its xgboost flavour, told to be quiet."""
    os.environ.update(_ALWAYS)
    for name, value in _BY_DEFAULT.items():
        os.environ.setdefault(name, value)
    try:
        mlflow = importlib.import_module("mlflow")
        importlib.import_module("mlflow.xgboost")
    except ImportError as error:
        raise ConfigurationError(
            f"--tracking-uri: MLflow's client is not installed here ({error}); install "
            "fraudfed[mlflow]"
        ) from None
    return mlflow


def log_run(run: LoggedRun, tracking: Tracking) -> LoggedAt:
    """Log a run, once: one that is there is left as it is, one that was cut off is made anew.

    Raises
    ------
    ConfigurationError
        As ``check_tracking``.
    UnavailableError
        If the server cannot be reached or refuses; what was begun there is marked as failed.
    """
    check_tracking(tracking)
    mlflow = _imported()
    try:
        with warnings.catch_warnings():
            # MLflow's own, of what it is made of: nothing that a person here could mend.
            warnings.simplefilter("ignore")
            return _log_run(mlflow, run, tracking)
    except FraudFedError:
        raise
    except Exception as error:
        # MLflow raises what its libraries raise: of requests, SQLAlchemy, the file system.
        _log.debug("MLflow failed", exc_info=True)
        text = visible(str(error)).replace(tracking.uri, tracking.shown)
        first = text.splitlines()[0][:200] if text else ""
        raise UnavailableError(
            f"MLflow at {tracking.shown}: {type(error).__name__}: {first}; check the address and "
            "that the server runs"
        ) from None


def _log_run(mlflow: Any, run: LoggedRun, tracking: Tracking) -> LoggedAt:
    client: MlflowClient = mlflow.MlflowClient(tracking.uri, registry_uri=tracking.uri)
    found = client.get_experiment_by_name(tracking.experiment)
    experiment = (
        client.create_experiment(tracking.experiment) if found is None else found.experiment_id
    )
    for old in _held(client, experiment, run):
        if old.info.status == "FINISHED":
            return LoggedAt(old.info.run_id, again=True)
        client.delete_run(old.info.run_id)
    made = client.create_run(
        experiment, start_time=run.started_at * 1000, tags=run.tags, run_name=run.title
    )
    mlflow_run_id: str = made.info.run_id
    try:
        _fill(mlflow, client, mlflow_run_id, run)
    except Exception:
        _mark_failed(client, mlflow_run_id)
        raise
    client.set_terminated(mlflow_run_id, end_time=run.finished_at * 1000)
    return LoggedAt(mlflow_run_id, again=False)


def _held(client: "MlflowClient", experiment: str, run: LoggedRun) -> "list[Run]":
    where = " and ".join(f"tags.`{tag}` = '{run.tags[tag]}'" for tag in (RUN_TAG, BANK_TAG))
    return list(client.search_runs([experiment], filter_string=where))


def _mark_failed(client: "MlflowClient", mlflow_run_id: str) -> None:
    try:
        client.set_terminated(mlflow_run_id, status="FAILED")
    except Exception:
        # It stays RUNNING there, and the next attempt removes it.
        _log.debug("MLflow could not be told that it failed", exc_info=True)


def _fill(mlflow: Any, client: "MlflowClient", mlflow_run_id: str, run: LoggedRun) -> None:
    entities = importlib.import_module("mlflow.entities")
    parameters = [entities.Param(name, value) for name, value in run.parameters.items()]
    for start in range(0, len(parameters), _PARAMETERS_AT_ONCE):
        client.log_batch(mlflow_run_id, params=parameters[start : start + _PARAMETERS_AT_ONCE])
    time_ms = run.finished_at * 1000
    points = [entities.Metric(p.name, p.value, time_ms, p.step) for p in run.points]
    for start in range(0, len(points), _POINTS_AT_ONCE):
        client.log_batch(mlflow_run_id, metrics=points[start : start + _POINTS_AT_ONCE])
    for name, text in run.texts.items():
        client.log_text(mlflow_run_id, text, name)
    import xgboost

    booster = xgboost.Booster(model_file=bytearray(run.model))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / MODEL_ARTIFACT
        mlflow.xgboost.save_model(
            booster,
            path,
            mlflow_model=mlflow.models.Model(artifact_path=MODEL_ARTIFACT, run_id=mlflow_run_id),
            model_format="json",
            pip_requirements=[f"xgboost=={xgboost.__version__}"],
        )
        client.log_artifacts(mlflow_run_id, str(path), MODEL_ARTIFACT)
