"""Banks that are set back, keys that are stolen later, and keys that are told in two ways.

Every bank agrees by ``Agreeing``, over files of its own, with an aggregator that forgets what it
likes to; then it sums by the session that a training has. The attacker is the aggregator with a
member: it holds the consortium's key package, and everything that was ever sent.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cohorts.secure import SummingRound
from examples.run_contexts import make_context
from federations.agreements import EPOCH, AgreeingBanks

from bank_node.config import CohortRules
from bank_node.run import agreeing as agreement
from bank_node.run import attempt
from bank_node.run.agreeing import Agreeing
from bank_node.state.agreement import Agreements
from bank_node.state.checkpoints import Checkpoints
from bank_node.state.outbox import Outbox
from bank_node.state.pinned_run import PinnedRun
from bank_node.vault.vault import PlainVault
from fraudfed.consortium import ephemeral
from fraudfed.consortium.ephemeral import EphemeralKey
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.errors import FraudFedError, KeyMaterialError, ProtocolError, StateError, SumError
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.secure_sum import session as sessions
from fraudfed.secure_sum.context import RoundContext
from fraudfed.secure_sum.masks.pairwise import PairwiseMasks
from fraudfed.secure_sum.masks.self_masks import Sealed, self_streams
from fraudfed.secure_sum.masks.streams import signed_sum
from fraudfed.secure_sum.openings import centred
from fraudfed.secure_sum.packing import SlotLayout
from fraudfed.secure_sum.session import SecureSum
from fraudfed.secure_sum.transcript import Transcript
from fraudfed.secure_sum.used_contexts import UsedContexts
from fraudfed.wire.messages import (
    DataContract,
    FeatureSpec,
    Generation,
    Join,
    KeyEpoch,
    PublicKeyMessage,
    Ready,
    ReadyBank,
    RunSpec,
    RunState,
    RunStatus,
    SealedKey,
)

NAMES = ("bank-0", "bank-1", "bank-2")
VICTIM, OTHER, MEMBER = NAMES
ROWS = np.array([17, 4, 250], dtype=np.int64)
CHANGED = ROWS + np.array([1, 0, -3])
BOUND = 1 << 10
SPEC = RunSpec(
    name="a run",
    key_epoch=EPOCH,
    contract=DataContract(kind="table", features=(FeatureSpec(name="amount"),)),
)
Patch = pytest.MonkeyPatch


class Aggregator:
    """Takes every answer and repeats the last one of each bank, whatever it took before."""

    def __init__(self, place: "Place") -> None:
        self.place = place
        self.answers: dict[tuple[int, str], ReadyBank] = {}

    def status(self, generation: Generation, state: RunState) -> RunStatus:
        return RunStatus(
            run_id="r1",
            spec=SPEC,
            state=state,
            cohort=NAMES,
            public_key=self.place.key_epoch.public_key,
            members=NAMES,
            generation=generation,
            round_number=0,
            ciphertexts=0,
            bytes_received=0,
            created_at=0,
        )

    def generation(self, number: int = 0) -> Generation:
        """Return a generation with the answers to it so far."""
        found = {name: one for (to, name), one in self.answers.items() if to == number}
        return Generation(
            number=number, banks=NAMES, ready=tuple(found[name] for name in sorted(found))
        )

    def take(self, bank: str, number: int, said: Ready) -> RunStatus:
        self.answers[number, bank] = ReadyBank(bank=bank, **said.model_dump())
        state = RunState.GATHERING if number else RunState.OPEN
        return self.status(self.generation(number), state)


class Client:
    """One bank's way to the aggregator."""

    def __init__(self, aggregator: Aggregator, bank: str) -> None:
        self._aggregator, self._bank = aggregator, bank

    def join(self, run_id: str, body: Join) -> RunStatus:
        assert body.key is not None
        assert body.signature is not None
        said = Ready(step=0, key=body.key, signature=body.signature)
        return self._aggregator.take(self._bank, 0, said)

    def become_ready(self, run_id: str, generation: int, body: Ready) -> RunStatus:
        return self._aggregator.take(self._bank, generation, body)


class Place:
    """Three banks with their directories, and the aggregator."""

    def __init__(self, root: Path, package: KeyPackage) -> None:
        self.root, self.package = root, package
        self.members = AgreeingBanks(NAMES, "r1")
        public_key = PublicKeyMessage.model_validate(package.public_key.to_hex())
        self.key_epoch = KeyEpoch(
            epoch=EPOCH,
            steward=VICTIM,
            roster=self.members.roster,
            public_key=public_key,
            sealed=tuple(SealedKey(name=name, box="AAAA") for name in NAMES),
            signature="0" * 128,
        )
        self.run = PinnedRun(run_id="r1", spec=SPEC, cohort=NAMES, public_key=public_key)
        self.aggregator = Aggregator(self)
        for name in NAMES:
            (root / name).mkdir()

    def bank(self, name: str, *, rows: str = "1" * 64, **rules: Any) -> "Bank":
        """Start a bank on its directory."""
        return Bank(self, name, rows, CohortRules(**rules))

    def begin(self) -> dict[str, "Bank"]:
        """Let all banks agree to generation 0, and let it begin."""
        banks = {name: self.bank(name) for name in NAMES}
        for bank in banks.values():
            bank.join()
        for bank in banks.values():
            bank.begin(self.aggregator.generation())
        return banks


class Bank:
    """A bank that was started."""

    def __init__(self, place: Place, name: str, rows: str, rules: CohortRules) -> None:
        self.place, self.name = place, name
        root = place.root / name
        self.context = make_context(
            name,
            Client(place.aggregator, name),
            run=place.run,
            key_epoch=place.key_epoch,
            package=place.package,
            identity=place.members.identities[name],
            rules=rules,
            agreements=Agreements(root / "agreement", run_id="r1", bank=name, vault=PlainVault()),
            outbox=Outbox(root / "sealed"),
            checkpoints=Checkpoints(
                root / "checkpoints", run_id="r1", bank=name, vault=PlainVault()
            ),
        )
        self.agreeing = Agreeing(self.context, SimpleNamespace(data_sha256=rows))

    def join(self) -> None:
        # The aggregator says that it knows nothing of this bank.
        told = self.place.aggregator.generation()
        others = tuple(one for one in told.ready if one.bank != self.name)
        told = told.model_copy(update={"ready": others})
        self.agreeing.join(self.place.aggregator.status(told, RunState.OPEN))

    def begin(self, told: Generation) -> None:
        self.agreeing.begun(told, None)

    @property
    def session(self) -> SecureSum:
        return attempt.session_of(self.context, banks=NAMES, generation=0)

    def seal(self, values: np.ndarray) -> tuple[Sealed, SlotLayout, RoundContext]:
        session = self.session
        layout = session.layout(BOUND, values.shape)
        context = context_of(session, layout)
        return session.seal(values, layout, context), layout, context


def context_of(session: SecureSum, layout: SlotLayout) -> RoundContext:
    """Return the context of the first round."""
    return session.context(
        layout,
        run_id="r1",
        epoch=EPOCH,
        round_number=0,
        label="histogram:0",
        transcript=Transcript.begin(b"secret", b"the run"),
    )


@pytest.fixture
def place(tmp_path: Path, package: KeyPackage) -> Place:
    return Place(tmp_path, package)


def remainder(place: Place, sealed: Sealed, *masks: int) -> list[int]:
    """Return what a member makes of a contribution after its seed was revealed."""
    n, key = place.package.public_key.n, place.package
    opened = key.private_key.decrypt(CiphertextVector(key.public_key, sealed.payload))
    own = signed_sum(self_streams([sealed.seed]), len(opened), n)
    known = masks or (0,) * len(opened)
    return [centred(v - m - o, n) for v, m, o in zip(opened, own, known, strict=True)]


def shows(place: Place, values: Sequence[int]) -> str:
    """Return what numbers modulo N show: nothing new, a readable vector, or noise."""
    n = place.package.public_key.n
    bits = max(abs(centred(value, n)).bit_length() for value in values)
    if bits == 0:
        return "the same"
    return "readable" if bits < n.bit_length() // 2 else "noise"


# A bank that is set back


def set_back(
    place: Place,
    copied: str,
    patch: Patch,
    *,
    second: Callable[[Place], Bank],
    values: np.ndarray,
) -> str:
    """Let the victim contribute, set its directory back, and let it contribute again.

    Return what the attacker learns of both, after both seeds were revealed.

    Parameters
    ----------
    copied : str
        When the copy was made: "before its key", or "before it sealed".
    second : callable
        Starts the bank again, with its rows and rules of then.
    """
    copy, directory = place.root / "copy", place.root / VICTIM
    if copied == "before its key":
        shutil.copytree(directory, copy)
    banks = place.begin()
    if copied == "before it sealed":
        shutil.copytree(directory, copy)
    first, _, _ = banks[VICTIM].seal(ROWS)
    shutil.rmtree(directory)
    shutil.copytree(copy, directory)
    patch.setattr(sessions, "_USED_CONTEXTS", UsedContexts())
    again = second(place)
    try:
        again.join()
        again.begin(place.aggregator.generation())
        sealed, _, _ = again.seal(values)
    except StateError:
        return "refused"
    one, two = remainder(place, first), remainder(place, sealed)
    return shows(place, [b - a for a, b in zip(one, two, strict=True)])


SAME = (lambda place: place.bank(VICTIM), ROWS)
OTHER_ROWS = (lambda place: place.bank(VICTIM, rows="2" * 64), CHANGED)
#: Another rule of the bank may sum other payments of the same rows.
OTHER_RULES = (lambda place: place.bank(VICTIM, min_risk_customers=7), CHANGED)


def other_release(patch: Patch) -> tuple[Callable[[Place], Bank], np.ndarray]:
    def start(place: Place) -> Bank:
        patch.setattr(agreement, "__version__", "999.0")
        return place.bank(VICTIM)

    return start, CHANGED


def repeat_random_bytes(patch: Patch) -> None:
    """Let the operating system give the same bytes each time, as after a machine is set back."""
    patch.setattr(ephemeral.secrets, "token_bytes", lambda n: b"\x5a" * n)


CASES = {"same": SAME, "rows": OTHER_ROWS, "rules": OTHER_RULES, "release": None}


@pytest.mark.parametrize("random_bytes", ["fresh", "repeated"])
@pytest.mark.parametrize("changed", CASES)
@pytest.mark.parametrize("copied", ["before its key", "before it sealed"])
def test_a_bank_that_is_set_back_never_seals_two_readable_vectors(
    place: Place, monkeypatch: Patch, copied: str, changed: str, random_bytes: str
) -> None:
    if random_bytes == "repeated":
        repeat_random_bytes(monkeypatch)
    second, values = CASES[changed] or other_release(monkeypatch)
    found = set_back(place, copied, monkeypatch, second=second, values=values)
    if copied == "before it sealed":
        # The same computation gives the same; for any other one it has no key.
        assert found == ("the same" if changed == "same" else "refused")
    else:
        same_key = changed == "same" and random_bytes == "repeated"
        assert found == ("the same" if same_key else "noise")


@pytest.mark.parametrize("changed", ["rows", "rules", "release"])
def test_control_without_the_stored_digest_a_bank_that_is_set_back_shows_the_difference(
    place: Place, monkeypatch: Patch, changed: str
) -> None:
    second, values = CASES[changed] or other_release(monkeypatch)
    monkeypatch.setattr(Agreeing, "_require_same_local", lambda self, agreement: None)
    found = set_back(place, "before it sealed", monkeypatch, second=second, values=values)
    assert found == "readable"


def static_only(patch: Patch) -> None:
    """Take the ephemeral keys out: of what two banks share, and of the context."""
    patch.setattr(attempt, "pair_secret", lambda ephemeral, static, **_: static)
    digest = attempt.generation_digest
    patch.setattr(
        attempt,
        "generation_digest",
        lambda members, keys, **place: digest(members, keys=dict.fromkeys(keys, ""), **place),
    )


def test_control_without_the_ephemeral_key_a_bank_that_is_set_back_shows_the_difference(
    place: Place, monkeypatch: Patch
) -> None:
    static_only(monkeypatch)
    second, values = OTHER_ROWS
    found = set_back(place, "before its key", monkeypatch, second=second, values=values)
    assert found == "readable"


def test_control_without_its_purpose_a_key_of_repeated_bytes_shows_the_difference(
    place: Place, monkeypatch: Patch
) -> None:
    repeat_random_bytes(monkeypatch)
    generate = EphemeralKey.generate
    # Without the digest at its end; banks still have different keys.
    monkeypatch.setattr(
        EphemeralKey, "generate", staticmethod(lambda binding: generate(binding[:-64]))
    )
    second, values = OTHER_ROWS
    found = set_back(place, "before its key", monkeypatch, second=second, values=values)
    assert found == "readable"


def test_a_key_that_the_aggregator_does_not_repeat_is_refused(place: Place) -> None:
    """A set-back aggregator may hold an older key of the bank, or a set-back bank an older one."""
    bank = place.begin()[VICTIM]
    mine = place.aggregator.answers[0, VICTIM]
    for key in (place.members.key(VICTIM, 0).public, place.aggregator.answers[0, OTHER].key):
        signature = place.members.signature(VICTIM, 0, key)
        changed = mine.model_copy(update={"key": key, "signature": signature})
        place.aggregator.answers[0, VICTIM] = changed
        told = place.aggregator.generation()
        with pytest.raises(ProtocolError, match=r"said to be .*, it said"):
            bank.agreeing.check_told(place.aggregator.status(told, RunState.TRAINING))
        with pytest.raises(ProtocolError):
            bank.begin(told)


# Keys that are stolen later


def opened_by_thief(place: Place, values: np.ndarray) -> set[str]:
    """Return what a thief of all long-lived keys sees in a recorded contribution.

    It has the public ephemeral keys as well, and tries whatever it can derive from all of that.
    """
    bank = place.begin()[VICTIM]
    sealed, layout, context = bank.seal(values)
    public = {one.bank: one.key for one in place.aggregator.generation().ready}
    stolen: dict[str, Identity] = place.members.identities

    def secrets_of_pair(name: str) -> list[bytes]:
        static = stolen[VICTIM].exchange(stolen[name].public.agreement_key)
        halves = [
            static,
            bytes(32),
            stolen[VICTIM].exchange(public[name]),
            stolen[name].exchange(public[VICTIM]),
            bytes.fromhex(public[name]),
        ]
        pair = {"names": (VICTIM, name), "run_id": "r1", "generation": 0}
        return [static, *(ephemeral.pair_secret(half, static, **pair) for half in halves)]

    n, seen = place.package.public_key.n, set()
    for guessed in zip(secrets_of_pair(OTHER), secrets_of_pair(MEMBER), strict=True):
        masks = PairwiseMasks(VICTIM, NAMES, dict(zip((OTHER, MEMBER), guessed, strict=True)))
        known = signed_sum(masks.streams(context.digest), layout.n_plaintexts, n)
        seen.add(shows(place, remainder(place, sealed, *known)))
    return seen


def test_all_long_lived_keys_open_no_recorded_contribution(place: Place) -> None:
    assert opened_by_thief(place, ROWS) == {"noise"}


def test_control_without_ephemeral_keys_a_thief_opens_recorded_contributions(
    place: Place, monkeypatch: Patch
) -> None:
    static_only(monkeypatch)
    assert "readable" in opened_by_thief(place, ROWS)


def test_the_key_of_a_generation_is_gone_once_the_next_is_agreed_to(place: Place) -> None:
    bank = place.begin()[VICTIM]
    directory = place.root / VICTIM
    _, key = bank.context.agreements.of(0)
    secret = key.expose_secret()
    assert any(secret.hex().encode() in file.read_bytes() for file in directory.iterdir())
    bank.agreeing.agree(Generation(number=1, banks=NAMES), step=0, more_rows=0)
    after = [file.read_bytes() for file in directory.rglob("*") if file.is_file()]
    assert not any(secret.hex().encode() in data or secret in data for data in after)
    _, key = bank.context.agreements.of(1)
    bank.context.agreements.end()
    after = [file.read_bytes() for file in directory.rglob("*") if file.is_file()]
    assert not any(key.expose_secret().hex().encode() in data for data in after)
    with pytest.raises(StateError, match="erased its key"):
        bank.context.agreements.of(1)


# Keys that are told in two ways


def outcomes(place: Place, told: dict[str, Generation]) -> dict[str, Any]:
    """Let all banks sum, each in the generation that it is told of."""
    banks = {name: place.bank(name) for name in NAMES}
    for name, bank in banks.items():
        bank.begin(told[name])
    parts = [ROWS + place for place in range(3)]
    made = [bank.session for bank in banks.values()]
    layout = made[0].layout(BOUND, ROWS.shape)
    contexts = [context_of(session, layout) for session in made]
    one = SummingRound(made, layout, contexts, parts)
    boxes = one.open(one.product)
    found: dict[str, Any] = {}
    for bank, name in enumerate(NAMES):
        try:
            found[name] = one.combine(boxes, bank=bank)
        except FraudFedError as error:
            found[name] = error
    return found


def told_two_keys(place: Place, patch: Patch) -> dict[str, Generation]:
    """Tell two banks different keys of the member that helps, both signed by it."""
    for name in NAMES:
        place.bank(name).join()
    honest = place.aggregator.generation()
    other = place.members.answer(MEMBER, 0)
    lied = honest.model_copy(update={"ready": (*honest.ready[:2], other)})
    # The member has both private keys, and uses the right one with each bank.
    exchange = EphemeralKey.exchange
    second = place.members.key(MEMBER, 0)

    def with_the_right_one(key: EphemeralKey, peer: str) -> bytes:
        is_member = key.public == honest.ready[2].key
        return exchange(second if is_member and peer == honest.ready[1].key else key, peer)

    patch.setattr(EphemeralKey, "exchange", with_the_right_one)
    return {VICTIM: honest, OTHER: lied, MEMBER: honest}


def test_banks_that_are_told_two_keys_of_a_third_get_no_number(
    place: Place, monkeypatch: Patch
) -> None:
    found = outcomes(place, told_two_keys(place, monkeypatch))
    assert all(isinstance(one, SumError) for one in found.values()), found


def test_control_without_the_keys_in_the_context_two_keys_of_a_third_pass(
    place: Place, monkeypatch: Patch
) -> None:
    digest = attempt.generation_digest
    monkeypatch.setattr(
        attempt,
        "generation_digest",
        lambda members, keys, **place: digest(members, keys=dict.fromkeys(keys, ""), **place),
    )
    found = outcomes(place, told_two_keys(place, monkeypatch))
    for one in found.values():
        np.testing.assert_array_equal(one, 3 * ROWS + 3)


FORGED = {
    "all zero": lambda place, told: place.members.answer(OTHER, 0, key="00" * 32),
    "of small order": lambda place, told: place.members.answer(OTHER, 0, key="01" + "00" * 31),
    "another's": lambda place, told: place.members.answer(OTHER, 0, key=told.ready[2].key),
    "long-lived": lambda place, told: place.members.answer(
        OTHER, 0, key=place.members.roster[2].agreement_key
    ),
    "unsigned": lambda place, told: told.ready[1].model_copy(update={"signature": "0" * 128}),
    "of another generation": lambda place, told: place.members.answer(OTHER, 1),
    "of another bank": lambda place, told: told.ready[2].model_copy(update={"bank": OTHER}),
    "of no bank": lambda place, told: None,
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_key_that_is_none_or_not_its_banks_is_refused(place: Place, forgery: str) -> None:
    for name in NAMES:
        place.bank(name).join()
    told = place.aggregator.generation()
    forged = FORGED[forgery](place, told)
    ready = tuple(one for one in (told.ready[0], forged, told.ready[2]) if one is not None)
    bank = place.bank(VICTIM)
    with pytest.raises((ProtocolError, KeyMaterialError)):
        bank.begin(told.model_copy(update={"ready": ready}))
    with pytest.raises(StateError, match="has not begun"):
        assert bank.session
    bank.begin(told)


def test_control_without_its_signature_a_key_of_anybody_is_taken(
    place: Place, monkeypatch: Patch
) -> None:
    """The aggregator is between the two: it agrees with each of them in the other's name."""
    for name in NAMES:
        place.bank(name).join()
    told = place.aggregator.generation()
    mine = told.ready[1].model_copy(update={"key": EphemeralKey.generate(b"").public})
    told = told.model_copy(update={"ready": (told.ready[0], mine, told.ready[2])})
    with pytest.raises(KeyMaterialError, match="not signed by it"):
        place.bank(VICTIM).begin(told)
    monkeypatch.setattr("bank_node.run.agreement.answers.verify_ephemeral_key", lambda *_, **__: 0)
    bank = place.bank(VICTIM)
    bank.begin(told)
    assert dict(bank.context.agreements.of(0)[0].keys)[OTHER] == mine.key
