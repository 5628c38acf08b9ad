"""One bank's vote for a model, and the signatures of all banks under it.

A result is kept only with the signatures of its banks: of every bank that took part to the end, or,
when it comes from the registry, of as many banks as the run needs.
"""

import hashlib
import logging
from dataclasses import dataclass

from bank_node.run.context import RunContext
from bank_node.state.pinned_run import PinnedRun
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.model_seal import open_model, seal_model
from fraudfed.consortium.public.documents import model_bytes, verify_model_signature
from fraudfed.errors import ConflictError
from fraudfed.wire.messages import KeyEpoch, ModelSignatures, ModelVisibility

_log = logging.getLogger(__name__)


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
        """Sign a model, and seal it if the run says that only members may read it.

        Parameters
        ----------
        package : KeyPackage
            Of the run's key epoch.
        identity : Identity
            This bank's.
        """
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
        The banks that took part to the end, sorted.

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


@dataclass(frozen=True)
class Accepted:
    """A result that the registry has accepted, with the signatures of its banks.

    Attributes
    ----------
    content : bytes
        The plain result.
    signatures : ModelSignatures
        Checked; they name the hashes of the plain result and of the registered one.
    """

    content: bytes
    signatures: ModelSignatures

    @property
    def banks(self) -> tuple[str, ...]:
        """The banks that signed, sorted."""
        return tuple(one.bank for one in self.signatures.signatures)


def take_from_registry(context: RunContext) -> Accepted:
    """Take the accepted result from the registry, if enough banks of the run have signed it.

    A bank does so when it dropped out, or was killed before it could keep the result.

    Raises
    ------
    ConflictError
        If it is not the model that the banks have signed, or too few or foreign banks have.
    AuthError
        If a signature is not that bank's.
    KeyMaterialError
        If a sealed result does not open.
    """
    client, run, run_id = context.client, context.run, context.run_id
    stored, signatures = client.model(run_id), client.model_signatures(run_id)
    content = stored
    if run.spec.model_visibility is ModelVisibility.MEMBERS:
        content = open_model(stored, holder=context.epoch.package, run_id=run_id)
    accepted = Accepted(content, signatures)
    banks, least = accepted.banks, min(run.spec.min_cohort, len(run.cohort))
    if banks != tuple(sorted(set(banks) & set(run.cohort))) or len(banks) < least:
        raise ConflictError(
            f"run {run_id}: the model is signed by {', '.join(banks) or 'nobody'}, expected at "
            f"least {least} of {', '.join(run.cohort)}; the aggregator is at fault, the model was "
            "not kept"
        )
    sha256, plain_sha256 = (hashlib.sha256(data).hexdigest() for data in (stored, content))
    check_signatures(
        signatures,
        run,
        context.epoch.key_epoch,
        sha256=sha256,
        plain_sha256=plain_sha256,
        banks=banks,
    )
    _log.info("took the result of run %s from the registry, signed by %s", run_id, ", ".join(banks))
    return accepted
