"""What the policy does with a payment, and which policies are refused."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bank_node.policy import Action, Policy, read_policy
from bank_node.policy.policy import Fallback, Rule
from bank_node.policy.policy_file import check_policy, parse_policy
from fraudfed.catalogue.recipe import RECIPE
from fraudfed.catalogue.recipes import contract_features
from fraudfed.errors import ConfigurationError
from fraudfed.payments.columns import CHANNELS, DIRECTIONS
from fraudfed.wire.messages import DataContract, FeatureSpec, Population

SAMPLE = """
version = "2026-11"
currency = "GBP"
alert_budget_a_day = 40

[[rules]]
name = "transfers out"
channels = ["transfer"]
directions = ["outbound"]
[rules.probability]
warn = 0.05
hold = 0.2
block = 0.6
[rules.expected_loss_minor]
hold = 20_000

[[rules]]
name = "everything else out"
directions = ["outbound"]
probability = {warn = 0.3}

[[fallback]]
channels = ["transfer"]
from_amount_minor = 100_000
action = "hold"
"""
HOLD_OUT = SAMPLE + '[holdout]\nshare = 0.25\naction = "hold"\n'

SHARES = st.floats(0.001, 0.999)


@st.composite
def steps(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Ascending thresholds of one to three actions."""
    actions = draw(st.lists(st.sampled_from(("warn", "hold", "block")), min_size=1, unique=True))
    found = sorted(draw(st.lists(values, min_size=3, max_size=3, unique=True)))
    every = dict(zip(("warn", "hold", "block"), found, strict=True))
    return {action: every[action] for action in actions}


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Policies of one rule for each channel, with a fallback."""
    rules = [
        {
            "name": channel,
            "channels": [channel],
            "probability": draw(steps(SHARES)),
            **draw(
                st.fixed_dictionaries(
                    {}, optional={"expected_loss_minor": steps(st.integers(1, 10**7))}
                )
            ),
        }
        for channel in draw(st.lists(st.sampled_from(CHANNELS), min_size=1, unique=True))
    ]
    amounts = draw(st.lists(st.integers(0, 10**7), unique=True, max_size=3))
    return Policy.model_validate(
        {
            "version": "drawn",
            "currency": "GBP",
            "alert_budget_a_day": 10,
            "warn_only": draw(st.booleans()),
            "lookup_most": draw(st.sampled_from(("allow", "warn", "hold"))),
            "rules": rules,
            "fallback": [
                {"from_amount_minor": each, "action": draw(st.sampled_from(list(Action)))}
                for each in amounts
            ],
        }
    )


@given(
    policy=policies(),
    probabilities=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    amount=st.integers(0, 10**8),
    channel=st.sampled_from((*CHANNELS, None)),
    direction=st.sampled_from((*DIRECTIONS, None)),
    lookup_only=st.booleans(),
)
def test_a_likelier_fraud_never_gets_the_weaker_action(
    policy: Policy,
    probabilities: tuple[float, float],
    amount: int,
    channel: str | None,
    direction: str | None,
    lookup_only: bool,
) -> None:
    low, high = (
        policy.decide(
            probability=probability,
            amount_minor=amount,
            channel=channel,
            direction=direction,
            lookup_only=lookup_only,
        )
        for probability in sorted(probabilities)
    )
    assert low.action.strength <= high.action.strength
    nothing = policy.decide(
        probability=None, amount_minor=amount, channel=channel, direction=direction
    )
    for decided in (low, high, nothing):
        assert decided.warn_only is policy.warn_only
        assert decided.action.strength <= decided.full_action.strength
        if policy.warn_only:
            assert decided.action.strength <= Action.WARN.strength
        else:
            assert decided.action is decided.full_action
    if lookup_only:
        assert high.full_action.strength <= Action(policy.lookup_most).strength
        assert high.full_action is not Action.BLOCK


def decided(policy: Policy, probability: float | None, amount: int = 100, **place: Any) -> str:
    places = {"channel": "transfer", "direction": None, **place}
    return policy.decide(probability=probability, amount_minor=amount, **places).action.value


def test_each_threshold_is_the_first_value_that_reaches_it() -> None:
    policy = parse_policy(SAMPLE, source="policy")
    assert [decided(policy, p) for p in (0.0499, 0.05, 0.1999, 0.2, 0.5999, 0.6, 1.0)] == [
        *("allow", "warn", "warn", "hold", "hold", "block", "block")
    ]
    # 0.1 of 2,000.00 is an expected loss of 200.00.
    assert decided(policy, 0.1, 199_999) == "warn"
    assert decided(policy, 0.1, 200_000) == "hold"
    # A rule that names the channel holds in place of the one that names none.
    assert decided(policy, 0.29, 10**9, channel="pos") == "allow"
    assert decided(policy, 0.3, channel=None) == "warn"
    assert decided(policy, 0.99, direction="inbound") == "allow"


def test_what_nothing_can_score_falls_back_by_channel_and_amount() -> None:
    policy = parse_policy(SAMPLE, source="policy")
    assert decided(policy, None, 99_999) == "allow"
    assert decided(policy, None, 100_000) == "hold"
    assert decided(policy, None, 100_000, channel="pos") == "allow"


def test_a_score_without_calibration_is_held_against_thresholds_of_scores_alone() -> None:
    by_score = SAMPLE.replace("[rules.probability]", "[rules.score]", 1)
    policy = parse_policy(by_score, source="policy")
    place: dict[str, Any] = {"amount_minor": 100_000, "channel": "transfer", "direction": None}
    assert policy.decide(probability=None, score=0.7, **place).action is Action.BLOCK
    assert policy.decide(probability=None, score=0.01, **place).action is Action.ALLOW
    unread = parse_policy(SAMPLE, source="policy")
    assert unread.needs_probability
    # Its thresholds are of probabilities: a score says nothing about them.
    assert unread.decide(probability=None, score=0.01, **place).rule == "fallback from 100000"


def test_a_hold_out_is_drawn_among_the_payments_to_be_blocked_alone() -> None:
    policy = parse_policy(HOLD_OUT, source="policy")
    place: dict[str, Any] = {"amount_minor": 1, "channel": "transfer", "direction": "outbound"}
    low, high = (
        policy.decide(probability=0.9, draw=lambda drawn=drawn: drawn, **place)
        for drawn in (0.2499, 0.25)
    )
    assert (low.action, low.full_action, low.propensity) == (Action.HOLD, Action.BLOCK, 0.25)
    assert (high.action, high.full_action, high.propensity) == (Action.BLOCK, Action.BLOCK, 0.75)
    assert policy.decide(probability=0.3, draw=lambda: 0.0, **place).propensity is None
    by_lookup = policy.decide(probability=0.9, draw=lambda: 0.0, lookup_only=True, **place)
    assert (by_lookup.action, by_lookup.propensity) == (Action.WARN, None)
    # By the system's own randomness both come up.
    actions = {policy.decide(probability=0.9, **place).action for _ in range(200)}
    assert actions == {Action.HOLD, Action.BLOCK}


def test_the_digest_is_of_what_the_policy_says() -> None:
    policy = parse_policy(SAMPLE, source="policy")
    assert parse_policy("# a comment\n" + SAMPLE, source="policy").sha256 == policy.sha256
    for old, new in (("0.05", "0.06"), ('"2026-11"', '"2026-12"'), ("40", "41")):
        assert parse_policy(SAMPLE.replace(old, new), source="policy").sha256 != policy.sha256


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("warn = 0.05", "warn = 0.2", "rules.1.probability: warn is 0.2 and hold is 0.2"),
        ("warn = 0.05", "wran = 0.05", "rules.1.probability.wran: no such entry; did you mean"),
        ("block = 0.6", "block = 1.0", "rules.1.probability.block is 1.0, expected less than 1"),
        ("block = 0.6", "block = nan", "rules.1.probability.block is nan, expected"),
        ("warn = 0.05", "warn = 0", "rules.1.probability.warn is 0, expected greater than 0"),
        ('["transfer"]', '["wire"]', "rules.1.channels.1 is 'wire', expected 'pos'"),
        ('["outbound"]', '["out"]', "rules.1.directions.1 is 'out', expected 'outbound'"),
        ("20_000", "9_000_000_000_000", "expected less than or equal to 1000000000000"),
        ("20_000", "200.5", "rules.1.expected_loss_minor.hold is 200.5, expected a valid integer"),
        ("= 40", "= 0", "alert_budget_a_day is 0"),
        ('"GBP"', '"gbp"', "currency is 'gbp', expected a code of ISO 4217"),
        ('"everything else out"', '"transfers out"', "two rules are named 'transfers out'"),
        ('channels = ["transfer"]\ndirections', "directions", "both hold for outbound payments"),
        ("probability = {warn = 0.3}", "", "rules.2: has no threshold, so that it can never alert"),
        ("{warn = 0.3}", "{}", "rules.2.probability: has no threshold"),
        ('action = "hold"', 'action = "stop"', "fallback.1.action is 'stop'"),
        ('version = "2026-11"', "", "version is missing"),
        ("= 40", '= 40\nlookup_most = "block"', "lookup_most is 'block', expected allow, warn or"),
        ("= 40", "= ", "is not TOML"),
    ],
)
def test_a_wrong_entry_is_named_on_one_line(old: str, new: str, named: str) -> None:
    assert old in SAMPLE
    with pytest.raises(ConfigurationError) as caught:
        parse_policy(SAMPLE.replace(old, new, 1), source="policy p.toml")
    message = str(caught.value)
    assert message.startswith("policy p.toml: ")
    assert named in message
    assert "\n" not in message


def test_a_policy_that_can_never_alert_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(SAMPLE[: SAMPLE.index("[[rules]]")], "utf-8")
    with pytest.raises(ConfigurationError, match="has no rules, so that it can never alert"):
        read_policy(path)


def test_a_hold_out_without_a_block_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no rule blocks"):
        parse_policy(HOLD_OUT.replace("block = 0.6", ""), source="policy")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for content, named in ((b"\xff\xfe", "not UTF-8"), (b"#" * (1 << 20) + b"\n", "1 MiB")):
        (tmp_path / "policy.toml").write_bytes(content)
        with pytest.raises(ConfigurationError, match=named):
            read_policy(tmp_path / "policy.toml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_policy(tmp_path / "absent.toml")


def test_a_policy_is_held_against_the_payments_that_the_model_scores() -> None:
    policy = parse_policy(SAMPLE, source="policy")
    table = DataContract(kind="table", features=(FeatureSpec(name="x"),))
    with pytest.raises(ConfigurationError, match="expected transactions"):
        check_policy(policy, table, source="policy p.toml")
    fields = {"kind": "transactions", "recipe": RECIPE, "features": contract_features()}
    check_policy(policy, DataContract.model_validate(fields), source="policy p.toml")
    fields["population"] = Population(direction="inbound")
    with pytest.raises(ConfigurationError, match="can never alert"):
        check_policy(policy, DataContract.model_construct(**fields), source="policy p.toml")


def test_the_sample_of_the_documentation_is_a_policy() -> None:
    page = (Path(__file__).parents[2] / "docs" / "policy.md").read_text("utf-8")
    (sample,) = re.findall(r"^```toml\n(.*?)^```", page, re.M | re.S)
    policy = parse_policy(sample, source="docs/policy.md")
    assert (len(policy.rules), len(policy.fallback)) == (2, 1)
    assert policy.holdout is not None
    # Every entry stands in the table.
    documented = set(re.findall(r"`\[*([a-z_.]+)\]*`", page))
    entries = {*Policy.model_fields, *Rule.model_fields, *Fallback.model_fields}
    assert entries - documented - {"probability", "score", "expected_loss_minor"} == set()
    assert {"rules.probability", "rules.score", "rules.expected_loss_minor"} <= documented
