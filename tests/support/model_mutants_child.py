"""Changes whole nodes of a model at random, reads it, and lets XGBoost score what was accepted."""

import copy
import json
import random
import sys
from typing import Any

import numpy as np
import xgboost

from fraudfed.boosting.model_reader import read_model
from fraudfed.boosting.table import FeatureSchema
from fraudfed.errors import StateError

SCHEMA = FeatureSchema(names=("a", "b", "kind"), n_categories=(0, 0, 6))
_INTEGERS = ("left_children", "right_children", "parents", "split_indices", "split_type")


def main() -> None:
    """Read a model from stdin; print how many mutants were accepted and refused."""
    original: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    choice = random.Random(11)
    rows = xgboost.DMatrix(
        np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32) % 5,
        feature_names=list(SCHEMA.names),
        feature_types=["q", "q", "c"],
        enable_categorical=True,
        nthread=1,
    )
    accepted = refused = 0
    for _ in range(int(sys.argv[1])):
        document = copy.deepcopy(original)
        tree = choice.choice(document["learner"]["gradient_booster"]["model"]["trees"])
        n_nodes = len(tree["left_children"])
        for _ in range(choice.choice((1, 1, 2, 4))):
            if choice.random() < 0.3:
                at = choice.randrange(n_nodes)
                tree["split_conditions"][at] = choice.choice((0.0, -1e38, 1e-45, 3.0))
            elif choice.random() < 0.3:
                name = choice.choice([name for name in tree if name.startswith("categories")])
                if tree[name]:
                    at = choice.randrange(len(tree[name]))
                    tree[name][at] = choice.randrange(-1, 8)
            else:
                name, at = choice.choice(_INTEGERS), choice.randrange(n_nodes)
                tree[name][at] = choice.choice((choice.randrange(-1, n_nodes + 2), 0, 2**31 - 1))
        try:
            model = read_model(json.dumps(document).encode(), schema=SCHEMA, source="mutant")
        except StateError:
            refused += 1
            continue
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(model.to_json()))
        booster.predict(rows)
        accepted += 1
    print(accepted, refused)


if __name__ == "__main__":
    main()
