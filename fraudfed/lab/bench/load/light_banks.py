"""Banks that only send: real keys, signatures and frames, with ciphertexts that are made once.

They take part in the rounds of a real aggregator as banks do, in two exchanges a round, and leave
the arithmetic out: what is measured is the aggregator.
"""

import hashlib
import http.client
import json
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fraudfed.consortium.ephemeral import EphemeralKey
from fraudfed.consortium.identity import Identity
from fraudfed.consortium.key_ceremony import acknowledge, seal_key_package
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.generations import sign_ephemeral_key
from fraudfed.consortium.public.signatures import sign_request
from fraudfed.errors import TransportError
from fraudfed.paillier.keys import PublicKey
from fraudfed.paillier.vector import shard_length
from fraudfed.secure_sum.openings import BOX_OVERHEAD_BYTES
from fraudfed.wire import frames
from fraudfed.wire.media_types import BINARY, JSON
from fraudfed.wire.messages import (
    BankRegistration,
    DataContract,
    FrameHeader,
    FrameKind,
    Join,
    Message,
    RunSpec,
)

#: More are no consortium that there is.
MOST_BANKS = 200

_ANSWER_SECONDS = 120.0
_WAIT_SECONDS = 30
#: Rounds of a tree of depth 5: when the next begins, the aggregator deletes what it kept of them.
_ROUNDS_OF_STEP = 5
_EPOCH = 1


class _Caller:
    """One kept connection to the aggregator; for one thread at a time.

    Attributes
    ----------
    is_late : bool
        The last answer said that the other banks are not there yet.
    """

    is_late = False

    def __init__(self, url: str) -> None:
        server = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            server.hostname or "", server.port, timeout=_ANSWER_SECONDS
        )

    def call(
        self, method: str, target: str, *, headers: Mapping[str, str], body: bytes | None
    ) -> bytes:
        self._connection.request(method, target, body=body, headers=dict(headers))
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= http.client.BAD_REQUEST:
            raise TransportError(f"{method} {target}: HTTP {answer.status}: {content[:300]!r}")
        self.is_late = answer.status in (http.client.ACCEPTED, http.client.NO_CONTENT)
        return content

    def close(self) -> None:
        self._connection.close()


class LightBank:
    """A bank without data: signs, sends and reads. For one thread at a time.

    Parameters
    ----------
    name, url : str
    identity : Identity or None
        None makes a new one.

    Attributes
    ----------
    request_seconds : list of float
        How long each request took from its signature to the end of its answer, and with it what
        it waited for the other banks.
    sent_bytes, received_bytes : int
        Of bodies.
    """

    def __init__(self, name: str, url: str, identity: Identity | None = None) -> None:
        self.name = name
        self.url = url
        self.identity = Identity.generate() if identity is None else identity
        self.request_seconds: list[float] = []
        self.sent_bytes = self.received_bytes = 0
        self._caller = _Caller(url)

    def send(self, method: str, target: str, body: Message | bytes | None = None) -> bytes:
        """Send a signed request and return the body of its answer."""
        started = time.perf_counter()
        data = body.model_dump_json().encode() if isinstance(body, Message) else body
        headers: dict[str, str] = {}
        if data is not None:
            headers["Content-Type"] = JSON if isinstance(body, Message) else BINARY
        signature = sign_request(
            self.identity,
            keyid=self.name,
            method=method,
            url=target,
            headers=headers,
            body=data,
            created=int(time.time()),
        )
        answer = self._caller.call(method, target, headers={**headers, **signature}, body=data)
        self.request_seconds.append(time.perf_counter() - started)
        self.sent_bytes += len(data or b"")
        self.received_bytes += len(answer)
        return answer

    def exchange(self, target: str, body: bytes, *, answer: str) -> bytes:
        """Send a part of a round, and ask at ``answer`` for what comes of it until it is there."""
        found = self.send("POST", f"{target}?wait={_WAIT_SECONDS}", body)
        while self._caller.is_late:
            found = self.send("GET", answer)
        return found

    def forget(self) -> None:
        """Count from here."""
        self.request_seconds.clear()
        self.sent_bytes = self.received_bytes = 0

    def joining(self, run_id: str) -> Join:
        """Return what it joins a run with; no sum is made, so the key is forgotten."""
        key = EphemeralKey.generate(run_id.encode()).public
        signature = sign_ephemeral_key(
            self.identity, run_id=run_id, epoch=_EPOCH, generation=0, bank=self.name, key=key
        )
        return Join(key=key, signature=signature)

    def close(self) -> None:
        """Close the connection."""
        self._caller.close()


@dataclass(frozen=True)
class LightCohort:
    """Light banks that have joined one run of a running aggregator.

    Attributes
    ----------
    banks : tuple of LightBank
        In the order of the cohort.
    run_id : str
    public_key : PublicKey
    """

    banks: tuple[LightBank, ...]
    run_id: str
    public_key: PublicKey

    @classmethod
    def enrol(
        cls, url: str, operator_token: str, package: KeyPackage, *, banks: int
    ) -> "LightCohort":
        """Enrol new banks at an empty aggregator, and open a run for them."""
        return cls.enrol_for_runs(url, operator_token, package, banks=banks, runs=1)[0]

    @classmethod
    def enrol_for_runs(
        cls, url: str, operator_token: str, package: KeyPackage, *, banks: int, runs: int
    ) -> "tuple[LightCohort, ...]":
        """Enrol new banks at an empty aggregator, and open several runs for all of them.

        Each run gets a cohort with connections of its own.
        """
        members = [LightBank(f"bank-{number:03d}", url) for number in range(banks)]
        operator = _Caller(url)

        def operate(target: str, body: Mapping[str, Any] | None) -> Any:
            headers = {"Authorization": f"Bearer {operator_token}", "Content-Type": JSON}
            data = None if body is None else json.dumps(body).encode()
            return json.loads(operator.call("POST", target, headers=headers, body=data))

        for bank in members:
            keys = bank.identity.public
            registration = BankRegistration(
                name=bank.name,
                invite=operate("/v1/invites", {"name": bank.name})["code"],
                signing_key=keys.signing_key,
                agreement_key=keys.agreement_key,
            )
            bank.send("POST", "/v1/banks", registration)
        key_epoch = seal_key_package(
            package,
            epoch=_EPOCH,
            steward=members[0].identity,
            steward_name=members[0].name,
            roster=[bank.identity.member(bank.name) for bank in members],
        )
        members[0].send("POST", "/v1/epochs", key_epoch)
        for bank in members:
            acknowledgement = acknowledge(key_epoch, bank.identity, bank.name)
            bank.send("POST", f"/v1/epochs/{_EPOCH}/acknowledgements", acknowledgement)
        contract = DataContract.model_validate({"kind": "table", "features": [{"name": "amount"}]})
        spec = RunSpec(name="light banks", key_epoch=_EPOCH, parameters={}, contract=contract)
        cohorts = []
        for _ in range(runs):
            run_id = operate("/v1/runs", spec.model_dump(mode="json"))["run_id"]
            callers = tuple(LightBank(bank.name, url, bank.identity) for bank in members)
            for bank in callers:
                bank.send("POST", f"/v1/runs/{run_id}/members", bank.joining(run_id))
            cohorts.append(cls(callers, run_id, package.public_key))
        operator.close()
        for bank in members:
            bank.close()
        return tuple(cohorts)

    def payload(self, ciphertexts: int) -> bytes:
        """Return random residues: what the aggregator cannot tell from ciphertexts."""
        key = self.public_key
        return b"".join(
            (1 + secrets.randbelow(key.n_squared - 1)).to_bytes(key.ciphertext_bytes, "big")
            for _ in range(ciphertexts)
        )

    def sum_round(self, number: int, payload: bytes, pool: ThreadPoolExecutor) -> None:
        """Do one round, all banks at the same time; ``pool`` has a thread for each of them."""
        count = len(payload) // self.public_key.ciphertext_bytes
        for done in [
            pool.submit(self._take_part, place, number, payload, count)
            for place in range(len(self.banks))
        ]:
            done.result()

    def close(self) -> None:
        """Close the banks' connections."""
        for bank in self.banks:
            bank.close()

    def _take_part(self, place: int, number: int, payload: bytes, count: int) -> None:
        bank, banks = self.banks[place], len(self.banks)
        where = f"/v1/runs/{self.run_id}/rounds/{number}"
        width = self.public_key.ciphertext_bytes
        frame = self._frame(FrameKind.CONTRIBUTION, bank, number, count, width, payload)
        product = bank.exchange(
            f"{where}/contributions",
            frame,
            answer=f"{where}/product?shard={place}&wait={_WAIT_SECONDS}",
        )
        mine = shard_length(count, place, banks)
        _require(frames.decode(product, source=bank.name)[0].count == mine, "shard of the product")
        box = secrets.token_bytes(mine * (width // 2) + BOX_OVERHEAD_BYTES)
        opening = self._frame(FrameKind.OPENING, bank, number, mine, 0, box, shard=place)
        openings = bank.exchange(
            f"{where}/openings", opening, answer=f"{where}/openings?wait={_WAIT_SECONDS}"
        )
        found = frames.decode_many(openings, source=bank.name)
        _require(len(found) == banks and bytes(found[place][1]) == box, "openings")

    def _frame(
        self,
        kind: FrameKind,
        bank: LightBank,
        number: int,
        count: int,
        item_bytes: int,
        payload: bytes,
        *,
        shard: int | None = None,
    ) -> bytes:
        is_contribution = kind is FrameKind.CONTRIBUTION
        header = FrameHeader(
            kind=kind,
            run_id=self.run_id,
            round_number=number,
            label=f"histogram:{number}",
            context=hashlib.sha256(f"{self.run_id} {number}".encode()).hexdigest(),
            step=number // _ROUNDS_OF_STEP if is_contribution else 0,
            bank=bank.name,
            shard=shard,
            count=count,
            item_bytes=item_bytes,
            commitment=secrets.token_hex(32) if is_contribution else None,
        )
        return frames.encode(header, payload)


def _require(good: bool, what: str) -> None:
    if not good:
        raise TransportError(f"the aggregator's answer holds other {what} than expected")
