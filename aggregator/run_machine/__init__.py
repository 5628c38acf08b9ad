"""The life of a run as a pure function: state and event in, new state and effects out. No I/O.

::

    open --(all of its banks joined)--> training --(every bank voted one hash)--> finished
      |                                 |      ^
      |              a bank is dropped, |      | all banks of the new generation
      |        or one that waits enters v      | have agreed to it
      |                                gathering (a bank that joins comes in at once)
      '------- abort ------> failed <-------'  abort, or banks that disagree

    a round:   opened by the first contribution
               -> complete when all banks contributed (the product can be read)
               -> closed when all openings are in (the next round can be opened)
               or abandoned, with its number, when another generation is formed

Laws, checked by enumeration in the tests:

* a round is complete only with one contribution of every bank of its generation, closed only with
  every opening;
* what a bank sent for a round is never replaced: the same digest again is a replay without
  effect, another digest is refused;
* no two generations share a round's number;
* a run that is finished or failed never changes again;
* from every reachable state of a run whose banks do their part, the run can end.

The caller loads a ``Run`` and the addressed ``Round``, calls ``advance``, and makes every effect
durable in one transaction, or none of them.
"""

from aggregator.run_machine.events import (
    Abort,
    BecomeReady,
    Contribute,
    ContributionAccepted,
    DeadlinePassed,
    Decline,
    Drop,
    Effect,
    Event,
    GenerationBegun,
    GenerationFormed,
    Join,
    MemberJoined,
    MemberReady,
    MemberWaits,
    ModelAccepted,
    Open,
    OpeningAccepted,
    OpeningsExpired,
    ProductComplete,
    ProductsExpired,
    RoundAbandoned,
    RoundClosed,
    RoundOpened,
    RunAborted,
    RunFailed,
    TrainingStarted,
    Transition,
    Vote,
    VoteAccepted,
)
from aggregator.run_machine.guards import require_active_member, require_together, require_training
from aggregator.run_machine.state import (
    ModelHashes,
    Readiness,
    Round,
    Run,
    Stage,
    StageKind,
    Terms,
    stage_of,
)
from aggregator.run_machine.transitions import advance

__all__ = [
    "Abort",
    "BecomeReady",
    "Contribute",
    "ContributionAccepted",
    "DeadlinePassed",
    "Decline",
    "Drop",
    "Effect",
    "Event",
    "GenerationBegun",
    "GenerationFormed",
    "Join",
    "MemberJoined",
    "MemberReady",
    "MemberWaits",
    "ModelAccepted",
    "ModelHashes",
    "Open",
    "OpeningAccepted",
    "OpeningsExpired",
    "ProductComplete",
    "ProductsExpired",
    "Readiness",
    "Round",
    "RoundAbandoned",
    "RoundClosed",
    "RoundOpened",
    "Run",
    "RunAborted",
    "RunFailed",
    "Stage",
    "StageKind",
    "Terms",
    "TrainingStarted",
    "Transition",
    "Vote",
    "VoteAccepted",
    "advance",
    "require_active_member",
    "require_together",
    "require_training",
    "stage_of",
]
