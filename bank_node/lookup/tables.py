"""The tables that a look-up asks: those of the newest delay, ready in memory."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bank_node.state.risk_file import RiskFile
from fraudfed.catalogue.recipe import WINDOW_DAYS
from fraudfed.errors import ConfigurationError
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.identifiers import (
    DAMAGED_ADVICE,
    DAMAGED_EXPECTED,
    DEFAULT_KINDS,
    IdentifierKinds,
    canonical,
    checked_identifier,
    is_damaged,
)
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.shared_risk.look_up import CONFIDENCE, RiskLookup, Window
from fraudfed.reading.problems import shortened
from fraudfed.wire.messages import RiskEntity

#: Of an identifier, as the scoring service has it.
MOST_CHARACTERS = 200
_MEND = "mend it or leave it out"
_EMPTY = ("an identifier that is not empty", _MEND)
_TOO_LONG = (f"up to {MOST_CHARACTERS} characters that can be printed", _MEND)


@dataclass(frozen=True)
class Found:
    """What the tables hold of one identifier.

    Attributes
    ----------
    entity : RiskEntity
    identifier : str
        In canonical form.
    as_of : int
        Newest day of the tables, days since 1970-01-01 UTC: the windows end with it.
    age_days : int
        From that day to today.
    delay_days : int
        Between a payment and its day of entry.
    banks : int or None
        The fewest banks that entered a day of the longest window; None where it is not written.
    confidence : float
        With which the lower ends hold.
    windows : tuple of Window
    """

    entity: RiskEntity
    identifier: str
    as_of: int
    age_days: int
    delay_days: int
    banks: int | None
    confidence: float
    windows: tuple[Window, ...]


class LookupTables:
    """All tables of a bank that fit each other, made ready once for many look-ups.

    Parameters
    ----------
    files : sequence of RiskFile
        Of whatever delay: those with the delay of the newest day are asked.
    members : mapping of run id to sequence of str
        The banks that made the tables of each run.
    kinds : mapping of str to IdentifierKind
        How the texts of a column name something.
    source : str
        Names where the tables lie, in the error text.

    Raises
    ------
    ConfigurationError
        If there are none.
    """

    def __init__(
        self,
        files: Sequence[RiskFile],
        members: Mapping[str, Sequence[str]],
        *,
        kinds: IdentifierKinds = DEFAULT_KINDS,
        source: str = "state directory",
    ) -> None:
        held = [file for file in files if file.keyed.tables.days]
        if not held:
            raise ConfigurationError(
                f"{source}: holds no risk tables to look anything up in; take part in a risk run "
                "first ('bank-node risk update')"
            )
        newest = max(
            held, key=lambda f: (f.keyed.tables.spec.last_day, -f.keyed.tables.spec.delay_days)
        )
        self.delay_days = newest.keyed.tables.spec.delay_days
        chosen = [f for f in held if f.keyed.tables.spec.delay_days == self.delay_days]
        self._kinds = {**DEFAULT_KINDS, **kinds}
        # What is asked for ends with the newest day: no lag stands between.
        shared = SharedRisk([file.keyed for file in chosen], publication_lag_days=0)
        self._lookup = RiskLookup(shared, widths=WINDOW_DAYS)
        asked = {id(run) for run in self._lookup.runs}
        counts = [len(members.get(f.run_id, ())) for f in chosen if id(f.keyed) in asked]
        self._banks = min(counts) or None if counts else None

    @property
    def as_of(self) -> int:
        """Newest day of the tables."""
        return self._lookup.last_day

    def canonical(self, entity: RiskEntity, identifier: str) -> str:
        """Return the canonical form of an identifier.

        Raises
        ------
        ConfigurationError
            If nothing is left of it, or it is too long or cannot be printed.
        DataError
            If it has lost digits.
        """
        kind = self._kinds[f"{entity.value}_id"]
        form = checked_identifier(identifier, kind, what=f"{entity.value}_id")
        fault = self.why_not(entity, identifier)
        if fault is None and form is not None:
            return form
        expected, advice = fault or _EMPTY
        raise ConfigurationError(
            f"{entity.value}: got {shortened(repr(identifier))}, expected {expected}; {advice}"
        )

    def why_not(self, entity: RiskEntity, identifier: str) -> tuple[str, str] | None:
        """Return what was expected in place of an identifier, and what to do; None if it is one."""
        form = canonical(identifier, self._kinds[f"{entity.value}_id"])
        if form is None:
            return _EMPTY
        if is_damaged(form):
            return DAMAGED_EXPECTED, DAMAGED_ADVICE
        if len(form) > MOST_CHARACTERS or not form.isprintable():
            return _TOO_LONG
        return None

    def find(self, entity: RiskEntity, identifier: str, *, now: float | None = None) -> Found:
        """Look up an identifier in canonical form; raises DataError as ``RiskLookup.windows``.

        Parameters
        ----------
        now : float or None
            UTC epoch seconds; None: by this machine's clock.
        """
        today = int(time.time() if now is None else now) // SECONDS_PER_DAY
        return Found(
            entity=entity,
            identifier=identifier,
            as_of=self.as_of,
            age_days=today - self.as_of,
            delay_days=self.delay_days,
            banks=self._banks,
            confidence=CONFIDENCE,
            windows=self._lookup.windows(entity, identifier),
        )
