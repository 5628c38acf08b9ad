"""What the banks of a generation have said, held against what this bank knows.

The aggregator repeats it to all of them. What this bank said itself must come back as it said it;
what others said is signed where it matters, and the rest is part of the facts of the generation, so
that banks that were told otherwise get no number.
"""

from bank_node.state.agreement import Agreement
from bank_node.state.checkpoints import Checkpoint
from fraudfed.consortium.public.generations import verify_ephemeral_key
from fraudfed.errors import AuthError, KeyMaterialError, ProtocolError, StateError
from fraudfed.wire.messages import Generation, KeyEpoch, ReadyBank, RunState, RunStatus

_FAULT = "the aggregator is at fault"


def check_echo(status: RunStatus, bank: str, last: Agreement | None) -> None:
    """Refuse a status that repeats what this bank said otherwise than it said it.

    Parameters
    ----------
    bank : str
        This bank's name.
    last : Agreement or None
        Its last one.

    Raises
    ------
    StateError
        If the run is at an older generation than this bank agreed to, or this bank has agreed to
        the generation and does not know it: one of the two was restored from an older copy.
    ProtocolError
        If the answer that is repeated is another one, or this bank is no member of a run that it
        takes part in.
    """
    generation, where = status.generation, f"run {status.run_id}"
    if last is not None and last.generation > generation.number:
        raise StateError(
            f"{where}: this bank has agreed to generation {last.generation}, the aggregator says "
            f"that there is generation {generation.number}; it was restored from an older back-up, "
            "or is at fault: nothing of the older one is sent, ask its operator"
        )
    if bank in generation.banks and status.state is not RunState.OPEN:
        _require(bank in status.members, f"{where}: {bank} takes part and is said to be no member")
    mine = _answer_of(generation, bank)
    if mine is None:
        return
    if last is None or last.generation != generation.number:
        raise StateError(
            f"{where}: the aggregator holds an agreement of this bank to generation "
            f"{generation.number} that its state directory does not know; restore the newest copy, "
            "or ask the operator to drop this bank and start it again"
        )
    said = {"step": last.step, "more_rows": last.more_rows, "signature": last.signature}
    if last.key is not None:
        said["key"] = last.key.public
    for name, value in said.items():
        _require(
            getattr(mine, name) == value,
            f"{where}: {name} of this bank's agreement to generation {generation.number} is said "
            f"to be {getattr(mine, name)}, it said {value}",
        )


def check_repeated(status: RunStatus, bank: str, number: int) -> None:
    """Refuse an answer to this bank's agreement to generation ``number`` that leaves it out.

    Raises
    ------
    ProtocolError
        If the run is still at that generation, and this bank is said not to have agreed.
    """
    generation = status.generation
    if generation.number != number or bank not in generation.banks:
        return
    _require(
        _answer_of(generation, bank) is not None and bank in status.members,
        f"run {status.run_id}: this bank has agreed to generation {number}, and is said not to "
        "have",
    )


def check_answers(
    generation: Generation, run_id: str, key_epoch: KeyEpoch
) -> tuple[tuple[str, str], ...]:
    """Return the ephemeral keys of all banks of a generation that has begun.

    Returns
    -------
    tuple of pairs of str
        Names and keys, in the order of the generation.

    Raises
    ------
    ProtocolError
        If the answers are not one of each bank, two banks have the same key, or the generation does
        not begin at the least step of those that stay.
    KeyMaterialError
        If a key is none, or its bank has not signed it for this run and generation.
    """
    where = f"run {run_id}: generation {generation.number}"
    members = {member.name: member for member in key_epoch.roster}
    named = tuple(one.bank for one in generation.ready)
    _require(
        named == generation.banks and set(named) <= set(members),
        f"{where}: has begun with the agreements of {', '.join(named) or 'nobody'}, expected one "
        f"of each of {', '.join(generation.banks)}",
    )
    for one in generation.ready:
        try:
            verify_ephemeral_key(
                members[one.bank].signing_key,
                one.signature,
                run_id=run_id,
                epoch=key_epoch.epoch,
                generation=generation.number,
                bank=one.bank,
                key=one.key,
            )
        except AuthError as error:
            raise KeyMaterialError(f"{error}; nothing was sent") from None
    keys = [one.key for one in generation.ready]
    known = [member.agreement_key for member in key_epoch.roster]
    _require(
        len({*keys, *known}) == len(keys) + len(known),
        f"{where}: an ephemeral key is there twice, or is a long-lived key; a bank of the run or "
        "the aggregator repeats it",
    )
    steps = [one.step for one in generation.ready if one.bank not in generation.entrants]
    if generation.number == 0:
        begins = (generation.first_step, generation.first_round, *generation.entrants)
        said = {(one.step, one.more_rows) for one in generation.ready}
        _require(
            begins == (0, 0) and said == {(0, 0)},
            f"{where}: is said to begin after the beginning",
        )
    else:
        _require(
            bool(steps) and generation.first_step == min(steps),
            f"{where}: is said to begin at step {generation.first_step}, those that stay have "
            f"finished {', '.join(map(str, steps)) or 'none'}",
        )
    return tuple(zip(named, keys, strict=True))


def check_entrants(
    generation: Generation, bank: str, agreement: Agreement, last: Checkpoint | None
) -> None:
    """Refuse entrants that are none, and banks that enter and are not named, where that is known.

    A bank that stays has computed with the last generation that has begun. That is the one of its
    newest checkpoint, or one that it agreed to later and did not see begin.

    Parameters
    ----------
    bank : str
        This bank's name.
    agreement : Agreement
        To this generation.
    last : Checkpoint or None
        The newest one, of an earlier generation.

    Raises
    ------
    ProtocolError
        If they are not the banks that were not there before.
    """
    where = f"generation {generation.number}"
    banks, entrants = set(generation.banks), set(generation.entrants)
    _require(
        entrants <= banks and generation.entrants == tuple(sorted(entrants)),
        f"{where}: entrants are said to be {', '.join(generation.entrants)}, expected some of "
        f"{', '.join(generation.banks)}",
    )
    if bank in entrants or generation.number == 0:
        return
    before = [set(each) for each in agreement.earlier]
    if last is not None:
        if last.generation + 1 == generation.number:
            _require(
                entrants == banks - set(last.cohort),
                f"{where}: entrants are said to be {', '.join(sorted(entrants)) or 'nobody'}, "
                f"generation {last.generation} was of {', '.join(last.cohort)}",
            )
        before.append(set(last.cohort))
    _require(
        not before or any(banks - each <= entrants for each in before),
        f"{where}: entrants are said to be {', '.join(sorted(entrants)) or 'nobody'}, but others "
        "of it took part in no generation that this bank knows",
    )


def _answer_of(generation: Generation, bank: str) -> ReadyBank | None:
    return next((one for one in generation.ready if one.bank == bank), None)


def _require(is_so: bool, what: str) -> None:
    if not is_so:
        raise ProtocolError(f"{what}; {_FAULT}")
