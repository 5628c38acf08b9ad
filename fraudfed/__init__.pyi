"""The public names of fraudfed, as type checkers see them; ``__init__.py`` imports them late."""

from fraudfed.boosting.model import without_category_names
from fraudfed.boosting.table import FeatureSchema, TrainingTable
from fraudfed.boosting.train import train
from fraudfed.communicator import SoloCommunicator
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.documents import (
    model_bytes,
    roster_digest,
    sign_audit_entry,
    verify_audit_entry,
    verify_model_signature,
)
from fraudfed.features.build import build_features
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.parameters import BoosterParams
from fraudfed.secure_sum.session import SecureSum
from fraudfed.wire.messages import AuditEntry, AuditStatus

__all__ = [
    "AuditEntry",
    "AuditStatus",
    "BoosterParams",
    "CiphertextVector",
    "FeatureSchema",
    "Identity",
    "KeyPackage",
    "SecureSum",
    "SoloCommunicator",
    "TrainingTable",
    "__version__",
    "build_features",
    "model_bytes",
    "roster_digest",
    "sign_audit_entry",
    "train",
    "verify_audit_entry",
    "verify_model_signature",
    "without_category_names",
]

__version__: str
