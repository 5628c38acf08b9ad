"""What ``fraudfed attack differencing`` found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TotalFigures:
    """One number of the bank that is in one run and not in the other.

    Attributes
    ----------
    number : str
    true, attack, guess, elsewhere : float
        As it is, as two models give it, as the pool gives it for a bank of equal share, and as a
        bank of another world has it.
    """

    number: str
    true: float
    attack: float
    guess: float
    elsewhere: float


@dataclass(frozen=True)
class Errors:
    """How far the bank's numbers of frauds are missed, over cells of attributes.

    Attributes
    ----------
    sums, models, noised : float
        Root mean square of what is missed: from two opened histograms, from two models, and from
        two opened histograms with noise.
    guess, elsewhere : float
        References: from the pool's marginals, and from a bank of another world.
    cells : int
        How many numbers of frauds there are.
    exact : float
        Share of them that two opened histograms give exactly.
    """

    sums: float
    models: float
    noised: float
    guess: float
    elsewhere: float
    cells: int
    exact: float


@dataclass(frozen=True)
class DifferencingFigures:
    """One bank left out.

    Attributes
    ----------
    world : str
        Preset of the generator.
    seed, rows, bank_rows, banks : int
    sigma : float
        Of the noise that each opened number carries, in frauds.
    noised_over_sigma : float
        ``errors.noised`` over sigma: the square root of 2 by two independent noises.
    errors : Errors
    totals : tuple of TotalFigures
    """

    world: str
    seed: int
    rows: int
    bank_rows: int
    banks: int
    sigma: float
    noised_over_sigma: float
    errors: Errors
    totals: tuple[TotalFigures, ...]

    def to_text(self) -> str:
        """Return tables in Markdown."""
        off = self.errors
        return "\n".join(
            [
                f"differencing: world {self.world}, seed {self.seed}, {self.rows:,} rows of "
                f"{self.banks} banks, {self.bank_rows:,} of the one left out",
                "",
                f"frauds of the bank in {off.cells:,} cells of its attributes, root mean square "
                "of what is missed",
                "",
                "| two opened sums | two models | two noised sums | over sigma | guess | "
                "other world |",
                "|--:|--:|--:|--:|--:|--:|",
                f"| {off.sums:.2f} ({off.exact:.1%} exact) | {off.models:.2f} | "
                f"{off.noised:.2f} | {self.noised_over_sigma:.2f} | {off.guess:.2f} | "
                f"{off.elsewhere:.2f} |",
                "",
                "| number | true | two models | guess | other world |",
                "|---|--:|--:|--:|--:|",
                *(
                    f"| {each.number} | {each.true:,.4g} | {each.attack:,.4g} | "
                    f"{each.guess:,.4g} | {each.elsewhere:,.4g} |"
                    for each in self.totals
                ),
            ]
        )
