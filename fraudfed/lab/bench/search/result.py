"""The figures of ``fraudfed bench search``, as JSON and as text."""

from collections.abc import Mapping
from dataclasses import dataclass

from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.local_federation.run import RunOutcome


@dataclass(frozen=True)
class SearchCase:
    """What is searched.

    Attributes
    ----------
    rows, features, banks, key_bits, threads, seed : int
        ``threads`` are those of each bank node.
    trees : int
        Of the last rung.
    plan : str
    prevalence : float
        Share of labels that are 1.
    """

    rows: int
    features: int
    trees: int
    banks: int
    plan: str
    key_bits: int
    prevalence: float
    seed: int
    threads: int


@dataclass(frozen=True)
class RunCost:
    """What one run took; of several banks the most.

    Attributes
    ----------
    seconds : float
        Wall time from the complete cohort, rows in memory, to the accepted result.
    rounds, values, ciphertexts, bytes_sent : int
    cpu_seconds, wall_seconds : mapping of phase to float
        Of the bank that took longest.
    aggregator_cpu_seconds : float
    """

    seconds: float
    rounds: int
    values: int
    ciphertexts: int
    bytes_sent: int
    cpu_seconds: Mapping[str, float]
    wall_seconds: Mapping[str, float]
    aggregator_cpu_seconds: float

    @classmethod
    def of(cls, run: RunOutcome) -> "RunCost":
        """Take the figures out of the banks' records of a run."""
        processes = [bank.record["last_process"] for bank in run.banks]
        slowest = max(processes, key=lambda process: process["run_seconds"])
        return cls(
            seconds=slowest["run_seconds"],
            rounds=run.status.round_number,
            values=slowest["values"],
            ciphertexts=max(process["ciphertexts"] for process in processes),
            bytes_sent=max(process["bytes_sent"] for process in processes),
            cpu_seconds=slowest["cpu_seconds"],
            wall_seconds=slowest["wall_seconds"],
            aggregator_cpu_seconds=run.aggregator.cpu_seconds,
        )


@dataclass(frozen=True)
class SearchFigures:
    """Everything measured.

    Attributes
    ----------
    ratio_to_one_training, rounds_ratio, ciphertexts_ratio : float
        Wall time, rounds and ciphertexts of the search, divided by those of one training of the
        candidate that grew longest, with all trees of the last rung on the same rows.
    with_refit_ratio, with_refit_rounds_ratio : float
        The same with the winner's training on all rows added to the search.
    winner : str
    winner_trees : int
        Its best number of trees, of the model and of the refit.
    is_model_of_training : bool
        Whether the search's model is the beginning of the training's.
    search, training, refit : RunCost
    case : SearchCase
    kernel, date : str
    load_average : float
        Of the machine in the minute before: above a few tenths, others disturbed the measurement.
    machine : Machine
    """

    ratio_to_one_training: float
    rounds_ratio: float
    with_refit_ratio: float
    with_refit_rounds_ratio: float
    ciphertexts_ratio: float
    winner: str
    winner_trees: int
    is_model_of_training: bool
    search: RunCost
    training: RunCost
    refit: RunCost
    case: SearchCase
    kernel: str
    date: str
    load_average: float
    machine: Machine

    def to_text(self) -> str:
        """Return a report for the terminal."""
        case = self.case
        rows = (("search", self.search), ("training", self.training), ("refit", self.refit))
        phases = sorted({name for _, cost in rows for name in cost.wall_seconds})
        alike = "are" if self.is_model_of_training else "ARE NOT"
        lines = [
            f"search / one training      {self.ratio_to_one_training:6.2f}x time  "
            f"{self.rounds_ratio:6.2f}x rounds  {self.ciphertexts_ratio:6.2f}x ciphertexts",
            f"with the refit             {self.with_refit_ratio:6.2f}x time  "
            f"{self.with_refit_rounds_ratio:6.2f}x rounds",
            f"winner                     {self.winner}, {self.winner_trees} trees; they {alike} "
            "the first of the training",
            "",
            "            seconds   rounds      values  ciphertexts    MB sent",
            *(
                f"  {name:<9}{cost.seconds:8.2f} {cost.rounds:8} {cost.values:11} "
                f"{cost.ciphertexts:12} {cost.bytes_sent / 1e6:10.1f}"
                for name, cost in rows
            ),
            "",
            "seconds, wall / CPU  " + "".join(f"{name:>18}" for name, _ in rows),
        ]
        for phase in phases:
            cells = [
                f"{cost.wall_seconds.get(phase, 0.0):.2f} / {cost.cpu_seconds.get(phase, 0.0):.2f}"
                for _, cost in rows
            ]
            lines.append(f"  {phase:<19}" + "".join(f"{cell:>18}" for cell in cells))
        lines += [
            "",
            f"case      {case.rows} x {case.features}, plan {case.plan} up to {case.trees} trees, "
            f"{case.banks} banks, prevalence {case.prevalence:g}, seed {case.seed}",
            f"paillier  {case.key_bits} bits, kernel {self.kernel}, {case.threads} threads a bank",
            f"before    {self.date}, load average {self.load_average:.2f}",
            *self.machine.to_lines(),
        ]
        return "\n".join(lines)
