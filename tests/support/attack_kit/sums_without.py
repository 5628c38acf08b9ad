"""Single defences of the secure sum taken out, in the process of one test."""

import pytest

import fraudfed.secure_sum.session as session_module
from fraudfed.secure_sum import openings
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.masks.pairwise import PairwiseMasks
from fraudfed.secure_sum.tags import TagCoefficients
from fraudfed.secure_sum.used_contexts import UsedContexts

Patch = pytest.MonkeyPatch


def without_pairwise_masks(patch: Patch) -> None:
    patch.setattr(PairwiseMasks, "streams", lambda self, digest: [])


def without_self_masks(patch: Patch) -> None:
    patch.setattr(session_module, "self_streams", lambda seeds: [])


def without_masks(patch: Patch) -> None:
    without_pairwise_masks(patch)
    without_self_masks(patch)


def without_tags(patch: Patch) -> None:
    patch.setattr(TagCoefficients, "tags", lambda self, values, count: [0] * len(self._firsts))


def without_commitments(patch: Patch) -> None:
    """Believe any seed, at the bank that reveals and at those that read."""
    patch.setattr(session_module, "is_committed", lambda *_, **__: True)
    patch.setattr(openings, "is_committed", lambda *_, **__: True)


def without_signatures(patch: Patch) -> None:
    patch.setattr(openings, "_is_signed", lambda *_: True)


def without_contexts(patch: Patch) -> None:
    """Make all contexts alike."""
    patch.setattr(RoundContext, "digest", property(lambda self: "00" * 32))
    # Of which each could be used once only.
    without_the_record_of_contexts(patch)


def without_the_record_of_contexts(patch: Patch) -> None:
    patch.setattr(UsedContexts, "claim", lambda self, bank, context: None)
