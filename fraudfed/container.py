"""One frame for everything that is kept or handed over in bytes of our own.

Law: what ``pack`` has framed, ``unpack`` returns; any other bytes are a ``StateError`` that says
what is wrong with them. Equal contents give equal bytes. The frame finds damage, not forgery::

    magic, version (2 bytes), length of the content (8)
    checksum of the fields above (8)
    content
    checksum of all of the above (32)

Numbers are little-endian. The checksum is SHA-256, cut to 8 bytes for the head: it is the fastest
of ``hashlib`` where the processor has instructions for it (67 microseconds for 115 kB, BLAKE2b
151), a small part of what the disk takes. The head has one of its own, so that its length can be
relied on: bytes that were cut off are told from damaged ones, and in a file of several containers
a wrong length cannot make those behind it look like one that a crash has cut off.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fraudfed.errors import StateError

_FIELDS = struct.Struct("<HQ")
_HEAD_CHECKSUM_BYTES = 8
_CHECKSUM_BYTES = 32


@dataclass(frozen=True)
class Framed:
    """One of several containers in a file.

    Attributes
    ----------
    content : memoryview
    start, end : int
        Where the container is in the file, in bytes.
    """

    content: memoryview
    start: int
    end: int


@dataclass(frozen=True)
class Container:
    """How one kind of content is framed.

    Attributes
    ----------
    magic : bytes
        Begins every container of this kind.
    version : int
        Of the meaning of the content, at most 65535; any other is refused.
    what : str
        The content's name in error texts: "a checkpoint".
    advice : str
        What to do about a damaged one, for error texts.
    """

    magic: bytes
    version: int
    what: str
    advice: str

    def pack(self, *parts: bytes | memoryview) -> bytes:
        """Return the container of ``parts``, one behind the other."""
        fields = self.magic + _FIELDS.pack(self.version, sum(map(len, parts)))
        whole = b"".join((fields, _checksum(fields)[:_HEAD_CHECKSUM_BYTES], *parts))
        return whole + _checksum(whole)

    def unpack(self, data: bytes, *, source: str) -> bytes:
        """Return the content of the one container that ``data`` is.

        Parameters
        ----------
        data : bytes
        source : str
            Where the bytes are from, for error texts: the file's name.

        Raises
        ------
        StateError
            If ``data`` is foreign, of another release, cut off, damaged, or too long.
        """
        head = self._head_bytes
        if data[: len(self.magic)] != self.magic:
            raise self.damaged(f"it does not begin as {self.what}", source=source, foreign=True)
        if len(data) < head:
            raise self.damaged(f"cut off after {len(data)} bytes", source=source)
        end = head + self._content_bytes(memoryview(data)[:head], source) + _CHECKSUM_BYTES
        if len(data) < end:
            raise self.damaged(f"cut off after {len(data)} of {end} bytes", source=source)
        if len(data) > end:
            raise self.damaged(f"{len(data) - end} bytes too many", source=source)
        if not _is_whole(memoryview(data)):
            raise self.damaged("wrong checksum", source=source)
        return data[head:-_CHECKSUM_BYTES]

    def unpack_row(self, data: bytes, *, source: str) -> Iterator[Framed]:
        """Yield the containers of a file that grows at its end, up to one that a crash cut off.

        A power cut may leave zeros that stand for nothing: they count as cut off, too.

        Raises
        ------
        StateError
            If what is not cut off is foreign, of another release, or damaged; says at which byte.
        """
        view, start, head = memoryview(data), 0, self._head_bytes
        while any(view[start:]):
            where = f"{source}: byte {start}"
            fields = view[start : start + head]
            is_cut_off = len(fields) < head
            begin = bytes(fields).rstrip(b"\0") if is_cut_off else bytes(fields)
            if not self.magic.startswith(begin[: len(self.magic)]):
                raise self.damaged(f"it does not begin as {self.what}", source=where, foreign=True)
            if is_cut_off:
                return
            end = start + head + self._content_bytes(fields, where) + _CHECKSUM_BYTES
            found = view[start:end]
            if end > len(data) or (end == len(data) and not any(found[-_CHECKSUM_BYTES:])):
                return
            if not _is_whole(found):
                raise self.damaged("wrong checksum", source=where)
            yield Framed(found[head:-_CHECKSUM_BYTES], start, end)
            start = end

    def damaged(self, what: str, *, source: str, foreign: bool = False) -> StateError:
        """Return the error for bytes whose frame, or whose content, cannot be right."""
        kind = "damaged or foreign" if foreign else "damaged"
        return StateError(f"{source}: {kind}: {what}; {self.advice}")

    @property
    def _head_bytes(self) -> int:
        return len(self.magic) + _FIELDS.size + _HEAD_CHECKSUM_BYTES

    def _content_bytes(self, head: memoryview, source: str) -> int:
        """Return the length in a head; raises StateError if the head is not of this release."""
        fields = head[:-_HEAD_CHECKSUM_BYTES]
        if _checksum(fields)[:_HEAD_CHECKSUM_BYTES] != head[-_HEAD_CHECKSUM_BYTES:]:
            raise self.damaged("wrong checksum of its head", source=source)
        version, length = _FIELDS.unpack(fields[len(self.magic) :])
        if version != self.version:
            raise StateError(
                f"{source}: written by another release (format version {version}, this release "
                f"reads {self.version}); use that release"
            )
        return int(length)


def _is_whole(container: memoryview) -> bool:
    return _checksum(container[:-_CHECKSUM_BYTES]) == container[-_CHECKSUM_BYTES:]


def _checksum(data: bytes | memoryview) -> bytes:
    return hashlib.sha256(data).digest()
