"""What a training or a search takes of this bank's rows, wherever they are worked on."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from bank_node.data.contract import TableShares, load_training_rows, open_rows
from bank_node.data.digest import windows_digest
from bank_node.data.source_keys import row_keys
from bank_node.data.spread import SpreadRows, hand_out, spread_rows
from bank_node.data.spread_payments import can_spread, spread_payments
from bank_node.data.streamed import Bounded, bounded_rows
from bank_node.data.streamed_payments import PaymentStream
from bank_node.data.streamed_table import stream_training_rows
from bank_node.jobs.judging import Judging
from bank_node.run.context import RunContext
from fraudfed.boosting.engine.choice import load_engine
from fraudfed.boosting.shard.mapped import mapped_shard
from fraudfed.boosting.shard.protocol import Shard
from fraudfed.boosting.table import TrainingTable
from fraudfed.errors import ConfigurationError
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.intake.streamed import piece_rows
from fraudfed.privacy.terms import PrivacyTerms
from fraudfed.reading.file_format import PLAIN_CSV
from fraudfed.reading.partitions import ROWS
from fraudfed.search.selection import SelectRows
from fraudfed.wire.messages import DataContract


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
        The same whenever the bank continues, with whatever engine.
    piece_rows : int or None
        Rows that a later reading of the data takes at a time; None is all.
    """

    train: TrainingTable | Shard
    select: JudgedRows | SelectRows | None
    validation: TrainingTable | Shard | None
    judging: Judging
    n_rows: int
    digest: str
    piece_rows: int | None = None


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
        As ``load_training_rows`` and ``Judging.of``; or if customers are to be bounded, and their
        rows do not fit into memory, or are to lie on a cluster.
    StateError
        If there is no room on disk for rows that do not fit.
    ClusterError
        If a cluster that was asked for has gone.
    """
    contract, options, cluster = context.run.contract, context.options, context.options.cluster
    if cluster is not None:
        if with_customers:
            raise ConfigurationError(
                "--engine dask, and the privacy unit is the customer, whose rows are bounded "
                "together in the memory of one machine: leave --engine dask out"
            )
        file = open_rows(options.data, contract, options.mapping)
        if contract.kind == "table":
            rows = spread_rows(cluster, file, contract, shares)
            return _spread(rows, contract, terms=terms)
        if can_spread(options.data, file, contract, options.mapping):
            rows = spread_payments(cluster, file, contract, options.mapping, shared=shared)
            return _spread(rows, contract, terms=terms)
    if cluster is None and options.memory_limit is not None:
        bounded = bounded_rows(
            options.data,
            contract,
            mapping=options.mapping,
            memory_limit=options.memory_limit,
            directory=Path(tempfile.gettempdir()),
        )
        if bounded is not None and contract.kind == "table":
            return _on_disk(context, shares, terms=terms, memory_limit=options.memory_limit)
        if bounded is not None:
            if with_customers:
                raise ConfigurationError(
                    f"--memory-limit is {options.memory_limit >> 20} MiB, and the rows need more; "
                    "the privacy unit is the customer, whose rows are bounded together in memory: "
                    "give a larger limit"
                )
            return _payments_on_disk(context, bounded, shared=shared, terms=terms)
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


def _on_disk(
    context: RunContext, shares: TableShares, *, terms: PrivacyTerms | None, memory_limit: int
) -> JobRows:
    contract, options = context.run.contract, context.options
    rows = stream_training_rows(
        options.data, contract, mapping=options.mapping, shares=shares, memory_limit=memory_limit
    )
    windows = rows.windows
    judged, window = windows.judged
    return JobRows(
        train=mapped_shard(
            windows.train.schema,
            windows.train.pieces(),
            max_weight=windows.train.max_weight,
            has_weights=windows.train.has_weights,
            engine=load_engine(options.threads),
            memory_limit=memory_limit,
        ),
        select=windows.select,
        validation=windows.validation,
        judging=Judging.by(judged, window, contract, terms=terms),
        n_rows=sum(count.rows for count in windows.counts.values()),
        digest=rows.data_sha256,
        piece_rows=piece_rows(memory_limit, len(contract.features)),
    )


def _payments_on_disk(
    context: RunContext,
    bounded: Bounded,
    *,
    shared: SharedRisk | None,
    terms: PrivacyTerms | None,
) -> JobRows:
    contract, options = context.run.contract, context.options
    stream = PaymentStream(options.data, contract, bounded, mapping=options.mapping, shared=shared)
    train = mapped_shard(
        stream.schema,
        stream.pieces(),
        max_weight=contract.max_weight,
        has_weights=contract.weight is not None,
        engine=load_engine(options.threads),
        memory_limit=bounded.memory_bytes,
    )
    rows = stream.finish()
    return JobRows(
        train=train,
        select=rows.windows.select,
        validation=rows.windows.validation,
        judging=Judging.of(rows.windows, contract, terms=terms),
        n_rows=sum(count.rows for count in rows.windows.counts.values()),
        digest=rows.data_sha256,
        piece_rows=bounded.piece_rows,
    )


def _spread(rows: SpreadRows, contract: DataContract, *, terms: PrivacyTerms | None) -> JobRows:
    return JobRows(
        train=rows.train,
        select=rows.select,
        validation=rows.validation,
        judging=Judging.by(rows.judged, rows.window, contract, terms=terms),
        n_rows=sum(count.rows for count in rows.counts.values()),
        digest=rows.digest,
        piece_rows=ROWS,
    )


def run_row_keys(context: RunContext, *, piece_rows: int | None = None) -> tuple[str, ...]:
    """Return the keys by which the ledger of sets knows this bank's rows, in a run of any kind.

    Parameters
    ----------
    context : RunContext
    piece_rows : int or None
        As ``row_keys``.

    Raises
    ------
    DataError, StateError
        As ``row_keys``.
    """
    options = context.options
    return row_keys(
        options.data,
        context.ledger,
        file_format=PLAIN_CSV if options.mapping is None else options.mapping.file,
        piece_rows=piece_rows,
    )
