"""``data-gen validate`` and ``data-gen schema``."""

import json
from pathlib import Path

import click

from data_gen.checking.schemas import SCHEMAS
from data_gen.checking.validator import validate_data_set, validate_files
from data_gen.commands.terminal import table_console
from data_gen.describing.describe import table_of
from data_gen.errors import DataError
from data_gen.manifest import TRANSACTIONS, read_manifest

_kind_option = click.option(
    "--kind",
    type=click.Choice(list(SCHEMAS)),
    default=TRANSACTIONS,
    show_default=True,
    help="Which schema; that of a directory is in its manifest.",
)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@_kind_option
@click.option(
    "--most-faults",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Stop after so many faults.",
)
def validate_command(path: Path, kind: str, most_faults: int) -> None:
    """Check a file, or a directory and its manifest, against the published schema.

    Prints the first faults, each with file, row, column, value and what was expected. Exit code 0:
    no fault; 3: faults, or nothing that can be read.
    """
    if path.is_dir():
        schema = SCHEMAS[read_manifest(path)["kind"]]
        found = validate_data_set(path, schema, most_faults=most_faults)
    else:
        found = validate_files([path], SCHEMAS[kind], most_faults=most_faults)
    for fault in found.faults:
        click.echo(str(fault))
    if found.faults:
        more = ", and there may be more" if len(found.faults) == most_faults else ""
        raise DataError(
            f"{path}: {len(found.faults)} faults in the first {found.rows:,} rows{more}; "
            "expected the schema that 'data-gen schema' prints"
        )
    click.echo(f"{path}: {found.rows:,} rows in {found.files} files, no fault")


@click.command()
@_kind_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def schema_command(kind: str, as_json: bool) -> None:
    """Print the published schema: columns, units, ranges, where values may be missing."""
    schema = SCHEMAS[kind]
    if as_json:
        click.echo(json.dumps(schema.as_dict(), indent=2))
        return
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
    table_console().print(table)
