"""Which paths hold ISO 20022 messages, and what columns they have; needs no XML library."""

import os
from pathlib import Path
from typing import Final

from fraudfed.reading.iso20022.pacs008 import COLUMNS

SUFFIX: Final = ".xml"
#: Where a transfer stands: which one of which message it is.
PLACE: Final = "Place"
#: Columns of the table.
MESSAGE_COLUMNS: Final = (*COLUMNS, PLACE)


def is_messages(path: Path) -> bool:
    """Tell whether a path is a file of messages by its suffix, or a folder with such files."""
    if path.is_dir():
        return bool(message_files(path))
    return path.suffix.lower() == SUFFIX


def message_files(path: Path) -> list[Path]:
    """Return the files of a folder in the order of their names, or the one file."""
    if not path.is_dir():
        return [path]
    return sorted(
        (file for file in path.iterdir() if file.suffix.lower() == SUFFIX and file.is_file()),
        key=lambda file: os.fsencode(file.name),
    )
