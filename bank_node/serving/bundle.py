"""Everything that decides about a payment, as one value that never changes.

A request takes one bundle at its start and uses it to its end, so that no answer mixes two.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bank_node.policy import Policy
from bank_node.serving.scorer import Scorer
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import ConfigurationError
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.reasons import Catalogue
from fraudfed.wire.messages import DataContract

_SECONDS_PER_DAY = 86_400
#: Days that the widest window of shared risk looks back.
_WIDEST_DAYS = 30


@dataclass(frozen=True, eq=False)
class Tables:
    """Tables of shared risk.

    Attributes
    ----------
    shared : SharedRisk
    sha256 : str
        Of the digests of all tables, so that equal tables have equal digests.
    """

    shared: SharedRisk
    sha256: str

    def age_days(self, event_time: int) -> int:
        """Return by how many days the tables end before the day that a payment looks back to."""
        return max(0, self._last_looked_at(event_time) - self.shared.last_day)

    def has_gaps(self, event_time: int) -> bool:
        """Whether a day between two tables is missing that a payment looks at."""
        last = min(self._last_looked_at(event_time), self.shared.last_day)
        first = max(last - _WIDEST_DAYS + 1, self.shared.first_day)
        return bool(self.shared.missing_days(first, last))

    def _last_looked_at(self, event_time: int) -> int:
        return event_time // _SECONDS_PER_DAY - self.shared.publication_lag_days - 1


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model with all that stands beside it.

    Attributes
    ----------
    champion : Scorer
        Whose answer counts.
    names : tuple of str
        The features of the store, in the order of its rows.
    tables : Tables or None
        None if no feature needs them.
    max_risk_age_days : int
        Older tables are not used: the second model scores.
    policy : Policy or None
    second : Scorer or None
        A model without shared risk.
    challenger : Scorer or None
        Scores in the shadow.

    Raises
    ------
    ConfigurationError
        If a model needs a feature that the store does not have, or the second one needs tables.
    """

    champion: Scorer
    names: tuple[str, ...]
    tables: Tables | None = None
    max_risk_age_days: int = 3
    policy: Policy | None = None
    second: Scorer | None = None
    challenger: Scorer | None = None

    def __post_init__(self) -> None:
        for scorer in (self.champion, self.second, self.challenger):
            if scorer is None:
                continue
            missing = [name for name in _names(scorer.contract) if name not in self.names]
            if missing:
                raise ConfigurationError(
                    f"model {scorer.sha256}: needs feature {missing[0]!r}, which the recipe of "
                    "this service does not make; serve models of one recipe together"
                )
        if self.second is not None:
            shared = [name for name in _names(self.second.contract) if _is_shared(name)]
            if shared:
                raise ConfigurationError(
                    f"model {self.second.sha256}: needs feature {shared[0]!r} of shared risk, "
                    "expected one without for the time when tables are too old"
                )

    @property
    def contract(self) -> DataContract:
        """Of the champion."""
        return self.champion.contract

    @property
    def model_sha256(self) -> str:
        """Of the champion's file."""
        return self.champion.sha256

    @cached_property
    def catalogue(self) -> Catalogue | None:
        """Phrases of the champion's features; None for a plain table."""
        return _catalogue(self.champion)

    @cached_property
    def second_catalogue(self) -> Catalogue | None:
        """Phrases of the second model's features."""
        return None if self.second is None else _catalogue(self.second)

    @cached_property
    def _indices(self) -> dict[str, Int64Array]:
        at = {name: index for index, name in enumerate(self.names)}
        return {
            scorer.sha256: np.array([at[name] for name in _names(scorer.contract)], np.int64)
            for scorer in (self.champion, self.second, self.challenger)
            if scorer is not None
        }

    def row_for(self, scorer: Scorer, row: Float32Array) -> Float32Array:
        """Return a model's columns of a row of the store.

        Parameters
        ----------
        row : ndarray of shape (len(names),), dtype=float32

        Returns
        -------
        ndarray of shape (n_features of the model,), dtype=float32
        """
        return row[self._indices[scorer.sha256]]


def _names(contract: DataContract) -> tuple[str, ...]:
    return tuple(spec.name for spec in contract.features)


def _is_shared(name: str) -> bool:
    return name.startswith("shared_")


def _catalogue(scorer: Scorer) -> Catalogue | None:
    if scorer.contract.kind != "transactions":
        return None
    return Catalogue.of(scorer.contract)
