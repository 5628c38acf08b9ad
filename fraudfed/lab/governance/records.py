"""The records of a run that documents are made of: files of one bank's state directory.

Nothing is computed anew: whatever a document states stands in one of these files, and is found
there again by the name of the file and an RFC 6901 pointer.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fraudfed.errors import ConfigurationError, StateError

#: Files of a run, below its directory; the first two are there of every finished run. Those of
#: attacks are what ``fraudfed attack`` printed with ``--json``; a person puts them there.
RUN_FILES: Final = (
    "run.json",
    "record.json",
    "search.json",
    "judged.json",
    "calibration.json",
    "evaluation/evaluation.json",
    "attacks/membership.json",
    "attacks/reconstruction.json",
    "attacks/differencing.json",
)
#: Reports of ``bank-node monitor``: their names begin with the week and end with the run.
MONITORING: Final = "serving/monitoring"
#: What ``bank-node outcomes report`` found last.
OUTCOMES_FILE: Final = "serving/outcomes.json"
#: Files of the bank, below its state directory.
BANK_FILES: Final = ("serving/lifecycle.json", OUTCOMES_FILE)
#: A run id is a directory name.
_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
#: Bytes of the result that the members have signed, one file after the other, by kind of run.
_SIGNED: Final[Mapping[str, tuple[str, ...]]] = {
    "training": ("model.json",),
    "search": ("search.json", "model.json"),
}


@dataclass(frozen=True, eq=False)
class Records:
    """What a bank's state directory says of a run.

    Attributes
    ----------
    run_id : str
    documents : mapping of str to JSON value
        By file, of those that exist.
    sha256 : mapping of str to str
        Of each of these files.
    result_sha256 : str or None
        Of the result's own bytes; None of kinds of runs without a model.
    """

    run_id: str
    documents: Mapping[str, Any]
    sha256: Mapping[str, str]
    result_sha256: str | None = field(default=None)

    @classmethod
    def read(cls, state: Path, run_id: str) -> "Records":
        """Read what there is of a run.

        Raises
        ------
        StateError
            If the run is not there or not finished, or a file is no JSON.
        ConfigurationError
            If ``run_id`` can be none.
        """
        if _RUN_ID.fullmatch(run_id) is None:
            raise ConfigurationError(
                f"run {run_id!r}: is no run id, expected up to 100 letters, digits, - and _; take "
                "the one that `bank-node status` prints"
            )
        directory = state / "runs" / run_id
        if not (directory / "record.json").is_file():
            raise StateError(
                f"{state}: holds no finished run {run_id}, expected runs/{run_id}/record.json; "
                "`bank-node status` lists the runs"
            )
        documents: dict[str, Any] = {}
        sha256: dict[str, str] = {}
        of_bank = (*BANK_FILES, *_last_report(state, run_id))
        for root, names in ((directory, RUN_FILES), (state, of_bank)):
            for name in names:
                if not (root / name).is_file():
                    continue
                content = _read(root / name)
                sha256[name] = hashlib.sha256(content).hexdigest()
                documents[name] = _parsed(content, root / name)
        kind = str(documents["record.json"].get("result", {}).get("kind"))
        return cls(run_id, documents, sha256, _result_hash(directory, kind))

    @property
    def monitoring(self) -> tuple[str, Any] | None:
        """The last report of monitoring: of this run, or of another if this one has none."""
        for file, document in self.documents.items():
            if file.startswith(MONITORING):
                return file, document
        return None

    def find(self, file: str, pointer: str) -> Any:
        """Return a value by file and RFC 6901 pointer; None where there is none."""
        value = self.documents.get(file)
        for part in pointer.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, list):
                value = value[int(name)] if name.isdecimal() and int(name) < len(value) else None
            elif isinstance(value, dict):
                value = value.get(name)
            else:
                return None
        return value


def _last_report(state: Path, run_id: str) -> list[str]:
    names = sorted(path.name for path in (state / MONITORING).glob("*.json"))
    of_run = [name for name in names if name.endswith(f"-{run_id}.json")]
    return [f"{MONITORING}/{name}" for name in (of_run or names)[-1:]]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StateError(
            f"{path}: cannot be read ({error.strerror}); give the state directory of this user"
        ) from error


def _parsed(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise StateError(
            f"{path}: is not JSON ({error}); if the directory is sealed, or the file damaged, "
            "restore it from a backup"
        ) from None


def _result_hash(directory: Path, kind: str) -> str | None:
    files = [directory / name for name in _SIGNED.get(kind, ())]
    if not files or not all(file.is_file() for file in files):
        return None
    return hashlib.sha256(b"".join(_read(file) for file in files)).hexdigest()
