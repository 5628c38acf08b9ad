"""What the federation of a demo ran."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fraudfed.lab.demo.plan import Fitting
from fraudfed.lab.local_federation.run import RunOutcome
from fraudfed.lab.report.facts import Choice
from fraudfed.wire.search_results import decode


@dataclass(frozen=True, eq=False)
class Runs:
    """What the federation ran.

    Attributes
    ----------
    models : mapping of str to RunOutcome
        The trainings and the search, by names of ``MODELS``.
    risk : RunOutcome or None
        The sums of shared risk, if risk is shared.
    choices : mapping of str to Choice
        With what each of ``models`` was trained.
    fitting : Fitting
        How they were fitted.
    """

    models: Mapping[str, RunOutcome]
    risk: RunOutcome | None
    choices: Mapping[str, Choice]
    fitting: Fitting

    @property
    def best(self) -> str:
        """Name of the model with all that is shared."""
        return "federated" if self.risk is None else "federated_shared"

    @property
    def outcome(self) -> RunOutcome:
        """The run of that model."""
        return self.models[self.best]

    def model_json(self, model: str) -> bytes:
        """Return one of the models, as every bank has it."""
        result = self.models[model].result
        if self.fitting.plan is None or model != self.best:
            return result
        return decode(result, source="the aggregator")[1]

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of a training that gives the best model."""
        choice = self.choices[self.best]
        if self.fitting.plan is None:
            return dict(choice.parameters)
        return {**choice.parameters, "num_boost_round": choice.trees}
