"""``fraudfed bench ciphertexts``: how many ciphertexts a training takes, and how full they are.

Nothing is encrypted: one bank trains alone, and every sum is laid out as for a consortium. The
number does not depend on how many banks there are, for bounds and layouts are the same at each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import click
import numpy as np

from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import check_bound
from fraudfed.console import Answer
from fraudfed.dtypes import BoolArray, Int64Array
from fraudfed.lab.bench.options import (
    FiniteRange,
    figures_of,
    key_bits_option,
    missing_option,
    workload_options,
)
from fraudfed.lab.bench.workload import synthetic_table
from fraudfed.paillier.keys import DEFAULT_KEY_BITS
from fraudfed.parameters import BoosterParams
from fraudfed.secure_sum.packing import SlotLayout


@dataclass
class SlotFigures:
    """Slots of one kind, added up.

    Attributes
    ----------
    slots : int
    bits : int
        Their widths.
    needed_bits : int
        The least widths that would have held the sums that they held, with a sign where the slot
        has one.
    """

    slots: int = 0
    bits: int = 0
    needed_bits: int = 0

    def add(self, widths: Int64Array, sums: Int64Array, *, signed: bool) -> None:
        """Add slots that came to hold ``sums``."""
        self.slots += widths.size
        self.bits += int(widths.sum())
        magnitudes = np.frexp(np.abs(sums).astype(np.float64))[1]
        self.needed_bits += int(magnitudes.sum()) + signed * widths.size


@dataclass
class CiphertextFigures:
    """What a training took, at every bank.

    Attributes
    ----------
    by_step : dict of str to int
        Ciphertexts by what is summed: ``histogram step S`` is the S-th sum of each tree, 0 its
        root; everything else by its label.
    signed, unsigned : SlotFigures
        Slots of histograms: those that may hold either sign, which are gradients, and those that
        cannot be negative, which are hessians and a few gradients.
    values : int
        All elements of all sums, with a slot or without.
    key_bits : int
    """

    key_bits: int
    by_step: dict[str, int] = field(default_factory=dict)
    signed: SlotFigures = field(default_factory=SlotFigures)
    unsigned: SlotFigures = field(default_factory=SlotFigures)
    values: int = 0

    @property
    def ciphertexts(self) -> int:
        """All of them."""
        return sum(self.by_step.values())

    @property
    def histogram(self) -> int:
        """Those of histograms."""
        return sum(n for step, n in self.by_step.items() if step.startswith("histogram"))

    def to_text(self, n_trees: int) -> str:
        """Return a report for the terminal."""
        lines = [f"ciphertexts at {self.key_bits} bits, {n_trees} trees"]
        for step, count in self.by_step.items():
            each = f"{count / n_trees:10.1f} a tree" if step.startswith("histogram") else ""
            lines.append(f"  {step:20} {count:9,} {each}")
        lines += [
            f"  {'histograms':20} {self.histogram:9,} {self.histogram / n_trees:10.1f} a tree",
            f"  {'in all':20} {self.ciphertexts:9,}",
            "slots of histograms        number  mean bits  bits that the sums need",
        ]
        for name, of in (("of either sign", self.signed), ("never negative", self.unsigned)):
            number = max(of.slots, 1)
            lines.append(
                f"  {name:20} {of.slots:11,} {of.bits / number:10.2f} "
                f"{of.needed_bits / number:10.2f}"
            )
        lines.append(f"values summed  {self.values:,}")
        return "\n".join(lines)


class CountingCommunicator:
    """A cohort of one that lays out every sum and counts.

    Parameters
    ----------
    key_bits : int

    Attributes
    ----------
    figures : CiphertextFigures
        So far.
    """

    def __init__(self, key_bits: int) -> None:
        self.figures = CiphertextFigures(key_bits)

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        """Return a copy of ``values`` after checking them and counting their ciphertexts."""
        check_bound(values, bound, low=low, label=label)
        layout = SlotLayout.for_bounds(
            bound, values.shape, low=low, plaintext_bits=self.figures.key_bits - 2
        )
        figures = self.figures
        kind, _, detail = label.partition(":")
        step = f"{kind} {detail.partition(' step ')[2] and 'step ' + detail.split()[-1]}".strip()
        figures.by_step[step] = figures.by_step.get(step, 0) + layout.n_plaintexts
        figures.values += values.size
        if kind == "histogram":
            flat = values.reshape(-1)
            may_be_negative = layout.lows < 0
            self._add(figures.signed, layout, flat, may_be_negative, signed=True)
            self._add(figures.unsigned, layout, flat, ~may_be_negative, signed=False)
        return values.copy()

    def _add(
        self,
        to: SlotFigures,
        layout: SlotLayout,
        sums: Int64Array,
        chosen: BoolArray,
        *,
        signed: bool,
    ) -> None:
        spans = (layout.highs - layout.lows)[chosen]
        has_slot = spans > 0
        widths = np.frexp(spans[has_slot].astype(np.float64))[1].astype(np.int64)
        to.add(widths, sums[chosen][has_slot], signed=signed)


def run_ciphertexts(
    table: TrainingTable, parameters: Mapping[str, Any], *, key_bits: int = DEFAULT_KEY_BITS
) -> CiphertextFigures:
    """Train alone and count the ciphertexts that each bank of a consortium would send.

    Parameters
    ----------
    table : TrainingTable
        The pooled rows.
    parameters : mapping
        As for ``BoosterParams.parse``.
    key_bits : int
    """
    communicator = CountingCommunicator(key_bits)
    train(BoosterParams.parse(parameters), table, communicator)
    return communicator.figures


class CountedCiphertexts(Answer):
    """``bench ciphertexts``: ``CiphertextFigures``, all ciphertexts, and those of a tree."""

    key_bits: int
    by_step: dict[str, int]
    signed: SlotFigures
    unsigned: SlotFigures
    values: int
    trees: int
    ciphertexts: int
    histogram_per_tree: float

    @classmethod
    def of(cls, figures: CiphertextFigures, trees: int) -> "CountedCiphertexts":
        """Add up what was counted."""
        return cls(
            **vars(figures),
            trees=trees,
            ciphertexts=figures.ciphertexts,
            histogram_per_tree=figures.histogram / trees,
        )

    def to_text(self) -> str:
        """Return a report for the terminal."""
        figures = CiphertextFigures(
            self.key_bits, self.by_step, self.signed, self.unsigned, self.values
        )
        return figures.to_text(self.trees)


@click.command("ciphertexts")
@workload_options
@missing_option
@click.option(
    "--subsample",
    type=FiniteRange(0.0, 1.0, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of rows drawn for each tree.",
)
@key_bits_option
@figures_of(CountedCiphertexts)
def ciphertexts_command(
    rows: int,
    features: int,
    trees: int,
    max_depth: int,
    max_bin: int,
    missing: float,
    prevalence: float,
    subsample: float,
    key_bits: int,
    seed: int,
) -> CountedCiphertexts:
    """Count the ciphertexts of a training, and compare their slots with what they hold."""
    table = synthetic_table(
        rows, features, np.random.default_rng(seed), missing=missing, prevalence=prevalence
    )
    parameters = {
        "num_boost_round": trees,
        "max_depth": max_depth,
        "max_bin": max_bin,
        "subsample": subsample,
    }
    figures = run_ciphertexts(table, parameters, key_bits=key_bits)
    return CountedCiphertexts.of(figures, trees)
