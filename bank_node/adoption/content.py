"""What a member hands to a newcomer: a signed statement, and the results sealed to the newcomer.

A file of it is a ``fraudfed.container`` of the statement, one line of JSON, and the sealed box
(HPKE, as key packages are sealed). The box holds a container of its own: one line of JSON, the
head, and the plain results one behind the other. Nothing in it is believed for being in it:
``bank_node.adoption.verify`` holds every part against what the members have signed.
"""

import json
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from pydantic import BaseModel, ConfigDict, Field

from bank_node.state.pinned_run import PinnedRun
from fraudfed.consortium.identity import HPKE_SUITE, Identity
from fraudfed.consortium.public.shares import sealed_share_bytes
from fraudfed.container import Container
from fraudfed.errors import KeyMaterialError, ProtocolError, StateError
from fraudfed.wire.messages import ModelSignatures, RunShare, Sha256, parse

_ADVICE = "take another copy from the bank that shared the run"
_FILE = Container(magic=b"FFSHARE\n", version=1, what="a shared run", advice=_ADVICE)
_BOX = Container(magic=b"FFSHARED", version=1, what="results of a shared run", advice=_ADVICE)
#: Tables of years for a large consortium are some hundred megabytes.
MOST_SHARE_BYTES = 1 << 30


class _Head(BaseModel):
    """What stands in front of the results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tuple[PinnedRun, ...]
    sizes: tuple[Annotated[int, Field(ge=0)], ...]
    hash_keys: tuple[Sha256 | None, ...]
    signatures: ModelSignatures


@dataclass(frozen=True)
class Held:
    """The result of one run as a member holds it. Never leaves a bank but sealed.

    Attributes
    ----------
    run : PinnedRun
    content : bytes
        The plain result.
    hash_key : bytes of length 32, or None
        The key that finds identifiers in it; None in a model.
    """

    run: PinnedRun
    content: bytes
    hash_key: bytes | None = None


@dataclass(frozen=True)
class Content:
    """The results of a share, the model first, and the signatures over the model.

    Attributes
    ----------
    held : tuple of Held
    signatures : ModelSignatures
    """

    held: tuple[Held, ...]
    signatures: ModelSignatures

    def to_bytes(self) -> bytes:
        """Return the content of a box."""
        head = _Head(
            runs=tuple(each.run for each in self.held),
            sizes=tuple(len(each.content) for each in self.held),
            hash_keys=tuple(
                None if each.hash_key is None else each.hash_key.hex() for each in self.held
            ),
            signatures=self.signatures,
        )
        return _BOX.pack(_line(head), *(each.content for each in self.held))

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str) -> "Content":
        """Read the content of a box.

        Raises
        ------
        StateError, ProtocolError
            If it is none.
        """
        line, _, body = _BOX.unpack(data, source=source).partition(b"\n")
        head = parse(_Head, line, source=source)
        if len(head.sizes) != len(head.runs) or len(head.hash_keys) != len(head.runs):
            raise _BOX.damaged("its head does not fit itself", source=source)
        ends = list(accumulate(head.sizes, initial=0))
        if ends[-1] != len(body):
            raise _BOX.damaged(f"{len(body)} bytes of results, not {ends[-1]}", source=source)
        parts = [body[start:end] for start, end in pairwise(ends)]
        return cls(
            tuple(
                Held(run, part, None if key is None else bytes.fromhex(key))
                for run, part, key in zip(head.runs, parts, head.hash_keys, strict=True)
            ),
            head.signatures,
        )


@dataclass(frozen=True)
class SealedShare:
    """What one member hands over.

    Attributes
    ----------
    share : RunShare
        Signed, and not checked here.
    box : bytes
        Only the newcomer opens it; empty for a signature alone.
    source : str
        Where it is from, for error texts.
    """

    share: RunShare
    box: bytes
    source: str

    @classmethod
    def seal(cls, share: RunShare, content: Content) -> "SealedShare":
        """Seal results to the newcomer of a share."""
        newcomer = share.newcomer
        recipient = X25519PublicKey.from_public_bytes(bytes.fromhex(newcomer.agreement_key))
        box = HPKE_SUITE.encrypt(content.to_bytes(), recipient, info=_info(share))
        return cls(share, box, f"share of {share.bank}")

    def without_box(self) -> "SealedShare":
        """Return the signature alone, for where another bank hands over the same results."""
        return replace(self, box=b"")

    def open(self, identity: Identity) -> Content:
        """Open the box.

        Raises
        ------
        KeyMaterialError
            If it was sealed to another bank, by another one, for another run, or altered.
        StateError, ProtocolError
            If there are no results in it.
        """
        try:
            data = identity.unseal(self.box, info=_info(self.share))
        except KeyMaterialError:
            raise KeyMaterialError(
                f"{self.source}: does not open with this bank's key; it was altered, or belongs to "
                f"another share: ask {self.share.bank} to share the run again"
            ) from None
        return Content.from_bytes(data, source=self.source)

    def to_bytes(self) -> bytes:
        """Return the file of the share."""
        return _FILE.pack(_line(self.share), self.box)

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str) -> "SealedShare":
        """Read a file's bytes; raises StateError or ProtocolError if they are no share."""
        line, _, box = _FILE.unpack(data, source=source).partition(b"\n")
        return cls(parse(RunShare, line, source=source), box, source)

    @classmethod
    def read(cls, path: Path) -> "SealedShare":
        """Read a file that ``runs share --out`` wrote.

        Raises
        ------
        StateError, ProtocolError
            If it cannot be read, or is no share.
        """
        try:
            with path.open("rb") as file:
                data = file.read(MOST_SHARE_BYTES + 1)
        except OSError as error:
            raise StateError(
                f"{path}: cannot be read ({error.strerror or error}); name the file that "
                "'bank-node runs share --out' wrote"
            ) from error
        if len(data) > MOST_SHARE_BYTES:
            raise StateError(
                f"{path}: has more than {MOST_SHARE_BYTES} bytes, expected a shared run; name the "
                "file that 'bank-node runs share --out' wrote"
            )
        try:
            return cls.from_bytes(data, source=str(path))
        except ProtocolError as error:
            raise StateError(f"{error}; {_ADVICE}") from None


def _info(share: RunShare) -> bytes:
    return sealed_share_bytes(run_id=share.model.run_id, bank=share.bank, newcomer=share.newcomer)


def _line(message: BaseModel) -> bytes:
    document = message.model_dump(mode="json")
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"
