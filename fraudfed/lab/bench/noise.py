"""``fraudfed bench noise``: how fast exact noise is drawn, against a rounded normal and OpenDP.

NumPy's normal numbers, rounded, are what most programs add. They are no discrete Gaussian: what a
float leaves out can be read off the low digits (Mironov, "On significance of the least significant
bits for differential privacy", CCS 2012).
"""

import math
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import click
import numpy as np

from fraudfed.lab.bench.machine import Machine, installed_version
from fraudfed.lab.bench.options import figures_of, number_option
from fraudfed.machine.native import load_native
from fraudfed.privacy.noise.keystream import KEY_BYTES
from fraudfed.privacy.noise.reference import gaussian
from fraudfed.privacy.noise.sampler import sample

_NATIVE = "fraudfed.privacy.noise._sampler"
#: Draws in Python, and of OpenDP: enough for a figure, and over within a second.
_FEW = 10_000


@dataclass(frozen=True)
class NoiseFigures:
    """Draws a second and core, by CPU time; the most of all repetitions.

    Attributes
    ----------
    values : int
        Drawn at once.
    sigma_bits : int
        Sigma is 2^sigma_bits units.
    repeats : int
    compiled : bool
        Whether the compiled sampler was there; ``not_compiled`` says why not.
    not_compiled : str
    draws_per_second : float
        Of ``sample``, the stream of ChaCha20 included.
    python_draws_per_second : float
        Of the reference in Python, without a stream.
    rounded_normal_per_second : float
        ``rint`` of NumPy's ``standard_normal`` times sigma.
    ratio : float
        Times as long as a rounded normal takes.
    opendp_draws_per_second : float or None
        OpenDP's exact sampler; None where it is not installed.
    date : str
        UTC, ISO 8601.
    load_average : float
        Of the machine in the minute before.
    machine : Machine
    """

    values: int
    sigma_bits: int
    repeats: int
    compiled: bool
    not_compiled: str
    draws_per_second: float
    python_draws_per_second: float
    rounded_normal_per_second: float
    ratio: float
    opendp_draws_per_second: float | None
    date: str
    load_average: float
    machine: Machine

    def to_text(self) -> str:
        """Return a short report for the terminal."""
        kind = "compiled" if self.compiled else f"in Python ({self.not_compiled})"
        theirs = self.opendp_draws_per_second
        rows = [
            (f"exact, {kind}", self.draws_per_second),
            ("exact, the reference in Python", self.python_draws_per_second),
            ("NumPy's normal, rounded", self.rounded_normal_per_second),
        ]
        rows += [] if theirs is None else [("exact, OpenDP", theirs)]
        lines = ["draws a second and core"]
        lines += [f"  {name:34} {rate:14,.0f}" for name, rate in rows]
        lines += [] if theirs is not None else ["  OpenDP is not installed: not compared"]
        lines += [
            f"ratio     {self.ratio:.1f} times as long as a rounded normal",
            f"values    {self.values} of sigma 2^{self.sigma_bits}, best of {self.repeats}",
            f"before    {self.date}, load average {self.load_average:.2f}",
            *self.machine.to_lines(),
        ]
        return "\n".join(lines)


def run_noise(*, values: int, sigma_bits: int, repeats: int) -> NoiseFigures:
    """Draw the same number of values in each way, by turns.

    Parameters
    ----------
    values : int
    sigma_bits : int
        In 0 .. 31.
    repeats : int
    """
    date, load = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()[0]
    variance = 1 << (2 * sigma_bits)
    variances = np.full(values, variance, dtype=np.int64)
    few = min(values, _FEW)
    generator = np.random.default_rng()
    theirs = _opendp(variance, few)
    stream = secrets.token_bytes(1 << 20)

    def in_python() -> None:
        next_byte = iter(stream).__next__
        for _ in range(few):
            gaussian(variance, next_byte)

    def rounded() -> None:
        np.rint(generator.standard_normal(values) * 2.0**sigma_bits).astype(np.int64)

    ways: list[tuple[int, Callable[[], object]]] = [
        (values, lambda: sample(variances, secrets.token_bytes(KEY_BYTES))),
        (few, in_python),
        (values, rounded),
    ]
    ways += [] if theirs is None else [(few, theirs)]
    rates = [0.0] * len(ways)
    for _ in range(repeats):
        for place, (n_draws, way) in enumerate(ways):
            began = time.process_time()
            way()
            rates[place] = max(rates[place], n_draws / (time.process_time() - began))
    native = load_native(_NATIVE)
    return NoiseFigures(
        values=values,
        sigma_bits=sigma_bits,
        repeats=repeats,
        compiled=native.module is not None,
        not_compiled=native.reason,
        draws_per_second=rates[0],
        python_draws_per_second=rates[1],
        rounded_normal_per_second=rates[2],
        ratio=rates[2] / rates[0],
        opendp_draws_per_second=None if theirs is None else rates[3],
        date=date,
        load_average=load,
        machine=Machine.here("cryptography", "numpy", "opendp"),
    )


def _opendp(variance: int, count: int) -> Callable[[], object] | None:
    if installed_version("opendp") is None:
        return None
    import opendp.prelude as dp

    dp.enable_features("contrib")
    vectors = dp.vector_domain(dp.atom_domain(T=int)), dp.l2_distance(T=int)
    mechanism = dp.m.make_gaussian(*vectors, scale=math.sqrt(variance))
    zeros = [0] * count
    return lambda: mechanism(zeros)


@click.command("noise")
@number_option("--values", 1_000_000, "Values that are drawn at once.", least=1000)
@number_option("--sigma-bits", 20, "Sigma is 2 to this power, in units.", least=0, most=31)
@number_option("--repeats", 5, "Repetitions of each way, by turns.")
@figures_of(NoiseFigures)
def noise_command(values: int, sigma_bits: int, repeats: int) -> NoiseFigures:
    """Measure exact noise: draws a second and core, against a rounded normal and OpenDP."""
    return run_noise(values=values, sigma_bits=sigma_bits, repeats=repeats)
