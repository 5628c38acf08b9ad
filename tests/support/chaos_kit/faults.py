"""Each kind of fault, done to a federation that runs."""

import sqlite3
from collections.abc import Callable
from random import Random

from proxies.fault_plan import FaultKind, PlannedFault

from chaos_kit.federation import Federation
from chaos_kit.kinds import CHANGES_BANKS, NETWORK, ChaosKind
from chaos_kit.programs import Supervised

#: Signatures allow 300 s between the clocks of bank and aggregator.
_ALLOWED_SHIFT_SECONDS = 200.0
_FAR_SHIFT_SECONDS = 3600.0
_LONGEST_HOLD_SECONDS = 1.5


def disturb(found: Federation, kind: ChaosKind, random: Random) -> None:
    """Let one fault happen, undo what does not undo itself, and wait until the run has gone on.

    Raises
    ------
    ChaosError
        If the run does not go on.
    """
    bank = random.choice(found.present)
    if kind in CHANGES_BANKS:
        found.wait_for_all_present(kind)
        if not found.is_over():
            _change_banks(found, kind, bank)
        return
    match kind:
        case ChaosKind.BANK_KILL:
            _until_started_again(found, found.banks[bank], found.banks[bank].kill)
        case ChaosKind.ALL_BANKS_KILL:
            _kill_all_banks(found)
        case ChaosKind.AGGREGATOR_KILL:
            # Its worker serves for another moment, and then ends by itself.
            _until_started_again(found, found.aggregator, found.aggregator.kill)
        case ChaosKind.AGGREGATOR_WORKER_KILL:
            found.wait_until(lambda: found.aggregator.kill_worker(random), "a worker to kill")
        case ChaosKind.AGGREGATOR_RESTART:
            _until_started_again(found, found.aggregator, found.aggregator.terminate)
        case ChaosKind.POSTGRESQL_RESTART:
            assert found.setting.cluster is not None
            found.setting.cluster.restart()
        case ChaosKind.AGGREGATOR_KILL_UNACKNOWLEDGED:
            _unacknowledged(found, bank, random, found.aggregator)
        case ChaosKind.BANK_KILL_UNACKNOWLEDGED:
            _unacknowledged(found, bank, random, found.banks[bank])
        case ChaosKind.AGGREGATOR_DISK_FULL:
            _fill_disk(found, "aggregator", random)
        case ChaosKind.BANK_DISK_FULL:
            _fill_disk(found, bank, random)
        case ChaosKind.BANK_CLOCK:
            _shift_clock(found, bank, kind, random, _ALLOWED_SHIFT_SECONDS)
        case ChaosKind.BANK_CLOCK_FAR:
            _shift_clock(found, bank, kind, random, _FAR_SHIFT_SECONDS)
        case ChaosKind.AGGREGATOR_CLOCK:
            _shift_clock(found, "aggregator", kind, random, _ALLOWED_SHIFT_SECONDS)
        case ChaosKind.AGGREGATOR_CLOCK_FAR:
            _shift_clock(found, "aggregator", kind, random, _FAR_SHIFT_SECONDS)
        case _:
            fault = PlannedFault(
                NETWORK[kind],
                after=random.randint(0, 3),
                method=random.choice(["POST", "POST", ""]),
                seconds=random.uniform(0.05, _LONGEST_HOLD_SECONDS),
            )
            _let_happen(found, bank, fault)
    found.wait_for_next_round(kind)


def _let_happen(found: Federation, bank: str, fault: PlannedFault) -> None:
    """Plan a fault at a bank's proxy and wait until it is over, or the run is."""
    found.proxies[bank].plan.add(fault)

    def over() -> bool:
        return fault.happened.is_set() or (found.status() is not None and found.is_over())

    found.wait_until(over, f"{fault.kind} at {bank}")


def _unacknowledged(found: Federation, bank: str, random: Random, victim: Supervised) -> None:
    """Kill a program when the aggregator has accepted what the bank has not heard of yet."""
    ending = random.choice(["/contributions", "/openings"])
    fault = PlannedFault(
        FaultKind.LOSE_ANSWER, method="POST", ending=ending, meanwhile=victim.kill_all
    )
    _until_started_again(found, victim, lambda: _let_happen(found, bank, fault))


def _until_started_again(found: Federation, victim: Supervised, end: Callable[[], None]) -> None:
    """End a program and wait until it has been started again, or the run is over."""
    starts = victim.starts
    end()

    def started() -> bool:
        found.status()
        return victim.starts > starts or victim.done or found.is_over()

    found.wait_until(started, f"another start of {victim.name}")


def _kill_all_banks(found: Federation) -> None:
    banks = [found.banks[name] for name in found.present]
    starts = [bank.starts for bank in banks]
    for bank in banks:
        bank.kill_all()

    def started() -> bool:
        again = [b.starts > n or b.done for b, n in zip(banks, starts, strict=True)]
        found.status()
        return all(again) or found.is_over()

    found.wait_until(started, "another start of all banks")


def _change_banks(found: Federation, kind: ChaosKind, bank: str) -> None:
    """Let the others go on without a bank, and let it come back unless it is away for good."""
    victim = found.banks[bank]
    match kind:
        case ChaosKind.DROPPED_BY_DEADLINE:
            victim.hold()
            try:
                found.wait_until_dropped(bank, kind)
            finally:
                victim.release()
        case ChaosKind.FROZEN_PAST_DEADLINE:
            victim.freeze()
            try:
                found.wait_until_dropped(bank, kind)
            finally:
                victim.thaw()
        case ChaosKind.DROPPED_BY_OPERATOR:
            found.drop(bank, "chaos")
        case _:
            found.away.add(bank)
            victim.hold()
            found.wait_until_dropped(bank, kind)
    found.wait_for_all_present(kind)


def _fill_disk(found: Federation, name: str, random: Random) -> None:
    disk = found.disks[name]
    if name == "aggregator":
        # A log that was once long has room in it: let it begin again.
        database = next(found.aggregator_state.glob("*.db"))
        connection = sqlite3.connect(database, timeout=20)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
    disk.fill()
    try:
        _pause(found, random.uniform(0.5, _LONGEST_HOLD_SECONDS))
    finally:
        disk.free()


def _shift_clock(
    found: Federation, name: str, kind: ChaosKind, random: Random, seconds: float
) -> None:
    found.clocks[name].write_text(str(random.choice([-1, 1]) * seconds))
    try:
        if seconds <= _ALLOWED_SHIFT_SECONDS:
            found.wait_for_next_round(kind)
        else:
            _pause(found, random.uniform(0.5, _LONGEST_HOLD_SECONDS))
    finally:
        found.clocks[name].write_text("0")


def _pause(found: Federation, seconds: float) -> None:
    """Let a fault last."""
    found.lasting.wait(seconds)
