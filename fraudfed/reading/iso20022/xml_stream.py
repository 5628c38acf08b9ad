"""Elements of an XML file one after the other; nothing is expanded, fetched or kept.

An XML file can name entities that grow to gigabytes when they are expanded, or that are other files
or addresses ("XML Schema, DTD, and Entity Attacks", T. D. Morgan, O. Al Ibrahim, 2014). Both need a
document type declaration, which no ISO 20022 message has: a file with one is refused before its
first element is parsed. Behind that the parser expands no entity, loads no document type, uses no
network, and holds to libxml2's limits of depth and of the length of a text.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lxml import etree

from fraudfed.errors import DataError
from fraudfed.foreign_text import visible

#: Bytes parsed at a time.
_CHUNK: Final = 1 << 16
#: What stands before the first element is shorter than this.
_LONGEST_PROLOG: Final = 1 << 16
_BOM: Final = b"\xef\xbb\xbf"
#: Blanks, the XML declaration and other instructions, and comments (XML 1.0, production 27).
_PROLOG: Final = re.compile(rb"(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_ENCODING: Final = re.compile(rb"<\?xml\s[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
#: Of which every text is UTF-8.
_ENCODINGS: Final = ("utf-8", "utf8", "us-ascii", "ascii")
_SHOWN_CHARACTERS: Final = 120


def elements(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield ``start`` and ``end`` of every element of a file, with the element.

    At its start an element has a name and attributes, at its end all that is in it. The
    caller says with ``release`` that an element is no longer needed.

    Parameters
    ----------
    path : Path
        UTF-8.

    Raises
    ------
    DataError
        If it is no XML of UTF-8, is not well formed, or has a document type declaration.
    """
    try:
        with path.open("rb") as stream:
            _check_prolog(stream.read(_LONGEST_PROLOG), path)
            stream.seek(0)
            parser = _parser()
            is_first = True
            while chunk := stream.read(_CHUNK):
                parser.feed(chunk)
                for event, element in parser.read_events():
                    if is_first:
                        # Never so after the check above: it does not rest on one defence.
                        _refuse_document_type(element, path)
                        is_first = False
                    yield event, element
        parser.close()
        yield from parser.read_events()
    except etree.XMLSyntaxError as error:
        line = f"line {error.lineno}: " if error.lineno else ""
        reason = visible(error.msg or "", _SHOWN_CHARACTERS)
        raise DataError(
            f"{path}: {line}is not well-formed XML ({reason}); the file is damaged or cut off, or "
            "is no XML of UTF-8"
        ) from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
        ) from error


def _parser() -> Any:
    return etree.XMLPullParser(
        events=("start", "end"),
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        no_network=True,
        huge_tree=False,
        recover=False,
        collect_ids=False,
        remove_comments=True,
        remove_pis=True,
    )


def release(element: Any) -> None:
    """Free an element whose end has come, and what stands before it under the same parent."""
    element.clear()
    parent = element.getparent()
    if parent is not None:
        while element.getprevious() is not None:
            del parent[0]


def _check_prolog(start: bytes, path: Path) -> None:
    if not start.strip():
        raise DataError(f"{path}: the file is empty, expected an XML message")
    content = start.removeprefix(_BOM)
    prolog = _PROLOG.match(content)
    rest = content if prolog is None else content[prolog.end() :]
    if rest[:9].upper() == b"<!DOCTYPE":
        raise DataError(
            f"{path}: has a document type declaration (DOCTYPE), which can fill the memory or "
            "fetch other files, expected none as in every ISO 20022 message; the file is not read"
        )
    if not re.match(rb"<[^!?\s]", rest):
        what = (
            "more than 64 KiB before its first element"
            if len(start) == _LONGEST_PROLOG
            else (
                f"{visible(repr(rest[:20]), _SHOWN_CHARACTERS)} where its first element should be"
            )
        )
        raise DataError(
            f"{path}: is no XML of UTF-8: it has {what}; export the message as XML in UTF-8"
        )
    declared = _ENCODING.match(content)
    if declared is not None and declared[1].decode().lower() not in _ENCODINGS:
        raise DataError(
            f"{path}: declares the encoding {declared[1].decode()}, expected UTF-8 as ISO 20022 "
            "lays down; convert the file"
        )


def _refuse_document_type(element: Any, path: Path) -> None:
    if element.getroottree().docinfo.internalDTD is not None:
        raise DataError(f"{path}: has a document type declaration; it is not read")
