"""The shared model of a world's banks, and the best that each could have alone.

Everything is computed in one process. What counts is that both sides are chosen by the same plan on
the same windows, as a federation and a bank alone would.
"""

from dataclasses import dataclass, replace

import numpy as np
import xgboost

from data_gen.world.making import generate
from fraudfed.boosting.table import TrainingTable
from fraudfed.catalogue.plans import SearchPlan
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.dtypes import Float32Array
from fraudfed.evaluation.outcomes import JudgedRows
from fraudfed.features.builders import build_recipe
from fraudfed.features.formulas import SECONDS_PER_DAY
from fraudfed.intake.windows import Windows, labelled_table, windows_in_time
from fraudfed.lab.bench.gate.worlds import TrialWorld
from fraudfed.lab.bench.world_risk import risk_of_banks
from fraudfed.lab.oracle.references import matrix_of, pool, predict
from fraudfed.lab.oracle.same_trees import quantile_matrix, xgboost_parameters
from fraudfed.wire.messages import DataContract, LabelHorizon


@dataclass(frozen=True, eq=False)
class BankTrial:
    """One bank after the models were chosen.

    Attributes
    ----------
    bank : str
    judge : JudgedRows
        All later payments.
    shared, own : ndarray of shape (n_rows,), dtype=float32
        What both models say of them.
    """

    bank: str
    judge: JudgedRows
    shared: Float32Array
    own: Float32Array

    @property
    def alerts_per_day(self) -> float:
        """The bank's budget: two alerts for each fraud of a mean day."""
        time = self.judge.outcomes.event_time
        if time is None:
            raise ValueError("trials are of payments in time")
        days = (int(time.max()) - int(time.min())) / SECONDS_PER_DAY
        return 2.0 * np.count_nonzero(self.judge.outcomes.labels == 1) / max(days, 1.0)


def trials_of(world: TrialWorld, plan: SearchPlan, *, threads: int) -> list[BankTrial]:
    """Train the models of a world and score every later payment with them."""
    rows = dict(generate(world.config))
    shared = risk_of_banks(
        rows.values(),
        first_day=world.config.start_time // SECONDS_PER_DAY,
        days=world.config.days,
    )
    contracts = {with_risk: _contract(world, shared=with_risk) for with_risk in (False, True)}
    windows: dict[str, dict[bool, Windows]] = {}
    for name, payments in rows.items():
        built = build_recipe(RECIPE, payments, shared=shared)
        windows[name] = {
            with_risk: windows_in_time(built, payments, contract)
            for with_risk, contract in contracts.items()
        }
    every = [windows[name][True] for name in rows]
    model, _ = _best(
        plan,
        contracts[True],
        pool([each.train for each in every]),
        _pooled_select(every),
        threads=threads,
    )
    trials = []
    for name in rows:
        own: list[tuple[float, bool, xgboost.Booster]] = []
        for with_risk, contract in contracts.items():
            here = windows[name][with_risk]
            if here.select is None or not _can_train(here.train):
                continue
            found, value = _best(plan, contract, here.train, here.select, threads=threads)
            own.append((value, with_risk, found))
        judge = windows[name][True].judge
        if not own or judge is None:
            continue
        _, with_risk, best = max(own, key=lambda each: each[0])
        plain = windows[name][with_risk].judge
        if plain is None:
            continue
        trials.append(
            BankTrial(
                name,
                judge,
                _scores(model, judge),
                _scores(best, plain),
            )
        )
    return trials


def _best(
    plan: SearchPlan,
    contract: DataContract,
    train: TrainingTable,
    select: JudgedRows,
    *,
    threads: int,
) -> tuple[xgboost.Booster, float]:
    """Return the plan's best model, and its average precision on the rows that chose it.

    Stock XGBoost grows every candidate to the end, which takes a fraction of the time and drops no
    candidate early; a search over an encrypted sum grows the same kinds of trees.
    """
    spec = plan.spec_for(contract)
    known = labelled_table(select)
    evaluated = matrix_of(known, threads=threads)
    rounds = spec.rungs[-1].trees
    n_frauds = int(np.count_nonzero(train.labels == 1))
    best: tuple[xgboost.Booster, float] | None = None
    for candidate in spec.candidates:
        settings = {**plan.common, **candidate.parameters}
        if candidate.min_child_share is not None:
            settings["min_child_weight"] = max(1.0, candidate.min_child_share * n_frauds)
        booster = xgboost.train(
            {**xgboost_parameters(settings, threads=threads), "eval_metric": "aucpr"},
            quantile_matrix(train, max_bin=plan.common["max_bin"], threads=threads),
            rounds,
            evals=[(evaluated, "select")],
            early_stopping_rounds=spec.patience,
            verbose_eval=False,
        )
        if best is None or booster.best_score > best[1]:
            best = booster[: booster.best_iteration + 1], float(booster.best_score)
    if best is None:
        raise ValueError("a plan without candidates")
    return best


def _scores(model: xgboost.Booster, rows: JudgedRows) -> Float32Array:
    table = TrainingTable(rows.schema, rows.features, np.zeros(rows.n_rows, dtype=np.float32))
    return predict(model, table)


def _can_train(train: TrainingTable) -> bool:
    return bool((train.labels == 1).any() and (train.labels == 0).any())


def _pooled_select(windows: list[Windows]) -> JudgedRows:
    parts = [each.select for each in windows if each.select is not None]
    first = parts[0]
    outcomes = replace(
        first.outcomes,
        labels=np.concatenate([part.outcomes.labels for part in parts]),
        is_blocked=np.concatenate([part.outcomes.is_blocked for part in parts]),
        event_time=None,
        amounts=None,
        customers=None,
        cards=None,
        accounts=None,
        is_first_seen=None,
        cells={},
    )
    return JudgedRows(
        schema=first.schema,
        features=np.concatenate([part.features for part in parts]),
        outcomes=outcomes,
    )


def _contract(world: TrialWorld, *, shared: bool) -> DataContract:
    return DataContract(
        kind="transactions",
        features=contract_features(RECIPE, shared=shared),
        recipe=RECIPE,
        label_horizon_days=LabelHorizon(days=world.config.clean_delay_days),
        train_until=world.train_until,
        select_until=world.select_until,
        judge_until=world.config.end_time,
    )
