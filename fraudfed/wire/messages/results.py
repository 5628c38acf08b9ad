"""The accepted result of a run, and its signatures."""

from typing import Annotated

from pydantic import Field

from fraudfed.wire.messages.base import BankName, Message, Sha256, SignatureHex

#: Request header of a submitted model: the bank's signature over run and plain model
#: (``fraudfed.consortium.public.documents.model_bytes``), a ``SignatureHex``.
MODEL_SIGNATURE_HEADER = "Fraudfed-Model-Signature"


#: Request header of a submitted model: SHA-256 of the plain ``model.json``, which differs from
#: that of the body when the model is sealed to the members.
MODEL_PLAIN_HEADER = "Fraudfed-Model-Plain"


class ModelReceipt(Message):
    """A bank's vote for a model was stored."""

    run_id: str
    sha256: Sha256
    votes: Annotated[int, Field(ge=0)]
    expected: Annotated[int, Field(ge=0)]
    accepted: bool


class ModelSignature(Message):
    """A bank's signature over ``fraudfed.consortium.public.documents.model_bytes``."""

    bank: BankName
    signature: SignatureHex


class ModelSignatures(Message):
    """Every bank of the cohort signed that this run ended with this model."""

    run_id: str
    sha256: Sha256
    """Of the stored bytes."""
    plain_sha256: Sha256
    """Of the plain ``model.json``, which the banks signed; equal to ``sha256`` unless sealed."""
    signatures: tuple[ModelSignature, ...]
    """Sorted by bank."""
