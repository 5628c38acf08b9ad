"""Training parameters by name, for who does not want to choose each of them.

None is right for every consortium: docs/parameters.md says what each was measured on. A parameter
that is given beside a preset replaces the preset's.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fraudfed.errors import ConfigurationError


@dataclass(frozen=True)
class Preset:
    """Parameters that go together.

    Attributes
    ----------
    name : str
    purpose : str
        When to take it, in one sentence.
    parameters : mapping of str to value
        Under XGBoost's names; all others have XGBoost's defaults.
    """

    name: str
    purpose: str
    parameters: Mapping[str, int | float | str]


_ALL = (
    Preset(
        name="fraud",
        purpose="Rare fraud in many payments: small steps, and no leaf that rests on few rows.",
        parameters=MappingProxyType(
            {
                "num_boost_round": 100,
                "eta": 0.1,
                # Training begins at the share of fraud. From there the first steps of a strong
                # feature would be so long that it may diverge.
                "max_delta_step": 4,
                "max_depth": 4,
                "min_child_weight": 20,
                "subsample": 0.8,
                "colsample_bytree": 0.4,
                "max_bin": 64,
            }
        ),
    ),
    Preset(
        name="private",
        purpose="Under privacy terms, way cyclic: few long steps, as each tree costs a part of the "
        "bound.",
        parameters=MappingProxyType(
            {
                # About four trees for each of the recipe's features: what a row can say is divided
                # by the number of trees.
                "num_boost_round": 200,
                "eta": 0.4,
                "max_delta_step": 4,
                "max_depth": 4,
                "max_bin": 32,
            }
        ),
    ),
    Preset(
        name="quick",
        purpose="A few small trees in a minute: to see that all banks can take part.",
        parameters=MappingProxyType(
            {
                "num_boost_round": 10,
                "eta": 0.3,
                "max_depth": 3,
                "min_child_weight": 10,
                "max_bin": 32,
                "base_score": 0.5,
            }
        ),
    ),
    Preset(
        name="parity",
        purpose="XGBoost's own defaults: to compare the trees with those of XGBoost.",
        parameters=MappingProxyType({}),
    ),
)
PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})


def find_preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises
    ------
    ConfigurationError
        If there is none of that name.
    """
    found = PRESETS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(PRESETS)}"
        raise ConfigurationError(f"preset {name!r}: there is none of that name; {hint}")
    return found
