"""Whom a bank counts, and with how many of them it computes: trust is a number of colluders.

Sums over a set of banks hide one bank's part from ``t`` members that put their parts together if
two more are in the set: the other one's part is what hides it. So a bank that tolerates ``t``
colluders takes part only in sets of ``t + 2`` members which its people have confirmed, itself
included; banks of one owner count as one, since one person may read what all of them hold.

Law: ``t`` never falls but by a person. It follows from the members that were confirmed (a third of
them, at least one), and the largest value is kept in the pins: neither a member that leaves nor an
aggregator that hides one lowers it.

Law: a member has left only if ``t + 1`` owners, not its own among them, have signed that. Of those
at least one does not collude.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fraudfed.consortium.roster import LEAST_COLLUDERS, PinnedRoster
from fraudfed.errors import CohortError, ConfigurationError, ForbiddenError

#: One in so many members may collude, unless a person decides otherwise.
_COLLUDING_SHARE = 3


class TrustKind(StrEnum):
    """What a bank's trust in the other members rests on."""

    CONFIRMED = "confirmed"
    """People have compared the members' keys over another channel."""
    FIRST_USE = "first-use"
    """The keys that the aggregator showed first; it could have made them up."""


@dataclass(frozen=True)
class Trust:
    """Whom this bank counts.

    Attributes
    ----------
    owners : mapping of str to str
        Who counts once, by member: confirmed members that have not left, and on first use pinned
        ones, too.
    left : frozenset of str
        Members that others have removed.
    tolerated_colluders : int
    kind : TrustKind
    """

    owners: Mapping[str, str]
    left: frozenset[str]
    tolerated_colluders: int
    kind: TrustKind

    @classmethod
    def of(cls, pins: PinnedRoster, *, tolerated_colluders: int | None, first_use: bool) -> "Trust":
        """Return the trust that follows from pins, which ``judged`` has returned.

        Parameters
        ----------
        tolerated_colluders : int or None
            What a person has written down; None takes it from the pins.
        first_use : bool
            Count members that nobody has confirmed.
        """
        t = pins.most_colluders if tolerated_colluders is None else tolerated_colluders
        return cls(
            owners=_counted(pins, first_use=first_use),
            left=frozenset(pin.keys.name for pin in pins.pins if pin.left),
            tolerated_colluders=t,
            kind=TrustKind.FIRST_USE if first_use else TrustKind.CONFIRMED,
        )

    @property
    def least_banks(self) -> int:
        """How many owners there must be in a set of banks."""
        return self.tolerated_colluders + 2

    def independent(self, banks: Iterable[str]) -> int:
        """Return how many owners of counted members there are among banks."""
        return len({self.owners[name] for name in banks if name in self.owners})

    def is_enough(self, banks: Iterable[str]) -> bool:
        """Tell whether this bank sums with these banks."""
        return self.independent(banks) >= self.least_banks

    def require_members(self, names: Iterable[str]) -> None:
        """Refuse banks that this bank does not count.

        Raises
        ------
        ForbiddenError
            Naming all that are not confirmed, or have left.
        """
        named = set(names)
        if gone := sorted(named & self.left):
            raise ForbiddenError(
                f"{', '.join(gone)} left the consortium: enough members have signed the removal; "
                "nothing was sent: the operator removes the bank, then a steward makes a new key "
                "epoch"
            )
        if unknown := sorted(named - self.owners.keys()):
            raise ForbiddenError(
                f"{', '.join(unknown)} {'are' if len(unknown) > 1 else 'is'} not confirmed at this "
                "bank, so that anybody may have made them up; nothing was sent: compare the code "
                "of `bank-node roster` with another bank on the telephone, then record it with "
                "`bank-node roster --confirm CODE`"
            )

    def require_enough(self, banks: Iterable[str], *, where: str) -> None:
        """Refuse a set of banks in which too few would have to collude.

        Raises
        ------
        CohortError
            If fewer owners are in it than this bank takes part with.
        """
        listed = list(banks)
        count = self.independent(listed)
        if count < self.least_banks:
            owners = "" if count == len(listed) else f" of {count} owners"
            raise CohortError(
                f"{where} is of {len(listed)} banks{owners} ({', '.join(listed) or 'nobody'}), "
                f"this bank takes part from {self.least_banks} on, as it tolerates "
                f"{self.tolerated_colluders} that put their parts together; nothing was sent: wait "
                "for more banks, or lower tolerated_colluders in bank.toml"
            )

    def require_complete(self, names: Iterable[str], without: Iterable[str], *, where: str) -> None:
        """Refuse a key for some of the members, unless a person names who is missing.

        Parameters
        ----------
        names : iterable of str
            The banks that the key is for.
        without : iterable of str
            Exactly the members that a person agrees to be without.

        Raises
        ------
        CohortError
            If a counted member is missing that is not named.
        ConfigurationError
            If somebody is named who is not missing.
        """
        missing, named = self.owners.keys() - set(names), set(without)
        if unnamed := sorted(missing - named):
            options = " ".join(f"--without {name}" for name in sorted(missing))
            raise CohortError(
                f"{where}: is without {', '.join(unnamed)}, which this bank counts among the "
                "members and which the members have not removed; nothing was accepted: ask them "
                "and the operator why, then have it removed (`bank-node roster --remove NAME`), or "
                f"agree to be without (`bank-node keys accept {options}`)"
            )
        if extra := sorted(named - missing):
            raise ConfigurationError(
                f"--without {', '.join(extra)}: {where} is not without it, expected "
                f"{', '.join(sorted(missing)) or 'nobody'}; name exactly the members that are "
                "missing"
            )


def judged(pins: PinnedRoster, *, tolerated_colluders: int | None, first_use: bool) -> PinnedRoster:
    """Return the pins with what follows from them: the most colluders, and who has left.

    Parameters
    ----------
    tolerated_colluders, first_use
        As for ``Trust.of``.
    """
    owners = set(_counted(pins, first_use=first_use).values())
    automatic = max(LEAST_COLLUDERS, len(owners) // _COLLUDING_SHARE)
    pins = pins.model_copy(update={"most_colluders": max(pins.most_colluders, automatic)})
    t = pins.most_colluders if tolerated_colluders is None else tolerated_colluders
    # All that leave at once do so by the signatures of those that were members before.
    while leaving := _leaving(pins, t, first_use=first_use):
        pins = pins.with_left(leaving)
    return pins


def owners_of(pins: PinnedRoster) -> dict[str, str]:
    """Return who counts once, by member: its owner, the owner's owner, or the bank itself.

    Law: two members have one owner here exactly if a chain of recorded owners joins them. Letters'
    case does not matter.
    """
    recorded = {pin.keys.name: (pin.owner or pin.keys.name).casefold() for pin in pins.pins}
    return {name: _last_owner(name, recorded) for name in recorded}


def _last_owner(name: str, recorded: Mapping[str, str]) -> str:
    passed = [name]
    while (owner := recorded.get(passed[-1], passed[-1])) not in passed:
        passed.append(owner)
    # Where banks own each other in a ring, every one of them gives the same name.
    return min(passed[passed.index(owner) :])


def _counted(pins: PinnedRoster, *, first_use: bool) -> dict[str, str]:
    owners = owners_of(pins)
    return {
        pin.keys.name: owners[pin.keys.name]
        for pin in pins.pins
        if (pin.confirmed or first_use) and not pin.left
    }


def _leaving(pins: PinnedRoster, t: int, *, first_use: bool) -> list[str]:
    owners, counted = owners_of(pins), _counted(pins, first_use=first_use)
    leaving = []
    for pin in pins.pins:
        name = pin.keys.name
        signed = {counted[one] for one in pins.signers_of_removal(name) if one in counted}
        if not pin.left and len(signed - {owners[name]}) >= t + 1:
            leaving.append(name)
    return leaving
