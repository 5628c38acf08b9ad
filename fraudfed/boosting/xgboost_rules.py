"""Where the releases of XGBoost differ in how trees are split: the one place that knows.

XGBoost changed its split rules between 3.3 and 3.4, so "XGBoost's trees" needs a release. Which
one is a training parameter (``xgboost_version``) and never follows from what a bank has installed:
all banks of a run must reach the same bytes.

Read from ``src/tree/{param.h,split_evaluator.h}`` and ``src/tree/hist/{evaluate_splits.h,
expand_entry.h}`` of the tags v3.2.0, v3.3.0, v3.4.0 and v3.4.1. In 3.3 these files split exactly as
in 3.2 (only the threshold it stores for "before the first bin" differs, which no row can notice);
3.4.1 splits as 3.4.0 does.
"""

from dataclasses import dataclass

from fraudfed.parameters import RULE_VERSIONS


@dataclass(frozen=True)
class SplitRules:
    """The differences between releases, each as a yes or no.

    Attributes
    ----------
    light_nodes_weigh_nothing : bool
        A node (or a category that is sorted by weight) with hessian below ``min_child_weight`` has
        the weight 0. Otherwise only one without any hessian has.
    children_need_hessian : bool
        A split whose child has no hessian is not a candidate, even if ``min_child_weight`` is 0.
        Otherwise it is one, and if it is the best the node stays a leaf.
    free_gain_in_closed_form : bool
        Without constraints and ``max_delta_step`` the gain is ``T(g)^2 / (h + lambda)``, rounded to
        float before the division. Otherwise it is that of the rounded weight, in double.
    bounded_gain_in_float : bool
        Under monotone constraints or ``max_delta_step`` the gain of a weight is taken in float, and
        without the L1 penalty. Otherwise it is ``-(2 g w + (h + lambda) w^2 + 2 alpha |w|)`` in
        double.
    zeros_constrain : bool
        Monotone constraints that are all 0 still switch to the gain under constraints.
    """

    light_nodes_weigh_nothing: bool
    children_need_hessian: bool
    free_gain_in_closed_form: bool
    bounded_gain_in_float: bool
    zeros_constrain: bool


_RULES = {
    "3.2": SplitRules(
        light_nodes_weigh_nothing=True,
        children_need_hessian=False,
        free_gain_in_closed_form=True,
        bounded_gain_in_float=True,
        zeros_constrain=True,
    ),
    "3.4": SplitRules(
        light_nodes_weigh_nothing=False,
        children_need_hessian=True,
        free_gain_in_closed_form=False,
        bounded_gain_in_float=False,
        zeros_constrain=False,
    ),
}


def rules_for(version: str) -> SplitRules:
    """Return the rules of one of ``RULE_VERSIONS``."""
    return _RULES[version]


def version_of_release(release: str) -> str:
    """Return whose rules a release of XGBoost follows: "3.3.0" follows "3.2".

    A release after the newest one known is taken to follow that one; this is not verified.

    Parameters
    ----------
    release : str
        As in ``xgboost.__version__``, at least 3.2.
    """
    major, minor = (int(part) for part in release.split(".")[:2])
    return RULE_VERSIONS[0] if (major, minor) < (3, 4) else RULE_VERSIONS[-1]
