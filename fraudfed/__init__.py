"""fraudfed: banks train one XGBoost-compatible fraud model over an encrypted sum.

This package holds what both sides agree on: cryptosystem, secure sum, boosting, features,
evaluation and wire messages. The programs are ``bank_node`` and ``aggregator``.

The names below are for users of the library; ``docs/library.md`` shows how to use them. They are
imported when they are first used (PEP 562), so that a program which imports a part of fraudfed
loads nothing else. Our own programs import a name from the module that defines it: what the
aggregator can reach would otherwise be hidden from the import linter. ``__init__.pyi`` tells type
checkers what the names are.
"""

from importlib import import_module

__version__ = "0.1.0"

_MODULES = {
    "AuditEntry": "fraudfed.wire.messages",
    "AuditStatus": "fraudfed.wire.messages",
    "BoosterParams": "fraudfed.parameters",
    "CiphertextVector": "fraudfed.paillier.vector",
    "FeatureSchema": "fraudfed.boosting.table",
    "Identity": "fraudfed.consortium.identity",
    "KeyPackage": "fraudfed.consortium.key_package",
    "SecureSum": "fraudfed.secure_sum.session",
    "SoloCommunicator": "fraudfed.communicator",
    "TrainingTable": "fraudfed.boosting.table",
    "build_features": "fraudfed.features.build",
    "model_bytes": "fraudfed.consortium.public.documents",
    "roster_digest": "fraudfed.consortium.public.documents",
    "sign_audit_entry": "fraudfed.consortium.public.documents",
    "train": "fraudfed.boosting.train",
    "verify_audit_entry": "fraudfed.consortium.public.documents",
    "verify_model_signature": "fraudfed.consortium.public.documents",
    "without_category_names": "fraudfed.boosting.model",
}

__all__ = sorted(["__version__", *_MODULES])


def __getattr__(name: str) -> object:
    """Import a public name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_MODULES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))
