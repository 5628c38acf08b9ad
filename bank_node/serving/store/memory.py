"""A store that forgets all with its process: for tests, and for a bank's first try."""

from bank_node.serving.store.arrival import ArrivalStore, StoreTerms
from fraudfed.features.arrivals import Change
from fraudfed.features.formulas import SECONDS_PER_DAY


class MemoryStore(ArrivalStore):
    """Payments in memory.

    Parameters
    ----------
    terms : StoreTerms
    secret : bytes
        Keys of histories are hashes with it.

    Raises
    ------
    ConfigurationError
        If this release has no such recipe.
    DataError
        If the risk tables have another risk delay.
    """

    def __init__(self, terms: StoreTerms, *, secret: bytes = b"") -> None:
        super().__init__(terms.builder(key=secret))
        # Content of the payments of each UTC day.
        self._days: dict[int, dict[bytes, bytes]] = {}

    def commit(self) -> None:
        """Do nothing: nothing here survives the process."""

    def close(self) -> None:
        """Do nothing."""

    def _check_writable(self) -> None:
        pass

    def _find(self, payment: bytes) -> bytes | None:
        found = (day.get(payment) for day in self._days.values())
        return next((content for content in found if content is not None), None)

    def _change(self, change: Change, *, payment: tuple[bytes, int, bytes] | None) -> None:
        self._builder.apply(change)
        if payment is None:
            return
        key, time, content = payment
        self._days.setdefault(time // SECONDS_PER_DAY, {})[key] = content
        oldest = self._builder.oldest // SECONDS_PER_DAY
        for day in [day for day in self._days if day < oldest]:
            del self._days[day]
