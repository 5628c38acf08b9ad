"""Read what decides about payments from a state directory: all of it, or nothing.

Which models those are is said by the life cycle (``bank_node.lifecycle``): its champion answers,
its fallback scores without shared risk, its challenger in the shadow. A file or run that is named
takes the place of one of them.
"""

import hashlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from bank_node.jobs.risk.history import risk_files, scoring_tables
from bank_node.lifecycle.probation import require_warn_only
from bank_node.lifecycle.stage_history import Stage
from bank_node.lifecycle.stages import StageDirectory, StagedModel, Stages
from bank_node.policy import Policy, read_policy
from bank_node.policy.policy_file import check_policy
from bank_node.serving.bundle import Bundle, Tables
from bank_node.serving.calibration_file import read_calibration
from bank_node.serving.scorer import Scorer
from bank_node.serving.store.arrival import StoreTerms
from bank_node.state.directory import StateDirectory
from fraudfed.errors import ConfigurationError, ConflictError, FraudFedError, StateError
from fraudfed.wire.messages import DataContract

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """Where a bundle comes from.

    Attributes
    ----------
    state : StateDirectory
    run_id : str or None
        Of the model that answers.
    model : Path or None
        Its file. Without a run and a file it is the champion of the life cycle.
    policy : Path or None
        None is no policy.
    second_run, challenger_run : str or None
        Runs of the second model and of the challenger; None are those of the life cycle.
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
        """Read everything; a process that forks afterwards must not load it before.

        Parameters
        ----------
        terms : StoreTerms or None
            Of the store that is in use: what needs another one is refused.

        Raises
        ------
        ConflictError
            If a model is of another recipe, delay, currency or set of own columns.
        StateError, ConfigurationError, DataError
            If a file cannot be read or used, or no model is in charge.
        """
        stages = StageDirectory.of_state(self.state.path).read()
        run_id, champion = self._champion(stages, terms)
        found = StoreTerms.of(champion.contract)
        bundle = Bundle(
            champion,
            found.builder().names,
            tables=self._tables(champion.contract),
            max_risk_age_days=self.max_risk_age_days,
            policy=self._policy(champion, run_id),
            second=self._second(stages, found),
        )
        return self._with_challenger(bundle, stages, found)

    def _champion(self, stages: Stages, terms: StoreTerms | None) -> tuple[str, Scorer]:
        if self.model is not None or self.run_id is not None:
            run = self.state.current_run(self.run_id)
            path = self.state.model_path(run.run_id) if self.model is None else self.model
            return run.run_id, _read(path, run.contract, terms)
        staged = stages.holder(Stage.CHAMPION)
        if staged is None:
            raise StateError(
                f"{self.state.path}: has no champion, expected a model that somebody put in "
                "charge; do that with 'bank-node models promote', or name one with --run or --model"
            )
        return staged.run_id, self._staged(staged, terms)

    def _second(self, stages: Stages, terms: StoreTerms) -> Scorer | None:
        if self.second_run is not None:
            return self._of_run(self.second_run, terms)
        staged = stages.holder(Stage.FALLBACK)
        return None if staged is None else self._staged(staged, terms)

    def _with_challenger(self, bundle: Bundle, stages: Stages, terms: StoreTerms) -> Bundle:
        if self.challenger_run is not None:
            challenger = self._of_run(self.challenger_run, terms)
            return replace(bundle, challenger=challenger)
        staged = stages.holder(Stage.CHALLENGER)
        if staged is None:
            return bundle
        try:
            challenger = self._staged(staged, terms)
            return replace(bundle, challenger=challenger)
        except FraudFedError:
            # It has no say: the service starts, and swaps, without it.
            _log.exception("the challenger of the life cycle cannot be used; it scores nothing")
            return bundle

    def _staged(self, model: StagedModel, terms: StoreTerms | None) -> Scorer:
        directory = StageDirectory.of_state(self.state.path)
        # Whether it is the file that was staged is not asked where models are read.
        content = directory.content(model)
        path = directory.model_path(model.sha256)
        scorer = _read(path, self.state.current_run(model.run_id).contract, terms)
        if scorer.sha256 != model.sha256:
            raise StateError(f"{path}: has changed while it was read; read it again")
        if scorer.calibration is not None:
            return scorer
        # A calibration that was made after the model was staged lies with its run.
        beside = self.state.model_path(model.run_id)
        if not beside.is_file() or beside.read_bytes() != content:
            return scorer
        return replace(scorer, calibration=read_calibration(beside, content))

    def _of_run(self, run_id: str, terms: StoreTerms) -> Scorer:
        contract = self.state.current_run(run_id).contract
        return _read(self.state.model_path(run_id), contract, terms)

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


def _read(path: Path, contract: DataContract, terms: StoreTerms | None) -> Scorer:
    if terms is not None:
        # Before the model: read by the columns of another recipe, it is none.
        _check_same(StoreTerms.of(contract), terms)
    return Scorer.read(path, contract)


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
