"""A model is kept only with the signature of every bank of the cohort."""

import hashlib

import pytest

from bank_node.model_vote import ModelVote, check_signatures
from bank_node.state import PinnedRun
from fraudfed.consortium.documents import model_bytes
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import seal_key_package
from fraudfed.consortium.model_seal import open_model
from fraudfed.errors import AuthError, ConflictError
from fraudfed.wire.messages import KeyEpoch, ModelSignature, ModelSignatures, ModelVisibility

NAMES = ("a", "b", "c")
MODEL = b'{"learner": {}}'


@pytest.fixture(scope="module")
def identities() -> dict[str, Identity]:
    return {name: Identity.generate() for name in NAMES}


@pytest.fixture(scope="module")
def key_epoch(identities, small_package) -> KeyEpoch:
    return seal_key_package(
        small_package,
        epoch=1,
        steward=identities["a"],
        steward_name="a",
        roster=[identity.member(name) for name, identity in identities.items()],
    )


@pytest.fixture
def run(make_spec, key_epoch) -> PinnedRun:
    return PinnedRun(run_id="r", spec=make_spec(), cohort=NAMES, public_key=key_epoch.public_key)


@pytest.fixture
def vote(run, small_package, identities) -> ModelVote:
    return ModelVote.of(MODEL, run, small_package, identities["a"])


@pytest.fixture
def signatures(vote, identities) -> ModelSignatures:
    document = model_bytes(run_id="r", plain_sha256=vote.plain_sha256)
    return ModelSignatures(
        run_id="r",
        sha256=vote.sha256,
        plain_sha256=vote.plain_sha256,
        signatures=tuple(
            ModelSignature(bank=name, signature=identity.sign(document).hex())
            for name, identity in identities.items()
        ),
    )


def test_a_vote_names_the_bytes_that_are_sent_and_signs_the_model(
    vote, run, small_package, identities
) -> None:
    plain = hashlib.sha256(MODEL).hexdigest()
    assert (vote.body, vote.sha256, vote.plain_sha256) == (MODEL, plain, plain)
    spec = run.spec.model_copy(update={"model_visibility": ModelVisibility.MEMBERS})
    members_only = run.model_copy(update={"spec": spec})
    votes = [
        ModelVote.of(MODEL, members_only, small_package, identity)
        for identity in identities.values()
    ]
    assert len({one.body for one in votes}) == 1, "the banks must agree on the sealed bytes"
    assert len({one.signature for one in votes}) == 3
    sealed = votes[0]
    assert sealed.sha256 == hashlib.sha256(sealed.body).hexdigest() != plain
    assert sealed.plain_sha256 == plain
    assert open_model(sealed.body, holder=small_package, run_id="r") == MODEL


def test_all_signatures_are_accepted(signatures, vote, run, key_epoch) -> None:
    check_signatures(signatures, vote, run, key_epoch)


@pytest.mark.parametrize("name", ["run_id", "sha256", "plain_sha256"])
def test_signatures_of_another_model_are_refused(name, signatures, vote, run, key_epoch) -> None:
    other = signatures.model_copy(update={name: "1" * 64})
    with pytest.raises(ConflictError, match="registry holds signatures of model"):
        check_signatures(other, vote, run, key_epoch)


def test_every_bank_of_the_cohort_must_have_signed(signatures, vote, run, key_epoch) -> None:
    first, second, third = signatures.signatures
    for found in ((), (first, second), (first, third, second), (first, second, third, third)):
        other = signatures.model_copy(update={"signatures": found})
        with pytest.raises(ConflictError, match="expected each of a, b, c"):
            check_signatures(other, vote, run, key_epoch)


def test_a_signature_of_somebody_else_is_refused(signatures, vote, run, key_epoch) -> None:
    first, second, third = signatures.signatures
    swapped = second.model_copy(update={"signature": first.signature})
    other = signatures.model_copy(update={"signatures": (first, swapped, third)})
    with pytest.raises(AuthError, match="not that of b"):
        check_signatures(other, vote, run, key_epoch)
