"""One bank's vote for a model, and the signatures of all banks under it."""

import hashlib
from dataclasses import dataclass

from bank_node.state.directory import PinnedRun
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.model_seal import seal_model
from fraudfed.consortium.public.documents import model_bytes, verify_model_signature
from fraudfed.errors import ConflictError
from fraudfed.wire.messages import KeyEpoch, ModelSignatures, ModelVisibility


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
    signatures: ModelSignatures,
    run: PinnedRun,
    key_epoch: KeyEpoch,
    *,
    sha256: str,
    plain_sha256: str,
    banks: tuple[str, ...],
) -> None:
    """Accept a model only when every bank that took part to the end has signed it.

    Parameters
    ----------
    sha256, plain_sha256 : str
        Of the model as it is stored, and of the plain one.
    banks : tuple of str
        Who took part, sorted.

    Raises
    ------
    ConflictError
        If the registry names another model, or a bank's signature is missing.
    AuthError
        If a signature is not that bank's.
    """
    found = (signatures.run_id, signatures.sha256, signatures.plain_sha256)
    if found != (run.run_id, sha256, plain_sha256):
        raise ConflictError(
            f"run {run.run_id}: the registry holds signatures of model {signatures.plain_sha256} "
            f"of run {signatures.run_id}, expected {plain_sha256}; the aggregator is at fault, the "
            "model was not kept"
        )
    signers = tuple(one.bank for one in signatures.signatures)
    if signers != banks:
        raise ConflictError(
            f"run {run.run_id}: the model is signed by {', '.join(signers) or 'nobody'}, expected "
            f"each of {', '.join(banks)}; the aggregator is at fault, the model was not kept"
        )
    members = {member.name: member for member in key_epoch.roster}
    for one in signatures.signatures:
        verify_model_signature(
            members[one.bank].signing_key,
            one.signature,
            bank=one.bank,
            run_id=run.run_id,
            plain_sha256=plain_sha256,
        )
