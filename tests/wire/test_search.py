"""A search run has a contract, what its candidates share, and how they are halved."""

from typing import Any

import pytest

from fraudfed.errors import ProtocolError
from fraudfed.wire.messages import RunKind, RunSpec, SelectBy, parse

CONTRACT = {"kind": "table", "features": [{"name": "amount"}]}
CANDIDATES = [{"name": "a", "parameters": {"max_depth": 3}}, {"name": "b", "min_child_share": 0.1}]
SEARCH: dict[str, Any] = {"candidates": CANDIDATES, "rungs": [{"trees": 5, "alive": 2}]}
RUN: dict[str, Any] = {
    "name": "r",
    "key_epoch": 1,
    "kind": "search",
    "contract": CONTRACT,
    "parameters": {"eta": 0.1},
    "search": SEARCH,
}


def test_a_search_run_is_read_back() -> None:
    spec = parse(RunSpec, RUN, source="test")
    assert spec.kind is RunKind.SEARCH
    assert spec.search is not None
    assert spec.search.select_by is SelectBy.MEAN_OF_BANKS
    assert [each.name for each in spec.search.candidates] == ["a", "b"]
    assert parse(RunSpec, spec.model_dump_json(), source="test") == spec
    members = {**RUN, "model_visibility": "members"}
    assert parse(RunSpec, members, source="test").model_visibility == "members"


def rungs(*pairs: tuple[int, int]) -> dict[str, Any]:
    return {"search": {**SEARCH, "rungs": [{"trees": t, "alive": a} for t, a in pairs]}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": None}, "a search run has search"),
        ({"kind": "training"}, "no other run has"),
        ({"contract": None}, "every other run has one"),
        ({"search": {**SEARCH, "candidates": CANDIDATES[:1]}}, "candidates"),
        ({"search": {**SEARCH, "candidates": CANDIDATES[:1] * 2}}, "distinct"),
        ({"search": {**SEARCH, "select_by": "luck"}}, "select_by"),
        ({"search": {**SEARCH, "patience": 0}}, "patience"),
        (rungs((5, 2), (5, 1)), "ascending"),
        (rungs((5, 2), (9, 2)), "descending"),
        (rungs((5, 3), (9, 1)), "all of 2"),
        (rungs(), "rungs"),
    ],
)
def test_what_is_no_search_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        parse(RunSpec, {**RUN, **changes}, source="test")
