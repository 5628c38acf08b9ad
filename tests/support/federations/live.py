"""A consortium around a real aggregator: banks with keys of their own, operator and viewer.

The aggregator is served in a thread of the test process, over real HTTP, so that a control can
take out one of its defences. Nothing of ``bank_node`` is used: an attacker writes its own client.
"""

import base64
import json as json_module
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from werkzeug.serving import WSGIRequestHandler, make_server

from aggregator.caller import Role
from aggregator.config import ServiceConfig
from aggregator.runs.waiters import Waiters
from aggregator.service.app import create_app
from aggregator.service.state_directory import StateDirectory
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.documents import (
    acknowledgement_bytes,
    key_epoch_bytes,
    key_epoch_digest,
    roster_digest,
)
from fraudfed.consortium.public.signatures import new_nonce, sign_request
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.wire import frames
from fraudfed.wire.messages import (
    AuditEntry,
    AuditLog,
    DataContract,
    FeatureSpec,
    FrameHeader,
    FrameKind,
    KeyAcknowledgement,
    KeyEpoch,
    MemberKeys,
    PublicKeyMessage,
    RunSpec,
    SealedKey,
)

JSON = "application/json"
BINARY = "application/octet-stream"
CONTEXT = "cc" * 32
_NO_SIGNATURE = "0" * 128
CONTRACT = DataContract(kind="table", features=(FeatureSpec(name="amount"),))


@dataclass(frozen=True)
class LiveBank:
    """A bank's name and private keys."""

    name: str
    signing: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate, repr=False)
    agreement: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate, repr=False)

    @property
    def keys(self) -> MemberKeys:
        return MemberKeys(
            name=self.name,
            signing_key=self.signing.public_key().public_bytes_raw().hex(),
            agreement_key=self.agreement.public_key().public_bytes_raw().hex(),
        )

    def sign(self, data: bytes, /) -> bytes:
        return self.signing.sign(data)

    def shared(self, peer: MemberKeys) -> bytes:
        return self.agreement.exchange(
            X25519PublicKey.from_public_bytes(bytes.fromhex(peer.agreement_key))
        )


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Return status and slug of a refusal."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert document["status"] == answer.status_code
    return answer.status_code, document["type"].removeprefix("urn:fraudfed:problem:")


@dataclass
class LiveConsortium:
    """What everybody can do at one aggregator."""

    url: str
    state: Path
    operator_token: str
    viewer_token: str
    package: KeyPackage
    banks: dict[str, LiveBank] = field(default_factory=dict)
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.url, timeout=20.0, trust_env=False)

    # Requests

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        json: Any = None,
        media_type: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Request:
        """Return an unsigned request."""
        if json is not None:
            body = json_module.dumps(json).encode()
            media_type = media_type or JSON
        all_headers = dict(headers or {})
        if body is not None:
            all_headers["Content-Type"] = media_type or BINARY
        return self.http.build_request(method, path, content=body, headers=all_headers)

    def signed(
        self,
        bank: LiveBank,
        method: str,
        path: str,
        *,
        keyid: str | None = None,
        created: int | None = None,
        nonce: str | None = None,
        **options: Any,
    ) -> httpx.Request:
        """Return a request signed by ``bank``, as itself unless ``keyid`` says otherwise."""
        request = self.request(method, path, **options)
        self.sign(bank, request, keyid=keyid, created=created, nonce=nonce)
        return request

    def sign(
        self,
        bank: LiveBank,
        request: httpx.Request,
        *,
        keyid: str | None = None,
        created: int | None = None,
        nonce: str | None = None,
    ) -> None:
        """Sign a request, in the place of any signature that it has."""
        for name in ("signature", "signature-input", "content-digest"):
            request.headers.pop(name, None)
        request.headers.update(
            sign_request(
                bank,
                keyid=bank.name if keyid is None else keyid,
                method=request.method,
                url=request.url.raw_path.decode("ascii"),
                headers=dict(request.headers),
                body=request.content or None,
                created=int(time.time()) if created is None else created,
                nonce=new_nonce() if nonce is None else nonce,
            )
        )

    def send(self, request: httpx.Request) -> httpx.Response:
        """Send exactly this, as often as it is called."""
        return self.http.send(request)

    def call(self, bank: LiveBank, method: str, path: str, **options: Any) -> httpx.Response:
        """Sign and send."""
        return self.send(self.signed(bank, method, path, **options))

    def operate(
        self, method: str, path: str, *, token: str | None = None, **options: Any
    ) -> httpx.Response:
        """Send with the operator's token, or another."""
        headers = {"Authorization": f"Bearer {token or self.operator_token}"}
        return self.send(self.request(method, path, headers=headers, **options))

    # Life of a consortium

    def invite(self, name: str, *, valid_seconds: int = 600) -> str:
        """Return the code of a new invite."""
        answer = self.operate(
            "POST", "/v1/invites", json={"name": name, "valid_seconds": valid_seconds}
        )
        assert answer.status_code == 201, answer.text
        code: str = answer.json()["code"]
        return code

    def registration(self, bank: LiveBank, invite: str, **changes: Any) -> httpx.Request:
        """Return a bank's registration, signed."""
        keys = bank.keys.model_dump(exclude={"protocol_version"})
        return self.signed(bank, "POST", "/v1/banks", json={**keys, "invite": invite, **changes})

    def enrol(self, name: str) -> LiveBank:
        """Invite and register a bank."""
        bank = LiveBank(name)
        answer = self.send(self.registration(bank, self.invite(name)))
        assert answer.status_code == 201, answer.text
        self.banks[name] = bank
        return bank

    @property
    def roster(self) -> tuple[MemberKeys, ...]:
        """All members, sorted by name."""
        return tuple(self.banks[name].keys for name in sorted(self.banks))

    def make_epoch(self, epoch: int, *, steward: LiveBank | None = None) -> KeyEpoch:
        """Return an epoch; the aggregator cannot tell that its boxes hold nothing."""
        steward = steward or self.banks[self.roster[0].name]
        made = KeyEpoch(
            epoch=epoch,
            steward=steward.name,
            roster=self.roster,
            public_key=PublicKeyMessage.model_validate(self.package.public_key.to_hex()),
            sealed=tuple(
                SealedKey(name=member.name, box=base64.b64encode(b"a sealed key").decode())
                for member in self.roster
            ),
            signature=_NO_SIGNATURE,
        )
        signature = steward.sign(key_epoch_bytes(made)).hex()
        return made.model_copy(update={"signature": signature})

    def acknowledgement(self, bank: LiveBank, key_epoch: KeyEpoch) -> KeyAcknowledgement:
        """Return a bank's signed acknowledgement."""
        digest = key_epoch_digest(key_epoch)
        data = acknowledgement_bytes(epoch=key_epoch.epoch, bank=bank.name, digest=digest)
        return KeyAcknowledgement(
            epoch=key_epoch.epoch, bank=bank.name, digest=digest, signature=bank.sign(data).hex()
        )

    def activate(self, epoch: int) -> KeyEpoch:
        """Announce an epoch and have every bank acknowledge it."""
        made = self.make_epoch(epoch)
        steward = self.banks[made.steward]
        answer = self.call(steward, "POST", "/v1/epochs", json=made.model_dump(mode="json"))
        assert answer.status_code == 201, answer.text
        for bank in self.banks.values():
            path = f"/v1/epochs/{epoch}/acknowledgements"
            document = self.acknowledgement(bank, made).model_dump(mode="json")
            answer = self.call(bank, "POST", path, json=document)
            assert answer.status_code == 200, answer.text
        return made

    def spec(self, epoch: int, **changes: Any) -> dict[str, Any]:
        """Return a run's description."""
        spec = RunSpec(name="a run", key_epoch=epoch, parameters={"eta": 0.3}, contract=CONTRACT)
        return {**spec.model_dump(mode="json"), **changes}

    def open_run(self, epoch: int, **changes: Any) -> str:
        """Open a run and return its id."""
        answer = self.operate("POST", "/v1/runs", json=self.spec(epoch, **changes))
        assert answer.status_code == 201, answer.text
        run_id: str = answer.json()["run_id"]
        return run_id

    def start_run(self, epoch: int, **changes: Any) -> str:
        """Open a run and let every bank join it."""
        run_id = self.open_run(epoch, **changes)
        for bank in self.banks.values():
            answer = self.call(bank, "POST", f"/v1/runs/{run_id}/members")
            assert answer.status_code == 200, answer.text
        return run_id

    def status(self, run_id: str) -> dict[str, Any]:
        """Return a run's status."""
        found: dict[str, Any] = self.operate("GET", f"/v1/runs/{run_id}").json()
        return found

    # Rounds

    def contribution(
        self, sender: LiveBank, run_id: str, number: int = 0, *, count: int = 3, **changes: Any
    ) -> bytes:
        """Return the frame of a contribution of ``count`` ciphertexts."""
        vector = self.package.private_key.encryptor().encrypt(list(range(1, count + 1)))
        return self.frame(sender, run_id, vector.data, number, count=count, **changes)

    def frame(
        self, sender: LiveBank, run_id: str, payload: bytes, number: int = 0, **changes: Any
    ) -> bytes:
        """Return a contribution's frame around any payload."""
        fields: dict[str, Any] = {
            "kind": FrameKind.CONTRIBUTION,
            "run_id": run_id,
            "round_number": number,
            "label": "histogram",
            "context": CONTEXT,
            "bank": sender.name,
            "count": len(payload) // self.package.public_key.ciphertext_bytes,
            "item_bytes": self.package.public_key.ciphertext_bytes,
        }
        header = FrameHeader(**{**fields, **changes})
        # Not frames.encode: what is malformed is to be sent as well.
        empty = frames.encode(header.model_copy(update={"item_bytes": 0}), b"")
        text = header.model_dump_json().encode()
        return empty[:5] + len(text).to_bytes(4, "big") + text + payload

    def contribute(
        self, bank: LiveBank, run_id: str, body: bytes, number: int = 0
    ) -> httpx.Response:
        """Send the body of a contribution."""
        path = f"/v1/runs/{run_id}/rounds/{number}/contributions"
        return self.call(bank, "POST", path, body=body)

    def vector(self, values: list[int]) -> bytes:
        """Return integers as the payload of a frame."""
        width = self.package.public_key.ciphertext_bytes
        return b"".join(value.to_bytes(width, "big") for value in values)

    def encrypt(self, values: list[int]) -> CiphertextVector:
        """Encrypt integers under the consortium's key."""
        return self.package.private_key.encryptor().encrypt(values)

    # Records

    def audit(self, **query: Any) -> tuple[AuditEntry, ...]:
        """Return the whole audit log."""
        found: list[AuditEntry] = []
        while True:
            answer = self.operate(
                "GET",
                str(httpx.URL("/v1/audit", params={"start": len(found) + 1, **query})),
            )
            entries = AuditLog.model_validate_json(answer.content).entries
            found += entries
            if len(entries) < 1000 or query:
                return tuple(found)

    @property
    def roster_digest(self) -> str:
        return roster_digest(self.roster)


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *args: object) -> None:
        """Leave the log to the application."""


@contextmanager
def served(state: Path, package: KeyPackage, *, fresh: bool = True) -> Iterator[LiveConsortium]:
    """Serve a state directory, made here unless it is there already, until the block ends."""
    directory = StateDirectory(state)
    if fresh:
        directory.create()
    store = directory.open_store()
    viewer_file = state / "viewer.token"
    if fresh:
        viewer_file.write_text(store.tokens.create("auditor", Role.VIEWER))
    waiters = Waiters()
    app = create_app(ServiceConfig(insecure_allow_small_keys=True), store, waiters)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    consortium = LiveConsortium(
        url=f"http://127.0.0.1:{server.server_port}",
        state=state,
        operator_token=directory.operator_token.read_text().strip(),
        viewer_token=viewer_file.read_text().strip(),
        package=package,
    )
    try:
        yield consortium
    finally:
        consortium.http.close()
        waiters.stop()
        server.shutdown()
        server.server_close()
        thread.join()
        store.close()
