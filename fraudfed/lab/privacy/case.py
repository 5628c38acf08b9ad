"""What a curve trains: ways, bounds and repeats, each training under a name of its own."""

from collections.abc import Iterator
from dataclasses import dataclass

from fraudfed.lab.privacy.presets import EPSILONS
from fraudfed.privacy.terms import TrainingWay

#: Name of the exact training without any bound, over all rows.
EXACT = "exact"
#: Name of what a bank trains alone.
OWN = "own"


@dataclass(frozen=True)
class CurveCase:
    """A curve.

    Attributes
    ----------
    ways : tuple of str
        Values of ``TrainingWay``.
    epsilons : tuple of float
        Bounds; the training without noise is always beside them.
    repeats : int
        Trainings with fresh noise for each way and bound.
    delta : float
    shared_risk : bool
        Whether the consortium's model has the features of shared risk, too.
    reference_banks : int
        Banks that train alone, spread over the sizes; 0 for none.
    exact : bool
        Whether all rows train an exact model, too.
    """

    ways: tuple[str, ...] = tuple(TrainingWay)
    epsilons: tuple[float, ...] = EPSILONS
    repeats: int = 5
    delta: float = 1e-6
    shared_risk: bool = False
    reference_banks: int = 16
    exact: bool = True


@dataclass(frozen=True)
class Training:
    """One training of a curve.

    Attributes
    ----------
    model : str
        A way, ``exact`` or ``own``.
    shared_risk : bool
    epsilon : float or None
        None is without noise.
    repeat : int
        From 0.
    bank : str or None
        Whose rows train and are judged; None is all banks.
    """

    model: str
    shared_risk: bool
    epsilon: float | None = None
    repeat: int = 0
    bank: str | None = None

    @property
    def name(self) -> str:
        """Name of its files; no other training has it."""
        parts = [self.model, "shared" if self.shared_risk else "plain"]
        if self.bank is not None:
            parts.append(self.bank)
        if self.model not in {EXACT, OWN}:
            bound = "none" if self.epsilon is None else f"{self.epsilon:g}"
            parts += [bound, str(self.repeat)]
        return "-".join(parts)


def trainings_of(
    case: CurveCase, banks: tuple[str, ...], *, has_shared: bool
) -> Iterator[Training]:
    """Yield the trainings of a curve: references first, then repeat by repeat.

    A curve that is stopped has some repeats of every point rather than all repeats of some.

    Parameters
    ----------
    case : CurveCase
    banks : tuple of str
        All banks, the largest first.
    has_shared : bool
        Whether banks can train alone with features of shared risk.
    """
    for bank in chosen_banks(banks, case.reference_banks):
        for shared in (False, True)[: 1 + has_shared]:
            yield Training(OWN, shared, bank=bank)
    if case.exact:
        yield Training(EXACT, case.shared_risk)
    for way in case.ways:
        yield Training(way, case.shared_risk)
    for repeat in range(case.repeats):
        for epsilon in case.epsilons:
            for way in case.ways:
                yield Training(way, case.shared_risk, epsilon, repeat)


def chosen_banks(banks: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Return so many banks, spread evenly from the largest to the smallest."""
    if count >= len(banks):
        return banks
    if count < 2:
        return banks[:count]
    last = len(banks) - 1
    return tuple(banks[round(last * index / (count - 1))] for index in range(count))
