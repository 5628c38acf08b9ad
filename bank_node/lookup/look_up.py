"""Look up identifiers in the tables of all banks: logged first, answered then."""

import time
from collections.abc import Sequence

from bank_node.lookup.log import MOST_IDENTIFIERS, LoggedLookup, LookupLog
from bank_node.lookup.tables import Found, LookupTables
from bank_node.state.adopted import signers_of
from bank_node.state.directory import StateDirectory
from bank_node.state.risk_file import RiskFile
from fraudfed.errors import ConfigurationError
from fraudfed.features.identifiers import DEFAULT_KINDS, IdentifierKinds
from fraudfed.wire.messages import RiskEntity

MOST_PURPOSE_CHARACTERS = 200


def open_tables(state: StateDirectory, *, kinds: IdentifierKinds = DEFAULT_KINDS) -> LookupTables:
    """Read all tables of a bank.

    Raises
    ------
    ConfigurationError
        If there are none.
    StateError
        If a file is damaged.
    """
    files: list[RiskFile] = [state.risk_file(path) for path in state.tables_paths()]
    members = {file.run_id: signers_of(state, file.run_id) for file in files}
    return LookupTables(files, members, kinds=kinds, source=str(state.path))


def open_log(state: StateDirectory) -> LookupLog:
    """Return the log of this bank's look-ups."""
    return LookupLog(
        state.serving_path / "lookups",
        state.vault,
        retention_days=state.config.lookups.retention_days,
    )


def look_up(
    tables: LookupTables,
    log: LookupLog,
    entity: RiskEntity,
    identifiers: Sequence[str],
    *,
    who: str,
    purpose: str,
    durable: bool = False,
) -> list[Found]:
    """Look identifiers up, each in whatever writing; what cannot be logged is not answered.

    Parameters
    ----------
    tables : LookupTables
    log : LookupLog
    entity : RiskEntity
    identifiers : sequence of str
    who, purpose : str
        For the log.
    durable : bool
        The log survives a crash of the machine before anything is answered.

    Returns
    -------
    list of Found
        In the order of ``identifiers``.

    Raises
    ------
    ConfigurationError
        If purpose or name are empty or too long, or an identifier is.
    DataError
        If an identifier has lost digits, or the tables do not count by the entity.
    StateError
        If the log cannot be written.
    """
    for name, text in (("purpose", purpose), ("who", who)):
        if not text.strip() or len(text) > MOST_PURPOSE_CHARACTERS or not text.isprintable():
            raise ConfigurationError(
                f"{name}: has {len(text)} characters, expected 1 to {MOST_PURPOSE_CHARACTERS} that "
                "can be printed; every look-up is logged with it"
            )
    forms = [tables.canonical(entity, each) for each in identifiers]
    now = time.time()
    found = [tables.find(entity, form, now=now) for form in forms]
    log.append(
        [
            LoggedLookup(
                time=int(now),
                who=who,
                purpose=purpose,
                entity=entity,
                identifiers=tuple(forms[start : start + MOST_IDENTIFIERS]),
            )
            for start in range(0, len(forms), MOST_IDENTIFIERS)
        ],
        durable=durable,
    )
    return found
