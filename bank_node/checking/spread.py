"""Data checked by a cluster's workers: each looks at its parts, and what they find adds up.

::

    part      -> what is wrong with it; payments; identifiers by bucket of their hash
    buckets   -> how many identifiers are repeated, and where the first of them are
    payments  -> features (``fraudfed.dask_engine.payments``) -> windows -> facts

This machine learns of a part what is wrong with it and what ``Facts`` counts: no row comes here but
the values that a report names. Law: the report is that of this machine alone, whatever the parts.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from bank_node.checking.facts import BuiltFacts, Facts
from bank_node.checking.pieces import payment_facts, warnings_of
from bank_node.data.contract import TableShares, open_rows, plain_windows, problems_of
from bank_node.data.contract_terms import (
    check_judged,
    currency_warnings,
    few_warnings,
    tell_left_out,
)
from bank_node.data.cutoffs import check_train_window
from bank_node.data.looks.look import Look, Looks, Reading
from bank_node.data.looks.workers import WorkerLooks, value_of
from bank_node.data.risk_days import check_scoring_days, check_training_days
from bank_node.data.spread_payments import (
    check_looked,
    look_at_part,
    payment_parts,
    windows_of_part,
)
from fraudfed.catalogue.run_check import contract_recipe
from fraudfed.dask_engine.payments import (
    HeldFeatures,
    all_reports,
    build_parts,
)
from fraudfed.dask_engine.requests import Answer, packed, unpacked
from fraudfed.dask_engine.work import Work
from fraudfed.errors import FraudFedError
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.population import in_population
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.reading.file import DataFile
from fraudfed.reading.location import Location
from fraudfed.reading.problems import ProblemsError
from fraudfed.wire.messages import DataContract

if TYPE_CHECKING:
    from distributed import Client


def spread_checked(
    client: "Client",
    file: DataFile,
    contract: DataContract,
    *,
    mapping: Mapping | None,
    shared: SharedRisk | None,
) -> tuple[Facts, tuple[str, ...]]:
    """Let workers check payments to train on; return what is known of them, and warnings.

    Parameters
    ----------
    client : Client
    file : DataFile
        For which ``can_spread``.
    contract, mapping, shared
        As for ``load_training_rows``, which raises what this does.

    Raises
    ------
    ClusterError
        If the cluster has gone.
    """
    work, terms = Work(client), packed((contract, file.name))
    partitions, building = payment_parts(work, file, contract)
    how = Reading(mapping, contract, for_training=True)
    checking = WorkerLooks(work, file, partitions, how, n_buckets=building.n_buckets)
    checking.raise_problems()
    held = checking.payments()
    looked = check_looked(
        work.receive([work.give("look", look_at_part, each, terms) for each in held]),
        contract,
        file.name,
    )
    reports = all_reports(work.give, held)
    built = build_parts(work.give, held, building, shared=shared)
    n_parts = len(built)
    parts = checking.each("count", _count, built, [reports] * n_parts, [terms] * n_parts)
    facts = Facts.together(parts)
    check_train_window(facts.rows, looked.n_members, contract, source=file.name)
    if shared is not None:
        check_training_days(shared, facts.periods.values())
    unused = contract_recipe(contract).unused
    more = (
        *few_warnings(looked.n_members, looked.n_judged, contract, file.name),
        *currency_warnings(checking.looks.currencies, contract, file.name),
        *looked.warnings,
    )
    absent = [name for name in checking.looks.absent if name not in unused]
    return facts, warnings_of(file.name, facts, contract, absent=absent, more=more)


def spread_unlabelled(
    client: "Client",
    data: Location,
    contract: DataContract,
    *,
    mapping: Mapping | None,
    shared: SharedRisk | None,
) -> BuiltFacts:
    """Let workers check payments to be scored; raises as ``load_features``.

    Parameters
    ----------
    client : Client
    data, contract, mapping, shared
        As for ``load_features``.
    """
    file = open_rows(data, contract, mapping)
    work, terms = Work(client), packed((contract, file.name))
    partitions, building = payment_parts(work, file, contract)
    how = Reading(mapping, contract)
    checking = WorkerLooks(work, file, partitions, how, n_buckets=building.n_buckets)
    checking.raise_problems()
    built = build_parts(work.give, checking.payments(), building, shared=shared)
    parts = checking.each("count", _count_built, built, [terms] * len(built))
    n_judged = sum(n_built for n_built, _ in parts)
    n_members = sum(facts.rows for _, facts in parts)
    check_judged(checking.looks.n_rows, n_judged, n_members, contract, file.name)
    tell_left_out(np.arange(n_judged) < n_members, contract, file.name)
    facts = BuiltFacts.together([facts for _, facts in parts])
    if shared is not None:
        check_scoring_days(shared, np.array([facts.first, facts.last], dtype=np.int64))
    return facts


def spread_table(
    client: "Client", file: DataFile, contract: DataContract
) -> tuple[Facts, tuple[str, ...]]:
    """Let workers check a plain table; raises as ``load_training_rows``.

    Parameters
    ----------
    client : Client
    file : DataFile
    contract : DataContract
        Of a plain table.
    """
    work, looks = Work(client), Looks(file, for_training=False)
    given = [
        work.give("check", _check_table, number, packed((part, contract)))
        for number, part in enumerate(payment_parts(work, file, contract)[0])
    ]
    found = sorted(value_of(work.receive(given)), key=lambda each: int(each[0]))
    for _, look, _ in found:
        looks.add(look)
    looks.raise_any()
    facts = Facts.together([facts for _, _, facts in found])
    return facts, warnings_of(file.name, facts, contract)


# What workers call. What Dask writes to its logs of these is nothing of a row.


def _count(held: HeldFeatures | Answer, reports: Any, message: bytes) -> Answer:
    if isinstance(held, Answer):
        return held
    divided = windows_of_part(held, reports, message)
    if isinstance(divided, Answer):
        return divided
    contract, source = unpacked(message)
    members = in_population(held.rows, contract.population, source=source)
    built = held.built.take(members[held.built.positions])
    return Answer([(held.number, payment_facts(divided.windows, held.rows, built, contract))])


def _count_built(held: HeldFeatures | Answer, message: bytes) -> Answer:
    if isinstance(held, Answer):
        return held
    contract, source = unpacked(message)
    try:
        members = in_population(held.rows, contract.population, source=source)
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=held.number)
    facts = BuiltFacts.of(held.built.take(members[held.built.positions]), contract)
    return Answer([(held.number, (held.built.n_rows, facts))])


def _check_table(number: int, message: bytes) -> Answer:
    part, contract = unpacked(message)
    file = part.open()
    problems, facts = problems_of(file), None
    try:
        windows, n_rows = plain_windows(file, contract, TableShares(), problems)
        facts = Facts.of_windows(windows, rows_read=n_rows)
    except ProblemsError as error:
        if not len(problems):
            return Answer(refusal=error, refused_by=number)
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=number)
    look = Look(
        problems=problems.placed(),
        path=str(file.path),
        n_rows=0 if facts is None else facts.rows_read,
        any_label=True,
        lacks_labels=False,
        unread=(),
        currencies=frozenset(),
        absent=(),
    )
    return Answer([(number, look, facts)])
