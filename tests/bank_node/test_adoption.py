"""What a newcomer adopts is what all banks of the run have signed, even if some of them lie."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from examples import statistics as world
from federations.shared_runs import (
    MEMBERS,
    MODEL_RUN,
    NEWCOMER,
    STATISTICS_RUN,
    TABLES_RUN,
    SharedRuns,
    hashed,
    make_shared_runs,
    run_of,
    signatures_of,
)
from hypothesis import given
from hypothesis import strategies as st

from bank_node.adoption import adopt as adopting
from bank_node.adoption import verify
from bank_node.adoption.adopt import AdoptedModel
from bank_node.adoption.content import Content, SealedShare
from bank_node.approval.digest import approval_hash
from bank_node.config import ShareRule
from bank_node.jobs.risk.history import risk_files, scoring_tables, training_tables
from bank_node.lifecycle import stages
from bank_node.lifecycle.changes import Wish, stage
from bank_node.lifecycle.probation import on_probation, require_warn_only
from bank_node.lifecycle.stage_history import Action, Stage
from bank_node.lifecycle.stages import StageDirectory
from bank_node.service.loading import Sources
from bank_node.serving.score import score_file
from bank_node.state import adopted, directory
from bank_node.state.adopted import read_adopted, signers_of
from bank_node.state.directory import MODEL_FILE
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.public.shares import share_bytes, sign_share, verify_share
from fraudfed.consortium.trust import Trust
from fraudfed.errors import (
    AuthError,
    CohortError,
    ConfigurationError,
    ConflictError,
    DataError,
    ForbiddenError,
    FraudFedError,
    KeyMaterialError,
    NotFoundError,
    StateError,
)
from fraudfed.features.shared_risk.tables import RiskTables
from fraudfed.wire.messages import RunKind, RunShare, SharedResult

Attack = Callable[[SharedRuns, list[SealedShare]], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SharedRuns:
    return make_shared_runs(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def made(whole: SharedRuns, tmp_path: Path) -> SharedRuns:
    """Copy the banks, so that a test may do as it likes."""
    root = tmp_path / "banks"
    shutil.copytree(whole.root, root)
    return replace(whole, root=root)


def adopt(made: SharedRuns, shares: list[SealedShare], **changes: Any) -> AdoptedModel:
    state = made.newcomer
    options: dict[str, Any] = {"against": None, "by": "a test", **changes}
    own = options.pop("own", made.own)
    run_id = options.pop("run_id", MODEL_RUN)
    identity = made.identities[NEWCOMER]
    with state.locked():
        return adopting.adopt(state, identity, run_id, shares, own, **options)


def again(
    made: SharedRuns,
    sealed: SealedShare,
    *,
    as_bank: str | None = None,
    content: Content | None = None,
    **changes: Any,
) -> SealedShare:
    """Make a share anew as a member that lies would: signed and sealed by its own keys."""
    share = sealed.share
    fields: dict[str, Any] = {
        name: getattr(share, name)
        for name in ("bank", "newcomer", "model", "tables", "statistics", "at")
    }
    fields |= changes
    if as_bank is not None:
        fields["bank"] = as_bank
    signed = sign_share(made.identities[fields["bank"]], **fields)
    opened = sealed.open(made.identities[NEWCOMER]) if content is None else content
    return SealedShare.seal(signed, opened)


def with_result(whole: Content, run_id: str, **changes: Any) -> Content:
    held = tuple(
        replace(each, **changes) if each.run.run_id == run_id else each for each in whole.held
    )
    return replace(whole, held=held)


def kept(made: SharedRuns) -> list[Path]:
    return sorted((made.newcomer.path / "runs").rglob("*"))


def test_the_newcomer_scores_as_a_member_does(made: SharedRuns, tmp_path: Path) -> None:
    found = adopt(made, made.shares())
    state, contract = made.newcomer, made.runs[MODEL_RUN].contract
    assert state.model_path(MODEL_RUN).read_bytes() == made.results[MODEL_RUN]
    assert signers_of(state, MODEL_RUN) == signers_of(state, TABLES_RUN) == MEMBERS
    assert found.adopted.held_against == STATISTICS_RUN
    assert state.config.last_run(RunKind.TRAINING) == MODEL_RUN
    out = []
    for each in (state, made.state(MEMBERS[0])):
        path = tmp_path / f"{each.config.name}.csv"
        shared = scoring_tables(each, contract)
        score_file(
            made.own.path, path, model=each.model_path(MODEL_RUN), contract=contract, shared=shared
        )
        out.append(path.read_bytes())
    assert out[0] == out[1]
    assert training_tables(state, contract) is not None

    scoring = found.adopted.scoring
    assert scoring is not None
    rows = pd.read_csv(tmp_path / f"{NEWCOMER}.csv", dtype={"score": "float32"})
    times = pd.read_parquet(made.own.path).set_index("transaction_id")["event_time"]
    ages = times.max() - times[rows["transaction_id"]].to_numpy()
    recent = rows[ages < 28 * 86_400]
    assert scoring.payments == len(recent)
    assert (recent["score"] >= scoring.threshold).sum() <= scoring.alerts == 3 * 28
    below = recent["score"][recent["score"] < scoring.threshold]
    assert below.empty or (recent["score"] >= below.max()).sum() > scoring.alerts


def test_it_decides_nothing_before_it_is_promoted(made: SharedRuns) -> None:
    adopt(made, made.shares())
    state = made.newcomer
    sha256 = hashed(made.results[MODEL_RUN])
    now = StageDirectory.of_state(state.path).read()
    assert (now.champion, now.challenger) == (None, sha256)
    assert on_probation(state, MODEL_RUN, sha256)
    require_warn_only(state, MODEL_RUN, sha256, warn_only=True, source="policy.toml")
    with pytest.raises(ConfigurationError, match="warn_only is false, expected true"):
        require_warn_only(state, MODEL_RUN, sha256, warn_only=False, source="policy.toml")
    # At a bank that took part nothing of this holds.
    assert not on_probation(made.state(MEMBERS[0]), MODEL_RUN, sha256)


def test_a_service_takes_its_policy_and_none_that_holds_payments(
    made: SharedRuns, tmp_path: Path
) -> None:
    found = adopt(made, made.shares())
    assert found.policy is not None
    assert found.adopted.scoring is not None
    bundle = Sources(made.newcomer, run_id=MODEL_RUN, policy=Path(found.policy)).read()
    assert bundle.model_sha256 == hashed(made.results[MODEL_RUN])
    assert bundle.tables is not None
    assert bundle.policy is not None
    (rule,) = bundle.policy.rules
    assert rule.score is not None
    assert rule.score.warn == found.adopted.scoring.threshold
    holding = tmp_path / "holding.toml"
    text = Path(found.policy).read_text()
    holding.write_text(text.replace("warn_only = true", "warn_only = false"))
    with pytest.raises(ConfigurationError, match=r"holding.toml: warn_only is false"):
        Sources(made.newcomer, run_id=MODEL_RUN, policy=holding).read()
    # Once a person here has put it in charge, the policy is the bank's own matter.
    wish = Wish(by="a test", without_gate="to see that it ends")
    stage(made.newcomer, Action.PROMOTE, MODEL_RUN, wish)
    assert Sources(made.newcomer, run_id=MODEL_RUN, policy=holding).read().policy is not None


def test_promotion_asks_the_gate(made: SharedRuns) -> None:
    adopt(made, made.shares())
    with pytest.raises(StateError, match="the gate has not said anything of this file"):
        stage(made.newcomer, Action.PROMOTE, MODEL_RUN, Wish(by="a test"))


def test_a_challenger_of_the_bank_stays(made: SharedRuns) -> None:
    other = run_of("run-own", parameters={}, contract=made.runs[MODEL_RUN].contract)
    state = made.newcomer
    state.pin_run(other)
    state.model_path("run-own").write_bytes(made.results[MODEL_RUN] + b" ")
    stage(state, Action.CHALLENGE, "run-own", Wish(by="a test"))
    found = adopt(made, made.shares())
    assert (found.stage, found.not_staged) == (Stage.CANDIDATE, "run-own is the challenger")


def test_again_changes_nothing(made: SharedRuns) -> None:
    first = adopt(made, made.shares())
    before = {path: path.read_bytes() for path in kept(made) if path.is_file()}
    assert adopt(made, made.shares()) == first
    assert {path: path.read_bytes() for path in kept(made) if path.is_file()} == before
    log = (made.newcomer.path / "audit.log").read_text()
    assert log.count('"kind":"adoption"') == 1


def test_wherever_it_is_killed_the_same_command_finishes(
    made: SharedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: at no write is there a model without what belongs to it."""
    shares, limit = made.shares(), 0
    modules = (adopting, adopted, directory, stages)
    write = adopting.write_atomic
    for limit in range(100):
        left = limit

        def killed(path: Path, data: bytes) -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            write(path, data)

        with monkeypatch.context() as patch:
            for module in modules:
                patch.setattr(module, "write_atomic", killed)
            try:
                adopt(made, shares)
                break
            except KeyboardInterrupt:
                pass
        state = made.newcomer
        if state.model_path(MODEL_RUN).exists():
            assert read_adopted(state, MODEL_RUN) is not None
            assert state.pinned_run(MODEL_RUN) == made.runs[MODEL_RUN]
            assert training_tables(state, made.runs[MODEL_RUN].contract) is not None
        for file in risk_files(state):
            assert state.pinned_run(file.run_id) is not None
    assert limit > 5
    assert made.newcomer.model_path(MODEL_RUN).read_bytes() == made.results[MODEL_RUN]
    assert StageDirectory.of_state(made.newcomer.path).read().challenger is not None


def _swap_model(made: SharedRuns, shares: list[SealedShare], bank: int = 0) -> None:
    """Sign another model than the others did, and hand it over."""
    false = made.results[MODEL_RUN].replace(b"5E-1", b"6E-1") + b" "
    content = shares[bank].open(made.identities[NEWCOMER])
    model = shares[bank].share.model.model_copy(update={"plain_sha256": hashed(false)})
    swapped = with_result(content, MODEL_RUN, content=false)
    shares[bank] = again(made, shares[bank], content=swapped, model=model)


def _swap_box(made: SharedRuns, shares: list[SealedShare]) -> None:
    """Leave the signature as it is, and hand over another model."""
    content = shares[0].open(made.identities[NEWCOMER])
    swapped = with_result(content, MODEL_RUN, content=content.held[0].content + b" ")
    shares[0] = replace(shares[0], box=SealedShare.seal(shares[0].share, swapped).box)


def _swap_description(made: SharedRuns, shares: list[SealedShare]) -> None:
    """Give the columns another order: they would mean something else."""
    run = made.runs[MODEL_RUN]
    contract = run.contract
    turned = contract.model_copy(update={"features": contract.features[::-1]})
    false = run.model_copy(update={"spec": run.spec.model_copy(update={"contract": turned})})
    content = shares[0].open(made.identities[NEWCOMER])
    model = shares[0].share.model.model_copy(update={"description_sha256": approval_hash(false)})
    shares[0] = again(
        made, shares[0], content=with_result(content, MODEL_RUN, run=false), model=model
    )


def _false_table(made: SharedRuns, shares: list[SealedShare]) -> None:
    """Hand over tables in which nothing was ever reported."""
    whole = RiskTables.from_bytes(made.results[TABLES_RUN])
    days = tuple(replace(day, frauds=day.frauds * 0) for day in whole.days)
    false = replace(whole, days=days).to_bytes()
    share = shares[0].share
    # As the contract names them by their hash in the registry, that one stays.
    (table,) = share.tables
    said = table.model_copy(update={"plain_sha256": hashed(false)})
    content = with_result(shares[0].open(made.identities[NEWCOMER]), TABLES_RUN, content=false)
    shares[0] = again(made, shares[0], content=content, tables=(said,))


def _leave_one_out(_: SharedRuns, shares: list[SealedShare]) -> None:
    del shares[1]


def _alter(made: SharedRuns, shares: list[SealedShare]) -> None:
    del made
    shares[1] = replace(shares[1], share=shares[1].share.model_copy(update={"at": 1}))


def _in_anothers_name(made: SharedRuns, shares: list[SealedShare]) -> None:
    """Speak for another member."""
    unsigned = shares[1].share
    forged = made.identities[MEMBERS[0]].sign(share_bytes(unsigned)).hex()
    share = unsigned.model_copy(update={"signature": forged})
    shares[1] = replace(shares[1], share=share)


def _alone(made: SharedRuns, shares: list[SealedShare]) -> None:
    """Say that one member alone took part to the end."""
    bank = MEMBERS[2]
    run = made.runs[MODEL_RUN]
    # Even if the run allowed it.
    spec = run.spec.model_copy(update={"min_cohort": 1})
    false = run.model_copy(update={"spec": spec})
    result = made.results[MODEL_RUN]
    content = shares[2].open(made.identities[NEWCOMER])
    signatures = signatures_of(MODEL_RUN, result, {bank: made.identities[bank]})
    content = replace(with_result(content, MODEL_RUN, run=false), signatures=signatures)
    model = shares[2].share.model.model_copy(
        update={"signers": (bank,), "description_sha256": approval_hash(false)}
    )
    shares[:] = [again(made, shares[2], content=content, model=model)]


def _for_another(made: SharedRuns, shares: list[SealedShare]) -> None:
    other = Identity.generate().member(NEWCOMER)
    shares[2] = again(made, shares[2], newcomer=other)


def _box_of_another(_: SharedRuns, shares: list[SealedShare]) -> None:
    shares[0] = replace(shares[0], box=shares[1].box)


def _signatures_only(_: SharedRuns, shares: list[SealedShare]) -> None:
    shares[:] = [each.without_box() for each in shares]


def _forged_model_signatures(made: SharedRuns, shares: list[SealedShare]) -> None:
    content = shares[0].open(made.identities[NEWCOMER])
    strangers = {name: Identity.generate() for name in MEMBERS}
    forged = replace(
        content, signatures=signatures_of(MODEL_RUN, made.results[MODEL_RUN], strangers)
    )
    shares[0] = again(made, shares[0], content=forged)


def _tables_left_out(made: SharedRuns, shares: list[SealedShare]) -> None:
    shares[2] = again(made, shares[2], tables=())


def _wrong_hash_key(made: SharedRuns, shares: list[SealedShare]) -> None:
    content = shares[0].open(made.identities[NEWCOMER])
    wrong = with_result(content, STATISTICS_RUN, hash_key=bytes(32))
    shares[0] = again(made, shares[0], content=wrong)


ATTACKS: list[tuple[Attack, type[FraudFedError], str]] = [
    (_swap_model, ConflictError, "has signed plain_sha256"),
    (_swap_box, ConflictError, "bank-a has handed over plain_sha256"),
    (_swap_description, ConflictError, "has signed description_sha256"),
    (_false_table, ConflictError, f"run {TABLES_RUN}: bank-b has signed plain_sha256"),
    (_leave_one_out, CohortError, "bank-b has not shared it"),
    (_alter, AuthError, "signature is not that of bank-b"),
    (_in_anothers_name, AuthError, "signature is not that of bank-b"),
    (_alone, CohortError, "this bank takes part from 3 on"),
    (_for_another, ConfigurationError, "is for bank-d with other keys"),
    (_box_of_another, KeyMaterialError, "does not open with this bank's key"),
    (_signatures_only, CohortError, "share their signature only"),
    (_forged_model_signatures, AuthError, "model signature is not that of bank-a"),
    (_tables_left_out, CohortError, "was trained on risk tables"),
    (_wrong_hash_key, ConflictError, "another hash key"),
]


@pytest.mark.parametrize(
    ("attack", "error", "message"),
    ATTACKS,
    ids=[attack.__name__.strip("_") for attack, _, _ in ATTACKS],
)
def test_a_lie_of_anybody_is_adopted_by_nobody(
    made: SharedRuns, attack: Attack, error: type[FraudFedError], message: str
) -> None:
    shares = made.shares()
    attack(made, shares)
    before = kept(made)
    with pytest.raises(error, match=message) as raised:
        adopt(made, shares)
    assert "\n" not in str(raised.value)
    assert kept(made) == before == []


def test_control_without_comparing_what_members_signed_a_false_table_is_adopted(
    made: SharedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = made.shares()
    _false_table(made, shares)
    monkeypatch.setattr(verify, "_require_equal", lambda *_: None)
    adopt(made, shares)
    (file,) = risk_files(made.newcomer)
    assert not any(day.frauds.any() for day in file.keyed.tables.days)


def test_control_without_the_signatures_anybody_speaks_for_a_member(
    made: SharedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = made.shares()
    _in_anothers_name(made, shares)
    monkeypatch.setattr(verify, "verify_share", lambda *_: None)
    assert adopt(made, shares).adopted.shared_by == MEMBERS


def test_control_without_enough_owners_one_member_makes_a_run_of_its_own(
    made: SharedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = made.shares()
    _alone(made, shares)
    monkeypatch.setattr(Trust, "require_enough", lambda *_, where: None)
    assert adopt(made, shares).adopted.members == (MEMBERS[2],)


def test_a_replay_of_another_run_is_refused(made: SharedRuns) -> None:
    other = run_of(
        "run-other", parameters={"num_boost_round": 1}, contract=made.runs[MODEL_RUN].contract
    )
    for name in MEMBERS:
        model = made.results[MODEL_RUN]
        made.write(name, other, model, {MODEL_FILE: model})
    replayed = [made.share(name, "run-other") for name in MEMBERS]
    with pytest.raises(ConfigurationError, match=f"shares run run-other, expected run {MODEL_RUN}"):
        adopt(made, replayed)
    # The statement of this run with the box of another one does not open either.
    mixed = [replace(one, box=two.box) for one, two in zip(made.shares(), replayed, strict=True)]
    with pytest.raises(KeyMaterialError, match="does not open"):
        adopt(made, mixed)
    assert kept(made) == []


def _readable(made: SharedRuns) -> list[bytes]:
    """Return what no one on the way may find: model, tables and the keys of identifiers."""
    return [
        made.results[MODEL_RUN][:200],
        made.results[TABLES_RUN][:200],
        made.results[STATISTICS_RUN][:200],
        world.KEY,
        world.KEY.hex().encode(),
    ]


def test_nobody_else_reads_a_share(made: SharedRuns) -> None:
    sealed = made.share(MEMBERS[0])
    assert not any(needle in sealed.to_bytes() for needle in _readable(made))
    for name in MEMBERS:
        with pytest.raises(KeyMaterialError, match="does not open"):
            sealed.open(made.identities[name])


def test_control_the_search_finds_what_the_newcomer_opens(made: SharedRuns) -> None:
    opened = made.share(MEMBERS[0]).open(made.identities[NEWCOMER]).to_bytes()
    found = [needle in opened for needle in _readable(made)]
    assert found == [True, True, True, False, True]


def test_only_confirmed_members_count(made: SharedRuns) -> None:
    state = made.newcomer
    pins = state.pinned_roster()
    unknown = tuple(
        pin.model_copy(update={"confirmed": pin.keys.name != MEMBERS[1]}) for pin in pins.pins
    )
    state.save_pinned_roster(pins.model_copy(update={"pins": unknown}))
    with pytest.raises(ForbiddenError, match=r"bank-b is not confirmed at this bank"):
        adopt(made, made.shares())


def test_data_that_look_like_a_mistake_are_refused(made: SharedRuns, tmp_path: Path) -> None:
    rows = pd.read_parquet(made.own.path)
    rows["amount_minor"] *= 100
    wrong = tmp_path / "wrong.parquet"
    rows.to_parquet(wrong)
    with pytest.raises(DataError, match="looks like a mistake of the mapping") as raised:
        adopt(made, made.shares(), own=replace(made.own, path=wrong))
    assert "\n" not in str(raised.value)
    assert kept(made) == []


def test_without_statistics_a_run_to_hold_against_is_asked_for(made: SharedRuns) -> None:
    shares = [again(made, each, statistics=None) for each in made.shares()]
    with pytest.raises(ConfigurationError, match="name it with --against"):
        adopt(made, shares)
    with pytest.raises(StateError, match="does not hold the statistics"):
        adopt(made, shares, against=STATISTICS_RUN)
    assert kept(made) == []


def test_a_bank_that_took_part_adopts_nothing(made: SharedRuns) -> None:
    state, name = made.state(MEMBERS[0]), MEMBERS[0]
    with state.locked(), pytest.raises(ConfigurationError, match="this bank took part in it"):
        adopting.adopt(
            state, made.identities[name], MODEL_RUN, [], made.own, against=None, by="a test"
        )
    with pytest.raises(ConfigurationError, match="bank-b is of its cohort"):
        made.share(MEMBERS[0], newcomer=MEMBERS[1])


def test_a_rule_that_says_no_shares_nothing(made: SharedRuns) -> None:
    state = made.state(MEMBERS[1])
    rules = state.config.rules.model_copy(update={"share_finished_runs": ShareRule.NO})
    with state.locked():
        state.save_config(state.config.model_copy(update={"rules": rules}))
    with pytest.raises(ForbiddenError, match="share_finished_runs"):
        made.share(MEMBERS[1])
    assert not (state.path / "audit.log").exists()


@pytest.mark.parametrize(
    ("run_id", "newcomer", "error", "message"),
    [
        ("run-x", NEWCOMER, StateError, "does not know it"),
        ("../x", NEWCOMER, ConfigurationError, "is no run id"),
        (TABLES_RUN, NEWCOMER, ConfigurationError, "has no model"),
        (MODEL_RUN, "bank-x", NotFoundError, "no member 'bank-x' is pinned"),
    ],
)
def test_what_cannot_be_shared_says_why(
    made: SharedRuns, run_id: str, newcomer: str, error: type[FraudFedError], message: str
) -> None:
    with pytest.raises(error, match=message):
        made.share(MEMBERS[0], run_id, newcomer)


def test_what_is_not_finished_or_not_as_it_was_signed_is_not_shared(made: SharedRuns) -> None:
    state = made.state(MEMBERS[0])
    state.model_path(MODEL_RUN).write_bytes(b"{}")
    with pytest.raises(StateError, match="not the one that the banks have signed"):
        made.share(MEMBERS[0])
    (state.path / "runs" / MODEL_RUN / "record.json").unlink()
    with pytest.raises(StateError, match="is not finished at this bank"):
        made.share(MEMBERS[0])


def test_what_was_adopted_is_not_passed_on(made: SharedRuns) -> None:
    adopt(made, made.shares())
    made.identities["bank-e"] = Identity.generate()
    with pytest.raises(StateError, match="shares only what it helped to make"):
        made.share(NEWCOMER, newcomer=MEMBERS[0])


def test_a_file_that_is_no_share_is_named(made: SharedRuns, tmp_path: Path) -> None:
    path = tmp_path / "x.share"
    with pytest.raises(StateError, match="cannot be read"):
        SealedShare.read(path)
    data = made.share(MEMBERS[0]).to_bytes()
    path.write_bytes(data)
    assert SealedShare.read(path).share == SealedShare.from_bytes(data, source="test").share
    for damaged in (b"", b"x" * 100, data[:-1], data + b"x", data[:60] + b"\xff" + data[61:]):
        path.write_bytes(damaged)
        with pytest.raises(StateError, match="damaged"):
            SealedShare.read(path)


@pytest.fixture(scope="module")
def share_file(whole: SharedRuns) -> bytes:
    return whole.share(MEMBERS[0]).without_box().to_bytes()


@given(st.data())
def test_no_byte_of_a_file_can_be_changed(share_file: bytes, data: st.DataObject) -> None:
    file = bytearray(share_file)
    place = data.draw(st.integers(0, len(file) - 1))
    file[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StateError):
        SealedShare.from_bytes(bytes(file), source="test")


def test_every_field_of_a_share_is_signed(made: SharedRuns) -> None:
    share = made.share(MEMBERS[0]).share
    key = made.identities[MEMBERS[0]].public.signing_key
    verify_share(share, key)
    other = SharedResult(
        run_id="other",
        kind=RunKind.RISK,
        description_sha256="1" * 64,
        plain_sha256="2" * 64,
        registry_sha256="3" * 64,
        signers=("x",),
    )
    changed: dict[str, Any] = {
        "bank": MEMBERS[1],
        "newcomer": Identity.generate().member(NEWCOMER),
        "tables": (),
        "statistics": None,
        "at": 1,
    }
    results: dict[str, Any] = other.model_dump(exclude={"protocol_version"})
    variants = [share.model_copy(update={name: value}) for name, value in changed.items()]
    variants += [
        share.model_copy(update={"model": share.model.model_copy(update={name: value})})
        for name, value in results.items()
    ]
    unsigned = RunShare.model_fields.keys() - {"protocol_version", "model", "signature"}
    assert changed.keys() == unsigned
    for variant in variants:
        with pytest.raises(AuthError, match="signature is not that of"):
            verify_share(variant, key)


def test_the_content_of_a_box_reads_back(made: SharedRuns) -> None:
    content = made.share(MEMBERS[0]).open(made.identities[NEWCOMER])
    assert [each.run.run_id for each in content.held] == [MODEL_RUN, TABLES_RUN, STATISTICS_RUN]
    assert Content.from_bytes(content.to_bytes(), source="test") == content
    short = Content(content.held[:1], content.signatures).to_bytes()
    for damaged in (short[:-1], short + b"x", b""):
        with pytest.raises(StateError):
            Content.from_bytes(damaged, source="test")
    with pytest.raises(KeyMaterialError, match="does not open"):
        made.share(MEMBERS[0]).open(made.identities[MEMBERS[1]])
