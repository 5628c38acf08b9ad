"""What a training or a search takes of this bank's rows, wherever they are worked on."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bank_node.data.contract import TableShares, load_training_rows, open_rows
from bank_node.data.digest import windows_digest
from bank_node.data.spread import hand_out, spread_rows
from bank_node.jobs.judging import Judging
from bank_node.run.context import RunContext
from fraudfed.boosting.shard.protocol import Shard
from fraudfed.boosting.table import TrainingTable
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.privacy.terms import PrivacyTerms
from fraudfed.search.selection import SelectRows

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True, eq=False)
class JobRows:
    """A bank's rows as a job takes them.

    Attributes
    ----------
    train : TrainingTable or Shard
    select : JudgedRows, SelectRows or None
        To choose by; None where the run has no such window.
    validation : TrainingTable, Shard or None
        The rows of ``select`` whose labels are known.
    judging : Judging
    n_rows : int
        Of all windows.
    digest : str
        The same whenever the bank continues, with the same engine.
    """

    train: TrainingTable | Shard
    select: JudgedRows | SelectRows | None
    validation: TrainingTable | Shard | None
    judging: Judging
    n_rows: int
    digest: str


def job_rows(
    context: RunContext,
    shares: TableShares,
    *,
    shared: SharedRisk | None,
    terms: PrivacyTerms | None = None,
    with_customers: bool = False,
) -> JobRows:
    """Read this bank's rows for a run.

    Parameters
    ----------
    context : RunContext
        Its options say where the rows are, and where they are worked on.
    shares, shared, with_customers
        As ``load_training_rows``.
    terms : PrivacyTerms or None

    Raises
    ------
    DataError, ConfigurationError
        As ``load_training_rows`` and ``Judging.of``.
    ClusterError
        If a cluster that was asked for has gone.
    """
    contract, options, cluster = context.run.contract, context.options, context.options.cluster
    if cluster is not None and contract.kind == "table":
        return _spread(context, cluster, shares, terms=terms)
    windows = load_training_rows(
        options.data,
        contract,
        mapping=options.mapping,
        shared=shared,
        shares=shares,
        with_customers=with_customers,
    ).windows
    return JobRows(
        train=windows.train if cluster is None else hand_out(cluster, windows.train),
        select=windows.select,
        validation=windows.validation,
        judging=Judging.of(windows, contract, terms=terms),
        n_rows=sum(count.rows for count in windows.counts.values()),
        digest=windows_digest(windows),
    )


def _spread(
    context: RunContext, cluster: "Client", shares: TableShares, *, terms: PrivacyTerms | None
) -> JobRows:
    contract, options = context.run.contract, context.options
    file = open_rows(options.data, contract, options.mapping)
    rows = spread_rows(cluster, file, contract, shares)
    return JobRows(
        train=rows.train,
        select=rows.select,
        validation=rows.validation,
        judging=Judging.by(rows.judged, rows.window, contract, terms=terms),
        n_rows=sum(count.rows for count in rows.counts.values()),
        digest=rows.digest,
    )
