"""A run and its open round as values, and what the run waits for."""

from dataclasses import dataclass
from enum import StrEnum

from fraudfed.wire.messages import RunState


@dataclass(frozen=True)
class Terms:
    """What all contributions to one round must have in common."""

    label: str
    context: str
    count: int
    step: int = 0
    """Steps that the senders have finished, and can go back to."""

    def __str__(self) -> str:
        return (
            f"label {self.label!r}, context {self.context[:16]}, {self.count} ciphertexts, "
            f"step {self.step}"
        )


@dataclass(frozen=True)
class ModelHashes:
    """SHA-256 of a model as it is stored, and of the plain model, which may be sealed in it."""

    stored: str
    plain: str

    def __str__(self) -> str:
        return self.stored if self.stored == self.plain else f"{self.stored} (of {self.plain})"


@dataclass(frozen=True)
class Round:
    """One secure sum: what was sent, as pairs (bank, sha256 of the body), in order of arrival."""

    number: int
    terms: Terms
    contributions: tuple[tuple[str, str], ...] = ()
    openings: tuple[tuple[str, str], ...] = ()
    closed: bool = False
    """All openings are in. What each bank sent may be forgotten then."""


@dataclass(frozen=True)
class Readiness:
    """A bank is ready to begin a generation."""

    bank: str
    step: int
    """Steps that it has finished."""
    more_rows: int = 0
    """Most rows it adds to those that were counted in the preparation; 0 if it was there."""
    key: str = ""
    """Its ephemeral key of the generation, hexadecimal."""
    signature: str = ""
    """The bank's over the key, hexadecimal."""


@dataclass(frozen=True)
class Run:
    """A run apart from the bytes of its rounds."""

    run_id: str
    cohort: tuple[str, ...]
    """Banks that may join: the roster of the run's key epoch, sorted by name."""
    least_banks: int = 1
    """Fewer never take part; at most the size of the cohort."""
    max_rejoins: int = 0
    """How often a bank may come back after it was dropped."""
    state: RunState = RunState.OPEN
    members: tuple[str, ...] = ()
    """Banks that have ever joined, sorted by name."""
    generation: int = 0
    """Counts the sets of banks that took part, one after the other."""
    banks: tuple[str, ...] = ()
    """Banks that take part in this generation, sorted by name; the index of a bank is the shard it
    opens. The whole cohort at first."""
    entrants: tuple[str, ...] = ()
    """Those of the banks that came in since the last generation began: they are handed the work."""
    before: tuple[str, ...] = ()
    """Banks of the last generation that began before this one was formed, sorted by name."""
    waiting: tuple[str, ...] = ()
    """Banks that come in when the next step begins, sorted by name."""
    ready: tuple[Readiness, ...] = ()
    """Banks that agreed to this generation, sorted by name; all of them once it has begun. To
    generation 0 a bank agrees by joining."""
    drops: tuple[tuple[str, int], ...] = ()
    """How often each bank was dropped, sorted by bank."""
    first_step: int = 0
    """Where this generation began."""
    first_round: int = 0
    """Number of the first round of this generation."""
    step: int = 0
    """Step of the last round that was opened."""
    step_round: int = 0
    """Number of the first round of that step."""
    round_number: int = 0
    """Number of the only round that can be open: all before it are closed or abandoned."""
    votes: tuple[tuple[str, ModelHashes], ...] = ()
    """Pairs (bank, its model), in order of arrival."""
    model_sha256: str | None = None
    """Of the accepted model as it is stored."""
    failure: str | None = None

    @property
    def strangers(self) -> tuple[str, ...]:
        """Those of the banks that did not take part in the last generation that began."""
        return tuple(bank for bank in self.entrants if bank not in self.before)

    @property
    def size(self) -> int:
        """Number of banks that take part."""
        return len(self.banks)

    def dropped(self, bank: str) -> int:
        """Return how often a bank was dropped."""
        return dict(self.drops).get(bank, 0)

    @classmethod
    def new(
        cls, run_id: str, cohort: tuple[str, ...], *, least_banks: int = 1, max_rejoins: int = 0
    ) -> "Run":
        """Return a run that no bank has joined."""
        least = min(least_banks, len(cohort))
        return cls(run_id, cohort, least_banks=least, max_rejoins=max_rejoins, banks=cohort)


class StageKind(StrEnum):
    """What a run waits for."""

    JOIN = "join"
    READY = "ready"
    CONTRIBUTION = "contribution"
    OPENING = "opening"
    MODEL = "model"


@dataclass(frozen=True)
class Stage:
    """What a run waits for, and for whom; a deadline runs while it stays the same.

    Attributes
    ----------
    kind : StageKind
    generation, round_number : int
        Of the run.
    present : tuple of str
        Banks that have done it: they wait for the others.
    missing : tuple of str
        Banks that have not.
    """

    kind: StageKind
    generation: int
    round_number: int
    present: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def key(self) -> tuple[str, int, int]:
        """What stays the same while the same is waited for."""
        return self.kind.value, self.generation, self.round_number


def stage_of(run: Run, current: Round | None) -> Stage | None:
    """Return what a run waits for; None if it has ended, or if no bank waits for another.

    Parameters
    ----------
    run : Run
    current : Round or None
        Round ``run.round_number``, None if it is not opened.
    """
    if run.state is RunState.OPEN:
        kind = StageKind.JOIN
        present = tuple(bank for bank in run.members if bank in run.banks)
    elif run.state is RunState.GATHERING:
        kind, present = StageKind.READY, tuple(one.bank for one in run.ready)
    elif run.state is not RunState.TRAINING:
        return None
    elif current is not None:
        contributors = tuple(bank for bank, _ in current.contributions)
        if len(contributors) < run.size:
            kind, present = StageKind.CONTRIBUTION, contributors
        else:
            kind, present = StageKind.OPENING, tuple(bank for bank, _ in current.openings)
    else:
        kind, present = StageKind.MODEL, tuple(bank for bank, _ in run.votes)
    missing = tuple(bank for bank in run.banks if bank not in present)
    if not present or not missing:
        return None
    return Stage(kind, run.generation, run.round_number, tuple(sorted(present)), missing)
