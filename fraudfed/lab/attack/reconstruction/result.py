"""What ``fraudfed attack reconstruction`` found."""

from dataclasses import dataclass, field

from fraudfed.lab.attack.binomial import Share


@dataclass(frozen=True)
class AttributeFigures:
    """One attribute of the rows in question, of those that the attacked trees ask for most.

    Attributes
    ----------
    attribute : str
    attack : Share
        Of rows whose attribute is right; the interval allows for looking at all attributes given.
    guess : float
        Reference: the same share of rows drawn from public marginals.
    elsewhere : float
        Reference: of rows of another synthetic world.
    control : float
        Of the same attack on a model of that other world, which never saw the rows.
    """

    attribute: str
    attack: Share
    guess: float
    elsewhere: float
    control: float

    @property
    def beats_guess(self) -> bool:
        """Whether the attack does better than the guess from public marginals."""
        return self.attack.low > self.guess

    @property
    def is_recovered(self) -> bool:
        """Whether the attack does better than the guess, and than an attack on another model."""
        return self.beats_guess and self.attack.low > self.control


@dataclass(frozen=True)
class CaseFigures:
    """One attacked model.

    Attributes
    ----------
    columns : str
        Which the model was trained on.
    parameters : str
    statistics_bits : int
    smallest_leaf : int
        Rows of the first tree's smallest leaf, as the attack reads it.
    counts_right : Share
        Of leaves of the first tree whose rows of both labels were read exactly.
    attributes : tuple of AttributeFigures
    better_than_guess : tuple of str
        Attributes that are recovered better than by a guess from public marginals.
    recovered : tuple of str
        Those of them that are recovered better than from a model of another world, too.
    """

    columns: str
    parameters: str
    statistics_bits: int
    smallest_leaf: int
    counts_right: Share
    attributes: tuple[AttributeFigures, ...]
    better_than_guess: tuple[str, ...] = field(init=False)
    recovered: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        better = tuple(each.attribute for each in self.attributes if each.beats_guess)
        found = tuple(each.attribute for each in self.attributes if each.is_recovered)
        object.__setattr__(self, "better_than_guess", better)
        object.__setattr__(self, "recovered", found)

    def mean(self, of: str) -> float:
        """Return the mean over attributes of ``attack``, ``guess``, ``elsewhere`` or ``control``.

        0 if the attacked trees ask for none.
        """
        values = [
            each.attack.estimate if of == "attack" else float(getattr(each, of))
            for each in self.attributes
        ]
        return sum(values) / max(1, len(values))


@dataclass(frozen=True)
class ReconstructionFigures:
    """All attacked models.

    Attributes
    ----------
    world : str
        Preset of the generator.
    seed, rows, targets, trees : int
        Rows of the training; rows in question; trees that the attack uses.
    question : str
        Which rows are in question.
    cases : tuple of CaseFigures
    """

    world: str
    seed: int
    rows: int
    targets: int
    trees: int
    question: str
    cases: tuple[CaseFigures, ...]

    def to_text(self) -> str:
        """Return tables in Markdown."""
        lines = [
            f"reconstruction: world {self.world}, seed {self.seed}, {self.rows:,} rows; "
            f"{self.targets:,} {self.question}; {self.trees} trees of each model",
            "",
            "| columns | parameters | bits | smallest leaf | leaves read exactly | attributes | "
            "attack | guess | other world | other model | better than guess | recovered |",
            "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for case in self.cases:
            means = (f"{case.mean(of):.3f}" for of in ("attack", "guess", "elsewhere", "control"))
            lines.append(
                f"| {case.columns} | {case.parameters} | {case.statistics_bits} | "
                f"{case.smallest_leaf:,} | "
                f"{case.counts_right if case.counts_right.tries else ''} | "
                f"{len(case.attributes)} | {' | '.join(means)} | "
                f"{len(case.better_than_guess)} | {len(case.recovered)} |"
            )
        for case in self.cases:
            lines += [
                "",
                f"{case.columns} columns, {case.parameters}, {case.statistics_bits} bits",
                "",
                "| attribute | attack | guess | other world | other model | |",
                "|---|--:|--:|--:|--:|---|",
                *(
                    f"| `{each.attribute}` | {each.attack} | {each.guess:.3f} | "
                    f"{each.elsewhere:.3f} | {each.control:.3f} | "
                    f"{_words_of(each)} |"
                    for each in case.attributes
                ),
            ]
        return "\n".join(lines)


def _words_of(figures: AttributeFigures) -> str:
    if figures.is_recovered:
        return "recovered"
    return "better than guess" if figures.beats_guess else ""
