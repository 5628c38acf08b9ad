"""Write what privacy was measured to cost into docs/privacy-cost.md, and into what the CLI says.

    python -m fraudfed.lab.publish.privacy take NAME FOLDER  keep the figures of a curve's folder
    python -m fraudfed.lab.publish.privacy write             write page, plots and table of sizes

NAME is a size and a world, as ``2m-11``: curves of one size are summed up together. No figure on
the page is copied by hand: a test, ``tests/lab/test_publish_privacy.py``, fails when page and
results differ.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from fraudfed.lab.publish.blocks import table, write_blocks
from fraudfed.lab.report.privacy_curve import curve_plot

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "docs" / "privacy-cost" / "results"
PAGE = ROOT / "docs" / "privacy-cost.md"
SIZES = ROOT / "fraudfed" / "privacy" / "sizes.py"

_MEASURED = re.compile(r"(# publish: measured\n)(.*?)(# end\n)", re.DOTALL)
#: Sizes by name, small to large.
_SIZES: Mapping[str, str] = {
    "0.2m": "0.2 million rows",
    "0.6m": "0.6 million rows",
    "2m": "2 million rows",
    "20m": "20 million rows",
}

Results = Mapping[str, Mapping[str, Any]]


def load_results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Return the figures of every curve that was taken, by name."""
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return {file.stem: json.loads(file.read_text()) for file in files}


def render(page: str, results: Results) -> str:
    """Return the page with its tables written anew.

    Raises
    ------
    ValueError
        If the page lacks a table, or has one more.
    """
    return write_blocks(page, {"costs": _costs(results), "gate": _gates(results)})


def render_sizes(source: str, results: Results) -> str:
    """Return ``fraudfed/privacy/sizes.py`` with its table written anew."""
    lines = []
    for size in _SIZES:
        for model, epsilon in _points(_of_size(results, size)):
            if epsilon is None or model == "exact":
                continue
            found = _of_size(results, size)
            private, noiseless = (
                _mean(found, model, bound, "bank_auprc") for bound in (epsilon, None)
            )
            own = _own(found, "bank_auprc")
            if private is None or noiseless is None or not own:
                continue
            rows = round(sum(each["rows"] for each in found) / len(found))
            name = f"TrainingWay.{model.upper().replace('-', '_')}"
            lines.append(
                f"    MeasuredSize({rows}, {name}, {epsilon:g}, {private:.4f}, {noiseless:.4f}, "
                f"{max(own.values()):.4f}),\n"
            )
    table = "".join(lines)
    written = "()\n" if not table else f"(\n{table})\n"
    return _MEASURED.sub(
        lambda match: f"{match[1]}MEASURED: Final[tuple[MeasuredSize, ...]] = {written}{match[3]}",
        source,
    )


def plots(results: Results) -> dict[str, str]:
    """Return a plot for each size, of its first world, by file name."""
    found = {}
    for size in _SIZES:
        mine = _of_size(results, size)
        if mine:
            found[f"{size}.svg"] = curve_plot(mine[0])
    return found


def _of_size(results: Results, size: str) -> list[Mapping[str, Any]]:
    return [each for name, each in results.items() if name.split("-")[0] == size]


def _points(curves: Sequence[Mapping[str, Any]]) -> list[tuple[str, float | None]]:
    """Return model and bound of every point, in the order of the first curves that have them."""
    seen = {(point["model"], point["epsilon"]): None for each in curves for point in each["points"]}
    return list(seen)


def _all(
    curves: Sequence[Mapping[str, Any]], model: str, epsilon: float | None
) -> list[Mapping[str, Any]]:
    return [
        point
        for each in curves
        for point in each["points"]
        if (point["model"], point["epsilon"]) == (model, epsilon)
    ]


def _mean(
    curves: Sequence[Mapping[str, Any]], model: str, epsilon: float | None, figure: str
) -> float | None:
    # A curve without banks that train alone has 0 for their means.
    values = [point[figure] for point in _all(curves, model, epsilon) if point["bank_auprc"]]
    return sum(values) / len(values) if values else None


def _own(curves: Sequence[Mapping[str, Any]], figure: str) -> dict[bool, float]:
    """Return the banks' means over all worlds, by whether they have shared risk."""
    found: dict[bool, float] = {}
    for shared in (False, True):
        values = [
            point[figure]
            for each in curves
            for point in each["own"]
            if bool(point["shared_risk"]) is shared
        ]
        if values:
            found[shared] = sum(values) / len(values)
    return found


_HEAD = (
    *("rows", "model", "epsilon", "trainings", "AUPRC, all rows", "kept of noiseless"),
    *("cases found", "AUPRC, mean of banks", "cases found, mean of banks"),
)


def _costs(results: Results) -> str:
    rows: list[tuple[str, ...]] = []
    for size, title in _SIZES.items():
        curves = _of_size(results, size)
        for model, epsilon in _points(curves):
            rows.append(_cost(title, model, epsilon, _all(curves, model, epsilon), curves))
        recall = _own(curves, "bank_case_recall")
        for shared, value in _own(curves, "bank_auprc").items():
            name = "own + shared risk" if shared else "own"
            cells = ("-", "-", "-", "-", "-", f"{value:.3f}", f"{recall[shared]:.3f}")
            rows.append((title, name, *cells))
    return table(_HEAD, rows)


def _cost(
    title: str,
    model: str,
    epsilon: float | None,
    points: Sequence[Mapping[str, Any]],
    curves: Sequence[Mapping[str, Any]],
) -> tuple[str, ...]:
    noiseless = [
        _all([each], model, None)[0]["auprc"]["mean"]
        for each in curves
        if _all([each], model, None) and _all([each], model, epsilon)
    ]
    auprc = sum(point["auprc"]["mean"] for point in points) / len(points)
    kept = "-"
    if epsilon is not None and noiseless:
        kept = f"{100 * auprc / (sum(noiseless) / len(noiseless)):.0f} %"
    return (
        title,
        model,
        "none" if epsilon is None else f"{epsilon:g}",
        str(sum(point["repeats"] for point in points)),
        _spread(points, "auprc"),
        kept,
        _spread(points, "case_recall"),
        *(
            "-" if value is None else f"{value:.3f}"
            for value in (
                _mean(curves, model, epsilon, figure)
                for figure in ("bank_auprc", "bank_case_recall")
            )
        ),
    )


def _spread(points: Sequence[Mapping[str, Any]], figure: str) -> str:
    mean = sum(point[figure]["mean"] for point in points) / len(points)
    low = min(point[figure]["lowest"] for point in points)
    high = max(point[figure]["highest"] for point in points)
    return f"{mean:.3f}" if low == high else f"{mean:.3f} ({low:.3f} to {high:.3f})"


def _gates(results: Results) -> str:
    rows = []
    for size, title in _SIZES.items():
        curves = _of_size(results, size)
        for model, epsilon in _points(curves):
            gates = [point["gate"] for point in _all(curves, model, epsilon)]
            counts = {
                name: sum(gate[name] for gate in gates)
                for name in ("adopt", "keep", "undecided", "adopted_worse")
            }
            if not any(counts.values()):
                continue
            gained = sum(gate["adopt"] * (gate["adopted_gain"] or 0.0) for gate in gates)
            rows.append(
                (
                    *(title, model, "none" if epsilon is None else f"{epsilon:g}"),
                    *(str(number) for number in counts.values()),
                    f"{gained / counts['adopt']:+.3f}" if counts["adopt"] else "-",
                )
            )
    head = (
        *("rows", "model", "epsilon", "adopt", "keep", "undecided"),
        *("adopted, and worse", "gain where adopted"),
    )
    return table(head, rows)


@click.group()
def main() -> None:
    """Publish what privacy costs."""


@main.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def take(name: str, folder: Path) -> None:
    """Keep the figures of a curve's folder under a name."""
    if name.split("-")[0] not in _SIZES:
        raise click.BadParameter(f"{name!r} begins with no size of {', '.join(_SIZES)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / "curve.json", RESULTS / f"{name}.json")


@main.command("write")
def write_command() -> None:
    """Write the page, the plots and the table of sizes."""
    results = load_results()
    PAGE.write_text(render(PAGE.read_text(), results))
    SIZES.write_text(render_sizes(SIZES.read_text(), results))
    for name, plot in plots(results).items():
        (PAGE.parent / "privacy-cost" / name).write_text(plot)


if __name__ == "__main__":
    main()
