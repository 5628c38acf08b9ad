"""Banks that make real ciphertexts with a small insecure key, and ways to call the service."""

import base64
import hashlib
import json as json_module
import re
import secrets
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from flask import Flask
from gmpy2 import mpz
from phe import paillier

from fraudfed.consortium.ephemeral import EphemeralKey
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.documents import (
    acknowledgement_bytes,
    key_epoch_bytes,
    key_epoch_digest,
    model_bytes,
)
from fraudfed.consortium.public.generations import sign_ephemeral_key, sign_handover
from fraudfed.consortium.public.signatures import sign_request
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.vector import CiphertextVector
from fraudfed.wire import frames
from fraudfed.wire.messages import (
    HANDOVER_SIGNATURE_HEADER,
    MODEL_PLAIN_HEADER,
    MODEL_SIGNATURE_HEADER,
    AbortReason,
    FrameHeader,
    FrameKind,
    KeyAcknowledgement,
    KeyEpoch,
    MemberKeys,
    PublicKeyMessage,
    SealedKey,
)

CONTEXT = hashlib.sha256(b"context").hexdigest()
MODEL = b'{"learner": {}}'
MODEL_SHA256 = hashlib.sha256(MODEL).hexdigest()

#: An HTTP call: method, address below the server, keyword arguments -> status, headers, body.
Call = Callable[..., "Answer"]


@dataclass(frozen=True)
class Answer:
    """An answer of either the Flask test client or a real server."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json_module.loads(self.body)

    def problem(self) -> tuple[int, str]:
        """Return status and slug of a problem document."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        document = self.json()
        assert document["status"] == self.status
        assert "\n" not in document["detail"]
        return self.status, document["type"].removeprefix("urn:fraudfed:problem:")


@dataclass(frozen=True)
class TestKey:
    """A Paillier key far too small to be secure, made with phe."""

    __test__ = False

    public: PublicKey
    phe_public: paillier.PaillierPublicKey
    phe_private: paillier.PaillierPrivateKey

    @classmethod
    def of(cls, package: KeyPackage) -> "TestKey":
        """Return the key of a package, as phe uses it."""
        parts = package.private_key.expose_secret_parts()
        phe_public = paillier.PaillierPublicKey(package.public_key.n)
        return cls(
            package.public_key,
            phe_public,
            paillier.PaillierPrivateKey(phe_public, parts["P"], parts["Q"]),
        )

    def encrypt(self, values: list[int]) -> CiphertextVector:
        return CiphertextVector.of_integers(
            self.public, [mpz(self.phe_public.raw_encrypt(value)) for value in values]
        )

    def decrypt(self, vector: CiphertextVector) -> list[int]:
        return [int(self.phe_private.raw_decrypt(int(c))) for c in vector.integers()]


def make_spec(key_epoch: int = 1) -> dict[str, Any]:
    return {
        "name": "test run",
        "key_epoch": key_epoch,
        "parameters": {"eta": 0.3},
        "contract": {"kind": "table", "features": [{"name": "f0"}]},
    }


def make_epoch(
    key: TestKey, number: int, steward: "FakeBank", roster: Sequence[MemberKeys]
) -> KeyEpoch:
    """Return a signed key epoch; its boxes hold noise, which the aggregator cannot tell."""
    draft = KeyEpoch(
        epoch=number,
        steward=steward.name,
        roster=tuple(sorted(roster, key=lambda member: member.name)),
        public_key=PublicKeyMessage.model_validate(key.public.to_hex()),
        sealed=tuple(
            SealedKey(name=name, box=base64.b64encode(secrets.token_bytes(60)).decode())
            for name in sorted(member.name for member in roster)
        ),
        signature="0" * 128,
    )
    signature = steward.identity.sign(key_epoch_bytes(draft)).hex()
    return draft.model_copy(update={"signature": signature})


def make_acknowledgement(bank: "FakeBank", epoch: KeyEpoch) -> KeyAcknowledgement:
    digest = key_epoch_digest(epoch)
    data = acknowledgement_bytes(epoch=epoch.epoch, bank=bank.name, digest=digest)
    signature = bank.identity.sign(data).hex()
    return KeyAcknowledgement(epoch=epoch.epoch, bank=bank.name, digest=digest, signature=signature)


@dataclass
class FakeBank:
    """A bank that does its part of the protocol over any transport, with real signatures."""

    name: str
    identity: Identity
    call: Call
    key: TestKey
    run_id: str = ""
    sent: dict[int, bytes] = field(default_factory=dict)
    #: Public ephemeral keys by run and generation; no sum is made, so nobody needs the others.
    ephemeral: dict[tuple[str, int], str] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)

    @property
    def keys(self) -> MemberKeys:
        return self.identity.member(self.name)

    def signed_headers(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        keyid: str | None = None,
        created: int | None = None,
        nonce: str | None = None,
    ) -> dict[str, str]:
        """Return all headers of a signed request."""
        given = dict(headers or {})
        if body:
            given.setdefault("Content-Type", "application/octet-stream")
        signature = sign_request(
            self.identity,
            keyid=keyid or self.name,
            method=method,
            url=path,
            headers=given,
            body=body,
            created=int(time.time()) if created is None else created,
            nonce=nonce,
        )
        return given | signature

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        json: Any = None,
        headers: dict[str, str] | None = None,
        **options: Any,
    ) -> Answer:
        given = dict(headers or {})
        if json is not None:
            body = json_module.dumps(json).encode()
            given.setdefault("Content-Type", "application/json")
        signed = self.signed_headers(method, path, body=body, headers=given, **options)
        return self.call(method, path, body=body, headers=signed)

    def run_request(self, method: str, path: str, **options: Any) -> Answer:
        return self.request(method, f"/v1/runs/{self.run_id}{path}", **options)

    def registration(self, code: str, **changes: Any) -> dict[str, Any]:
        keys = self.keys.model_dump(exclude={"protocol_version"})
        return {**keys, "invite": code, **changes}

    def register(self, code: str, **changes: Any) -> Answer:
        return self.request("POST", "/v1/banks", json=self.registration(code, **changes))

    def announce(self, epoch: KeyEpoch) -> Answer:
        return self.request("POST", "/v1/epochs", json=epoch.model_dump(mode="json"))

    def acknowledge(self, epoch: KeyEpoch) -> Answer:
        body = make_acknowledgement(self, epoch).model_dump(mode="json")
        return self.request("POST", f"/v1/epochs/{epoch.epoch}/acknowledgements", json=body)

    @property
    def key_epoch(self) -> int:
        """The key epoch of the run that it speaks of; 1 if it is not told."""
        if self.run_id not in self.epochs:
            answer = self.run_request("GET", "")
            if answer.status != 200:
                return 1
            self.epochs[self.run_id] = answer.json()["spec"]["key_epoch"]
        return self.epochs[self.run_id]

    def signed_key(self, generation: int, *, key: str | None = None) -> dict[str, str]:
        """Return its key of a generation, the same each time, or another one, signed."""
        if key is None:
            made = EphemeralKey.generate(b"").public
            key = self.ephemeral.setdefault((self.run_id, generation), made)
        signature = sign_ephemeral_key(
            self.identity,
            run_id=self.run_id,
            epoch=self.key_epoch,
            generation=generation,
            bank=self.name,
            key=key,
        )
        return {"key": key, "signature": signature}

    def join(self, run_id: str, **changes: Any) -> Answer:
        self.run_id = run_id
        return self.run_request("POST", "/members", json={**self.signed_key(0), **changes})

    def agree(self, generation: int, *, step: int, more_rows: int = 0, **changes: Any) -> Answer:
        body = {"step": step, "more_rows": more_rows, **self.signed_key(generation), **changes}
        return self.run_request("POST", f"/generations/{generation}/banks", json=body)

    def decline(self, generation: int) -> Answer:
        return self.run_request("POST", f"/generations/{generation}/refusals")

    def put_handover(
        self, generation: int, content: bytes, *, step: int = 0, signature: str | None = None
    ) -> Answer:
        if signature is None:
            signature = sign_handover(
                self.identity,
                run_id=self.run_id,
                epoch=self.key_epoch,
                generation=generation,
                step=step,
                sha256=hashlib.sha256(content).hexdigest(),
            )
        headers = {HANDOVER_SIGNATURE_HEADER: signature} if signature else {}
        path = f"/generations/{generation}/handover"
        return self.run_request("PUT", path, body=content, headers=headers)

    def handover(self, generation: int, *, wait: float = 0) -> Answer:
        return self.run_request("GET", f"/generations/{generation}/handover?wait={wait}")

    def commitment(self, number: int) -> str:
        """Return what this bank says of a seed in the header of its contribution."""
        return hashlib.sha256(f"{self.name} {number}".encode()).hexdigest()

    def frame(self, number: int, payload: bytes, **changes: Any) -> bytes:
        """Return a frame around any payload, right or wrong; a contribution unless changed."""
        kind = changes.get("kind", FrameKind.CONTRIBUTION)
        fields: dict[str, Any] = {
            "kind": kind,
            "run_id": self.run_id,
            "round_number": number,
            "label": "hist",
            "context": CONTEXT,
            "bank": self.name,
            "count": len(payload) // self.key.public.ciphertext_bytes,
            "item_bytes": self.key.public.ciphertext_bytes,
            "commitment": self.commitment(number) if kind is FrameKind.CONTRIBUTION else None,
        }
        header = FrameHeader.model_construct(**{**fields, **changes})
        # Not frames.encode: what is malformed is to be sent as well.
        empty = frames.encode(header.model_copy(update={"item_bytes": 0}), b"")
        text = header.model_dump_json().encode()
        return empty[:5] + len(text).to_bytes(4, "big") + text + payload

    def contribution(self, number: int, values: list[int], **changes: Any) -> bytes:
        payload = self.key.encrypt(values).data
        return self.frame(number, payload, **changes)

    def contribute(self, number: int, values: list[int], **options: Any) -> Answer:
        self.sent[number] = self.contribution(number, values, **options)
        return self.post_contribution(number, self.sent[number])

    def post_contribution(self, number: int, body: bytes, *, wait: float | None = None) -> Answer:
        query = "" if wait is None else f"?wait={wait}"
        return self.run_request("POST", f"/rounds/{number}/contributions{query}", body=body)

    def product(self, number: int, shard: int, *, wait: float = 0) -> Answer:
        return self.run_request("GET", f"/rounds/{number}/product?shard={shard}&wait={wait}")

    def opening(
        self, number: int, shard: int, count: int, *, box: bytes | None = None, **changes: Any
    ) -> bytes:
        payload = secrets.token_bytes(40) if box is None else box
        fields = {"kind": FrameKind.OPENING, "shard": shard, "count": count, "item_bytes": 0}
        return self.frame(number, payload, **fields | changes)

    def open(self, number: int, shard: int, count: int, **options: Any) -> Answer:
        return self.post_opening(number, self.opening(number, shard, count, **options))

    def post_opening(self, number: int, body: bytes, *, wait: float | None = None) -> Answer:
        query = "" if wait is None else f"?wait={wait}"
        return self.run_request("POST", f"/rounds/{number}/openings{query}", body=body)

    def openings(self, number: int, *, wait: float = 0) -> Answer:
        return self.run_request("GET", f"/rounds/{number}/openings?wait={wait}")

    def abort(self, reason: str = AbortReason.STOPPED) -> Answer:
        return self.run_request("POST", "/abort", json={"reason": reason})

    def submit_model(
        self,
        model: bytes = MODEL,
        *,
        plain: str | None = None,
        signature: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        stored = hashlib.sha256(model).hexdigest()
        signed = model_bytes(run_id=self.run_id, plain_sha256=plain or stored)
        given = {
            MODEL_SIGNATURE_HEADER: signature or self.identity.sign(signed).hex(),
            "Content-Type": "application/json" if plain is None else "application/octet-stream",
        }
        if plain is not None:
            given[MODEL_PLAIN_HEADER] = plain
        return self.run_request(
            "PUT", f"/models/{stored}", body=model, headers=given | (headers or {})
        )


@dataclass
class Federation:
    """An aggregator with its operator and banks."""

    call: Call
    operator_token: str
    key: TestKey
    banks: list[FakeBank] = field(default_factory=list)

    def __getitem__(self, name: str) -> FakeBank:
        return next(bank for bank in self.banks if bank.name == name)

    def operate(self, method: str, path: str, **options: Any) -> Answer:
        """Send with the operator's token, or another."""
        return self.call(method, path, **{"token": self.operator_token, **options})

    def invite(self, name: str, **options: Any) -> str:
        answer = self.operate("POST", "/v1/invites", json={"name": name, **options})
        assert answer.status == 201, answer.body
        code: str = answer.json()["code"]
        return code

    def stranger(self, name: str) -> FakeBank:
        """Return a bank with keys that is not registered."""
        return FakeBank(name, Identity.generate(), self.call, self.key)

    def register(self, name: str) -> FakeBank:
        bank = self.stranger(name)
        answer = bank.register(self.invite(name))
        assert answer.status == 201, answer.body
        self.banks.append(bank)
        return bank

    @property
    def roster(self) -> tuple[MemberKeys, ...]:
        """All members, sorted by name."""
        return tuple(sorted((bank.keys for bank in self.banks), key=lambda keys: keys.name))

    def draft_epoch(self, number: int, steward: FakeBank | None = None) -> KeyEpoch:
        """Return an epoch that nobody has been told of."""
        return make_epoch(self.key, number, steward or self.banks[0], self.roster)

    def announce_epoch(self, number: int | None = None) -> KeyEpoch:
        """Let the first bank be the steward of the next key epoch."""
        if number is None:
            current = self.operate("GET", "/v1/epochs/current")
            number = 1 if current.status == 404 else current.json()["key_epoch"]["epoch"] + 1
        epoch = self.draft_epoch(number)
        answer = self.banks[0].announce(epoch)
        assert answer.status == 201, answer.body
        return epoch

    def make_epoch(self) -> KeyEpoch:
        """Make an active key epoch of all banks."""
        epoch = self.announce_epoch()
        for bank in self.banks:
            assert bank.acknowledge(epoch).status == 200
        return epoch

    def create_run(self, key_epoch: int, **changes: Any) -> str:
        """Open a run for all banks."""
        answer = self.operate("POST", "/v1/runs", json=make_spec(key_epoch) | changes)
        assert answer.status == 201, answer.body
        run_id: str = answer.json()["run_id"]
        return run_id

    def open_run(self, **changes: Any) -> str:
        """Open a run for all banks, under a new key epoch."""
        return self.create_run(self.make_epoch().epoch, **changes)

    def start_run(self, key_epoch: int, **changes: Any) -> str:
        """Open a run and let every bank join it."""
        run_id = self.create_run(key_epoch, **changes)
        for bank in self.banks:
            assert bank.join(run_id).status == 200
        return run_id

    def start(self, *, cohort_size: int = 3, **changes: Any) -> list[FakeBank]:
        """Register banks, open a run for them, and let them join it."""
        for index in range(cohort_size):
            self.register(f"bank-{index:02d}")
        self.start_run(self.make_epoch().epoch, **changes)
        return list(self.banks)

    def drop(self, bank: FakeBank, reason: str = "gone") -> Answer:
        """Let the operator drop a bank."""
        body = {"bank": bank.name, "reason": reason}
        return self.operate("POST", f"/v1/runs/{bank.run_id}/drops", json=body)

    def status(self, run_id: str) -> Any:
        answer = self.operate("GET", f"/v1/runs/{run_id}")
        assert answer.status == 200
        return answer.json()

    def audit(self, query: str = "") -> list[dict[str, Any]]:
        answer = self.operate("GET", f"/v1/audit{query}")
        assert answer.status == 200
        entries: list[dict[str, Any]] = answer.json()["entries"]
        return entries

    def refusals(self) -> list[dict[str, Any]]:
        return [entry for entry in self.audit() if entry["status"] == "refused"]


def sum_round(
    banks: list[FakeBank], number: int, parts: list[list[int]], *, step: int = 0
) -> list[int]:
    """Do one whole round and return what the product decrypts to."""
    key, count = banks[0].key, len(parts[0])
    for bank, values in zip(banks, parts, strict=True):
        assert bank.contribute(number, values, step=step).status == 202
    total = [0] * count
    for index, bank in enumerate(banks):
        answer = bank.product(number, index, wait=5)
        assert answer.status == 200
        header, payload = frames.decode(answer.body, source="test")
        assert (header.kind, header.round_number, header.bank) == (FrameKind.PRODUCT, number, None)
        opened = key.decrypt(CiphertextVector(key.public, bytes(payload)))
        assert header.count == len(opened)
        total[index :: len(banks)] = opened
        assert bank.open(number, index, len(opened), box=f"box {index}".encode()).status == 202
    for bank in banks:
        found = frames.decode_many(bank.openings(number, wait=5).body, source="test")
        assert [bytes(payload) for _, payload in found] == [
            f"box {i}".encode() for i in range(len(banks))
        ]
    return total


class HttpCall:
    """A ``Call`` of a real server."""

    def __init__(self, url: str, *, verify: ssl.SSLContext | bool = True) -> None:
        self.http = httpx.Client(base_url=url, timeout=60, verify=verify, trust_env=False)

    def __call__(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: bytes | None = None,
        json: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        extra = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.send(
            self.http.build_request(
                method, path, content=body, json=json, headers={**extra, **(headers or {})}
            )
        )

    def send(self, request: httpx.Request) -> Answer:
        """Send exactly this, as often as it is called."""
        response = self.http.send(request)
        return Answer(response.status_code, dict(response.headers), response.content)


class DocumentedClient:
    """The Flask test client; every answer must be one that the OpenAPI document announces."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._document = self("GET", "/v1/openapi.json", check=False).json()

    def __call__(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: bytes | None = None,
        json: Any = None,
        headers: dict[str, str] | None = None,
        check: bool = True,
    ) -> Answer:
        extra = {} if token is None else {"Authorization": f"Bearer {token}"}
        # A client of its own per call: tests call from several threads.
        response = self._app.test_client().open(
            path, method=method, data=body, json=json, headers={**extra, **(headers or {})}
        )
        answer = Answer(
            response.status_code,
            {name.lower(): value for name, value in response.headers.items()},
            response.data,
        )
        response.close()
        if check:
            self._check(method, path, answer)
        return answer

    def _check(self, method: str, path: str, answer: Answer) -> None:
        for pattern, operations in self._document["paths"].items():
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", pattern), path.partition("?")[0]):
                operation = operations.get(method.lower())
                if operation is None:
                    assert answer.status == 405
                    return
                documented = operation["responses"].get(str(answer.status))
                assert documented is not None, (method, pattern, answer)
                content = documented.get("content")
                if content is None:
                    assert answer.body == b""
                else:
                    assert answer.headers["content-type"] in content
                    if answer.status >= 400:
                        assert answer.problem()[1] in documented["description"]
                return
        assert answer.status == 404
