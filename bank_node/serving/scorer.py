"""Score payments by one model: a file of them, or one at a time with what each feature added.

Law: a row has the same margin alone and in any batch, and it is the margin of
``xgboost.Booster.predict(output_margin=True)`` by the base margin of ``boosting.objective`` (that
of XGBoost may differ in its last bit, as C libraries do); the contributions of a row are those of
``pred_contribs`` and add up to its margin. A model is read by our own strict reader first:
XGBoost's crashes or never ends on a file that is no tree.
"""

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xgboost

from bank_node.serving.calibration_file import read_calibration
from fraudfed.adaptation.calibration import Calibration
from fraudfed.boosting.engine.elementary import sigmoid
from fraudfed.boosting.model import Model
from fraudfed.boosting.model_reader import MOST_MODEL_BYTES, read_model
from fraudfed.boosting.objective import base_margin
from fraudfed.boosting.predict import predict_margins
from fraudfed.dtypes import Float32Array
from fraudfed.errors import StateError
from fraudfed.intake.plain_table import contract_schema
from fraudfed.wire.messages import DataContract, FeatureType

_log = logging.getLogger(__name__)

#: Rows scored at once: bounds what is copied.
_BATCH_ROWS = 1_000_000
_XGBOOST_TYPES = {FeatureType.NUMERIC: "q", FeatureType.CATEGORICAL: "c"}


@dataclass(frozen=True, eq=False)
class RowScore:
    """What a model says of one row.

    Attributes
    ----------
    margin : float
        Log-odds; a float32.
    score : float
        The model's probability; a float32.
    probability : float or None
        Calibrated; None without a calibration.
    contributions : ndarray of shape (n_features + 1,), dtype=float32, or None
        Log-odds, the base last; None if they were not asked for.
    """

    margin: float
    score: float
    probability: float | None
    contributions: Float32Array | None


@dataclass(frozen=True, eq=False)
class Scorer:
    """A model that is ready to score; safe to use from many threads.

    Attributes
    ----------
    model : Model
    contract : DataContract
    sha256 : str
        Of the model's file.
    calibration : Calibration or None
    """

    model: Model
    contract: DataContract
    sha256: str
    calibration: Calibration | None = None

    @classmethod
    def read(cls, path: Path, contract: DataContract) -> "Scorer":
        """Read a model's file, and the calibration beside it if there is one.

        Raises
        ------
        StateError
            If the model cannot be read, is of another contract, or the calibration belongs to
            another model.
        """
        content = read_model_file(path)
        calibration = read_calibration(path, content)
        model = read_model(content, schema=contract_schema(contract), source=str(path))
        return cls(model, contract, hashlib.sha256(content).hexdigest(), calibration)

    @cached_property
    def booster(self) -> xgboost.Booster:
        """The model as XGBoost has it: what our reader has read, on one thread.

        Not loaded before a row alone is scored: a process that has used XGBoost cannot fork.

        Raises
        ------
        StateError
            If XGBoost cannot load it.
        """
        booster = xgboost.Booster()
        try:
            booster.load_model(bytearray(self.model.to_json()))
        except xgboost.core.XGBoostError as error:
            _log.debug("xgboost: %s", error)
            raise StateError(
                f"model {self.sha256}: xgboost cannot load it; take another copy of it"
            ) from None
        # One row: starting threads costs more than the row.
        booster.set_param({"nthread": 1})
        return booster

    @cached_property
    def _base_margin(self) -> Float32Array:
        return np.array([base_margin(self.model.base_score)], dtype=np.float32)

    @cached_property
    def _types(self) -> list[str]:
        return [_XGBOOST_TYPES[spec.type] for spec in self.contract.features]

    def margins(self, features: Float32Array, *, threads: int | None = None) -> Float32Array:
        """Return log-odds of rows.

        Parameters
        ----------
        features : ndarray of shape (n_rows, n_features), dtype=float32
            NaN is missing; categories are codes.
        threads : int or None
            They change no result; None is as many as the process may use cores.

        Returns
        -------
        ndarray of shape (n_rows,), dtype=float32
        """
        # Our engine sorts a block of rows by whole levels, which takes less time than XGBoost's
        # row by row, and adds the same float32 numbers in the same order.
        parts = [
            predict_margins(self.model, features[start : start + _BATCH_ROWS], threads=threads)
            for start in range(0, len(features), _BATCH_ROWS)
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def scores(self, features: Float32Array, *, threads: int | None = None) -> Float32Array:
        """Return the model's probabilities of rows, as ``margins`` takes them."""
        return sigmoid(self.margins(features, threads=threads))

    def row(self, row: Float32Array, *, contributions: bool = True) -> RowScore:
        """Score one row.

        Parameters
        ----------
        row : ndarray of shape (n_features,), dtype=float32
        contributions : bool
            Whether to say what each feature added.
        """
        matrix = self._matrix(row[np.newaxis, :])
        margin = self.booster.predict(matrix, output_margin=True, validate_features=False)
        score = sigmoid(margin)
        found = None
        if contributions:
            found = self.booster.predict(matrix, pred_contribs=True, validate_features=False)[0]
        probability = None
        if self.calibration is not None:
            probability = float(self.calibration.of(score)[0])
        return RowScore(float(margin[0]), float(score[0]), probability, found)

    def contributions(self, row: Float32Array) -> Float32Array:
        """Return what each feature of a row added to its margin, the base last.

        Exact TreeSHAP (Lundberg et al., "From local explanations to global understanding with
        explainable AI for trees", Nature Machine Intelligence 2, 2020, algorithm 2), by XGBoost.

        Parameters
        ----------
        row : ndarray of shape (n_features,), dtype=float32

        Returns
        -------
        ndarray of shape (n_features + 1,), dtype=float32
        """
        matrix = self._matrix(row[np.newaxis, :])
        found: Float32Array = self.booster.predict(
            matrix, pred_contribs=True, validate_features=False
        )[0]
        return found

    def _matrix(self, rows: Float32Array) -> xgboost.DMatrix:
        # Without names: to look them over would take as long as to score. With our own base margin:
        # XGBoost takes the logarithm of the machine's C library, which for one base score in a
        # hundred rounds the last bit another way, so that a row alone would differ from its batch.
        return xgboost.DMatrix(
            rows, feature_types=self._types, nthread=1, base_margin=self._base_margin
        )


def read_model_file(path: Path) -> bytes:
    """Return the bytes of a model file, one byte more than a model may have at most.

    Raises
    ------
    StateError
        If there is none, or it cannot be read.
    """
    if not path.is_file():
        raise StateError(
            f"{path}: no such model; train first ('bank-node train'), or name one with --model"
        )
    try:
        with path.open("rb") as file:
            return file.read(MOST_MODEL_BYTES + 1)
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error.strerror})") from None
