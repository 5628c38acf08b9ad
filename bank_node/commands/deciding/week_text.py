"""How figures of a week that are divided by completeness are printed, wherever they are."""


def ends_text(
    value: float | None,
    lower: float | None = None,
    upper: float | None = None,
    *,
    is_young: bool | None = None,
) -> str:
    """Return a share in per cent with its ends, and whether its week is young."""
    if value is None:
        return "-"
    text = f"{value:.0%}"
    if lower is not None and upper is not None and f"{lower:.0%}" != f"{upper:.0%}":
        text += f" ({100 * lower:.0f} to {100 * upper:.0f})"
    return f"{text} young" if is_young else text


def completeness_text(window_days: float | None) -> str:
    """Say what completeness is, in a sentence."""
    if window_days is None:
        return "too few frauds say how late reports come: all figures are as known"
    return (
        f"completeness: share of the frauds reported within {window_days:.0f} days that is known "
        "by now, with ends of 95 %; figures of young weeks will move"
    )
