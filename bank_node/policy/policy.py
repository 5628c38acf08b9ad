"""What is done with a payment: allow it, warn the customer, hold it, or block it.

Laws: of two payments that differ only in their probability, the likelier fraud never gets the
weaker action (without a hold-out, which is a draw). A look-up alone never blocks. In warn-only mode
nothing is held or blocked, and what would have been done is said.

For each channel and direction one rule holds at most, and its strongest action whose threshold is
reached is taken. Expected loss is probability times amount, in minor units of the currency: the
threshold of least cost for a loss that depends on the payment (C. Elkan, "The foundations of
cost-sensitive learning", IJCAI 2001, section 2).
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fraudfed.payments.columns import MAX_AMOUNT_MINOR, OUTBOUND
from fraudfed.payments.currencies import EXPONENTS

#: Resolution of the draw for a hold-out: that of a double in [0, 1).
_DRAW_BITS: Final = 53


class Action(StrEnum):
    """What is done with a payment, from the weakest to the strongest."""

    ALLOW = "allow"
    WARN = "warn"
    """The payment goes through; the customer is warned."""
    HOLD = "hold"
    """The payment waits until somebody has looked, or the customer has proved who they are."""
    BLOCK = "block"

    @property
    def strength(self) -> int:
        """0 for allow, to 3 for block."""
        return _STRENGTH[self]

    @property
    def is_alert(self) -> bool:
        """Whether somebody is bothered."""
        return self is not Action.ALLOW


_STRENGTH = {action: place for place, action in enumerate(Action)}
_STEPS: Final = (Action.WARN, Action.HOLD, Action.BLOCK)

_Channel: TypeAlias = Literal["pos", "ecommerce", "transfer", "atm"]
_Direction: TypeAlias = Literal["outbound", "inbound"]
_Probability: TypeAlias = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
_Loss: TypeAlias = Annotated[int, Field(ge=1, le=MAX_AMOUNT_MINOR, strict=True)]
#: No channel, or no direction, is one of its own.
_Place: TypeAlias = tuple[str | None, str]


def draw_from_system() -> float:
    """Return a number in [0, 1) of the operating system's randomness."""
    return secrets.randbelow(1 << _DRAW_BITS) / (1 << _DRAW_BITS)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Steps(_Strict):
    """Thresholds that rise with the action: one that does not is never reached."""

    @model_validator(mode="after")
    def _rise(self) -> Self:
        given = [
            (action.value, value)
            for action in _STEPS
            if (value := getattr(self, action.value)) is not None
        ]
        if not given:
            raise ValueError("has no threshold; give one of warn, hold and block")
        for (weaker, low), (stronger, high) in pairwise(given):
            if low >= high:
                raise ValueError(
                    f"{weaker} is {low} and {stronger} is {high}: {weaker} would never be done; "
                    f"give {stronger} a greater threshold, or leave {weaker} out"
                )
        return self

    def reached(self, value: float) -> Action:
        """Return the strongest action whose threshold a value reaches."""
        found = Action.ALLOW
        for action in _STEPS:
            threshold = getattr(self, action.value)
            if threshold is not None and value >= threshold:
                found = action
        return found


class ShareSteps(_Steps):
    """Thresholds of a probability or score; None does not take that action.

    Attributes
    ----------
    warn, hold, block : float or None
        Above 0 and below 1, ascending.
    """

    warn: _Probability | None = None
    hold: _Probability | None = None
    block: _Probability | None = None


class LossSteps(_Steps):
    """Thresholds of the expected loss, minor units of the currency.

    Attributes
    ----------
    warn, hold, block : int or None
        Ascending, at most the largest amount that a payment may have.
    """

    warn: _Loss | None = None
    hold: _Loss | None = None
    block: _Loss | None = None


class _Placed(_Strict):
    """What holds for some channels and directions.

    Attributes
    ----------
    channels : tuple of str or None
        None: all, and payments whose channel nobody knows.
    directions : tuple of str
        A payment without one is outbound.
    """

    channels: Annotated[tuple[_Channel, ...], Field(min_length=1)] | None = None
    directions: Annotated[tuple[_Direction, ...], Field(min_length=1)] = ("outbound", "inbound")

    @property
    def places(self) -> tuple[_Place, ...]:
        """Each channel and direction; channel None stands for those that no list names."""
        channels = (None,) if self.channels is None else self.channels
        return tuple((channel, direction) for channel in channels for direction in self.directions)


class Rule(_Placed):
    """The thresholds of some channels and directions.

    Attributes
    ----------
    name : str
        Stands in the log beside each decision.
    channels, directions
        A rule that names a channel holds there in place of one that names none.
    probability, score : ShareSteps or None
        Thresholds of the calibrated probability, and of the model's own score.
    expected_loss_minor : LossSteps or None
    """

    name: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]*$")]
    probability: ShareSteps | None = None
    score: ShareSteps | None = None
    expected_loss_minor: LossSteps | None = None

    @model_validator(mode="after")
    def _can_alert(self) -> Self:
        if self.probability is None and self.score is None and self.expected_loss_minor is None:
            raise ValueError(
                "has no threshold, so that it can never alert; give it probability, score or "
                "expected_loss_minor, or leave it out"
            )
        return self


class Fallback(_Placed):
    """What is done with payments that nothing can score.

    Attributes
    ----------
    channels, directions
    from_amount_minor : int
        The entry with the largest amount that a payment reaches holds.
    action : Action
    """

    from_amount_minor: Annotated[int, Field(ge=0, le=MAX_AMOUNT_MINOR, strict=True)] = 0
    action: Action


class HoldOut(_Strict):
    """A share of the payments to be blocked that get a weaker action, by a draw.

    What becomes of them tells how many blocks were right, which blocked payments never do.

    Attributes
    ----------
    share : float
    action : str
        ``hold`` asks for a further proof in place of the block; or ``warn``.
    """

    share: Annotated[float, Field(gt=0, le=0.5, allow_inf_nan=False)]
    action: Literal["warn", "hold"] = "hold"


@dataclass(frozen=True, slots=True)
class Decided:
    """What is done with one payment.

    Attributes
    ----------
    action : Action
    rule : str
        Which rule, and what reached its threshold; stands in the log.
    warn_only : bool
        Whether the policy is in warn-only mode.
    full_action : Action
        What would be done without warn-only mode and hold-out.
    propensity : float or None
        Probability of ``action`` by the hold-out's draw; None where nothing was drawn.
    """

    action: Action
    rule: str
    warn_only: bool
    full_action: Action
    propensity: float | None = None


class Policy(_Strict):
    """A bank's policy.

    Attributes
    ----------
    version : str
        The bank's own name for it.
    currency : str
        ISO 4217: of all amounts.
    alert_budget_a_day : int
        Alerts a day that the bank can work on. It chooses nothing by itself: ``bank-node policy
        try`` says whether the thresholds keep within it.
    warn_only : bool
        Nothing is held or blocked.
    lookup_most : str
        Strongest action by a look-up of shared risk alone; never ``block``.
    holdout : HoldOut or None
    rules : tuple of Rule
    fallback : tuple of Fallback
        A payment that none of them covers is allowed.
    """

    version: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
    currency: str
    alert_budget_a_day: Annotated[int, Field(ge=1, le=10**9, strict=True)]
    warn_only: Annotated[bool, Field(strict=True)] = False
    lookup_most: Literal["allow", "warn", "hold", "block"] = "warn"
    holdout: HoldOut | None = None
    rules: Annotated[tuple[Rule, ...], Field(max_length=100)] = ()
    fallback: Annotated[tuple[Fallback, ...], Field(max_length=1000)] = ()

    @field_validator("currency")
    @classmethod
    def _known_currency(cls, code: str) -> str:
        if code not in EXPONENTS:
            raise ValueError("expected a code of ISO 4217 in capitals, such as GBP")
        return code

    @field_validator("lookup_most")
    @classmethod
    def _look_up_never_blocks(cls, action: str) -> str:
        if action == Action.BLOCK:
            raise ValueError(
                "expected allow, warn or hold: what other banks reported of an account alone "
                "blocks no payment"
            )
        return action

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        if not self.rules:
            raise ValueError(
                "the policy has no rules, so that it can never alert; give it at least one "
                "[[rules]] with a threshold"
            )
        names = [rule.name for rule in self.rules]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ValueError(f"two rules are named {name!r}; rename one")
        seen: dict[_Place, str] = {}
        for rule in self.rules:
            for place in rule.places:
                if place in seen:
                    raise ValueError(
                        f"rules {seen[place]!r} and {rule.name!r} both hold for {_text(place)}; "
                        "leave it out of one"
                    )
                seen[place] = rule.name
        amounts: set[tuple[_Place, int]] = set()
        for entry in self.fallback:
            for place in entry.places:
                if (place, entry.from_amount_minor) in amounts:
                    raise ValueError(
                        f"two entries of fallback hold for {_text(place)} from the amount "
                        f"{entry.from_amount_minor}; leave one out"
                    )
                amounts.add((place, entry.from_amount_minor))
        if self.holdout is not None:
            steps = [
                each
                for rule in self.rules
                for each in (rule.probability, rule.score, rule.expected_loss_minor)
                if each is not None
            ]
            if all(each.block is None for each in steps):
                raise ValueError(
                    "holdout draws among the payments to be blocked, and no rule blocks; leave it "
                    "out, or give a rule a threshold of block"
                )
        return self

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of what the policy says; comments and the order of keys are none."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def needs_probability(self) -> bool:
        """Whether a rule reads the calibrated probability."""
        return any(rule.probability or rule.expected_loss_minor for rule in self.rules)

    def decide(
        self,
        *,
        probability: float | None,
        amount_minor: int,
        channel: str | None,
        direction: str | None,
        lookup_only: bool = False,
        score: float | None = None,
        draw: Callable[[], float] = draw_from_system,
    ) -> Decided:
        """Decide about one payment.

        Parameters
        ----------
        probability : float or None
            Calibrated; None if the payment could not be scored, or the model has no calibration.
        amount_minor : int
            Minor units of the policy's currency.
        channel, direction : str or None
            None where nobody knows.
        lookup_only : bool
            The probability rests on a look-up of shared risk alone: nothing is blocked.
        score : float or None
            The model's own; None if the payment could not be scored.
        draw : callable returning float
            A number in [0, 1) for the hold-out.
        """
        place = (channel, OUTBOUND if direction is None else direction)
        rule = self._rule_of.get(place, self._rule_of.get((None, place[1])))
        if rule is None and (probability is not None or score is not None):
            return self._limited(Action.ALLOW, "no rule", lookup_only=lookup_only)
        found = None if rule is None else _strongest(rule, probability, score, amount_minor)
        if found is None:
            action, text = self._fallback(place, amount_minor)
            return self._limited(action, text, lookup_only=lookup_only)
        action, text = found
        if action is not Action.BLOCK or lookup_only or self.warn_only or self.holdout is None:
            return self._limited(action, text, lookup_only=lookup_only)
        share = self.holdout.share
        if draw() < share:
            held = Action(self.holdout.action)
            return Decided(held, f"{text}, held out", self.warn_only, action, share)
        return Decided(action, text, self.warn_only, action, 1 - share)

    def has_rule(self, channel: str | None, direction: str) -> bool:
        """Tell whether a rule holds for a channel and direction."""
        return (channel, direction) in self._rule_of or (None, direction) in self._rule_of

    def _limited(self, action: Action, rule: str, *, lookup_only: bool) -> Decided:
        most = Action(self.lookup_most)
        if lookup_only and action.strength > most.strength:
            action, rule = most, f"{rule}; {most} at most by a look-up alone"
        done = Action.WARN if self.warn_only and action.strength > Action.WARN.strength else action
        return Decided(done, rule, self.warn_only, action)

    def _fallback(self, place: _Place, amount_minor: int) -> tuple[Action, str]:
        for key in (place, (None, place[1])):
            for entry in self._fallback_of.get(key, ()):
                if amount_minor >= entry.from_amount_minor:
                    return entry.action, f"fallback from {entry.from_amount_minor}"
        return Action.ALLOW, "fallback: no entry"

    @cached_property
    def _rule_of(self) -> Mapping[_Place, Rule]:
        return {place: rule for rule in self.rules for place in rule.places}

    @cached_property
    def _fallback_of(self) -> Mapping[_Place, list[Fallback]]:
        found: dict[_Place, list[Fallback]] = {}
        for entry in sorted(self.fallback, key=lambda each: -each.from_amount_minor):
            for place in entry.places:
                found.setdefault(place, []).append(entry)
        return found


def _strongest(
    rule: Rule, probability: float | None, score: float | None, amount_minor: int
) -> tuple[Action, str] | None:
    """Return the strongest action of a rule, and what reached it; None if nothing can be read."""
    loss = None if probability is None else probability * amount_minor
    readings = (
        ("probability", rule.probability, probability),
        ("score", rule.score, score),
        ("expected loss", rule.expected_loss_minor, loss),
    )
    best: tuple[Action, str] | None = None
    for what, steps, value in readings:
        if steps is None or value is None:
            continue
        action = steps.reached(value)
        if best is None or action.strength > best[0].strength:
            best = action, f"{rule.name}: {what}" if action.is_alert else rule.name
    return best


def _text(place: _Place) -> str:
    channel, direction = place
    return f"{direction} payments of {'all other channels' if channel is None else channel}"
