"""What ``fraudfed attack membership`` found."""

import math
from dataclasses import dataclass

from fraudfed.lab.attack.binomial import Share


@dataclass(frozen=True)
class RateAt:
    """Members that are found while few others are taken for members.

    Attributes
    ----------
    false_positive_rate : float
        Most others that may be.
    found : Share
        Of all members, with an exact interval.
    """

    false_positive_rate: float
    found: Share


@dataclass(frozen=True)
class Ranking:
    """How well scores tell members from others.

    Attributes
    ----------
    area, low, high : float
        Under the curve; 0.5 is a coin. The ends hold at 95 %.
    rates : tuple of RateAt
    """

    area: float
    low: float
    high: float
    rates: tuple[RateAt, ...]


@dataclass(frozen=True)
class KindFigures:
    """Challenges of one kind.

    Attributes
    ----------
    kind : str
    members, others : int
    copies : int
        How often a member is in the training.
    attack : Ranking
        Likelihood ratios.
    guess : Ranking
        Reference: by how rare the row is by the public marginals, without any model.
    elsewhere : Ranking
        Reference: the same ratios, with rows of another world in place of the others.
    """

    kind: str
    members: int
    others: int
    copies: int
    attack: Ranking
    guess: Ranking
    elsewhere: Ranking


@dataclass(frozen=True)
class MembershipFigures:
    """One attacked model.

    Attributes
    ----------
    world : str
        Preset of the generator.
    seed, rows, shadows : int
    target : str
        Which parameters the model has, and whether it is noised.
    epsilon, delta : float or None
        The claim that the model was trained under; None without noise.
    kinds : tuple of KindFigures
    """

    world: str
    seed: int
    rows: int
    shadows: int
    target: str
    epsilon: float | None
    delta: float | None
    kinds: tuple[KindFigures, ...]

    def most_found(self, false_positive_rate: float, copies: int) -> float | None:
        """Return which share of members the claim lets anybody find; None without a claim.

        ``TPR <= min(e^epsilon FPR + delta, 1 - e^-epsilon (1 - delta - FPR))``: P. Kairouz, S. Oh,
        P. Viswanath, "The composition theorem for differential privacy", ICML 2015, theorem 2.1.
        A row that is in the training several times is so many units: the claim is ``copies``
        times epsilon, and delta grows with it (C. Dwork, A. Roth, "The algorithmic foundations of
        differential privacy", 2014, theorem 2.2 and its remark).
        """
        if self.epsilon is None or self.delta is None:
            return None
        epsilon = self.epsilon * copies
        if epsilon > 100.0:
            return 1.0
        delta = min(1.0, self.delta * copies * math.exp((copies - 1) * self.epsilon))
        above = math.exp(epsilon) * false_positive_rate + delta
        below = 1.0 - math.exp(-epsilon) * (1.0 - delta - false_positive_rate)
        return max(0.0, min(1.0, above, below))

    def to_text(self) -> str:
        """Return a table in Markdown."""
        lines = [
            f"membership: {self.target}; world {self.world}, seed {self.seed}, {self.rows:,} rows, "
            f"{self.shadows} shadow models",
            "",
            "| row | members, others | area | guess | other world | found at 1 % | at 10 % | "
            "claim allows at 1 %, 10 % |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for kind in self.kinds:
            allowed = [
                self.most_found(rate.false_positive_rate, kind.copies) for rate in kind.attack.rates
            ]
            lines.append(
                f"| {kind.kind} | {kind.members}, {kind.others} | {_ends(kind.attack)} | "
                f"{_ends(kind.guess)} | {_ends(kind.elsewhere)} | "
                + " | ".join(str(rate.found) for rate in kind.attack.rates)
                + " | "
                + ", ".join("-" if each is None else f"{each:.3f}" for each in allowed)
                + " |"
            )
        return "\n".join(lines)


def _ends(ranking: Ranking) -> str:
    return f"{ranking.area:.3f} ({ranking.low:.3f} to {ranking.high:.3f})"
