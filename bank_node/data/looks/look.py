"""What is wrong with a bank's payments, found in some of them after others, and put together.

Law: the problems of all looks are those of all rows at once: the same kinds, counts, first cells
and texts, in the same order. Three things need more than the rows of one look:

* an identifier is repeated if any row before has it (``fraudfed.intake.repeated``);
* no label is known if no look has one;
* what is not looked for because an earlier check failed is not looked for in any row.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import pandas as pd
import pyarrow as pa

from bank_node.data.contract import problems_of, read_piece
from bank_node.data.contract_terms import CHECK_AMOUNTS
from fraudfed.features.check import CHECK_COLUMNS, OF_LABELS, REPEATED
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.intake.outcomes import ANALYSIS_COLUMNS
from fraudfed.intake.repeated import Repeated
from fraudfed.intake.transactions import (
    AmongMany,
    RawTransactions,
    add_no_labels,
    read_transactions,
)
from fraudfed.payments.columns import LABEL_COLUMNS
from fraudfed.reading.file import DataFile
from fraudfed.reading.partitioned import PartitionedFile
from fraudfed.reading.problems import Problem, Problems, ProblemsError
from fraudfed.wire.messages import DataContract

_ID: Final = "transaction_id"


@dataclass(frozen=True)
class Reading:
    """How payments are read, and what for; small, and may be pickled.

    Attributes
    ----------
    mapping : Mapping or None
    contract : DataContract or None
        Of transactions; None: raw transactions, of whatever run.
    for_training : bool
        Whether labels and the contract's weights are needed.
    """

    mapping: Mapping | None
    contract: DataContract | None = None
    for_training: bool = False

    def read(
        self, file: DataFile, among: AmongMany, problems: Problems, currencies: set[str]
    ) -> pd.DataFrame:
        """Read and check some payments; what is wrong goes to ``problems``, and is raised."""
        if self.contract is None:
            return read_transactions(
                file, self.mapping, problems, extra={}, needs_labels=False, among=among
            ).rows
        return read_piece(
            file,
            self.contract,
            self.mapping,
            analysis=ANALYSIS_COLUMNS if self.for_training else (),
            with_weights=self.for_training,
            currencies=currencies,
            among=among,
            problems=problems,
            needs_labels=self.for_training,
        )


@dataclass(frozen=True, eq=False)
class Look:
    """What some payments say of themselves; small but for a part's identifiers, which stay there.

    Attributes
    ----------
    problems : Problems
        Placed.
    path : str
        Of the file that they are in.
    n_rows : int
    any_label, lacks_labels, unread
        As in ``AmongMany``.
    currencies : frozenset of str
        Of amounts before they were converted; as far as the rows could be read.
    absent : tuple of str
        As ``RawTransactions.absent``.
    """

    problems: Problems
    path: str
    n_rows: int
    any_label: bool
    lacks_labels: bool
    unread: tuple[str, ...]
    currencies: frozenset[str]
    absent: tuple[str, ...]


def look_at(file: DataFile, how: Reading, among: AmongMany) -> tuple[Look, pd.DataFrame | None]:
    """Read and check some payments.

    Parameters
    ----------
    file : DataFile
        A piece, or a partition.
    how : Reading
    among : AmongMany
        Is filled in.

    Returns
    -------
    look : Look
    rows : DataFrame or None
        None if something is wrong with them.

    Raises
    ------
    DataError
        If the file cannot be read, or a row of it is cut off: that comes before everything else.
    """
    problems, currencies = problems_of(file), set[str]()
    rows: pd.DataFrame | None = None
    try:
        rows = how.read(file, among, problems, currencies)
    except ProblemsError:
        if not len(problems):
            raise
    look = Look(
        problems=problems.placed(),
        path=str(file.path),
        n_rows=len(among.identifiers),
        any_label=among.any_label,
        lacks_labels=among.lacks_labels,
        unread=among.unread,
        currencies=frozenset(currencies),
        absent=() if rows is None else tuple(RawTransactions(rows, pa.table({})).absent),
    )
    return look, rows


class Looks:
    """All looks at one bank's payments.

    Parameters
    ----------
    file : DataFile
        All of the data.
    for_training : bool
    """

    def __init__(self, file: DataFile, *, for_training: bool) -> None:
        self._for_training = for_training
        self._problems = problems_of(file)
        self._names_file, self._before = False, dict[str, int]()
        if isinstance(file, PartitionedFile):
            self._names_file, self._before = file.names_files, file.rows_before
        self._any_label = False
        self._lacks_labels = True
        self._unread: set[str] = set()
        self.n_rows = 0
        self.currencies: set[str] = set()
        self.absent: tuple[str, ...] = ()

    def add(self, look: Look) -> None:
        """Add the next look."""
        self._absorb(look, look.problems)
        self.n_rows += look.n_rows
        self._any_label |= look.any_label
        self._lacks_labels &= look.lacks_labels
        self._unread.update(look.unread)
        self.currencies |= look.currencies
        self.absent = self.absent or look.absent

    def wants_repeated(self, found: Repeated) -> bool:
        """Tell whether repeated identifiers are to be told of: where all could be read."""
        return bool(found.count) and _ID not in self._unread

    def add_repeated(self, found: Repeated, looks: Iterable[Look]) -> None:
        """Add repeated identifiers.

        Parameters
        ----------
        found : Repeated
        looks : iterable of Look
            Once more at the rows that are the first of them, with ``AmongMany.repeated``.
        """
        for look in looks:
            only = Problems(look.problems.source)
            only.extend(each for each in look.problems.all() if each.kind == REPEATED)
            self._absorb(look, only)
        self._problems.recount(REPEATED, found.count)

    def raise_any(self) -> None:
        """Raise if anything is wrong.

        Raises
        ------
        ProblemsError
            With all of it.
        """
        unread = self._unread
        if self._for_training and (
            "is_fraud" in unread or (self._lacks_labels and not self._any_label)
        ):
            add_no_labels(self._problems)
        not_told = set[str]()
        if unread & {"event_time", *LABEL_COLUMNS}:
            not_told.update(OF_LABELS)
        columns = {repr(name) for name in unread}
        stages = [_stage(each) for each in self._problems.all()]

        def wanted(problem: Problem) -> bool:
            of_column = problem.check[:1] == (CHECK_COLUMNS,) and problem.column in columns
            return _stage(problem) == min(stages) and problem.kind not in not_told and not of_column

        self._problems.keep(wanted)
        self._problems.raise_any()

    def _absorb(self, look: Look, problems: Problems) -> None:
        before = self._before.get(look.path, 0)
        self._problems.absorb(problems, names_file=self._names_file, rows_before=before)


def _stage(problem: Problem) -> int:
    """Return what has to be right before a problem is looked for: 0 is nothing."""
    number = problem.check[0] if problem.check else 0
    return number if number >= CHECK_AMOUNTS else 0
