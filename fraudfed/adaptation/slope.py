"""Intercept and slope: the shared model with the probabilities that one bank has.

``logit(p) = intercept + slope * margin`` after J. C. Platt, "Probabilistic outputs for support
vector machines", in: Advances in Large Margin Classifiers, MIT Press 2000, section 2.1. The order
of payments stays as it is; what a score stands for changes, and with it how many payments lie
above a fixed threshold.
"""

from fraudfed.adaptation.logistic_fit import LogisticFit, fit_logistic
from fraudfed.adaptation.scaled_model import linear_model
from fraudfed.boosting.model import Model
from fraudfed.dtypes import Float32Array


def fit_slope(margins: Float32Array, labels: Float32Array) -> LogisticFit | None:
    """Fit labels by the margins of a model; None if they do not rise with it.

    Parameters
    ----------
    margins, labels : ndarray of shape (n_rows,), dtype=float32
    """
    fit = fit_logistic((margins,), labels)
    return fit if fit.slopes[0] > 0 else None


def slope_model(shared: Model, fit: LogisticFit) -> Model:
    """Return the shared model with its margins changed as fitted: one stock XGBoost model."""
    (slope,) = fit.slopes
    return linear_model(
        [(shared, slope)],
        intercept=fit.intercept,
        schema=shared.schema,
        attributes={"adapted": f"intercept {fit.intercept:.9g}, slope {slope:.9g}"},
    )
