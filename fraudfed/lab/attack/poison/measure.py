"""One world of the poisoning test: every threat at every share, without and with defences."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fraudfed.boosting.bank_weight import bound_weight
from fraudfed.boosting.model import Model
from fraudfed.boosting.predict import predict_margins
from fraudfed.boosting.shard.local import LocalShard
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.evaluation.metrics import auprc
from fraudfed.gate.alerts import threshold
from fraudfed.gate.evasion import find_evasion
from fraudfed.lab.attack.poison.banks_in_process import train_together
from fraudfed.lab.attack.poison.judging import Harm, Victim, gate_verdicts, harm_of
from fraudfed.lab.attack.poison.planting import Trigger, flipped, online_frauds, planted
from fraudfed.lab.attack.poison.worlds import PoisonWorld, holding, together
from fraudfed.parameters import BoosterParams
from fraudfed.payments.columns import MERCHANT_CATEGORIES

#: Of the lying bank's rows, so many are planted or have another label.
LYING_SHARE: Final = 0.5
#: At which share of rows defences, gate and influence are tried.
DEFENDED_SHARE: Final = 0.05

NO_POISON, TRIGGER, FLIPS, OWN = "no poison", "trigger", "flipped labels", "own model"
NO_DEFENCE: Final = "none"
#: Defence -> parameters that the run has beside its own; a weight is of the mean bank's rows.
DEFENCES: Final[Mapping[str, Mapping[str, float]]] = {
    NO_DEFENCE: {},
    "min_child_banks=3": {"min_child_banks": 3},
    "min_child_banks=3 min_bank_share=0.06": {"min_child_banks": 3, "min_bank_share": 0.06},
    "min_child_banks=3 min_bank_share=0.1": {"min_child_banks": 3, "min_bank_share": 0.1},
    "max_bank_weight, half of a mean bank": {"max_bank_weight": 0.5},
}


@dataclass(frozen=True)
class Trial:
    """What one model did in one world.

    Attributes
    ----------
    seed : int
    threat, defence : str
    share : float
        Of all rows, that the lying bank holds.
    auprc, escaped, escaped_plain : float
        As ``Harm``.
    """

    seed: int
    threat: str
    defence: str
    share: float
    auprc: float
    escaped: float
    escaped_plain: float


@dataclass(frozen=True)
class GateTrial:
    """What the gates of the other banks said of one model."""

    seed: int
    threat: str
    adopt: int
    keep: int
    undecided: int


@dataclass(frozen=True)
class EvasionTrial:
    """The largest excess that each other bank's own look for a trigger finds, by threat."""

    seed: int
    threat: str
    excess: tuple[float, ...]
    found_trigger: int


@dataclass(frozen=True)
class InfluenceTrial:
    """How much better off the others are without each bank; the last one lies.

    Attributes
    ----------
    seed : int
    threat : str
    gained : tuple of float
        Mean AUPRC of the honest banks without this bank less that with all; an honest bank that is
        left out is not judged.
    """

    seed: int
    threat: str
    gained: tuple[float, ...]


@dataclass(frozen=True)
class WorldTrials:
    """All trials of one world."""

    models: tuple[Trial, ...]
    gates: tuple[GateTrial, ...]
    evasions: tuple[EvasionTrial, ...]
    influences: tuple[InfluenceTrial, ...]


def trials_of(
    world: PoisonWorld,
    parameters: Mapping[str, Any],
    shares: Sequence[float],
    *,
    trigger: Trigger,
    on_model: Callable[[str], None] = lambda _line: None,
) -> WorldTrials:
    """Poison one world in every way.

    Parameters
    ----------
    world : PoisonWorld
    parameters : mapping of str to value
        Of all trainings.
    shares : sequence of float
    trigger : Trigger
    on_model : callable
        Called with a line about each model.
    """
    *banks, liar = world.banks()
    honest = [bank.train for bank in banks]
    n_honest = sum(table.n_rows for table in honest)
    victims = [
        Victim.of(bank, trigger, np.random.default_rng((world.seed, 1, number)))
        for number, bank in enumerate(banks)
    ]
    own = [_solo(parameters, table) for table in honest]
    models: list[Trial] = []
    kept: dict[str, Model] = {}
    lies: dict[str, TrainingTable] = {}

    def note(threat: str, defence: str, share: float, harm: Harm) -> None:
        models.append(Trial(world.seed, threat, defence, share, **vars(harm)))
        on_model(
            f"{threat}, {share:.0%}, {defence}: AUPRC {harm.auprc:.3f}, escaped {harm.escaped:.1%}"
        )

    note(OWN, NO_DEFENCE, 0.0, harm_of(own, victims))
    for share in shares:
        draws = np.random.default_rng((world.seed, 2, round(1e6 * share)))
        rows = holding(liar.train, n_honest, share, draws)
        told = {
            NO_POISON: rows,
            TRIGGER: planted(rows, trigger, LYING_SHARE, draws),
            FLIPS: flipped(rows, LYING_SHARE, draws),
        }
        for threat, lie in told.items():
            for defence, extra in DEFENCES.items():
                if defence != NO_DEFENCE and (threat == FLIPS or share != DEFENDED_SHARE):
                    continue
                model = _federated(parameters, extra, [*honest, lie])
                note(threat, defence, share, harm_of([model] * len(victims), victims))
                if share == DEFENDED_SHARE and defence == NO_DEFENCE:
                    kept[threat], lies[threat] = model, lie
    gates, evasions, influences = [], [], []
    for threat, model in kept.items():
        draws = np.random.default_rng((world.seed, 3))
        said = [verdict.value for verdict in gate_verdicts(model, own, victims, draws)]
        counts = {name: said.count(name) for name in ("adopt", "keep", "undecided")}
        gates.append(GateTrial(world.seed, threat, **counts))
        evasions.append(_evasions(world.seed, threat, model, own, victims, trigger))
        gained = _influence(parameters, model, [*honest, lies[threat]], victims)
        influences.append(InfluenceTrial(world.seed, threat, gained))
        on_model(f"{threat}: gates {counts}, {evasions[-1].excess}, influence {gained}")
    return WorldTrials(tuple(models), tuple(gates), tuple(evasions), tuple(influences))


def _solo(parameters: Mapping[str, Any], table: TrainingTable) -> Model:
    return train(BoosterParams.parse(parameters), table, SoloCommunicator(), threads=1).model


def _federated(
    parameters: Mapping[str, Any], extra: Mapping[str, float], tables: list[TrainingTable]
) -> Model:
    """Train over several banks; on one table where that gives the same bytes."""
    if not extra:
        return _solo(parameters, together(tables))
    if "max_bank_weight" in extra:
        most = extra["max_bank_weight"] * sum(table.n_rows for table in tables) / len(tables)
        return _solo(
            parameters, together([bound_weight(LocalShard(table), most).table for table in tables])
        )
    return train_together(BoosterParams.parse({**parameters, **extra}), tables)


def _evasions(
    seed: int,
    threat: str,
    model: Model,
    own: Sequence[Model],
    victims: Sequence[Victim],
    trigger: Trigger,
) -> EvasionTrial:
    excess, hits = [], 0
    for alone, victim in zip(own, victims, strict=True):
        rows = victim.bank.train
        n_alerts = 2 * int(np.count_nonzero(rows.labels == 1))
        found = find_evasion(
            model,
            alone,
            rows.features[online_frauds(rows)],
            threshold_shared=threshold(predict_margins(model, rows.features), n_alerts),
            threshold_own=threshold(predict_margins(alone, rows.features), n_alerts),
            categories=MERCHANT_CATEGORIES,
        )
        if found is None:
            continue
        excess.append(round(found.excess, 4))
        hits += (
            found.category == trigger.merchant_category
            and found.amount is not None
            and found.amount[0] <= trigger.amount_minor < found.amount[1]
            and found.hour is not None
            and found.hour[0] <= trigger.hour < found.hour[1]
        )
    return EvasionTrial(seed, threat, tuple(excess), hits)


def _influence(
    parameters: Mapping[str, Any],
    model: Model,
    tables: list[TrainingTable],
    victims: Sequence[Victim],
) -> tuple[float, ...]:
    """Train once without each bank: a simulation, since each such set would cost a real one."""
    with_all = [_auprc(model, victim) for victim in victims]
    gained = []
    for left_out in range(len(tables)):
        rest = [table for number, table in enumerate(tables) if number != left_out]
        without = _solo(parameters, together(rest))
        differences = [
            _auprc(without, victim) - before
            for number, (victim, before) in enumerate(zip(victims, with_all, strict=True))
            if number != left_out
        ]
        gained.append(round(float(np.mean(differences)), 4))
    return tuple(gained)


def _auprc(model: Model, victim: Victim) -> float:
    value = auprc(predict_margins(model, victim.known.features), victim.known.labels)
    return 0.0 if value is None else value
