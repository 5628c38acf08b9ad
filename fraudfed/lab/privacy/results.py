"""What a curve has trained so far: a line and a file of scores for each training.

A line is written after its scores are durable. A stop loses the training that was under way and
nothing else; what is asked for again is not trained again.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fraudfed.dtypes import Float32Array
from fraudfed.errors import StateError
from fraudfed.lab.privacy.case import Training
from fraudfed.lab.privacy.trainings import Trained

_LINES = "trainings.jsonl"
_SCORES = "scores"


@dataclass(frozen=True)
class CurveResults:
    """The folder of a curve's trainings.

    Attributes
    ----------
    directory : Path
    """

    directory: Path

    def done(self) -> dict[str, dict[str, Any]]:
        """Return what is known of every finished training, by its name.

        A last line that a stop has cut off counts as not written.

        Raises
        ------
        StateError
            If another line cannot be read.
        """
        file = self.directory / _LINES
        if not file.is_file():
            return {}
        found: dict[str, dict[str, Any]] = {}
        lines = file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                found[str(record["name"])] = record
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):
                    break
                raise StateError(
                    f"{file}: line {number} is no training; remove it, or begin in another folder"
                ) from error
        return found

    def scores(self, name: str) -> Float32Array:
        """Return the scores of a finished training, shape (n_judged,)."""
        found: Float32Array = np.load(self.directory / _SCORES / f"{name}.npy")
        return found

    def add(self, training: Training, trained: Trained, about: Mapping[str, Any]) -> None:
        """Keep a training.

        Parameters
        ----------
        training : Training
        trained : Trained
        about : mapping
            More to write down beside its facts.
        """
        folder = self.directory / _SCORES
        folder.mkdir(parents=True, exist_ok=True)
        file, new = folder / f"{training.name}.npy", folder / f".{training.name}.new"
        with new.open("wb") as stream:
            np.save(stream, trained.scores)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)
        record = {"name": training.name, **asdict(training), **trained.facts, **about}
        lines = self.directory / _LINES
        # What a stop has cut off goes: it must not swallow the next line.
        written = lines.read_bytes() if lines.is_file() else b""
        with lines.open("ab") as stream:
            stream.truncate(written.rfind(b"\n") + 1)
            stream.write(json.dumps(record).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
