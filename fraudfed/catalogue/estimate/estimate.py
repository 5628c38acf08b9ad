"""What a run will cost: its work, and the time, bytes and memory that the work takes."""

from dataclasses import dataclass
from typing import Any

from fraudfed.catalogue.estimate.setting import Setting
from fraudfed.catalogue.estimate.speed import cpu_seconds, memory_bytes, wall_seconds
from fraudfed.catalogue.estimate.work import Work, preparation, risk, scoring, trees
from fraudfed.errors import ConfigurationError
from fraudfed.parameters import BoosterParams, overridden
from fraudfed.wire.messages import RunKind, RunSpec

#: A reading of the scores that decide when to stop, and those that judge.
_JUDGING_SUMS = 3.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate for people, no promise: on benchmarks within a factor of 1.5.

    Attributes
    ----------
    kind : str
    rounds, ciphertexts : int
        Secure sums, and what one bank encrypts in all of them.
    bytes_sent, bytes_received : int
        By one bank.
    minutes : float
        Wall time from the complete cohort to the result.
    bank_cpu_seconds, aggregator_cpu_seconds : float
        Of the largest bank, and of the aggregator.
    bank_memory_bytes, aggregator_memory_bytes : int
        Peak of the largest bank's process, and of the aggregator's.
    setting : Setting
        What was assumed.
    """

    kind: str
    rounds: int
    ciphertexts: int
    bytes_sent: int
    bytes_received: int
    minutes: float
    bank_cpu_seconds: float
    aggregator_cpu_seconds: float
    bank_memory_bytes: int
    aggregator_memory_bytes: int
    setting: Setting

    def in_one_line(self) -> str:
        """Return the estimate and what it assumes, as a sentence."""
        at = self.setting
        return (
            f"about {duration(self.minutes)}, {self.rounds:,} rounds and "
            f"{(self.bytes_sent + self.bytes_received) / 1e6:,.0f} MB at each of {at.banks} banks, "
            f"if all have {at.rows:,} {'payments a day' if self.kind == 'risk' else 'rows'}, "
            f"{100 * at.fraud_share:g} % fraud, {at.rtt_ms:g} ms and {at.mbit:g} Mbit/s; for other "
            "numbers save this with --dry-run and use `fraudfed estimate`"
        )


def duration(minutes: float) -> str:
    """Return a time as people say it."""
    if minutes < 2:
        return f"{60 * minutes:.0f} seconds"
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def estimate_run(spec: RunSpec, setting: Setting) -> Estimate:
    """Estimate what a run costs.

    Parameters
    ----------
    spec : RunSpec
    setting : Setting

    Raises
    ------
    ParameterError
        If the parameters are not those of a training.
    ConfigurationError
        If nothing is known of runs of this kind.
    """
    features, raw = 0, True
    if spec.kind is RunKind.RISK and spec.risk is not None:
        work = risk(spec.risk, setting)
    elif spec.contract is not None and spec.kind in (RunKind.TRAINING, RunKind.SEARCH):
        candidates = _candidates(spec, setting)
        features, raw = len(spec.contract.features), spec.contract.kind == "transactions"
        work = preparation(spec.contract, candidates[0][0], setting)
        work += trees(spec.contract, candidates, setting)
        work += _scorings(spec, candidates, setting)
    else:
        raise ConfigurationError(
            f"estimate: a run of kind {spec.kind.value!r}, expected a training, a search or a risk "
            "run; a statistics run takes three rounds"
        )
    return _priced(spec, work, features, raw, setting)


def _candidates(spec: RunSpec, setting: Setting) -> list[tuple[BoosterParams, int]]:
    """Return each candidate's parameters and how many trees it is grown to; one is a training."""
    if spec.search is None:
        params = BoosterParams.parse(spec.parameters)
        return [(params, params.num_boost_round)]
    ordered = [
        _parameters(c.parameters, c.min_child_share, spec, setting) for c in spec.search.candidates
    ]
    rungs = spec.search.rungs
    return [
        (params, max(rung.trees for rung in rungs if position < rung.alive))
        for position, params in enumerate(_spread(ordered))
    ]


def _spread(ordered: list[BoosterParams]) -> list[BoosterParams]:
    """Return candidates so that those that live on are of all kinds: nobody knows which will."""
    stride = next(n for n in range(len(ordered) // 2 + 1, 0, -1) if _coprime(n, len(ordered)))
    return [ordered[i * stride % len(ordered)] for i in range(len(ordered))]


def _coprime(a: int, b: int) -> bool:
    while b:
        a, b = b, a % b
    return a == 1


def _parameters(
    own: dict[str, Any], share: float | None, spec: RunSpec, setting: Setting
) -> BoosterParams:
    given = overridden(spec.parameters, own)
    if share is not None:
        weight = max(1.0, share * setting.rows * setting.fraud_share)
        given = overridden(given, {"min_child_weight": weight})
    return BoosterParams.parse(given)


def _scorings(spec: RunSpec, candidates: list[tuple[BoosterParams, int]], setting: Setting) -> Work:
    work = scoring(_JUDGING_SUMS, setting)
    if spec.search is not None:
        for rung in spec.search.rungs:
            work += scoring(1.0, setting, candidates=rung.alive)
    elif candidates[0][0].early_stopping_rounds is not None:
        work += scoring(float(candidates[0][1]), setting)
    return work


def _priced(spec: RunSpec, work: Work, features: int, raw: bool, setting: Setting) -> Estimate:
    ciphertext_bytes = setting.key_bits // 4
    # What is opened fits into half of a ciphertext; a bank opens its shard of the product, and
    # takes the others' parts.
    sent = work.ciphertexts * (ciphertext_bytes + ciphertext_bytes / 2 / setting.banks)
    received = work.ciphertexts * (ciphertext_bytes / setting.banks + ciphertext_bytes / 2)
    cpu = cpu_seconds(
        rounds=work.rounds,
        ciphertexts=work.ciphertexts,
        row_passes=work.row_passes,
        trees=work.trees,
        at=setting,
    )
    seconds = wall_seconds(cpu, rounds=work.rounds, bytes_of_bank=sent + received, at=setting)
    bank, aggregator = memory_bytes(features=features, raw=raw, at=setting)
    return Estimate(
        kind=spec.kind.value,
        rounds=round(work.rounds),
        ciphertexts=round(work.ciphertexts),
        bytes_sent=round(sent),
        bytes_received=round(received),
        minutes=seconds / 60.0,
        bank_cpu_seconds=cpu.largest_bank,
        aggregator_cpu_seconds=cpu.aggregator,
        bank_memory_bytes=round(bank),
        aggregator_memory_bytes=round(aggregator),
        setting=setting,
    )
