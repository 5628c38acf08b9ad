"""State directories of a bank that holds risk tables, made without any run."""

import json
from collections.abc import Sequence
from pathlib import Path

from bank_node.config import BankConfig
from bank_node.state.directory import TABLES_FILE, StateDirectory
from bank_node.state.risk_file import RiskFile
from bank_node.vault.key_sources import PassphraseSource
from fraudfed.consortium.identity import Identity
from fraudfed.features.shared_risk import RiskTables
from fraudfed.features.shared_risk.history import KeyedTables


def bank_state(path: Path, *, passphrase: str | None = None) -> StateDirectory:
    """Make the state directory of ``bank-a``, encrypted if there is a passphrase."""
    identity = Identity.generate()
    member = identity.member("bank-a")
    config = BankConfig(
        name="bank-a",
        aggregator="http://127.0.0.1:1",
        signing_key=member.signing_key,
        agreement_key=member.agreement_key,
    )
    source = None if passphrase is None else PassphraseSource(passphrase)
    state = StateDirectory.create(path, config, identity, source=source)
    state.unlock(passphrase)
    return state


def keep_tables(
    state: StateDirectory,
    run_id: str,
    tables: RiskTables,
    key: bytes,
    *,
    members: Sequence[str] = ("bank-a", "bank-b", "bank-c"),
) -> None:
    """Keep the tables of a run as ``risk update`` would."""
    kept = RiskFile(run_id=run_id, registry_sha256="11" * 32, keyed=KeyedTables(tables, key))
    directory = state.run_directory(run_id)
    name = f"runs/{run_id}/{TABLES_FILE}"
    (directory / TABLES_FILE).write_bytes(state.vault.seal(name, kept.to_bytes()))
    (directory / "record.json").write_text(json.dumps({"members": list(members)}))
