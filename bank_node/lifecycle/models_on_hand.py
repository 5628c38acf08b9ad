"""The models that this bank has: those of its runs, and those that it made of them."""

import hashlib
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from bank_node.evaluation.document import Evaluation
from bank_node.evaluation.evaluate import EVALUATION_DIRECTORY, EVALUATION_FILE
from bank_node.evaluation.own_models import SHARED_RISK
from bank_node.lifecycle.stages import StageDirectory, StagedModel, Stages, model_title
from bank_node.serving.calibration_file import calibration_path
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.boosting.model_reader import MOST_MODEL_BYTES, read_model
from fraudfed.errors import ConfigurationError, StateError
from fraudfed.intake.plain_table import contract_schema

_SHARED = "shared"
_LEAST_PREFIX = 8
_HEXADECIMAL = re.compile(rf"[0-9a-f]{{{_LEAST_PREFIX},64}}")


@dataclass(frozen=True, kw_only=True)
class ModelOnHand:
    """A model's file, as it is now.

    Attributes
    ----------
    run_id, name : str
    path : Path
    sha256 : str
    content : bytes
    """

    run_id: str
    name: str
    path: Path
    sha256: str
    content: bytes

    @property
    def title(self) -> str:
        """The name that commands take."""
        return model_title(self.run_id, self.name)


def models_on_hand(state: StateDirectory) -> tuple[ModelOnHand, ...]:
    """Return all models of runs and their evaluations, by run and name.

    Raises
    ------
    StateError
        If a file cannot be read.
    """
    found = []
    for path in sorted((state.path / "runs").glob("*/model.json")):
        run_id = path.parent.name
        found.append(_on_hand(path, run_id, _SHARED))
        for other in sorted((path.parent / EVALUATION_DIRECTORY).glob("*.json")):
            if other.name == EVALUATION_FILE or other.name.endswith(".calibration.json"):
                continue
            found.append(_on_hand(other, run_id, other.stem))
    return tuple(found)


def _on_hand(path: Path, run_id: str, name: str) -> ModelOnHand:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_MODEL_BYTES + 1)
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror or error})") from error
    digest = hashlib.sha256(content).hexdigest()
    return ModelOnHand(run_id=run_id, name=name, path=path, sha256=digest, content=content)


def find_model(state: StateDirectory, stages: Stages, wanted: str) -> StagedModel | ModelOnHand:
    """Return the model of a name or of the beginning of its digest.

    A file that is on hand comes before one of the same name that was staged earlier: evaluated
    again, a name stands for another model.

    Raises
    ------
    ConfigurationError
        If there is none, or more than one.
    """
    on_hand = models_on_hand(state)
    by_title = [each for each in on_hand if each.title == wanted]
    staged = [each for each in stages.models if each.title == wanted]
    if by_title:
        return by_title[0]
    if staged:
        return staged[-1]
    of_digest: dict[str, StagedModel | ModelOnHand] = {}
    if _HEXADECIMAL.fullmatch(wanted):
        all_known: tuple[StagedModel | ModelOnHand, ...] = (*on_hand, *stages.models)
        of_digest = {e.sha256: e for e in all_known if e.sha256.startswith(wanted)}
    if len(of_digest) == 1:
        return next(iter(of_digest.values()))
    if of_digest:
        raise ConfigurationError(
            f"model {wanted}: is the beginning of {len(of_digest)} digests; give more of it"
        )
    titles = sorted({each.title for each in on_hand} | {each.title for each in stages.models})
    close = get_close_matches(wanted, titles, n=1)
    hint = f"; do you mean {close[0]}?" if close else ""
    raise ConfigurationError(
        f"model {wanted}: this bank has no such model, expected the id of a run, RUN_ID/NAME of an "
        f"evaluated one, or {_LEAST_PREFIX} or more digits of its sha256 ('bank-node models list')"
        f"{hint}"
    )


def model_of_digest(state: StateDirectory, sha256: str) -> tuple[Path, str] | None:
    """Return the file of a model and the run that it comes from; None if it is not here.

    Those that were staged are found first: they stay when a run is evaluated again.

    Raises
    ------
    StateError
        If a file cannot be read, or the life cycle is damaged.
    """
    directory = StageDirectory.of_state(state.path)
    for staged in directory.read().models:
        path = directory.model_path(sha256)
        if staged.sha256 == sha256 and path.is_file():
            return path, staged.run_id
    for found in models_on_hand(state):
        if found.sha256 == sha256:
            return found.path, found.run_id
    return None


def staged_model(state: StateDirectory, found: ModelOnHand) -> StagedModel:
    """Return what is kept of a model, once its file was read as one of its run.

    Raises
    ------
    StateError
        If the run is not known, or the file is no model with its columns.
    """
    run = pinned(state, found.run_id)
    schema = contract_schema(run.contract)
    model = read_model(found.content, schema=schema, source=str(found.path))
    return StagedModel(
        sha256=found.sha256,
        run_id=found.run_id,
        name=found.name,
        recipe=run.contract.recipe,
        uses_shared_risk=any(name.startswith(SHARED_RISK) for name in model.used_features()),
    )


def pinned(state: StateDirectory, run_id: str) -> PinnedRun:
    """Return the run of a model; raises StateError if this bank does not know it."""
    run = state.pinned_run(run_id)
    if run is None:
        raise StateError(
            f"{state.path}: has a model of run {run_id}, but not the run; restore "
            f"runs/{run_id}/run.json from a backup"
        )
    return run


def kept_files(found: ModelOnHand, directory: StageDirectory) -> dict[str, bytes]:
    """Return the files that staging a model keeps: its own, and its calibration if there is one."""
    model = directory.model_path(found.sha256)
    files = {str(model.relative_to(directory.path)): found.content}
    beside = calibration_path(found.path)
    try:
        content = beside.read_bytes()
    except FileNotFoundError:
        return files
    except OSError as error:
        raise StateError(f"{beside}: cannot be read ({error.strerror or error})") from error
    return {**files, str(calibration_path(model).relative_to(directory.path)): content}


def evaluation_of(state: StateDirectory, run_id: str) -> tuple[Evaluation, bytes] | None:
    """Return what ``bank-node evaluate`` found last of a run, and the file's bytes; None without.

    Raises
    ------
    StateError
        If the file cannot be read or is damaged.
    """
    path = state.path / "runs" / run_id / EVALUATION_DIRECTORY / EVALUATION_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        return Evaluation.model_validate_json(content), content
    except ValueError:
        raise StateError(
            f"{path}: is no evaluation of this program; make it again with 'bank-node evaluate "
            f"--run {run_id}'"
        ) from None
