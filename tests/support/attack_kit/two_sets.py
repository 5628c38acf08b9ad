"""Files of four banks, and a curious member that keeps the sums which it opens anyway."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from examples.ledgers import ledger_at, reveal

from bank_node.data.contract import load_training_rows
from bank_node.data.source_keys import row_keys
from bank_node.state.ledger import Ledger
from fraudfed.boosting.resume.state import TrainingState
from fraudfed.boosting.table import TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.dtypes import Int64Array
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import DataContract, FeatureSpec

#: The honest bank whose ledger decides, another one, the curious member, and the victim.
BANKS = "abmd"
VICTIM = BANKS.index("d")
CONTRACT = DataContract(kind="table", features=(FeatureSpec(name="f0"), FeatureSpec(name="f1")))
PARAMETERS = {"num_boost_round": 4, "max_depth": 2, "max_bin": 8, "eta": 0.0}


class Stopped(Exception):  # noqa: N818 - it is no error
    """The stage is over."""


class Curious(SoloCommunicator):
    """Keeps the root's histogram of each tree, as every member opens it."""

    def __init__(self) -> None:
        self.roots: list[Int64Array] = []

    def sum(self, values, *, bound, low=None, label: str) -> Int64Array:  # type: ignore[no-untyped-def]
        total = super().sum(values, bound=bound, low=low, label=label)
        if label.startswith("histogram") and label.endswith("step 0"):
            self.roots.append(total)
        return total


class Consortium:
    """Files of four banks, and the ledger of the first."""

    def __init__(self, root: Path) -> None:
        self.files = [root / f"{name}.csv" for name in BANKS]
        for place, file in enumerate(self.files):
            rng = np.random.default_rng(place)
            count = 80 + 31 * place
            # Values that every bank has: no bin is without rows, which would be told by itself.
            columns = {f"f{n}": rng.integers(0, 20, count).astype(float) for n in range(2)}
            label = rng.integers(0, 2, count)
            pd.DataFrame({**columns, "is_fraud": label}).to_csv(file, index=False)
        self.ledger_path = root / "ledger"
        ledger_at(self.ledger_path)

    @property
    def ledger(self) -> Ledger:
        """Open it, as each program does."""
        return Ledger(self.ledger_path)

    def table(self, places: Sequence[int], contract: DataContract = CONTRACT) -> TrainingTable:
        parts = [load_training_rows(self.files[place], contract).table for place in places]
        return TrainingTable(
            schema=parts[0].schema,
            features=np.concatenate([part.features for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            weights=None,
            max_weight=parts[0].max_weight,
        )

    def step(
        self, banks: str, start: TrainingState | None, *, number: int, set_changes: int
    ) -> tuple[TrainingState, list[Int64Array]]:
        """Do one step with some banks, if the ledger allows; return state and opened roots."""
        self.ledger.note(
            row_keys(self.files[0], self.ledger),
            reveal(banks, generation=number),
            set_changes=set_changes,
        )
        return self.sums(banks, start)

    def sums(
        self, banks: str, start: TrainingState | None
    ) -> tuple[TrainingState, list[Int64Array]]:
        curious, ended = Curious(), []
        until = 1 + (0 if start is None else start.n_steps)

        def on_step(state: TrainingState) -> None:
            if state.n_steps == until:
                ended.append(state)
                raise Stopped

        try:
            table = self.table([BANKS.index(name) for name in banks])
            train(BoosterParams.parse(PARAMETERS), table, curious, start=start, on_step=on_step)
        except Stopped:
            pass
        return ended[0], curious.roots

    def attack(self, *, set_changes: int) -> Int64Array:
        """Return what the member reads of the victim, which leaves between two trees."""
        prepared, _ = self.step(BANKS, None, number=0, set_changes=set_changes)
        first, (with_it,) = self.step(BANKS, prepared, number=0, set_changes=set_changes)
        others = BANKS.replace("d", "")
        continued = first.regrouped(more_rows=0)
        _, (without,) = self.step(others, continued, number=1, set_changes=set_changes)
        return with_it - without
