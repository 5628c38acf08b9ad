"""Curves as SVG, drawn here: no script, no library, no style attribute, and a table beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 12, 12, 40
#: Colours that the style sheet has.
_COLOURS = 6


@dataclass(frozen=True)
class Curve:
    """One line.

    Attributes
    ----------
    name : str
    points : sequence of (x, y)
        Ascending in x, two at least.
    """

    name: str
    points: Sequence[tuple[float, float]]


def line_chart(
    curves: Sequence[Curve], *, title: str, x_label: str, y_label: str, as_bars: bool = False
) -> Markup:
    """Return curves over common axes, as one ``figure``; empty without curves.

    Parameters
    ----------
    curves : sequence of Curve
    title, x_label, y_label : str
    as_bars : bool
        Not used by more than one curve: a bar for each point, from zero.
    """
    points = [point for curve in curves for point in curve.points]
    if not points:
        return Markup("")
    x0, x1 = _range([x for x, _ in points])
    y0, y1 = _range([y for _, y in points] + ([0.0] if as_bars else []))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x0) / (x1 - x0) * (_WIDTH - _LEFT - _RIGHT)
        up = (y - y0) / (y1 - y0) * (_HEIGHT - _TOP - _BOTTOM)
        return _LEFT + across, _HEIGHT - _BOTTOM - up

    parts = [_grid(y0, y1), _x_ends(x0, x1, x_label)]
    for number, curve in enumerate(curves):
        colour = f"curve-{number % _COLOURS}"
        placed = [place(x, y) for x, y in curve.points]
        if as_bars:
            _, zero = place(x0, 0.0)
            parts += [
                Markup(
                    '<line class="bar {}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>'
                ).format(colour, x, x, zero, y)
                for x, y in placed
            ]
        elif len(placed) == 1:
            parts.append(
                Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(
                    colour, *placed[0]
                )
            )
        else:
            text = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            parts.append(Markup('<polyline class="{}" points="{}"/>').format(colour, text))
    items = Markup("").join(
        Markup('<li class="key-{}">{}</li>').format(number % _COLOURS, curve.name)
        for number, curve in enumerate(curves)
    )
    # One curve is what the caption says.
    legend = Markup('<ul class="legend">{}</ul>').format(items) if len(curves) > 1 else ""
    return Markup(
        '<figure class="chart"><figcaption>{}</figcaption>'
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        "{}</figure>"
    ).format(
        f"{title} ({y_label})",
        _WIDTH,
        _HEIGHT,
        _spoken(title, x_label, y_label, curves),
        Markup("").join(parts),
        legend,
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        spread = abs(low) * 0.1 or 1.0
        return low - spread, high + spread
    return low, high


def _grid(y0: float, y1: float) -> Markup:
    parts = []
    for step in range(5):
        y = _HEIGHT - _BOTTOM - step / 4 * (_HEIGHT - _TOP - _BOTTOM)
        parts.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
                '<text x="{}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(
                _LEFT, _WIDTH - _RIGHT, y, y, _LEFT - 8, y + 4, _short(y0 + step / 4 * (y1 - y0))
            )
        )
    return Markup("").join(parts)


def _x_ends(x0: float, x1: float, label: str) -> Markup:
    y = _HEIGHT - 16
    return Markup(
        '<text x="{}" y="{}">{}</text><text x="{}" y="{}" text-anchor="middle">{}</text>'
        '<text x="{}" y="{}" text-anchor="end">{}</text>'
    ).format(
        _LEFT,
        y,
        _short(x0),
        (_LEFT + _WIDTH - _RIGHT) / 2,
        y,
        label,
        _WIDTH - _RIGHT,
        y,
        _short(x1),
    )


def _short(value: float) -> str:
    return f"{value:.4g}"


def _spoken(title: str, x_label: str, y_label: str, curves: Sequence[Curve]) -> str:
    ends = "; ".join(
        f"{curve.name}: from {_short(curve.points[0][1])} to {_short(curve.points[-1][1])}"
        for curve in curves
        if curve.points
    )
    return str(escape(f"{title}: {y_label} over {x_label}; {ends}").striptags())
