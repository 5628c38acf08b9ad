"""The state directory of a bank.

::

    DIR/                      0700
      bank.toml               name, aggregator, run; rules of this bank; format version
      vault.json              the key that encrypts what is secret, wrapped; only if there is one
      identity.key            signing and agreement key of this bank, sealed
      roster.json             every member's public keys as first seen, and who was confirmed
      approvals.log           which runs a person has reviewed, and approved
      audit.log               everything that left this bank, chained and signed
      risk.corrections        reports of fraud that this bank has taken back, and why, sealed
      ledger                  with which sets of banks sums were revealed; nothing resets it
      privacy.ledger          what noised sums have told of this bank's rows; nothing resets it
      keys/
        epoch-<n>.key         key package of a key epoch, sealed
        epoch-<n>.json        the key epoch as accepted: any other under its number is refused
      runs/<run id>/
        run.json              the run as first seen: later changes are refused
        agreement             the generation last agreed to and the bank's key of it, sealed
        sealed                the outbox: what was sealed for each context, never a second one
        checkpoints/
          step-<n>.checkpoint where the bank stood after a step, sealed; removed when the result is
                              there
        rounds.log            what protected each round so far; removed when the result is there
        model.json            the accepted model of a training or search
        search.json           the candidates of a search, their curves and the choice
        calibration.json      probabilities beside its scores, fitted to this bank
        features.json         what its features mean, the same bytes at every bank
        risk.tables           the accepted tables of a risk run, with their key, sealed
        statistics.json       the accepted sums of a statistics run
        statistics.own        what this bank entered in them, sealed
        monitor.json          the accepted counts of a monitor run
        signatures.json       every bank's signature over the result
        record.json           what was done, what protected it, and what it cost
      serving/                everything of the scoring service: payments, decisions, outcomes
      .lock                   held by the one process that may change the directory

All files are 0600. Every write is atomic (``fraudfed.durable_file``), or appends one whole record.
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from bank_node.config import BankConfig
from bank_node.state.agreement import Agreements
from bank_node.state.approvals import Approvals
from bank_node.state.audit_log import AuditLog
from bank_node.state.checkpoints import Checkpoints
from bank_node.state.corrections import Corrections
from bank_node.state.ledger import Ledger
from bank_node.state.outbox import Outbox
from bank_node.state.pinned_run import PinnedRun
from bank_node.state.privacy_ledger import PrivacyLedger
from bank_node.state.risk_file import RiskFile, read_risk_file
from bank_node.state.round_log import RoundLog
from bank_node.vault.key_sources import KeySource, Source
from bank_node.vault.vault import PlainVault, Vault, create_vault, open_vault, source_of
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.private_reading import read_private_file
from fraudfed.consortium.roster import PinnedRoster, load_roster, save_roster
from fraudfed.durable_file import (
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    sync_directory,
    write_atomic,
    write_new,
)
from fraudfed.errors import KeyMaterialError, ProtocolError, StateError
from fraudfed.wire.messages import (
    KeyEpoch,
    Message,
    ModelSignatures,
    RunKind,
    parse,
)

_log = logging.getLogger(__name__)

_CONFIG = "bank.toml"
_IDENTITY = "identity.key"
_VAULT = "vault.json"
_ROSTER = "roster.json"
_APPROVALS = "approvals.log"
_AUDIT = "audit.log"
_LEDGER = "ledger"
_PRIVACY_LEDGER = "privacy.ledger"
_CORRECTIONS = "risk.corrections"
_LOCK = ".lock"
_SERVING = "serving"
#: The result of a training with what its columns mean, and those of other kinds of run.
MODEL_FILE = "model.json"
SEARCH_FILE = "search.json"
FEATURES_FILE = "features.json"
TABLES_FILE = "risk.tables"
STATISTICS_FILE = "statistics.json"
MONITOR_FILE = "monitor.json"
_OWN_STATISTICS_FILE = "statistics.own"
_OUTBOX_FILE = "sealed"
_AGREEMENT_FILE = "agreement"
_EPOCH_FILE = re.compile(r"epoch-([1-9][0-9]*)\.key")

M = TypeVar("M", bound=Message)


class StateDirectory:
    """An initialised state directory.

    Parameters
    ----------
    path : Path

    Raises
    ------
    StateError
        If the directory does not exist, was not made by ``bank-node join``, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._passphrase: str | None = None
        self._vault: Vault | None = None
        if not path.is_dir():
            raise StateError(
                f"{path}: no such state directory; make it with 'bank-node join --state {path} "
                "--name NAME --aggregator URL --invite CODE'"
            )
        self.config = self._read_config()

    @classmethod
    def create(
        cls, path: Path, config: BankConfig, identity: Identity, *, source: Source | None = None
    ) -> "StateDirectory":
        """Make a new state directory, all or nothing.

        Parameters
        ----------
        source : Source or None
            Where the key is that encrypts what is secret; None does not encrypt.

        Raises
        ------
        StateError
            If ``path`` exists and is not an empty directory, or cannot be written.
        KeyMaterialError, ConfigurationError
            If the key source cannot be used.
        """
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
            vault: Vault = PlainVault()
            if source is not None:
                vault = create_vault(temporary / _VAULT, source)
            write_new(temporary / _IDENTITY, vault.seal(_IDENTITY, identity.expose_bytes()))
            Ledger.create(temporary / _LEDGER, vault=vault)
            mark = PrivacyLedger.create(temporary / _PRIVACY_LEDGER)
            config = config.model_copy(update={"privacy_ledger": mark})
            own = PinnedRoster.of(identity.member(config.name), now=int(time.time()))
            save_roster(temporary / _ROSTER, own)
            write_atomic(temporary / _CONFIG, config.to_toml().encode())
            temporary.rename(path)
            sync_directory(path.parent)
        except OSError as error:
            raise _unusable(path, error) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return cls(path)

    @staticmethod
    def exists(path: Path) -> bool:
        """Tell whether ``path`` is a state directory already."""
        return (path / _CONFIG).is_file()

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

    def unlock(self, passphrase: str | None) -> None:
        """Take what opens the vault: the passphrase, or the token's PIN; None if none is needed."""
        self._passphrase = passphrase

    @property
    def key_source(self) -> KeySource | None:
        """Where the key is that encrypts what is secret; None without encryption."""
        return source_of(self.path / _VAULT)

    @property
    def vault(self) -> Vault:
        """What seals and opens the secret files; raises as ``open_vault``."""
        if self._vault is None:
            self._vault = open_vault(self.path / _VAULT, self._passphrase)
        return self._vault

    def _read_secret(self, name: str, *, what: str, hint: str) -> bytes:
        data = read_private_file(self.path / name, what=what, hint=hint)
        return self.vault.unseal(name, data)

    def identity(self) -> Identity:
        """Read this bank's private keys.

        Raises
        ------
        KeyMaterialError
            If the file is missing, readable by others, damaged or does not open.
        """
        data = self._read_secret(
            _IDENTITY, what="bank identity", hint="make one with `bank-node join`"
        )
        return Identity.from_bytes(data, source=str(self.path / _IDENTITY))

    def pinned_roster(self) -> PinnedRoster:
        """Return the members' keys as first seen; raises StateError as ``load_roster``."""
        return load_roster(self.path / _ROSTER)

    def save_pinned_roster(self, roster: PinnedRoster) -> None:
        """Replace the pins."""
        save_roster(self.path / _ROSTER, roster)

    @property
    def audit_path(self) -> Path:
        """Where everything that leaves this bank is written down."""
        return self.path / _AUDIT

    @property
    def serving_path(self) -> Path:
        """Where everything of the scoring service lies; it may be missing."""
        return self.path / _SERVING

    def audit_log(self, identity: Identity) -> AuditLog:
        """Open the audit log to add to it."""
        return AuditLog(self.audit_path, identity)

    def ledger(self) -> Ledger:
        """Return the ledger of sets; raises StateError as ``Ledger``."""
        return Ledger(self.path / _LEDGER, open_vault=lambda: self.vault)

    def privacy_ledger(self) -> PrivacyLedger:
        """Return the ledger of what noised sums told; raises StateError as ``PrivacyLedger``.

        A directory of an earlier release gets an empty one, once; the caller holds the lock then.
        """
        path, mark = self.path / _PRIVACY_LEDGER, self.config.privacy_ledger
        if mark is None:
            # Made, and not named yet: the program was killed in between.
            with contextlib.suppress(FileExistsError):
                PrivacyLedger.create(path)
        ledger = PrivacyLedger(path, budget=self.config.privacy.rho(), mark=mark)
        if mark is None:
            self.save_config(self.config.model_copy(update={"privacy_ledger": ledger.mark}))
        return ledger

    def approvals(self) -> Approvals:
        """Return what people at this bank have reviewed and approved."""
        return Approvals(self.path / _APPROVALS)

    def corrections(self) -> Corrections:
        """Return the reports of fraud that this bank has taken back."""
        path = self.path / _CORRECTIONS
        return Corrections(path, open_vault=lambda: self.vault, name=_CORRECTIONS)

    def known_runs(self, kind: RunKind) -> list[PinnedRun]:
        """Return the runs of a kind that this bank has seen, by run id."""
        found = (
            self.pinned_run(path.parent.name)
            for path in sorted((self.path / "runs").glob("*/run.json"))
        )
        return [run for run in found if run is not None and run.spec.kind is kind]

    def epochs(self) -> list[int]:
        """Return the numbers of the key epochs whose key package is here, in order."""
        found = (_EPOCH_FILE.fullmatch(file.name) for file in (self.path / "keys").iterdir())
        return sorted(int(match[1]) for match in found if match is not None)

    def save_epoch(self, key_epoch: KeyEpoch, package: KeyPackage) -> None:
        """Keep an accepted key epoch and its key package."""
        path = self._epoch_path(key_epoch.epoch, "json")
        # The key package last: where it is, the epoch is complete.
        write_atomic(path, key_epoch.model_dump_json(indent=1).encode())
        name = _package_name(key_epoch.epoch)
        content = package.expose_bytes(source=str(self.path / name))
        try:
            write_new(self.path / name, self.vault.seal(name, content))
        except FileExistsError:
            raise KeyMaterialError(
                f"{self.path / name}: file exists and a key package is never overwritten; restore "
                "the state directory from its newest backup"
            ) from None

    def key_epoch(self, number: int) -> KeyEpoch | None:
        """Return a key epoch as this bank accepted it, or None."""
        return self._read_message(KeyEpoch, self._epoch_path(number, "json"))

    def key_package(self, number: int) -> KeyPackage:
        """Read the key package of an epoch.

        Raises
        ------
        KeyMaterialError
            If the file is missing, readable by others, damaged or does not open.
        """
        name = _package_name(number)
        data = self._read_secret(
            name, what="key package", hint="get the consortium's with `bank-node keys accept`"
        )
        return KeyPackage.from_bytes(data, source=str(self.path / name))

    def _epoch_path(self, number: int, suffix: str) -> Path:
        return self.path / "keys" / f"epoch-{number}.{suffix}"

    def run_directory(self, run_id: str) -> Path:
        """Return the directory of a run, made when it is missing."""
        directory = self.path / "runs" / run_id
        try:
            directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            # What is made durable inside must not be lost with its directory.
            sync_directory(directory.parent)
        except OSError as error:
            raise _unusable(self.path, error) from error
        return directory

    def pinned_run(self, run_id: str) -> PinnedRun | None:
        """Return the run as first seen, or None if it was never seen."""
        return self._read_message(PinnedRun, self.path / "runs" / run_id / "run.json")

    def pin_run(self, run: PinnedRun) -> None:
        """Keep the run as first seen."""
        path = self.run_directory(run.run_id) / "run.json"
        write_atomic(path, run.model_dump_json(indent=1).encode())

    def outbox(self, run_id: str) -> Outbox:
        """Return what this bank has sealed in a run; raises StateError as ``Outbox``."""
        path = self.run_directory(run_id) / _OUTBOX_FILE
        return Outbox(path, vault=self.vault, name=f"runs/{run_id}/{_OUTBOX_FILE}")

    def agreements(self, run_id: str) -> Agreements:
        """Return what this bank agreed to last in a run; raises StateError as ``Agreements``."""
        path = self.run_directory(run_id) / _AGREEMENT_FILE
        return Agreements(path, run_id=run_id, bank=self.config.name, vault=self.vault)

    def checkpoints(self, run_id: str) -> Checkpoints:
        """Return the checkpoints of this bank in a run."""
        directory = self.run_directory(run_id) / "checkpoints"
        return Checkpoints(directory, run_id=run_id, bank=self.config.name, vault=self.vault)

    def round_log(self, run_id: str) -> RoundLog:
        """Return the rounds of a run so far; raises StateError as ``RoundLog``."""
        return RoundLog(self.run_directory(run_id) / "rounds.log")

    def current_run(self, run_id: str | None = None) -> PinnedRun:
        """Return a run that this bank knows, without network.

        By default that is its last training; without one, its last search.

        Raises
        ------
        StateError
            If the bank does not know the run, or any.
        """
        if run_id is None:
            run_id = self.config.last_run(RunKind.TRAINING)
        chosen = self.config.last_run(RunKind.SEARCH) if run_id is None else run_id
        run = self.pinned_run(chosen) if chosen is not None else None
        if run is None:
            which = "any run" if chosen is None else f"run {chosen}"
            raise StateError(
                f"{self.path}: this bank does not know {which} yet; run 'bank-node check-data "
                f"--state {self.path} --data FILE --run RUN_ID' or 'bank-node train' first"
            )
        return run

    def model_path(self, run_id: str) -> Path:
        """Return where the accepted model of a run lies or would lie."""
        return self.path / "runs" / run_id / MODEL_FILE

    def tables_paths(self) -> list[Path]:
        """Return the tables of all risk runs of which this bank has the result, by run id."""
        return sorted((self.path / "runs").glob(f"*/{TABLES_FILE}"))

    def risk_file(self, path: Path) -> RiskFile:
        """Read one of ``tables_paths``; raises StateError and KeyMaterialError."""
        return read_risk_file(path, vault=self.vault, name=str(path.relative_to(self.path)))

    def keep_own_statistics(self, run_id: str, content: bytes) -> None:
        """Keep what this bank has entered in the sums of a statistics run, sealed."""
        path = self.run_directory(run_id) / _OWN_STATISTICS_FILE
        write_atomic(path, self.vault.seal(f"runs/{run_id}/{path.name}", content))

    def own_statistics(self, run_id: str) -> bytes:
        """Return what this bank has entered in the sums of a statistics run.

        Raises
        ------
        StateError
            If the file is missing or cannot be read.
        KeyMaterialError
            If it does not open.
        """
        name = f"runs/{run_id}/{_OWN_STATISTICS_FILE}"
        try:
            data = (self.path / name).read_bytes()
        except OSError as error:
            raise StateError(
                f"{self.path / name}: cannot be read ({error.strerror or error}); without what "
                "this bank entered it cannot be told from the others: restore the file, or take "
                "part in another statistics run"
            ) from error
        return self.vault.unseal(name, data)

    def statistics(self, run_id: str) -> bytes:
        """Return the accepted sums of a statistics run.

        Raises
        ------
        StateError
            If this bank does not hold them.
        """
        path = self.path / "runs" / run_id / STATISTICS_FILE
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise StateError(
                f"{self.path}: does not hold the statistics of run {run_id}; take part in it with "
                f"'bank-node statistics --state {self.path} --data FILE --run {run_id}' first"
            ) from None
        except OSError as error:
            raise StateError(
                f"{path}: cannot be read ({error.strerror or error}); check owner and mode"
            ) from error

    def save_result(
        self,
        run_id: str,
        files: Mapping[str, bytes],
        signatures: ModelSignatures,
        record: Mapping[str, Any],
    ) -> None:
        """Keep the files of a run's accepted result, its signatures and the run's record.

        What was kept to continue the run is removed, its ephemeral key with it; which contexts are
        used up, and which generation was agreed to last, stays.
        """
        directory = self.run_directory(run_id)
        # The record last: where it is, the rest is complete.
        for name, content in files.items():
            if name == TABLES_FILE:
                content = self.vault.seal(f"runs/{run_id}/{name}", content)
            write_atomic(directory / name, content)
        text = signatures.model_dump_json(indent=1)
        write_atomic(directory / "signatures.json", text.encode() + b"\n")
        write_atomic(directory / "record.json", json.dumps(record, indent=1).encode() + b"\n")
        try:
            self.agreements(run_id).end()
            self.checkpoints(run_id).remove()
            self.round_log(run_id).remove()
            self.outbox(run_id).forget_payloads()
        except StateError as error:
            # The result is complete; nothing of this is read again.
            _log.warning("the files of a finished run could not be removed: %s", error)

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

    def _read_message(self, cls: type[M], path: Path) -> M | None:
        if not path.exists():
            return None
        try:
            return parse(cls, self._read_text(path), source=str(path))
        except ProtocolError as error:
            raise StateError(f"{error}; restore the file from a backup") from None

    def _read_config(self) -> BankConfig:
        path = self.path / _CONFIG
        if not path.is_file():
            raise StateError(
                f"{self.path}: is not the state directory of a bank (no {_CONFIG}); name the "
                "directory given to 'bank-node join'"
            )
        return BankConfig.from_toml(self._read_text(path), source=str(path))

    def _read_text(self, path: Path) -> str:
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StateError(
                f"{path}: cannot be read ({error}); check owner and mode, or restore it"
            ) from error


def _package_name(epoch: int) -> str:
    return f"keys/epoch-{epoch}.key"


def _unusable(path: Path, error: OSError) -> StateError:
    return StateError(
        f"{path}: cannot be used as a state directory ({error.strerror or error}); "
        "name a directory that this user may write"
    )
