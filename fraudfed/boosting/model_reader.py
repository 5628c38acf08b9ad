"""Reads a model that somebody else wrote, before XGBoost sees any of it.

XGBoost's loader believes what it reads: a child that does not exist crashes the process, and a
circle of nodes never lets it end. So a model from a file or the registry is read here, and what
XGBoost gets is written anew by ``Model.to_json``, not the bytes that were read.

Law: of a model that XGBoost or we have written, the predictions stay the same, bit for bit; and all
other bytes raise ``StateError`` and nothing else. Format: see ``model``. Read are models of
``binary:logistic`` with plain trees (``gbtree``), as JSON of the releases 1 to 3.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fraudfed.boosting.model import ALL_STATISTICS_BITS, Model, encoded_categories
from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.tree import NO_CHILD, NO_PARENT, Tree
from fraudfed.dtypes import BoolArray, Float32Array, Int64Array
from fraudfed.errors import StateError
from fraudfed.foreign_json import parse_foreign

#: Of a file; a model of 1,000 trees of depth 6 has about 25 MB.
MOST_MODEL_BYTES = 256 * 1024 * 1024
#: Boosters of XGBoost whose margin is no plain sum of leaves.
_OTHER_BOOSTERS = ("dart", "gblinear")
#: As many as a run can ask for (``num_boost_round``).
_MOST_TREES = 100_000
_RELEASES = range(1, 4)
#: Marks of numeric features in ``feature_types``; categories are ``c``.
_NUMERIC_TYPES = ("float", "q", "int", "i")
#: The least number that rounds to infinity as float32. The shortest decimal of the greatest one,
#: ``3.4028235e+38``, which models hold, lies between that one and this.
_FLOAT32_END = 2.0**128 - 2.0**103
_COUNT = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,60}(\.[0-9]{0,60})?([eE][+-]?[0-9]{1,3})?")

_OTHER_NAMES = (
    "it has other names of categories than the data contract, or another order of them; train it "
    "with the contract's codes"
)

_NODE_ARRAYS = (
    "left_children",
    "right_children",
    "parents",
    "split_indices",
    "split_conditions",
    "split_type",
    "default_left",
    "loss_changes",
    "sum_hessian",
    "base_weights",
)
_CATEGORY_ARRAYS = (
    "categories",
    "categories_nodes",
    "categories_segments",
    "categories_sizes",
)


class _NoModelError(ValueError):
    """What keeps bytes from being a model; the text quotes nothing of them."""


def read_model(data: bytes, *, schema: FeatureSchema, source: str) -> Model:
    """Return the model.

    Parameters
    ----------
    data : bytes
        XGBoost's JSON.
    schema : FeatureSchema
        Of the rows that it scores: the model has these features, in this order.
    source : str
        Origin of the bytes, for the error text.

    Returns
    -------
    Model
        Its trees have no bins (``split_bins``): they were not trained here.

    Raises
    ------
    StateError
        If the bytes are no such model, or of other features.
    """
    try:
        return _model(parse_foreign(data, most_bytes=MOST_MODEL_BYTES), schema)
    except ValueError as error:
        raise StateError(
            f"{source}: is no model that can be used: {error}; take another copy of it"
        ) from None


def _model(document: object, schema: FeatureSchema) -> Model:
    top = _fields(document, "the model", ("learner", "version"))
    version = _integers(top["version"], "version", least=0, most=999)
    if version.size != 3 or version[0] not in _RELEASES:
        raise _NoModelError("it is not of a known version of XGBoost")
    learner = _fields(
        top["learner"],
        "the learner",
        ("gradient_booster", "learner_model_param", "objective"),
        optional=("attributes", "feature_names", "feature_types"),
    )
    scale_pos_weight = _objective(learner["objective"])
    _check_features(learner, schema)
    base_score = _parameters(learner["learner_model_param"], schema)
    found = learner["gradient_booster"]
    # First: other boosters have other fields, and it is not the fields that are wrong.
    for other in _OTHER_BOOSTERS:
        if isinstance(found, dict) and found.get("name") == other:
            raise _NoModelError(f"its booster is {other}, expected plain trees (gbtree)")
    booster = _fields(found, "the booster", ("model", "name"))
    if booster["name"] != "gbtree":
        raise _NoModelError("it is not made of plain trees (booster gbtree)")
    return Model(
        trees=_trees(booster["model"], schema),
        base_score=base_score,
        schema=schema,
        scale_pos_weight=scale_pos_weight,
        attributes=_attributes(learner.get("attributes", {})),
        statistics_bits=ALL_STATISTICS_BITS,
    )


def _objective(document: object) -> float:
    fields = _fields(document, "the objective", ("name",), optional=("reg_loss_param",))
    if fields["name"] != "binary:logistic":
        raise _NoModelError("its objective is not binary:logistic")
    if "reg_loss_param" not in fields:
        return 1.0
    param = _fields(fields["reg_loss_param"], "the objective", (), optional=("scale_pos_weight",))
    return _number(param.get("scale_pos_weight", "1"), "scale_pos_weight")


def _check_features(learner: dict[str, Any], schema: FeatureSchema) -> None:
    names, types = learner.get("feature_names", []), learner.get("feature_types", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _NoModelError("the names of its features are no texts")
    if tuple(names) != schema.names:
        differ = set(names) ^ set(schema.names)
        # A name that only the file has is foreign text; those of the contract are known.
        known = sorted(differ & set(schema.names))
        named = ", ".join(known[:5]) or ("names not of the contract" if differ else "their order")
        raise _NoModelError(
            f"the model has {len(names)} features, the data contract of the run "
            f"{schema.n_features}; they differ in {named}: use the model of this run"
        )
    kinds = [type_ == "c" for type_ in types] if isinstance(types, list) else []
    expected = [schema.is_categorical(feature) for feature in range(schema.n_features)]
    if kinds != expected or any(type_ not in (*_NUMERIC_TYPES, "c") for type_ in types):
        raise _NoModelError("the types of its features are not those of the data contract")


def _parameters(document: object, schema: FeatureSchema) -> float:
    """Return the base score."""
    fields = _fields(
        document,
        "the learner's parameters",
        ("base_score", "num_feature"),
        optional=("boost_from_average", "num_class", "num_target"),
    )
    if (
        _count(fields["num_feature"], "num_feature") != schema.n_features
        or _count(fields.get("num_class", "0"), "num_class") != 0
        or _count(fields.get("num_target", "1"), "num_target") != 1
    ):
        raise _NoModelError("it is not a model of one probability over its features")
    text = fields["base_score"]
    # A list of one since release 3.1.
    inner = text[1:-1] if isinstance(text, str) and re.fullmatch(r"\[.*\]", text) else text
    base_score = _number(inner, "base_score")
    if not 0.0 < base_score < 1.0:
        raise _NoModelError("its base score is not between 0 and 1")
    return base_score


def _attributes(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _NoModelError("its attributes are no texts")
    return dict(value)


def _trees(document: object, schema: FeatureSchema) -> tuple[Tree, ...]:
    fields = _fields(
        document,
        "the booster's model",
        ("gbtree_model_param", "tree_info", "trees"),
        optional=("cats", "iteration_indptr"),
    )
    trees = fields["trees"]
    if not isinstance(trees, list) or not 1 <= len(trees) <= _MOST_TREES:
        raise _NoModelError(f"it does not have 1 to {_MOST_TREES} trees")
    param = _fields(
        fields["gbtree_model_param"],
        "the booster's parameters",
        ("num_trees",),
        optional=("num_parallel_tree", "size_leaf_vector"),
    )
    info = _integers(fields["tree_info"], "tree_info", least=0, most=0)
    if _count(param["num_trees"], "num_trees") != len(trees) or info.size != len(trees):
        raise _NoModelError("it does not have as many trees as it says")
    if "iteration_indptr" in fields:
        steps = _integers(fields["iteration_indptr"], "iteration_indptr", least=0, most=len(trees))
        if steps[:1].tolist() != [0] or steps[-1] != len(trees) or (np.diff(steps) < 0).any():
            raise _NoModelError("its iterations are not those of its trees")
    if "cats" in fields:
        _check_names(fields["cats"], schema)
    return tuple(_tree(tree, number, schema) for number, tree in enumerate(trees))


def _check_names(document: object, schema: FeatureSchema) -> None:
    """Accept no names of categories at all, or those of the contract in the order of its codes."""
    parts = ("enc", "feature_segments", "sorted_idx")
    cats = _fields(document, "the categories", ("enc",), optional=parts)
    if cats["enc"] == []:
        return
    expected = encoded_categories(schema)
    for part in parts[1:]:
        found = _integers(cats.get(part, []), part, least=0, most=2**31 - 1)
        if not np.array_equal(found, expected[part]):
            raise _NoModelError(_OTHER_NAMES)
    encodings = cats["enc"]
    if not isinstance(encodings, list) or len(encodings) != len(expected["enc"]):
        raise _NoModelError(_OTHER_NAMES)
    for found, own in zip(encodings, expected["enc"], strict=True):
        names = _fields(found, "the categories of a feature", ("offsets", "values"))
        offsets = _integers(names["offsets"], "offsets", least=0, most=2**31 - 1)
        values = _integers(names["values"], "values", least=-128, most=127)
        if not np.array_equal(offsets, own["offsets"]) or not np.array_equal(values, own["values"]):
            raise _NoModelError(_OTHER_NAMES)


def _tree(document: object, number: int, schema: FeatureSchema) -> Tree:
    fields = _fields(
        document,
        "a tree",
        (*_NODE_ARRAYS, "tree_param"),
        optional=("id", *_CATEGORY_ARRAYS),
    )
    if fields.get("id", number) != number:
        raise _NoModelError("its trees are not numbered in their order")
    param = _fields(
        fields["tree_param"],
        "a tree's parameters",
        ("num_nodes", "num_feature"),
        optional=("num_deleted", "size_leaf_vector"),
    )
    n_nodes = _count(param["num_nodes"], "num_nodes")
    lengths = {len(fields[name]) if isinstance(fields[name], list) else -1 for name in _NODE_ARRAYS}
    if lengths != {n_nodes} or n_nodes == 0:
        raise _NoModelError("the arrays of a tree do not have one entry for each node")
    if (
        _count(param["num_feature"], "num_feature") not in (0, schema.n_features)
        or _count(param.get("size_leaf_vector", "0"), "size_leaf_vector") > 1
    ):
        raise _NoModelError("a tree is of other features, or has leaves of several values")
    left, right = (
        _integers(fields[name], name, least=NO_CHILD, most=n_nodes - 1)
        for name in ("left_children", "right_children")
    )
    parents = _integers(fields["parents"], "parents", least=-1, most=NO_PARENT)
    kept = _reached(left, right, parents)
    if n_nodes - kept.size != _count(param.get("num_deleted", "0"), "num_deleted"):
        raise _NoModelError("a tree has nodes that its root does not lead to")
    return _kept_tree(fields, kept, (left, right, parents), schema)


def _reached(left: Int64Array, right: Int64Array, parents: Int64Array) -> Int64Array:
    """Return the nodes to which the root leads, ascending; each is the child of one node."""
    if ((left == NO_CHILD) != (right == NO_CHILD)).any() or (left == 0).any() or (right == 0).any():
        raise _NoModelError("a node of a tree has one child only, or the root for a child")
    if parents[0] != NO_PARENT:
        raise _NoModelError("the root of a tree has a parent")
    is_reached = np.zeros(left.size, dtype=np.bool_)
    is_reached[0] = True
    front = np.zeros(1, dtype=np.int64)
    while front.size:
        inner = front[left[front] != NO_CHILD]
        front = np.concatenate((left[inner], right[inner]))
        # A node that was reached before is reached again in a circle, or from two parents.
        if is_reached[front].any() or np.unique(front).size != front.size:
            raise _NoModelError("a node of a tree is reached twice")
        if not np.array_equal(parents[front], np.concatenate((inner, inner))):
            raise _NoModelError("a node of a tree has another parent than it says")
        is_reached[front] = True
    return np.flatnonzero(is_reached)


def _kept_tree(
    fields: dict[str, Any],
    kept: Int64Array,
    links: tuple[Int64Array, Int64Array, Int64Array],
    schema: FeatureSchema,
) -> Tree:
    """Return the tree of the nodes that are kept; XGBoost leaves those it has pruned in place."""
    left, right, parents = (values[kept] for values in links)
    is_inner = left != NO_CHILD
    new = np.full(links[0].size, NO_CHILD, dtype=np.int64)
    new[kept] = np.arange(kept.size)
    features = _integers(fields["split_indices"], "split_indices", least=-1, most=2**32 - 1)[kept]
    if not ((features >= 0) & (features < schema.n_features))[is_inner].all():
        raise _NoModelError("a tree splits a feature that does not exist")
    features = np.where(is_inner, features, 0)
    types = _integers(fields["split_type"], "split_type", least=0, most=1)[kept]
    is_categorical = is_inner & (types == 1)
    n_categories = np.array(schema.n_categories, dtype=np.int64)
    if ((n_categories[features] > 0) != is_categorical)[is_inner].any():
        raise _NoModelError("a split is not of its feature's kind")
    right_categories = _categories(fields, new, kept, is_categorical, n_categories[features])
    conditions, gains, hessians, weights = (
        _floats(fields[name], name)[kept]
        for name in ("split_conditions", "loss_changes", "sum_hessian", "base_weights")
    )
    return Tree(
        left_children=np.where(is_inner, new[left], NO_CHILD).astype(np.int32),
        right_children=np.where(is_inner, new[right], NO_CHILD).astype(np.int32),
        parents=np.where(
            parents == NO_PARENT, NO_PARENT, new[np.where(parents == NO_PARENT, 0, parents)]
        ).astype(np.int32),
        split_features=features.astype(np.int32),
        split_conditions=conditions,
        split_bins=np.full(kept.size, -1, dtype=np.int32),
        default_left=_flags(fields["default_left"])[kept],
        right_categories=right_categories,
        is_categorical=is_categorical,
        loss_changes=gains,
        sum_hessians=hessians,
        base_weights=weights,
    )


def _categories(
    fields: dict[str, Any],
    new: Int64Array,
    kept: Int64Array,
    is_categorical: BoolArray,
    n_categories: Int64Array,
) -> tuple[tuple[int, ...], ...]:
    """Return, for each kept node, the categories that go right."""
    codes, nodes, starts, sizes = (
        _integers(fields.get(name, []), name, least=0, most=2**31 - 1) for name in _CATEGORY_ARRAYS
    )
    if not nodes.size == starts.size == sizes.size:
        raise _NoModelError("the categories of a tree do not belong to its nodes")
    if sizes.sum() != codes.size or not np.array_equal(starts, np.cumsum(sizes) - sizes):
        raise _NoModelError("the categories of a tree are not one part for each node")
    if (nodes >= new.size).any() or (np.diff(nodes) <= 0).any():
        raise _NoModelError("the categories of a tree do not belong to its nodes")
    found: list[tuple[int, ...]] = [()] * kept.size
    has_codes = np.zeros(kept.size, dtype=np.bool_)
    for node, part in zip(new[nodes].tolist(), np.split(codes, starts[1:]), strict=False):
        if node == NO_CHILD:
            continue  # pruned
        chosen = np.unique(part)
        if chosen.size != part.size or chosen.size == 0 or chosen[-1] >= n_categories[node]:
            raise _NoModelError("a split names a category that does not exist, twice, or none")
        found[node], has_codes[node] = tuple(chosen.tolist()), True
    if not np.array_equal(has_codes, is_categorical):
        raise _NoModelError("the categories of a tree do not belong to its nodes")
    return tuple(found)


def _fields(
    document: object, what: str, needed: Sequence[str], *, optional: Sequence[str] = ()
) -> dict[str, Any]:
    """Return an object that has what is needed, and nothing that is not known."""
    if not isinstance(document, dict):
        raise _NoModelError(f"{what} is no object")
    if not set(needed) <= set(document) <= {*needed, *optional}:
        raise _NoModelError(f"{what} lacks a field, or has one that is not known")
    return document


def _integers(value: object, name: str, *, least: int, most: int) -> Int64Array:
    if not isinstance(value, list) or not all(type(entry) is int for entry in value):
        raise _NoModelError(f"{name} is no list of integers")
    if value and not least <= min(value) <= max(value) <= most:
        raise _NoModelError(f"{name} holds a number outside {least} to {most}")
    return np.array(value, dtype=np.int64)


def _floats(value: object, name: str) -> Float32Array:
    if not isinstance(value, list) or not all(type(entry) in (int, float) for entry in value):
        raise _NoModelError(f"{name} is no list of numbers")
    if value and not -_FLOAT32_END < min(value) <= max(value) < _FLOAT32_END:
        raise _NoModelError(f"{name} holds a number beyond float32")
    doubles: npt.NDArray[np.float64] = np.array(value, dtype=np.float64)
    return doubles.astype(np.float32)


def _flags(value: list[object]) -> BoolArray:
    """Return flags; XGBoost has written them as booleans and as numbers."""
    if not all(type(entry) in (int, bool) and entry in (0, 1) for entry in value):
        raise _NoModelError("default_left is no list of flags")
    return np.array(value, dtype=np.bool_)


def _count(value: object, name: str) -> int:
    """Read a number that XGBoost writes as a text."""
    if not isinstance(value, str) or not _COUNT.fullmatch(value):
        raise _NoModelError(f"{name} is no number")
    return int(value)


def _number(value: object, name: str) -> float:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise _NoModelError(f"{name} is no number")
    number = float(value)
    if not abs(number) < _FLOAT32_END:
        raise _NoModelError(f"{name} is beyond float32")
    return float(np.float32(number))
