"""One valid example of every message, and mutations of what travels."""

from typing import Any

from hypothesis import strategies as st

from fraudfed.wire.messages import (
    Abort,
    AuditEntry,
    AuditKey,
    AuditLog,
    AuditStatus,
    BankRegistration,
    Currency,
    DataContract,
    DropRequest,
    FeatureSpec,
    FeatureType,
    FrameHeader,
    FrameKind,
    Generation,
    HandoverReceipt,
    HandoverSignature,
    HandoverSignatures,
    Health,
    Invite,
    InviteRequest,
    Join,
    KeyAcknowledgement,
    KeyEpoch,
    KeyEpochState,
    KeyEpochStatus,
    LabelHorizon,
    MemberKeys,
    MemberRemoval,
    Message,
    ModelReceipt,
    ModelSignature,
    ModelSignatures,
    MonitorSpec,
    Population,
    PrivacySpec,
    PublicKeyMessage,
    Ready,
    ReadyBank,
    RiskPrivacy,
    RiskSpec,
    Roster,
    RoundList,
    RoundReceipt,
    RoundSummary,
    RunCreated,
    RunKind,
    RunList,
    RunShare,
    RunSpec,
    RunState,
    RunStatus,
    SealedKey,
    SearchCandidate,
    SearchRung,
    SearchSpec,
    SharedResult,
    StatisticsSpec,
    WaitsFor,
)

_HASH = "ab" * 32
_SIGNATURE = "cd" * 64
_MEMBERS = tuple(
    MemberKeys(name=f"bank-{i}", signing_key=f"{i}a" * 32, agreement_key=f"{i}b" * 32)
    for i in range(3)
)
_KEY = PublicKeyMessage(n="ff", hs="abc", alpha_bits=448, fingerprint=_HASH)
_CONTRACT = DataContract(
    kind="table",
    features=(
        FeatureSpec(name="amount"),
        FeatureSpec(name="channel", type=FeatureType.CATEGORICAL, categories=("pos", "web")),
    ),
)
_SPEC = RunSpec(name="run", key_epoch=1, parameters={"eta": 0.3}, contract=_CONTRACT)
_SEARCH = SearchSpec(
    candidates=(
        SearchCandidate(name="shallow", parameters={"max_depth": 3}, min_child_share=0.02),
        SearchCandidate(name="deep", parameters={"max_depth": 6}),
    ),
    rungs=(SearchRung(trees=20, alive=2), SearchRung(trees=50, alive=1)),
)
_READY = ReadyBank(bank="bank-0", step=2, more_rows=64, key=_HASH, signature="1" * 128)
_HANDOVER_SIGNATURE = HandoverSignature(bank="bank-0", signature="1" * 128)
_GENERATION = Generation(
    number=1, banks=("bank-0", "bank-1", "bank-2"), entrants=("bank-2",), ready=(_READY,)
)
_WAITS_FOR = WaitsFor(what="ready", banks=("bank-1", "bank-2"))
_STATUS = RunStatus(
    run_id="r1",
    spec=_SPEC,
    state=RunState.GATHERING,
    cohort=("bank-0", "bank-1", "bank-2"),
    public_key=_KEY,
    members=("bank-0", "bank-1", "bank-2"),
    generation=_GENERATION,
    waiting=("bank-2",),
    waits_for=_WAITS_FOR,
    contributed=("bank-0",),
    round_number=0,
    ciphertexts=0,
    bytes_received=0,
    created_at=1,
)
_EPOCH = KeyEpoch(
    epoch=1,
    steward="bank-0",
    roster=_MEMBERS,
    public_key=_KEY,
    sealed=tuple(SealedKey(name=member.name, box="AAAA") for member in _MEMBERS),
    signature=_SIGNATURE,
)
_REMOVAL = MemberRemoval(removed=_MEMBERS[2], signer="bank-0", signature=_SIGNATURE)
_ACKNOWLEDGEMENT = KeyAcknowledgement(epoch=1, bank="bank-0", digest=_HASH, signature=_SIGNATURE)
_RESULT = SharedResult(
    run_id="r1",
    kind=RunKind.TRAINING,
    description_sha256=_HASH,
    plain_sha256=_HASH,
    registry_sha256=_HASH,
    signers=("bank-0", "bank-1"),
)
_ROUND = RoundSummary(
    number=0, label="rows", context=_HASH, ciphertexts=1, bytes_received=10, opened_at=1
)
_ENTRY = AuditEntry(
    seq=1,
    time=1,
    kind="run-created",
    actor="operator:operator",
    subject="run/r1",
    status=AuditStatus.ACCEPTED,
    detail="",
    body_sha256=_HASH,
    previous_hash="0" * 64,
    hash=_HASH,
    signature=_SIGNATURE,
)
_SIGNED = ModelSignature(bank="bank-0", signature=_SIGNATURE)

#: A valid message of every class, by class.
EXAMPLES: dict[type[Message], Message] = {
    type(message): message
    for message in (
        *(_KEY, _CONTRACT, _CONTRACT.features[0], _SPEC, _STATUS, _EPOCH, _ACKNOWLEDGEMENT),
        *(_ROUND, _ENTRY, _SIGNED, _MEMBERS[0], _EPOCH.sealed[0]),
        *(_READY, _GENERATION, _WAITS_FOR, _HANDOVER_SIGNATURE),
        Abort(reason="disk full"),
        RiskSpec(first_day=19_506, last_day=19_536, delay_days=7),
        RiskPrivacy(epsilon=3.0, tolerated_colluders=1),
        StatisticsSpec(min_count=20),
        PrivacySpec(epsilon=3.0, tolerated_colluders=1, declared_rows=2_000_000),
        MonitorSpec(model_run="r1", model_sha256=_HASH, until=1_704_067_200),
        *(_SEARCH, _SEARCH.candidates[0], _SEARCH.rungs[0]),
        LabelHorizon(days=30, by_channel={"transfer": 395}),
        Population(channels=("pos", "transfer"), direction="outbound"),
        Currency(code="GBP", rates={"EUR": {"2026-01-31": "0.8512"}}),
        AuditKey(audit_key=_HASH),
        AuditLog(entries=(_ENTRY,)),
        BankRegistration(name="bank-0", invite="x" * 20, signing_key=_HASH, agreement_key=_HASH),
        FrameHeader(
            kind=FrameKind.CONTRIBUTION,
            run_id="r1",
            round_number=0,
            label="rows",
            context=_HASH,
            bank="bank-0",
            step=3,
            count=2,
            item_bytes=8,
            commitment=_HASH,
        ),
        DropRequest(bank="bank-0", reason="its line is cut"),
        HandoverReceipt(run_id="r1", generation=1, sha256=_HASH),
        Health(status="ok", version="1"),
        Invite(name="bank-0", code="x" * 20, expires_at=1),
        InviteRequest(name="bank-0", valid_seconds=60),
        KeyEpochStatus(
            key_epoch=_EPOCH, acknowledged=(_ACKNOWLEDGEMENT,), state=KeyEpochState.PENDING
        ),
        ModelReceipt(run_id="r1", sha256=_HASH, votes=1, expected=3, accepted=False),
        ModelSignatures(run_id="r1", sha256=_HASH, plain_sha256=_HASH, signatures=(_SIGNED,)),
        Ready(step=2, more_rows=64, key=_HASH, signature="1" * 128),
        Join(key=_HASH, signature="1" * 128),
        HandoverSignatures(signatures=(_HANDOVER_SIGNATURE,)),
        _RESULT,
        RunShare(bank="bank-0", newcomer=_MEMBERS[2], model=_RESULT, at=1, signature=_SIGNATURE),
        _REMOVAL,
        Roster(members=_MEMBERS[:2], removals=(_REMOVAL,)),
        RoundList(run_id="r1", rounds=(_ROUND,)),
        RoundReceipt(run_id="r1", round_number=0, received=1, expected=3),
        RunCreated(run_id="r1"),
        RunList(runs=(_STATUS,)),
    )
}

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["", "0" * 64, "A" * 64, "bank-0\n", "../../etc", "\x00", "é", "1e999"]),
)
_JUNK = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@st.composite
def mutated_json(draw: st.DrawFn, original: Any) -> Any:
    """Change one place of a JSON value: replace, remove, add or repeat something."""
    if isinstance(original, dict) and original and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(original)))
        match draw(st.integers(0, 5)):
            case 0:
                return {k: v for k, v in original.items() if k != key}
            case 1:
                return {**original, draw(st.text(max_size=12)): draw(_JUNK)}
            case _:
                return {**original, key: draw(mutated_json(original[key]))}
    if isinstance(original, list) and original and draw(st.integers(0, 9)):
        index = draw(st.integers(0, len(original) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                return original[:index] + original[index + 1 :]
            case 1:
                return [*original, original[index]]
            case 2:
                return original[::-1]
            case _:
                changed = draw(mutated_json(original[index]))
                return [*original[:index], changed, *original[index + 1 :]]
    return draw(_JUNK)


@st.composite
def mutated_bytes(draw: st.DrawFn, original: bytes) -> bytes:
    """Flip, cut, repeat or insert bytes in one to three places."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 4)):
            case 0 if data:
                data[where] ^= draw(st.integers(1, 255))
            case 1:
                del data[where:]
            case 2:
                data[where:where] = draw(st.binary(min_size=1, max_size=9))
            case 3:
                del data[where : where + draw(st.integers(1, 9))]
            case _:
                data += data[where:]
    return bytes(data)
