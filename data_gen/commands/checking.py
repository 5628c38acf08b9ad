"""``data-gen validate`` and ``data-gen schema``."""

import dataclasses
from pathlib import Path

import click

from data_gen.catalogue import SCHEMAS
from data_gen.checking.validator import Fault, validate_data_set, validate_files
from data_gen.commands.output import Checked, FoundFault, PublishedSchema
from data_gen.describing.describe import table_of
from data_gen.schema.rules import TRANSACTIONS
from data_gen.writing.manifest import read_manifest
from fraudfed.console import answers, stdout_console
from fraudfed.errors import DataError

_kind_option = click.option(
    "--kind",
    type=click.Choice(list(SCHEMAS)),
    default=TRANSACTIONS,
    show_default=True,
    help="Schema to use; for a directory, the manifest decides.",
)


def _show_checked(checked: Checked) -> None:
    for fault in checked.faults:
        click.echo(str(Fault(**fault.model_dump())))
    if not checked.faults:
        click.echo(f"{checked.path}: {checked.rows:,} rows in {checked.files} files, no fault")


def _faults(checked: Checked) -> DataError | None:
    if not checked.faults:
        return None
    return DataError(
        f"{checked.path}: {len(checked.faults)} faults in the first {checked.rows:,} rows, "
        "perhaps more; expected the schema that 'data-gen schema' prints"
    )


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@_kind_option
@click.option(
    "--most-faults",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Stop after this many faults.",
)
@answers(Checked, _show_checked, fails=_faults)
def validate_command(path: Path, kind: str, most_faults: int) -> Checked:
    """Check a file, or a directory and its manifest, against the published schema.

    Prints the first faults, each with file, row, column, value and what was expected. Exit code 0
    means no fault; 3 means faults, or a file that cannot be read.
    """
    if path.is_dir():
        schema = SCHEMAS[read_manifest(path)["kind"]]
        found = validate_data_set(path, schema, most_faults=most_faults)
    else:
        found = validate_files([path], SCHEMAS[kind], most_faults=most_faults)
    faults = tuple(FoundFault(**dataclasses.asdict(fault)) for fault in found.faults)
    return Checked(path=str(path), files=found.files, rows=found.rows, faults=faults)


def _show_schema(published: PublishedSchema) -> None:
    schema = SCHEMAS[published.kind]
    rows = {}
    for column in schema.columns:
        rule = schema.rule(column.name)
        missing = "may be" if column.nullable else "never"
        if rule.null_for:
            missing += f"; always for {', '.join(rule.null_for)}"
        if rule.present_for:
            missing += f"; never for {', '.join(rule.present_for)}"
        rows[column.name] = [
            column.type,
            column.unit,
            rule.expected(column.type),
            missing,
            column.meaning,
        ]
    title = (
        f"{schema.kind}: sorted by {schema.time}, {schema.identifier} unique, "
        f"{schema.label_time} not before {schema.time}"
    )
    table = table_of(title, "column", ("type", "unit", "values", "missing", "meaning"), rows)
    for found in table.columns:
        found.justify = "left"
        found.overflow = "fold"
    stdout_console(own_text=True).print(table)


@click.command()
@_kind_option
@answers(PublishedSchema, _show_schema)
def schema_command(kind: str) -> PublishedSchema:
    """Print the published schema: columns, units, ranges, where values may be missing."""
    return PublishedSchema(**SCHEMAS[kind].as_dict())
