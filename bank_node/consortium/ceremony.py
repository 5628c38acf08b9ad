"""The key ceremony at one bank: make a key epoch as its steward, or accept another bank's."""

import logging
from collections.abc import Collection
from dataclasses import dataclass

from bank_node.consortium.connection import Connection
from bank_node.consortium.members import ObservedRoster, warn_of_first_use
from bank_node.http.client import AggregatorClient
from bank_node.state.directory import StateDirectory
from fraudfed.consortium.key_ceremony import (
    acknowledge,
    check_key_epoch,
    open_key_epoch,
    seal_key_package,
)
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.errors import ConfigurationError, ConflictError, KeyMaterialError, NotFoundError
from fraudfed.wire.messages import KeyEpoch, KeyEpochState, KeyEpochStatus, PublicKeyMessage

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AcceptedEpoch:
    """A key epoch that this bank has checked, and its key.

    Attributes
    ----------
    key_epoch : KeyEpoch
    package : KeyPackage
    missing : tuple of str
        Members that have not acknowledged it yet.
    active : bool
        Runs may use it.
    """

    key_epoch: KeyEpoch
    package: KeyPackage
    missing: tuple[str, ...]
    active: bool


def create_epoch(
    state: StateDirectory,
    connection: Connection,
    observed: ObservedRoster,
    *,
    key_bits: int,
    rotate: bool,
    without: Collection[str] = (),
) -> AcceptedEpoch:
    """Make a key package, seal it to the current members, publish and accept it.

    Parameters
    ----------
    without : collection of str
        Exactly the members that have not left and that a person agrees to make it without.
    rotate : bool
        Whether there is an epoch already that the new one follows.

    Raises
    ------
    ConfigurationError
        If there is an epoch and ``rotate`` is not set, or none and it is set.
    ForbiddenError
        If a current member is not confirmed, or has left.
    CohortError
        If a member is missing that has not left.
    ConflictError
        If another steward was faster, or the members changed meanwhile.
    """
    client, name = connection.client, state.config.name
    last = _last_epoch(state, client)
    if rotate and last == 0:
        raise ConfigurationError(
            "there is no key epoch yet that could be rotated; use 'bank-node keys create'"
        )
    if not rotate and last > 0:
        raise ConfigurationError(
            f"there is key epoch {last} already; use 'bank-node keys accept' to take its key, or "
            "'bank-node keys rotate' for a new one"
        )
    names = [member.name for member in observed.members]
    _require_whole(observed, names, without, where=f"key epoch {last + 1}")
    key_epoch = seal_key_package(
        KeyPackage.generate(key_bits),
        epoch=last + 1,
        steward=connection.identity,
        steward_name=name,
        roster=observed.members,
    )
    client.create_epoch(key_epoch)
    _log.info("key epoch %d is published, sealed to %s", last + 1, ", ".join(names))
    # The package is taken from this bank's own box, as every other member does.
    return accept_epoch(state, connection, observed, last + 1, without=without)


def accept_epoch(
    state: StateDirectory,
    connection: Connection,
    observed: ObservedRoster,
    number: int | None = None,
    *,
    without: Collection[str] = (),
) -> AcceptedEpoch:
    """Check a key epoch against the pins, keep its key, and acknowledge it; safe to repeat.

    Parameters
    ----------
    number : int or None
        None takes the latest.
    without : collection of str
        Exactly the members that have not left and that a person agrees to be without.

    Raises
    ------
    KeyMaterialError
        If it is older than one accepted before, is not signed by its steward, has a member that
        is not pinned, or this bank's box does not hold the announced key.
    ConflictError
        If its members' keys are not the pinned ones, the aggregator has shown another epoch under
        this number before, or it serves as the latest one that is older than this bank's.
    ForbiddenError
        If a member of it is not confirmed, or has left.
    CohortError
        If it is without a member that has not left.
    """
    client, name = connection.client, state.config.name
    status = client.epoch(number)
    key_epoch = status.key_epoch
    held = state.epochs()
    if number is None:
        _refuse_older(client, key_epoch.epoch, max(held, default=0))
    known = state.key_epoch(key_epoch.epoch)
    if known is not None and known != key_epoch:
        raise ConflictError(
            f"key epoch {key_epoch.epoch}: the aggregator serves another one than this bank "
            "accepted under this number; it shows banks different keys: call the others before "
            "anything else"
        )
    pinned, oldest = observed.pins.members, max(held, default=1)
    if key_epoch.epoch in held:
        check_key_epoch(key_epoch, pinned=pinned)
        package = _held_package(state, key_epoch)
    else:
        check_key_epoch(key_epoch, pinned=pinned, first_allowed=oldest)
        names = [member.name for member in key_epoch.roster]
        _require_whole(observed, names, without, where=f"key epoch {key_epoch.epoch}")
        package = open_key_epoch(
            key_epoch, connection.identity, name, pinned=pinned, first_allowed=oldest
        )
        state.save_epoch(key_epoch, package)
        _log.info("key epoch %d of steward %s is accepted", key_epoch.epoch, key_epoch.steward)
    if name not in {one.bank for one in status.acknowledged}:
        status = client.acknowledge(acknowledge(key_epoch, connection.identity, name))
    return AcceptedEpoch(key_epoch, package, _missing(status), _is_active(status))


def _last_epoch(state: StateDirectory, client: AggregatorClient) -> int:
    try:
        last = client.epoch().key_epoch.epoch
    except NotFoundError:
        last = 0
    _refuse_older(client, last, max(state.epochs(), default=0))
    return last


def _refuse_older(client: AggregatorClient, latest: int, held: int) -> None:
    """Refuse a latest epoch that is not this bank's latest; 0 stands for none."""
    if latest < held:
        raise ConflictError(
            f"{client.url}: says that the latest key epoch is {latest or 'none'}, this bank has "
            f"accepted epoch {held}; the aggregator has lost it or hides it: ask its operator"
        )


def _held_package(state: StateDirectory, key_epoch: KeyEpoch) -> KeyPackage:
    package = state.key_package(key_epoch.epoch)
    if PublicKeyMessage.model_validate(package.public_key.to_hex()) != key_epoch.public_key:
        raise KeyMaterialError(
            f"key epoch {key_epoch.epoch}: this bank's key file holds another key than the epoch "
            "announces; restore the state directory from a backup"
        )
    return package


def _require_whole(
    observed: ObservedRoster, names: Collection[str], without: Collection[str], *, where: str
) -> None:
    """Hand or take a key only for all members that this bank counts, and for nobody else."""
    warn_of_first_use(observed.trust)
    observed.trust.require_members(names)
    observed.trust.require_complete(names, without, where=where)


def _missing(status: KeyEpochStatus) -> tuple[str, ...]:
    done = {one.bank for one in status.acknowledged}
    return tuple(member.name for member in status.key_epoch.roster if member.name not in done)


def _is_active(status: KeyEpochStatus) -> bool:
    return status.state is KeyEpochState.ACTIVE
