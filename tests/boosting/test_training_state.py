"""The bytes of a training state: canonical, fixed, and nothing but StateError if they are not."""

import hashlib
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fraudfed.boosting.resume.canonical_bytes import TRAINING_STATE
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.boosting.tree import Tree
from fraudfed.communicator import SoloCommunicator
from fraudfed.errors import StateError
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.parameters import BoosterParams

NEWER = replace(TRAINING_STATE, version=2)


def states_of(categorical: int = 3, **given_settings: Any) -> list[TrainingState]:
    """Train on a table of 5 features, 500 rows and with metrics."""
    rng = np.random.default_rng(3)
    table, held_out = (
        synthetic_table(n, 5, rng, missing=0.1, categorical=categorical, prevalence=0.3)
        for n in (500, 200)
    )
    params = BoosterParams.parse(
        {
            "num_boost_round": 3,
            "max_bin": 8,
            "max_depth": 3,
            "max_cat_to_onehot": 1,
            "eval_metric": ["auc", "logloss"],
        }
        | given_settings
    )
    states: list[TrainingState] = []
    train(params, table, SoloCommunicator(), validation=held_out, on_step=states.append)
    return states


STATES = states_of()
SCHEMA = STATES[0].cuts.schema
LAST = STATES[-1].to_bytes()
#: One of each kind: prepared, with trees, regrouped, with later rows, with row sampling.
EXAMPLES = [
    STATES[0].to_bytes(),
    LAST,
    STATES[2].regrouped().to_bytes(),
    STATES[1].regrouped(more_rows=1000).to_bytes(),
    states_of(subsample=0.5)[-1].to_bytes(),
]


def framed(content: bytes) -> bytes:
    """Return the container, whose checksum fits, of any content."""
    return TRAINING_STATE.pack(content)


def content_of(data: bytes) -> bytes:
    """Return what is in the container of a state."""
    return TRAINING_STATE.unpack(data, source="test")


def read(data: bytes) -> TrainingState:
    return TrainingState.from_bytes(data, schema=SCHEMA)


@pytest.mark.parametrize("data", EXAMPLES)
def test_reading_back_loses_nothing(data: bytes) -> None:
    state = read(data)
    assert state.to_bytes() == data
    assert replace(state).to_bytes() == data


def test_a_state_that_was_read_is_the_state() -> None:
    state, found = STATES[-1], read(LAST)
    assert found.n_steps == state.n_steps == 4
    assert (found.of_params, found.num_boost_round) == (state.of_params, 3)
    assert (found.counts, found.base_score) == (state.counts, state.base_score)
    assert found.history == state.history
    assert [list(each.metrics) for each in found.history] == [["auc", "logloss"]] * 3
    assert found.best_iteration == state.best_iteration == found.history[-1].best_iteration
    assert found.cuts.schema == SCHEMA
    for name, one, other in [
        *(("edges", *pair) for pair in zip(found.cuts.values, state.cuts.values, strict=True)),
        *(("rows", found.cuts.counts[f], rows) for f, rows in state.cuts.counts.items()),
        *(pair for trees in zip(found.trees, state.trees, strict=True) for pair in arrays(*trees)),
    ]:
        assert one.dtype == other.dtype, name
        assert one.tobytes() == other.tobytes(), name
    assert [t.right_categories for t in found.trees] == [t.right_categories for t in state.trees]
    assert any(codes for tree in found.trees for codes in tree.right_categories)
    assert found.bins is not None
    assert state.bins is not None
    assert found.bins.root is not None
    assert state.bins.root is not None
    assert found.bins.n_rows.tolist() == state.bins.n_rows.tolist()
    assert found.bins.masses.tolist() == state.bins.masses.tolist()
    assert found.bins.root.by_label.tolist() == state.bins.root.by_label.tolist()
    assert found.bins.root.hessian.tolist() == state.bins.root.hessian.tolist()


def arrays(found: Tree, tree: Tree) -> list[tuple[str, Any, Any]]:
    names = [name for name, value in vars(tree).items() if isinstance(value, np.ndarray)]
    assert len(names) == 11
    return [(name, getattr(found, name), getattr(tree, name)) for name in names]


def test_the_bytes_of_a_state_are_fixed() -> None:
    """Another digest after a change of the code: old states cannot be read, raise the version."""
    n_rows = 256
    row = np.arange(n_rows)
    table = TrainingTable(
        schema=FeatureSchema(names=("a", "b"), n_categories=(0, 8)),
        features=np.column_stack((row % 37, row % 8)).astype(np.float32),
        labels=((row % 37 > 20) ^ (row % 8 == 3)).astype(np.float32),
    )
    params = BoosterParams.parse(
        {"max_depth": 2, "num_boost_round": 2, "max_bin": 4, "xgboost_version": "3.4"}
    )
    states: list[bytes] = []
    train(
        params,
        table,
        SoloCommunicator(),
        validation=table,
        on_step=lambda state: states.append(state.to_bytes()),
    )
    assert states[0][:26] == b"fraudfed training state\n\1\0"
    assert [hashlib.sha256(state).hexdigest() for state in states] == DIGESTS


DIGESTS = [
    "ace3583fe6c62696da656d3529ce4fd51a8054c91f05be2811db0ef0e33fe257",
    "1273339285472da10855b895843cbf4f8134c331201755e64a7de5d46e982677",
    "5d684933ac4094fcf421b082e16960357fbf4012411f412464d3becf2fac7c9e",
]


def test_metrics_keep_their_order_and_the_last_decides() -> None:
    found = [read(states_of(eval_metric=names)[-1].to_bytes()) for names in (["auc"], ["error"])]
    assert [list(state.history[0].metrics) for state in found] == [["auc"], ["error"]]
    both = read(states_of(eval_metric=["error", "aucpr", "auc"])[-1].to_bytes())
    values = [progress.metrics["auc"] for progress in both.history]
    assert both.best_iteration == int(np.argmax(values))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: b"", "does not begin as a training state"),
        (lambda data: data[:23], "does not begin as a training state"),
        (lambda data: b"X" + data[1:], "does not begin as a training state"),
        (lambda data: data[:24], "cut off after 24 bytes"),
        (lambda data: data[:-1], "cut off after"),
        (lambda data: data + b"\0", "1 bytes too many"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "wrong checksum"),
        (lambda data: framed(b""), "ends too early"),
        (lambda data: framed(content_of(data) + b"\0"), "1 bytes too many"),
        (lambda data: framed(content_of(data)[:-1]), "ends too early"),
        (lambda data: NEWER.pack(content_of(data)), "format version 2, this release reads 1"),
        (lambda data: NEWER.pack(b"otherwise"), "format version 2, this release reads 1"),
    ],
)
def test_bytes_that_are_no_state(spoil: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(StateError, match=message) as caught:
        read(spoil(LAST))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [
        replace(SCHEMA, names=("z", *SCHEMA.names[1:])),
        replace(SCHEMA, n_categories=(*SCHEMA.n_categories[:-1], 99)),
        FeatureSchema((), ()),
    ],
)
def test_a_state_of_other_features_is_refused(schema: FeatureSchema) -> None:
    with pytest.raises(StateError, match="of a training with other features"):
        TrainingState.from_bytes(LAST, schema=schema)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_every_flipped_bit_and_every_cut_is_noticed(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(EXAMPLES))
    spoilt = bytearray(whole)
    spoilt[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(StateError):
        read(bytes(spoilt))
    with pytest.raises(StateError):
        read(whole[: data.draw(st.integers(0, len(whole) - 1))])


def accepted_or_refused(data: bytes) -> None:
    """Law: whatever is accepted is canonical, and training can go on from it or says why not."""
    try:
        state = read(data)
    except StateError:
        return
    assert state.to_bytes() == data
    assert state.regrouped(more_rows=0).n_steps == state.n_steps


@settings(deadline=None, max_examples=1000)
@given(st.data())
def test_forged_bytes_are_refused_or_canonical(data: st.DataObject) -> None:
    """The checksum fits: what is read behind it must stand for itself."""
    body = bytearray(content_of(data.draw(st.sampled_from(EXAMPLES))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        kind = data.draw(st.sampled_from(["set", "flip", "word", "cut", "insert"]))
        if kind == "set":
            body[at] = data.draw(st.sampled_from([0, 1, 2, 127, 128, 255]))
        elif kind == "flip":
            body[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "word":
            word = data.draw(
                st.sampled_from([b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0\0\xc0\x7f", b"\0" * 4])
            )
            body[at : at + len(word)] = word
        elif kind == "cut":
            del body[at : at + data.draw(st.integers(1, 8))]
        else:
            body[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        if len(body) < 4:
            break
    accepted_or_refused(framed(bytes(body)))


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=400))
@example(b"")
def test_any_bytes_are_refused(rest: bytes) -> None:
    schema = content_of(LAST)[:32]
    for data in (rest, TRAINING_STATE.magic + rest, framed(rest), framed(schema + rest)):
        with pytest.raises(StateError):
            read(data)


def places() -> dict[str, int]:
    """Return where the parts of the content of ``LAST`` begin."""
    state = STATES[-1]
    numeric = [f for f in range(SCHEMA.n_features) if not SCHEMA.is_categorical(f)]
    at = {"schema": 0, "params": 32, "rounds": 64, "counts": 68}
    at |= {"more rows": 100, "counts validation": 108, "base score": 109, "bins": 117}
    at["edges"] = at["bins"] + 2 * len(numeric)
    at["trees"] = at["edges"] + sum(12 * len(state.cuts.values[f]) for f in numeric)
    at["sizes"] = at["trees"] + 4
    n_nodes = sum(tree.n_nodes for tree in state.trees)
    n_inner = sum(int((tree.left_children >= 0).sum()) for tree in state.trees)
    at["marks"] = at["sizes"] + 4 * 3
    at["conditions"] = at["marks"] + n_nodes
    at["lefts"] = at["conditions"] + 12 * n_nodes
    at["features"] = at["lefts"] + 4 * n_inner
    at["split bins"] = at["features"] + 4 * n_inner
    at["gains"] = at["split bins"] + 4 * n_inner
    at["flags"] = at["gains"] + 4 * n_inner
    at["category sizes"] = at["flags"] + n_inner
    splits = [codes for tree in state.trees for codes in tree.right_categories]
    n_categorical = sum(int(tree.is_categorical.sum()) for tree in state.trees)
    at["categories"] = at["category sizes"] + 4 * n_categorical
    at["metrics"] = at["categories"] + 4 * sum(map(len, splits))
    at["values"] = at["metrics"] + 3
    at["known bins"] = at["values"] + 8 * 2 * 3
    at["masses"] = at["known bins"] + 1
    return at


AT = places()


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("rounds", struct.pack("<I", 2), "has 3 trees of 2"),
        ("counts", struct.pack("<q", -1), "a number is -1, expected 0 to 68719476736"),
        ("counts", struct.pack("<q", 2**36 + 1), "expected 0 to 68719476736"),
        ("counts", struct.pack("<qq", 500, 500), "one class only"),
        ("counts", struct.pack("<qq", 500, 0), "one class only"),
        ("counts", struct.pack("<qqqq", 500, 100, 200, 200), "one class only"),
        ("more rows", struct.pack("<q", 2**36), "more rows than there can be"),
        ("counts validation", b"\2", "a number is 2, expected 0 to 1"),
        ("base score", struct.pack("<d", 1.5), "base score is not a probability"),
        ("base score", struct.pack("<d", np.nan), "not finite"),
        ("bins", struct.pack("<H", 0), "a feature has 0 bins"),
        ("bins", struct.pack("<H", 257), "a feature has 257 bins"),
        ("edges", struct.pack("<f", 3e38), "edges of a feature do not ascend"),
        ("edges", struct.pack("<f", np.inf), "not finite"),
        ("trees", struct.pack("<I", 2**32 - 1), "ends too early"),
        ("sizes", struct.pack("<I", 2), "even number of nodes"),
        ("sizes", struct.pack("<I", 2**32 - 1), "ends too early"),
        ("marks", b"\2", "neither split nor leaf"),
        ("marks", b"\0", "."),
        ("conditions", struct.pack("<f", np.nan), "not finite"),
        ("lefts", struct.pack("<I", 0), "no children behind it"),
        ("lefts", struct.pack("<I", 2), "not the child of one split"),
        ("lefts", struct.pack("<I", 3), "not the child of one split"),
        ("lefts", struct.pack("<I", 2**32 - 1), "no children behind it"),
        ("features", struct.pack("<I", 5), "feature that does not exist"),
        ("split bins", struct.pack("<i", -2), "bin that does not exist"),
        ("split bins", struct.pack("<i", 99), "bin that does not exist"),
        ("gains", struct.pack("<f", np.inf), "not finite"),
        ("flags", b"\4", "unknown kind"),
        ("category sizes", struct.pack("<I", 2**31), "ends too early"),
        ("categories", struct.pack("<I", 99), "category that does not exist"),
        ("metrics", b"\0", "metrics without validation rows, or none"),
        ("metrics", b"\2\1\1", "unknown or there twice"),
        ("metrics", b"\2\1\4", "unknown or there twice"),
        ("values", struct.pack("<d", np.nan), "not finite"),
        ("known bins", b"\3", "a number is 3, expected 0 to 2"),
        ("masses", struct.pack("<q", -1), "outside 0 to"),
        ("masses", struct.pack("<q", 2**62 + 1), "outside 0 to"),
    ],
)
def test_every_part_is_checked(place: str, value: bytes, message: str) -> None:
    body = bytearray(content_of(LAST))
    body[AT[place] : AT[place] + len(value)] = value
    with pytest.raises(StateError, match=message) as caught:
        read(framed(bytes(body)))
    assert "\n" not in str(caught.value)


def test_a_kind_of_split_that_is_not_its_features_is_refused() -> None:
    for bit in (1, 2):
        body = bytearray(content_of(LAST))
        body[AT["flags"]] ^= bit
        if bit == 1:
            # Only the other default direction: another tree, but a tree.
            assert read(framed(bytes(body))).n_steps == 4
        else:
            with pytest.raises(StateError, match="not of its feature's kind"):
                read(framed(bytes(body)))


def test_categories_of_a_split_that_do_not_ascend_are_refused() -> None:
    splits = [c for t in STATES[-1].trees for c in t.right_categories if c]
    several = next(number for number, codes in enumerate(splits) if len(codes) > 1)
    body = bytearray(content_of(LAST))
    at = AT["categories"] + 4 * sum(map(len, splits[:several]))
    first, second = body[at : at + 4], body[at + 4 : at + 8]
    for pair in (second + first, first + first):
        body[at : at + 8] = pair
        with pytest.raises(StateError, match="categories of a split do not ascend"):
            read(framed(bytes(body)))


def test_bins_that_hold_more_rows_than_there_are_are_refused() -> None:
    feature = SCHEMA.n_categories.index(0)
    n_bins = len(STATES[-1].cuts.values[feature])
    body = bytearray(content_of(LAST))
    at = AT["edges"] + 4 * n_bins
    body[at : at + 8] = struct.pack("<q", 500)
    with pytest.raises(StateError, match="bins of a feature hold more rows than there are"):
        read(framed(bytes(body)))
    body[at : at + 8] = struct.pack("<q", 501)
    with pytest.raises(StateError, match="outside 0 to 500"):
        read(framed(bytes(body)))


def test_sums_of_bins_before_the_first_tree_are_refused() -> None:
    body = bytearray(content_of(EXAMPLES[0]))
    assert body[-1] == 0
    body[-1] = 1
    with pytest.raises(StateError, match="expected 0 to 0"):
        read(framed(bytes(body)))


def test_validation_without_rows_cannot_be_counted_anew() -> None:
    body = bytearray(content_of(EXAMPLES[0]))
    body[AT["counts"] + 16 : AT["counts"] + 32] = bytes(16)
    assert not read(framed(bytes(body))).has_validation
    body[AT["counts validation"]] = 1
    with pytest.raises(StateError, match="asks for validation rows where there are none"):
        read(framed(bytes(body)))


def test_nothing_is_allocated_that_the_bytes_do_not_hold() -> None:
    forged = []
    for place in ("trees", "sizes", "category sizes"):
        body = bytearray(content_of(LAST))
        body[AT[place] : AT[place] + 4] = struct.pack("<I", 2**32 - 1)
        forged.append(framed(bytes(body)))
    tracemalloc.start()
    try:
        for data in forged:
            with pytest.raises(StateError):
                read(data)
        assert tracemalloc.get_traced_memory()[1] < 50 * len(LAST)
    finally:
        tracemalloc.stop()


def test_equal_trainings_of_unlike_memory_give_equal_bytes() -> None:
    state = STATES[-1]
    strided = tuple(
        replace(
            tree,
            **{
                name: np.repeat(value, 2)[::2]
                for name, value in vars(tree).items()
                if isinstance(value, np.ndarray)
            },
        )
        for tree in state.trees
    )
    assert replace(state, trees=strided).to_bytes() == LAST
