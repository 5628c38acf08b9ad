"""``run.json``: a run as this bank first saw it."""

from typing import TypeVar

from fraudfed.errors import ConfigurationError
from fraudfed.wire.messages import (
    BankName,
    DataContract,
    Message,
    MonitorSpec,
    PublicKeyMessage,
    RiskSpec,
    RunSpec,
    RunStatus,
    SearchSpec,
    StatisticsSpec,
)

P = TypeVar("P", bound=Message)


class PinnedRun(Message):
    """A run as this bank first saw it: later changes are refused."""

    run_id: str
    spec: RunSpec
    cohort: tuple[BankName, ...]
    public_key: PublicKeyMessage

    @classmethod
    def of(cls, status: RunStatus) -> "PinnedRun":
        """Return what never changes of a run."""
        return cls(
            run_id=status.run_id,
            spec=status.spec,
            cohort=status.cohort,
            public_key=status.public_key,
        )

    @property
    def contract(self) -> DataContract:
        """The data contract of a run; raises ConfigurationError for a risk run, which has none."""
        if self.spec.contract is None:
            raise ConfigurationError(
                f"run {self.run_id} ({self.spec.name}): is a risk run and has no model, expected a "
                "training; name another with --run, or use 'bank-node risk'"
            )
        return self.spec.contract

    @property
    def risk(self) -> RiskSpec:
        """What a risk run counts; raises ConfigurationError for another kind of run."""
        return self._described(self.spec.risk, "a risk run")

    @property
    def statistics(self) -> StatisticsSpec:
        """How finely a statistics run counts; ConfigurationError for another kind of run."""
        return self._described(self.spec.statistics, "statistics")

    @property
    def monitor(self) -> MonitorSpec:
        """What a monitor run watches; ConfigurationError for another kind of run."""
        return self._described(self.spec.monitor, "monitor")

    @property
    def search(self) -> SearchSpec:
        """Candidates and rungs of a search; ConfigurationError for another kind of run."""
        return self._described(self.spec.search, "a search")

    def _described(self, part: P | None, wanted: str) -> P:
        """Return what only the description of one kind of run has."""
        if part is None:
            raise ConfigurationError(
                f"run {self.run_id} ({self.spec.name}): is of kind {self.spec.kind}, expected "
                f"{wanted}; name another with --run"
            )
        return part
