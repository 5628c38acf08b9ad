"""What ``fraudfed bench scale`` measures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.scale.pooled import PooledCost
from fraudfed.lab.bench.train.result import BankCost

#: Phases of ``bank_node.run.sums.phases`` in which a bank works on ciphertexts.
CRYPTO_PHASES: Final = ("encrypt", "open")


@dataclass(frozen=True)
class ScaleCase:
    """What stays the same at every number of rows.

    Attributes
    ----------
    features, trees, max_depth, max_bin : int
    shares : tuple of float
        Size of each bank's part in relation to the others.
    key_bits : int
    prevalence : float
    threads : int
        Of each bank node and of XGBoost.
    engine : str
        Of the largest bank: ``local``, or ``dask`` with workers on this machine.
    memory_limit : str or None
        Of each bank node, as its option ``--memory-limit``.
    external_memory : bool
        Whether XGBoost is measured in its external memory mode as well.
    seed : int
    """

    features: int = 30
    trees: int = 50
    max_depth: int = 5
    max_bin: int = 64
    shares: tuple[float, ...] = (50.0, 30.0, 20.0)
    key_bits: int = 3072
    prevalence: float = 0.02
    threads: int = 1
    engine: str = "local"
    memory_limit: str | None = None
    external_memory: bool = False
    seed: int = 0


@dataclass(frozen=True)
class SizeFigures:
    """One number of rows.

    Attributes
    ----------
    rows : int
        Of all banks together.
    file_bytes : int
        Of all banks' files.
    generate_seconds : float
    ratio, ratio_own_machines : float
        Encrypted training, on the shared machine and as on machines of their own, against
        ``pooled.train_seconds``.
    encrypted_seconds, own_machine_seconds, wall_seconds : float
        The training from the complete cohort on; as on machines of their own; and from the start
        of the programs, imports and reading included.
    rounds : int
    crypto_cpu_seconds : float
        Of the largest bank: packing, encrypting and opening.
    banks : tuple of BankCost
    aggregator_cpu_seconds : float
    aggregator_peak_memory_bytes : int
    pooled : tuple of PooledCost
        In memory, and in external memory where it was asked for.
    model_sha256 : str
    """

    rows: int
    file_bytes: int
    generate_seconds: float
    ratio: float
    ratio_own_machines: float
    encrypted_seconds: float
    own_machine_seconds: float
    wall_seconds: float
    rounds: int
    crypto_cpu_seconds: float
    banks: tuple[BankCost, ...]
    aggregator_cpu_seconds: float
    aggregator_peak_memory_bytes: int
    pooled: tuple[PooledCost, ...]
    model_sha256: str


@dataclass(frozen=True)
class ScaleFigures:
    """All numbers of rows.

    Attributes
    ----------
    sizes : tuple of SizeFigures
        By ascending rows.
    crypto_spread : float
        Largest ``crypto_cpu_seconds`` by the least: 1 if encryption does not grow with rows.
    case : ScaleCase
    date : str
    load_average : float
        Before the first training.
    machine : Machine
    """

    sizes: tuple[SizeFigures, ...]
    crypto_spread: float
    case: ScaleCase
    date: str
    load_average: float
    machine: Machine

    def to_text(self) -> str:
        """Return a report for the terminal."""
        lines = [
            "       rows  training s  own machines  pooled s      times  own times  crypto CPU s  "
            "bank MiB  aggregator MiB  xgboost MiB"
        ]
        lines += [
            f"{size.rows:11,} {size.encrypted_seconds:11.1f} {size.own_machine_seconds:13.1f} "
            f"{size.pooled[0].train_seconds:9.1f} {size.ratio:10.2f} "
            f"{size.ratio_own_machines:10.2f} {size.crypto_cpu_seconds:13.2f} "
            f"{max(bank.peak_memory_bytes for bank in size.banks) / 2**20:9.0f} "
            f"{size.aggregator_peak_memory_bytes / 2**20:15.0f} "
            f"{size.pooled[0].peak_memory_bytes / 2**20:12.0f}"
            for size in self.sizes
        ]
        lines += ["", "CPU seconds of the largest bank, by phase"]
        lines += [f"{size.rows:11,} {_phases(size.banks[0].cpu_seconds)}" for size in self.sizes]
        case = self.case
        limit = "none" if case.memory_limit is None else case.memory_limit
        lines += [
            "",
            f"case      {case.features} features, {case.trees} trees, depth {case.max_depth}, "
            f"max_bin {case.max_bin}, {len(case.shares)} banks, engine {case.engine}, "
            f"memory limit {limit}",
            f"crypto    largest by least of all sizes {self.crypto_spread:.3f}",
            f"before    {self.date}, load average {self.load_average:.2f}",
            *self.machine.to_lines(),
        ]
        return "\n".join(lines)


def _phases(seconds: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.1f}" for name, value in sorted(seconds.items()))
