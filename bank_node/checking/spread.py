"""Data checked by a cluster's workers: each looks at its parts, and what they find adds up.

::

    part      -> what is wrong with it; payments; identifiers by bucket of their hash
    buckets   -> how many identifiers are repeated, and where the first of them are
    payments  -> features (``fraudfed.dask_engine.payments``) -> windows -> facts

This machine learns of a part what is wrong with it and what ``Facts`` counts: no row comes here but
the values that a report names. Law: the report is that of this machine alone, whatever the parts.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from bank_node.checking.facts import BuiltFacts, Facts
from bank_node.checking.looks import Look, Looks, look_at
from bank_node.checking.pieces import payment_facts, warnings_of
from bank_node.data.contract import TableShares, open_rows, plain_windows, problems_of
from bank_node.data.contract_terms import (
    check_judged,
    currency_warnings,
    few_warnings,
    tell_left_out,
)
from bank_node.data.cutoffs import check_train_window
from bank_node.data.risk_days import check_scoring_days, check_training_days
from bank_node.data.spread_payments import (
    PaymentSource,
    check_looked,
    look_at_part,
    payment_parts,
    payment_sources,
    windows_of_part,
)
from fraudfed.catalogue.run_check import contract_recipe
from fraudfed.dask_engine.payments import (
    HeldFeatures,
    HeldPayments,
    all_reports,
    build_parts,
)
from fraudfed.dask_engine.requests import Answer, packed, unpacked
from fraudfed.dask_engine.work import Work
from fraudfed.dtypes import BoolArray
from fraudfed.errors import FraudFedError
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.features.population import in_population
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.intake.repeated import Repeated, divided_identifiers, repeated_rows
from fraudfed.intake.transactions import AmongMany
from fraudfed.reading.file import DataFile
from fraudfed.reading.location import Location
from fraudfed.reading.problems import ProblemsError
from fraudfed.wire.messages import DataContract

if TYPE_CHECKING:
    from distributed import Client, Future

#: A row's place among all parts: the number of its part, and this many bits for its row.
_ROW_BITS: Final = 40


class _Checking:
    """Payments that workers have read and checked.

    Parameters
    ----------
    client : Client
    file : DataFile
    contract : DataContract
        Of transactions.
    mapping : Mapping or None
    for_training : bool
        Whether labels and weights are needed.
    """

    def __init__(
        self,
        client: "Client",
        file: DataFile,
        contract: DataContract,
        mapping: Mapping | None,
        *,
        for_training: bool,
    ) -> None:
        self.work = Work(client)
        partitions, self.how = payment_parts(self.work, file, contract)
        self.terms = packed((contract, file.name))
        self.looks = Looks(file, for_training=for_training)
        self._parts = payment_sources(partitions, contract, mapping, for_training=for_training)
        self._checked = [
            self.work.give("check", _check, number, part) for number, part in enumerate(self._parts)
        ]

    def raise_problems(self) -> None:
        """Raise everything that is wrong; raises as ``looks.Looks.raise_any``."""
        for look in self.each("tell", _tell, self._checked):
            self.looks.add(look)
        repeated = self._repeated()
        if self.looks.wants_repeated(repeated):
            rows: dict[int, list[int]] = {}
            for place in repeated.first:
                number, row = divmod(place, 1 << _ROW_BITS)
                rows.setdefault(number, []).append(row)
            again = [
                self.work.give("check-again", _check_again, number, self._parts[number], these)
                for number, these in sorted(rows.items())
            ]
            self.looks.add_repeated(repeated, self._sorted(again))
        self.looks.raise_any()

    def payments(self) -> "list[Future]":
        """Give out the payments of all parts, which workers keep no longer than they need them."""
        held = [self.work.give("payments", _payments, each) for each in self._checked]
        self._checked = []
        return held

    def each(self, what: str, function: Callable[..., Answer], *parts: "Sequence[Future]") -> Any:
        """Return what each part says, in their order."""
        return self._sorted(
            [self.work.give(what, function, *given) for given in zip(*parts, strict=True)]
        )

    def _repeated(self) -> Repeated:
        n_buckets = self.how.n_buckets
        divided = [self.work.give("divide-ids", _divide, each, n_buckets) for each in self._checked]
        found = []
        for bucket in range(n_buckets):
            chunks = [self.work.give("take-ids", _take, each, bucket) for each in divided]
            found.append(self.work.give("check-ids", _check_ids, *chunks))
        return Repeated.together(_value(self.work.receive(found)))

    def _sorted(self, given: "list[Future]") -> list[Any]:
        found = _value(self.work.receive(given))
        return [value for _, value in sorted(found, key=lambda pair: int(pair[0]))]


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
    checking = _Checking(client, file, contract, mapping, for_training=True)
    checking.raise_problems()
    work, terms, held = checking.work, checking.terms, checking.payments()
    looked = check_looked(
        work.receive([work.give("look", look_at_part, each, terms) for each in held]),
        contract,
        file.name,
    )
    reports = all_reports(work.give, held)
    built = build_parts(work.give, held, checking.how, shared=shared)
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
    checking = _Checking(client, file, contract, mapping, for_training=False)
    checking.raise_problems()
    held = checking.payments()
    built = build_parts(checking.work.give, held, checking.how, shared=shared)
    parts = checking.each("count", _count_built, built, [checking.terms] * len(built))
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
    found = sorted(_value(work.receive(given)), key=lambda each: int(each[0]))
    for _, look, _ in found:
        looks.add(look)
    looks.raise_any()
    facts = Facts.together([facts for _, _, facts in found])
    return facts, warnings_of(file.name, facts, contract)


def _value(answer: Answer) -> Any:
    if answer.refusal is not None:
        raise answer.refusal
    return answer.value


# What workers call. What Dask writes to its logs of these is nothing of a row.


class _Checked:
    """A part that was checked: what is wrong with it, its payments if nothing is, identifiers."""

    def __init__(
        self, number: int, look: Look, rows: pd.DataFrame | None, among: AmongMany
    ) -> None:
        self.number = number
        self.look = look
        self.rows = rows
        self.identifiers: pd.Series[str] = among.identifiers
        self.is_wrong: BoolArray = among.is_wrong

    def __repr__(self) -> str:
        return f"<payments of part {self.number}>"

    def __sizeof__(self) -> int:
        rows = 0 if self.rows is None else int(self.rows.memory_usage(deep=True).sum())
        return rows + int(self.identifiers.memory_usage(deep=True))


class _Divided:
    """Identifiers by bucket, or those of one bucket."""

    def __init__(self, tables: Sequence[Any]) -> None:
        self.tables = tables

    def __repr__(self) -> str:
        return "<identifiers>"

    def __sizeof__(self) -> int:
        return sum(int(each.nbytes) for each in self.tables)


def _check(number: int, message: bytes) -> _Checked | Answer:
    part: PaymentSource = unpacked(message)
    among = AmongMany(part.rows_before)
    try:
        look, rows = _look(part, among)
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=number)
    return _Checked(number, look, rows, among)


def _check_again(number: int, message: bytes, repeated: Sequence[int]) -> Answer:
    part: PaymentSource = unpacked(message)
    among = AmongMany(part.rows_before, np.array(repeated, dtype=np.int64) + part.rows_before)
    try:
        return Answer([(number, _look(part, among)[0])])
    except FraudFedError as error:
        return Answer(refusal=error, refused_by=number)


def _look(part: PaymentSource, among: AmongMany) -> tuple[Look, pd.DataFrame | None]:
    file = part.partition.open()
    return look_at(file, part.contract, part.mapping, among, for_training=part.for_training)


def _tell(checked: _Checked | Answer) -> Answer:
    return checked if isinstance(checked, Answer) else Answer([(checked.number, checked.look)])


def _divide(checked: _Checked | Answer, n_buckets: int) -> _Divided | Answer:
    if isinstance(checked, Answer):
        return checked
    rows = np.arange(len(checked.identifiers), dtype=np.int64)
    places = (checked.number << _ROW_BITS) + rows
    return _Divided(
        divided_identifiers(checked.identifiers, checked.is_wrong, places, n_buckets=n_buckets)
    )


def _take(divided: _Divided | Answer, bucket: int) -> _Divided | Answer:
    return divided if isinstance(divided, Answer) else _Divided([divided.tables[bucket]])


def _check_ids(*chunks: _Divided | Answer) -> Answer:
    tables = []
    for chunk in chunks:
        if isinstance(chunk, Answer):
            return chunk
        tables += chunk.tables
    return Answer([repeated_rows(pa.concat_tables(tables))])


def _payments(checked: _Checked | Answer) -> HeldPayments | Answer:
    if isinstance(checked, Answer):
        return checked
    if checked.rows is None:
        raise ValueError("payments are wanted that were refused")
    return HeldPayments(checked.number, checked.rows)


def _count(held: HeldFeatures | Answer, reports: Any, message: bytes) -> Answer:
    divided = windows_of_part(held, reports, message)
    if isinstance(held, Answer) or isinstance(divided, Answer):
        return divided if isinstance(divided, Answer) else held
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
