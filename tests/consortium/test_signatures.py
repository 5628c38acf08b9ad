"""A signed request is taken as it was signed, and in no other form."""

import base64
import hashlib
import re
import string
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import ED25519
from hypothesis import given, settings
from hypothesis import strategies as st

from fraudfed.consortium.identity import Identity
from fraudfed.consortium.public.signatures import (
    MAX_SKEW_SECONDS,
    VerifiedRequest,
    content_digest,
    new_nonce,
    sign_request,
    verify_request,
)
from fraudfed.errors import AuthError, KeyMaterialError, ProtocolError

BANK = Identity.generate()
OTHER = Identity.generate()
KEYS = {"alder": BANK.public.signing_key, "birch": OTHER.public.signing_key}
NOW = 1_700_000_000
NONCE = "A" * 22
JSON = {"Content-Type": "application/json"}
MODEL = JSON | {"Fraudfed-Model-Signature": "ab", "Fraudfed-Model-Plain": "cd"}


def signed(
    method: str = "PUT",
    target: str = "/v1/runs/r/models/m?wait=3&x=%20",
    headers: dict[str, str] = MODEL,
    body: bytes = b'{"a":1}',
    *,
    keyid: str = "alder",
    signer: Identity = BANK,
    nonce: str = NONCE,
) -> dict[str, Any]:
    added = sign_request(
        signer,
        keyid=keyid,
        method=method,
        url="https://aggregator.example:8765" + target,
        headers=headers,
        body=body,
        created=NOW,
        nonce=nonce,
    )
    return {"method": method, "target": target, "headers": headers | added, "body": body}


def check(request: dict[str, Any], *, now: int = NOW) -> VerifiedRequest:
    return verify_request(
        KEYS.get,
        method=request["method"],
        target=request["target"],
        headers=request["headers"],
        body_sha256=hashlib.sha256(request["body"]).digest(),
        now=now,
    )


def with_header(request: dict[str, Any], name: str, value: str | None) -> dict[str, Any]:
    headers = {k: v for k, v in request["headers"].items() if k != name}
    return request | {"headers": headers if value is None else headers | {name: value}}


def resigned(base: str, parameters: str) -> dict[str, str]:
    """Signature headers over any base: what an enrolled bank could send that does not comply."""
    signature = BANK.sign(f'{base}"@signature-params": {parameters}'.encode())
    return {
        "Signature-Input": f"fraudfed={parameters}",
        "Signature": f"fraudfed=:{base64.b64encode(signature).decode()}:",
    }


TARGETS = st.from_regex(r"/v1/[a-z0-9/._~-]{0,30}(\?[a-z]+=[a-z0-9]{0,5}(%20)?)?", fullmatch=True)


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    TARGETS,
    st.binary(max_size=50),
    st.booleans(),
)
def test_what_is_signed_is_taken(method: str, target: str, body: bytes, lower: bool) -> None:
    request = signed(method, target, MODEL, body, nonce=new_nonce())
    if lower:
        request["headers"] = {k.lower(): v for k, v in request["headers"].items()}
    verified = check(request)
    assert (verified.keyid, verified.created) == ("alder", NOW)
    assert verified.nonce in request["headers"]["signature-input" if lower else "Signature-Input"]


def test_the_signature_is_that_of_rfc_9421_over_this_base() -> None:
    """An independent reading of RFC 9421, section 2.5."""
    request = signed()
    digest = base64.b64encode(hashlib.sha256(request["body"]).digest()).decode()
    parameters = (
        '("@method" "@path" "@query" "content-digest" "content-type" "fraudfed-model-plain" '
        f'"fraudfed-model-signature");created={NOW};keyid="alder";alg="ed25519";nonce="{NONCE}"'
        ';tag="fraudfed"'
    )
    base = (
        '"@method": PUT\n'
        '"@path": /v1/runs/r/models/m\n'
        '"@query": ?wait=3&x=%20\n'
        f'"content-digest": sha-256=:{digest}:\n'
        '"content-type": application/json\n'
        '"fraudfed-model-plain": cd\n'
        '"fraudfed-model-signature": ab\n'
        f'"@signature-params": {parameters}'
    )
    assert request["headers"]["Signature-Input"] == f"fraudfed={parameters}"
    assert request["headers"]["Signature"] == (
        f"fraudfed=:{base64.b64encode(BANK.sign(base.encode())).decode()}:"
    )


class LibraryRequest:
    """A request as the library reads it."""

    def __init__(self, method: str, url: str, headers: dict[str, str]) -> None:
        self.method, self.url, self.headers = method, url, headers


class LibraryKeys(HTTPSignatureKeyResolver):
    def resolve_public_key(self, key_id: str) -> Any:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(KEYS[key_id]))


class LibraryVerifier(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
        """Take a signature of any time."""


@given(st.sampled_from(["GET", "POST", "PUT"]), TARGETS, st.binary(max_size=50))
def test_a_library_for_the_whole_rfc_takes_what_we_sign(
    method: str, target: str, body: bytes
) -> None:
    request = signed(method, target, MODEL, body, nonce=new_nonce())
    verifier = LibraryVerifier(signature_algorithm=ED25519, key_resolver=LibraryKeys())
    seen = LibraryRequest(method, "https://aggregator.example" + target, request["headers"])
    (result,) = verifier.verify(seen, max_age=None)
    assert result.parameters["keyid"] == "alder"
    names = list(result.covered_components)
    assert names[:3] == ['"@method"', '"@path"', '"@query"']
    assert ('"content-digest"' in names) == bool(body)


@given(
    st.sampled_from(["GET", "POST", "PUT"]),
    TARGETS,
    st.binary(max_size=50),
    st.permutations(["content-type", "@query", "@method", "content-digest", "@path"]),
)
def test_we_take_what_a_library_signs_if_it_keeps_to_the_profile(
    method: str, target: str, body: bytes, mixed: list[str]
) -> None:
    digest = hashlib.sha256(body).digest()
    expected = ["@method", "@path", "@query", *(["content-digest", "content-type"] if body else [])]
    for components in (expected, mixed):
        headers = JSON | {"Content-Digest": content_digest(digest)} if body else dict(JSON)
        seen = LibraryRequest(method, "https://aggregator.example" + target, headers)
        library = HTTPMessageSigner(signature_algorithm=ED25519)
        if not body and "content-digest" in components:
            continue
        prepared = library.prepare(
            seen,
            key_id="alder",
            created=datetime.fromtimestamp(NOW, tz=UTC),
            nonce=NONCE,
            label="fraudfed",
            tag="fraudfed",
            covered_component_ids=components,
            use_existing_digest=bool(body),
        )
        library.apply(seen, prepared, BANK.sign(prepared.signature_base))
        request = {"method": method, "target": target, "headers": headers, "body": body}
        if components == expected:
            assert check(request) == VerifiedRequest("alder", NONCE, NOW)
        else:
            with pytest.raises(AuthError, match="covers"):
                check(request)


@pytest.mark.parametrize(
    "text",
    [
        'tag="fraudfed";nonce="N";keyid="alder";created=T;alg="ed25519"',
        'alg="ed25519";created=T;keyid="alder";nonce="N";tag="fraudfed"',
    ],
)
def test_parameters_may_stand_in_any_order(text: str) -> None:
    parameters = text.replace("T", str(NOW)).replace('"N"', f'"{NONCE}"')
    assert check(profile_request(GET_BASE, parameters)).nonce == NONCE


def test_the_library_verifies_the_vector_of_the_rfc() -> None:
    """RFC 9421, appendix B.2.6, with the key of B.1.4 and the request of B.2."""
    pem = (
        b"-----BEGIN PUBLIC KEY-----\n"
        b"MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n"
        b"-----END PUBLIC KEY-----\n"
    )

    class Resolver(HTTPSignatureKeyResolver):
        def resolve_public_key(self, key_id: str) -> Any:
            assert key_id == "test-key-ed25519"
            return load_pem_public_key(pem)

    class Verifier(HTTPMessageVerifier):
        def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:
            """Take it, although it was signed in 2021."""

    class Request:
        method = "POST"
        url = "https://example.com/foo?param=Value&Pet=dog"
        headers = {  # noqa: RUF012
            "Host": "example.com",
            "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
            "Content-Type": "application/json",
            "Content-Length": "18",
            "Signature-Input": (
                'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
                ';created=1618884473;keyid="test-key-ed25519"'
            ),
            "Signature": (
                "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQ"
                "v5lIp5WPpBKRCw==:"
            ),
        }

    verifier = Verifier(signature_algorithm=ED25519, key_resolver=Resolver())
    assert len(verifier.verify(Request(), max_age=None)) == 1
    # The same vector is no request of ours: it does not cover the body.
    with pytest.raises(AuthError, match="no content-digest"):
        verify_request(
            lambda _: None,
            method="POST",
            target="/foo?param=Value&Pet=dog",
            headers=Request.headers,
            body_sha256=hashlib.sha256(b'{"hello": "world"}').digest(),
            now=1618884473,
        )


@settings(max_examples=400)
@given(st.data())
def test_no_byte_of_a_request_can_be_changed(data: st.DataObject) -> None:
    request = signed()
    part = data.draw(st.sampled_from(["method", "target", "body", *request["headers"]]))
    if part == "body":
        body = bytearray(request["body"])
        position = data.draw(st.integers(0, len(body) - 1))
        body[position] ^= data.draw(st.integers(1, 255))
        changed = request | {"body": bytes(body)}
    else:
        value = request["headers"].get(part) or request[part]
        position = data.draw(st.integers(0, len(value) - 1))
        character = data.draw(st.characters(min_codepoint=32, max_codepoint=126))
        text = value[:position] + character + value[position + 1 :]
        if text.strip() == value:
            return
        changed = (
            with_header(request, part, text)
            if part in request["headers"]
            else request | {part: text}
        )
    with pytest.raises(AuthError) as caught:
        check(changed)
    assert "\n" not in str(caught.value)


def test_every_character_of_both_signature_headers_counts() -> None:
    request = signed()
    for name in ("Signature", "Signature-Input"):
        value = request["headers"][name]
        for position in range(len(value)):
            for text in (
                value[:position] + value[position + 1 :],
                value[:position] + ("B" if value[position] != "B" else "C") + value[position + 1 :],
                value[:position] + " " + value[position:],
            ):
                if text.strip() == value:
                    continue
                with pytest.raises(AuthError):
                    check(with_header(request, name, text))


def test_other_texts_of_the_same_bytes_are_refused() -> None:
    """The last four bits of base64 before the padding are no data."""
    request = signed()
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    for name, padding in (("Signature", "==:"), ("Content-Digest", "=:")):
        value = request["headers"][name].removesuffix(padding)
        same = alphabet[alphabet.index(value[-1]) + 1]
        text = f"{value[:-1]}{same}{padding}"
        assert base64.b64decode(text.partition(":")[2][:-1]) == base64.b64decode(
            request["headers"][name].partition(":")[2][:-1]
        )
        with pytest.raises(AuthError):
            check(with_header(request, name, text))


@pytest.mark.parametrize("name", list(signed()["headers"]))
def test_no_header_can_be_taken_away(name: str) -> None:
    with pytest.raises(AuthError):
        check(with_header(signed(), name, None))


def test_headers_that_mean_something_cannot_be_added() -> None:
    request = signed("GET", headers={}, body=b"")
    assert check(with_header(request, "X-Request-Id", "7")).keyid == "alder"
    with pytest.raises(AuthError, match=r'expected .*"fraudfed-model-plain"'):
        check(with_header(request, "Fraudfed-Model-Plain", "x"))


@pytest.mark.parametrize("name", list(signed()["headers"]))
@pytest.mark.parametrize("same", [True, False])
def test_repeated_headers_are_refused(name: str, same: bool) -> None:
    request = signed()
    value = request["headers"][name]
    again = value if same else "other"
    pairs = [*request["headers"].items(), (name.upper(), again)]
    with pytest.raises(AuthError, match=f"{name.lower()} 2 times, expected it once"):
        check(request | {"headers": pairs})
    with pytest.raises(AuthError):  # as a server joins them
        check(with_header(request, name, f"{value}, {again}"))


def test_a_body_cannot_be_added_or_dropped() -> None:
    with pytest.raises(AuthError, match="no body; the body was lost"):
        check(signed() | {"body": b""})
    request = signed("POST", headers={}, body=b"") | {"body": b"x"}
    with pytest.raises(AuthError, match="has a body but no content-digest"):
        check(request)
    request = with_header(request, "Content-Digest", content_digest(hashlib.sha256(b"x").digest()))
    request = with_header(request, "Content-Type", "text/plain")
    with pytest.raises(AuthError, match="covers"):
        check(request)


@pytest.mark.parametrize("age", [-MAX_SKEW_SECONDS, 0, MAX_SKEW_SECONDS])
def test_clocks_may_differ_a_little(age: int) -> None:
    assert check(signed(), now=NOW + age).created == NOW


@pytest.mark.parametrize("age", [-MAX_SKEW_SECONDS - 1, MAX_SKEW_SECONDS + 1, 10**10])
def test_a_request_of_another_time_is_refused_with_both_times(age: int) -> None:
    with pytest.raises(AuthError, match=r"signed at 2023-11-14 22:13:20Z, it is .*Z? at the aggr"):
        check(signed(), now=NOW + age)


def test_absurd_times_are_refused() -> None:
    for created in (-1, 10**14):
        base = '"@method": GET\n"@path": /x\n"@query": ?\n'
        parameters = (
            f'("@method" "@path" "@query");created={created};keyid="alder";alg="ed25519"'
            f';nonce="{NONCE}";tag="fraudfed"'
        )
        request = {
            "method": "GET",
            "target": "/x",
            "headers": resigned(base, parameters),
            "body": b"",
        }
        with pytest.raises(AuthError, match="apart; set the clock"):
            check(request)


def test_another_bank_cannot_sign_for_this_one() -> None:
    with pytest.raises(AuthError, match="not that of the bank's key"):
        check(signed(keyid="alder", signer=OTHER))
    assert check(signed(keyid="birch", signer=OTHER)).keyid == "birch"


@pytest.mark.parametrize("keyid", ["cedar", "alder2"])
def test_an_unknown_bank_is_named(keyid: str) -> None:
    with pytest.raises(AuthError, match=f"'{keyid}', which is no member here"):
        check(signed(keyid=keyid))


def test_unsigned_requests_are_refused() -> None:
    for missing in ("Signature", "Signature-Input"):
        with pytest.raises(AuthError, match=f"no {missing.lower()} header"):
            check(with_header(signed(), missing, None))


GET_BASE = {"@method": "GET", "@path": "/x", "@query": "?"}
GOOD = f'created={NOW};keyid="alder";alg="ed25519";nonce="{NONCE}";tag="fraudfed"'


def profile_request(components: dict[str, str], parameters: str) -> dict[str, Any]:
    base = "".join(f'"{name}": {value}\n' for name, value in components.items())
    listed = " ".join(f'"{name}"' for name in components)
    headers = {"Content-Type": "text/plain"} | resigned(base, f"({listed});{parameters}")
    return {"method": "GET", "target": "/x", "headers": headers, "body": b""}


def test_the_profile_request_is_good_as_such() -> None:
    assert check(profile_request(GET_BASE, GOOD)).nonce == NONCE


@pytest.mark.parametrize("missing", [*GET_BASE, "all"])
def test_a_valid_signature_that_covers_less_is_refused(missing: str) -> None:
    fewer = {k: v for k, v in GET_BASE.items() if missing not in (k, "all")}
    with pytest.raises(AuthError, match=r'covers .*expected "@method" "@path" "@query"'):
        check(profile_request(fewer, GOOD))


def test_a_valid_signature_that_covers_more_or_in_another_order_is_refused() -> None:
    for components in (
        GET_BASE | {"content-type": "text/plain"},
        dict(reversed(GET_BASE.items())),
        GET_BASE | {"@authority": "aggregator.invalid"},
    ):
        with pytest.raises(AuthError, match="covers"):
            check(profile_request(components, GOOD))


@pytest.mark.parametrize(
    "parameters",
    [
        GOOD.replace(f"created={NOW};", ""),
        GOOD.replace('keyid="alder";', ""),
        GOOD.replace('alg="ed25519";', ""),
        GOOD.replace('"ed25519"', '"hmac-sha256"'),
        GOOD.replace('"ed25519"', '"rsa-v1_5-sha256"'),
        GOOD.replace('"ed25519"', '"none"'),
        GOOD.replace(f';nonce="{NONCE}"', ""),
        GOOD.replace(NONCE, "short"),
        GOOD.replace(NONCE, NONCE + "A"),
        GOOD.replace(NONCE, "!" * 22),
        GOOD.replace(';tag="fraudfed"', ""),
        GOOD.replace('tag="fraudfed"', 'tag="other"'),
        GOOD + f";expires={NOW + 10}",
        GOOD + ";extra=1",
        GOOD + f";created={NOW}",
        GOOD.replace(f"created={NOW}", f"created=0{NOW}"),
        GOOD.replace(f"created={NOW}", f"created={NOW}").replace(";tag", " ;tag"),
        GOOD.replace(";tag", "; tag"),
        GOOD.replace('"fraudfed"', r'"fraud\\fed"'),
        GOOD.replace(f"created={NOW}", "created=" + "9" * 16),
        GOOD.replace(f"created={NOW}", f'created="{NOW}"'),
        GOOD.replace(f"created={NOW}", f"created={NOW}.0"),
        GOOD.replace('keyid="alder"', "keyid=alder"),
        GOOD.replace('keyid="alder"', 'keyid="Alder"'),
    ],
)
def test_a_valid_signature_of_another_profile_is_refused(parameters: str) -> None:
    with pytest.raises(AuthError):
        check(profile_request(GET_BASE, parameters))


def test_a_second_signature_or_another_label_is_refused() -> None:
    request = profile_request(GET_BASE, GOOD)
    headers = request["headers"]
    for change in (
        {n: f"{headers[n]}, {headers[n].replace('fraudfed=', 'b=', 1)}" for n in headers},
        {n: headers[n].replace("fraudfed=", "other=", 1) for n in headers},
        {n: f"{headers[n]}, {headers[n]}" for n in headers},
    ):
        with pytest.raises(AuthError):
            check(request | {"headers": change})


@given(st.text(st.characters(codec="latin-1"), max_size=200), st.text(max_size=200))
def test_noise_is_an_auth_error(given_input: str, given_signature: str) -> None:
    request = with_header(signed(), "Signature-Input", given_input)
    with pytest.raises(AuthError):
        check(with_header(request, "Signature", given_signature))


@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_long_signatures_are_refused_before_they_are_read(size: int) -> None:
    for value in ("(" * size, "fraudfed=(" + '"@method" ' * (size // 10) + ")"):
        with pytest.raises(AuthError, match="longer than 4096"):
            check(with_header(signed(), "Signature-Input", value))


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("get", "/x"),
        ("GET", "x"),
        ("GET", "https://aggregator.invalid/x"),
        ("GET", "@evil.example/x"),
        ("GET", ""),
        ("GET", "/x y"),
        ("GET", "/\u00e4"),
    ],
)
def test_targets_that_could_be_read_twice_are_refused(method: str, target: str) -> None:
    request = profile_request(GET_BASE, GOOD) | {"method": method, "target": target}
    with pytest.raises(AuthError):
        check(request)


def test_a_key_of_small_order_verifies_nothing() -> None:
    """With the neutral point as a key, (R, s) = (sB, s) verifies for every message."""
    key = "01" + "00" * 31
    forged = "01" + "00" * 63
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(forged), b"any")
    request = profile_request(GET_BASE, GOOD)
    text = base64.b64encode(bytes.fromhex(forged)).decode()
    request = with_header(request, "Signature", f"fraudfed=:{text}:")
    with pytest.raises(KeyMaterialError, match="small order"):
        verify_request(
            lambda _: key,
            method="GET",
            target="/x",
            headers=request["headers"],
            body_sha256=hashlib.sha256(b"").digest(),
            now=NOW,
        )


def test_nonces_are_fresh() -> None:
    nonces = {new_nonce() for _ in range(1000)}
    assert len(nonces) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", nonce) for nonce in nonces)
    one, two = (
        sign_request(
            BANK, keyid="alder", method="GET", url="/x", headers={}, body=None, created=NOW
        )
        for _ in range(2)
    )
    assert one["Signature-Input"] != two["Signature-Input"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"headers": {}}, "body but no content-type"),
        ({"headers": JSON | {"Signature": "x"}}, "signature already"),
        ({"headers": JSON | {"content-digest": "x"}}, "content-digest already"),
        ({"headers": [*JSON.items(), *JSON.items()]}, "content-type 2 times"),
        ({"keyid": "A bank"}, "expected a bank's name"),
        ({"nonce": "short"}, "16 bytes in base64url"),
        ({"method": "post"}, "cannot be signed"),
        ({"url": "/a b"}, "cannot be signed"),
        ({"headers": JSON | {"Fraudfed-Model-Plain": "a\nb"}}, "cannot be signed"),
    ],
)
def test_what_cannot_be_signed_is_refused(change: dict[str, Any], said: str) -> None:
    request: dict[str, Any] = {
        "keyid": "alder",
        "method": "POST",
        "url": "/x",
        "headers": JSON,
        "body": b"{}",
        "created": NOW,
        "nonce": NONCE,
    }
    with pytest.raises(ProtocolError, match=said):
        sign_request(BANK, **(request | change))


@pytest.mark.parametrize("module", ["signatures", "fingerprint", "documents"])
def test_the_public_side_imports_no_private_key(module: str) -> None:
    code = (
        f"import sys, fraudfed.consortium.public.{module}\n"
        "print(*(name for name in sys.modules if name.startswith('fraudfed.')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(ran.stdout.split())
    assert f"fraudfed.consortium.public.{module}" in loaded
    for private in ("consortium.identity", "consortium.key_package", "paillier.private_key"):
        assert f"fraudfed.{private}" not in loaded
