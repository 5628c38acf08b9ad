"""What this bank has sealed and revealed for each context of a run, before it is sent.

The pairwise masks of a contribution follow from its context alone. Two contributions under one
context would carry the same masks, and their difference would show the difference of the
statistics to anybody who holds the Paillier key and both seeds. So a contribution is written down,
durably, with the seed of its self mask before it is sent; and the box that reveals the seed, with
the commitments that it was made under, before that is sent. A program that was started again sends
those bytes again. The key that the noise of a contribution was drawn with lies beside the seed, and
goes when that goes; it is revealed to nobody.

Law: for one context at most one contribution, one seed, one key of noise and one box are ever kept,
and what is sent for it is always those bytes, whatever is killed and whenever. What the outbox has
forgotten is never made again, so a seed that was not revealed until then never is.

The file is a row of ``fraudfed.container`` records and grows at its end only. A record holds its
kind (1 byte) and its context (32). A contribution follows with the length of its secrets as the
vault has sealed them (4, big-endian), these - context, seed and, under privacy terms, the key of
the noise, 32 bytes each - and its frame; an opening with the number of commitments (4, big-endian),
these (32 each) and its frame. Frames are for others to see.
"""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from bank_node.vault.vault import NO_VAULT, Vault
from fraudfed.container import Container, Framed
from fraudfed.durable_file import append_whole, make_durable, remove_leftovers, write_atomic
from fraudfed.errors import KeyMaterialError, StateError
from fraudfed.secure_sum.context import check_digest
from fraudfed.secure_sum.faults import SumFault, sum_error
from fraudfed.secure_sum.masks.self_masks import SEED_BYTES

_RECORD = Container(
    magic=b"FFOB",
    version=3,
    what="a record of an outbox",
    advice="this bank no longer knows what it sealed and cannot continue with this run: restore "
    "the file if it is the very newest copy, or take part in a new run",
)
_DIGEST_BYTES = 32
_NO_CONTEXT = bytes(_DIGEST_BYTES)
_HEAD_BYTES = 1 + _DIGEST_BYTES
_COUNT = struct.Struct(">I")


class _Kind(IntEnum):
    USED = 1
    """Contexts whose payloads are forgotten: digests one behind the other; first record only."""
    CONTRIBUTION = 2
    OPENING = 3


@dataclass(frozen=True, slots=True)
class Kept:
    """What was sealed under a context, and revealed. Never printed whole, never pickled.

    Attributes
    ----------
    contribution : bytes or None
        The frame. None if it was forgotten after a checkpoint. The context is used up all the same.
    seed : bytes or None
        Of the contribution's self mask, 32 bytes. SECRET until ``opening`` is sent. None if it was
        forgotten: it is never revealed then.
    noise_key : bytes or None
        That the noise in the contribution was drawn with, 32 bytes. SECRET for good: it is never
        sent. None without noise, or if it was forgotten.
    opening : bytes or None
        The frame. None if it was forgotten, or never kept.
    commitments : tuple of str or None
        What ``opening`` was made and signed under, in lower-case hexadecimal; None without it.
    """

    contribution: bytes | None = field(default=None, repr=False)
    seed: bytes | None = field(default=None, repr=False)
    opening: bytes | None = field(default=None, repr=False)
    commitments: tuple[str, ...] | None = None
    noise_key: bytes | None = field(default=None, repr=False)

    def __reduce__(self) -> str:
        raise TypeError("a seed is secret and cannot be copied or pickled")


@dataclass
class _Places:
    """Where the records of a context begin and end in the file."""

    contribution: tuple[int, int] | None = None
    opening: tuple[int, int] | None = None


class Outbox:
    """The contributions and openings of one run. The caller holds the state directory's lock.

    Parameters
    ----------
    path : Path
        Made at the first ``keep`` when it is missing.
    vault : Vault
        Seals and opens the seeds.
    name : str
        What the vault knows the file by.

    Raises
    ------
    StateError
        If the file cannot be read or synced, is damaged, or was written by another release. A
        last record that a crash cut off is no damage: what it was for was never sent.
    """

    def __init__(self, path: Path, *, vault: Vault = NO_VAULT, name: str = "sealed") -> None:
        self._path = path
        self._vault, self._name = vault, name
        self._places: dict[bytes, _Places] = {}
        self._whole_bytes = 0
        remove_leftovers(path)
        # The program before may have been killed within its sync. What is found is sent again, so
        # it must be as safe as if it had been kept just now.
        make_durable(path)
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise self._unreadable(error) from error
        for record in _RECORD.unpack_row(data, source=str(path)):
            self._take(record)
            self._whole_bytes = record.end

    def __contains__(self, context_digest: str) -> bool:
        return bytes.fromhex(context_digest) in self._places

    def find(self, context_digest: str) -> Kept | None:
        """Return what was sealed under a context; None if it is not used up.

        Raises
        ------
        StateError
            If the file cannot be read, or was damaged since it was opened.
        KeyMaterialError
            If the seed does not open, or is of another context.
        """
        places = self._places.get(bytes.fromhex(context_digest))
        if places is None:
            return None
        contribution = self._payload(places.contribution)
        opening = self._payload(places.opening)
        commitments, box = (None, None) if opening is None else _split_opening(opening)
        if contribution is None:
            return Kept(opening=box, commitments=commitments)
        seed, noise_key = self._secrets_in(contribution, bytes.fromhex(context_digest))
        return Kept(
            contribution=_frame_of(contribution),
            seed=seed,
            opening=box,
            commitments=commitments,
            noise_key=noise_key,
        )

    def keep(
        self,
        context_digest: str,
        frame: bytes,
        *,
        seed: bytes,
        label: str,
        round_number: int,
        noise_key: bytes | None = None,
    ) -> None:
        """Keep a contribution; it may be sent when this returns, as it survives a crash then.

        Parameters
        ----------
        seed : bytes
            Of its self mask, 32 bytes. SECRET.
        noise_key : bytes or None
            Of the noise in it, 32 bytes. SECRET.

        Raises
        ------
        SumError
            Of kind REUSE, if the context was used before.
        StateError
            If the file cannot be written: it is as before, and nothing may be sent.
        ValueError
            If the seed or the key has another length.
        """
        for name, secret in (("seed", seed), ("key of noise", noise_key)):
            if secret is not None and len(secret) != SEED_BYTES:
                raise ValueError(f"a {name} of {len(secret)} bytes, expected {SEED_BYTES}")
        check_digest(f"sum {label!r}: context", context_digest)
        context = bytes.fromhex(context_digest)
        if context in self._places:
            raise sum_error(
                SumFault.REUSE,
                label,
                f"this bank sealed its contribution to round {round_number} before it was started "
                "again, and never seals a second one, as the two would show their difference; ask "
                "the operator for a new run",
            )
        sealed = self._vault.seal(self._name, context + seed + (noise_key or b""))
        place = self._append(_Kind.CONTRIBUTION, context, _COUNT.pack(len(sealed)), sealed, frame)
        self._places[context] = _Places(contribution=place)

    def keep_opening(
        self, context_digest: str, frame: bytes, *, commitments: Sequence[str]
    ) -> None:
        """Keep the box that reveals this bank's seed; it may be sent when this returns.

        Parameters
        ----------
        commitments : sequence of str
            Of all banks, that the box was signed under; lower-case hexadecimal.

        Raises
        ------
        StateError
            If the file cannot be written: it is as before, and nothing may be sent.
        ValueError
            If no seed is held for the context, or another box is kept for it.
        """
        context = bytes.fromhex(context_digest)
        places = self._places.get(context)
        if places is None or places.contribution is None:
            raise ValueError(f"context {context_digest}: keep its contribution before its opening")
        payload = _join_opening(commitments, frame)
        if places.opening is not None:
            if self._payload(places.opening) != payload:
                raise ValueError(f"context {context_digest}: another opening is kept already")
            return
        places.opening = self._append(_Kind.OPENING, context, payload)

    def forget_payloads(self) -> None:
        """Drop what no round will ask for again, and all secrets; the contexts stay used up.

        A seed that was not revealed is gone from the file then, so what it masks never opens. What
        a file system keeps of blocks that no file has is not in this program's hands.

        Raises
        ------
        StateError
            If the file cannot be written: it is as before.
        """
        if all(places == _Places() for places in self._places.values()):
            return
        data = _record(_Kind.USED, _NO_CONTEXT, b"".join(self._places))
        write_atomic(self._path, data)
        self._places = {context: _Places() for context in self._places}
        self._whole_bytes = len(data)

    def _append(self, kind: _Kind, context: bytes, *parts: bytes) -> tuple[int, int]:
        start, data = self._whole_bytes, _record(kind, context, *parts)
        append_whole(self._path, data, at=start, sync=True)
        self._whole_bytes += len(data)
        return start, self._whole_bytes

    def _payload(self, place: tuple[int, int] | None) -> bytes | None:
        """Read a payload; checked again, as what is sent must be what was kept."""
        if place is None:
            return None
        start, end = place
        try:
            handle = os.open(self._path, os.O_RDONLY)
            try:
                data = os.pread(handle, end - start, start)
            finally:
                os.close(handle)
        except OSError as error:
            raise self._unreadable(error) from error
        return _RECORD.unpack(data, source=f"{self._path}: byte {start}")[_HEAD_BYTES:]

    def _secrets_in(self, payload: bytes, context: bytes) -> tuple[bytes, bytes | None]:
        (size,) = _COUNT.unpack(payload[: _COUNT.size])
        opened = self._vault.unseal(self._name, payload[_COUNT.size : _COUNT.size + size])
        has_noise = len(opened) == _DIGEST_BYTES + 2 * SEED_BYTES
        if (len(opened) != _DIGEST_BYTES + SEED_BYTES and not has_noise) or opened[
            :_DIGEST_BYTES
        ] != context:
            raise KeyMaterialError(
                f"{self._path}: holds the seed of another context; somebody has put it there: "
                "restore the very newest copy, or take part in a new run"
            )
        seed_end = _DIGEST_BYTES + SEED_BYTES
        return opened[_DIGEST_BYTES:seed_end], opened[seed_end:] if has_noise else None

    def _take(self, record: Framed) -> None:
        """Take a whole record over; refuses what this program never writes."""
        place = (record.start, record.end)
        kind, context = record.content[:1], bytes(record.content[1:_HEAD_BYTES])
        places, rest = self._places.get(context), record.content[_HEAD_BYTES:]
        if kind == bytes([_Kind.USED]):
            digests = bytes(rest)
            if record.start or len(digests) % _DIGEST_BYTES or context != _NO_CONTEXT:
                raise self._damaged(record, "it is out of place")
            for begin in range(0, len(digests), _DIGEST_BYTES):
                self._places[digests[begin : begin + _DIGEST_BYTES]] = _Places()
        elif kind == bytes([_Kind.CONTRIBUTION]) and _is_contribution(rest):
            if places is not None:
                raise self._damaged(record, "it is a second contribution under one context")
            self._places[context] = _Places(contribution=place)
        elif kind == bytes([_Kind.OPENING]):
            if places is None or places.contribution is None or places.opening is not None:
                raise self._damaged(record, "it is an opening out of place")
            if not _is_opening(bytes(rest)):
                raise self._damaged(record, "its commitments are cut off")
            places.opening = place
        else:
            raise self._damaged(record, "it is of an unknown kind")

    def _damaged(self, record: Framed, what: str) -> StateError:
        return _RECORD.damaged(what, source=f"{self._path}: byte {record.start}")

    def _unreadable(self, error: OSError) -> StateError:
        return StateError(
            f"{self._path}: cannot be read ({error.strerror or error}); nothing was sent: check "
            "owner and mode"
        )


def _record(kind: _Kind, context: bytes, *parts: bytes) -> bytes:
    return _RECORD.pack(bytes([kind]), context, *parts)


def _is_contribution(payload: memoryview) -> bool:
    if len(payload) < _COUNT.size:
        return False
    size: int = _COUNT.unpack(payload[: _COUNT.size])[0]
    return size >= _DIGEST_BYTES + SEED_BYTES and len(payload) >= _COUNT.size + size


def _frame_of(contribution: bytes) -> bytes:
    (size,) = _COUNT.unpack(contribution[: _COUNT.size])
    return contribution[_COUNT.size + size :]


def _join_opening(commitments: Sequence[str], frame: bytes) -> bytes:
    digests = [bytes.fromhex(commitment) for commitment in commitments]
    return b"".join((_COUNT.pack(len(digests)), *digests, frame))


def _is_opening(payload: bytes) -> bool:
    if len(payload) < _COUNT.size:
        return False
    count: int = _COUNT.unpack(payload[: _COUNT.size])[0]
    return len(payload) >= _COUNT.size + count * _DIGEST_BYTES


def _split_opening(payload: bytes) -> tuple[tuple[str, ...], bytes]:
    (count,) = _COUNT.unpack(payload[: _COUNT.size])
    end = _COUNT.size + count * _DIGEST_BYTES
    digests = range(_COUNT.size, end, _DIGEST_BYTES)
    return tuple(payload[start : start + _DIGEST_BYTES].hex() for start in digests), payload[end:]
