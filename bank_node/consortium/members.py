"""The members as this bank knows them: pinned on first sight, confirmed by people."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from bank_node.http.client import AggregatorClient
from bank_node.state.directory import StateDirectory
from fraudfed.consortium.public.fingerprint import fingerprint
from fraudfed.consortium.roster import PinnedRoster
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
    """

    members: tuple[MemberKeys, ...]
    pins: PinnedRoster


def observe_roster(state: StateDirectory, client: AggregatorClient) -> ObservedRoster:
    """Ask for the current members, compare them with the pins, and pin new ones.

    The caller holds the state directory's lock.

    Raises
    ------
    ConflictError
        If the keys of a known member have changed. Nothing may be sent after that.
    """
    members = client.roster().members
    pinned = state.pinned_roster()
    seen = pinned.pin(members, now=int(time.time()))
    for name in seen.members.keys() - pinned.members.keys():
        _log.warning("new member %s: its keys are pinned, and not confirmed yet", name)
    if seen != pinned:
        state.save_pinned_roster(seen)
    return ObservedRoster(members, seen)


def confirm_members(
    state: StateDirectory, observed: ObservedRoster, name: str | None
) -> ObservedRoster:
    """Record that the fingerprint of one member, or of all, was compared with its owner.

    Raises
    ------
    NotFoundError
        If there is no such member.
    """
    confirmed = observed.pins.confirm(name)
    state.save_pinned_roster(confirmed)
    return ObservedRoster(observed.members, confirmed)


def unconfirmed(pins: PinnedRoster, names: Iterable[str]) -> list[str]:
    """Return the names, sorted, whose fingerprints this bank has not confirmed."""
    confirmed = {pin.keys.name for pin in pins.pins if pin.confirmed}
    return sorted(set(names) - confirmed)


def own_fingerprint(state: StateDirectory) -> str:
    """Return what this bank reads to the others; needs no private key."""
    config = state.config
    return fingerprint(config.name, config.signing_key, config.agreement_key)
