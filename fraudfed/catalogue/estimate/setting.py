"""Where a run takes place: its banks, their rows, their machines and the link between them."""

from dataclasses import dataclass
from typing import Final

from fraudfed.errors import ParameterError

#: Of processors with AVX-512 IFMA, with BMI2 and ADX, and of any other.
KERNELS: Final = ("ifma", "adx", "gmp")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the description of a run does not say.

    Attributes
    ----------
    banks : int
        Banks of the cohort.
    rows : int
        Rows that are trained on, of all banks together; in a risk run the payments of a day.
    fraud_share : float
        Share of frauds among them, in (0, 1).
    largest_share : float
        Share of the largest bank in the rows, in (0, 1].
    key_bits : int
        Of the Paillier modulus.
    kernel : str
        One of ``KERNELS``: which big-integer kernel the banks' processors run.
    cores : int
        Of each machine.
    one_machine : bool
        Whether banks and aggregator share one machine, as in a trial; else each has its own.
    rtt_ms, mbit : float
        Link between a bank and the aggregator: round trip, and megabits a second in each direction.

    Raises
    ------
    ParameterError
        If a number is out of its range.
    """

    banks: int = 5
    rows: int = 1_000_000
    fraud_share: float = 0.005
    largest_share: float = 0.5
    key_bits: int = 3072
    kernel: str = "ifma"
    cores: int = 2
    one_machine: bool = False
    rtt_ms: float = 10.0
    mbit: float = 100.0

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float]] = {
            "banks": (1, 1000),
            "rows": (1, 1 << 36),
            "fraud_share": (1e-9, 1 - 1e-9),
            "largest_share": (1.0 / max(self.banks, 1), 1.0),
            "key_bits": (256, 16384),
            "cores": (1, 4096),
            "rtt_ms": (0.0, 60_000.0),
            "mbit": (0.001, 1e6),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ParameterError(
                    f"estimate: {name} is {value}, expected {low:g} to {high:g}; give the numbers "
                    "of the consortium"
                )
        if self.kernel not in KERNELS:
            raise ParameterError(
                f"estimate: kernel is {self.kernel!r}, expected one of {', '.join(KERNELS)}"
            )
