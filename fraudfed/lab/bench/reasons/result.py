"""What ``fraudfed bench reasons`` found."""

from dataclasses import dataclass

from fraudfed.lab.bench.machine import Machine


@dataclass(frozen=True)
class KindFigures:
    """True alerts of one kind of fraud.

    Attributes
    ----------
    kind : str
    true_alerts : int
    planted : tuple of str
        Codes of the phrases that were declared beforehand to be its causes.
    named : float
        Share of true alerts in which one of them is among the first two reasons.
    named_first : float
        Share in which one of them is the first.
    by_chance : float
        ``named`` if the two reasons were drawn from all that raise the score.
    phrases : dict of str to int
        The most common ones among the first two reasons.
    """

    kind: str
    true_alerts: int
    planted: tuple[str, ...]
    named: float
    named_first: float
    by_chance: float
    phrases: dict[str, int]


@dataclass(frozen=True)
class Distortion:
    """What rounded node statistics change, in alerts, against the same trees unrounded.

    Attributes
    ----------
    statistics_bits : int
    median_share, largest_share : float
        Largest error of any group of an alert, as a share of all that raises its score.
    same_first, same_first_two : float
        Share of alerts with the same first reason, and the same two in either order.
    """

    statistics_bits: int
    median_share: float
    largest_share: float
    same_first: float
    same_first_two: float


@dataclass(frozen=True)
class WorldFigures:
    """One world.

    Attributes
    ----------
    preset, recipe : str
    rows_trained, later, alerts, true_alerts : int
    by_kind : tuple of KindFigures
    largest_gap : float
        Between an alert's margin and the sum of its contributions.
    distortion : Distortion
    """

    preset: str
    recipe: str
    rows_trained: int
    later: int
    alerts: int
    true_alerts: int
    by_kind: tuple[KindFigures, ...]
    largest_gap: float
    distortion: Distortion

    @property
    def named(self) -> float:
        """Share of all true alerts whose first two reasons name a planted cause."""
        hits = sum(kind.named * kind.true_alerts for kind in self.by_kind)
        return hits / max(1, sum(kind.true_alerts for kind in self.by_kind))


@dataclass(frozen=True)
class ReasonsFigures:
    """All worlds.

    Attributes
    ----------
    seed : int
    alert_share : float
    worlds : tuple of WorldFigures
    least_named : float
        The lowest ``named`` of all kinds with at least 20 true alerts in all worlds together.
    date : str
    machine : Machine
    """

    seed: int
    alert_share: float
    worlds: tuple[WorldFigures, ...]
    least_named: float
    date: str
    machine: Machine

    def to_text(self) -> str:
        """Return tables in Markdown."""
        lines = []
        for world in self.worlds:
            off = world.distortion
            lines += [
                f"{world.preset}, {world.recipe}: {world.alerts:,} alerts of {world.later:,} "
                f"payments, {world.true_alerts:,} true",
                "",
                "| kind | true alerts | a planted cause among the first two | first | by chance |",
                "|---|--:|--:|--:|--:|",
                *(
                    f"| `{kind.kind}` | {kind.true_alerts:,} | {kind.named:.1%} | "
                    f"{kind.named_first:.1%} | {kind.by_chance:.0%} |"
                    for kind in world.by_kind
                ),
                "",
                f"contributions miss the margin by {world.largest_gap:.1e} at most; with "
                f"{off.statistics_bits} statistics bits {off.same_first:.1%} of alerts have the "
                f"same first reason and {off.same_first_two:.1%} the same two; groups are off by "
                f"{off.median_share:.2%} (median) and {off.largest_share:.1%} (most) of what "
                "raises the score",
                "",
            ]
        return "\n".join([*lines, *self.machine.to_lines()])
