"""What the commands of ``bank-node`` print with ``--json``. All of it stays on the bank's machine.

``commands_of(cli)`` and ``answer_of`` of ``fraudfed.console`` say which command prints which.
"""

from enum import StrEnum
from typing import Literal

from pydantic import JsonValue

from bank_node.config import CohortRules
from fraudfed.adaptation.method import Method
from fraudfed.console import Answer
from fraudfed.consortium.trust import TrustKind


class Joined(Answer):
    """``join``."""

    name: str
    aggregator: str
    fingerprint: str


class RosterMember(Answer):
    """A bank whose keys are pinned.

    Attributes
    ----------
    name, fingerprint : str
    confirmed : bool
        A person has compared its keys with its own.
    owner : str or None
        To whom it belongs, as a person recorded it; banks of one owner count once.
    left : bool
        Enough members have signed its removal.
    removal_signed_by : tuple of str
        The members that have.
    first_seen : int
        UTC epoch seconds.
    self : bool
        It is this bank.
    member : bool or None
        It is a member now; None where the aggregator was not asked.
    """

    name: str
    fingerprint: str
    confirmed: bool
    owner: str | None
    left: bool
    removal_signed_by: tuple[str, ...]
    first_seen: int
    self: bool
    member: bool | None = None


class Roster(Answer):
    """``roster``: every bank that this bank has ever pinned.

    Attributes
    ----------
    members : tuple of RosterMember
    code : str or None
        The one code for the members that were shown last, to be compared on the telephone.
    code_of : tuple of str
        Their names.
    trust : TrustFacts
    """

    members: tuple[RosterMember, ...]
    code: str | None
    code_of: tuple[str, ...]
    trust: "TrustFacts"


class TrustFacts(Answer):
    """With whom a bank computes.

    Attributes
    ----------
    kind : TrustKind
    tolerated_colluders : int
        Members that may put their parts together and learn nothing of this bank alone.
    least_banks : int
        It takes part in sets of so many owners.
    counted_owners : int
        So many there are among the members that this bank counts, itself among them.
    """

    kind: TrustKind
    tolerated_colluders: int
    least_banks: int
    counted_owners: int


class AcceptedKeyEpoch(Answer):
    """``keys create``, ``keys rotate`` and ``keys accept``.

    Attributes
    ----------
    epoch : int
    steward : str
    members : tuple of str
    key_bits : int
    key_package : str
        Fingerprint of the private key and secret.
    active : bool
        Every member has accepted it, and runs can use it.
    missing : tuple of str
        Members that have not accepted it.
    """

    epoch: int
    steward: str
    members: tuple[str, ...]
    key_bits: int
    key_package: str
    active: bool
    missing: tuple[str, ...]


class HeldKeyEpoch(Answer):
    """A key epoch that this bank holds; ``key_fingerprint`` is the public key's."""

    epoch: int
    steward: str
    roster: tuple[str, ...]
    key_bits: int
    key_fingerprint: str
    digest: str


class HeldKeyEpochs(Answer):
    """``keys show``, oldest first."""

    key_epochs: tuple[HeldKeyEpoch, ...]


class VerifiedAudit(Answer):
    """``audit verify``; ``compared_runs`` is None where the aggregator was not asked."""

    path: str
    entries: int
    compared_runs: int | None


class ExplainedAudit(Answer):
    """``audit explain``: lines of text."""

    lines: tuple[str, ...]


class Scored(Answer):
    """``score``; ``probabilities``: the file has them beside the scores."""

    out: str
    rows: int
    probabilities: bool


class Reader(StrEnum):
    """For whom ``explain`` writes."""

    ANALYST = "analyst"
    CUSTOMER = "customer"
    COMPLAINT = "complaint"


class ExplainedReason(Answer):
    """One reason; everything but ``text`` is for an analyst only."""

    text: str
    code: str | None = None
    title: str | None = None
    contribution: float | None = None
    share: float | None = None


class ExplainedLowering(Answer):
    """What lowered the score, log-odds below 0."""

    title: str
    contribution: float


class ExplainedScore(Answer):
    """The score; ``margin`` is ``base`` and all contributions, log-odds."""

    margin: float
    base: float
    score: float
    probability: float | None
    model_sha256: str
    lowered: tuple[ExplainedLowering, ...]


class ExplainedDecision(Answer):
    """What was decided; ``decided_at`` in UTC epoch seconds."""

    decided_at: int
    action: str
    rule: str
    step: str
    policy_sha256: str | None
    tables_sha256: str | None


class Explained(Answer):
    """``explain``.

    Attributes
    ----------
    transaction_id : str
    reader : Reader
    from_log : bool
        It is a past decision; otherwise a row of a file.
    reasons : tuple of ExplainedReason
        The largest first.
    score : ExplainedScore or None
        For an analyst, of a payment that a model scored.
    decision : ExplainedDecision or None
        For an analyst, of a past decision.
    note : str
        What else there is to know; may be empty.
    """

    transaction_id: str
    reader: Reader
    from_log: bool
    reasons: tuple[ExplainedReason, ...]
    score: ExplainedScore | None = None
    decision: ExplainedDecision | None = None
    note: str


class Calibrated(Answer):
    """``calibrate``.

    Attributes
    ----------
    out : str
        The file, beside the model.
    method : Method
    rows, frauds, cases : int
        Mature payments of this bank from the training's cut-off on.
    first_event, last_event, as_of : int or None
        UTC epoch seconds; None for tables without times.
    prevalence : float or None
        Of ``pooled``: the share of fraud that it is shifted to.
    """

    out: str
    method: Method
    rows: int
    frauds: int
    cases: int
    first_event: int | None
    last_event: int | None
    as_of: int | None
    prevalence: float | None


class ExportedFeatures(Answer):
    """``features``."""

    out: str
    rows: int
    features: int


class RunAtAggregator(Answer):
    """A run as the aggregator tells it."""

    state: str
    members: tuple[str, ...]
    generation: int
    banks: tuple[str, ...]
    waiting: tuple[str, ...]
    waits_for: tuple[str, ...]
    cohort: tuple[str, ...]
    round_number: int
    ciphertexts: int
    model_sha256: str | None


class RunNotKnown(Answer):
    """Why the aggregator's view of a run is not known, or that the run has failed."""

    error: str
    state: Literal["failed"] | None = None


class UsedUp(Answer):
    """How many keys of the ledger have used up so many changes of the set of banks."""

    changes: int
    keys: int


class LedgerUse(Answer):
    """With how many sets of banks sums were revealed, and what that has used up.

    Attributes
    ----------
    sets : int
        Different sets, over all runs.
    used_up : tuple of UsedUp
        A key stands for the rows of a file, a column of it, or a day.
    """

    sets: int
    used_up: tuple[UsedUp, ...]


class Status(Answer):
    """``status``.

    Attributes
    ----------
    name, state, aggregator : str
        Of the bank; its state directory; URL.
    registered : bool
    fingerprint : str
    rules : CohortRules
    ledger : LedgerUse
    trust : TrustFacts
    key_epochs : tuple of HeldKeyEpoch
    roster : tuple of RosterMember
    run_id, risk_run_id, search_run_id : str or None
        The last training, the last risk run and the last search.
    record : dict or None
        ``record.json`` of that training, if it is finished; as ``train`` prints it.
    kernel : str
        Which Paillier kernel runs here, and why.
    run : RunAtAggregator, RunNotKnown or None
        That training at the aggregator; None when this bank knows none.
    """

    name: str
    state: str
    aggregator: str
    registered: bool
    fingerprint: str
    rules: CohortRules
    ledger: LedgerUse
    trust: TrustFacts
    key_epochs: tuple[HeldKeyEpoch, ...]
    roster: tuple[RosterMember, ...]
    run_id: str | None
    risk_run_id: str | None
    search_run_id: str | None
    record: dict[str, JsonValue] | None
    kernel: str
    run: RunAtAggregator | RunNotKnown | None


class CountedCell(Answer):
    """Rows of a category, or of a range of numbers ``LOW .. HIGH``; of a shape, identifiers."""

    name: str
    rows: int
    frauds: int


class CountedColumn(Answer):
    """A column of a statistics run.

    Attributes
    ----------
    group : {"raw", "feature", "identifier"}
        Of the transactions, of the contract, or the shape of identifiers.
    name : str
    missing_share : float or None
    quantiles : tuple of (float, float)
        Level and value, within an eighth of the value.
    cells : tuple of CountedCell
    """

    group: str
    name: str
    missing_share: float | None
    quantiles: tuple[tuple[float, float], ...]
    cells: tuple[CountedCell, ...]


class CountedEntity(Answer):
    """Identifiers of one kind in a statistics run.

    Attributes
    ----------
    entity : str
    entered : int
        Summed over banks: those with enough customers there.
    distinct, several : float
        Of all banks together, and of these, known to two or more banks.
    distinct_error, several_error : float or None
        Standard errors; None if every cell is marked and nothing can be said.
    """

    entity: str
    entered: int
    distinct: float
    distinct_error: float | None
    several: float
    several_error: float | None


class PooledStatistics(Answer):
    """``statistics``: what all banks together have.

    Attributes
    ----------
    run_id : str
    members : tuple of str
    rows, labelled, frauds : int
        As entered: rounded, small counts as 0.
    min_count, min_customers : int
        Of the run; a bank may have entered less.
    columns : tuple of CountedColumn
    entities : tuple of CountedEntity
    """

    run_id: str
    members: tuple[str, ...]
    rows: int
    labelled: int
    frauds: int
    min_count: int
    min_customers: int
    columns: tuple[CountedColumn, ...]
    entities: tuple[CountedEntity, ...]


class PagesListening(Answer):
    """``pages``, once they can be opened.

    Attributes
    ----------
    url : str
    token_file : str
        Its line is what to sign in with.
    """

    url: str
    token_file: str


class ServiceListening(Answer):
    """``serve``, once payments are answered.

    Attributes
    ----------
    url : str
    pages : PagesListening or None
        None if it shows none.
    """

    url: str
    pages: PagesListening | None


class Tracked(Answer):
    """``track``.

    Attributes
    ----------
    run_id : str
    tracking_uri : str
        Without user and password.
    experiment : str
    mlflow_run_id : str
    logged_before : bool
        It was there already, and is as it was.
    """

    run_id: str
    tracking_uri: str
    experiment: str
    mlflow_run_id: str
    logged_before: bool
