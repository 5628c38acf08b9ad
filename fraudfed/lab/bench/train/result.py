"""The figures of ``fraudfed bench train``, as JSON and as text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fraudfed.lab.bench.machine import Machine
from fraudfed.lab.bench.train.own_machine import OwnMachines
from fraudfed.lab.bench.train.round_cost import RoundCost

_MEGA = 1e6


@dataclass(frozen=True)
class TrainCase:
    """What is trained.

    Attributes
    ----------
    rows, features, trees, max_depth, max_bin, key_bits, threads, seed : int
        ``threads`` are those of each bank node and of XGBoost.
    shares : tuple of float
        Each bank's part of the rows, in relation to the others.
    prevalence : float
        Share of labels that are 1.
    rtt_ms, mbit : float or None
        Emulated network between each bank and the aggregator; None for loopback as it is.
    """

    rows: int = 300_000
    features: int = 30
    trees: int = 50
    max_depth: int = 5
    max_bin: int = 64
    shares: tuple[float, ...] = (50.0, 30.0, 20.0)
    key_bits: int = 3072
    prevalence: float = 0.02
    threads: int = 1
    seed: int = 0
    rtt_ms: float | None = None
    mbit: float | None = None


@dataclass(frozen=True)
class Reference:
    """Pooled XGBoost ``hist`` on the values: QuantileDMatrix and training, rows in memory.

    Attributes
    ----------
    seconds : float
        Median of ``all_seconds``, which were measured before and after the federation.
    all_seconds : tuple of float
    """

    seconds: float
    all_seconds: tuple[float, ...]


@dataclass(frozen=True)
class BankCost:
    """What one bank's process recorded.

    Attributes
    ----------
    name : str
    rows : int
    training_seconds : float
        Wall time from the complete cohort, rows in memory, to the accepted model.
    wall_seconds, cpu_seconds, main_cpu_seconds : mapping of phase to float
    process_cpu_seconds : float
        From the start of the program on: with imports and reading the file.
    peak_memory_bytes : int
    values : int
        Numbers summed, those included that need no bits because their bound is 0.
    ciphertexts, bytes_sent, bytes_received : int
        Of round bodies.
    requests : mapping of kind to int
        From the complete cohort to the accepted model; each is a round trip.
    ciphertexts_per_tree, bytes_sent_per_tree, bytes_received_per_tree : float
        The same divided by the trees; what the search for cuts took is in it.
    bytes_per_value : float
        ``bytes_sent / values``: contribution and opening.
    """

    name: str
    rows: int
    training_seconds: float
    wall_seconds: Mapping[str, float]
    cpu_seconds: Mapping[str, float]
    main_cpu_seconds: Mapping[str, float]
    process_cpu_seconds: float
    peak_memory_bytes: int
    values: int
    ciphertexts: int
    bytes_sent: int
    bytes_received: int
    requests: Mapping[str, int]
    ciphertexts_per_tree: float
    bytes_sent_per_tree: float
    bytes_received_per_tree: float
    bytes_per_value: float

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "BankCost":
        """Take the figures out of a bank's record of the run."""
        trees, process = record["result"]["trees"], record["last_process"]
        return cls(
            name=record["bank"],
            rows=record["result"]["rows"],
            training_seconds=process["run_seconds"],
            wall_seconds=process["wall_seconds"],
            cpu_seconds=process["cpu_seconds"],
            main_cpu_seconds=process["main_cpu_seconds"],
            process_cpu_seconds=process["process_cpu_seconds"],
            peak_memory_bytes=process["peak_memory_bytes"],
            values=process["values"],
            ciphertexts=process["ciphertexts"],
            bytes_sent=process["bytes_sent"],
            bytes_received=process["bytes_received"],
            requests=process["requests"],
            ciphertexts_per_tree=process["ciphertexts"] / trees,
            bytes_sent_per_tree=process["bytes_sent"] / trees,
            bytes_received_per_tree=process["bytes_received"] / trees,
            bytes_per_value=process["bytes_sent"] / process["values"],
        )


@dataclass(frozen=True)
class NetworkTraffic:
    """What went over the emulated network of one bank, everything of HTTP included.

    Attributes
    ----------
    bank : str
    bytes_up, bytes_down : int
        In the whole federation, enrolment included.
    connections : int
    """

    bank: str
    bytes_up: int
    bytes_down: int
    connections: int


@dataclass(frozen=True)
class TrainFigures:
    """Everything measured in one run.

    Attributes
    ----------
    ratio : float
        ``encrypted_seconds`` divided by the reference's seconds.
    ratio_own_machines : float
        ``own_machines.seconds`` divided by the reference's seconds.
    identical_trees, trees : int
        Trees with the splits of XGBoost on the same bins, of all.
    max_leaf_difference : float
    encrypted_seconds : float
        Wall time of the training: the longest ``training_seconds`` of a bank.
    reference : Reference
    own_machines : OwnMachines
    set_up_seconds : mapping of str to float
        Not in ``encrypted_seconds``: ``consortium`` starting the aggregator, enrolment, key
        ceremony; ``processes`` starting the banks' programs, imports, reading and checking files,
        joining, and ending.
    rounds : int
    round_trips_per_round : float
        Requests of a bank, of every kind, divided by ``rounds``: of the bank that has most.
    banks : tuple of BankCost
    aggregator_cpu_seconds : float
    round_cost : RoundCost
    aggregator_peak_memory_bytes : int
    network : tuple of NetworkTraffic
    case : TrainCase
    kernel : str
    date : str
        UTC, ISO 8601.
    load_average : float
        Of the machine in the minute before: above a few tenths, others disturbed the measurement.
    machine : Machine
    """

    ratio: float
    ratio_own_machines: float
    identical_trees: int
    trees: int
    max_leaf_difference: float
    encrypted_seconds: float
    reference: Reference
    own_machines: OwnMachines
    set_up_seconds: Mapping[str, float]
    rounds: int
    round_trips_per_round: float
    banks: tuple[BankCost, ...]
    aggregator_cpu_seconds: float
    round_cost: RoundCost
    aggregator_peak_memory_bytes: int
    network: tuple[NetworkTraffic, ...]
    case: TrainCase
    kernel: str
    date: str
    load_average: float
    machine: Machine

    def to_text(self) -> str:
        """Return a report for the terminal."""
        case, own = self.case, self.own_machines
        bank_values = self.banks[0].values
        lines = [
            f"training, encrypted        {self.encrypted_seconds:8.2f} s  "
            f"{self.ratio:6.1f}x pooled xgboost",
            f"  a machine for each bank  {own.seconds:8.2f} s  "
            f"{self.ratio_own_machines:6.1f}x  ({own.cores} cores each, from CPU time; at most "
            f"{own.at_most_seconds:.2f} s)",
            f"pooled xgboost hist        {self.reference.seconds:8.2f} s  "
            f"(median of {len(self.reference.all_seconds)}, {case.threads} threads)",
            f"identical trees            {self.identical_trees} of {self.trees}, "
            f"largest leaf difference {self.max_leaf_difference:.1e}",
            "set-up, not in it          "
            + ", ".join(f"{name} {took:.1f} s" for name, took in self.set_up_seconds.items()),
            f"rounds                     {self.rounds}, {bank_values:,} values, "
            f"{self.banks[0].bytes_per_value:.1f} bytes sent per value and bank",
            f"round trips per round      {self.round_trips_per_round:8.2f}    "
            + ", ".join(f"{kind} {count}" for kind, count in self.banks[0].requests.items()),
            f"CPU per round, aggregator   {self.round_cost.aggregator_ms:7.1f} ms, "
            f"{self.round_cost.aggregator_beside_ms:.1f} ms beside checks and products",
            "  a bank, sends and waits  "
            + ", ".join(
                f"{name} {taken:.1f} ms" for name, taken in self.round_cost.bank_beside_ms.items()
            ),
            "",
            "per tree       rows  ciphertexts    MB up  MB down   peak MiB    CPU s  busy s alone",
            *(
                f"  {bank.name:<8} {bank.rows:8} {bank.ciphertexts_per_tree:12.1f} "
                f"{bank.bytes_sent_per_tree / _MEGA:8.3f} "
                f"{bank.bytes_received_per_tree / _MEGA:8.3f} "
                f"{bank.peak_memory_bytes / 2**20:10.0f} {bank.process_cpu_seconds:8.2f} "
                f"{own.bank_seconds[bank.name]:13.2f}"
                for bank in self.banks
            ),
            f"  aggregator {'':37} {self.aggregator_peak_memory_bytes / 2**20:10.0f} "
            f"{self.aggregator_cpu_seconds:8.2f}",
        ]
        lines += ["", *self._phase_lines(), ""]
        for link in self.network:
            lines.append(
                f"network   {link.bank}: {link.bytes_up / _MEGA:.1f} MB up, "
                f"{link.bytes_down / _MEGA:.1f} MB down, {link.connections} connections "
                f"({case.rtt_ms or 0:g} ms round trip, {_rate(case.mbit)})"
            )
        shares = "/".join(f"{share:g}" for share in case.shares)
        lines += [
            f"case      {case.rows} x {case.features}, {self.trees} trees, depth {case.max_depth}, "
            f"max_bin {case.max_bin}, {len(self.banks)} banks {shares}, "
            f"prevalence {case.prevalence:g}, seed {case.seed}",
            f"paillier  {case.key_bits} bits, kernel {self.kernel}, {case.threads} threads a bank",
            f"before    {self.date}, load average {self.load_average:.2f}",
            *self.machine.to_lines(),
        ]
        return "\n".join(lines)

    def _phase_lines(self) -> list[str]:
        names = sorted({name for bank in self.banks for name in bank.wall_seconds})
        lines = ["seconds, wall / CPU  " + "".join(f"{bank.name:>18}" for bank in self.banks)]
        for name in names:
            cells = [
                f"{bank.wall_seconds.get(name, 0.0):.2f} / {bank.cpu_seconds.get(name, 0.0):.2f}"
                for bank in self.banks
            ]
            lines.append(f"  {name:<19}" + "".join(f"{cell:>18}" for cell in cells))
        return lines


def _rate(mbit: float | None) -> str:
    return "no limit" if mbit is None else f"{mbit:g} Mbit/s each way"
