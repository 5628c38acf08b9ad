"""Defences that can be taken out of a program under test. No other test does."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _any_rows() -> None:
    """Let a bank go on with other rows than it has begun with."""
    from bank_node.jobs import training

    training.data_digest = lambda _: "0" * 64  # type: ignore[assignment]


def _half_learning_rate() -> None:
    """Let all banks learn at half the rate of the run."""
    from dataclasses import replace

    from bank_node.jobs import training

    check_run = training.check_run
    training.check_run = lambda *given: replace(  # type: ignore[assignment]
        params := check_run(*given), eta=params.eta / 2
    )


def _replays() -> None:
    """Let the aggregator take a signature twice."""
    from aggregator.consortium.replay import Nonces

    def use(
        _: Nonces,
        bank: str,
        nonce: str,
        **options: Any,
    ) -> None:
        """Remember nothing."""

    Nonces.use = use  # type: ignore[method-assign]


_SABOTAGES: dict[str, tuple[str, Callable[[], None]]] = {
    "any-rows": ("bank-node", _any_rows),
    "half-learning-rate": ("bank-node", _half_learning_rate),
    "replays": ("aggregator", _replays),
}


def sabotage(name: str) -> None:
    """Take a defence out, if this is the program that has it."""
    program, take_out = _SABOTAGES[name]
    if any(Path(word).name == program for word in sys.orig_argv[:3]):
        take_out()
