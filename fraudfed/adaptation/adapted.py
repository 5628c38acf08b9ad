"""Models that one bank makes of a shared one: what the gate compares beside it.

All are fitted on the bank's own rows of the select window alone, that is on payments after the
training's cut-off and before the judge window, with labels as of the end of the select window. So
the judge window stays one that no candidate has seen, and a bank that gains nothing by the shared
model as it is may gain by one of these.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fraudfed.adaptation.blend import blend_model, fit_weight
from fraudfed.adaptation.continued import continued_model
from fraudfed.adaptation.scaled_model import column_positions
from fraudfed.adaptation.slope import fit_slope, slope_model
from fraudfed.boosting.model import Model
from fraudfed.boosting.predict import predict_margins
from fraudfed.boosting.table import FeatureSchema
from fraudfed.dtypes import Float32Array
from fraudfed.evaluation.cases import case_numbers
from fraudfed.evaluation.outcomes import JudgedRows

#: Cases below which two or three numbers say more of chance than of the bank.
LEAST_CASES = 50
#: Trees need more, and leave a third of the cases for choosing their number.
LEAST_CASES_FOR_TREES = 100


@dataclass(frozen=True, eq=False)
class AdaptedModel:
    """A model of one bank, one stock XGBoost file.

    Attributes
    ----------
    name : str
        ``slope``, ``blend`` or ``continued``.
    model : Model
    fitted : str
        What was fitted, for people: numbers, in a sentence.
    n_rows, n_frauds, n_cases : int
        Rows that it was fitted on, those with a known label, and their frauds and cases.
    """

    name: str
    model: Model
    fitted: str
    n_rows: int
    n_frauds: int
    n_cases: int

    @property
    def model_json(self) -> bytes:
        """The file: UTF-8 JSON that XGBoost and ``bank-node score --model`` read."""
        return self.model.to_json()


@dataclass(frozen=True, eq=False)
class AdaptedModels:
    """What could be made of a shared model.

    Attributes
    ----------
    models : tuple of AdaptedModel
        In the order slope, blend, continued.
    left_out : mapping of str to str
        By the name of a model that was not made: why.
    """

    models: tuple[AdaptedModel, ...]
    left_out: Mapping[str, str]


def adapted_models(
    shared: Model, own: Model | None, rows: JudgedRows, *, threads: int | None = None
) -> AdaptedModels:
    """Fit the adapted models of one bank. Nothing of it leaves the bank.

    Parameters
    ----------
    shared : Model
        Its columns are columns of ``rows``.
    own : Model or None
        The bank's own model; it may lack columns of the shared one. None: there is no blend.
    rows : JudgedRows
        The select window. Rows without a known label are left out.
    threads : int or None
        They change no result.

    Raises
    ------
    ValueError
        If a column of a model is not in ``rows``, or has other categories there.
    """
    labels, event_time = rows.outcomes.labels, rows.outcomes.event_time
    is_known = ~np.isnan(labels)
    labels = labels[is_known]
    known = rows.features[is_known]
    n_frauds = int(np.count_nonzero(labels == 1))
    n_cases = int(case_numbers(rows.outcomes).max(initial=-1)) + 1
    of_shared = _columns(known, rows.schema, shared.schema)
    margins = predict_margins(shared, of_shared, threads=threads)

    def slope() -> tuple[Model, str] | str:
        fit = fit_slope(margins, labels)
        if fit is None:
            return "scores of the shared model do not rise with fraud"
        text = f"intercept {fit.intercept:.3f}, slope {fit.slopes[0]:.3f}"
        return slope_model(shared, fit), text

    def blend() -> tuple[Model, str] | str:
        if own is None:
            return "there is no own model"
        of_own = predict_margins(own, _columns(known, rows.schema, own.schema), threads=threads)
        weight = fit_weight(of_own, margins, labels)
        if weight in (0.0, 1.0):
            return f"all weight is on the {'own' if weight else 'shared'} model"
        return blend_model(own, shared, weight), f"weight {weight:g} of the own model"

    def continued() -> tuple[Model, str] | str:
        times = None if event_time is None else event_time[is_known]
        model = continued_model(shared, of_shared, labels, times, threads=threads)
        if model is None:
            return "no further tree makes the shared model better on the later third of the cases"
        return model, f"{len(model.trees) - len(shared.trees)} further trees"

    made: list[AdaptedModel] = []
    left_out: dict[str, str] = {}
    makers: tuple[tuple[str, Callable[[], tuple[Model, str] | str], int], ...] = (
        ("slope", slope, LEAST_CASES),
        ("blend", blend, LEAST_CASES),
        ("continued", continued, LEAST_CASES_FOR_TREES),
    )
    for name, maker, least in makers:
        if n_cases < least or labels.size - n_frauds < least:
            left_out[name] = (
                f"the select window has {n_cases} cases of fraud and {labels.size - n_frauds} "
                f"clean payments, expected at least {least} of each"
            )
            continue
        found = maker()
        if isinstance(found, str):
            left_out[name] = found
        else:
            made.append(AdaptedModel(name, *found, labels.size, n_frauds, n_cases))
    return AdaptedModels(tuple(made), left_out)


def _columns(features: Float32Array, schema: FeatureSchema, wanted: FeatureSchema) -> Float32Array:
    places = column_positions(wanted, schema)
    if places == list(range(schema.n_features)):
        return features
    return np.ascontiguousarray(features[:, places])
