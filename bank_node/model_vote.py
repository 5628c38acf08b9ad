"""One bank's vote for a model, and the signatures of all banks under it."""

import hashlib
from dataclasses import dataclass

from bank_node.state import PinnedRun
from fraudfed.consortium.documents import model_bytes, verify_model_signature
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.model_seal import seal_model
from fraudfed.errors import ConflictError
from fraudfed.wire.messages import KeyEpoch, ModelSignatures, ModelVisibility

__all__ = ["ModelVote", "check_signatures"]


@dataclass(frozen=True)
class ModelVote:
    """A model as it goes to the registry.

    Attributes
    ----------
    body : bytes
        The model, or the model sealed to the members.
    sha256 : str
        Of ``body``.
    plain_sha256 : str
        Of the model itself, which is what the banks sign.
    signature : str
        This bank's, hexadecimal.
    """

    body: bytes
    sha256: str
    plain_sha256: str
    signature: str

    @classmethod
    def of(
        cls, model: bytes, run: PinnedRun, package: KeyPackage, identity: Identity
    ) -> "ModelVote":
        """Sign a model, and seal it if the run says that only members may read it."""
        plain_sha256 = hashlib.sha256(model).hexdigest()
        body = model
        if run.spec.model_visibility is ModelVisibility.MEMBERS:
            body = seal_model(model, holder=package, run_id=run.run_id)
        document = model_bytes(run_id=run.run_id, plain_sha256=plain_sha256)
        return cls(
            body=body,
            sha256=hashlib.sha256(body).hexdigest(),
            plain_sha256=plain_sha256,
            signature=identity.sign(document).hex(),
        )


def check_signatures(
    signatures: ModelSignatures, vote: ModelVote, run: PinnedRun, key_epoch: KeyEpoch
) -> None:
    """Accept a model only when every bank of the cohort has signed it.

    Raises
    ------
    ConflictError
        If the registry names another model, or a bank's signature is missing.
    AuthError
        If a signature is not that bank's.
    """
    found = (signatures.run_id, signatures.sha256, signatures.plain_sha256)
    if found != (run.run_id, vote.sha256, vote.plain_sha256):
        raise ConflictError(
            f"run {run.run_id}: the registry holds signatures of model {signatures.plain_sha256} "
            f"of run {signatures.run_id}, this bank trained {vote.plain_sha256}; the aggregator is "
            "at fault, the model was not kept"
        )
    signers = tuple(one.bank for one in signatures.signatures)
    if signers != run.cohort:
        raise ConflictError(
            f"run {run.run_id}: the model is signed by {', '.join(signers) or 'nobody'}, expected "
            f"each of {', '.join(run.cohort)}; the aggregator is at fault, the model was not kept"
        )
    for member, one in zip(key_epoch.roster, signatures.signatures, strict=True):
        verify_model_signature(
            member.signing_key,
            one.signature,
            bank=member.name,
            run_id=run.run_id,
            plain_sha256=vote.plain_sha256,
        )
