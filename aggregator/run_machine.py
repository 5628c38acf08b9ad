"""The life of a run as a pure function: state and event in, new state and effects out. No I/O.

::

    open --(all of the cohort joined)--> training --(every bank voted one hash)--> finished
      |                                     |
      '------- abort ------> failed <-------'  abort, or banks that disagree

    a round:   opened by the first contribution
               -> complete when all k banks contributed (the product can be read)
               -> closed when all k openings are in (the next round can be opened)

Laws, checked by enumeration in the tests:

* a round is complete only with one contribution of every bank, closed only with every opening;
* what a bank sent for a round is never replaced: the same digest again is a replay without
  effect, another digest is refused;
* a run that is finished or failed never changes again;
* from every reachable state of a run whose banks do their part, the run can end.

The caller loads a ``Run`` and the addressed ``Round``, calls ``advance``, and makes every effect
durable in one transaction, or none of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from fraudfed.errors import ConflictError, ForbiddenError, ProtocolError, RunFailedError
from fraudfed.wire.messages import RunState

__all__ = [
    "Abort",
    "Contribute",
    "ContributionAccepted",
    "Effect",
    "Event",
    "Join",
    "MemberJoined",
    "ModelAccepted",
    "ModelHashes",
    "Open",
    "OpeningAccepted",
    "PayloadsExpired",
    "ProductComplete",
    "Round",
    "RoundClosed",
    "RoundOpened",
    "Run",
    "RunFailed",
    "Terms",
    "TrainingStarted",
    "Transition",
    "Vote",
    "VoteAccepted",
    "advance",
    "require_active_member",
]


@dataclass(frozen=True)
class Terms:
    """What all contributions to one round must have in common."""

    label: str
    context: str
    count: int

    def __str__(self) -> str:
        return f"label {self.label!r}, context {self.context[:16]}, {self.count} ciphertexts"


@dataclass(frozen=True)
class ModelHashes:
    """SHA-256 of a model as it is stored, and of the plain model, which may be sealed in it."""

    stored: str
    plain: str

    def __str__(self) -> str:
        return self.stored if self.stored == self.plain else f"{self.stored} (of {self.plain})"


@dataclass(frozen=True)
class Round:
    """One secure sum: who sent what. Pairs are (bank, sha256 of the body), in order of arrival."""

    number: int
    terms: Terms
    contributions: tuple[tuple[str, str], ...] = ()
    openings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Run:
    """A run apart from the bytes of its rounds."""

    run_id: str
    cohort: tuple[str, ...]
    """Who may join: the roster of the run's key epoch, sorted by name."""
    state: RunState = RunState.OPEN
    members: tuple[str, ...] = ()
    """Who has joined, sorted by name; the index of a bank is the shard it opens."""
    round_number: int = 0
    """Number of closed rounds, and so the number of the only round that can be open."""
    votes: tuple[tuple[str, ModelHashes], ...] = ()
    """Pairs (bank, its model), in order of arrival."""
    model_sha256: str | None = None
    """Of the accepted model as it is stored."""
    failure: str | None = None

    @property
    def cohort_size(self) -> int:
        """Number of banks that take part."""
        return len(self.cohort)


@dataclass(frozen=True)
class Join:
    """A bank wants to be a member."""

    bank: str


@dataclass(frozen=True)
class Contribute:
    """A bank sends its ciphertexts of round ``number``."""

    bank: str
    number: int
    terms: Terms
    digest: str


@dataclass(frozen=True)
class Open:
    """A bank sends the sealed plaintexts of its shard of round ``number``."""

    bank: str
    number: int
    terms: Terms
    shard: int | None
    digest: str


@dataclass(frozen=True)
class Vote:
    """A bank submits the model it ended with."""

    bank: str
    model: ModelHashes


@dataclass(frozen=True)
class Abort:
    """A member, or the operator when ``bank`` is None, ends the run."""

    bank: str | None
    reason: str


Event: TypeAlias = Join | Contribute | Open | Vote | Abort


@dataclass(frozen=True)
class MemberJoined:
    """Store the membership."""

    bank: str


@dataclass(frozen=True)
class TrainingStarted:
    """The cohort is complete."""


@dataclass(frozen=True)
class RoundOpened:
    """Store a new round."""

    number: int
    terms: Terms


@dataclass(frozen=True)
class ContributionAccepted:
    """Store the digest and multiply the ciphertexts into the running product."""

    bank: str
    number: int
    digest: str


@dataclass(frozen=True)
class ProductComplete:
    """The product can be read."""

    number: int


@dataclass(frozen=True)
class PayloadsExpired:
    """Products and openings of rounds below ``before`` can be deleted: nobody needs them."""

    before: int


@dataclass(frozen=True)
class OpeningAccepted:
    """Store the opening."""

    bank: str
    number: int
    shard: int
    digest: str


@dataclass(frozen=True)
class RoundClosed:
    """All openings can be read; the next round can be opened."""

    number: int


@dataclass(frozen=True)
class VoteAccepted:
    """Store the vote."""

    bank: str
    model: ModelHashes


@dataclass(frozen=True)
class ModelAccepted:
    """Store the model; the run is finished."""

    model: ModelHashes


@dataclass(frozen=True)
class RunFailed:
    """The run ends without a model; the caller is told by ``RunFailedError``."""

    reason: str


Effect: TypeAlias = (
    MemberJoined
    | TrainingStarted
    | RoundOpened
    | ContributionAccepted
    | ProductComplete
    | PayloadsExpired
    | OpeningAccepted
    | RoundClosed
    | VoteAccepted
    | ModelAccepted
    | RunFailed
)


@dataclass(frozen=True)
class Transition:
    """Outcome of an event; no effects means that it was a replay of one accepted before."""

    run: Run
    round: Round | None
    effects: tuple[Effect, ...] = ()


def advance(run: Run, addressed: Round | None, event: Event) -> Transition:
    """Apply one event.

    Parameters
    ----------
    run : Run
    addressed : Round or None
        The round that ``event.number`` names, None if it has not been opened; None for events
        that name no round, except ``Vote``, which needs the round ``run.round_number``.
    event : Event

    Raises
    ------
    ForbiddenError
        If the bank is no member, or cannot become one.
    RunFailedError
        If the run had failed before. (A run that fails *by* this event is a ``RunFailed`` effect,
        because that has to be stored.)
    ConflictError
        If the event contradicts what was accepted before, or comes at the wrong time.
    ProtocolError
        If the opening is of another shard than the bank's own.
    """
    match event:
        case Join():
            return _join(run, event)
        case Contribute():
            return _contribute(run, addressed, event)
        case Open():
            return _open(run, addressed, event)
        case Vote():
            return _vote(run, addressed, event)
        case Abort():
            return _abort(run, event)


def _join(run: Run, event: Join) -> Transition:
    if event.bank not in run.cohort:
        raise ForbiddenError(
            f"{event.bank} is not in the cohort of run {run.run_id}, which is the roster of its "
            "key epoch; take part in the next key epoch"
        )
    _refuse_failed(run)
    if event.bank in run.members:
        return Transition(run, None)
    # Not all of the cohort has joined, so the run is still open.
    members = tuple(sorted((*run.members, event.bank)))
    effects: tuple[Effect, ...] = (MemberJoined(event.bank),)
    joined = replace(run, members=members)
    if len(members) == run.cohort_size:
        joined = replace(joined, state=RunState.TRAINING)
        effects += (TrainingStarted(),)
    return Transition(joined, None, effects)


def _contribute(run: Run, addressed: Round | None, event: Contribute) -> Transition:
    _require_member(run, event.bank)
    _refuse_failed(run)
    known = dict(addressed.contributions).get(event.bank) if addressed else None
    if known is not None:
        _require_same(known, event.digest, what=f"contribution to round {event.number}", run=run)
        return Transition(run, addressed)
    _require_training(run, what=f"contribution to round {event.number}")
    if event.number != run.round_number:
        raise ConflictError(
            f"run {run.run_id}: contribution to round {event.number}, but round "
            f"{run.round_number} is the open one"
        )
    if run.votes:
        return _fail(
            run,
            addressed,
            f"round {event.number}: banks disagree whether training is over: "
            f"{_names(bank for bank, _ in run.votes)} submitted a model, {event.bank} went on with "
            f"{event.terms}; use the same release, parameters and data contract at every bank",
        )
    effects: tuple[Effect, ...] = ()
    current = addressed
    if current is None:
        current = Round(event.number, event.terms)
        effects += (RoundOpened(event.number, event.terms),)
    elif current.terms != event.terms:
        earlier = _names(bank for bank, _ in current.contributions)
        return _fail(
            run,
            current,
            f"round {event.number}: banks disagree on what is summed: {earlier} sent "
            f"{current.terms}; {event.bank} sent {event.terms}; use the same release, parameters, "
            "data contract and key at every bank",
        )
    current = replace(current, contributions=(*current.contributions, (event.bank, event.digest)))
    effects += (ContributionAccepted(event.bank, event.number, event.digest),)
    if len(current.contributions) == run.cohort_size:
        # Every bank has read the openings of the round before, or it could not have gone on.
        effects += (ProductComplete(event.number), PayloadsExpired(before=event.number))
    return Transition(run, current, effects)


def _open(run: Run, addressed: Round | None, event: Open) -> Transition:
    _require_member(run, event.bank)
    _refuse_failed(run)
    what = f"opening of round {event.number}"
    known = dict(addressed.openings).get(event.bank) if addressed else None
    if known is not None:
        _require_same(known, event.digest, what=what, run=run)
        return Transition(run, addressed)
    _require_training(run, what=what)
    if addressed is None or len(addressed.contributions) < run.cohort_size:
        have = len(addressed.contributions) if addressed else 0
        raise ConflictError(
            f"run {run.run_id}: {what} from {event.bank}, but only {have} of {run.cohort_size} "
            "contributions are in; read the product first"
        )
    own = run.members.index(event.bank)
    expected = len(range(own, addressed.terms.count, run.cohort_size))
    if event.shard != own or event.terms.count != expected:
        raise ProtocolError(
            f"run {run.run_id}: {what} from {event.bank} is shard {event.shard} with "
            f"{event.terms.count} plaintexts, expected shard {own} with {expected}"
        )
    if (event.terms.label, event.terms.context) != (
        addressed.terms.label,
        addressed.terms.context,
    ):
        raise ConflictError(
            f"run {run.run_id}: {what} from {event.bank} has label {event.terms.label!r}, context "
            f"{event.terms.context[:16]}, but the round has {addressed.terms}"
        )
    current = replace(addressed, openings=(*addressed.openings, (event.bank, event.digest)))
    effects: tuple[Effect, ...] = (OpeningAccepted(event.bank, event.number, own, event.digest),)
    if len(current.openings) == run.cohort_size:
        run = replace(run, round_number=run.round_number + 1)
        effects += (RoundClosed(event.number),)
    return Transition(run, current, effects)


def _vote(run: Run, addressed: Round | None, event: Vote) -> Transition:
    _require_member(run, event.bank)
    _refuse_failed(run)
    known = dict(run.votes).get(event.bank)
    if known is not None:
        _require_same(str(known), str(event.model), what="model", run=run)
        return Transition(run, addressed)
    _require_training(run, what="model")
    if addressed is not None:
        return _fail(
            run,
            addressed,
            f"round {addressed.number}: banks disagree whether training is over: {event.bank} "
            f"submitted a model, {_names(bank for bank, _ in addressed.contributions)} went on "
            f"with {addressed.terms}; use the same release, parameters and data contract at every "
            "bank",
        )
    others = {model for _, model in run.votes}
    if others - {event.model}:
        # All earlier votes are equal, or the run would have failed at the first other one.
        (earlier,) = others
        return _fail(
            run,
            None,
            f"banks ended with different models: {_names(bank for bank, _ in run.votes)} "
            f"submitted {earlier}, {event.bank} submitted {event.model}; use the same release on "
            "the same kind of machine at every bank",
        )
    run = replace(run, votes=(*run.votes, (event.bank, event.model)))
    effects: tuple[Effect, ...] = (VoteAccepted(event.bank, event.model),)
    if len(run.votes) == run.cohort_size:
        run = replace(run, state=RunState.FINISHED, model_sha256=event.model.stored)
        effects += (ModelAccepted(event.model), PayloadsExpired(before=run.round_number))
    return Transition(run, None, effects)


def _abort(run: Run, event: Abort) -> Transition:
    if event.bank is not None:
        _require_member(run, event.bank)
        _refuse_failed(run)
    elif run.state is RunState.FAILED:
        return Transition(run, None)
    if run.state is RunState.FINISHED:
        raise ConflictError(f"run {run.run_id} is finished; a finished run cannot be aborted")
    return _fail(run, None, f"{event.bank or 'operator'}: {event.reason}")


def _fail(run: Run, addressed: Round | None, reason: str) -> Transition:
    failed = replace(run, state=RunState.FAILED, failure=reason)
    effects = (RunFailed(reason), PayloadsExpired(before=run.round_number + 1))
    return Transition(failed, addressed, effects)


def require_active_member(run: Run, bank: str) -> None:
    """Raise ``ForbiddenError`` for a non-member, ``RunFailedError`` if the run has failed."""
    _require_member(run, bank)
    _refuse_failed(run)


def _require_member(run: Run, bank: str) -> None:
    if bank not in run.members:
        raise ForbiddenError(f"{bank} is no member of run {run.run_id}; join it while it is open")


def _refuse_failed(run: Run) -> None:
    if run.state is RunState.FAILED:
        raise RunFailedError(f"run {run.run_id} has failed: {run.failure}")


def _require_training(run: Run, *, what: str) -> None:
    if run.state is RunState.OPEN:
        raise ConflictError(
            f"run {run.run_id}: {what} refused, the run waits for "
            f"{run.cohort_size - len(run.members)} more of {run.cohort_size} banks"
        )
    if run.state is not RunState.TRAINING:
        raise ConflictError(f"run {run.run_id}: {what} refused, the run is {run.state}")


def _require_same(known: str, digest: str, *, what: str, run: Run) -> None:
    if known != digest:
        raise ConflictError(
            f"run {run.run_id}: another {what} was accepted from this bank: sha256 {known}, "
            f"this one has {digest}; what was accepted is never replaced"
        )


def _names(banks: Iterable[str]) -> str:
    return ", ".join(sorted(banks))
