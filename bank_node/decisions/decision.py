"""One decision, and the bytes that stand for it.

Law: ``decode(encode(decision)) == decision``, and equal decisions give equal bytes.
"""

import math
import struct
from dataclasses import dataclass, fields
from typing import Any, Final

from fraudfed.errors import StateError

#: Longest text of a field, in bytes of UTF-8.
MOST_TEXT_BYTES: Final = 4096
_MOST_BINS: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided about a payment, alerted or not, and by what.

    Attributes
    ----------
    transaction_id, customer_id : str
    event_time, decided_at : int
        UTC epoch seconds.
    channel, direction, currency : str or None
        As the payment says them.
    amount_minor : int
        Minor units of ``currency``.
    payee_id, payer_id, merchant_id, terminal_id : str or None
        For whom a fraud counts, so that a report of it later needs the transaction alone.
    margin, score, probability : float or None
        The model's logit and score, and the calibrated probability; None if it was not scored, or
        there is no calibration.
    action, rule : str
        What was done, and by which rule of the policy; ``NO_POLICY`` where there was none.
    full_action : str or None
        What would be done without warn-only mode and hold-out; None without a policy.
    step : str
        How much was there to score by.
    model_sha256, policy_sha256, tables_sha256 : str or None
        Digests of what decided.
    bins : bytes
        The payment as the model saw it (``decisions.bins``); empty if it was not scored.
    shown : bytes
        The values that the reasons' texts were written from (``fraudfed.reasons.shown``), so that
        they can be written again; empty without reasons.
    challenger_sha256 : str or None
        Of a second model that scored the payment without a say.
    challenger_margin : float or None
        Joined when read (``challenger_margins``); None in what is appended, and where the
        challenger has not scored it.
    propensity : float or None
        Probability of ``action`` by the policy's hold-out; None where nothing was drawn.
    has_state, warn_only : bool
        Whether features of the past were there, and whether the policy could do no more than warn.
    with_reasons : bool
        Whether the caller asked for reasons: without, no values of texts were kept.
    risk_age_days : int or None
        By how much the tables of shared risk ended too early; None without tables.
    bundle_seconds : int
        Since model, policy and tables had been read.
    """

    transaction_id: str
    customer_id: str
    event_time: int
    decided_at: int
    channel: str | None
    direction: str | None
    amount_minor: int
    currency: str | None
    margin: float | None
    score: float | None
    probability: float | None
    action: str
    rule: str
    step: str
    model_sha256: str | None = None
    policy_sha256: str | None = None
    tables_sha256: str | None = None
    bins: bytes = b""
    shown: bytes = b""
    challenger_sha256: str | None = None
    challenger_margin: float | None = None
    propensity: float | None = None
    full_action: str | None = None
    has_state: bool = True
    warn_only: bool = False
    with_reasons: bool = False
    risk_age_days: int | None = None
    bundle_seconds: int = 0
    payee_id: str | None = None
    payer_id: str | None = None
    merchant_id: str | None = None
    terminal_id: str | None = None

    @property
    def is_alert(self) -> bool:
        """Whether a policy decided to do anything but to let the payment pass."""
        return self.action not in (_ALLOW, NO_POLICY)

    @property
    def was_softened(self) -> bool:
        """Whether the policy would have done more, but for a hold-out or as it may only warn."""
        return self.full_action not in (None, _ALLOW)


#: Action of a decision that no policy made.
NO_POLICY: Final = "none"
_ALLOW: Final = "allow"
#: What a challenger says comes later.
_FIELDS: Final = tuple(each for each in fields(Decision) if each.name != "challenger_margin")
_INTEGERS = frozenset(
    {"event_time", "decided_at", "amount_minor", "risk_age_days", "bundle_seconds"}
)
_FLAGS = frozenset({"has_state", "warn_only", "with_reasons"})
_FLOATS = frozenset({"margin", "score", "probability", "propensity"})
_BYTES = frozenset({"bins", "shown"})
_DIGESTS = frozenset({"model_sha256", "policy_sha256", "tables_sha256", "challenger_sha256"})


def encode(decision: Decision) -> bytes:
    """Return the bytes of a decision.

    Raises
    ------
    ValueError
        If a text is too long, a digest is none, or a number is not finite; or if the challenger's
        margin is there, which is a row of its own.
    """
    if decision.challenger_margin is not None:
        raise ValueError("challenger_margin is given, expected None: it is added afterwards")
    mask, parts = 0, []
    for place, each in enumerate(_FIELDS):
        value = getattr(decision, each.name)
        if value is not None:
            mask |= 1 << place
            parts.append(_packed(each.name, value))
    return struct.pack("<I", mask) + b"".join(parts)


def decode(data: bytes, *, source: str) -> Decision:
    """Return the decision of some bytes; raises StateError, naming ``source``, if they are none."""
    try:
        reader = _Reader(data)
        (mask,) = struct.unpack("<I", reader.take(4))
        values = {
            each.name: reader.value(each.name)
            for place, each in enumerate(_FIELDS)
            if mask >> place & 1
        }
        reader.end(mask)
        absent: dict[str, Any] = {each.name: None for each in fields(Decision)}
        return Decision(**{**absent, **values})
    except (ValueError, struct.error):
        raise StateError(f"{source}: damaged: it is no decision; restore from a backup") from None


def _packed(name: str, value: Any) -> bytes:
    if name in _INTEGERS:
        return struct.pack("<q", value)
    if name in _FLAGS:
        return struct.pack("<?", value)
    if name in _FLOATS:
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}, expected a finite number")
        return struct.pack("<d", value)
    if name in _DIGESTS:
        digest = bytes.fromhex(value)
        if len(digest) != 32 or digest.hex() != value:
            raise ValueError(f"{name} is no SHA-256 in small hexadecimal digits")
        return digest
    if name in _BYTES:
        if len(value) > _MOST_BINS:
            raise ValueError(f"{name} has {len(value)} bytes, expected at most {_MOST_BINS}")
        return struct.pack("<I", len(value)) + bytes(value)
    text = value.encode()
    if len(text) > MOST_TEXT_BYTES:
        raise ValueError(f"{name} has {len(text)} bytes, expected at most {MOST_TEXT_BYTES}")
    return struct.pack("<H", len(text)) + bytes(text)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def end(self, mask: int) -> None:
        if self._at != len(self._data) or mask >> len(_FIELDS):
            raise ValueError("more than a decision has")

    def take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) != count:
            raise ValueError("cut off")
        self._at += count
        return part

    def value(self, name: str) -> Any:
        if name in _INTEGERS or name in _FLOATS:
            return struct.unpack("<q" if name in _INTEGERS else "<d", self.take(8))[0]
        if name in _FLAGS:
            (flag,) = self.take(1)
            if flag > 1:
                raise ValueError("a flag is 0 or 1")
            return bool(flag)
        if name in _DIGESTS:
            return self.take(32).hex()
        if name in _BYTES:
            return self.take(struct.unpack("<I", self.take(4))[0])
        return self.take(struct.unpack("<H", self.take(2))[0]).decode()
