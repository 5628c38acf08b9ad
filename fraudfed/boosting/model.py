"""A trained model as stock XGBoost JSON and UBJ: bytes that ``Booster.load_model`` reads.

Law: equal trees give equal bytes. Keys are sorted, there is no white space, floats are the shortest
decimals that read back to the same float32, and nothing else enters (no time, no version of this
program, no machine).

Format: XGBoost's ``doc/tutorials/saving_model.rst`` and the loaders in ``src/learner.cc``,
``src/gbm/gbtree_model.cc`` and ``src/tree/tree_model.cc``. It is the format of release 3.0, which
later ones read as well: ``base_score`` is one number, not a list. From 3.1 on they also read the
names of categories in it.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fraudfed.boosting.table import FeatureSchema
from fraudfed.boosting.tree import NO_CHILD, Tree
from fraudfed.dtypes import Float32Array

#: The release whose format is written.
_FORMAT_VERSION = (3, 0, 0)
#: Bits in the significand of a float32: node statistics as they are.
ALL_STATISTICS_BITS = 24

#: UBJ type marks (https://ubjson.org) of the arrays that XGBoost writes with a type.
_UBJ_MARKS = {
    "float32": (b"d", ">f4"),
    "int32": (b"l", ">i4"),
    "int64": (b"L", ">i8"),
    "int8": (b"i", "i1"),
    "uint8": (b"U", "u1"),
}


@dataclass(frozen=True, eq=False)
class Model:
    """Trees and what is needed to score with them.

    Attributes
    ----------
    trees : tuple of Tree
        Not empty.
    base_score : float
        Probability before the first tree; a float32.
    schema : FeatureSchema
    scale_pos_weight : float
        Kept for continued training.
    attributes : mapping of str to str
        Free text that XGBoost keeps with a model, such as ``best_iteration``.
    statistics_bits : int
        Significant bits, 1 to 24, of ``loss_changes``, ``sum_hessian`` and the ``base_weights`` of
        inner nodes. Predictions do not depend on them; ``pred_contribs`` weighs by
        ``sum_hessian``. The one place where the privacy of node statistics is decided.
    """

    trees: tuple[Tree, ...]
    base_score: float
    schema: FeatureSchema
    scale_pos_weight: float = 1.0
    attributes: Mapping[str, str] = field(default_factory=dict)
    statistics_bits: int = ALL_STATISTICS_BITS

    def __post_init__(self) -> None:
        if not self.trees:
            raise ValueError("a model needs at least one tree")
        if not 1 <= self.statistics_bits <= ALL_STATISTICS_BITS:
            raise ValueError(
                f"statistics_bits is {self.statistics_bits}, expected 1 to {ALL_STATISTICS_BITS}"
            )

    def to_json(self) -> bytes:
        """Return the model as UTF-8 JSON text without a final newline."""
        return _json_bytes(_plain(self._document()))

    def to_ubj(self) -> bytes:
        """Return the model as Universal Binary JSON."""
        parts: list[bytes] = []
        _write_ubj(self._document(), parts)
        return b"".join(parts)

    def used_features(self) -> frozenset[str]:
        """Return the names of the features that a split asks for."""
        found: set[int] = set()
        for tree in self.trees:
            found |= set(tree.split_features[tree.left_children != NO_CHILD].tolist())
        return frozenset(self.schema.names[feature] for feature in found)

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of ``to_json()``: what banks vote for."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def _document(self) -> dict[str, Any]:
        n_trees, n_features = len(self.trees), self.schema.n_features
        trees = [self._tree(number, tree) for number, tree in enumerate(self.trees)]
        return {
            "version": list(_FORMAT_VERSION),
            "learner": {
                "attributes": dict(self.attributes),
                "feature_names": list(self.schema.names),
                "feature_types": [
                    "c" if self.schema.is_categorical(f) else "float" for f in range(n_features)
                ],
                "gradient_booster": {
                    "name": "gbtree",
                    "model": {
                        "cats": encoded_categories(self.schema),
                        "gbtree_model_param": {
                            "num_parallel_tree": "1",
                            "num_trees": str(n_trees),
                        },
                        "iteration_indptr": list(range(n_trees + 1)),
                        "tree_info": [0] * n_trees,
                        "trees": trees,
                    },
                },
                "learner_model_param": {
                    "base_score": str(np.float32(self.base_score)),
                    "boost_from_average": "1",
                    "num_class": "0",
                    "num_feature": str(n_features),
                    "num_target": "1",
                },
                "objective": {
                    "name": "binary:logistic",
                    "reg_loss_param": {"scale_pos_weight": str(np.float32(self.scale_pos_weight))},
                },
            },
        }

    def _tree(self, number: int, tree: Tree) -> dict[str, Any]:
        nodes = np.flatnonzero(tree.is_categorical).astype(np.int32)
        sizes = np.array([len(tree.right_categories[node]) for node in nodes], dtype=np.int64)
        categories = [code for node in nodes for code in tree.right_categories[node]]
        is_split = tree.left_children >= 0
        base_weights = np.where(
            is_split,
            _round_significand(tree.base_weights, self.statistics_bits),
            # At a leaf this is the leaf value, which is published anyway.
            tree.split_conditions,
        )
        return {
            "id": number,
            "tree_param": {
                "num_deleted": "0",
                "num_feature": str(self.schema.n_features),
                "num_nodes": str(tree.n_nodes),
                "size_leaf_vector": "1",
            },
            "left_children": tree.left_children,
            "right_children": tree.right_children,
            "parents": tree.parents,
            "split_indices": tree.split_features,
            "split_conditions": tree.split_conditions,
            "split_type": tree.is_categorical.astype(np.uint8),
            "default_left": tree.default_left.astype(np.uint8),
            "categories": np.array(categories, dtype=np.int32),
            "categories_nodes": nodes,
            "categories_segments": np.cumsum(sizes, dtype=np.int64) - sizes,
            "categories_sizes": sizes,
            "loss_changes": _round_significand(tree.loss_changes, self.statistics_bits),
            "sum_hessian": _round_significand(tree.sum_hessians, self.statistics_bits),
            "base_weights": base_weights,
        }


def without_category_names(content: bytes) -> bytes:
    """Return a model that takes codes of categories only, for programs that know no names.

    Treelite, for one, refuses a model with names (release 4.8). Of a model that ``Model.to_json``
    wrote, these are the bytes that it writes for a schema without names.

    Parameters
    ----------
    content : bytes
        A model, JSON.

    Raises
    ------
    ValueError
        If it is none.
    """
    document = json.loads(content)
    try:
        document["learner"]["gradient_booster"]["model"]["cats"] = {
            "enc": [],
            "feature_segments": [],
            "sorted_idx": [],
        }
    except (KeyError, TypeError):
        raise ValueError("is no model of XGBoost as JSON") from None
    return _json_bytes(document)


def _json_bytes(document: Any) -> bytes:
    # Not ASCII only: XGBoost's reader does not resolve \u escapes in names.
    text = json.dumps(
        document, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )
    return text.encode()


def encoded_categories(schema: FeatureSchema) -> dict[str, Any]:
    """Return what XGBoost calls ``cats``: the names behind the codes of each feature.

    XGBoost from release 3.1 on (``src/encoder/ordinal.h``) finds the names of a data frame's
    categories among these by bisection, and so its codes; rows that come as codes are taken as
    they are.

    Parameters
    ----------
    schema : FeatureSchema

    Returns
    -------
    dict
        ``enc``: for each feature its names as Arrow stores texts, one byte string (int8) with the
        bounds of each name (int32). ``sorted_idx``: for each feature in turn its codes in the order
        of their names, compared byte by byte as *signed* numbers. ``feature_segments``: the number
        of names before each feature. All are empty where the schema has no names.
    """
    encodings: list[dict[str, Any]] = []
    order = [np.empty(0, dtype=np.int32)]
    segments = [0]
    for names in schema.categories if any(schema.categories) else ():
        texts = [np.frombuffer(name.encode(), dtype=np.int8) for name in names]
        ends = np.cumsum([text.size for text in texts], dtype=np.int32)
        encodings.append(
            {
                "offsets": np.concatenate([np.zeros(1, np.int32), ends]) if names else ends,
                "values": np.concatenate([np.empty(0, dtype=np.int8), *texts]),
            }
        )
        ascending = sorted(range(len(texts)), key=lambda code: texts[code].tolist())
        order.append(np.array(ascending, dtype=np.int32))
        segments.append(segments[-1] + len(names))
    return {
        "enc": encodings,
        "feature_segments": np.array(segments if encodings else [], dtype=np.int32),
        "sorted_idx": np.concatenate(order),
    }


def _round_significand(values: Float32Array, bits: int) -> Float32Array:
    """Round float32 to ``bits`` significant bits, ties to even; 24 changes nothing."""
    significand, exponent = np.frexp(values.astype(np.float64))
    rounded = np.ldexp(np.rint(np.ldexp(significand, bits)), exponent - bits)
    return np.asarray(rounded, dtype=np.float32)


def _plain(value: Any) -> Any:
    """Replace arrays by lists; a float32 becomes the double with the same shortest decimals."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        if value.dtype == np.float32:
            return [float(text) for text in value.astype(str)]
        return value.tolist()
    return value


def _write_ubj(value: Any, parts: list[bytes]) -> None:
    """Append the value with its type mark, in the dialect of XGBoost's reader."""
    if isinstance(value, dict):
        parts.append(b"{")
        for key in sorted(value):
            _write_ubj_text(key, parts)
            _write_ubj(value[key], parts)
        parts.append(b"}")
    elif isinstance(value, np.ndarray):
        mark, layout = _UBJ_MARKS[value.dtype.name]
        parts.append(b"[$" + mark + b"#L" + struct.pack(">q", value.size))
        parts.append(value.astype(layout).tobytes())
    elif isinstance(value, list):
        parts.append(b"[#L" + struct.pack(">q", len(value)))
        for entry in value:
            _write_ubj(entry, parts)
    elif isinstance(value, str):
        parts.append(b"S")
        _write_ubj_text(value, parts)
    else:
        parts.append(b"L" + struct.pack(">q", value))


def _write_ubj_text(text: str, parts: list[bytes]) -> None:
    encoded = text.encode()
    parts.append(b"L" + struct.pack(">q", len(encoded)) + encoded)
