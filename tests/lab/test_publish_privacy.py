"""What privacy costs: page, table of sizes and results say the same."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fraudfed.lab.publish import privacy as publish
from fraudfed.privacy import sizes
from fraudfed.privacy.terms import TrainingWay


def _point(model: str, epsilon: float | None, auprc: float, **changes: Any) -> dict[str, Any]:
    band = {"mean": auprc, "lowest": auprc - 0.01, "highest": auprc + 0.01}
    gate = {"adopt": 2, "keep": 1, "undecided": 3, "adopted_worse": 1, "adopted_gain": 0.05}
    return {
        **{"model": model, "epsilon": epsilon, "repeats": 5, "auprc": band, "case_recall": band},
        **{"bank_auprc": auprc / 2, "bank_case_recall": auprc, "gate": gate, "kept": None},
        **changes,
    }


def _curve(rows: int, auprc: float) -> dict[str, Any]:
    return {
        "rows": rows,
        "points": [_point("cyclic", None, 0.2), _point("cyclic", 3.0, auprc)],
        "own": [{"shared_risk": False, "bank_auprc": 0.075, "bank_case_recall": 0.25}],
    }


_PAGE = "".join(f"<!-- publish: {name} -->\nold\n<!-- end -->\n" for name in ("costs", "gate"))
_SOURCE = "# publish: measured\nMEASURED: Final[tuple[MeasuredSize, ...]] = ()\n# end\n"


def test_worlds_of_a_size_are_summed_up() -> None:
    results = {"2m-11": _curve(2_000_000, 0.18), "2m-12": _curve(2_100_000, 0.16)}
    page = publish.render(_PAGE, results)
    assert "old" not in page
    assert (
        "| 2 million rows | cyclic | 3 | 10 | 0.170 (0.150 to 0.190) | 85 % | "
        "0.170 (0.150 to 0.190) | 0.085 | 0.170 |" in page
    )
    assert "| 2 million rows | own | - | - | - | - | - | 0.075 | 0.250 |" in page
    assert "| 2 million rows | cyclic | 3 | 4 | 2 | 6 | 2 | +0.050 |" in page


def test_the_table_of_sizes_is_the_banks_mean_against_the_better_own_model() -> None:
    curve = _curve(2_000_000, 0.18)
    curve["own"].append({"shared_risk": True, "bank_auprc": 0.1, "bank_case_recall": 0.3})
    source = publish.render_sizes(_SOURCE, {"2m-11": curve})
    assert "MeasuredSize(2000000, TrainingWay.CYCLIC, 3, 0.0900, 0.1000, 0.1000)" in source
    assert publish.render_sizes(source, {}) == _SOURCE
    found: dict[str, Any] = {}
    named = {"Final": tuple, "MeasuredSize": sizes.MeasuredSize, "TrainingWay": TrainingWay}
    exec(re.sub(r": Final\[.*?\]\] =", " =", source), dict(named), found)
    (point,) = found["MEASURED"]
    assert asdict(point)["way"] is TrainingWay.CYCLIC
    assert not point.beats_own
    assert point.kept == pytest.approx(0.9)


def test_without_results_the_page_says_so() -> None:
    assert publish.render(_PAGE, {}).count("Not measured yet.") == 2


def test_a_page_with_another_block_is_refused() -> None:
    with pytest.raises(ValueError, match="other"):
        publish.render(_PAGE + "<!-- publish: other -->\n<!-- end -->\n", {})


def test_a_name_of_no_size_is_refused(tmp_path: Path) -> None:
    answer = CliRunner().invoke(publish.main, ["take", "3m-1", str(tmp_path)])
    assert answer.exit_code != 0


def test_the_published_page_and_the_table_of_sizes_hold_the_results() -> None:
    results = publish.load_results()
    page, source = publish.PAGE.read_text(), publish.SIZES.read_text()
    assert publish.render(page, results) == page
    # The formatter may break lines; nothing else may differ.
    written = publish.render_sizes(source, results)
    assert re.sub(r"\s|,(?=\s*\))", "", written) == re.sub(r"\s|,(?=\s*\))", "", source)
    for name, plot in publish.plots(results).items():
        assert (publish.PAGE.parent / "privacy-cost" / name).read_text() == plot
