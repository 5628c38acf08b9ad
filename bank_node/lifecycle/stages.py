"""``serving/lifecycle.json``: the models in use at this bank, and how they came to be.

The file names champion, challenger and fallback, and holds the history that they follow from. Each
model that was ever staged is kept beside it under its digest, so that a rollback needs no run, and
an evaluation that is made again cannot change what is in charge.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from bank_node.lifecycle.stage_history import Move, Stage, StageEvent, StagesNow
from bank_node.state.lock_file import locked
from fraudfed.durable_file import make_private, write_atomic
from fraudfed.errors import ConfigurationError, StateError
from fraudfed.wire.messages import Sha256

SERVING_DIRECTORY = "serving"
LIFECYCLE_FILE = "lifecycle.json"
_MODELS = "models"
_EVALUATIONS = "evaluations"
_LOCK = ".lifecycle.lock"


class StagedModel(BaseModel):
    """A model that was staged once.

    Attributes
    ----------
    sha256 : str
        Of its file.
    run_id : str
    name : str
        ``shared``, or the name of a model of ``bank-node evaluate``.
    recipe : str or None
        Recipe of its features; None for a table.
    uses_shared_risk : bool
        A split of it asks for a feature of the consortium's risk tables.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256
    run_id: str
    name: str
    recipe: str | None
    uses_shared_risk: bool

    @property
    def title(self) -> str:
        """The name that commands take."""
        return model_title(self.run_id, self.name)


def model_title(run_id: str, name: str) -> str:
    """Return the name of a model that commands take: that of its run, and which one of it."""
    return run_id if name == "shared" else f"{run_id}/{name}"


class Stages(BaseModel):
    """The life cycle of this bank's models; never changed, only replaced.

    Attributes
    ----------
    version : int
    champion, challenger, fallback : str or None
        Digests of models.
    models : tuple of StagedModel
        Each once, in the order in which they were first staged.
    history : tuple of StageEvent
        What the three above follow from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    champion: Sha256 | None = None
    challenger: Sha256 | None = None
    fallback: Sha256 | None = None
    models: tuple[StagedModel, ...] = ()
    history: tuple[StageEvent, ...] = ()

    @model_validator(mode="after")
    def _follows(self) -> "Stages":
        known = [each.sha256 for each in self.models]
        if len(set(known)) < len(known):
            raise ValueError("models names a model twice")
        now = self.now
        if set(now.stages) != set(known):
            raise ValueError("models and history are not about the same models")
        for stage in (Stage.CHAMPION, Stage.CHALLENGER, Stage.FALLBACK):
            if getattr(self, stage.value) != now.holder(stage):
                raise ValueError(f"{stage.value} does not follow from history")
        return self

    @cached_property
    def now(self) -> StagesNow:
        """The stage of each model."""
        return StagesNow(self.history)

    def model(self, sha256: str) -> StagedModel:
        """Return a model that was staged once; raises KeyError for another."""
        return next(each for each in self.models if each.sha256 == sha256)

    def holder(self, stage: Stage) -> StagedModel | None:
        """Return the model of a stage that only one has."""
        sha256 = self.now.holder(stage)
        return None if sha256 is None else self.model(sha256)

    def after(self, event: StageEvent, model: StagedModel) -> "Stages":
        """Return the stages after an event about a model."""
        models = self.models
        if model.sha256 not in {each.sha256 for each in models}:
            models = (*models, model)
        history = (*self.history, event)
        now = StagesNow(history)
        return Stages(
            champion=now.holder(Stage.CHAMPION),
            challenger=now.holder(Stage.CHALLENGER),
            fallback=now.holder(Stage.FALLBACK),
            models=models,
            history=history,
        )

    def moves_to(self, model: StagedModel, stage: Stage) -> tuple[Move, ...]:
        """Return the moves that bring a model into a stage, and the one that has it out of it.

        A champion that leaves is retired; a challenger or a fallback is a candidate again.

        Raises
        ------
        ConfigurationError
            If the model has the stage, or is in charge and would only leave it.
        """
        before = self.now.of(model.sha256)
        if before is stage:
            raise ConfigurationError(f"{model.title}: is {stage.value} already; nothing is changed")
        if before is Stage.CHAMPION and stage is not Stage.RETIRED:
            raise ConfigurationError(
                f"{model.title}: is the champion, expected another model; promote one first, or "
                "retire this one with 'bank-node models retire'"
            )
        moves = []
        held = self.now.holder(stage) if stage is not Stage.RETIRED else None
        if held is not None:
            left = Stage.RETIRED if stage is Stage.CHAMPION else Stage.CANDIDATE
            moves.append(Move(model_sha256=held, before=stage, after=left))
        return (*moves, Move(model_sha256=model.sha256, before=before, after=stage))

    def rolled_back(self) -> tuple[StagedModel, tuple[Move, ...]]:
        """Return the champion before the current one, and the moves that bring it back.

        Raises
        ------
        ConfigurationError
            If there was none before.
        """
        previous = self.now.previous
        if previous is None:
            raise ConfigurationError(
                "no champion came before the current one, so there is nothing to roll back to; "
                "promote a model instead ('bank-node models list')"
            )
        model = self.model(previous)
        return model, self.moves_to(model, Stage.CHAMPION)


class StageDirectory:
    """Where the life cycle lies: ``serving/`` of a state directory.

    Parameters
    ----------
    path : Path
        Of the directory ``serving``; need not exist to be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_state(cls, state: Path) -> "StageDirectory":
        """Return that of a bank's state directory."""
        return cls(state / SERVING_DIRECTORY)

    def read(self) -> Stages:
        """Return the stages; without a file, none was ever set.

        Raises
        ------
        StateError
            If the file cannot be read, or is no life cycle.
        """
        path = self.path / LIFECYCLE_FILE
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return Stages()
        except OSError as error:
            raise StateError(f"{path}: cannot be read ({error.strerror or error})") from error
        try:
            return Stages.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = "".join(f"{part}: " for part in first["loc"])
            raise StateError(
                f"{path}: is no life cycle of models: {where}{first['msg']}; restore it from a "
                "backup. Until then no model is staged, and none is taken to be in charge"
            ) from None

    def model_path(self, sha256: str) -> Path:
        """Return where a staged model lies; its calibration lies beside it."""
        return self.path / _MODELS / f"{sha256}.json"

    def content(self, model: StagedModel) -> bytes:
        """Return the file of a staged model.

        Raises
        ------
        StateError
            If it cannot be read, or is another file than the one that was staged.
        """
        path = self.model_path(model.sha256)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StateError(
                f"{path}: cannot be read ({error.strerror or error}); restore it from a backup"
            ) from error
        if hashlib.sha256(content).hexdigest() != model.sha256:
            raise StateError(
                f"{path}: is not the model of {model.title} that was staged; restore it from a "
                "backup"
            )
        return content

    @contextmanager
    def changing(self) -> Iterator[Stages]:
        """Hold the life cycle against other commands, and read it.

        Raises
        ------
        StateError
            As ``read``, or if another process holds it.
        """
        make_private(self.path)
        busy = f"{self.path}: another process changes the life cycle; start the command again"
        with locked(self.path / _LOCK, held=busy):
            yield self.read()

    def write(self, stages: Stages, files: dict[str, bytes]) -> None:
        """Keep stages, and files that they speak of, relative to the directory; those first.

        Raises
        ------
        StateError
            If something cannot be written; the stages are then as they were.
        """
        for name, content in files.items():
            path = self.path / name
            make_private(path.parent)
            write_atomic(path, content)
        text = stages.model_dump_json(indent=1)
        write_atomic(self.path / LIFECYCLE_FILE, text.encode() + b"\n")


def kept_evaluation(sha256: str) -> str:
    """Return the name of a kept evaluation in the directory."""
    return f"{_EVALUATIONS}/{sha256}.json"
