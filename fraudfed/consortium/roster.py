"""Pins: the keys that this bank first saw of every member, and what its people know of each.

Law: once a name is pinned, its keys never change here. An aggregator that shows other keys for a
known name is refused, and nothing is sent to it afterwards. A member that left stays pinned, so
that nobody else can come back under its name; a bank that made new keys joins under a new name.

Law: only what a person was shown is ever confirmed. What is shown is kept here with its keys, so
that confirming needs no network and cannot confirm a member that came in between.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fraudfed.consortium.public.documents import check_member_keys, verify_removal
from fraudfed.consortium.public.fingerprint import fingerprint, is_roster_code, roster_code
from fraudfed.durable_file import write_atomic
from fraudfed.errors import (
    ConfigurationError,
    ConflictError,
    KeyMaterialError,
    NotFoundError,
    StateError,
)
from fraudfed.wire.messages import MemberKeys, MemberRemoval, Members

#: Raised when the meaning of the file changes.
FORMAT_VERSION = 1
_FORMAT = "fraudfed pinned roster"
_LONGEST_OWNER = 100
#: One bank alone may always be a colluder.
LEAST_COLLUDERS = 1


class Pin(BaseModel):
    """One member as this bank first saw it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: MemberKeys
    confirmed: bool
    """Whether somebody at this bank has compared its keys with the member's own."""
    first_seen: int
    """UTC epoch seconds."""
    owner: Annotated[str, Field(min_length=1, max_length=_LONGEST_OWNER)] | None = None
    """To whom the bank belongs, as a person recorded it; None for itself."""
    left: bool = False
    """Whether enough members have signed its removal; never taken back."""

    @property
    def fingerprint(self) -> str:
        """What the two banks read to each other."""
        return fingerprint(self.keys.name, self.keys.signing_key, self.keys.agreement_key)


class Shown(BaseModel):
    """The members that a person was last shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: Members
    at: int
    """UTC epoch seconds."""

    @property
    def code(self) -> str:
        """The one code for all of them."""
        return roster_code(self.members)


class PinnedRoster(BaseModel):
    """All pins of a bank, its own among them, sorted by name.

    Attributes
    ----------
    pins : tuple of Pin
    shown : Shown or None
        What a person was shown last, and may confirm.
    most_colluders : int
        The largest number of colluders that followed from these members so far.
    removals : tuple of MemberRemoval
        Signed by members of ``pins``, sorted by removed bank and signer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pins: tuple[Pin, ...]
    shown: Shown | None = None
    most_colluders: Annotated[int, Field(ge=LEAST_COLLUDERS)] = LEAST_COLLUDERS
    removals: tuple[MemberRemoval, ...] = ()

    @model_validator(mode="after")
    def _sorted_and_distinct(self) -> "PinnedRoster":
        names = [pin.keys.name for pin in self.pins]
        if names != sorted(set(names)):
            raise ValueError("pins must be distinct and sorted by name")
        return self

    @classmethod
    def of(cls, own: MemberKeys, *, now: int) -> "PinnedRoster":
        """Start with the bank's own keys, confirmed: others can never show it different ones."""
        return cls(pins=(Pin(keys=own, confirmed=True, first_seen=now),))

    @property
    def members(self) -> Mapping[str, MemberKeys]:
        """The pinned keys by name, those of banks that left among them."""
        return {pin.keys.name: pin.keys for pin in self.pins}

    def pin(self, members: Iterable[MemberKeys], *, now: int) -> "PinnedRoster":
        """Check members against the pins, and pin those that are new (not confirmed yet).

        Raises
        ------
        ConflictError
            If a known member comes with other keys, or a new one with the keys of another.
        KeyMaterialError
            If a new member's keys are unusable.
        """
        pins = self._by_name()
        for member in members:
            pin = pins.get(member.name)
            if pin is None:
                check_member_keys(member)
                _check_keys_are_new(member, pins.values())
                pins[member.name] = Pin(keys=member, confirmed=False, first_seen=now)
            elif pin.keys != member:
                shown = fingerprint(member.name, member.signing_key, member.agreement_key)
                raise ConflictError(
                    f"keys of {member.name} have CHANGED: fingerprint {shown}, pinned is "
                    f"{pin.fingerprint}; nothing was sent: call {member.name}, and if it did make "
                    "new keys, it has to join under a new name"
                )
        return self._with(pins)

    def show(self, members: Iterable[MemberKeys], *, now: int) -> "PinnedRoster":
        """Record that a person is shown these members, each of which is pinned."""
        return self.model_copy(update={"shown": Shown(members=tuple(members), at=now)})

    def confirm(self, members: Iterable[MemberKeys]) -> "PinnedRoster":
        """Record that these keys were compared with their owners'.

        Raises
        ------
        ConflictError
            If one of them is not pinned with these keys.
        """
        pins = self._by_name()
        for member in members:
            pin = pins.get(member.name)
            if pin is None or pin.keys != member:
                raise ConflictError(
                    f"{member.name} is not pinned with the keys that were shown; nothing was "
                    "confirmed: show the roster again with `bank-node roster`"
                )
            pins[member.name] = pin.model_copy(update={"confirmed": True})
        return self._with(pins)

    def confirm_shown(self, code: str | None = None) -> "PinnedRoster":
        """Record that the code of the roster was compared: confirm exactly what was shown last.

        Parameters
        ----------
        code : str or None
            What another bank read out; None if the person compared it with what was shown.

        Raises
        ------
        ConfigurationError
            If ``code`` cannot be a code.
        ConflictError
            If it is not that of what was shown.
        NotFoundError
            If nothing was ever shown.
        """
        shown = self._require_shown()
        if code is not None and not is_roster_code(code, shown.members):
            names = ", ".join(member.name for member in shown.members)
            raise ConflictError(
                f"the code is not that of the roster which this bank showed last ({names}); "
                "nothing was confirmed: show it again with `bank-node roster` at both banks, as "
                "another bank may have joined or left in between; if the codes still differ, "
                "compare the members one by one, and do not work with this aggregator until they "
                "agree"
            )
        return self.confirm(shown.members)

    def confirm_member(self, name: str) -> "PinnedRoster":
        """Record that the fingerprint of one member, which was shown, was compared.

        Raises
        ------
        NotFoundError
            If no such member was shown.
        """
        shown = self._require_shown()
        found = [member for member in shown.members if member.name == name]
        if not found:
            raise NotFoundError(
                f"no member {name!r} was shown, expected one of "
                f"{', '.join(member.name for member in shown.members)}; show the current members "
                "with `bank-node roster`"
            )
        return self.confirm(found)

    def _require_shown(self) -> Shown:
        if self.shown is None:
            raise NotFoundError(
                "no roster was shown to anybody yet, so that there is nothing to confirm; show it "
                "with `bank-node roster` and compare its code with another bank's"
            )
        return self.shown

    def own(self, name: str, owner: str | None) -> "PinnedRoster":
        """Record to whom a bank belongs; None for itself.

        Raises
        ------
        NotFoundError
            If there is no such pin.
        ConfigurationError
            If ``owner`` is no name.
        """
        pins = self._by_name()
        if name not in pins:
            raise NotFoundError(
                f"no member {name!r} is pinned, expected one of {', '.join(pins)}; fetch the "
                "roster with `bank-node roster`"
            )
        text = None if owner is None else " ".join(owner.split())
        if text is not None and not (text.isprintable() and 1 <= len(text) <= _LONGEST_OWNER):
            raise ConfigurationError(
                f"owner of {name} is {owner!r}: expected a name of 1 to {_LONGEST_OWNER} "
                "printable characters"
            )
        pins[name] = pins[name].model_copy(update={"owner": text})
        return self._with(pins)

    def add_removals(self, removals: Iterable[MemberRemoval]) -> "PinnedRoster":
        """Keep the removals that members have signed; what is forged is left out.

        Kept is only what both the signer's and the removed bank's pin agree with, one signature for
        each signer.
        """
        kept = {(one.removed.name, one.signer): one for one in self.removals}
        pins = self.members
        for removal in removals:
            signer = pins.get(removal.signer)
            place = (removal.removed.name, removal.signer)
            if signer is None or place in kept or pins.get(place[0]) != removal.removed:
                continue
            try:
                verify_removal(removal, signer.signing_key)
            except KeyMaterialError:
                continue
            kept[place] = removal
        return self.model_copy(update={"removals": tuple(kept[place] for place in sorted(kept))})

    def signers_of_removal(self, name: str) -> tuple[str, ...]:
        """Return who has signed that a member has left, sorted."""
        return tuple(one.signer for one in self.removals if one.removed.name == name)

    def with_left(self, names: Iterable[str]) -> "PinnedRoster":
        """Record that members have left."""
        left = {name: {"left": True} for name in names}
        pins = {
            name: pin.model_copy(update=left.get(name, {})) for name, pin in self._by_name().items()
        }
        return self._with(pins)

    def _by_name(self) -> dict[str, Pin]:
        return {pin.keys.name: pin for pin in self.pins}

    def _with(self, pins: Mapping[str, Pin]) -> "PinnedRoster":
        return self.model_copy(update={"pins": tuple(pins[name] for name in sorted(pins))})


def _check_keys_are_new(member: MemberKeys, pins: Iterable[Pin]) -> None:
    for pin in pins:
        if (
            member.signing_key == pin.keys.signing_key
            or member.agreement_key == pin.keys.agreement_key
        ):
            raise ConflictError(
                f"{member.name} comes with a key of {pin.keys.name}; expected keys of its own: "
                "call both before anything else"
            )


def load_roster(path: Path) -> PinnedRoster:
    """Read the pins.

    Raises
    ------
    StateError
        If the file is missing, unreadable, or not one that ``save_roster`` wrote. It is never taken
        for an empty one: deleting the pins would let all keys be trusted anew.
    """
    try:
        fields = json.loads(path.read_bytes())
        if fields["format"] != _FORMAT or fields["version"] != FORMAT_VERSION:
            raise StateError(
                f"{path}: pinned roster has format {fields['format']!r} and version "
                f"{fields['version']!r}, expected {_FORMAT!r} and {FORMAT_VERSION}; use the "
                "fraudfed release that made it"
            )
        return PinnedRoster.model_validate_json(json.dumps(fields["roster"]))
    except OSError as error:
        raise StateError(
            f"{path}: pinned roster cannot be read ({error.strerror}); restore it from a backup"
        ) from error
    except (ValidationError, ValueError, KeyError, TypeError):
        raise StateError(
            f"{path}: not a pinned roster, expected the file that `bank-node` writes; restore it "
            "from a backup"
        ) from None


def save_roster(path: Path, roster: PinnedRoster) -> None:
    """Write the pins (mode 0600), atomically.

    Raises
    ------
    StateError
        If the file cannot be written.
    """
    fields = {
        "format": _FORMAT,
        "version": FORMAT_VERSION,
        "roster": roster.model_dump(mode="json"),
    }
    write_atomic(path, json.dumps(fields, indent=1).encode() + b"\n")
