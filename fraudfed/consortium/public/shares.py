"""What a bank signs when it lets another one adopt a run.

Law: a signed share is of one run with one description and one result, of one set of tables, and for
one newcomer with its keys; it is good for no other run, result or bank.
"""

from fraudfed.consortium.public.documents import Signer, canonical, is_signed_by
from fraudfed.errors import AuthError
from fraudfed.wire.messages import MemberKeys, RunShare, SharedResult

_UNSIGNED = "0" * 128


def share_bytes(share: RunShare) -> bytes:
    """Return the canonical bytes of a share: everything but its signature."""
    newcomer = share.newcomer
    statistics = () if share.statistics is None else (share.statistics,)
    return canonical(
        "run share",
        share.bank,
        *(newcomer.name, newcomer.signing_key, newcomer.agreement_key),
        share.at,
        *_fields(share.model),
        len(share.tables),
        *(field for each in share.tables for field in _fields(each)),
        len(statistics),
        *(field for each in statistics for field in _fields(each)),
    )


def _fields(result: SharedResult) -> tuple[bytes | str | int, ...]:
    return (
        result.run_id,
        result.kind.value,
        result.description_sha256,
        result.plain_sha256,
        result.registry_sha256,
        len(result.signers),
        *result.signers,
    )


def sign_share(
    signer: Signer,
    *,
    bank: str,
    newcomer: MemberKeys,
    model: SharedResult,
    tables: tuple[SharedResult, ...],
    statistics: SharedResult | None,
    at: int,
) -> RunShare:
    """Consent, as ``bank``, that ``newcomer`` adopts a run."""
    unsigned = RunShare(
        bank=bank,
        newcomer=newcomer,
        model=model,
        tables=tables,
        statistics=statistics,
        at=at,
        signature=_UNSIGNED,
    )
    signature = signer.sign(share_bytes(unsigned)).hex()
    return unsigned.model_copy(update={"signature": signature})


def verify_share(share: RunShare, signing_key: str) -> None:
    """Check that a bank has signed exactly this share.

    Raises
    ------
    AuthError
        If the signature is not the bank's.
    """
    if not is_signed_by(signing_key, share_bytes(share), share.signature):
        raise AuthError(
            f"run {share.model.run_id}: the share's signature is not that of {share.bank}; it was "
            f"altered or made by somebody else, and nothing was adopted: ask {share.bank} to share "
            "the run again"
        )


def sealed_share_bytes(*, run_id: str, bank: str, newcomer: MemberKeys) -> bytes:
    """Return what the sealed content of a share is bound to (``info`` of HPKE)."""
    return canonical(
        "sealed run share",
        run_id,
        bank,
        *(newcomer.name, newcomer.signing_key, newcomer.agreement_key),
    )
