"""How long a training would take if every bank had a machine of its own.

On one machine the banks of a benchmark share its cores, and each is slowed down by the others. What
each does itself is known from its CPU time, which waiting and sharing leave as it is. Of the rest
of a round - sending, the aggregator's product, its durable store, the answer - the bank that comes
last waits for nobody, so its wall time is what the protocol itself takes.

With m the CPU seconds of a bank's training thread in a phase, c those of all its threads, and k the
cores of its machine, a bank takes between ``max(m, c / k)`` (its threads share the work evenly,
the training thread among them) and ``m + (c - m) / k`` (the training thread waits for the others).
The banks meet in every round, so phases add up over the slowest bank of each::

    seconds = sum over phases of work of  max over banks of (m + (c - m) / k)
            + sum over phases of exchange of  min over banks of wall seconds

``at_least_seconds`` is the same with ``max(m, c / k)``. Both take the wall time of exchange from
the shared machine, where it can only be longer; neither counts a network (``--rtt``, ``--mbit``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["EXCHANGE_PHASES", "OwnMachines", "own_machines"]

#: Phases of ``bank_node.phases`` in which a bank sends and waits; all others are work.
EXCHANGE_PHASES = ("sum", "wait", "accept")


@dataclass(frozen=True)
class OwnMachines:
    """Wall time of a training with a machine for every bank.

    Attributes
    ----------
    cores : int
        Of each machine.
    seconds, at_least_seconds : float
        Upper and lower estimate.
    work_seconds : float
        Share of work in ``seconds``; the rest is exchange.
    """

    cores: int
    seconds: float
    at_least_seconds: float
    work_seconds: float


def own_machines(records: Sequence[Mapping[str, Any]], *, cores: int) -> OwnMachines:
    """Estimate from the banks' records of one run.

    Parameters
    ----------
    records : sequence of mapping
        With ``wall_seconds``, ``cpu_seconds`` and ``main_cpu_seconds`` by phase.
    cores : int
    """
    phases = {name for record in records for name in record["wall_seconds"]}
    work = sorted(phases.difference(EXCHANGE_PHASES))
    exchange = sum(
        min(record["wall_seconds"].get(phase, 0.0) for record in records)
        for phase in EXCHANGE_PHASES
    )

    def slowest(seconds: Callable[[float, float], float]) -> float:
        return sum(
            max(
                seconds(
                    record["main_cpu_seconds"].get(phase, 0.0),
                    record["cpu_seconds"].get(phase, 0.0),
                )
                for record in records
            )
            for phase in work
        )

    # The clocks of a thread and of its process are read one after the other: c may fall below m.
    most = slowest(lambda main, all_threads: main + max(0.0, all_threads - main) / cores)
    least = slowest(lambda main, all_threads: max(main, all_threads / cores))
    return OwnMachines(cores, most + exchange, least + exchange, most)
