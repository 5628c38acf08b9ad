"""Estimates of what a run costs, against trainings whose sums are counted."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.boosting.train import train
from fraudfed.catalogue.estimate.estimate import Estimate, estimate_run
from fraudfed.catalogue.estimate.setting import KERNELS, Setting
from fraudfed.catalogue.estimate.work import preparation, trees
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.errors import ConfigurationError, ParameterError
from fraudfed.lab.bench.workload import synthetic_table, table_contract
from fraudfed.parameters import BoosterParams
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.wire.messages import RiskSpec, RunKind, RunSpec

_BITS = 3072
_FACTOR = 1.5


class _Counting(SoloCommunicator):
    """Adds nothing, and counts what a federation would encrypt."""

    def __init__(self) -> None:
        self.rounds = 0
        self.ciphertexts = 0

    def sum(
        self,
        values: Int64Array,
        *,
        bound: int | Int64Array,
        low: int | Int64Array | None = None,
        label: str,
    ) -> Int64Array:
        # Two bits less than the modulus, as the public key has it.
        layout = SlotLayout.for_bounds(bound, values.shape, plaintext_bits=_BITS - 2, low=low)
        self.rounds += 1
        self.ciphertexts += layout.n_plaintexts
        return super().sum(values, bound=bound, low=low, label=label)


@pytest.mark.parametrize(
    ("rows", "prevalence", "parameters"),
    [
        (40_000, 0.02, {"max_depth": 5, "max_bin": 64}),
        (40_000, 0.02, {"max_depth": 4, "subsample": 0.8, "colsample_bytree": 0.5, "max_bin": 64}),
        (20_000, 0.05, {"max_depth": 3, "max_bin": 256}),
        (40_000, 0.02, {"max_depth": 6, "max_bin": 32, "min_child_weight": 20}),
    ],
)
def test_sums_of_a_training_are_estimated_within_the_stated_factor(
    rows: int, prevalence: float, parameters: dict[str, float]
) -> None:
    table = synthetic_table(rows, 20, np.random.default_rng(3), prevalence=prevalence)
    params = BoosterParams.parse({**parameters, "num_boost_round": 12})
    counting = _Counting()
    train(params, table, counting)
    setting = Setting(rows=rows, fraud_share=prevalence, key_bits=_BITS)
    contract = table_contract(table)
    found = preparation(contract, params, setting) + trees(contract, [(params, 12)], setting)
    assert abs(math.log(found.rounds / counting.rounds)) < math.log(_FACTOR)
    assert abs(math.log(found.ciphertexts / counting.ciphertexts)) < math.log(_FACTOR)


def _spec(**parameters: float) -> RunSpec:
    table = synthetic_table(100, 10, np.random.default_rng(0))
    return RunSpec(name="a", key_epoch=1, parameters=parameters, contract=table_contract(table))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(3, 50),
    st.integers(1_000, 1 << 30),
    st.integers(1, 8),
    st.integers(1, 200),
    st.sampled_from(["banks", "rows", "rtt_ms", "trees", "depth"]),
)
def test_more_of_anything_never_costs_less(
    banks: int, rows: int, depth: int, n_trees: int, what: str
) -> None:
    def at(factor: int) -> Estimate:
        numbers = {"banks": banks, "rows": rows, "rtt_ms": 10, "trees": n_trees, "depth": depth}
        numbers[what] *= factor
        setting = Setting(
            banks=numbers["banks"], rows=numbers["rows"], rtt_ms=float(numbers["rtt_ms"])
        )
        spec = _spec(max_depth=numbers["depth"], num_boost_round=numbers["trees"])
        return estimate_run(spec, setting)

    less, more = at(1), at(2)
    assert less.rounds <= more.rounds
    assert less.ciphertexts <= more.ciphertexts
    assert less.minutes < more.minutes or what == "banks"
    assert less.bank_memory_bytes <= more.bank_memory_bytes


def test_a_slower_kernel_and_a_longer_key_cost_more() -> None:
    spec = _spec(num_boost_round=50)

    def minutes(**changes: Any) -> float:
        return estimate_run(spec, dataclasses.replace(Setting(), **changes)).minutes

    for change in ({"kernel": "gmp"}, {"key_bits": 4096}, {"mbit": 1.0}):
        assert minutes(**change) > minutes()
    by_kernel = [minutes(kernel=name) for name in KERNELS]
    assert by_kernel == sorted(set(by_kernel))
    # Of factors of 4096 bits each, which no kernel of ours covers.
    assert len({minutes(kernel=name, key_bits=8192) for name in KERNELS}) == 1


def test_a_risk_run_sends_its_sketches() -> None:
    spec = RunSpec(
        name="risk",
        key_epoch=1,
        kind=RunKind.RISK,
        risk=RiskSpec(first_day=20_000, last_day=20_089, delay_days=0),
        model_visibility="members",
    )
    found = estimate_run(spec, Setting(rows=10_000))
    # 90 days of 4 rows of counters of at most 15 bits, and 13 steps of two rounds.
    assert found.rounds == 26
    assert 90 * 4 * 4_096 * 8 / _BITS < found.ciphertexts < 90 * 4 * 4_608 * 20 / _BITS


@pytest.mark.parametrize(
    ("field", "value"),
    [("banks", 0), ("rows", 0), ("fraud_share", 1.0), ("kernel", "cuda"), ("largest_share", 0.1)],
)
def test_a_setting_that_cannot_be_is_refused(field: str, value: object) -> None:
    with pytest.raises(ParameterError, match=field):
        dataclasses.replace(Setting(), **{field: value})


def test_nothing_is_said_of_a_run_of_statistics() -> None:
    table = synthetic_table(100, 3, np.random.default_rng(0))
    spec = RunSpec(
        name="s",
        key_epoch=1,
        kind=RunKind.STATISTICS,
        contract=table_contract(table),
        statistics={},
        model_visibility="members",
    )
    with pytest.raises(ConfigurationError, match="three rounds"):
        estimate_run(spec, Setting())
