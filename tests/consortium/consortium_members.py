"""Members with real keys for the tests of the consortium."""

from collections.abc import Iterator

from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import seal_key_package
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.wire.messages import KeyEpoch, MemberKeys

NAMES = ("alder", "birch", "cedar")


class Members:
    """Identities by name, and the roster of all of them."""

    def __init__(self, names: tuple[str, ...] = NAMES) -> None:
        self.identities = {name: Identity.generate() for name in sorted(names)}

    def __getitem__(self, name: str) -> Identity:
        return self.identities[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.identities)

    @property
    def roster(self) -> tuple[MemberKeys, ...]:
        return tuple(identity.member(name) for name, identity in self.identities.items())

    @property
    def pinned(self) -> dict[str, MemberKeys]:
        return {member.name: member for member in self.roster}

    def seal(self, package: KeyPackage, *, epoch: int = 1, steward: str = "alder") -> KeyEpoch:
        return seal_key_package(
            package,
            epoch=epoch,
            steward=self[steward],
            steward_name=steward,
            roster=self.roster,
        )


def flip(text: str, position: int, character: str) -> str:
    """Replace one character."""
    return text[:position] + character + text[position + 1 :]
