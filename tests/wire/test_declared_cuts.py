"""Cuts that a data contract declares."""

import pytest

from fraudfed.intake.plain_table import declared_edges
from fraudfed.wire.messages import DataContract, FeatureSpec


def test_cuts_come_back_as_float32_by_feature() -> None:
    contract = DataContract(
        kind="table",
        features=(FeatureSpec(name="a", cuts=(-1.5, 0.1, 7)), FeatureSpec(name="b")),
    )
    edges = declared_edges(contract)
    assert list(edges) == ["a"]
    assert edges["a"].dtype == "float32"
    assert edges["a"].tolist() == pytest.approx([-1.5, 0.1, 7.0])


@pytest.mark.parametrize(
    "cuts", [(), (2, 1), (1, 1), (1.0, 1.0 + 1e-12), (0.0, float("nan")), (float("inf"),), (1e39,)]
)
def test_cuts_that_are_no_edges_are_refused(cuts: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="cuts"):
        FeatureSpec(name="a", cuts=cuts)


def test_a_category_has_no_cuts() -> None:
    with pytest.raises(ValueError, match="only a numeric feature"):
        FeatureSpec(name="a", type="categorical", categories=("x", "y"), cuts=(1.0,))
