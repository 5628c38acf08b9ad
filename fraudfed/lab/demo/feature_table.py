"""Any feature table as the demo's input: split over banks, and a fifth set apart to judge."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pa_parquet
from pydantic import ValidationError

from fraudfed.boosting.table import TrainingTable
from fraudfed.dtypes import BoolArray, Float32Array
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.features.mappings.mapping import Mapping
from fraudfed.intake.outcomes import outcomes_without_times
from fraudfed.intake.plain_table import PlainRows, contract_schema, read_plain_table
from fraudfed.intake.windows import JUDGE, WindowCounts, judging_share, windows_by_share
from fraudfed.lab.demo.bank_names import name_banks
from fraudfed.lab.demo.column_options import named_columns, option_of, require_column
from fraudfed.lab.demo.data import (
    BankRows,
    BankSource,
    DemoData,
    PooledRows,
    pool_judged,
    require_cohort,
)
from fraudfed.lab.oracle.references import pool
from fraudfed.reading.cells import parsed_number
from fraudfed.reading.file import DataFile
from fraudfed.reading.file_format import FileFormat
from fraudfed.reading.kinds import all_columns, find_kind
from fraudfed.reading.problems import Problems
from fraudfed.wire.messages import DataContract, FeatureSpec, FeatureType

#: A text column with more distinct values than this is an identifier, not a category.
_MAX_CATEGORIES = 1000


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How rows without times are divided, by a hash of their content.

    Attributes
    ----------
    seed : int
        The runs' ``seed``.
    searches : bool
        Whether a search is run: its bank nodes set apart what selects and what judges.
    selects : bool
        Without a search: whether the bank nodes set apart what decides early stopping.
    """

    seed: int = 0
    searches: bool = False
    selects: bool = False


#: What does not judge trains.
ALL_TRAIN = Shares()


def open_table(
    file: Path,
    *,
    mapping: Mapping | None,
    label: str,
    drop: Sequence[str],
    bank_column: str | None,
    n_banks: int,
    work: Path,
    seed: int,
    shares: Shares = ALL_TRAIN,
) -> DemoData:
    """Split any feature table over banks, and set a fifth of each bank's rows apart to judge.

    Parameters
    ----------
    file : Parquet or CSV file
    mapping : how the file is written, what its columns are called, and more columns to leave out
    label : column of 0 and 1
    drop : columns to leave out, as ``--drop`` lists them
    bank_column : column that says whose row it is, or None to deal rows out in unequal shares
    n_banks : number of banks when there is no ``bank_column``
    work : directory for each bank's own files
    seed : of dealing rows to banks; the same rows and seed give the same files
    shares : of each bank's rows
    """
    whole = _opened(file, mapping)
    left_out = _left_out(whole, mapping, label=label, drop=drop, bank_column=bank_column)
    problems = whole.problems()
    contract = table_contract(
        whole,
        label=label,
        left_out=left_out,
        problems=problems,
    )
    extra = {}
    if bank_column is not None and whole.require(bank_column, "bank", problems):
        extra[bank_column] = pa.string()
    # Checked as a whole: what the bank nodes are given is without fault.
    rows = read_plain_table(whole, contract, problems, with_labels=True, extra=extra)
    labels = _labels(rows)
    if (labels == labels[0]).all():
        raise DataError(
            f"{file}: column {label!r} holds only the value {labels[0]:g}; training needs rows of "
            "both classes"
        )
    rng = np.random.default_rng(seed)
    if bank_column is None:
        require_cohort(n_banks, what="--banks")
        owner = deal(rows.n_rows, n_banks, rng)
        titles = {name: name for name in sorted(set(owner.tolist()))}
    else:
        what = f"{file}: column {bank_column!r}"
        named = name_banks(rows.extra[bank_column], what=what)
        owner, titles = named.owner, named.titles
        require_cohort(len(titles), what=what)
    judges = judging_share(
        TrainingTable(contract_schema(contract), rows.features, labels), seed=shares.seed
    )
    banks = []
    for name, title in titles.items():
        own = owner == name
        for part, use in ((own & ~judges, "train"), (own & judges, "judge")):
            if not part.any():
                raise DataError(
                    f"{file}: bank {title!r} has no rows left to {use}; give it more rows"
                )
        # A bank node that searches sets the rows that judge apart itself, the same ones.
        trains = own if shares.searches else own & ~judges
        bank = write_bank(work, name, rows, contract, trains, own & judges)
        banks.append(replace(bank, title=title))
    return table_data(
        banks,
        data=f"Feature table {file.name}.",
        split="The rows have no times: a fifth at random judges"
        + (", a fifth selects, the others train." if shares.searches else ", the others train.")
        + " Such numbers are better than life.",
        contract=contract,
        rows=rows.n_rows,
        shares=shares,
        notes=_alike_categories(contract) + _nearly_numbers(contract, whole.file_format),
    )


def _opened(file: Path, mapping: Mapping | None) -> DataFile:
    if mapping is None:
        return DataFile.open(file)
    return DataFile.open(file, source_names=mapping.source_names, file_format=mapping.file)


def _column_names(file: DataFile) -> tuple[str, ...]:
    """Return what the columns are called here, in the order of the file."""
    here = {source: name for name, source in file.source_names.items()}
    return tuple(here.get(column, column) for column in file.columns)


def _left_out(
    file: DataFile,
    mapping: Mapping | None,
    *,
    label: str,
    drop: Sequence[str],
    bank_column: str | None,
) -> set[str]:
    """Return the columns that are no features, and make sure that every column named is there."""
    there, source = _column_names(file), str(file.path)
    of_mapping = mapping is not None and label == mapping.label
    require_column(label, there, option="--map" if of_mapping else "--label", source=source)
    dropped = named_columns(drop, there, option="--drop", source=source)
    if label in dropped:
        raise ConfigurationError(f"--drop names the label {label!r}, expected other columns")
    left_out = {*dropped, *(() if mapping is None else mapping.drop)}
    if bank_column is not None:
        require_column(bank_column, there, option="--bank-column", source=source)
        if bank_column == label:
            raise ConfigurationError(f"--bank-column names the label {label!r}, expected another")
        left_out.add(bank_column)
    return left_out


def _alike_categories(contract: DataContract) -> tuple[str, ...]:
    """Say which categories differ by nothing but blanks: each is one of its own."""
    notes = []
    for spec in contract.features:
        seen: dict[str, str] = {}
        for category in spec.categories or ():
            other = seen.setdefault(" ".join(category.split()), category)
            if other != category:
                notes.append(
                    f"column {spec.name!r}: {other!a} and {category!a} differ only by blanks and "
                    "are two categories"
                )
                break
    return tuple(notes)


def _nearly_numbers(contract: DataContract, how: FileFormat) -> tuple[str, ...]:
    """Say which columns are categories for a few cells that are no numbers, such as ``12,5``."""
    notes = []
    for spec in contract.features:
        others = [text for text in spec.categories or () if parsed_number(text, how) is None]
        if 0 < 2 * len(others) < len(spec.categories or ()):
            notes.append(
                f"column {spec.name!r}: most of its texts are numbers, {others[0]!a} is none, so "
                "all are categories; if they are amounts, mend it, or say in a mapping how the "
                "file writes numbers"
            )
    return tuple(notes)


def table_contract(
    file: DataFile, *, label: str, left_out: set[str], problems: Problems
) -> DataContract:
    """Make the contract of a table that has none: every column but some is a feature.

    Parameters
    ----------
    file : DataFile
    label : str
    left_out : set of str
        Columns that are no features, beside the label.
    problems : Problems
        Takes columns that are neither numbers nor categories, or are there twice.

    Raises
    ------
    DataError
        If no feature is left; with every problem so far, if there is any.
    """
    names = [name for name in dict.fromkeys(_column_names(file)) if name not in {label, *left_out}]
    once = [name for name in names if file.require(name, "feature", problems)]
    if not once:
        problems.raise_any()
        raise DataError(f"{file.path}: no feature column is left; drop fewer columns with --drop")
    found = all_columns(file, once)
    specs = [_feature_spec(file, name, found[name], problems) for name in once]
    features = tuple(spec for spec in specs if spec is not None)
    if not features:
        problems.raise_any()
    try:
        return DataContract(kind="table", features=features, label=label)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise DataError(
            f"{file.path}: {reason}", what_to_do="leave a column out with --drop"
        ) from None


def _feature_spec(
    file: DataFile, name: str, column: pa.ChunkedArray, problems: Problems
) -> FeatureSpec | None:
    advice = f"leave it out with {option_of('--drop', name)}"
    kind = find_kind(file, name, column, problems, most_categories=_MAX_CATEGORIES, advice=advice)
    if kind is None:
        return None
    try:
        if kind.categories is None:
            return FeatureSpec(name=name)
        return FeatureSpec(name=name, type=FeatureType.CATEGORICAL, categories=kind.categories)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        problems.add_whole(
            "unfit_name",
            file.named(name),
            f"column {file.named(name)}: its name, or a category in it, cannot be a model's "
            f"({reason}); rename it, or {advice}",
            advice=f"rename it, or {advice}",
        )
        return None


def write_bank(
    work: Path,
    name: str,
    rows: PlainRows,
    contract: DataContract,
    train: BoolArray,
    test: BoolArray,
) -> BankSource:
    """Write a bank's feature tables into a folder of its own.

    Parameters
    ----------
    work : Path
    name : str
        Of the bank.
    rows : PlainRows
    contract : DataContract
        Of the rows.
    train, test : ndarray of shape (n_rows,), dtype=bool
        Which rows are the bank's, to train on and to test on.
    """
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    bank = BankSource(name, folder / "train.parquet", folder / "test.parquet")
    for path, part in ((bank.train_file, train), (bank.test_file, test)):
        pa_parquet.write_table(_arrow_table(rows, contract, part), path)
    return bank


def _arrow_table(rows: PlainRows, contract: DataContract, part: BoolArray) -> pa.Table:
    """Return some rows as a table whose columns are read to the same values again."""
    columns = {contract.label: pa.array(_labels(rows)[part].astype(np.int8))}
    for spec, values in zip(contract.features, rows.features.T, strict=True):
        columns[spec.name] = _arrow_column(values[part], spec)
    return pa.table(columns)


def _arrow_column(values: Float32Array, spec: FeatureSpec) -> pa.Array:
    missing = np.isnan(values)
    if spec.categories is None:
        return pa.array(values, mask=missing)
    codes = pa.array(np.where(missing, 0, values).astype(np.int32), mask=missing)
    return pa.array(spec.categories, pa.string()).take(codes)


def _labels(rows: PlainRows) -> Float32Array:
    if rows.labels is None:
        raise ValueError("rows were read without labels")
    return rows.labels


def table_data(
    banks: Sequence[BankSource],
    *,
    data: str,
    split: str,
    contract: DataContract,
    rows: int,
    shares: Shares = ALL_TRAIN,
    notes: tuple[str, ...] = (),
) -> DemoData:
    """Return banks' feature tables, as ``write_bank`` writes them, as the demo's input.

    Parameters
    ----------
    banks : sequence of BankSource
    data, split : str
        As in ``DemoData``.
    contract : DataContract
        Of the tables.
    rows : int
        Of all banks.
    shares : Shares
        Of the rows that a bank trains on.
    notes : tuple of str
        As in ``DemoData``.
    """

    def load(bank: BankSource, _features: Path | None = None) -> BankRows:
        files = (bank.train_file, bank.test_file)
        given, judge = (read_table(path, contract) for path in files)
        windows = windows_by_share(
            given,
            seed=shares.seed,
            select=shares.searches or shares.selects,
            judge=shares.searches,
        )
        judged = JudgedRows(judge.schema, judge.features, outcomes_without_times(judge.labels))
        # Without a search nothing is chosen: then no row needs to be set apart for it.
        select = windows.select or JudgedRows(
            judge.schema, judge.features[:0], outcomes_without_times(judge.labels[:0])
        )
        counts = {
            **windows.counts,
            JUDGE: WindowCounts(judge.n_rows, int(np.count_nonzero(judge.labels)), 0),
        }
        windows = replace(windows, select=select, judge=judged, counts=counts)
        return BankRows.of(windows, np.ones(judge.n_rows, dtype=np.bool_))

    def pooled() -> PooledRows:
        parts = [load(bank) for bank in banks]
        return PooledRows(
            pool([part.train for part in parts]),
            pool_judged([part.select for part in parts]),
            tuple(part.judge for part in parts),
        )

    return DemoData(
        data=data,
        split=split,
        contract=contract,
        banks=tuple(banks),
        rows=rows,
        load=load,
        pool=pooled,
        notes=notes,
    )


def read_table(path: Path, contract: DataContract) -> TrainingTable:
    """Read a feature table as training wants it.

    Parameters
    ----------
    path : Path
    contract : DataContract

    Raises
    ------
    DataError
        If it does not meet the contract.
    """
    file = DataFile.open(path)
    rows = read_plain_table(file, contract, file.problems(), with_labels=True)
    return TrainingTable(contract_schema(contract), rows.features, _labels(rows))


def deal(n_rows: int, n_banks: int, rng: np.random.Generator) -> npt.NDArray[np.str_]:
    """Deal rows out in shares 1, 1/2, 1/3, ...: banks are never of one size.

    Returns
    -------
    ndarray of shape (n_rows,), dtype=str
        The name of each row's bank.
    """
    shares = 1.0 / np.arange(1, n_banks + 1)
    ends = np.round(np.cumsum(shares / shares.sum()) * n_rows).astype(np.int64)
    position = np.searchsorted(ends, np.arange(n_rows), side="right")
    names = np.array([f"bank_{number:02d}" for number in range(1, n_banks + 1)])
    dealt: npt.NDArray[np.str_] = names[rng.permutation(position)]
    return dealt
