"""Read what decides about payments from a state directory: all of it, or nothing."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from bank_node.jobs.risk.history import risk_files, scoring_tables
from bank_node.lifecycle.probation import require_warn_only
from bank_node.policy import Policy, read_policy
from bank_node.policy.policy_file import check_policy
from bank_node.serving.bundle import Bundle, Tables
from bank_node.serving.scorer import Scorer
from bank_node.serving.store.arrival import StoreTerms
from bank_node.state.directory import StateDirectory
from fraudfed.errors import ConfigurationError, ConflictError
from fraudfed.wire.messages import DataContract


@dataclass(frozen=True)
class Sources:
    """Where a bundle comes from.

    Attributes
    ----------
    state : StateDirectory
    run_id : str or None
        None is the bank's last training.
    model, policy : Path or None
        None is the run's accepted model, and no policy.
    second_run, challenger_run : str or None
        Runs of the second model and of the challenger.
    max_risk_age_days : int
    """

    state: StateDirectory
    run_id: str | None = None
    model: Path | None = None
    policy: Path | None = None
    second_run: str | None = None
    challenger_run: str | None = None
    max_risk_age_days: int = 3

    def of_run(self, run_id: str) -> "Sources":
        """Return where the accepted model of another run is, everything else the same."""
        return replace(self, run_id=run_id, model=None)

    def read(self, terms: StoreTerms | None = None) -> Bundle:
        """Read everything.

        Parameters
        ----------
        terms : StoreTerms or None
            Of the store that is in use: what needs another one is refused.

        Raises
        ------
        ConflictError
            If the model is of another recipe, delay, currency or set of own columns.
        StateError, ConfigurationError, DataError
            If a file cannot be read or used.
        """
        run = self.state.current_run(self.run_id)
        contract = run.contract
        found = StoreTerms.of(contract)
        if terms is not None:
            _check_same(found, terms)
        path = self.state.model_path(run.run_id) if self.model is None else self.model
        champion = Scorer.read(path, contract)
        names = found.builder().names
        return Bundle(
            champion,
            names,
            tables=self._tables(contract),
            max_risk_age_days=self.max_risk_age_days,
            policy=self._policy(champion, run.run_id),
            second=self._other(self.second_run, found),
            challenger=self._other(self.challenger_run, found),
        )

    def _policy(self, champion: Scorer, run_id: str) -> Policy | None:
        if self.policy is None:
            return None
        policy = read_policy(self.policy)
        require_warn_only(
            self.state,
            run_id,
            champion.sha256,
            warn_only=policy.warn_only,
            source=str(self.policy),
        )
        check_policy(policy, champion.contract, source=str(self.policy))
        if policy.needs_probability and champion.calibration is None:
            raise ConfigurationError(
                f"{self.policy}: has rules by calibrated probability, and the model has no "
                "calibration: such a policy can never alert; run 'bank-node calibrate' first"
            )
        return policy

    def _other(self, run_id: str | None, terms: StoreTerms) -> Scorer | None:
        if run_id is None:
            return None
        contract = self.state.current_run(run_id).contract
        _check_same(StoreTerms.of(contract), terms)
        return Scorer.read(self.state.model_path(run_id), contract)

    def _tables(self, contract: DataContract) -> Tables | None:
        shared = scoring_tables(self.state, contract)
        if shared is None:
            return None
        digests = sorted(
            file.registry_sha256
            for file in risk_files(self.state)
            if file.keyed.tables.spec.delay_days == contract.risk_delay_days
        )
        return Tables(shared, hashlib.sha256("".join(digests).encode()).hexdigest())


def _check_same(found: StoreTerms, expected: StoreTerms) -> None:
    for name in ("recipe", "risk_delay_days", "own_columns", "currency"):
        got, wanted = getattr(found, name), getattr(expected, name)
        if got != wanted:
            raise ConflictError(
                f"the model's {name} is {_short(got)}, expected {_short(wanted)} as the store of "
                "this service has it; start another service for such a model"
            )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
