"""A blend: one model of the trees of a bank's own model and of the shared one.

The margin is ``w * own + (1 - w) * shared``: a logarithmic pool (C. Genest, J. V. Zidek,
"Combining probability distributions", Statistical Science 1(1), 1986, section 3). The weight is the
own model's share of both slopes in a logistic regression on both margins (stacking: D. H. Wolpert,
Neural Networks 5(2), 1992), so that a model whose probabilities are all too large or too small is
not punished for that. It is a multiple of 1/64.
"""

from fraudfed.adaptation.logistic_fit import fit_logistic
from fraudfed.adaptation.scaled_model import linear_model
from fraudfed.boosting.model import Model
from fraudfed.boosting.table import FeatureSchema
from fraudfed.dtypes import Float32Array

_STEPS = 64


def fit_weight(own: Float32Array, shared: Float32Array, labels: Float32Array) -> float:
    """Return the weight of the own model, from 0 to 1.

    Parameters
    ----------
    own, shared : ndarray of shape (n_rows,), dtype=float32
        Margins.
    labels : ndarray of shape (n_rows,), dtype=float32
    """
    of_own, of_shared = (
        max(slope, 0.0) for slope in fit_logistic((own, shared), labels, around=(0.5, 0.5)).slopes
    )
    if of_own == 0.0:
        return 0.0
    return round(_STEPS * of_own / (of_own + of_shared)) / _STEPS


def blend_model(own: Model, shared: Model, weight: float) -> Model:
    """Return the blend: one stock XGBoost model.

    Its columns are those of the shared model, and those that only the own model has after them.

    Parameters
    ----------
    own, shared : Model
    weight : float
        Of the own model.

    Raises
    ------
    ValueError
        If a column has other categories in one model than in the other.
    """
    return linear_model(
        [(shared, 1.0 - weight), (own, weight)],
        intercept=0.0,
        schema=union_of(shared.schema, own.schema),
        attributes={"adapted": f"blend, weight {weight:.9g} of the own model"},
    )


def union_of(first: FeatureSchema, second: FeatureSchema) -> FeatureSchema:
    """Return the columns of the first schema, and those that only the second has after them."""
    more = [c for c, name in enumerate(second.names) if name not in first.names]
    n_categories = (*first.n_categories, *(second.n_categories[c] for c in more))
    named = second.categories or ((),) * second.n_features
    categories = (*(first.categories or ((),) * first.n_features), *(named[c] for c in more))
    if not any(categories) or tuple(len(names) for names in categories) != n_categories:
        categories = ()  # nobody knows the names of one model's
    return FeatureSchema(
        names=(*first.names, *(second.names[c] for c in more)),
        n_categories=n_categories,
        categories=categories,
    )
