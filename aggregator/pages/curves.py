"""The metric curves that an aggregator knows: those of a search whose result is not sealed.

Metrics are summed under encryption and opened by the banks alone. A search writes its candidates'
curves into its result; the aggregator can read that if the run's ``model_visibility`` is
``aggregator``.
"""

import json
from typing import Any

from fraudfed.errors import StateError
from fraudfed.http.pages.charts import Curve
from fraudfed.wire.search_results import decode

#: A result is a model as well; reading it for a page must stay cheap.
_MOST_BYTES = 32 * 1024 * 1024
#: As many as can be told apart.
_MOST_CURVES = 6


def search_curves(result: bytes) -> tuple[str, tuple[Curve, ...]]:
    """Return the winner and the curves of a search, those that were grown longest first.

    Returns
    -------
    winner : str
        Empty if the result is no search's.
    curves : tuple of Curve
        Over the number of trees: the candidates' area under the precision-recall curve.
    """
    if len(result) > _MOST_BYTES:
        return "", ()
    try:
        document: Any = json.loads(decode(result, source="result")[0])
        metric = document["select_by"]
        found = [
            Curve(
                str(candidate["name"])[:100],
                tuple(
                    (float(point["trees"]), float(point[metric]))
                    for point in candidate["curve"]
                    if point[metric] is not None
                ),
            )
            for candidate in document["candidates"]
        ]
        winner = str(document["choice"]["name"])[:100]
    except (StateError, ValueError, KeyError, TypeError):
        return "", ()
    found.sort(key=lambda curve: (curve.name != winner, -len(curve.points)))
    return winner, tuple(curve for curve in found[:_MOST_CURVES] if curve.points)
