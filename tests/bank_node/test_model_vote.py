"""A model is kept only with the signature of every bank of the cohort."""

import hashlib
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from examples.run_contexts import make_context

from bank_node.config import BankConfig
from bank_node.consortium.ceremony import AcceptedEpoch
from bank_node.jobs.training import TrainingJob, TrainingRecord
from bank_node.run.lifecycle import work_with_others
from bank_node.run.record import read_record
from bank_node.run.vote import ModelVote, check_signatures
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import seal_key_package
from fraudfed.consortium.model_seal import open_model
from fraudfed.consortium.public.documents import model_bytes
from fraudfed.errors import AuthError, ConflictError, KeyMaterialError
from fraudfed.parameters import BoosterParams
from fraudfed.wire.messages import (
    Generation,
    KeyEpoch,
    ModelSignature,
    ModelSignatures,
    ModelVisibility,
    RunState,
    RunStatus,
)

NAMES = ("a", "b", "c")
MODEL = train(
    BoosterParams.parse({"num_boost_round": 2, "max_depth": 1}),
    TrainingTable(
        schema=FeatureSchema(names=("amount", "age", "channel"), n_categories=(0, 0, 2)),
        features=np.array([[1, 2, 0], [3, 4, 1]], dtype=np.float32),
        labels=np.array([0, 1], dtype=np.float32),
    ),
    SoloCommunicator(),
).model.to_json()


@pytest.fixture(scope="module")
def identities() -> dict[str, Identity]:
    return {name: Identity.generate() for name in (*NAMES, "d")}


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
            if name in NAMES
        ),
    )


def test_a_vote_names_the_bytes_that_are_sent_and_signs_the_model(
    vote, run, small_package, identities
) -> None:
    plain = hashlib.sha256(MODEL).hexdigest()
    assert (vote.body, vote.sha256, vote.plain_sha256) == (MODEL, plain, plain)
    sealed_run = members_only(run)
    votes = [
        ModelVote.of(MODEL, sealed_run, small_package, identity) for identity in identities.values()
    ]
    assert len({one.body for one in votes}) == 1, "the banks must agree on the sealed bytes"
    assert len({one.signature for one in votes}) == len(identities)
    sealed = votes[0]
    assert sealed.sha256 == hashlib.sha256(sealed.body).hexdigest() != plain
    assert sealed.plain_sha256 == plain
    assert open_model(sealed.body, holder=small_package, run_id="r") == MODEL


def check(
    signatures: ModelSignatures, vote: ModelVote, run: PinnedRun, key_epoch: KeyEpoch
) -> None:
    check_signatures(
        signatures,
        run,
        key_epoch,
        sha256=vote.sha256,
        plain_sha256=vote.plain_sha256,
        banks=NAMES,
    )


def test_all_signatures_are_accepted(signatures, vote, run, key_epoch) -> None:
    check(signatures, vote, run, key_epoch)


@pytest.mark.parametrize("name", ["run_id", "sha256", "plain_sha256"])
def test_signatures_of_another_model_are_refused(name, signatures, vote, run, key_epoch) -> None:
    other = signatures.model_copy(update={name: "1" * 64})
    with pytest.raises(ConflictError, match="registry holds signatures of model"):
        check(other, vote, run, key_epoch)


def test_every_bank_of_the_cohort_must_have_signed(signatures, vote, run, key_epoch) -> None:
    first, second, third = signatures.signatures
    for found in ((), (first, second), (first, third, second), (first, second, third, third)):
        other = signatures.model_copy(update={"signatures": found})
        with pytest.raises(ConflictError, match="expected each of a, b, c"):
            check(other, vote, run, key_epoch)


def test_a_signature_of_somebody_else_is_refused(signatures, vote, run, key_epoch) -> None:
    first, second, third = signatures.signatures
    swapped = second.model_copy(update={"signature": first.signature})
    other = signatures.model_copy(update={"signatures": (first, swapped, third)})
    with pytest.raises(AuthError, match="not that of b"):
        check(other, vote, run, key_epoch)


# A model that is taken from the registry


class Registry:
    """Answers with a model and signatures, honest or not, of a run that ended without bank a."""

    def __init__(self, body: bytes, signatures: ModelSignatures) -> None:
        self.body, self.signatures = body, signatures
        self.status: RunStatus | None = None
        self.requests = Counter[str]()

    def run(self, run_id: str) -> RunStatus:
        assert self.status is not None
        return self.status

    def model(self, run_id: str) -> bytes:
        return self.body

    def model_signatures(self, run_id: str) -> ModelSignatures:
        return self.signatures


def members_only(run: PinnedRun) -> PinnedRun:
    spec = run.spec.model_copy(update={"model_visibility": ModelVisibility.MEMBERS})
    return run.model_copy(update={"spec": spec})


@pytest.fixture
def state(tmp_path, identities, run) -> StateDirectory:
    public = identities["a"].public
    made = StateDirectory.create(
        tmp_path / "state",
        BankConfig(
            name="a",
            aggregator="http://127.0.0.1:1",
            signing_key=public.signing_key,
            agreement_key=public.agreement_key,
        ),
        identities["a"],
    )
    made.pin_run(run)
    return made


@pytest.fixture
def epoch(key_epoch, small_package) -> AcceptedEpoch:
    return AcceptedEpoch(key_epoch=key_epoch, package=small_package, missing=(), active=True)


def fetch_result(
    state: StateDirectory, registry: Registry, run: PinnedRun, epoch: AcceptedEpoch
) -> TrainingRecord:
    registry.status = RunStatus(
        run_id=run.run_id,
        spec=run.spec,
        state=RunState.FINISHED,
        cohort=run.cohort,
        public_key=run.public_key,
        members=run.cohort,
        generation=Generation(number=1, banks=("b", "c", "d")),
        round_number=9,
        ciphertexts=0,
        bytes_received=0,
        created_at=0,
    )
    context = make_context(
        "a",
        registry,
        run=run,
        key_epoch=epoch.key_epoch,
        package=epoch.package,
        state=state,
        log=state.round_log(run.run_id),
    )
    # A bank that comes when all is over never touches its rows.
    work: Any = SimpleNamespace(data_sha256="0" * 64)
    return work_with_others(context, TrainingJob(), work)


@pytest.mark.parametrize("visibility", list(ModelVisibility))
def test_the_accepted_model_is_taken_with_the_signatures_of_the_others(
    visibility, state, run, epoch, identities, signed
) -> None:
    run = members_only(run) if visibility is ModelVisibility.MEMBERS else run
    vote = ModelVote.of(MODEL, run, epoch.package, identities["b"])
    record = fetch_result(
        state, Registry(vote.body, signed(vote, "b", "c", "d")), replaced(run, 3), epoch
    )
    assert record.taken_from_registry
    assert record.generation is None
    assert record.members == ("b", "c", "d")
    assert record.result.trees == 2
    assert (record.whole_run.rounds, record.whole_run.protection.key_bits) == (0, None)
    assert state.model_path("r").read_bytes() == MODEL
    assert read_record(state, "r", TrainingRecord) == record
    assert record.registry_sha256 == vote.sha256


def replaced(run: PinnedRun, min_cohort: int) -> PinnedRun:
    spec = run.spec.model_copy(update={"min_cohort": min_cohort})
    return run.model_copy(update={"spec": spec, "cohort": FOUR})


FOUR = ("a", "b", "c", "d")


@pytest.fixture
def signed(identities):
    def make(vote: ModelVote, *names: str) -> ModelSignatures:
        document = model_bytes(run_id="r", plain_sha256=vote.plain_sha256)
        keys = identities | {"x": identities["d"]}
        return ModelSignatures(
            run_id="r",
            sha256=vote.sha256,
            plain_sha256=vote.plain_sha256,
            signatures=tuple(
                ModelSignature(bank=name, signature=keys[name].sign(document).hex())
                for name in names
            ),
        )

    return make


@pytest.mark.parametrize(
    "names",
    [(), ("b", "c"), ("b", "c", "x"), ("b", "b", "c"), ("c", "b", "d"), ("b", "c", "d", "x")],
)
def test_a_model_that_too_few_or_foreign_banks_signed_is_not_taken(
    names, state, vote, run, epoch, signed
) -> None:
    with pytest.raises(ConflictError, match="expected at least 3 of a, b, c, d"):
        fetch_result(state, Registry(MODEL, signed(vote, *names)), replaced(run, 3), epoch)
    assert not state.model_path("r").exists()


def test_a_model_that_was_altered_is_not_taken(state, vote, run, epoch, identities, signed) -> None:
    run = replaced(run, 3)
    found = signed(vote, "b", "c", "d")
    with pytest.raises(ConflictError, match="registry holds signatures of model"):
        fetch_result(state, Registry(MODEL + b" ", found), run, epoch)
    # Nor with hashes that fit: nobody has signed that.
    other = ModelVote.of(MODEL + b" ", run, epoch.package, identities["a"])
    fits = found.model_copy(update={"sha256": other.sha256, "plain_sha256": other.plain_sha256})
    with pytest.raises(AuthError, match="not that of b"):
        fetch_result(state, Registry(other.body, fits), run, epoch)
    # Nor one that is sealed, and was changed.
    sealed_run = members_only(run)
    sealed = ModelVote.of(MODEL, sealed_run, epoch.package, identities["b"])
    found = signed(sealed, "b", "c", "d")
    altered = sealed.body[:-1] + bytes([sealed.body[-1] ^ 1])
    with pytest.raises(KeyMaterialError, match="does not open"):
        fetch_result(state, Registry(altered, found), sealed_run, epoch)
    assert not state.model_path("r").exists()
    assert fetch_result(state, Registry(sealed.body, found), sealed_run, epoch)
