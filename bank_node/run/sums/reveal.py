"""Whether this bank may reveal: asked before every box, as nothing takes a seed back."""

from typing import Protocol


class RevealGate(Protocol):
    """Decides, by what this bank remembers, whether it reveals to the banks of a generation."""

    def require(self) -> None:
        """Return if this bank may reveal; what that costs is durable by then.

        Called for every box, also for one that is sent again.

        Raises
        ------
        FraudFedError
            If it may not: no box leaves this bank.
        """
        ...
