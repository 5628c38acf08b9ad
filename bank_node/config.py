"""``bank.toml``: who this bank is, where its aggregator is, and what it agrees to.

The bank's program writes everything but the tables ``[rules]``, ``[approval]``, ``[tls]``,
``[lookups]`` and ``[privacy]``, which are the bank's own to edit.
"""

import json
import math
import tomllib
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from bank_node.approval_rules import ApprovalRules
from fraudfed.errors import ConfigurationError, ParameterError, StateError
from fraudfed.privacy.accounting import RUNS_OF_A_LIFE, rho_of, usable_delta
from fraudfed.wire.messages import BankName, ModelVisibility, PublicKeyHex, RunKind

M = TypeVar("M", bound=BaseModel)

#: Raised with every incompatible change of the state directory.
FORMAT_VERSION = 3
#: A run id becomes a directory name and a part of a URL path: nothing else may be in it.
RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]


class ShareRule(StrEnum):
    """With whom a bank shares the runs that it has finished."""

    NO = "no"
    """With nobody, whatever a person says."""
    ASK = "ask"
    """With the confirmed member that a person names."""


class CohortRules(BaseModel):
    """``[rules]``: when this bank takes part, whatever the aggregator says.

    Attributes
    ----------
    tolerated_colluders : int or None
        Members that may put their parts together, and still learn nothing of this bank alone: it
        takes part in sets of two more. None follows from the members, see
        ``fraudfed.consortium.trust``.
    insecure_trust_first_use : bool
        Take part with members that no person has confirmed, as the aggregator first showed them.
    model_visibility : tuple of ModelVisibility
        Whom this bank allows to read the final model.
    min_risk_customers : int or None
        In risk runs, payments at an entity are counted only if so many customers of this bank paid
        there; a run that asks for more gets more. None leaves it to the run.
    min_statistics_count : int
        In statistics runs a smaller count is entered as 0; a run that asks for more gets more.
    set_changes : int
        How often sums over the same rows, or days, may be revealed with another set of banks.
    share_finished_runs : ShareRule
        Whether this bank lets a confirmed member adopt a run that it took no part in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tolerated_colluders: Annotated[int, Field(strict=True, ge=0, le=1000)] | None = None
    insecure_trust_first_use: Annotated[bool, Field(strict=True)] = False
    model_visibility: Annotated[tuple[ModelVisibility, ...], Field(min_length=1)] = tuple(
        ModelVisibility
    )
    min_risk_customers: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    min_statistics_count: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 10
    set_changes: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    share_finished_runs: ShareRule = ShareRule.ASK


class TlsFiles(BaseModel):
    """``[tls]``: files for https beyond the system's certificate authorities.

    Attributes
    ----------
    ca_file : str or None
        Certificates (PEM) of the authorities that are trusted instead of the system's.
    client_certificate, client_key : str or None
        This bank's certificate and its key (PEM), if the aggregator asks for one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca_file: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None

    @model_validator(mode="after")
    def _certificate_with_key(self) -> "TlsFiles":
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key belong together")
        return self


class RulesFile(BaseModel):
    """A file with the rules that a bank begins with: ``join --rules FILE``.

    Attributes
    ----------
    rules : CohortRules
        Its table ``[rules]``, as in ``bank.toml``.
    approval : ApprovalRules
        Its table ``[approval]``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: CohortRules = CohortRules()
    approval: ApprovalRules = ApprovalRules()


class LookupRules(BaseModel):
    """``[lookups]``: what becomes of the log of look-ups.

    Attributes
    ----------
    retention_days : int
        For how long a look-up stays in the log, at least; two years if nothing is said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    retention_days: Annotated[int, Field(strict=True, ge=1, le=36_525)] = 731


class ExactRuns(StrEnum):
    """What becomes of runs whose sums are exact."""

    ALLOW = "allow"
    """They need the same approval as ever."""
    REFUSE = "refuse"
    """This bank takes part in none."""


class PrivacyRules(BaseModel):
    """``[privacy]``: what runs with privacy terms may tell of this bank's rows, over their life.

    Attributes
    ----------
    epsilon, delta : float
        The bound for one unit, over all such runs together: of the rows of each day, of each file
        without times, and of each customer in runs whose unit is the customer.
    exact_runs : ExactRuns
        Whether this bank takes part in runs without privacy terms, which the bound does not cover:
        trainings, searches, statistics, risk tables and monitoring.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epsilon: Annotated[float, Field(ge=0)] = 10.0
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    exact_runs: ExactRuns = ExactRuns.ALLOW

    @model_validator(mode="after")
    def _pays_for_tails(self) -> "PrivacyRules":
        try:
            self.usable_delta()
        except ParameterError as error:
            raise ValueError(str(error)) from None
        return self

    def rho(self) -> Fraction:
        """Return the budget as the ledger keeps it, rounded down."""
        return rho_of(self.epsilon, self.usable_delta())

    def usable_delta(self) -> Fraction:
        """Return what is left of delta once the tails of the noise of all runs are paid for."""
        return usable_delta(self.epsilon, self.delta, runs=RUNS_OF_A_LIFE)


class BankConfig(BaseModel):
    """Contents of ``bank.toml``.

    Attributes
    ----------
    name : str
    aggregator : str
        URL.
    registered : bool
        The aggregator has acknowledged this bank's keys.
    signing_key, agreement_key : str
        The public halves of ``identity.key``, hexadecimal.
    audit_key : str or None
        The key that the aggregator signs its audit log with, as first seen.
    privacy_ledger : str or None
        Mark of the privacy ledger that belongs to this bank; None in a directory of an earlier
        release that has not opened one yet.
    last_runs : dict of RunKind to str
        The run of each kind that this bank took part in last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    name: BankName
    aggregator: str
    registered: bool = False
    signing_key: PublicKeyHex
    agreement_key: PublicKeyHex
    audit_key: PublicKeyHex | None = None
    privacy_ledger: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    last_runs: dict[RunKind, RunId] = Field(default_factory=dict)
    rules: CohortRules = CohortRules()
    approval: ApprovalRules = ApprovalRules()
    tls: TlsFiles = TlsFiles()
    lookups: LookupRules = LookupRules()
    privacy: PrivacyRules = PrivacyRules()

    def last_run(self, kind: RunKind) -> RunId | None:
        """Return the run of a kind that this bank took part in last."""
        return self.last_runs.get(kind)

    def with_last_run(self, kind: RunKind, run_id: RunId) -> "BankConfig":
        """Return the configuration after this bank took part in a run."""
        return self.model_copy(update={"last_runs": {**self.last_runs, kind: run_id}})

    def to_toml(self) -> str:
        """Return the text of the file; unset entries are left out."""
        entries = self.model_dump(mode="json", exclude_none=True, exclude={"approval"})
        tables = {
            name: entries.pop(name) for name in ("last_runs", "rules", "tls", "lookups", "privacy")
        }
        tables |= self.approval.to_tables()
        edited = "[rules], [approval], [tls], [lookups] and [privacy]"
        lines = [f"# Written by bank-node; the tables {edited} may be edited."]
        lines += _entries(entries)
        for name, table in tables.items():
            lines += ["", f"[{name}]", *_entries(table)]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str, *, source: str) -> "BankConfig":
        """Read the text of the file.

        Raises
        ------
        StateError
            If it is not TOML, of another format version, or an entry is wrong.
        """
        entries = _read_toml(text, source=source)
        version = entries.get("format_version")
        if version != FORMAT_VERSION:
            raise StateError(
                f"{source}: format_version is {version!r}, this program reads {FORMAT_VERSION}; "
                "use the fraudfed release that wrote the directory"
            )
        return _validated(cls, entries, source=source)


def read_rules(path: Path) -> RulesFile:
    """Read the rules that a bank begins with.

    Raises
    ------
    StateError
        If the file cannot be read, is not TOML, or an entry is wrong.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(f"{path}: cannot be read ({error}); name a file of rules") from error
    return _validated(RulesFile, _read_toml(text, source=str(path)), source=str(path))


def _read_toml(text: str, *, source: str) -> dict[str, Any]:
    try:
        # Editors may have put a byte order mark in front.
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise StateError(
            f"{source}: not readable as TOML ({error}); correct the file, or restore it from a "
            "backup"
        ) from None


def _validated(cls: type[M], entries: dict[str, Any], *, source: str) -> M:
    try:
        return cls.model_validate(entries)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StateError(
            f"{source}: {where} is {first['input']!r}: {first['msg']}; correct the file"
        ) from None


def _entries(table: dict[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in table.items()]


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    # JSON strings, numbers and booleans, without escapes beyond ASCII controls, are TOML, too.
    return json.dumps(value, ensure_ascii=False)


def check_run_id(run_id: str) -> str:
    """Return ``run_id`` if it can be one; raise ConfigurationError otherwise."""
    try:
        return TypeAdapter(RunId).validate_python(run_id)
    except ValidationError:
        raise ConfigurationError(
            f"run {run_id!r}: is no run id, expected up to 100 letters, digits, - and _; take the "
            "one that 'aggregator runs create' printed"
        ) from None
