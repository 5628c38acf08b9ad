"""``docs/data.md`` names every option, setting, column, category and fraud kind."""

import dataclasses
from pathlib import Path

import click

from data_gen.categories import CATEGORY_NAMES
from data_gen.cli import cli
from data_gen.config import WorldConfig
from data_gen.events import CHANNEL_NAMES, KIND_NAMES
from data_gen.presets import PRESETS
from data_gen.schema import COLUMNS

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_every_option_is_documented() -> None:
    generate = cli.commands["generate"]
    options = [p.opts[0] for p in generate.params if isinstance(p, click.Option)]
    assert len(options) > 8
    assert [option for option in options if f"`{option}" not in TEXT] == []


def test_every_setting_column_and_code_is_documented() -> None:
    names = [field.name for field in dataclasses.fields(WorldConfig)]
    names += [column.name for column in COLUMNS]
    names += [*CATEGORY_NAMES, *CHANNEL_NAMES, *KIND_NAMES, *PRESETS]
    assert [name for name in names if f"`{name}`" not in TEXT] == []
