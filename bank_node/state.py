"""The state directory of a bank.

::

    DIR/                      0700
      bank.toml               name, aggregator, run, smallest cohort; format version
      token                   bearer token of this bank at its aggregator
      keys/consortium.key     key package of the consortium
      runs/<run id>/
        run.json              the run's description as first seen: later changes are refused
        model.json            the accepted model
        record.json           what was done and what it cost
      .lock                   held by the one process that may change the directory

All files are 0600. Every write is atomic (see ``bank_node.files``).
"""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bank_node.config import BankConfig
from bank_node.files import PRIVATE_DIRECTORY, PRIVATE_FILE, sync_directory, write_atomic
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.errors import ProtocolError, StateError
from fraudfed.wire.messages import Message, RunSpec, parse

__all__ = ["PinnedRun", "StateDirectory"]

_CONFIG = "bank.toml"
_TOKEN = "token"  # noqa: S105 - a file name
_KEY = "keys/consortium.key"
_LOCK = ".lock"


class PinnedRun(Message):
    """``run.json``: a run as this bank first saw it."""

    run_id: str
    spec: RunSpec


class StateDirectory:
    """An initialised state directory.

    Parameters
    ----------
    path : Path

    Raises
    ------
    StateError
        If the directory does not exist, was not made by ``bank-node init``, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            raise StateError(
                f"{path}: no such state directory; make it with "
                f"'bank-node init --state {path} --name NAME --key-package FILE'"
            )
        self.config = self._read_config()

    @classmethod
    def create(cls, path: Path, config: BankConfig, package: KeyPackage) -> "StateDirectory":
        """Make a new state directory, all or nothing.

        Raises
        ------
        StateError
            If ``path`` exists and is not an empty directory, or cannot be written.
        """
        if (path / _CONFIG).exists():
            raise StateError(
                f"{path}: is already the state directory of a bank; nothing was changed: "
                "use another directory for another bank"
            )
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise StateError(
                f"{path}: exists and is not an empty directory; nothing was changed: "
                "name a new or an empty directory"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            temporary.chmod(PRIVATE_DIRECTORY)
            for name in ("keys", "runs"):
                (temporary / name).mkdir(mode=PRIVATE_DIRECTORY)
            package.save(temporary / _KEY)
            write_atomic(temporary / _CONFIG, config.to_toml().encode())
            temporary.rename(path)
            sync_directory(path.parent)
        except OSError as error:
            raise _unusable(path, error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return cls(path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory against every other process that would change it.

        Raises
        ------
        StateError
            If another process holds it, or the directory is not writable.
        """
        try:
            handle = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        except OSError as error:
            raise _unusable(self.path, error) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateError(
                    f"{self.path}: another bank-node process is working on this directory; "
                    "wait until it ends"
                ) from None
            # What was read before the lock may have been replaced meanwhile.
            self.config = self._read_config()
            yield
        finally:
            os.close(handle)

    def save_config(self, config: BankConfig) -> None:
        """Replace ``bank.toml``."""
        write_atomic(self.path / _CONFIG, config.to_toml().encode())
        self.config = config

    def key_package(self) -> KeyPackage:
        """Read the consortium's key package; raises KeyMaterialError as ``KeyPackage.load``."""
        return KeyPackage.load(self.path / _KEY)

    def token(self) -> str | None:
        """Return the bank's token at its aggregator, or None before it has joined."""
        path = self.path / _TOKEN
        return self._read_text(path).strip() if path.exists() else None

    def save_token(self, token: str) -> None:
        """Keep the bank's token."""
        write_atomic(self.path / _TOKEN, token.encode() + b"\n")

    def run_directory(self, run_id: str) -> Path:
        """Return the directory of a run, made when it is missing."""
        directory = self.path / "runs" / run_id
        try:
            directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.path, error) from error
        return directory

    def pinned_run(self, run_id: str) -> RunSpec | None:
        """Return the run's description as first seen, or None if it was never seen."""
        path = self.path / "runs" / run_id / "run.json"
        if not path.exists():
            return None
        try:
            return parse(PinnedRun, self._read_text(path), source=str(path)).spec
        except ProtocolError as error:
            raise StateError(f"{error}; restore the file from a backup") from None

    def pin_run(self, run_id: str, spec: RunSpec) -> None:
        """Keep the run's description as first seen."""
        text = PinnedRun(run_id=run_id, spec=spec).model_dump_json(indent=1)
        write_atomic(self.run_directory(run_id) / "run.json", text.encode())

    def current_run(self) -> tuple[str, RunSpec]:
        """Return id and description of the run this bank takes part in, without network.

        Raises
        ------
        StateError
            If the bank has joined no run.
        """
        run_id = self.config.run_id
        spec = self.pinned_run(run_id) if run_id is not None else None
        if run_id is None or spec is None:
            raise StateError(
                f"{self.path}: this bank has joined no run; run "
                f"'bank-node join --state {self.path} --aggregator URL --run RUN_ID' first"
            )
        return run_id, spec

    def model_path(self, run_id: str) -> Path:
        """Return where the accepted model of a run lies or would lie."""
        return self.path / "runs" / run_id / "model.json"

    def save_result(self, run_id: str, model: bytes, record: Mapping[str, Any]) -> None:
        """Keep an accepted model and the record of its run."""
        directory = self.run_directory(run_id)
        # The record last: where it is, the model is complete.
        write_atomic(directory / "model.json", model)
        write_atomic(directory / "record.json", json.dumps(record, indent=1).encode() + b"\n")

    def record(self, run_id: str) -> dict[str, Any] | None:
        """Return the record of a finished run, or None."""
        path = self.path / "runs" / run_id / "record.json"
        if not path.exists():
            return None
        try:
            found = json.loads(self._read_text(path))
        except ValueError as error:
            raise StateError(
                f"{path}: not readable as JSON ({error}); restore it from a backup"
            ) from None
        if not isinstance(found, dict):
            raise StateError(f"{path}: holds no JSON object; restore it from a backup")
        return found

    def _read_config(self) -> BankConfig:
        path = self.path / _CONFIG
        if not path.is_file():
            raise StateError(
                f"{self.path}: is not the state directory of a bank (no {_CONFIG}); name the "
                "directory given to 'bank-node init'"
            )
        return BankConfig.from_toml(self._read_text(path), source=str(path))

    def _read_text(self, path: Path) -> str:
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StateError(
                f"{path}: cannot be read ({error}); check owner and mode, or restore it"
            ) from error


def _unusable(path: Path, error: OSError) -> StateError:
    return StateError(
        f"{path}: cannot be used as a state directory ({error.strerror or error}); "
        "name a directory that this user may write"
    )
