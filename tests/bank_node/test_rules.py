"""What a bank agrees to, whatever the aggregator says."""

from dataclasses import replace

import pytest
from examples.run_contexts import trust_in

from bank_node.config import BankConfig, CohortRules, TlsFiles
from bank_node.jobs.training import check_run
from bank_node.run.agreement.epoch_check import check_epoch
from bank_node.run.agreement.facts import run_facts
from bank_node.run.agreement.partners import check_members, check_partners
from bank_node.state.pinned_run import PinnedRun
from fraudfed.consortium.trust import TrustKind
from fraudfed.errors import (
    CohortError,
    ConfigurationError,
    ForbiddenError,
    KeyMaterialError,
    ParameterError,
    ProtocolError,
    StateError,
)
from fraudfed.wire.messages import (
    DataContract,
    FeatureSpec,
    Generation,
    KeyEpoch,
    MemberKeys,
    ModelVisibility,
    PublicKeyMessage,
    RunKind,
    SealedKey,
)

NAMES = ("a", "b", "c")


@pytest.fixture
def key_epoch(small_package) -> KeyEpoch:
    return KeyEpoch(
        epoch=2,
        steward="a",
        roster=tuple(
            MemberKeys(name=name, signing_key=f"{i:064x}", agreement_key=f"{i + 9:064x}")
            for i, name in enumerate(NAMES)
        ),
        public_key=PublicKeyMessage.model_validate(small_package.public_key.to_hex()),
        sealed=tuple(SealedKey(name=name, box="AAAA") for name in NAMES),
        signature="0" * 128,
    )


@pytest.fixture
def make_run(make_spec, key_epoch):
    def make(cohort: tuple[str, ...] = NAMES, **changes: object) -> PinnedRun:
        return PinnedRun(
            run_id="r",
            spec=make_spec(key_epoch=2, **changes),
            cohort=cohort,
            public_key=key_epoch.public_key,
        )

    return make


def parameters(**values: object) -> dict[str, object]:
    return {"num_boost_round": 2, "max_depth": 2, "max_bin": 8, **values}


def test_a_run_within_the_rules_is_accepted(make_run) -> None:
    strict = CohortRules(
        model_visibility=(ModelVisibility.MEMBERS,),
    )
    run = make_run(
        parameters=parameters(min_child_weight=5, max_leaves=4),
        model_visibility=ModelVisibility.MEMBERS,
    )
    assert check_run(run, strict).max_depth == 2
    assert check_run(make_run(), CohortRules()).max_bin == 8


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_deep": 3}, "unknown parameter 'max_deep'"),
        ({"monotone_constraints": {"x": 1}}, "no feature 'x'"),
    ],
)
def test_parameters_that_cannot_be_are_refused(make_run, values, message) -> None:
    with pytest.raises(ParameterError, match=message):
        check_run(make_run(parameters=parameters(**values)), CohortRules())


def test_a_contract_that_no_bank_can_train_on_is_refused_before_anybody_joins(make_run) -> None:
    contract = DataContract(
        kind="transactions", recipe="of-tomorrow-1", features=(FeatureSpec(name="amount"),)
    )
    with pytest.raises(ConfigurationError, match="of-tomorrow-1"):
        check_run(make_run(contract=contract), CohortRules())


def test_models_for_others_are_refused(make_run) -> None:
    with pytest.raises(ConfigurationError, match="model_visibility is 'aggregator'"):
        check_run(make_run(), CohortRules(model_visibility=(ModelVisibility.MEMBERS,)))


def test_a_cohort_of_too_few_banks_is_refused(make_run) -> None:
    check_members(make_run(), trust_in(NAMES))
    with pytest.raises(CohortError, match=r"of 3 banks \(a, b, c\), this bank takes part from 4"):
        check_members(make_run(), trust_in(NAMES, tolerated_colluders=2))
    check_members(make_run(("a", "b")), trust_in(NAMES, tolerated_colluders=0))
    with pytest.raises(CohortError, match="of 2 banks"):
        check_members(make_run(("a", "b")), trust_in(NAMES))


def test_a_cohort_with_banks_that_are_not_counted_is_refused(make_run) -> None:
    """However many others are in it."""
    run = make_run(("a", "b", "c", "d", "e"))
    with pytest.raises(ForbiddenError, match="d, e are not confirmed at this bank"):
        check_members(run, trust_in(NAMES))
    gone = replace(trust_in(("a", "b", "c", "d")), left=frozenset({"e"}))
    with pytest.raises(ForbiddenError, match="e left the consortium"):
        check_members(run, gone)


def test_a_cohort_of_few_owners_is_refused(make_run) -> None:
    sisters = replace(trust_in(NAMES), owners={"a": "a", "b": "group", "c": "group"})
    with pytest.raises(CohortError, match=r"of 3 banks of 2 owners \(a, b, c\)"):
        check_members(make_run(), sisters)
    # This bank's own sister counts no more than it does itself.
    with pytest.raises(CohortError, match="of 2 owners"):
        check_members(make_run(), replace(sisters, owners={"a": "x", "b": "b", "c": "x"}))


def test_a_run_for_confirmed_rosters_takes_no_bank_that_trusts_on_first_use(make_run) -> None:
    strict = make_run(require_confirmed_roster=True)
    check_members(strict, trust_in(NAMES))
    on_first_use = replace(trust_in(NAMES), kind=TrustKind.FIRST_USE)
    check_members(make_run(), on_first_use)
    with pytest.raises(ForbiddenError, match="takes only banks with a confirmed roster"):
        check_members(strict, on_first_use)


def test_the_run_must_be_of_the_latest_epoch(make_run, key_epoch) -> None:
    check_epoch(make_run(), key_epoch, latest=2)
    with pytest.raises(KeyMaterialError, match="holds epoch 3 already"):
        check_epoch(make_run(), key_epoch, latest=3)


def test_the_aggregator_cannot_change_the_cohort_or_the_key(make_run, key_epoch) -> None:
    for cohort in (("a", "b"), ("a", "b", "c", "d"), ("a", "c", "b"), ("a", "b", "x"), ()):
        with pytest.raises(CohortError, match="signed for a, b, c"):
            check_epoch(make_run(cohort), key_epoch, latest=2)
    other = key_epoch.public_key.model_copy(update={"fingerprint": "1" * 64})
    with pytest.raises(KeyMaterialError, match="uses public key"):
        check_epoch(make_run().model_copy(update={"public_key": other}), key_epoch, latest=2)


def test_a_run_that_may_go_on_with_fewer_is_joined(make_run) -> None:
    """The default of a run is 3: a bank that needs more would refuse every run. It waits then."""
    run = make_run(("a", "b", "c", "d"), min_cohort=3)
    check_members(run, trust_in(run.cohort, tolerated_colluders=2))


FOUR = ("a", "b", "c", "d")


def generation(*banks: str, number: int = 1, **changes: object) -> Generation:
    return Generation(number=number, banks=banks, **changes)


@pytest.mark.parametrize(
    "banks",
    [
        ("a", "b", "x"),
        ("a", "b", "b", "c"),
        ("b", "a", "c"),
        ("b", "c", "d"),
        (),
        ("a", "b", "c", "d", "e"),
    ],
)
def test_a_generation_must_be_of_the_cohort_with_this_bank(make_run, banks) -> None:
    run = make_run(FOUR)
    for allowed in (FOUR, ("a", "b", "c"), ("a", "c", "d")):
        check_partners(generation(*allowed), run, "a")
    with pytest.raises(ProtocolError, match="expected some of a, b, c, d with this bank"):
        check_partners(generation(*banks), run, "a")


def test_a_generation_below_the_runs_minimum_is_refused(make_run) -> None:
    check_partners(generation("a", "b"), make_run(FOUR, min_cohort=2), "a")
    with pytest.raises(CohortError, match="of 2 banks, the run continues with 3 and more"):
        check_partners(generation("a", "b"), make_run(FOUR, min_cohort=3), "a")


def test_facts_differ_whenever_banks_were_told_different_things(make_run, key_epoch) -> None:
    runs = [
        make_run(),
        make_run(name="other"),
        make_run(parameters=parameters(eta=0.1)),
        make_run(model_visibility=ModelVisibility.MEMBERS),
        make_run(("a", "b")),
        make_run().model_copy(update={"run_id": "q"}),
        make_run(min_cohort=2),
    ]
    first = generation("a", "b", "c", number=0)
    facts = [run_facts(run, key_epoch, first, base=b"", more_rows=0) for run in runs]
    # Another epoch under the same number: the steward showed somebody else a different one.
    forged = key_epoch.model_copy(update={"sealed": key_epoch.sealed[::-1]})
    facts.append(run_facts(runs[0], forged, first, base=b"", more_rows=0))
    others = (
        generation("a", "b", "c", number=1),
        generation("a", "b", number=0),
        generation("a", "b", "c", number=0, first_step=1),
        generation("a", "b", "c", number=0, first_round=1),
    )
    facts += [run_facts(runs[0], key_epoch, each, base=b"", more_rows=0) for each in others]
    facts.append(run_facts(runs[0], key_epoch, first, base=b"trees", more_rows=0))
    facts.append(run_facts(runs[0], key_epoch, first, base=b"", more_rows=64))
    assert len(set(facts)) == len(facts)
    assert run_facts(make_run(), key_epoch, first, base=b"", more_rows=0) == facts[0]


def config(**changes: object) -> BankConfig:
    return BankConfig(
        name="a",
        aggregator="https://a.example",
        signing_key="1" * 64,
        agreement_key="2" * 64,
        **changes,
    )


def test_bank_toml_is_read_back() -> None:
    for made in (
        config(),
        config(
            registered=True,
            audit_key="3" * 64,
            last_runs={RunKind.TRAINING: "r1", RunKind.RISK: "r2"},
            rules=CohortRules(
                tolerated_colluders=5,
                insecure_trust_first_use=True,
                model_visibility=(ModelVisibility.MEMBERS,),
            ),
            tls=TlsFiles(ca_file='/c "a".pem', client_certificate="/c", client_key="/k"),
        ),
    ):
        assert BankConfig.from_toml(made.to_toml(), source="bank.toml") == made


@pytest.mark.parametrize(
    "line",
    [
        "tolerated_colluders = -1",
        "tolerated_colluders = true",
        "tolerated_colluder = 3",
        'model_visibility = ["everybody"]',
        "model_visibility = []",
        "insecure_trust_first_use = 1",
    ],
)
def test_a_rule_that_cannot_be_is_named_and_never_ignored(line: str) -> None:
    text = config().to_toml().partition("\n[rules]\n")[0] + f"\n[rules]\n{line}\n"
    with pytest.raises(StateError, match=f"rules.{line.split()[0]}"):
        BankConfig.from_toml(text, source="bank.toml")


def test_a_client_certificate_needs_its_key() -> None:
    text = config().to_toml().replace("\n[tls]", '\n[tls]\nclient_certificate = "/c"')
    with pytest.raises(StateError, match="belong together"):
        BankConfig.from_toml(text, source="bank.toml")
