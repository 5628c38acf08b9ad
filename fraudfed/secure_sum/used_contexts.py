"""Which contexts this process has sealed under: never twice.

Masks, and the coefficients of the tags, follow from the context. Two contributions of one bank
under one context would carry the same masks, and their difference would show the difference of
two vectors to every holder of the Paillier key; and the aggregator could choose which of them
counts. A process that was started again knows nothing of what its predecessor sealed: there the
caller's own record is needed.
"""

import threading

from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.faults import SumFault, sum_error


class UsedContexts:
    """Contexts by bank; grows by one digest for each round."""

    def __init__(self) -> None:
        self._used: set[tuple[str, bytes]] = set()
        self._lock = threading.Lock()

    def claim(self, bank: str, context: RoundContext) -> None:
        """Use up ``context`` for ``bank``.

        Raises
        ------
        SumError
            Of kind REUSE, if it was used before.
        """
        key = (bank, bytes.fromhex(context.digest))
        with self._lock:
            if key in self._used:
                raise sum_error(
                    SumFault.REUSE,
                    context.label,
                    f"bank {bank!r} has sealed a contribution to round {context.round_number} of "
                    f"run {context.run_id!r} in this process; send that one again, or take part "
                    "in a new run",
                )
            self._used.add(key)
