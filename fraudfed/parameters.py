"""Training parameters under XGBoost's names, with XGBoost's meanings and defaults.

They are public, and can be checked without any numerics: by an operator before
a run is opened, by the aggregator when it is, and by each bank again before it joins.

``BoosterParams.parse`` is the one way in from outside: it accepts XGBoost's aliases and refuses
everything it does not know, naming it. Source of names, defaults and ranges:
https://xgboost.readthedocs.io/en/stable/parameter.html

Names that ``xgboost.train`` does not take among its parameters are listed in ``NOT_XGBOOST``.
"""

import difflib
import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Protocol, TypeAlias

from fraudfed.errors import ParameterError

#: Values of ``xgboost_version``, ascending; ``fraudfed.boosting.xgboost_rules`` has what differs.
RULE_VERSIONS = ("3.2", "3.4")
NEWEST_RULES = RULE_VERSIONS[-1]

#: Metrics that can be computed from pooled integer sums, see ``fraudfed.boosting.metrics``.
EVAL_METRICS = ("logloss", "auc", "aucpr", "error")

#: Ours alone, or handed to ``xgboost.train`` apart from its parameters.
NOT_XGBOOST = frozenset(
    {
        "num_boost_round",
        "early_stopping_rounds",
        "xgboost_version",
        "statistics_bits",
        "min_child_banks",
        "min_bank_share",
        "max_bank_weight",
    }
)

#: Banks that can be counted in one sum: more than any consortium has, and 12 bits of a slot.
MOST_BANKS = 4095
#: What is about several banks: one alone trains its own models without. They came last.
OF_SEVERAL_BANKS = ("min_child_banks", "min_bank_share", "max_bank_weight")
_FIRST_DEFAULTS = {"min_child_banks": 0, "min_bank_share": 0.0, "max_bank_weight": 0.0}

#: By position, or as sorted (name, direction) pairs.
MonotoneConstraints: TypeAlias = tuple[int, ...] | tuple[tuple[str, int], ...]

#: Alias -> attribute. All spellings are XGBoost's own.
_ALIASES = {
    "lambda": "reg_lambda",
    "alpha": "reg_alpha",
    "learning_rate": "eta",
    "min_split_loss": "gamma",
    "random_state": "seed",
}
#: Attribute -> name under which it is written out; ``lambda`` cannot be a Python attribute.
_WRITTEN_NAMES = {"reg_lambda": "lambda", "reg_alpha": "alpha"}


@dataclass(frozen=True)
class _Range:
    low: float
    high: float
    low_is_open: bool = False
    high_is_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_is_open else value >= self.low
        below = value < self.high if self.high_is_open else value <= self.high
        return above and below

    def __str__(self) -> str:
        left = "(" if self.low_is_open else "["
        right = ")" if self.high_is_open else "]"
        return f"{left}{self.low:.16g}, {self.high:.16g}{right}"


#: Weights and hessians are bounded by 65536 in fixed point sums, so no larger value can matter.
_NON_NEGATIVE = _Range(0.0, 1e9)
_FRACTION = _Range(0.0, 1.0, low_is_open=True)

_FLOATS = {
    "eta": _Range(0.0, 1e3),
    "reg_lambda": _NON_NEGATIVE,
    "reg_alpha": _NON_NEGATIVE,
    "gamma": _NON_NEGATIVE,
    "min_child_weight": _NON_NEGATIVE,
    "max_delta_step": _NON_NEGATIVE,
    "subsample": _FRACTION,
    "colsample_bytree": _FRACTION,
    "colsample_bylevel": _FRACTION,
    "colsample_bynode": _FRACTION,
    "scale_pos_weight": _Range(0.0, 65536.0, low_is_open=True),
    "min_bank_share": _Range(0.0, 1.0),
    "max_bank_weight": _NON_NEGATIVE,
    "base_score": _Range(0.0, 1.0, low_is_open=True, high_is_open=True),
}
_INTEGERS = {
    "max_depth": _Range(0, 30),
    "max_leaves": _Range(0, 65536),
    "max_bin": _Range(2, 256),
    "max_cat_to_onehot": _Range(1, 65536),
    "max_cat_threshold": _Range(1, 65536),
    "early_stopping_rounds": _Range(1, 100_000),
    "seed": _Range(0, 2**53),
    "num_boost_round": _Range(1, 100_000),
    "statistics_bits": _Range(1, 24),
    "min_child_banks": _Range(0, MOST_BANKS),
}
_CHOICES = {
    "grow_policy": ("depthwise", "lossguide"),
    "objective": ("binary:logistic",),
    "tree_method": ("hist",),
}
_OPTIONAL = ("base_score", "early_stopping_rounds")
#: Digits that tell any two float32 apart (IEEE 754-2019, section 5.12.2).
_FLOAT32_DIGITS = 9


class Columns(Protocol):
    """What constraints need to know of the features; ``FeatureSchema`` is one."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in column order."""
        ...

    @property
    def n_categories(self) -> tuple[int, ...]:
        """0 for a numeric feature, else its number of categories."""
        ...


@dataclass(frozen=True)
class BoosterParams:
    """Checked training parameters. Constructing one checks it, too.

    Real-valued parameters are held as the nearest float32 (XGBoost's type for them), so that
    double arithmetic with them gives XGBoost's results.

    Attributes
    ----------
    eta : float
        Factor on every leaf weight. Alias ``learning_rate``.
    max_depth : int
        0 is no limit; then ``max_leaves`` must set one.
    max_leaves : int
        0 is no limit.
    grow_policy : str
        ``depthwise`` or ``lossguide``.
    reg_lambda, reg_alpha : float
        L2 and L1 penalty on leaf weights. Aliases ``lambda`` and ``alpha``.
    gamma : float
        Least gain of a split. Alias ``min_split_loss``.
    min_child_weight : float
        Least sum of hessians in a child.
    max_delta_step : float
        Largest weight of a leaf, before ``eta``, to either side; 0 is no limit.
    subsample, colsample_bytree, colsample_bylevel, colsample_bynode : float
        Fractions in (0, 1].
    max_bin : int
        Most bins of a numeric feature, 2 to 256.
    scale_pos_weight : float
        Factor on the weight of positive rows.
    base_score : float or None
        Initial probability; None estimates it from the pooled labels.
    monotone_constraints : tuple of int, or tuple of (str, int)
        -1, 0 or 1 per feature, by position (missing ones at the end are 0) or by name.
    max_cat_to_onehot, max_cat_threshold : int
        Up to how many categories are split one against the rest, and how many at most are
        considered for one side of a partition.
    early_stopping_rounds : int or None
        Stop when the last metric has not improved for so many rounds.
    eval_metric : tuple of str
        Metrics on the pooled validation rows; the last one decides early stopping.
    seed : int
        Chooses the rows and columns that are sampled. Not a secret.
    num_boost_round : int
        Number of trees.
    objective, tree_method : str
        ``binary:logistic`` and ``hist``, the only ones there are.
    xgboost_version : str
        Whose split rules the trees follow; the same at every bank, whichever XGBoost is installed.
        ``3.2`` (also those of 3.3) or ``3.4``. See ``fraudfed.boosting.xgboost_rules``.
    statistics_bits : int
        Significant bits of the node statistics that the published model carries. Rows can be
        rebuilt from exact ones (TimberStrike, arXiv 2506.07605); predictions do not need them.
    min_child_banks : int
        Least number of banks with rows in a child; 0 does not count banks. With 1 bank and more
        asked for, no tree has a split.
    min_bank_share : float
        From which share of a child's pooled hessian a bank counts for it; 0 is from one row on.
    max_bank_weight : float
        Most that all training rows of one bank weigh together; 0 is no limit.

    Raises
    ------
    ParameterError
        Naming the parameter, its value and what is allowed.
    """

    eta: float = 0.3
    max_depth: int = 6
    max_leaves: int = 0
    grow_policy: str = "depthwise"
    reg_lambda: float = 1.0
    reg_alpha: float = 0.0
    gamma: float = 0.0
    min_child_weight: float = 1.0
    max_delta_step: float = 0.0
    subsample: float = 1.0
    colsample_bytree: float = 1.0
    colsample_bylevel: float = 1.0
    colsample_bynode: float = 1.0
    max_bin: int = 256
    scale_pos_weight: float = 1.0
    base_score: float | None = None
    monotone_constraints: MonotoneConstraints = ()
    max_cat_to_onehot: int = 4
    max_cat_threshold: int = 64
    early_stopping_rounds: int | None = None
    eval_metric: tuple[str, ...] = ("logloss",)
    seed: int = 0
    num_boost_round: int = 10
    objective: str = "binary:logistic"
    tree_method: str = "hist"
    xgboost_version: str = NEWEST_RULES
    statistics_bits: int = 6
    min_child_banks: int = 0
    min_bank_share: float = 0.0
    max_bank_weight: float = 0.0

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {}
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                checked[name] = None
            elif name in _FLOATS:
                checked[name] = _check_float(name, value, _FLOATS[name])
            elif name in _INTEGERS:
                checked[name] = _check_integer(name, value, _INTEGERS[name])
            elif name in _CHOICES:
                checked[name] = _check_choice(name, value, _CHOICES[name])
        checked["xgboost_version"] = _check_version(self.xgboost_version)
        checked["eval_metric"] = _check_metrics(self.eval_metric)
        checked["monotone_constraints"] = _check_monotone(self.monotone_constraints)
        if checked["max_depth"] == 0 and checked["max_leaves"] == 0:
            raise ParameterError(
                "max_depth and max_leaves are both 0 (no limit); set one of them above 0"
            )
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, mapping: Mapping[str, Any]) -> "BoosterParams":
        """Build parameters from XGBoost-style names.

        Parameters
        ----------
        mapping : mapping of str to value
            Names as in XGBoost, aliases included; what is not given keeps its default.

        Raises
        ------
        ParameterError
            If a name is unknown, given under two spellings, or its value is not allowed.
        """
        known = {field.name for field in fields(cls)}
        spelling: dict[str, str] = {}
        for name in mapping:
            attribute = _ALIASES.get(name, name)
            if attribute not in known:
                raise ParameterError(_unknown(name, known))
            if attribute in spelling:
                raise ParameterError(
                    f"parameters {spelling[attribute]!r} and {name!r} are the same parameter; "
                    "give one of them"
                )
            spelling[attribute] = name
        return cls(**{attribute: mapping[name] for attribute, name in spelling.items()})

    def to_mapping(self) -> dict[str, Any]:
        """Return every parameter as JSON types; ``parse`` reads it back to an equal object."""
        written: dict[str, Any] = {}
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if name in _FLOATS and value is not None:
                value = _shortest(value)
            elif name == "monotone_constraints" and value and isinstance(value[0], tuple):
                value = dict(value)
            elif isinstance(value, tuple):
                value = list(value)
            written[_WRITTEN_NAMES.get(name, name)] = value
        return written

    def defining(self) -> dict[str, Any]:
        """Return what a training is recognised by: ``to_mapping``, less what came later.

        A parameter that an earlier release did not know is left out at its default, so that what
        that release began can be resumed.
        """
        return {
            name: value
            for name, value in self.to_mapping().items()
            if name not in OF_SEVERAL_BANKS or value != _FIRST_DEFAULTS[name]
        }

    def resolve_monotone_constraints(self, schema: Columns) -> tuple[int, ...]:
        """Return one direction (-1, 0 or 1) per feature of ``schema``.

        Raises
        ------
        ParameterError
            If a named feature does not exist, there are more directions than features, or a
            categorical feature, which has no order, is constrained.
        """
        names, n_features = schema.names, len(schema.names)
        directions = [0] * n_features
        for key, direction in self.constrained():
            if isinstance(key, str):
                if key not in names:
                    near = difflib.get_close_matches(key, names, n=1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise ParameterError(f"monotone_constraints names no feature {key!r}{hint}")
                index = names.index(key)
            elif key >= n_features:
                raise ParameterError(
                    f"monotone_constraints has {len(self.monotone_constraints)} entries, the "
                    f"data have {n_features} features; give at most one per feature"
                )
            else:
                index = key
            if direction != 0 and schema.n_categories[index] > 0:
                raise ParameterError(
                    f"monotone_constraints is {direction} for {names[index]!r}, which is "
                    "categorical and has no order; expected 0"
                )
            directions[index] = direction
        return tuple(directions)

    def constrained(self) -> list[tuple[int | str, int]]:
        """Return the monotone constraints as (position or name, direction)."""
        items: list[tuple[int | str, int]] = []
        for position, entry in enumerate(self.monotone_constraints):
            items.append(entry if isinstance(entry, tuple) else (position, entry))
        return items


def alone(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a training's parameters as a bank alone uses them: it cannot count other banks."""
    return {name: value for name, value in parameters.items() if name not in OF_SEVERAL_BANKS}


def can_lie_between(name: str, low: float | None, high: float | None) -> bool:
    """Tell whether a numeric parameter can have a value between two ends, themselves included.

    Parameters
    ----------
    name : str
        As it is written out.
    low, high : float or None
        None is no end.
    """
    attribute = _ALIASES.get(name, name)
    allowed = _FLOATS.get(attribute) or _INTEGERS[attribute]
    least = allowed.low if low is None else max(low, allowed.low)
    most = allowed.high if high is None else min(high, allowed.high)
    if attribute in _INTEGERS:
        return math.ceil(least) <= math.floor(most)
    if least == most:
        return least in allowed
    return least < most


def parse_assignments(texts: Iterable[str], *, option: str) -> dict[str, Any]:
    """Read parameters that were typed as NAME=VALUE; what is no JSON is a text.

    Parameters
    ----------
    texts : iterable of str
    option : str
        Under which they were given, for the message: ``--param``.

    Raises
    ------
    ParameterError
        If one has no name or no value, or is given twice; not if it is unknown.
    """
    parsed: dict[str, Any] = {}
    spellings: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise ParameterError(f"{option} {text!r}: expected NAME=VALUE, as in gamma=0.5")
        attribute = _ALIASES.get(name, name)
        if attribute in spellings:
            raise ParameterError(
                f"{option} {text!r}: {spellings[attribute]} was given before; give it once"
            )
        spellings[attribute] = name
        try:
            parsed[name] = json.loads(value)
        except ValueError:
            parsed[name] = value
    return parsed


def overridden(base: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters in which those that are given replace others, aliases included."""
    replaced = {_ALIASES.get(name, name) for name in given}
    kept = {n: value for n, value in base.items() if _ALIASES.get(n, n) not in replaced}
    return {**kept, **given}


def same_parameter(one: str, other: str) -> bool:
    """Tell whether two names are those of one parameter."""
    return _ALIASES.get(one, one) == _ALIASES.get(other, other)


def _unknown(name: object, known: set[str]) -> str:
    candidates = sorted(known | set(_ALIASES))
    near = difflib.get_close_matches(str(name), candidates, n=1)
    if near:
        return f"unknown parameter {name!r}; did you mean {near[0]!r}?"
    return f"unknown parameter {name!r}; known are {', '.join(candidates)}"


def _float32(value: Any) -> float:
    """Return the nearest float32, ties to even, as ``numpy.float32`` does."""
    number: float = struct.unpack("<f", struct.pack("<f", float(value)))[0]
    return number


def _shortest(value: float) -> float:
    """Return the number with the fewest digits that is this float32: 0.1, not 0.100000001490116."""
    for digits in range(1, _FLOAT32_DIGITS):
        short = float(f"{value:.{digits}g}")
        if _float32(short) == value:
            return short
    return float(f"{value:.{_FLOAT32_DIGITS}g}")


def _check_float(name: str, value: object, allowed: _Range) -> float:
    number = _WRITTEN_NAMES.get(name, name)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ParameterError(f"parameter {number} is {value!r}, expected a number in {allowed}")
    if not math.isfinite(value) or float(value) not in allowed:
        raise ParameterError(f"parameter {number} is {value}, expected a number in {allowed}")
    rounded = _float32(value)
    if rounded not in allowed:
        raise ParameterError(
            f"parameter {number} is {value}, which is {rounded} as float32; expected a number "
            f"in {allowed}"
        )
    return rounded


def _check_integer(name: str, value: object, allowed: _Range) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) not in allowed:
        raise ParameterError(f"parameter {name} is {value!r}, expected an integer in {allowed}")
    return int(value)


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ParameterError(f"parameter {name} is {value!r}, expected {' or '.join(allowed)}")
    return value


def _check_version(value: object) -> str:
    """Accept the number, too: that is how 3.4 reads in a JSON file or on a command line."""
    text = str(value) if isinstance(value, float) else value
    return _check_choice("xgboost_version", text, RULE_VERSIONS)


def _check_metrics(value: object) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else value
    if (
        not isinstance(names, (list, tuple))
        or not names
        or any(name not in EVAL_METRICS for name in names)
        or len(set(names)) != len(names)
    ):
        raise ParameterError(
            f"parameter eval_metric is {value!r}, expected one or a list of distinct "
            f"{', '.join(EVAL_METRICS)}"
        )
    return tuple(names)


def _check_monotone(value: object) -> MonotoneConstraints:
    """Accept positions (list, or XGBoost's text form "(1,0,-1)"), a mapping, or its pairs."""
    error = ParameterError(
        f"parameter monotone_constraints is {value!r}, expected -1, 0 or 1 per feature, as a "
        "list by position or a mapping by name"
    )
    if isinstance(value, str):
        inner = value.strip().removeprefix("(").removesuffix(")")
        try:
            value = [int(part) for part in inner.split(",") if part.strip()]
        except ValueError:
            raise error from None
    pairs: list[tuple[str, int]] | None = None
    if isinstance(value, Mapping):
        pairs = [(str(name), direction) for name, direction in value.items()]
    elif not isinstance(value, (list, tuple)):
        raise error
    elif value and all(isinstance(entry, tuple) and len(entry) == 2 for entry in value):
        pairs = [(str(name), direction) for name, direction in value]
    entries = [direction for _, direction in pairs] if pairs is not None else list(value)
    for direction in entries:
        if isinstance(direction, bool) or not isinstance(direction, Integral):
            raise error
        if int(direction) not in (-1, 0, 1):
            raise error
    if pairs is None:
        return tuple(int(direction) for direction in entries)
    # Sorted, so that two mappings with the same content are equal parameters.
    return tuple(sorted((name, int(direction)) for name, direction in pairs))
