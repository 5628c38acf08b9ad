"""``fraudfed bench growth``: how cost grows with rows, features, bins, trees and banks.

Each is varied alone around a base case, with everything else of ``fraudfed bench train``. The
exponent e of ``cost = c * size^e`` is fitted by least squares of the logarithms: 0 does not grow, 1
grows in proportion. All parties share this machine, so with the banks the wall time of all their
work grows as well; ``own_machine_seconds`` is what it would be without that.
"""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from fraudfed.lab.bench.options import figures_of, key_bits_option, threads_option
from fraudfed.lab.bench.train.command import run_train
from fraudfed.lab.bench.train.result import TrainCase, TrainFigures

BASE = TrainCase(rows=50_000, features=10, trees=10, max_bin=32, shares=(1.0, 1.0, 1.0))

#: Sizes of each dimension; the first is the base's.
DIMENSIONS: Mapping[str, tuple[int, ...]] = {
    "rows": (50_000, 100_000, 200_000),
    "features": (10, 20, 40),
    "bins": (32, 64, 128),
    "trees": (10, 20, 40),
    "banks": (3, 10, 30),
}


@dataclass(frozen=True)
class GrowthPoint:
    """Cost of one case.

    Attributes
    ----------
    size : int
        Of what is varied.
    encrypted_seconds, own_machine_seconds : float
        As in ``TrainFigures``.
    reference_seconds : float
        Pooled XGBoost.
    bytes_sent, ciphertexts : int
        Of one bank.
    rounds : int
    bank_peak_memory_bytes : int
        The largest of all banks.
    aggregator_peak_memory_bytes : int
    identical_trees, trees : int
    """

    size: int
    encrypted_seconds: float
    own_machine_seconds: float
    reference_seconds: float
    bytes_sent: int
    ciphertexts: int
    rounds: int
    bank_peak_memory_bytes: int
    aggregator_peak_memory_bytes: int
    identical_trees: int
    trees: int

    @classmethod
    def of(cls, size: int, figures: TrainFigures) -> "GrowthPoint":
        """Take what is compared out of one training."""
        return cls(
            size=size,
            encrypted_seconds=figures.encrypted_seconds,
            own_machine_seconds=figures.own_machines.seconds,
            reference_seconds=figures.reference.seconds,
            bytes_sent=max(bank.bytes_sent for bank in figures.banks),
            ciphertexts=max(bank.ciphertexts for bank in figures.banks),
            rounds=figures.rounds,
            bank_peak_memory_bytes=max(bank.peak_memory_bytes for bank in figures.banks),
            aggregator_peak_memory_bytes=figures.aggregator_peak_memory_bytes,
            identical_trees=figures.identical_trees,
            trees=figures.trees,
        )


#: What an exponent is fitted for.
_COSTS = (
    "encrypted_seconds",
    "own_machine_seconds",
    "reference_seconds",
    "bytes_sent",
    "ciphertexts",
    "bank_peak_memory_bytes",
    "aggregator_peak_memory_bytes",
)


@dataclass(frozen=True)
class Dimension:
    """One size varied alone.

    Attributes
    ----------
    points : tuple of GrowthPoint
        By ascending size.
    exponents : mapping of cost to float
        Fitted over the points, for each cost of a ``GrowthPoint`` in seconds, bytes or ciphertexts.
    """

    points: tuple[GrowthPoint, ...]
    exponents: Mapping[str, float]


@dataclass(frozen=True)
class GrowthFigures:
    """Everything measured.

    Attributes
    ----------
    dimensions : mapping of name to Dimension
    base : TrainFigures
        All figures of the base case; kernel, machine and date are those of the whole.
    """

    dimensions: Mapping[str, Dimension]
    base: TrainFigures

    def to_text(self) -> str:
        """Return a report for the terminal."""
        head = (
            "             size   seconds  own machines  pooled xgboost  MB sent by a bank  "
            "peak MiB of bank, aggregator  same trees"
        )
        lines = []
        for name, dimension in self.dimensions.items():
            lines += [name, head]
            lines += [
                f"  {point.size:15,} {point.encrypted_seconds:9.2f} "
                f"{point.own_machine_seconds:13.2f} {point.reference_seconds:15.2f} "
                f"{point.bytes_sent / 1e6:18.2f} "
                f"{point.bank_peak_memory_bytes / 2**20:17.0f} "
                f"{point.aggregator_peak_memory_bytes / 2**20:11.0f} "
                f"{point.identical_trees:6} of {point.trees}"
                for point in dimension.points
            ]
            fitted = dimension.exponents
            lines += [
                f"  growth, size^e  {fitted['encrypted_seconds']:9.2f} "
                f"{fitted['own_machine_seconds']:13.2f} {fitted['reference_seconds']:15.2f} "
                f"{fitted['bytes_sent']:18.2f} {fitted['bank_peak_memory_bytes']:17.2f} "
                f"{fitted['aggregator_peak_memory_bytes']:11.2f}",
                "",
            ]
        case = self.base.case
        lines += [
            f"base      {case.rows} x {case.features}, {case.trees} trees, depth "
            f"{case.max_depth}, max_bin {case.max_bin}, {len(case.shares)} banks",
            f"paillier  {case.key_bits} bits, kernel {self.base.kernel}, {case.threads} threads "
            "a bank",
            f"before    {self.base.date}, load average {self.base.load_average:.2f}",
            *self.base.machine.to_lines(),
        ]
        return "\n".join(lines)


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return e of ``cost = c * size^e``, fitted to the logarithms; sizes differ, all are above 0.

    Raises
    ------
    ValueError
        If there are fewer than two sizes.
    """
    if len(sizes) < 2:
        raise ValueError(f"{len(sizes)} sizes were given, expected at least 2 to fit a growth")
    x = np.log(np.asarray(sizes, dtype=np.float64))
    y = np.log(np.asarray(costs, dtype=np.float64))
    centred = x - x.mean()
    return float(centred @ (y - y.mean()) / (centred @ centred))


def varied(case: TrainCase, dimension: str, size: int) -> TrainCase:
    """Return the case with one of ``DIMENSIONS`` set to ``size``."""
    if dimension == "banks":
        return dataclasses.replace(case, shares=(1.0,) * size)
    field = "max_bin" if dimension == "bins" else dimension
    return dataclasses.replace(case, **{field: size})  # type: ignore[arg-type]  # all are int


def run_growth(
    base: TrainCase,
    dimensions: Mapping[str, Sequence[int]],
    *,
    announce: Callable[[str], None] = lambda _line: None,
) -> GrowthFigures:
    """Train the base case, and every other size of every dimension.

    Parameters
    ----------
    base : TrainCase
    dimensions : mapping of name to ascending sizes
        Names are those of ``DIMENSIONS``; the first size is the base's.
    announce : callable
        Given a line before every training.
    """

    def trained(case: TrainCase, what: str) -> TrainFigures:
        announce(what)
        work = Path(tempfile.mkdtemp(prefix="fraudfed-bench-"))
        figures = run_train(case, work)
        # After a failure its logs are left: the message names them.
        shutil.rmtree(work)
        return figures

    at_base = trained(base, "base case")
    found = {}
    for name, sizes in dimensions.items():
        points = [GrowthPoint.of(sizes[0], at_base)]
        for size in sizes[1:]:
            figures = trained(varied(base, name, size), f"{size:,} {name}")
            points.append(GrowthPoint.of(size, figures))
        exponents = {
            cost: growth_exponent(
                [point.size for point in points],
                [getattr(point, cost) for point in points],
            )
            for cost in _COSTS
        }
        found[name] = Dimension(tuple(points), exponents)
    return GrowthFigures(found, at_base)


@click.command("growth")
@click.option(
    "--vary",
    type=click.Choice(list(DIMENSIONS)),
    multiple=True,
    default=tuple(DIMENSIONS),
    help="What to vary; may be given several times.  [default: all]",
)
@key_bits_option
@threads_option("Of each bank node and of XGBoost.")
@figures_of(GrowthFigures)
def growth_command(vary: tuple[str, ...], key_bits: int, threads: int) -> GrowthFigures:
    """Fit how time, bytes and memory grow with rows, features, bins, trees and banks."""
    base = dataclasses.replace(BASE, key_bits=key_bits, threads=threads)
    dimensions = {name: sizes for name, sizes in DIMENSIONS.items() if name in vary}
    return run_growth(base, dimensions, announce=lambda line: click.echo(line, err=True))
