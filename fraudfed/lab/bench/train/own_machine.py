"""How long a training would take if every bank, and the aggregator, had a machine of its own.

On one machine the banks of a benchmark share its cores, and each is slowed down by the others. What
each does itself is known from its CPU time, which waiting and sharing leave as it is. With m the
CPU seconds of a bank's training thread in a phase, c those of all its threads, and k the cores of
its machine, the phase takes ``max(m, c / k)``: threads work on equal slices, and the training
thread on one of them (``paillier.kernels.slices``). The banks meet in every round, so phases add up
over the slowest bank of each, and all wait for the aggregator::

    seconds = sum over phases of work      of  max over banks of max(m, c / k)
            + sum over phases of exchange  of  max over banks of m
            + CPU seconds of the aggregator

and no less than ``c / k`` of all phases of one bank: what is computed ahead during an exchange
takes cores as well. Nothing in it waits for a disk or a network. ``at_most_seconds`` does, as it
was on the shared machine, and lets the training thread idle while the others work::

    at_most_seconds = sum over phases of work      of  max over banks of (m + (c - m) / k)
                    + sum over phases of exchange  of  min over banks of wall seconds

(The bank that comes last into a round waits for nobody: its exchange is what the protocol takes.)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

#: Phases of ``bank_node.run.sums.phases`` in which a bank sends and waits; all others are work.
EXCHANGE_PHASES = ("sum", "wait", "accept")


@dataclass(frozen=True)
class OwnMachines:
    """Wall time of a training with a machine for every party.

    Attributes
    ----------
    cores : int
        Of each machine.
    seconds : float
        From CPU seconds alone.
    at_most_seconds : float
        With exchanges as slow as they were on the shared machine.
    bank_seconds : mapping of bank name to float
        The part of ``seconds`` in which this bank itself is busy.
    """

    cores: int
    seconds: float
    at_most_seconds: float
    bank_seconds: Mapping[str, float]


def own_machines(
    processes: Mapping[str, Mapping[str, Any]], *, aggregator_cpu_seconds: float, cores: int
) -> OwnMachines:
    """Estimate from one run.

    Parameters
    ----------
    processes : mapping of bank name to mapping
        ``last_process`` of each bank's record of the run: it holds ``wall_seconds``,
        ``cpu_seconds`` and ``main_cpu_seconds`` by phase.
    aggregator_cpu_seconds : float
    cores : int
    """

    def shared(main: float, all_threads: float) -> float:
        return max(main, all_threads / cores)

    def one_after_the_other(main: float, all_threads: float) -> float:
        # The two clocks are read one after the other: all threads may seem to do less than one.
        return main + max(0.0, all_threads - main) / cores

    def busy(one: Mapping[str, Any], phase: str, take: Callable[[float, float], float]) -> float:
        main = one["main_cpu_seconds"].get(phase, 0.0)
        return take(main, one["cpu_seconds"].get(phase, 0.0))

    each = list(processes.values())
    phases = sorted({name for one in each for name in one["wall_seconds"]})
    work = [phase for phase in phases if phase not in EXCHANGE_PHASES]
    exchange = [phase for phase in phases if phase in EXCHANGE_PHASES]

    def bank_seconds(one: Mapping[str, Any]) -> float:
        return sum(busy(one, phase, shared) for phase in work) + sum(
            busy(one, phase, min) for phase in exchange
        )

    together = (
        sum(max(busy(one, phase, shared) for one in each) for phase in work)
        + sum(max(busy(one, phase, min) for one in each) for phase in exchange)
        + aggregator_cpu_seconds
    )
    return OwnMachines(
        cores=cores,
        seconds=max(together, *(sum(one["cpu_seconds"].values()) / cores for one in each)),
        at_most_seconds=sum(
            max(busy(one, phase, one_after_the_other) for one in each) for phase in work
        )
        + sum(min(one["wall_seconds"].get(phase, 0.0) for one in each) for phase in exchange),
        bank_seconds={bank: bank_seconds(one) for bank, one in processes.items()},
    )
