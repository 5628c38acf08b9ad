"""What a review shows of a run: everything that this bank would agree to."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from bank_node.approval.findings import Finding


class ReviewPart(BaseModel):
    """A part of a review: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ReviewedColumn(ReviewPart):
    """A column that a training uses.

    Attributes
    ----------
    name : str
    role : {"feature", "label", "weight"}
    type : str
    nullable : bool
    categories : tuple of str or None
        Of a categorical column.
    description : str
    unit : str or None
        Of a consortium's own column, which is read from the file and not made by the recipe.
    """

    name: str
    role: Literal["feature", "label", "weight"]
    type: str
    nullable: bool
    categories: tuple[str, ...] | None = None
    description: str = ""
    unit: str | None = None


class ReviewedParameter(ReviewPart):
    """A parameter under XGBoost's name; ``given`` tells it from a default."""

    name: str
    value: JsonValue
    given: bool


class PrivacyFacts(ReviewPart):
    """The privacy terms of a training, in words.

    Attributes
    ----------
    epsilon, delta : float
    unit : {"row", "customer"}
    hides : str
        Whose presence the bound hides.
    history, way, cuts : str
    tolerated_colluders, declared_rows : int
    not_covered : tuple of str
    """

    epsilon: float
    delta: float
    unit: str
    hides: str
    history: str
    way: str
    cuts: str
    tolerated_colluders: int
    declared_rows: int
    not_covered: tuple[str, ...]


class TrainingFacts(ReviewPart):
    """What a training uses.

    Attributes
    ----------
    kind : RunKind
    data : {"transactions", "table"}
    columns : tuple of ReviewedColumn
        In the contract's order, then label and weight.
    max_weight : float
    recipe : str or None
    train_from, train_until, select_until, judge_until : int or None
        UTC epoch seconds.
    label_horizon : str
        In words.
    risk_delay_days, risk_publication_lag_days, gap_days : int
    exclude_known_compromised : bool
    alerts_per_day : int or None
        Of all banks, that the model is judged by; None for one payment in 200.
    shared_risk : tuple of str
        The risk tables that features are made of.
    population : str or None
        Which payments are trained on and scored, in words; None for all.
    currency : str or None
        Currency that amounts are converted to, and the number of its rates, in words.
    parameters : tuple of ReviewedParameter or None
        All of them, defaults included; None if this bank refuses them.
    validation : str
        Which rows decide when to stop.
    privacy : PrivacyFacts or None
        None: sums are opened exactly.
    """

    kind: Literal["training"] = "training"
    data: str
    columns: tuple[ReviewedColumn, ...]
    max_weight: float
    recipe: str | None
    train_from: int | None
    train_until: int | None
    select_until: int | None
    judge_until: int | None
    label_horizon: str
    risk_delay_days: int
    risk_publication_lag_days: int
    gap_days: int
    exclude_known_compromised: bool
    alerts_per_day: int | None
    shared_risk: tuple[str, ...]
    population: str | None = None
    currency: str | None = None
    parameters: tuple[ReviewedParameter, ...] | None
    validation: str
    privacy: PrivacyFacts | None = None


class RiskPrivacyFacts(ReviewPart):
    """What noise in risk tables hides.

    Attributes
    ----------
    epsilon, delta : float
        The bound for one customer of one bank and one calendar month.
    tolerated_colluders : int
    payment_noise, fraud_noise : float
        Standard deviation of one counter of a day, in counts.
    """

    epsilon: float
    delta: float
    tolerated_colluders: int
    payment_noise: float
    fraud_noise: float


class RiskFacts(ReviewPart):
    """What a risk run counts; days are ISO dates."""

    kind: Literal["risk"] = "risk"
    first_day: str
    last_day: str
    n_days: int
    delay_days: int
    entities: tuple[str, ...]
    min_customers: int
    depth: int
    transaction_width: int
    fraud_width: int
    days_per_step: int
    privacy: RiskPrivacyFacts | None = None


class StatisticsFacts(ReviewPart):
    """What a statistics run counts.

    Attributes
    ----------
    data : {"transactions", "table"}
    columns : tuple of ReviewedColumn
        Of the contract, in its order, then label and weight.
    counted : tuple of str
        Every column that is counted, raw ones and shapes of identifiers among them.
    recipe : str or None
    train_from, train_until : int or None
        UTC epoch seconds.
    entities : tuple of str
        Whose identifiers are compared across banks.
    width, min_count, min_customers : int
    """

    kind: Literal["statistics"] = "statistics"
    data: str
    columns: tuple[ReviewedColumn, ...]
    counted: tuple[str, ...]
    recipe: str | None
    train_from: int | None
    train_until: int | None
    entities: tuple[str, ...]
    width: int
    min_count: int
    min_customers: int


class MonitorFacts(ReviewPart):
    """What a monitor run counts.

    Attributes
    ----------
    model_run, model_sha256 : str
        The run whose model scores, and that model as the registry has it.
    columns : tuple of ReviewedColumn
        Of the contract, in its order, then label and weight.
    recipe : str or None
    weeks_from, until, reference_until : int
        First second of the weeks, and the seconds after the last one and after the reference; UTC
        epoch seconds.
    weeks, reference_weeks : int
    alert_score : float
    min_count : int
    """

    kind: Literal["monitor"] = "monitor"
    model_run: str
    model_sha256: str
    columns: tuple[ReviewedColumn, ...]
    recipe: str | None
    weeks_from: int
    until: int
    reference_until: int
    weeks: int
    reference_weeks: int
    alert_score: float
    min_count: int


class ReviewedCandidate(ReviewPart):
    """A set of parameters that a search tries.

    Attributes
    ----------
    name : str
    parameters : dict
        Under XGBoost's names: those that differ from what all candidates share.
    min_child_share : float or None
        ``min_child_weight`` is this share of the frauds that are trained on, at least 1.
    """

    name: str
    parameters: dict[str, JsonValue]
    min_child_share: float | None


class ReviewedRung(ReviewPart):
    """To how many trees the candidates that are alive are grown, and how many these are."""

    trees: int
    alive: int


class SearchFacts(ReviewPart):
    """What a search uses.

    Attributes
    ----------
    kind : RunKind
    shared : TrainingFacts
        The data, and the parameters that all candidates share.
    candidates : tuple of ReviewedCandidate
    rungs : tuple of ReviewedRung
    trees : int
        Grown in all, at most: those of all candidates together.
    select_by : str
    patience : int or None
    keep_each_share : bool
    """

    kind: Literal["search"] = "search"
    shared: TrainingFacts
    candidates: tuple[ReviewedCandidate, ...]
    rungs: tuple[ReviewedRung, ...]
    trees: int
    select_by: str
    patience: int | None
    keep_each_share: bool


class CostEstimate(ReviewPart):
    """An upper bound of what one bank sends, by estimate; early stopping and few values need less.

    Attributes
    ----------
    rounds, ciphertexts, bytes : int
        Bytes of round bodies that this bank sends.
    assumed_rows : int
        Rows of all banks together (risk: payments a day) that the estimate holds for.
    """

    rounds: int
    ciphertexts: int
    bytes: int
    assumed_rows: int


class RunFacts(ReviewPart):
    """What a job says of a run's description.

    Attributes
    ----------
    about : TrainingFacts, RiskFacts, StatisticsFacts, SearchFacts or MonitorFacts
    cost : CostEstimate or None
        None if the parameters are refused.
    reveals : tuple of str
        What others can learn, in plain words.
    """

    about: Annotated[
        TrainingFacts | RiskFacts | StatisticsFacts | SearchFacts | MonitorFacts,
        Field(discriminator="kind"),
    ]
    cost: CostEstimate | None
    reveals: tuple[str, ...]


class ReviewedMember(ReviewPart):
    """A bank of the cohort, and whether a person here has compared its fingerprint."""

    name: str
    confirmed: bool
    self: bool


class Review(ReviewPart):
    """``runs review``.

    Attributes
    ----------
    run_id, name : str
    hash : str
        What ``runs approve`` takes: of the run's id, specification, contract, cohort and key.
    changed : tuple of str
        What the aggregator says differently since this bank first saw the run; such a run is
        refused, and its hash cannot be approved.
    state : str
    key_epoch, key_bits : int
    key_fingerprint : str
    model_visibility : str
    require_confirmed_roster : bool
    min_cohort, deadline_seconds, max_rejoins : int
    join_deadline_seconds : int or None
    cohort : tuple of ReviewedMember
    without : tuple of str
        Members of the key epoch that the run leaves out.
    price : tuple of str
        What the run shows together with an earlier one of this bank that other banks took part
        in, and what it costs.
    facts : RunFacts
    refused : str or None
        Why this bank takes no part in such a run, approved or not.
    findings : tuple of Finding
        What ``[approval]`` says, line by line.
    approved_by : tuple of {"person", "rules"}
    """

    run_id: str
    name: str
    hash: str
    changed: tuple[str, ...]
    state: str
    key_epoch: int
    key_bits: int
    key_fingerprint: str
    model_visibility: str
    require_confirmed_roster: bool
    min_cohort: int
    deadline_seconds: int
    join_deadline_seconds: int | None
    max_rejoins: int
    cohort: tuple[ReviewedMember, ...]
    without: tuple[str, ...]
    price: tuple[str, ...]
    facts: RunFacts
    refused: str | None
    findings: tuple[Finding, ...]
    approved_by: tuple[Literal["person", "rules"], ...]


class ListedRun(ReviewPart):
    """A run that is open to this bank.

    Attributes
    ----------
    run_id, name, kind, state : str
    approved_by : tuple of {"person", "rules"}
        Empty: this bank does not take part; so it is with a run that was changed.
    changed : bool
        The aggregator describes it otherwise than at first sight.
    refused : str or None
        As in a review.
    """

    run_id: str
    name: str
    kind: str
    state: str
    approved_by: tuple[Literal["person", "rules"], ...]
    changed: bool
    refused: str | None


class RunsOpen(ReviewPart):
    """``runs list``."""

    runs: tuple[ListedRun, ...]


class Approved(ReviewPart):
    """``runs approve``.

    Attributes
    ----------
    run_id, hash : str
    approved : bool
        Whether a person's approval stands now.
    by_rules : bool
        Whether ``[approval]`` approves the run, whatever a person says.
    """

    run_id: str
    hash: str
    approved: bool
    by_rules: bool
