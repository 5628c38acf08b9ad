"""Controls: with one defence taken out, here and by patching only, its attack succeeds.

An attack that fails for another reason than the defence proves nothing. Where the attack's own test
is in a file beside this one, only the control is here; otherwise both are.
"""

import json
import sqlite3
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attack_kit.requests import contribution, operator_work, unsigned
from examples.certificates import certify
from federations.fake_banks import FakeBank
from federations.lied_to import BANKS, Place, refused
from federations.live import LiveFederation, served
from proxies.proxy import Proxy
from proxies.server import Handler, http_server

from aggregator.consortium.members import Members
from aggregator.runs.service import RunService
from aggregator.service.state_directory import StateDirectory as AggregatorState
from bank_node.config import CohortRules
from bank_node.http.client import AggregatorClient
from bank_node.jobs import training
from bank_node.run.vote import ModelVote
from bank_node.state import audit_log as bank_audit
from bank_node.state.audit_log import AuditLog, read_audit_log, verify_audit_log
from bank_node.state.directory import StateDirectory
from bank_node.state.pinned_run import PinnedRun
from fraudfed.consortium import trust
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import seal_key_package
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.model_seal import SEAL_OVERHEAD_BYTES
from fraudfed.consortium.public import documents
from fraudfed.errors import (
    CohortError,
    ConfigurationError,
    ConflictError,
    FraudFedError,
    KeyMaterialError,
    StateError,
    TransportError,
)
from fraudfed.http.trust import Trust
from fraudfed.wire.messages import (
    MODEL_PLAIN_HEADER,
    MODEL_SIGNATURE_HEADER,
    Health,
    ModelVisibility,
    RunStatus,
)

Patch = pytest.MonkeyPatch

MODEL = json.dumps({"learner": {"split_conditions": [1234.5, 678.25]}}).encode()


# At the aggregator


@pytest.fixture
def live(tmp_path: Path, package: KeyPackage) -> Iterator[LiveFederation]:
    """Three banks and an active key epoch."""
    with served(tmp_path / "aggregator", package, *BANKS) as consortium:
        yield consortium


@pytest.fixture
def run_id(live: LiveFederation) -> str:
    return live.start_run(1)


@pytest.fixture
def bank(live: LiveFederation) -> FakeBank:
    return live["bank-a"]


def publish(live: LiveFederation, identity: Identity) -> list[bytes]:
    """Have a model for members accepted; return what the aggregator has of it afterwards."""
    run_id = live.start_run(1, model_visibility="members")
    run = PinnedRun.of(RunStatus.model_validate(live.status(run_id)))
    vote = ModelVote.of(MODEL, run, live.package, identity)
    document = documents.model_bytes(run_id=run_id, plain_sha256=vote.plain_sha256)
    for bank in live.banks:
        answer = bank.request(
            "PUT",
            f"/v1/runs/{run_id}/models/{vote.sha256}",
            body=vote.body,
            headers={
                MODEL_PLAIN_HEADER: vote.plain_sha256,
                MODEL_SIGNATURE_HEADER: bank.identity.sign(document).hex(),
            },
        )
        assert answer.status == 200, answer.body
    served_model = live.operate("GET", f"/v1/runs/{run_id}/model").body
    return [served_model, *(path.read_bytes() for path in live.state.rglob("*") if path.is_file())]


def test_control_without_the_seal_the_aggregator_reads_the_model(
    live: LiveFederation, monkeypatch: Patch
) -> None:
    identity = Identity.generate()
    assert not [part for part in publish(live, identity) if MODEL in part]
    monkeypatch.setattr(
        "bank_node.run.vote.seal_model",
        lambda model, *, holder, run_id: bytes(SEAL_OVERHEAD_BYTES) + model,
    )
    answer, *files = publish(live, identity)
    assert MODEL in answer
    assert [part for part in files if MODEL in part]


def test_control_without_roles_a_viewer_and_a_bank_do_the_operators_work(
    live: LiveFederation, bank: FakeBank, run_id: str, monkeypatch: Patch
) -> None:
    monkeypatch.setattr("aggregator.api.handle._require_role", lambda access, caller: None)
    invite, removal, opening, abort = operator_work(run_id)
    for method, path, json_body in (invite, opening, abort, removal):
        answer = live.operate(method, path, token=live.viewer_token, json=json_body)
        assert answer.status in (200, 201), answer.body
    method, path, json_body = invite
    bank = live["bank-b"]
    assert bank.request(method, path, json=json_body).status == 201


def test_control_without_the_check_of_members_a_removed_bank_reads_on(
    live: LiveFederation, monkeypatch: Patch
) -> None:
    bank = live["bank-c"]
    live.operate("DELETE", "/v1/banks/bank-c")
    assert bank.request("GET", "/v1/roster").problem() == (403, "forbidden")
    monkeypatch.setattr(Members, "require_member", lambda self, connection, name: None)
    assert bank.request("GET", "/v1/roster").status == 200


def test_control_without_the_check_of_cohorts_a_bank_reads_another_run(
    live: LiveFederation, run_id: str, monkeypatch: Patch
) -> None:
    outsider = live.register("bank-d")
    path = f"/v1/runs/{run_id}"
    assert outsider.request("GET", path).problem() == (403, "forbidden")
    monkeypatch.setattr(
        RunService, "require_cohort", lambda self, run_id, caller: self._store.status(run_id)
    )
    assert outsider.request("GET", path).json()["cohort"] == list(BANKS)


def test_control_without_the_stewards_signature_anybodys_epoch_is_stored(
    live: LiveFederation, bank: FakeBank, monkeypatch: Patch
) -> None:
    forged = live.draft_epoch(2).model_copy(update={"signature": "00" * 64})
    document = forged.model_dump(mode="json")
    assert bank.request("POST", "/v1/epochs", json=document).problem() == (422, "key")
    monkeypatch.setattr("aggregator.consortium.key_epochs.verify_key_epoch", lambda key_epoch: None)
    assert bank.request("POST", "/v1/epochs", json=document).status == 201


def test_control_without_the_digest_another_body_passes(
    live: LiveFederation, bank: FakeBank, run_id: str, monkeypatch: Patch
) -> None:
    """A machine in between leaves the signed headers as they are and exchanges the body."""

    def exchanged() -> Any:
        signed = contribution(live, bank)
        other = contribution(live, bank)
        for name in ("signature", "signature-input", "content-digest"):
            other.headers[name] = signed.headers[name]
        return live.send(other)

    assert exchanged().problem() == (401, "authentication")
    monkeypatch.setattr("aggregator.api.handle.require_digest", lambda head, body_sha256: None)
    assert exchanged().status == 202


# The aggregator's audit log, in the hands of an attacker with its database


def rewrite(live: LiveFederation, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """Change the database file behind the aggregator's back."""
    connection = sqlite3.connect(AggregatorState(live.state).database)
    try:
        for trigger in ("audit_no_update", "audit_no_delete"):
            connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        for statement, values in statements:
            connection.execute(statement, values)
        connection.commit()
    finally:
        connection.close()


def verify(live: LiveFederation) -> int:
    """Do what ``aggregator audit verify`` does; return the number of the last entry."""
    store = AggregatorState(live.state).open_store()
    try:
        return store.audit.verify().entries
    finally:
        store.close()


def test_control_without_the_chain_an_entry_is_taken_out_of_the_audit_log(
    live: LiveFederation, bank: FakeBank, run_id: str, monkeypatch: Patch
) -> None:
    """The traces of a refused request, for example."""
    live.send(unsigned(contribution(live, bank)))
    bank.request("POST", f"/v1/runs/{run_id}/abort", json={"reason": "stopped"})
    (trace,) = (entry for entry in live.audit_entries() if entry.actor == "anonymous")
    last = verify(live)
    assert trace.seq < last
    rewrite(live, ("DELETE FROM audit WHERE seq = ?", (trace.seq,)))
    with pytest.raises(StateError, match="taken out"):
        verify(live)
    original = documents.verify_audit_entry
    monkeypatch.setattr(
        "aggregator.audit.log.verify_audit_entry",
        lambda entry, audit_key, *, previous=None: original(entry, audit_key),
    )
    assert verify(live) == last


def test_control_without_its_signature_the_audit_log_is_written_anew(
    live: LiveFederation, bank: FakeBank, run_id: str, monkeypatch: Patch
) -> None:
    """Every entry, with a chain that is whole: only the audit key is not the forger's."""
    assert live.send(contribution(live, bank)).status == 202
    forger, previous, statements = Identity.generate(), documents.FIRST_PREVIOUS_HASH, []
    kept = {"protocol_version", "hash", "signature", "previous_hash"}
    for entry in live.audit_entries():
        fields = {**dict(entry), "detail": "nothing happened", "previous_hash": previous}
        forged = documents.sign_audit_entry(
            forger,
            previous_hash=previous,
            **{name: value for name, value in fields.items() if name not in kept},
        )
        previous = forged.hash
        statements.append(
            (
                "UPDATE audit SET detail = ?, previous_hash = ?, hash = ?, signature = ? "
                "WHERE seq = ?",
                (forged.detail, forged.previous_hash, forged.hash, forged.signature, forged.seq),
            )
        )
    rewrite(live, *statements)
    with pytest.raises(StateError, match="signature is not that of audit key"):
        verify(live)
    monkeypatch.setattr(documents, "is_signed_by", lambda key, data, signature: True)
    assert verify(live) == len(statements)


# A bank's audit log


def filled(path: Path, identity: Identity) -> Path:
    log = AuditLog(path, identity)
    for number in range(4):
        log.append(
            durable=False,
            event="sent",
            kind="contribution",
            method="POST",
            path=f"/v1/runs/r/rounds/{number}/contributions",
            request_id=str(number),
            body_bytes=4,
            body_sha256="ab" * 32,
        )
    return path


def without_second(path: Path) -> Path:
    """Take an entry out, and close the gap as far as that goes without the bank's key."""
    previous, lines = documents.FIRST_PREVIOUS_HASH, []
    for entry in [e for e in read_audit_log(path) if e.seq != 2]:
        place = {"seq": len(lines) + 1, "previous_hash": previous}
        lines.append(entry.model_copy(update=place).model_dump_json(exclude_none=True))
        previous = entry.hash
    path.write_text("\n".join(lines) + "\n")
    return path


def test_control_without_the_chain_an_entry_is_taken_out_of_a_banks_log(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    identity = Identity.generate()
    key = identity.public.signing_key
    with pytest.raises(StateError, match="entry 2 was changed"):
        verify_audit_log(without_second(filled(tmp_path / "a", identity)), signing_key=key)
    unchained = [name for name in bank_audit._SIGNED if name not in ("seq", "previous_hash")]
    monkeypatch.setattr(bank_audit, "_SIGNED", unchained)
    found = verify_audit_log(without_second(filled(tmp_path / "b", identity)), signing_key=key)
    assert [entry.request_id for entry in found] == ["0", "2", "3"]


def test_control_without_its_signature_a_banks_log_is_written_anew(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    key = Identity.generate().public.signing_key
    forged = filled(tmp_path / "audit.log", Identity.generate())
    with pytest.raises(StateError, match="not signed with this bank's key"):
        verify_audit_log(forged, signing_key=key)
    monkeypatch.setattr(bank_audit, "is_signed_by", lambda key, data, signature: True)
    assert len(verify_audit_log(forged, signing_key=key)) == 4


# At a bank, with a lying server


def joins(place: Place, run_id: str) -> None:
    """Assert that bank-a takes part; it would begin if the others were there."""
    start = len(place.proxy.exchanges)
    with pytest.raises(CohortError, match="joined within"):
        place.train("bank-a", run_id)
    assert ("POST", f"/v1/runs/{run_id}/members") in place.sent_after(start)


def test_control_without_confirmation_made_up_banks_are_taken(
    place: Place, monkeypatch: Patch
) -> None:
    strict = place.live.create_run(1, require_confirmed_roster=True)
    place.confirmed("bank-a", "bank-a")
    original = trust._counted
    monkeypatch.setattr(trust, "_counted", lambda pins, first_use: original(pins, first_use=True))
    joins(place, strict)


@pytest.mark.parametrize(
    "rule",
    [
        {"model_visibility": (ModelVisibility.MEMBERS,)},
    ],
    ids=lambda rule: next(iter(rule)),
)
def test_control_without_the_banks_rules_a_run_against_them_trains(
    place: Place, rule: dict[str, Any], monkeypatch: Patch
) -> None:
    """The same run, the same bank: only this rule is gone, and the bank joins."""
    place.changed_rules("bank-a", **rule)
    (name,) = rule
    unset = {name: getattr(CohortRules(), name)}
    original = training.check_run
    monkeypatch.setattr(
        "bank_node.jobs.training.check_run",
        lambda run, rules: original(run, rules.model_copy(update=unset)),
    )
    joins(place, place.live.create_run(1))


def other_cohort(answer: Any, key: KeyPackage) -> Any:
    return {**answer, "cohort": ["bank-a", "bank-b"]}


def other_key(answer: Any, key: KeyPackage) -> Any:
    return {**answer, "public_key": {**answer["public_key"], **key.public_key.to_hex()}}


@pytest.mark.parametrize(
    ("lie", "error"), [(other_cohort, CohortError), (other_key, KeyMaterialError)]
)
def test_control_without_the_signed_roster_a_lie_about_a_run_passes(
    place: Place,
    package: KeyPackage,
    lie: Callable[[Any, KeyPackage], Any],
    error: type[FraudFedError],
    monkeypatch: Patch,
) -> None:
    run_id = place.live.create_run(1)
    place.changed_rules("bank-a", tolerated_colluders=0)
    place.tamper_json(f"/v1/runs/{run_id}", lambda answer: lie(answer, package))
    refused(place, error, "bank-a", run_id)
    monkeypatch.setattr(
        "bank_node.run.lifecycle.check_epoch", lambda run, key_epoch, *, latest: None
    )
    joins(place, run_id)


def test_control_without_its_pin_a_run_is_described_anew(place: Place, monkeypatch: Patch) -> None:
    run_id = place.live.create_run(1)
    joins(place, run_id)
    place.tamper_json(
        f"/v1/runs/{run_id}",
        lambda answer: {**answer, "spec": {**answer["spec"], "parameters": {"eta": 0.9}}},
    )
    assert "changed" in refused(place, ConflictError, "bank-a", run_id)
    monkeypatch.setattr(
        "bank_node.run.lifecycle.pin_run", lambda state, status: PinnedRun.of(status)
    )
    # It joins what was described anew, and waits for the others.
    start = len(place.proxy.exchanges)
    with pytest.raises(CohortError, match="joined within"):
        place.train("bank-a", run_id)
    assert place.sent_after(start) == [("POST", f"/v1/runs/{run_id}/members")]


def holds_a_later_epoch(place: Place, packages: list[KeyPackage]) -> None:
    """Give bank-a the key of epoch 2, of which its aggregator will say nothing."""
    state = StateDirectory(place.states["bank-a"])
    first = state.key_epoch(1)
    assert first is not None
    later = seal_key_package(
        packages[1], epoch=2, steward=state.identity(), steward_name="bank-a", roster=first.roster
    )
    state.save_epoch(later, packages[1])


def test_an_older_epoch_served_as_the_latest_is_refused(
    place: Place, packages: list[KeyPackage]
) -> None:
    assert place.accept("bank-a").epoch == 1
    holds_a_later_epoch(place, packages)
    start = len(place.proxy.exchanges)
    with pytest.raises(ConflictError, match=r"latest key epoch is 1.*accepted epoch 2"):
        place.accept("bank-a")
    assert place.sent_after(start) == []


def test_control_without_the_order_of_epochs_an_older_one_is_taken(
    place: Place, packages: list[KeyPackage], monkeypatch: Patch
) -> None:
    holds_a_later_epoch(place, packages)
    monkeypatch.setattr(
        "bank_node.consortium.ceremony._refuse_older", lambda client, latest, held: None
    )
    assert place.accept("bank-a").epoch == 1


# The network


def test_control_without_the_rule_of_https_requests_go_in_the_clear(
    live: LiveFederation, monkeypatch: Patch
) -> None:
    """The address is none of loopback's, though it leads there: nothing leaves this machine."""
    with Proxy(live.url) as listener:
        url = listener.url.replace("127.0.0.1", "0.0.0.0")
        with pytest.raises(ConfigurationError, match="plain http"):
            AggregatorClient(url)
        assert listener.exchanges == []
        monkeypatch.setattr("fraudfed.http.address._is_loopback", lambda host: True)
        with AggregatorClient(url) as client:
            assert client.health().status == "ok"
        (heard,) = listener.exchanges
        assert heard.route == ("GET", "/v1/health")
        assert b'"ok"' in heard.answer


class _Healthy(Handler):
    def do_GET(self) -> None:
        self.answer(Health(status="ok", version="0").model_dump_json().encode())


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[str]:
    """Serve https under a certificate that says the right name and that nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certify(tmp_path, "impostor").files)
    with http_server(_Healthy, context) as url:
        yield url


def test_control_without_certificates_an_impostor_is_believed(
    impostor: str, monkeypatch: Patch
) -> None:
    with AggregatorClient(impostor) as client, pytest.raises(TransportError, match="certificate"):
        client.health()

    def trusting(tls: object) -> Trust:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return Trust(context, "none")

    monkeypatch.setattr("bank_node.http.transport.read_tls_files", trusting)
    with AggregatorClient(impostor) as client:
        assert client.health().status == "ok"
