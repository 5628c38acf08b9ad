"""Write the vectors: ``PYTHONPATH=tests/support python -m protocol_vectors.make [FOLDER]``.

Every byte follows from ``material``; running it twice gives the same files.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from protocol_vectors import failures, frames, keys, rounds

FOLDER: Final = Path(__file__).parents[3] / "docs" / "vectors" / "v2"


def vectors() -> dict[str, dict[str, Any]]:
    """Return the content of every file by its name."""
    one = rounds.Round.make()
    return {
        "keys.json": keys.content(),
        "round.json": rounds.content(one),
        "frames.json": frames.content(one),
        "failures.json": failures.content(one),
    }


def texts() -> dict[str, str]:
    """Return the text of every file by its name."""
    return {name: json.dumps(one, indent=1) + "\n" for name, one in vectors().items()}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
