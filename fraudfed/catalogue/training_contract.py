"""The data contract of a training on a recipe, from what an operator says of it."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from fraudfed.catalogue.recipes import Recipe, contract_features, find_recipe
from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import DataContract, FeatureSpec, RiskEntity


def training_contract(
    *,
    recipe: str,
    windows: Mapping[str, Any],
    tables: Sequence[str] = (),
    entities: Iterable[RiskEntity] = (),
    only: Sequence[str] = (),
    without: Sequence[str] = (),
) -> DataContract:
    """Return the contract of a training on transactions.

    Parameters
    ----------
    recipe : str
        Name of the recipe.
    windows : mapping of str to value
        The fields of ``DataContract`` that say which payments train and judge, and by which labels.
    tables : sequence of str
        The ``model_sha256`` of the risk runs whose tables are used; features of shared risk are
        those that they count by.
    entities : iterable of RiskEntity
        What all of these tables count by.
    only, without : sequence of str
        Patterns (``*``, ``?``, ``[...]``) of features: those that are taken, none for all, and
        those that are left out.

    Raises
    ------
    ConfigurationError
        If there is no such recipe, a pattern matches no feature, or no feature is left; naming
        the option of ``aggregator runs create-training``.
    ValueError
        From the message, if a window holds no event.
    """
    found = find_recipe(recipe)
    features = _available(found, tables, set(entities))
    names = [spec.name for spec in features]
    for option, patterns in (("--feature", only), ("--without", without)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ConfigurationError(
                    f"{option} {pattern!r}: matches no feature of recipe {recipe!r}"
                    + ("" if tables else " without --shared-risk")
                    + f"; there are {', '.join(names[:5])} and {len(names) - 5} more "
                    "(docs/features.md)"
                )
    chosen = tuple(
        spec
        for spec in features
        if (not only or _matches(spec, only)) and not _matches(spec, without)
    )
    if not chosen:
        raise ConfigurationError("--feature and --without leave no feature; choose at least one")
    shared = {feature.name for feature in found.shared_features}
    if tables and not any(spec.name in shared for spec in chosen):
        raise ConfigurationError(
            "--shared-risk: --feature and --without leave no feature of shared risk; take some, "
            "or leave --shared-risk out"
        )
    return DataContract(
        kind="transactions",
        features=chosen,
        recipe=recipe,
        shared_risk=tuple(tables),
        **windows,
    )


def _available(
    recipe: Recipe, tables: Sequence[str], entities: set[RiskEntity]
) -> tuple[FeatureSpec, ...]:
    plain = contract_features(recipe.name)
    if not tables:
        return plain
    every = contract_features(recipe.name, shared=True)
    return tuple(spec for spec in every if spec in plain or _entity_of(spec) in entities)


def _entity_of(spec: FeatureSpec) -> RiskEntity | None:
    """Return what a feature of shared risk counts by."""
    return next((e for e in RiskEntity if spec.name.startswith(f"shared_{e.value}_")), None)


def _matches(spec: FeatureSpec, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(spec.name, pattern) for pattern in patterns)
