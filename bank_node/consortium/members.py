"""The members as this bank knows them: pinned on first sight, confirmed by people."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bank_node.http.client import AggregatorClient
from bank_node.state.directory import StateDirectory
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.public.documents import sign_removal
from fraudfed.consortium.public.fingerprint import fingerprint
from fraudfed.consortium.roster import PinnedRoster
from fraudfed.consortium.trust import Trust, TrustKind, judged
from fraudfed.errors import ConfigurationError, NotFoundError, ProtocolError
from fraudfed.wire.messages import MemberKeys

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObservedRoster:
    """The current members, and all that this bank has ever pinned.

    Attributes
    ----------
    members : tuple of MemberKeys
        As the aggregator names them; each agrees with its pin.
    pins : PinnedRoster
        Also of banks that left.
    trust : Trust
        What follows from the pins and this bank's rules.
    """

    members: tuple[MemberKeys, ...]
    pins: PinnedRoster
    trust: Trust


def observe_roster(state: StateDirectory, client: AggregatorClient) -> ObservedRoster:
    """Ask for the current members, compare them with the pins, and pin new ones.

    It never confirms anybody. The caller holds the state directory's lock.

    Raises
    ------
    ConflictError
        If the keys of a known member have changed. Nothing may be sent after that.
    ProtocolError
        If the aggregator leaves this bank out.
    """
    answer = client.roster()
    members, name = answer.members, state.config.name
    if name not in [member.name for member in members]:
        raise ProtocolError(
            f"{client.url}: names the members {', '.join(one.name for one in members) or 'nobody'} "
            f"without this bank, {name}; the aggregator is at fault: ask its operator"
        )

    def add(pinned: PinnedRoster) -> PinnedRoster:
        seen = pinned.pin(members, now=int(time.time()))
        for new in seen.members.keys() - pinned.members.keys():
            _log.warning("new member %s: its keys are pinned, and not confirmed yet", new)
        return seen.add_removals(answer.removals)

    before = state.pinned_roster()
    pins = change_roster(state, add)
    for left in (pin.keys.name for pin in pins.pins if pin.left):
        if left not in [pin.keys.name for pin in before.pins if pin.left]:
            signers = ", ".join(pins.signers_of_removal(left))
            _log.warning("%s has left the consortium: removed by %s", left, signers)
    return ObservedRoster(members, pins, trust_of(state, pins))


def change_roster(
    state: StateDirectory, change: Callable[[PinnedRoster], PinnedRoster]
) -> PinnedRoster:
    """Change the pins with all that follows, and keep them before anything is done with them.

    The caller holds the state directory's lock.
    """
    rules, before = state.config.rules, state.pinned_roster()
    after = judged(
        change(before),
        tolerated_colluders=rules.tolerated_colluders,
        first_use=rules.insecure_trust_first_use,
    )
    if after != before:
        state.save_pinned_roster(after)
    return after


def trust_of(state: StateDirectory, pins: PinnedRoster) -> Trust:
    """Return whom this bank counts, by its rules."""
    rules = state.config.rules
    return Trust.of(
        pins,
        tolerated_colluders=rules.tolerated_colluders,
        first_use=rules.insecure_trust_first_use,
    )


def warn_of_first_use(trust: Trust) -> None:
    """Say with every use that nobody need have confirmed the members."""
    if trust.kind is TrustKind.FIRST_USE:
        _log.warning(
            "INSECURE: insecure_trust_first_use is set, so that members count whom nobody has "
            "confirmed; the operator of the aggregator may have made them up"
        )


def show_roster(
    state: StateDirectory, client: AggregatorClient, *, to_a_person: bool
) -> ObservedRoster:
    """Ask for the current members, and keep what a person is shown of them."""
    observed = observe_roster(state, client)
    if not to_a_person:
        return observed
    pins = change_roster(state, lambda p: p.show(observed.members, now=int(time.time())))
    return ObservedRoster(observed.members, pins, observed.trust)


def remove_member(
    state: StateDirectory, client: AggregatorClient, identity: Identity, name: str
) -> ObservedRoster:
    """Sign that a member has left, keep that, and send it; safe to repeat.

    Raises
    ------
    NotFoundError
        If no such member is pinned.
    ConfigurationError
        If it is this bank.
    """
    known, own = observe_roster(state, client).pins.members, state.config.name
    keys = known.get(name)
    if keys is None:
        raise NotFoundError(f"no member {name!r} is pinned, expected one of {', '.join(known)}")
    if name == own:
        raise ConfigurationError(
            f"--remove {name}: is this bank, whose own signature does not count; ask other members"
        )
    removal = sign_removal(identity, removed=keys, signer=own)
    change_roster(state, lambda pins: pins.add_removals([removal]))
    client.remove_member(removal)
    return observe_roster(state, client)


def uncounted(trust: Trust, names: Iterable[str]) -> list[str]:
    """Return the names, sorted, of those that this bank does not count."""
    return sorted(set(names) - trust.owners.keys())


def own_fingerprint(state: StateDirectory) -> str:
    """Return what this bank reads to the others; needs no private key."""
    config = state.config
    return fingerprint(config.name, config.signing_key, config.agreement_key)
