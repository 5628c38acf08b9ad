"""``fraudfed bench growth``: what is varied, and what is fitted."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from fraudfed.lab.bench import growth
from fraudfed.lab.bench.growth import (
    BASE,
    DIMENSIONS,
    GrowthFigures,
    growth_exponent,
    run_growth,
    varied,
)
from fraudfed.lab.bench.train.result import TrainCase


@given(
    exponent=st.floats(-3, 3),
    factor=st.floats(1e-3, 1e6),
    sizes=st.lists(st.integers(1, 10**6), min_size=2, max_size=6, unique=True),
)
def test_a_power_law_is_found_exactly(exponent: float, factor: float, sizes: list[int]) -> None:
    costs = [factor * size**exponent for size in sizes]
    assert growth_exponent(sizes, costs) == pytest.approx(exponent, abs=1e-6)


def test_the_fit_is_of_least_squares() -> None:
    # Slopes 0 and 2 on either side of the middle one.
    assert growth_exponent([1, 10, 100], [1, 1, 100]) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least 2"):
        growth_exponent([1], [1])


def test_each_dimension_begins_with_the_base_and_varies_one_thing() -> None:
    at_base = dataclasses.asdict(BASE)
    for name, sizes in DIMENSIONS.items():
        assert varied(BASE, name, sizes[0]) == BASE
        assert list(sizes) == sorted(set(sizes))
        for size in sizes[1:]:
            case = dataclasses.asdict(varied(BASE, name, size))
            changed = {field for field in case if case[field] != at_base[field]}
            assert changed == {{"bins": "max_bin", "banks": "shares"}.get(name, name)}
    assert len(varied(BASE, "banks", 30).shares) == 30


@pytest.mark.e2e
def test_a_small_case_grows_as_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real processes; what does not depend on the clock is checked."""
    monkeypatch.setattr(growth.tempfile, "mkdtemp", lambda prefix: _fresh(tmp_path))
    base = TrainCase(
        rows=1000,
        features=4,
        trees=2,
        max_depth=2,
        max_bin=8,
        shares=(1.0, 1.0, 1.0),
        key_bits=2048,
    )
    said: list[str] = []
    figures = run_growth(base, {"trees": (2, 6), "banks": (3, 4)}, announce=said.append)
    assert said == ["base case", "6 trees", "4 banks"]
    trees, banks = (figures.dimensions[name] for name in ("trees", "banks"))
    assert [point.size for point in trees.points] == [2, 6]
    assert [point.trees for point in trees.points] == [2, 6]
    assert dataclasses.replace(trees.points[0], size=3) == banks.points[0]
    for dimension in (trees, banks):
        for point in dimension.points:
            assert point.identical_trees == point.trees
            assert min(point.encrypted_seconds, point.reference_seconds) > 0
        first, last = dimension.points
        assert dimension.exponents["ciphertexts"] == pytest.approx(
            growth_exponent([first.size, last.size], [first.ciphertexts, last.ciphertexts])
        )
    # The search for cuts comes once: less than in proportion, but it grows.
    assert 0.0 < trees.exponents["ciphertexts"] <= 1.0
    # Every bank sends the same, however many they are, up to a bit of width per value.
    assert abs(banks.exponents["ciphertexts"]) < 0.5
    shown = figures.to_text()
    assert "growth, size^e" in shown
    assert "1000 x 4" in shown
    assert json.loads(TypeAdapter(GrowthFigures).dump_json(figures))["base"]["case"]["rows"] == 1000
    assert not list(tmp_path.iterdir())


def _fresh(folder: Path) -> str:
    path = folder / f"run{len(list(folder.iterdir()))}"
    path.mkdir()
    return str(path)
