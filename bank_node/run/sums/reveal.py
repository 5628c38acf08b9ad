"""What must be asked before anything of a sum is revealed."""

from typing import Protocol


class RevealGate(Protocol):
    """Decides, and durably notes, before every box whether this bank may reveal."""

    def require(self) -> None:
        """Return if this bank may reveal its part of the opening now.

        Raises
        ------
        FraudFedError
            If it may not: nothing is sent then.
        """
        ...
