"""At the newcomer: hold what members share against the roster that people have confirmed here.

Law: a result is taken only if every bank that signed it also signed, for this bank and its keys,
one and the same description, digest and list of signers, and if so many owners are among them that
at least one does not collude, by the newcomer's own rules. Tables and statistics are taken only
where all of these banks name the same digests. Neither the aggregator nor up to
``tolerated_colluders`` members with it can put in another model, table or description.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bank_node.adoption.content import Content, Held, SealedShare
from bank_node.approval.digest import approval_hash
from bank_node.checking.against import read_statistics
from bank_node.state.pinned_run import PinnedRun
from fraudfed.boosting.model_reader import read_model
from fraudfed.catalogue.run_check import check_contract
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.public.documents import verify_model_signature
from fraudfed.consortium.public.shares import verify_share
from fraudfed.consortium.roster import PinnedRoster
from fraudfed.consortium.trust import Trust
from fraudfed.errors import (
    AuthError,
    CohortError,
    ConfigurationError,
    ConflictError,
    DataError,
    ProtocolError,
    StateError,
)
from fraudfed.features.shared_risk.history import KeyedTables
from fraudfed.features.shared_risk.sketch import hash_key_id
from fraudfed.features.shared_risk.tables import RiskTables
from fraudfed.intake.plain_table import contract_schema
from fraudfed.wire.messages import (
    MemberKeys,
    ModelSignatures,
    RunKind,
    RunShare,
    SharedResult,
)
from fraudfed.wire.search_results import decode

_MODELS = (RunKind.TRAINING, RunKind.SEARCH)


@dataclass(frozen=True)
class Newcomer:
    """Whom this bank trusts, and who it is.

    Attributes
    ----------
    keys : MemberKeys
    identity : Identity
    pins : PinnedRoster
    trust : Trust
    """

    keys: MemberKeys
    identity: Identity
    pins: PinnedRoster
    trust: Trust


@dataclass(frozen=True)
class Taken:
    """A result that the members vouch for.

    Attributes
    ----------
    said : SharedResult
    held : Held
    """

    said: SharedResult
    held: Held


@dataclass(frozen=True)
class VerifiedRun:
    """What a newcomer adopts.

    Attributes
    ----------
    model : Taken
    signatures : ModelSignatures
        Those of the signers over the model.
    tables : tuple of Taken
    statistics : Taken or None
    shared_by : tuple of str
        The banks that consented, sorted.
    """

    model: Taken
    signatures: ModelSignatures
    tables: tuple[Taken, ...]
    statistics: Taken | None
    shared_by: tuple[str, ...]

    @property
    def run(self) -> PinnedRun:
        """The model's run."""
        return self.model.held.run

    @property
    def model_file(self) -> bytes:
        """The model itself, which of a search is the second part of the result."""
        content = self.model.held.content
        if self.model.said.kind is RunKind.SEARCH:
            return decode(content, source=f"run {self.run.run_id}")[1]
        return content


def verified_run(run_id: str, shares: Sequence[SealedShare], newcomer: Newcomer) -> VerifiedRun:
    """Return what the members share of a run, once everything of it was checked.

    Parameters
    ----------
    run_id : str
        The run that a person asked for.
    shares : sequence of SealedShare
        At least one.
    newcomer : Newcomer

    Raises
    ------
    ConfigurationError
        If a share is of another run or for another bank, or this bank took part in the run.
    ForbiddenError, CohortError
        If a bank is not confirmed here, a share is missing, or too few owners vouch for the run.
    AuthError
        If a signature is not that bank's.
    ConflictError
        If two banks say different things, or a bank handed over something else than it signed.
    KeyMaterialError, StateError, ProtocolError
        If a share does not open, or cannot be read.
    """
    for sealed in shares:
        _check_share(run_id, sealed, newcomer)
    of_bank = _one_of_each(shares)
    first = next(iter(of_bank.values())).share
    for sealed in of_bank.values():
        _require_equal(first, sealed.share, first.model, sealed.share.model)
    signers = first.model.signers
    _check_signers(first.model, of_bank, newcomer)
    # Whose consent does not count says nothing about tables either.
    said = [of_bank[name].share for name in signers]
    tables = _agreed(said, [share.tables for share in said])
    statistics = _agreed(
        said, [() if share.statistics is None else (share.statistics,) for share in said]
    )
    bank = next((name for name in signers if of_bank[name].box), None)
    if bank is None:
        raise CohortError(
            f"run {run_id}: all of {', '.join(signers)} share their signature only, expected the "
            "model of one of them; ask one for its share without --signature-only"
        )
    content = of_bank[bank].open(newcomer.identity)
    model = _taken(first.model, bank, content)
    _check_model(model, content, newcomer)
    taken = tuple(_taken(each, bank, content) for each in tables)
    for each in taken:
        _check_tables(each)
    _check_named(model, taken, signers)
    found = _taken(statistics[0], bank, content) if statistics else None
    if found is not None:
        _check_statistics(found)
    return VerifiedRun(
        model=model,
        signatures=content.signatures,
        tables=taken,
        statistics=found,
        shared_by=signers,
    )


def _check_share(run_id: str, sealed: SealedShare, newcomer: Newcomer) -> None:
    """Check that a share is for this bank, of this run, and signed by a confirmed member."""
    share, where = sealed.share, sealed.source
    if share.model.run_id != run_id:
        raise ConfigurationError(
            f"{where}: shares run {share.model.run_id}, expected run {run_id}; name the run that "
            "is shared, or take the share of that run"
        )
    if share.newcomer != newcomer.keys:
        raise ConfigurationError(
            f"{where}: is for {share.newcomer.name} with other keys or another name than this "
            f"bank's, {newcomer.keys.name}; ask {share.bank} to share the run with this bank"
        )
    newcomer.trust.require_members([share.bank])
    verify_share(share, newcomer.pins.members[share.bank].signing_key)
    if share.model.kind not in _MODELS:
        raise ConflictError(
            f"{where}: shares a run of kind {share.model.kind} as a model; {share.bank} is at "
            "fault, nothing was adopted"
        )


def _one_of_each(shares: Sequence[SealedShare]) -> dict[str, SealedShare]:
    """Return the latest share of each bank."""
    found: dict[str, SealedShare] = {}
    for sealed in shares:
        known = found.get(sealed.share.bank)
        if known is None or known.share.at < sealed.share.at:
            found[sealed.share.bank] = sealed
    return dict(sorted(found.items()))


def _require_equal(one: RunShare, other: RunShare, left: SharedResult, right: SharedResult) -> None:
    if left == right:
        return
    name = next(
        field
        for field in SharedResult.model_fields
        if getattr(left, field) != getattr(right, field)
    )
    got, expected = (_text(getattr(each, name)) for each in (right, left))
    raise ConflictError(
        f"run {left.run_id}: {other.bank} has signed {name} {got}, {one.bank} {expected}; one of "
        "them was shown something else or lies, and nothing was adopted: have both compare "
        "runs/RUN/record.json"
    )


def _text(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _check_signers(
    model: SharedResult, of_bank: Mapping[str, SealedShare], newcomer: Newcomer
) -> None:
    own, signers = newcomer.keys.name, model.signers
    if own in signers:
        raise ConfigurationError(
            f"run {model.run_id}: this bank took part in it, expected a run without it; take its "
            f"result with 'bank-node train --run {model.run_id}'"
        )
    if signers != tuple(sorted(set(signers))):
        raise ConflictError(
            f"run {model.run_id}: its signers are {', '.join(signers)}, expected each once and "
            "sorted; the bank that shared it is at fault"
        )
    newcomer.trust.require_members(signers)
    if missing := [name for name in signers if name not in of_bank]:
        raise CohortError(
            f"run {model.run_id}: is signed by {', '.join(signers)}, and {', '.join(missing)} "
            f"{'has' if len(missing) == 1 else 'have'} not shared it; each of them must: ask them "
            f"for 'bank-node runs share {model.run_id} --with {own}'"
        )
    newcomer.trust.require_enough(
        (*signers, own), where=f"run {model.run_id}: the set of its signers and this bank"
    )


def _agreed(
    said: Sequence[RunShare], listed: Sequence[tuple[SharedResult, ...]]
) -> tuple[SharedResult, ...]:
    """Return the results that all banks name, in the first one's order; refuse contradictions."""
    by_run: dict[str, tuple[RunShare, SharedResult]] = {}
    counts: dict[str, int] = {}
    for share, results in zip(said, listed, strict=True):
        if len({each.run_id for each in results}) != len(results):
            raise ConflictError(
                f"run {share.model.run_id}: {share.bank} names a result twice; it is at fault, "
                "nothing was adopted"
            )
        for result in results:
            known = by_run.setdefault(result.run_id, (share, result))
            _require_equal(known[0], share, known[1], result)
            counts[result.run_id] = counts.get(result.run_id, 0) + 1
    return tuple(each for each in listed[0] if counts[each.run_id] == len(said))


def _taken(said: SharedResult, bank: str, content: Content) -> Taken:
    """Return a bank's copy of a result; refuse it if that is not what all have signed."""
    for held in content.held:
        if held.run.run_id != said.run_id:
            continue
        try:
            description = approval_hash(held.run)
        except ProtocolError as error:
            raise ConflictError(f"{error}; {bank} is at fault, nothing was adopted") from None
        found = {
            "kind": held.run.spec.kind,
            "description_sha256": description,
            "plain_sha256": hashlib.sha256(held.content).hexdigest(),
        }
        for name, value in found.items():
            if value != getattr(said, name):
                raise ConflictError(
                    f"run {said.run_id}: {bank} has handed over {name} {value}, and signed "
                    f"{getattr(said, name)}; nothing was adopted: ask it to share the run again"
                )
        return Taken(said, held)
    raise ConflictError(
        f"run {said.run_id}: {bank} has signed for it and not handed it over; nothing was adopted: "
        "ask it to share the run again"
    )


def _check_model(model: Taken, content: Content, newcomer: Newcomer) -> None:
    run, said = model.held.run, model.said
    signatures = content.signatures
    least = min(run.spec.min_cohort, len(run.cohort))
    if not set(said.signers) <= set(run.cohort) or len(said.signers) < least:
        raise ConflictError(
            f"run {run.run_id}: is signed by {', '.join(said.signers)}, expected at least {least} "
            f"of its cohort, {', '.join(run.cohort)}; nothing was adopted"
        )
    if newcomer.keys.name in run.cohort:
        raise ConfigurationError(
            f"run {run.run_id}: this bank is of its cohort, expected a run without it; take its "
            f"result with 'bank-node train --run {run.run_id}'"
        )
    found = (signatures.run_id, signatures.plain_sha256, signatures.sha256)
    names = tuple(one.bank for one in signatures.signatures)
    if found != (run.run_id, said.plain_sha256, said.registry_sha256) or names != said.signers:
        raise AuthError(
            f"run {run.run_id}: carries signatures of {', '.join(names) or 'nobody'} over model "
            f"{signatures.plain_sha256} of run {signatures.run_id}, expected those of "
            f"{', '.join(said.signers)} over {said.plain_sha256}; nothing was adopted"
        )
    for one in signatures.signatures:
        verify_model_signature(
            newcomer.pins.members[one.bank].signing_key,
            one.signature,
            bank=one.bank,
            run_id=run.run_id,
            plain_sha256=said.plain_sha256,
        )
    check_contract(run.contract)
    data, source = model.held.content, f"run {run.run_id}: the shared model"
    if said.kind is RunKind.SEARCH:
        data = decode(data, source=source)[1]
    read_model(data, schema=contract_schema(run.contract), source=source)


def _check_tables(tables: Taken) -> None:
    held, run_id = tables.held, tables.said.run_id
    try:
        found = RiskTables.from_bytes(held.content)
        KeyedTables(found, held.hash_key or b"")
        is_whole = found.spec == held.run.risk and found.is_complete
    except (StateError, DataError, ConfigurationError) as error:
        raise ConflictError(f"{error}; nothing was adopted: ask for the run again") from None
    if not is_whole:
        raise ConflictError(
            f"run {run_id}: its tables are of another description, or not whole; nothing was "
            "adopted: ask for the run again"
        )


def _check_statistics(statistics: Taken) -> None:
    held, run_id = statistics.held, statistics.said.run_id
    try:
        found = read_statistics(held.run, held.content)
    except (StateError, ConfigurationError) as error:
        raise ConflictError(f"{error}; nothing was adopted: ask for the run again") from None
    if found.key_id != hash_key_id(held.hash_key or b""):
        raise ConflictError(
            f"run {run_id}: its statistics come with another hash key than they were made under; "
            "nothing was adopted: ask for the run again"
        )


def _check_named(model: Taken, tables: Sequence[Taken], signers: Sequence[str]) -> None:
    """Refuse a model whose own tables are not among those that all banks vouch for."""
    here = {each.said.registry_sha256 for each in tables}
    missing = [sha256 for sha256 in model.held.run.contract.shared_risk if sha256 not in here]
    if missing:
        raise CohortError(
            f"run {model.said.run_id}: was trained on risk tables {missing[0]}, which not all of "
            f"{', '.join(signers)} share; ask the one that misses them to take them from their run "
            "('bank-node risk update --run RUN_ID') and to share again"
        )
