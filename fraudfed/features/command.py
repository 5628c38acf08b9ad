"""``fraudfed features``: the recipe, for people and programs."""

import json

import click

from fraudfed.features.publication import published_recipe


@click.command("features")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def features_command(as_json: bool) -> None:
    """Print every feature of the recipe with its unit and definition."""
    recipe = published_recipe()
    if as_json:
        click.echo(json.dumps(recipe, indent=2))
        return
    click.echo(f"recipe {recipe['recipe']}, {len(recipe['features'])} features")
    for feature in recipe["features"]:
        click.echo(f"{feature['name']} [{feature['unit']}]: {feature['definition']}")
        if feature["categories"] is not None:
            codes = ", ".join(f"{code} {text}" for code, text in enumerate(feature["categories"]))
            click.echo(f"  codes: {codes}")
