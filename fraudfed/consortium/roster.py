"""Pins: the keys that this bank first saw of every member, and whether it has confirmed them.

Law: once a name is pinned, its keys never change here. An aggregator that shows other keys for a
known name is refused, and nothing is sent to it afterwards. A member that left stays pinned, so
that nobody else can come back under its name; a bank that made new keys joins under a new name.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from fraudfed.consortium.public.documents import check_member_keys
from fraudfed.consortium.public.fingerprint import fingerprint
from fraudfed.durable_file import write_atomic
from fraudfed.errors import ConflictError, ForbiddenError, NotFoundError, StateError
from fraudfed.wire.messages import MemberKeys

#: Raised when the meaning of the file changes.
FORMAT_VERSION = 1
_FORMAT = "fraudfed pinned roster"


class Pin(BaseModel):
    """One member as this bank first saw it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: MemberKeys
    confirmed: bool
    """Whether somebody at this bank has compared the fingerprint with the member's own."""
    first_seen: int
    """UTC epoch seconds."""

    @property
    def fingerprint(self) -> str:
        """What the two banks read to each other."""
        return fingerprint(self.keys.name, self.keys.signing_key, self.keys.agreement_key)


class PinnedRoster(BaseModel):
    """All pins of a bank, its own among them, sorted by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pins: tuple[Pin, ...]

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
        pins = {pin.keys.name: pin for pin in self.pins}
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
        return PinnedRoster(pins=tuple(pins[name] for name in sorted(pins)))

    def confirm(self, name: str | None = None) -> "PinnedRoster":
        """Record that fingerprints were compared: of one member, or of all.

        Raises
        ------
        NotFoundError
            If there is no such pin.
        """
        if name is not None and name not in self.members:
            raise NotFoundError(
                f"no member {name!r} is pinned, expected one of {', '.join(self.members)}; fetch "
                "the roster with `bank-node roster`"
            )
        return PinnedRoster(
            pins=tuple(
                pin.model_copy(update={"confirmed": True})
                if name is None or pin.keys.name == name
                else pin
                for pin in self.pins
            )
        )

    def require_confirmed(self, names: Iterable[str]) -> None:
        """Refuse a cohort with a member whose fingerprint nobody compared.

        Raises
        ------
        ForbiddenError
            Naming all members that are not pinned and confirmed.
        """
        confirmed = {pin.keys.name for pin in self.pins if pin.confirmed}
        missing = sorted(set(names) - confirmed)
        if missing:
            raise ForbiddenError(
                f"fingerprints of {', '.join(missing)} are not confirmed, but confirmed ones are "
                "required; compare them on the telephone (`bank-node roster`), then run "
                f"`bank-node roster --confirm {missing[0]}`"
            )


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
