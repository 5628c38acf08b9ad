"""``fraudfed features``: a recipe, for people and programs."""

import click

from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import RECIPES
from fraudfed.console import Answer, answers, say
from fraudfed.features.publication import published_recipe


class PublishedFeature(Answer):
    """One feature; ``categories`` are its codes in order, null for a number."""

    name: str
    type: str
    unit: str | None
    definition: str
    categories: tuple[str, ...] | None


class PublishedRecipe(Answer):
    """``features``: the whole recipe; the features that need risk tables are the last."""

    format_version: int
    recipe: str
    features: tuple[PublishedFeature, ...]


def _show(recipe: PublishedRecipe) -> None:
    say(f"recipe {recipe.recipe}, {len(recipe.features)} features")
    for feature in recipe.features:
        say(f"{feature.name} [{feature.unit}]: {feature.definition}")
        if feature.categories is not None:
            codes = ", ".join(f"{code} {text}" for code, text in enumerate(feature.categories))
            say(f"  codes: {codes}")


@click.command("features")
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default=RECIPE,
    show_default=True,
    help="Which recipe, by its name in a data contract.",
)
@answers(PublishedRecipe, _show)
def features_command(recipe: str) -> PublishedRecipe:
    """Print every feature of a recipe with its unit and definition."""
    return PublishedRecipe.model_validate(published_recipe(recipe))
