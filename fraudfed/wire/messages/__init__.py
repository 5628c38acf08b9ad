"""Every JSON message between bank node, aggregator and operator.

Rules: frozen; an unknown field or another version is an error (fail closed); the meaning of a
published message never changes, a new one is added instead. Times are UTC epoch seconds (int64).
The OpenAPI document is generated from these classes.
"""

from fraudfed.privacy.terms import History, PrivacyUnit, PrivateCuts, TrainingWay
from fraudfed.wire.messages.base import (
    PROTOCOL_VERSION,
    BankName,
    EpochNumber,
    Message,
    Problem,
    PublicKeyHex,
    Sha256,
    SignatureHex,
    parse,
)
from fraudfed.wire.messages.contract.currency import Currency
from fraudfed.wire.messages.contract.data_contract import DataContract, FeatureSpec, FeatureType
from fraudfed.wire.messages.contract.label_horizon import LabelHorizon
from fraudfed.wire.messages.contract.population import Population
from fraudfed.wire.messages.key_epochs import (
    KeyAcknowledgement,
    KeyEpoch,
    KeyEpochState,
    KeyEpochStatus,
    PublicKeyMessage,
    SealedKey,
)
from fraudfed.wire.messages.kinds.monitor import MonitorSpec
from fraudfed.wire.messages.kinds.privacy import PrivacySpec
from fraudfed.wire.messages.kinds.risk import RiskEntity, RiskPrivacy, RiskSpec
from fraudfed.wire.messages.kinds.search import SearchCandidate, SearchRung, SearchSpec, SelectBy
from fraudfed.wire.messages.kinds.statistics import StatisticsSpec
from fraudfed.wire.messages.members import (
    BankRegistration,
    Invite,
    InviteRequest,
    MemberKeys,
    MemberRemoval,
    Members,
    Roster,
)
from fraudfed.wire.messages.results import (
    MODEL_PLAIN_HEADER,
    MODEL_SIGNATURE_HEADER,
    ModelReceipt,
    ModelSignature,
    ModelSignatures,
)
from fraudfed.wire.messages.rounds import (
    FrameHeader,
    FrameKind,
    RoundList,
    RoundReceipt,
    RoundSummary,
)
from fraudfed.wire.messages.runs import (
    HANDOVER_SIGNATURE_HEADER,
    Abort,
    AbortReason,
    DropRequest,
    Generation,
    HandoverReceipt,
    HandoverSignature,
    HandoverSignatures,
    Join,
    ModelVisibility,
    Ready,
    ReadyBank,
    RunCreated,
    RunKind,
    RunList,
    RunSpec,
    RunState,
    RunStatus,
    WaitsFor,
)
from fraudfed.wire.messages.service import AuditEntry, AuditKey, AuditLog, AuditStatus, Health
from fraudfed.wire.messages.shares import RunShare, SharedResult

__all__ = [
    "HANDOVER_SIGNATURE_HEADER",
    "MODEL_PLAIN_HEADER",
    "MODEL_SIGNATURE_HEADER",
    "PROTOCOL_VERSION",
    "Abort",
    "AbortReason",
    "AuditEntry",
    "AuditKey",
    "AuditLog",
    "AuditStatus",
    "BankName",
    "BankRegistration",
    "Currency",
    "DataContract",
    "DropRequest",
    "EpochNumber",
    "FeatureSpec",
    "FeatureType",
    "FrameHeader",
    "FrameKind",
    "Generation",
    "HandoverReceipt",
    "HandoverSignature",
    "HandoverSignatures",
    "Health",
    "History",
    "Invite",
    "InviteRequest",
    "Join",
    "KeyAcknowledgement",
    "KeyEpoch",
    "KeyEpochState",
    "KeyEpochStatus",
    "LabelHorizon",
    "MemberKeys",
    "MemberRemoval",
    "Members",
    "Message",
    "ModelReceipt",
    "ModelSignature",
    "ModelSignatures",
    "ModelVisibility",
    "MonitorSpec",
    "Population",
    "PrivacySpec",
    "PrivacyUnit",
    "PrivateCuts",
    "Problem",
    "PublicKeyHex",
    "PublicKeyMessage",
    "Ready",
    "ReadyBank",
    "RiskEntity",
    "RiskPrivacy",
    "RiskSpec",
    "Roster",
    "RoundList",
    "RoundReceipt",
    "RoundSummary",
    "RunCreated",
    "RunKind",
    "RunList",
    "RunShare",
    "RunSpec",
    "RunState",
    "RunStatus",
    "SealedKey",
    "SearchCandidate",
    "SearchRung",
    "SearchSpec",
    "SelectBy",
    "Sha256",
    "SharedResult",
    "SignatureHex",
    "StatisticsSpec",
    "TrainingWay",
    "WaitsFor",
    "parse",
]
