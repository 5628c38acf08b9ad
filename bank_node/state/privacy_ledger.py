"""What noised sums have told of this bank's rows, against a budget for the life of each block.

A block is a day of rows, or a file of rows without times. Before a bank seals its part of a noised
sum it reserves what the sum will cost; before it reveals, it commits. A reservation counts as spent
until it is released, which is possible only while it is not committed: the caller releases it when
the sum closed without this bank's reveal and the seed of its mask is erased. Nothing else gives
anything back: not a redo, a handover, a run that failed, a checkpoint or a copy that was put back.

Law: on each block, what all reservations that were not released cost together is at most the
largest budget that they were made under. What is charged is known before anything of it is sent,
whatever is killed and whenever.

The unit customer stands for all of a person's rows at this bank, of whatever days: such a release
is charged to one account of all customers as well as to its blocks, whose rows it speaks about
like any other. A release of unit row is charged to its blocks alone: it promises customers nothing.

The ledger lies outside the runs, and no message of anybody changes what it holds. The file is a row
of ``fraudfed.container`` records and grows at its end only. It tells nothing of rows: events are
known to all banks, and files without times are named by keys of the ledger of sets, which is secret
where it has to be. The first record holds the ledger's mark, which ``bank.toml`` names: a ledger
that was removed, or replaced by an empty one, is noticed.
"""

import itertools
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bank_node.state.ledger_file import LedgerFile
from fraudfed.container import Container
from fraudfed.durable_file import write_new
from fraudfed.errors import PrivacyBudgetError, StateError
from fraudfed.privacy.accounting import RHO_GRID
from fraudfed.privacy.events import Blocks, DayBlocks, PrivacyEvent
from fraudfed.privacy.terms import PrivacyUnit

_RECORD = Container(
    magic=b"FFPRIVACY",
    version=1,
    what="a record of the privacy ledger",
    advice="without it this bank cannot tell what was told of its rows, and takes part in no run "
    "with privacy terms: restore the very newest copy; if there is none, leave the consortium and "
    "join it anew with a new state directory, and use no rows that such runs may have used",
)
_MARK_BYTES: Final = 16
_ADVICE: Final = (
    "take part with rows of other days, or in a run with a smaller epsilon; a larger budget tells "
    "more of the same rows: [privacy] of bank.toml is this bank's own decision"
)

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Kind(IntEnum):
    MARK = 1
    """The first record, and only that."""
    RESERVED = 2
    COMMITTED = 3
    RELEASED = 4


class ChargeState(IntEnum):
    """What became of a charge."""

    RESERVED = 1
    """Set aside: it counts as spent."""
    COMMITTED = 2
    """Revealed."""
    RELEASED = 3
    """Given back: nothing was revealed, and nothing ever will be."""


class _Reservation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    context: Digest
    event: PrivacyEvent


@dataclass
class Charge:
    """A release and what became of it.

    Attributes
    ----------
    event : PrivacyEvent
    state : ChargeState
    """

    event: PrivacyEvent
    state: ChargeState = ChargeState.RESERVED


@dataclass(frozen=True)
class BlockTotal:
    """What blocks have spent; days that have spent the same follow each other as one.

    Attributes
    ----------
    name : str
        ``2026-01-01 to 2026-03-31``, ``table 0123...``, or ``customers``.
    n_blocks : int
    rho : Fraction
    """

    name: str
    n_blocks: int
    rho: Fraction


#: Name of the account of all customers.
CUSTOMERS: Final = "customers"


class PrivacyLedger:
    """The privacy ledger of one bank. A writer holds the state directory's lock.

    Parameters
    ----------
    path : Path
    budget : Fraction
        rho of each block over its life: ``PrivacyRules.rho()``.
    mark : str or None
        The mark that it must have; None takes any.

    Raises
    ------
    StateError
        If the file is missing, cannot be read, is damaged, has another mark, or was written by
        another release. A last record that a crash cut off is no damage: nothing was sent for it.
    """

    def __init__(self, path: Path, *, budget: Fraction, mark: str | None = None) -> None:
        self._path = path
        self.budget = budget
        self.mark = ""
        self._charges: dict[str, Charge] = {}
        # In steps of the grid, of reserved and committed together.
        self._by_blocks: dict[Blocks, int] = {}
        self._of_customers = 0
        self._file = LedgerFile(
            path, _RECORD, name="the privacy ledger", undone="nothing was sealed or revealed"
        )
        for record in self._file.read():
            self._take(bytes(record.content), start=record.start)
        if not self.mark:
            raise _RECORD.damaged("it does not hold its first record", source=str(path))
        if mark is not None and mark != self.mark:
            raise StateError(
                f"{path}: is the privacy ledger {self.mark}, and bank.toml names {mark}: somebody "
                f"has put another one there; {_RECORD.advice}"
            )

    @staticmethod
    def create(path: Path) -> str:
        """Make an empty ledger, and return its mark.

        Raises
        ------
        FileExistsError
            If there is one.
        StateError
            If it cannot be written.
        """
        mark = secrets.token_bytes(_MARK_BYTES)
        write_new(path, _RECORD.pack(bytes([_Kind.MARK]), mark))
        return mark.hex()

    # What is asked

    def spent(self, blocks: Blocks, *, run_id: str | None = None) -> Fraction:
        """Return what the block that has spent most has spent, reserved or committed.

        Parameters
        ----------
        blocks : Blocks
        run_id : str or None
            Count this run alone.
        """
        by_blocks = self._by_blocks if run_id is None else self._blocks_of_run(run_id)
        return Fraction(_most(by_blocks, blocks)[0], RHO_GRID)

    def spent_by_customers(self, *, run_id: str | None = None) -> Fraction:
        """Return what is charged to the account of all customers."""
        if run_id is None:
            return Fraction(self._of_customers, RHO_GRID)
        return sum(
            (
                charge.event.rho
                for charge in self._counted()
                if charge.event.run_id == run_id and charge.event.unit is PrivacyUnit.CUSTOMER
            ),
            Fraction(0),
        )

    def refusal(
        self, costs: Mapping[Blocks, Fraction], *, unit: PrivacyUnit, run_id: str
    ) -> str | None:
        """Return why a run cannot be paid for, or None if it can. Nothing is written.

        What the run has been charged already counts as a part of its costs: a run that continues
        asks with its whole plan again.

        Parameters
        ----------
        costs : mapping of Blocks to Fraction
            rho of the whole plan, by what it is about.
        unit : PrivacyUnit
        run_id : str
        """
        for blocks, rho in costs.items():
            left = rho - self.spent(blocks, run_id=run_id)
            if left > 0 and (found := self._too_much(left, blocks)):
                return f"run {run_id}: {found}"
        if unit is PrivacyUnit.CUSTOMER:
            # A customer may have rows in all of them.
            left = sum(costs.values(), Fraction(0)) - self.spent_by_customers(run_id=run_id)
            if left > 0 and (found := self._too_much_for_customers(left)):
                return f"run {run_id}: {found}"
        return None

    def charge(self, context: str) -> Charge | None:
        """Return what is charged for a context, if anything was ever reserved."""
        return self._charges.get(context)

    def charges(self) -> list[Charge]:
        """Return everything that was ever reserved, in order."""
        return list(self._charges.values())

    def totals(self) -> list[BlockTotal]:
        """Return what each block has spent: days in order, then tables, then customers."""
        found = [
            BlockTotal(str(days), (days.last - days.first).days + 1, Fraction(steps, RHO_GRID))
            for days, steps in _by_days(self._by_blocks)
        ]
        tables = sorted(_by_table(self._by_blocks).items())
        found += [BlockTotal(f"table {key}", 1, Fraction(n, RHO_GRID)) for key, n in tables]
        if any(charge.event.unit is PrivacyUnit.CUSTOMER for charge in self._counted()):
            found.append(BlockTotal(CUSTOMERS, 1, self.spent_by_customers()))
        return found

    # What is written

    def reserve(self, context: str, event: PrivacyEvent) -> None:
        """Set aside what a release costs; durable when this returns.

        The same once more is nothing new: a bank that was killed asks again.

        Parameters
        ----------
        context : str
            Digest of the sum's context, 64 hexadecimal digits.
        event : PrivacyEvent

        Raises
        ------
        PrivacyBudgetError
            If a block has less left: nothing is reserved, and nothing may be sealed.
        StateError
            If another release was reserved for this context, or it was released; or the file
            cannot be written, or was changed by another program.
        """
        known = self._charges.get(context)
        if known is not None:
            if known.event != event or known.state is ChargeState.RELEASED:
                raise StateError(
                    f"{self._path}: context {context[:16]} was reserved for {known.event.label!r} "
                    f"and is {known.state.name.lower()} now, and {event.label!r} asks for it; "
                    "nothing was sealed: take part in a new run"
                )
            return
        found = self._too_much(event.rho, event.blocks)
        if found is None and event.unit is PrivacyUnit.CUSTOMER:
            found = self._too_much_for_customers(event.rho)
        if found is not None:
            raise PrivacyBudgetError(
                f"run {event.run_id}: sum {event.label!r}: {found}; nothing of it was sealed",
                what_to_do=_ADVICE,
            )
        reservation = _Reservation(context=context, event=event)
        self._file.append(_Kind.RESERVED, reservation.model_dump_json().encode())
        self._add(reservation)

    def commit(self, context: str) -> None:
        """Charge for good what was reserved; a box may leave when this returns. Once is enough.

        Raises
        ------
        StateError
            If nothing is reserved for the context, or the file cannot be written: nothing may be
            revealed.
        """
        charge = self._charges.get(context)
        if charge is None or charge.state is ChargeState.RELEASED:
            raise StateError(
                f"{self._path}: nothing is reserved for context {context[:16]}; nothing was "
                "revealed: restore the very newest copy of the ledger, or take part in a new run"
            )
        if charge.state is ChargeState.COMMITTED:
            return
        self._file.append(_Kind.COMMITTED, bytes.fromhex(context))
        charge.state = ChargeState.COMMITTED

    def release(self, context: str) -> bool:
        """Give back what was reserved, if nothing was revealed; tell whether it was given back.

        The caller knows that the sum is closed for this bank, and that the seed of its self mask is
        erased: from then on nobody can open what it sent.

        Raises
        ------
        StateError
            If the file cannot be written: it stays reserved.
        """
        charge = self._charges.get(context)
        if charge is None or charge.state is not ChargeState.RESERVED:
            return False
        self._file.append(_Kind.RELEASED, bytes.fromhex(context))
        self._give_back(charge)
        return True

    def release_unrevealed(self, run_id: str) -> int:
        """Give back everything that is reserved in a run and not committed; return how much it is.

        As ``release``, for callers that have erased all seeds of the run.
        """
        reserved = [
            context
            for context, charge in self._charges.items()
            if charge.event.run_id == run_id and charge.state is ChargeState.RESERVED
        ]
        return sum(self.release(context) for context in reserved)

    # Inside

    def _counted(self) -> Iterable[Charge]:
        return (one for one in self._charges.values() if one.state is not ChargeState.RELEASED)

    def _blocks_of_run(self, run_id: str) -> dict[Blocks, int]:
        found: dict[Blocks, int] = {}
        for charge in self._counted():
            if charge.event.run_id == run_id:
                steps = _steps(charge.event)
                found[charge.event.blocks] = found.get(charge.event.blocks, 0) + steps
        return found

    def _too_much(self, rho: Fraction, blocks: Blocks) -> str | None:
        steps, name = _most(self._by_blocks, blocks)
        return self._refused(rho, Fraction(steps, RHO_GRID), name)

    def _too_much_for_customers(self, rho: Fraction) -> str | None:
        name = "the account of all customers (unit customer)"
        return self._refused(rho, self.spent_by_customers(), name)

    def _refused(self, rho: Fraction, spent: Fraction, name: str) -> str | None:
        if spent + rho <= self.budget:
            return None
        return (
            f"it costs a rho of {float(rho):.4g}, and {name} has {float(self.budget - spent):.4g} "
            f"of {float(self.budget):.4g} left for its life"
        )

    def _take(self, content: bytes, *, start: int) -> None:
        """Take a whole record over; refuses what this program never writes."""
        where = f"{self._path}: byte {start}"
        kind, rest = content[:1], content[1:]
        if (kind == bytes([_Kind.MARK])) != (start == 0):
            raise _RECORD.damaged("it is out of place", source=where)
        if start == 0:
            if len(rest) != _MARK_BYTES:
                raise _RECORD.damaged("its first record is malformed", source=where)
            self.mark = rest.hex()
        elif kind == bytes([_Kind.RESERVED]):
            try:
                self._add(_Reservation.model_validate_json(rest))
            except ValidationError:
                raise _RECORD.damaged("it is no reservation", source=where) from None
        elif kind in (bytes([_Kind.COMMITTED]), bytes([_Kind.RELEASED])):
            charge = self._charges.get(rest.hex())
            if charge is None or charge.state is not ChargeState.RESERVED:
                raise _RECORD.damaged("nothing is reserved for its context", source=where)
            if kind == bytes([_Kind.COMMITTED]):
                charge.state = ChargeState.COMMITTED
            else:
                self._give_back(charge)
        else:
            raise _RECORD.damaged("it is of an unknown kind", source=where)

    def _add(self, reservation: _Reservation) -> None:
        event = reservation.event
        self._charges[reservation.context] = Charge(event)
        self._count(event, _steps(event))

    def _give_back(self, charge: Charge) -> None:
        charge.state = ChargeState.RELEASED
        self._count(charge.event, -_steps(charge.event))

    def _count(self, event: PrivacyEvent, steps: int) -> None:
        self._by_blocks[event.blocks] = self._by_blocks.get(event.blocks, 0) + steps
        if event.unit is PrivacyUnit.CUSTOMER:
            self._of_customers += steps


def _steps(event: PrivacyEvent) -> int:
    """Return the rho of an event in steps of the grid; exact, as an event's rho lies on it."""
    return int(event.rho * RHO_GRID)


def _by_table(by_blocks: dict[Blocks, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for blocks, steps in by_blocks.items():
        for key in blocks.tables:
            found[key] = found.get(key, 0) + steps
    return found


def _by_days(by_blocks: dict[Blocks, int]) -> list[tuple[DayBlocks, int]]:
    """Return the days that have spent anything, in order, and what; equal neighbours as one."""
    changes: dict[int, int] = {}
    for blocks, steps in by_blocks.items():
        if blocks.days is not None and steps:
            first, after = blocks.days.first.toordinal(), blocks.days.last.toordinal() + 1
            changes[first] = changes.get(first, 0) + steps
            changes[after] = changes.get(after, 0) - steps
    turns = sorted(day for day, change in changes.items() if change)
    found, level = [], 0
    for turn, following in itertools.pairwise(turns):
        level += changes[turn]
        if level:
            first_day, last_day = date.fromordinal(turn), date.fromordinal(following - 1)
            found.append((DayBlocks(first=first_day, last=last_day), level))
    return found


def _most(by_blocks: dict[Blocks, int], blocks: Blocks) -> tuple[int, str]:
    """Return what the one of some blocks has spent that has spent most, and its name."""
    if blocks.days is None:
        tables = _by_table(by_blocks)
        key = max(blocks.tables, key=lambda one: tables.get(one, 0))
        return tables.get(key, 0), f"table {key}"
    first, last = blocks.days.first, blocks.days.last
    most, name = 0, f"day {first}"
    for days, steps in _by_days(by_blocks):
        if days.first <= last and days.last >= first and steps > most:
            most, name = steps, f"day {max(days.first, first)}"
    return most, name
