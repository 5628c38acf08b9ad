"""What this bank agrees to before it contributes, whatever the aggregator says."""

from bank_node.data_contract import check_contract, feature_schema
from bank_node.state import StateDirectory
from fraudfed.boosting.params import BoosterParams
from fraudfed.errors import CohortError, ConflictError, KeyMaterialError, ProtocolError
from fraudfed.paillier.keys import PublicKey
from fraudfed.wire.messages import RunSpec, RunStatus

__all__ = ["check_roster", "check_run", "pin_run"]


def check_run(spec: RunSpec, *, public_key: PublicKey, min_cohort: int) -> BoosterParams:
    """Accept a run's description and return its checked parameters.

    Raises
    ------
    CohortError
        If the cohort is smaller than this bank allows.
    KeyMaterialError
        If the run uses another key than this bank's key package.
    ParameterError, ConfigurationError
        If a parameter or the data contract cannot be met.
    """
    if spec.cohort_size < min_cohort:
        raise CohortError(
            f"run {spec.name!r}: cohort of {spec.cohort_size} banks, this bank takes part from "
            f"{min_cohort} on, as sums over fewer show single banks; ask for a larger cohort, or "
            "allow it by --min-cohort"
        )
    announced = spec.public_key
    own = (public_key.n, public_key.hs, public_key.alpha_bits, public_key.fingerprint)
    theirs = (
        int(announced.n, 16),
        None if announced.hs is None else int(announced.hs, 16),
        announced.alpha_bits,
        announced.fingerprint,
    )
    if own != theirs:
        raise KeyMaterialError(
            f"run {spec.name!r}: uses public key {announced.fingerprint[:16]}..., this bank's key "
            f"package holds {public_key.fingerprint[:16]}...; wrong key: get the key package of "
            "this consortium"
        )
    check_contract(spec.contract)
    params = BoosterParams.parse(spec.parameters)
    params.resolve_monotone_constraints(feature_schema(spec.contract))
    return params


def pin_run(state: StateDirectory, status: RunStatus) -> None:
    """Keep the run's description on first sight, and refuse any other later.

    Raises
    ------
    ConflictError
        If the aggregator now describes the run differently.
    """
    pinned = state.pinned_run(status.run_id)
    if pinned is None:
        state.pin_run(status.run_id, status.spec)
    elif pinned != status.spec:
        changed = [
            name
            for name in RunSpec.model_fields
            if getattr(pinned, name) != getattr(status.spec, name)
        ]
        raise ConflictError(
            f"run {status.run_id}: the aggregator changed {', '.join(changed)} since this bank "
            "first saw the run; nothing was sent: ask the operator for a new run"
        )


def check_roster(status: RunStatus, name: str) -> int:
    """Return this bank's index in a full cohort.

    Raises
    ------
    ProtocolError
        If the members are not ``cohort_size`` distinct banks in sorted order with this one.
    """
    members = status.members
    if len(members) != status.spec.cohort_size or list(members) != sorted(set(members)):
        raise ProtocolError(
            f"run {status.run_id}: members are {', '.join(members) or 'none'}, expected "
            f"{status.spec.cohort_size} distinct banks in sorted order; the aggregator is at fault"
        )
    if name not in members:
        raise ProtocolError(
            f"run {status.run_id}: bank {name!r} is not among the members "
            f"{', '.join(members)}; join the run before it is full"
        )
    return members.index(name)
