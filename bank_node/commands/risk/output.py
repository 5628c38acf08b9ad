"""What the commands about shared risk print with ``--json``; part of ``output``."""

from fraudfed.console import Answer


class UpdatedRisk(Answer):
    """``risk update``: days are ISO dates; a data contract names the tables ``registry_sha256``."""

    run_id: str
    first_day: str
    last_day: str
    members: tuple[str, ...]
    table_bytes: int
    registry_sha256: str


class SketchFacts(Answer):
    """The fullest day's sketch of a kind, and how far its counts may be off.

    ``noise`` is the standard deviation of one counter; 0 in exact tables.
    """

    depth: int
    width: int
    largest_total: int
    expected_excess: float
    excess_bound: float
    failure_probability: float
    false_presence: float
    noise: float


class RiskRun(Answer):
    """The tables of one risk run."""

    run_id: str
    registry_sha256: str
    first_day: str
    last_day: str
    entities: tuple[str, ...]
    delay_days: int
    min_customers: int
    bytes: int
    transactions: SketchFacts
    frauds: SketchFacts
    corrections: int


class CountInterval(Answer):
    """A count over all banks.

    Attributes
    ----------
    count : int
        The estimate, as the features have it.
    lower, upper : int
        Where the true count lies.
    known : bool
        Whether anything can be said to be there: ``lower`` is above 0.
    """

    count: int
    lower: int
    upper: int
    known: bool


class RiskWindow(Answer):
    """Some days up to ``as_of``; nothing is known of those that are missing."""

    days: int
    missing: tuple["DayGap", ...]
    payments: CountInterval
    frauds: CountInterval


class LookedUp(Answer):
    """What all banks entered of one identifier.

    Attributes
    ----------
    entity : str
    identifier : str
        In canonical form.
    as_of : str
        Newest day of the tables (UTC), with which the windows end.
    age_days : int
        From that day to today.
    delay_days : int
        Between a payment and the day for which it is entered.
    banks : int or None
        The fewest banks that made a table of the longest window.
    confidence : float
        With which the lower ends hold.
    windows : tuple of RiskWindow
    """

    entity: str
    identifier: str
    as_of: str
    age_days: int
    delay_days: int
    banks: int | None
    confidence: float
    windows: tuple[RiskWindow, ...]


class LookUps(Answer):
    """``risk lookup``.

    Attributes
    ----------
    found : tuple of LookedUp
        Empty where they were written to a file.
    out : str or None
    rows : int
        Identifiers that were looked up.
    """

    found: tuple[LookedUp, ...]
    out: str | None
    rows: int


class LookupEntry(Answer):
    """Identifiers that were looked up together.

    Attributes
    ----------
    time : int
        UTC epoch seconds.
    who, purpose, entity : str
    identifiers : tuple of str
    """

    time: int
    who: str
    purpose: str
    entity: str
    identifiers: tuple[str, ...]


class LookupEntries(Answer):
    """``risk lookups``: oldest first."""

    lookups: tuple[LookupEntry, ...]


class CorrectedReport(Answer):
    """``risk correct``: a report of fraud that was taken back.

    Attributes
    ----------
    transaction_id : str
    reported_on, corrected_on : str
        Days, UTC.
    entities : tuple of str
        At which the fraud was counted.
    reason : str
    """

    transaction_id: str
    reported_on: str
    corrected_on: str
    entities: tuple[str, ...]
    reason: str


class CorrectedReports(Answer):
    """``risk corrections``: in the order in which they were made."""

    corrections: tuple[CorrectedReport, ...]


class DayGap(Answer):
    """Days without any table."""

    first_day: str
    last_day: str


class HeldRisk(Answer):
    """``risk show``: later runs replace earlier ones."""

    runs: tuple[RiskRun, ...]
    gaps: tuple[DayGap, ...]
