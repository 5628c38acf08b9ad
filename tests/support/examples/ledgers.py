"""Ledgers and gates for tests of parts that need one."""

from pathlib import Path

from bank_node.state.ledger import Ledger, Member, Reveal


class OpenGate:
    """Lets everything be revealed, for tests that are about something else."""

    def require(self) -> None:
        """Allow it."""


def ledger_at(path: Path) -> Ledger:
    """Open a ledger, made when it is missing."""
    if not path.exists():
        Ledger.create(path)
    return Ledger(path)


def reveal(banks: str, run_id: str = "r", generation: int = 0) -> Reveal:
    """Return a reveal with banks of one letter each."""
    members = tuple(Member(name=name, signing_key=f"{ord(name):064x}") for name in sorted(banks))
    return Reveal(run_id=run_id, generation=generation, members=members)
