"""What every store does with what arrives: once, at its own second, and not later than allowed."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from threading import RLock

from bank_node.serving.store.protocol import Arrival
from fraudfed.catalogue.inbound import INBOUND_RECIPE
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.dtypes import Float32Array
from fraudfed.errors import ConfigurationError, ConflictError
from fraudfed.features import OnlineFeatures
from fraudfed.features.arrivals import ArrivalFeatures, Change, Histories
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.features.inbound import OnlineInboundFeatures
from fraudfed.features.payment import Payment
from fraudfed.features.shared_risk.history import SharedRisk
from fraudfed.payments.columns import OUTBOUND
from fraudfed.wire.messages import Currency, DataContract, FeatureSpec

_log = logging.getLogger(__name__)

#: How late a payment may arrive.
ALLOWED_LATENESS_SECONDS = SECONDS_PER_DAY
#: Bytes of the digest that tells two payments of one identifier apart.
CONTENT_BYTES = 8


@dataclass(frozen=True, slots=True)
class StoreTerms:
    """What features a store gives.

    Attributes
    ----------
    recipe : str
    risk_delay_days : int
    own_columns : sequence of FeatureSpec
    currency : Currency or None
        All as in the contract of the model.
    shared : SharedRisk or None
        As for ``build_features``.
    allowed_lateness_seconds : int
    """

    recipe: str = RECIPE
    risk_delay_days: int = 0
    own_columns: Sequence[FeatureSpec] = ()
    currency: Currency | None = None
    shared: SharedRisk | None = None
    allowed_lateness_seconds: int = ALLOWED_LATENESS_SECONDS

    @classmethod
    def of(
        cls,
        contract: DataContract,
        *,
        shared: SharedRisk | None = None,
        allowed_lateness_seconds: int = ALLOWED_LATENESS_SECONDS,
    ) -> "StoreTerms":
        """Return the terms of a model's contract.

        Raises
        ------
        ConfigurationError
            If the contract has no recipe: its features come from elsewhere.
        """
        if contract.recipe is None:
            raise ConfigurationError(
                "the model's contract has no recipe, expected one that builds features from "
                "transactions; a store of payments serves no model whose features come from "
                "elsewhere"
            )
        return cls(
            recipe=contract.recipe,
            risk_delay_days=contract.risk_delay_days,
            own_columns=contract.own_columns,
            currency=contract.currency,
            shared=shared,
            allowed_lateness_seconds=allowed_lateness_seconds,
        )

    def builder(self, *, histories: Histories | None = None, key: bytes = b"") -> ArrivalFeatures:
        """Return the builder of the recipe.

        Raises
        ------
        ConfigurationError
            If this release has no recipe of that name.
        DataError
            If ``shared`` has another risk delay.
        """
        classes: dict[str, type[OnlineFeatures] | type[OnlineInboundFeatures]] = {
            RECIPE: OnlineFeatures,
            INBOUND_RECIPE: OnlineInboundFeatures,
        }
        if self.recipe not in classes:
            raise ConfigurationError(
                f"recipe {self.recipe!r}: got a recipe that no store serves, expected one of "
                f"{', '.join(classes)}; take a model of such a recipe"
            )
        return classes[self.recipe](
            risk_delay_days=self.risk_delay_days,
            shared=self.shared,
            own_columns=self.own_columns,
            currency=self.currency,
            allowed_lateness_seconds=self.allowed_lateness_seconds,
            histories=histories,
            key=key,
        )


class ArrivalStore(ABC):
    """A ``FeatureStore`` but for where it keeps things. Calls of many threads come one by one.

    Parameters
    ----------
    builder : ArrivalFeatures
    """

    def __init__(self, builder: ArrivalFeatures) -> None:
        self._builder = builder
        self._lock = RLock()
        #: How many payments came too late to be remembered, since the start.
        self.n_too_late = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the vectors."""
        return self._builder.names

    @property
    def latest(self) -> int:
        """Latest second of the payments that were observed, UTC epoch seconds; 0: none."""
        return self._builder.latest

    def use_shared(self, shared: SharedRisk) -> None:
        """Use other risk tables from now on.

        Raises
        ------
        DataError
            If they have another risk delay.
        ConfigurationError
            If the store was opened without risk tables.
        """
        with self._lock:
            self._builder.use_shared(shared)

    def features(self, payment: Payment) -> Float32Array:
        """Return a payment's features, as ``FeatureStore`` says."""
        with self._lock:
            return self._builder.row(payment)

    def features_at_once(self, payment: Payment) -> Float32Array | None:
        """Return a payment's features if nothing has to be waited for, as ``FeatureStore`` says."""
        del payment
        return None

    def observe(self, payment: Payment) -> Arrival:
        """Remember a payment, as ``FeatureStore`` says."""
        with self._lock:
            self._check_writable()
            key = self._builder.key_of("transaction", payment.transaction_id)
            content = content_of(payment, key=self._builder.key)
            known = self._find(key)
            if known is not None:
                if known != content:
                    raise ConflictError(
                        f"transaction {payment.transaction_id!r}: was observed with other content, "
                        "expected the same payment again or a new transaction_id; mend one of them"
                    )
                return Arrival.REPEATED
            if payment.event_time < self._builder.oldest:
                self.n_too_late += 1
                _log.warning(
                    "a payment arrived %d s before the latest one, more than is allowed: it is "
                    "scored by no later payment (%d so far)",
                    self._builder.latest - payment.event_time,
                    self.n_too_late,
                )
                return Arrival.TOO_LATE
            insertion = self._builder.insertion(payment)
            is_late = payment.event_time < self._builder.latest
            if insertion is not None:
                self._change(insertion, payment=(key, payment.event_time, content))
            return Arrival.LATE if is_late else Arrival.NEW

    def report(self, payment: Payment, *, report_time: int) -> bool:
        """Hear that a payment was a fraud, as ``FeatureStore`` says."""
        with self._lock:
            self._check_writable()
            report = self._builder.reporting(payment, report_time=report_time)
            if report is not None:
                self._change(report, payment=None)
            return report is not None

    @abstractmethod
    def commit(self) -> None:
        """Return when all that was observed and reported survives the end of this process."""

    @abstractmethod
    def close(self) -> None:
        """Commit, and let go of files and connections."""

    @abstractmethod
    def _check_writable(self) -> None:
        """Raise UnavailableError if nothing can be remembered at present."""

    @abstractmethod
    def _find(self, payment: bytes) -> bytes | None:
        """Return the content of a payment that was observed, if it could be inserted again."""

    @abstractmethod
    def _change(self, change: Change, *, payment: tuple[bytes, int, bytes] | None) -> None:
        """Apply a change; ``payment`` is key, second and content of what was observed."""


def content_of(payment: Payment, *, key: bytes) -> bytes:
    """Return a keyed digest of what a store may remember of a payment: all but its own columns."""
    values: list[object] = [getattr(payment, name) for name in _FIELDS]
    # What means the same has the same text, from a file and from a request.
    values += [payment.direction or OUTBOUND, *map(float, payment.place or ())]
    text = repr(values).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=CONTENT_BYTES, key=key).digest()


_SPOKEN_FOR = {"direction", "latitude", "longitude", "own"}
_FIELDS = tuple(
    field.name for field in fields(Payment) if field.compare and field.name not in _SPOKEN_FOR
)
