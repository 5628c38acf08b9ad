"""What ``bank-node evaluate`` says, made up: a verdict without the models' training."""

import hashlib
from typing import Any

from bank_node.evaluation.document import Bounds, EvaluatedModel, Evaluation, Held
from bank_node.state.directory import StateDirectory
from fraudfed.gate.decision import Verdict
from fraudfed.wire.messages import RunKind


def evaluation(
    run_id: str, files: dict[str, bytes], verdict: Verdict, **changes: Any
) -> Evaluation:
    bounds = Bounds(estimate=0.1, lower=0.0, upper=0.2)
    held = Held(
        model="shared",
        against="own",
        verdict=verdict,
        confidence=0.95,
        difference=bounds,
        value_difference=None,
        only_model=3,
        only_own=1,
        discordant_share=0.1,
        cases_to_tell_apart=None,
        cases_to_adopt=None,
    )
    described = tuple(
        EvaluatedModel(
            name=name,
            what=name,
            file="f",
            sha256=hashlib.sha256(content).hexdigest(),
            trees=2,
            candidate=None,
            select_auprc=None,
            case_recall=bounds,
            case_value_recall=None,
            auprc=bounds,
            threshold=0.5,
        )
        for name, content in files.items()
    )
    fields: dict[str, Any] = {
        "run_id": run_id,
        "name": "judged",
        "bank": "bank-a",
        "kind": RunKind.SEARCH,
        "in_time": True,
        "windows": (),
        "windows_sha256": "5" * 64,
        "cases": 60,
        "days": 30,
        "alerts": 60,
        "alerts_per_day": 2,
        "margin": 0.02,
        "plan": "p",
        "models": described,
        "own": "own",
        "decision": held,
        "sentence": "because",
        "advice": (),
        "others": (),
        "adapted_advised": None,
        "limits": (),
        "gate": False,
        "currency": None,
        "earlier_uses": (),
        "warnings": (),
        **changes,
    }
    return Evaluation(**fields)


def judged(
    state: StateDirectory, models: dict[str, bytes], verdict: Verdict, **changes: Any
) -> None:
    directory = state.path / "runs" / "r1" / "evaluation"
    directory.mkdir(exist_ok=True)
    (directory / "own.json").write_bytes(models["own"])
    both = {name: models[name] for name in ("shared", "own")}
    found = evaluation("r1", both, verdict, **changes)
    (directory / "evaluation.json").write_text(found.model_dump_json())
