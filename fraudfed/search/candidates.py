"""What each candidate of a search trains with, once the rows of all banks were counted."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fraudfed.boosting.table import FeatureSchema
from fraudfed.catalogue.search_check import check_search
from fraudfed.errors import ParameterError
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages.kinds.search import SearchSpec


@dataclass(frozen=True)
class Candidate:
    """One candidate, checked.

    Attributes
    ----------
    name : str
    min_child_share : float or None
    given : BoosterParams
        As they are with ``num_boost_round`` of the last rung; with a share ``min_child_weight`` is
        still to be set.
    """

    name: str
    min_child_share: float | None
    given: BoosterParams

    def params(self, n_positives: int) -> BoosterParams:
        """Return the parameters that trees grow with.

        Parameters
        ----------
        n_positives : int
            Frauds that are trained on, over all banks.
        """
        if self.min_child_share is None:
            return self.given
        return replace(self.given, min_child_weight=max(1.0, self.min_child_share * n_positives))


def read_candidates(
    spec: SearchSpec, common: Mapping[str, Any], schema: FeatureSchema
) -> tuple[Candidate, ...]:
    """Return the candidates of a search, each with all of its parameters.

    Parameters
    ----------
    spec : SearchSpec
    common : mapping of str to value
        Parameters that all candidates share; theirs replace them.
    schema : FeatureSchema

    Raises
    ------
    ParameterError
        If a parameter is unknown, out of its range, contradicts another or does not fit the
        schema, or is the search's to decide; it names the candidate.
    """
    candidates = []
    for each, params in zip(spec.candidates, check_search(spec, common), strict=True):
        try:
            params.resolve_monotone_constraints(schema)
        except ParameterError as error:
            raise ParameterError(f"candidate {each.name!r}: {error}") from None
        # What candidates are compared by, and so what their models say of themselves.
        given = replace(params, eval_metric=("aucpr",))
        candidates.append(Candidate(each.name, each.min_child_share, given))
    return tuple(candidates)


def search_digest(candidates: tuple[Candidate, ...], spec: SearchSpec) -> bytes:
    """Return the SHA-256 of everything that a search is defined by, 32 bytes."""
    document = {
        "candidates": [
            [each.name, each.min_child_share, each.given.defining()] for each in candidates
        ],
        "rungs": [[rung.trees, rung.alive] for rung in spec.rungs],
        "select_by": spec.select_by.value,
        "patience": spec.patience,
        "keep_each_share": spec.keep_each_share,
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).digest()
