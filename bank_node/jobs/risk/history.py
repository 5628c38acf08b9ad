"""Which risk tables a bank trains and scores with."""

from collections.abc import Iterable, Sequence

from bank_node.data.risk_days import ADVICE
from bank_node.state.directory import StateDirectory
from bank_node.state.risk_file import RiskFile
from fraudfed.catalogue.run_check import needs_tables
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.wire.messages import DataContract, RiskEntity


def training_tables(state: StateDirectory, contract: DataContract) -> SharedRisk | None:
    """Return exactly the tables that the contract names, so that all banks train on the same.

    Returns
    -------
    SharedRisk or None
        None if no feature needs tables.

    Raises
    ------
    StateError
        If a file of tables is damaged.
    ConfigurationError
        If this bank has not all of the named tables.
    DataError
        If they do not fit each other or the contract.
    """
    if not needs_tables(contract):
        return None
    return named_tables(risk_files(state), contract)


def named_tables(files: Sequence[RiskFile], contract: DataContract) -> SharedRisk:
    """Return those of some tables that a contract names; raises as ``training_tables``."""
    found = {file.registry_sha256: file for file in files}
    missing = [sha256 for sha256 in contract.shared_risk if sha256 not in found]
    if missing:
        raise ConfigurationError(
            f"data contract: names risk tables {missing[0]}, which this bank does not hold "
            f"({len(found)} others are here); take them from their run first ('bank-node risk "
            "update --run RUN_ID')"
        )
    return tables_of([found[sha256] for sha256 in contract.shared_risk], contract)


def scoring_tables(state: StateDirectory, contract: DataContract) -> SharedRisk | None:
    """Return all tables at hand that fit the contract; each payment sees those that stood then.

    Raises
    ------
    StateError
        If a file of tables is damaged.
    ConfigurationError
        If there are none.
    """
    if not needs_tables(contract):
        return None
    files = fitting_files(risk_files(state), contract)
    if not files:
        needed = _needed_entities(contract)
        raise ConfigurationError(
            f"{state.path}: holds no risk tables with a delay of {contract.risk_delay_days} days "
            f"that count by {', '.join(sorted(needed))}, which the features of this model need; "
            f"{ADVICE}"
        )
    return tables_of(files, contract)


def fitting_files(files: Sequence[RiskFile], contract: DataContract) -> list[RiskFile]:
    """Return the tables that a model of a contract scores with, in their order.

    They carry noise if, and only if, those that the model was trained with do.
    """
    needed = _needed_entities(contract)
    trained_with = set(contract.shared_risk)
    kinds = {
        file.keyed.tables.spec.privacy is not None
        for file in files
        if file.registry_sha256 in trained_with
    } or {False}
    return [
        file
        for file in files
        if file.keyed.tables.spec.delay_days == contract.risk_delay_days
        and needed <= set(file.keyed.tables.spec.entities)
        and (file.keyed.tables.spec.privacy is not None) in kinds
    ]


def risk_files(state: StateDirectory) -> list[RiskFile]:
    """Return all tables of this bank, those with later days last."""
    return in_order(state.risk_file(path) for path in state.tables_paths())


def in_order(files: Iterable[RiskFile]) -> list[RiskFile]:
    """Return tables in the order in which later ones replace earlier ones."""

    def key(file: RiskFile) -> tuple[int, int, str]:
        spec = file.keyed.tables.spec
        return spec.last_day, spec.first_day, file.run_id

    return sorted(files, key=key)


def tables_of(files: Sequence[RiskFile], contract: DataContract) -> SharedRisk:
    """Return tables as one history; raises DataError if they do not fit the contract."""
    shared = SharedRisk(
        [file.keyed for file in files], publication_lag_days=contract.risk_publication_lag_days
    )
    shared.check_delay(contract.risk_delay_days)
    absent = sorted(_needed_entities(contract) - set(shared.entities))
    if absent:
        raise DataError(
            f"data contract: has features of each {absent[0]}, the risk tables that it names count "
            f"by {', '.join(shared.entities) or 'nothing in common'}; the operator must publish a "
            "corrected run"
        )
    return shared


def _needed_entities(contract: DataContract) -> set[RiskEntity]:
    """Return what the features of a contract are about that need tables."""
    names = [feature.name for feature in contract.features]
    return {
        entity
        for entity in RiskEntity
        if any(name.startswith(f"shared_{entity}_") for name in names)
    }
