"""``risk.corrections``: reports of fraud that a bank has taken back, and why.

What was entered for a day stays as it was; a correction is entered on the day on which it is made,
in every risk run over that day. So this file must outlive the labels that it corrects: without it
a day that is counted again would be another one. One line of canonical JSON for each correction, in
the order in which they were made; the whole is sealed, as it names payments and accounts.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bank_node.vault.vault import Vault
from fraudfed.durable_file import write_atomic
from fraudfed.errors import StateError
from fraudfed.wire.messages import RiskEntity

if TYPE_CHECKING:
    from fraudfed.features.shared_risk.entries import Correction

#: What a person writes; it stands in the audit log, too.
MOST_REASON_CHARACTERS = 500

_Day = Annotated[int, Field(ge=0)]


class KeptCorrection(BaseModel):
    """A report of fraud that was taken back.

    Attributes
    ----------
    transaction_id : str
    event_day, report_day, day : int
        Of the payment, of its report and of the correction, days since 1970-01-01 UTC.
    identifiers : dict of RiskEntity to str
        Where the fraud was counted, in canonical form.
    reason : str
    at : int
        When it was written down, UTC epoch seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    transaction_id: str
    event_day: _Day
    report_day: _Day
    day: _Day
    identifiers: dict[RiskEntity, str]
    reason: Annotated[str, Field(min_length=1, max_length=MOST_REASON_CHARACTERS)]
    at: _Day

    @property
    def correction(self) -> "Correction":
        """What is counted of it."""
        # pandas takes half a second to import, which most commands do not need.
        from fraudfed.features.shared_risk.entries import Correction

        return Correction(
            transaction_id=self.transaction_id,
            event_day=self.event_day,
            report_day=self.report_day,
            day=self.day,
            identifiers=self.identifiers,
        )


class Corrections:
    """The corrections of a bank.

    Parameters
    ----------
    path : Path
    open_vault : callable
        Asked when there is something to read or write.
    name : str
        What the vault knows the file by.
    """

    def __init__(self, path: Path, *, open_vault: Callable[[], Vault], name: str) -> None:
        self._path = path
        self._open_vault = open_vault
        self._name = name

    def all(self) -> tuple[KeptCorrection, ...]:
        """Return every correction, in the order in which they were made.

        Raises
        ------
        StateError
            If the file cannot be read or is damaged.
        KeyMaterialError
            If it does not open.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StateError(
                f"{self._path}: cannot be read ({error.strerror or error}); check owner and mode"
            ) from error
        lines = self._open_vault().unseal(self._name, data).splitlines()
        try:
            return tuple(KeptCorrection.model_validate_json(line) for line in lines)
        except ValidationError:
            # The lines name accounts: the message quotes nothing of them.
            raise StateError(
                f"{self._path}: is no list of corrections; restore it from a backup"
            ) from None

    def add(self, correction: KeptCorrection) -> None:
        """Keep a correction, durably; one process at a time.

        Raises
        ------
        StateError
            If the file cannot be read or written: it is as before.
        """
        kept = (*self.all(), correction)
        lines = (
            json.dumps(each.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
            for each in kept
        )
        content = "".join(f"{line}\n" for line in lines).encode()
        try:
            write_atomic(self._path, self._open_vault().seal(self._name, content))
        except OSError as error:
            raise StateError(
                f"{self._path}: cannot be written ({error.strerror or error}); check owner, mode "
                "and room"
            ) from error
