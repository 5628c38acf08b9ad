"""Counts of a bank's rows, added up piece by piece during writing."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from data_gen.entities.world_parts import SharedWorld
from data_gen.events import CHANNEL_NAMES, KIND_NAMES, Events
from data_gen.rng import IntArray
from data_gen.world.distance import bank_distance, distance_matrix, mix_counts

_CLEAN: Final = 0


class BankTally:
    """Rows of one bank by channel, town, true kind, and by what was reported and blocked.

    Parameters
    ----------
    towns : int
        Of the world.
    """

    def __init__(self, towns: int) -> None:
        self._rows = 0
        self._first: int | None = None
        self._last: int | None = None
        self._mixes = {
            "channel": np.zeros(len(CHANNEL_NAMES), dtype=np.int64),
            "town": np.zeros(towns, dtype=np.int64),
            "kind": np.zeros(len(KIND_NAMES), dtype=np.int64),
        }
        # First row: no fraud. Other axes: not reported or reported as fraud; paid or blocked.
        self._kinds = np.zeros((len(KIND_NAMES) + 1, 2, 2), dtype=np.int64)

    def add(self, world: SharedWorld, events: Events) -> None:
        """Add rows sorted by time, none of them before those added earlier.

        Parameters
        ----------
        world : SharedWorld
            With the town of each terminal; not kept, so that a tally is small to send.
        events : Events
        """
        if not len(events):
            return
        self._rows += len(events)
        self._first = int(events.time[0]) if self._first is None else self._first
        self._last = int(events.time[-1])
        for name, counts in mix_counts(world, events).items():
            self._mixes[name] += counts
        code = (events.kind.astype(np.intp) + 1) * 4 + events.is_fraud * 2 + events.is_blocked
        self._kinds += np.bincount(code, minlength=self._kinds.size).reshape(self._kinds.shape)

    def merge(self, later: "BankTally") -> None:
        """Add what another tally of the same bank counted, of rows that come after these."""
        self._rows += later._rows
        self._first = later._first if self._first is None else self._first
        self._last = self._last if later._last is None else later._last
        for name, counts in later._mixes.items():
            self._mixes[name] += counts
        self._kinds += later._kinds

    @property
    def mixes(self) -> dict[str, IntArray]:
        """Rows by channel, town and true kind, as ``mix_counts`` returns them."""
        return dict(self._mixes)

    def summary(self) -> dict[str, Any]:
        """Return the counts for the manifest; all but ``fraud_rate`` are numbers of rows."""
        reported = self._kinds[:, 1].sum(axis=1)
        blocked = self._kinds[:, :, 1].sum(axis=1)
        true = self._mixes["kind"]
        return {
            "rows": self._rows,
            "first_event_time": self._first,
            "last_event_time": self._last,
            "fraud_rows": int(reported.sum()),
            "fraud_rate": round(float(reported.sum() / max(self._rows, 1)), 6),
            "true_fraud_rows": int(true.sum()),
            "missed_fraud_rows": int(true.sum() - reported[1:].sum()),
            "false_report_rows": int(reported[_CLEAN]),
            "blocked_rows": int(blocked.sum()),
            "blocked_clean_rows": int(blocked[_CLEAN]),
            "channels": _by_name(CHANNEL_NAMES, self._mixes["channel"]),
            "fraud_kinds": _by_name(KIND_NAMES, true),
            "reported_fraud_kinds": _by_name(KIND_NAMES, reported[1:]),
            "blocked_fraud_kinds": _by_name(KIND_NAMES, blocked[1:]),
        }


def combined_summary(banks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the counts of all banks together, from the summary of each."""
    counts = {
        name: sum(bank[name] for bank in banks)
        for name in (
            "fraud_rows",
            "true_fraud_rows",
            "missed_fraud_rows",
            "false_report_rows",
            "blocked_rows",
            "blocked_clean_rows",
        )
    }
    by_kind = {
        name: {kind: sum(bank[name][kind] for bank in banks) for kind in KIND_NAMES}
        for name in ("fraud_kinds", "reported_fraud_kinds", "blocked_fraud_kinds")
    }
    rows = sum(bank["rows"] for bank in banks)
    return {**counts, "fraud_rate": round(counts["fraud_rows"] / max(rows, 1), 6), **by_kind}


def distances(mixes: Sequence[Mapping[str, IntArray]]) -> dict[str, Any]:
    """Return the distance between each two banks per mix, and the mean of all of them.

    Parameters
    ----------
    mixes : sequence of mappings
        ``BankTally.mixes`` of every bank.
    """
    counts = {name: np.array([mix[name] for mix in mixes]) for name in mixes[0]}
    matrices = {name: distance_matrix(table).round(6).tolist() for name, table in counts.items()}
    mean = round(bank_distance(*counts.values()), 6)
    return {"measure": "total variation", "mean": mean, **matrices}


def _by_name(names: tuple[str, ...], counts: IntArray) -> dict[str, int]:
    return {name: int(count) for name, count in zip(names, counts, strict=True)}
