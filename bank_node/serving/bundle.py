"""Everything that decides about a payment, as one value that never changes.

A request takes one bundle at its start and uses it to its end, so that no answer mixes two.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bank_node.policy import Policy
from bank_node.serving.scorer import Scorer
from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.recipe import RISK_ENTITIES
from fraudfed.dtypes import Float32Array, Int64Array
from fraudfed.errors import ConfigurationError, DataError
from fraudfed.features.currency import AmountConverter, payment_in_currency
from fraudfed.features.payment import Payment
from fraudfed.features.shared_risk import SharedRisk
from fraudfed.features.shared_risk.columns import shared_features
from fraudfed.features.table import feature_schema
from fraudfed.reasons import Catalogue
from fraudfed.wire.messages import DataContract, RiskEntity

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

    def features(self, payment: Payment, *, recipe: str, names: tuple[str, ...]) -> Float32Array:
        """Return the features of shared risk of a payment.

        Where the tables end too early its windows end with them: a day that is not known is none
        without payments.

        Parameters
        ----------
        payment : Payment
        recipe : str
        names : tuple of str
            Of the features, in the order of the answer.

        Returns
        -------
        ndarray of shape (n_names,), dtype=float32
            NaN is missing.
        """
        inbound = recipe == INBOUND_RECIPE
        time = payment.event_time - self.age_days(payment.event_time) * _SECONDS_PER_DAY
        found: dict[str, float] = {}
        for kind, identifier in payment.entities(("payee", "payer") if inbound else RISK_ENTITIES):
            # Accounts are of one kind, whichever side of a payment they are on.
            entity = RiskEntity.PAYEE if inbound else RiskEntity(kind)
            columns = shared_features(
                self.shared, entity, [identifier], _one(0), _one(time), named=kind
            )
            found |= {name: float(values[0]) for name, values in columns}
        return np.array([found.get(name, np.nan) for name in names], np.float32)

    def _last_looked_at(self, event_time: int) -> int:
        return event_time // _SECONDS_PER_DAY - self.shared.publication_lag_days - 1


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model with all that stands beside it.

    Attributes
    ----------
    champion : Scorer
        Whose answer counts.
    state_names : tuple of str
        The features of the store, in the order of its rows; none of shared risk.
    tables : Tables or None
        None if no feature needs them.
    max_risk_age_days : int
        Older tables are not used: the second model scores.
    policy : Policy or None
    second : Scorer or None
        A model that asks for no feature of shared risk.
    challenger : Scorer or None
        Scores in the shadow.

    Raises
    ------
    ConfigurationError
        If a model needs a feature that the store does not have, tables with another publication
        lag, or the second one asks for shared risk.
    """

    champion: Scorer
    state_names: tuple[str, ...]
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
        lag = self.contract.risk_publication_lag_days
        for scorer in (self.second, self.challenger):
            if scorer is not None and scorer.contract.risk_publication_lag_days != lag:
                raise ConfigurationError(
                    f"model {scorer.sha256}: risk_publication_lag_days is "
                    f"{scorer.contract.risk_publication_lag_days}, expected {lag} as the model "
                    "beside it has; serve models of one lag together"
                )
        if self.second is not None:
            # A contract may have more features than its model asks for.
            shared = sorted(filter(_is_shared, self.second.model.used_features()))
            if shared:
                raise ConfigurationError(
                    f"model {self.second.sha256}: needs feature {shared[0]!r} of shared risk, "
                    "expected one without for the time when tables are too old"
                )

    @cached_property
    def shared_names(self) -> tuple[str, ...]:
        """The features of shared risk that the recipe makes of the tables."""
        if self.tables is None or self.contract.recipe is None:
            return ()
        names = feature_schema(self.contract.recipe, shared=True).names
        return tuple(name for name in names if _is_shared(name))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All features, in the order of ``full_row``."""
        return self.state_names + self.shared_names

    def full_row(self, payment: Payment, state: Float32Array) -> Float32Array:
        """Return all features of a payment.

        Parameters
        ----------
        payment : Payment
        state : ndarray of shape (len(state_names),), dtype=float32

        Returns
        -------
        ndarray of shape (len(names),), dtype=float32
        """
        if self.tables is None:
            return state
        recipe = self.contract.recipe or ""
        shared = self.tables.features(payment, recipe=recipe, names=self.shared_names)
        return np.concatenate([state, shared])

    def policy_amount(self, payment: Payment) -> int:
        """Return a payment's amount as the policy compares it, minor units of its currency.

        Raises
        ------
        DataError
            If the amount is in another currency, and the contract has no rate of that day.
        """
        payment = payment_in_currency(payment, self._converter)
        if self.policy is not None and payment.currency not in (None, self.policy.currency):
            raise DataError(
                f"transaction {payment.transaction_id!r}: its amount is in {payment.currency}, "
                f"expected {self.policy.currency} as the amounts of the policy are, for the run's "
                "contract has no rates; send it in that currency"
            )
        return payment.amount_minor

    @cached_property
    def _converter(self) -> AmountConverter | None:
        currency = self.contract.currency
        return None if currency is None else AmountConverter(currency)

    def load(self) -> "Bundle":
        """Do now what the first payment would wait for; raises StateError as ``Scorer``."""
        for scorer in (self.champion, self.second, self.challenger):
            if scorer is not None:
                n_features = len(scorer.contract.features)
                scorer.row(np.full(n_features, np.nan, np.float32))
        _ = self._indices, self.catalogue, self.second_catalogue
        return self

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
        """Return a model's columns of a full row.

        Parameters
        ----------
        row : ndarray of shape (len(names),), dtype=float32

        Returns
        -------
        ndarray of shape (n_features of the model,), dtype=float32
        """
        return row[self._indices[scorer.sha256]]


def _one(value: int) -> Int64Array:
    return np.array([value], np.int64)


def _names(contract: DataContract) -> tuple[str, ...]:
    return tuple(spec.name for spec in contract.features)


def _is_shared(name: str) -> bool:
    return name.startswith("shared_")


def _catalogue(scorer: Scorer) -> Catalogue | None:
    if scorer.contract.kind != "transactions":
        return None
    return Catalogue.of(scorer.contract)
