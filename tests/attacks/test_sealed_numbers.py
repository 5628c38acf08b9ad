"""A dishonest steward seals numbers that are no key: refused before anything is computed."""

import base64
import json
from typing import Any

import gmpy2
import pytest
from cohorts.members import Members
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraudfed.consortium.identity import HPKE_SUITE
from fraudfed.consortium.key_ceremony import open_key_epoch
from fraudfed.consortium.key_package import KeyPackage
from fraudfed.consortium.public.documents import key_epoch_bytes, sealed_key_bytes
from fraudfed.errors import KeyMaterialError
from fraudfed.paillier import private_key
from fraudfed.paillier.keys import MAXIMUM_KEY_BITS
from fraudfed.paillier.pheutil import read_pheutil_private_key, read_pheutil_public_key
from fraudfed.wire.messages import KeyEpoch

PACKAGE = KeyPackage.generate(512, insecure_allow_small_key=True)
FIELDS: dict[str, Any] = json.loads(PACKAGE.expose_bytes())
MEMBERS = Members()
EPOCH = MEMBERS.seal(PACKAGE)
#: A prime that takes an hour to test.
MERSENNE = format(2**86243 - 1, "x")


def sealed(text: bytes) -> KeyEpoch:
    """Return an epoch of the steward's whose box for birch holds this text."""
    info = sealed_key_bytes(1, "alder", MEMBERS.roster, PACKAGE.public_key.fingerprint, "birch")
    recipient = bytes.fromhex(MEMBERS["birch"].public.agreement_key)
    box = HPKE_SUITE.encrypt(text, X25519PublicKey.from_public_bytes(recipient), info=info)
    boxes = tuple(
        one.model_copy(update={"box": base64.b64encode(box).decode()})
        if one.name == "birch"
        else one
        for one in EPOCH.sealed
    )
    forged = EPOCH.model_copy(update={"sealed": boxes})
    signature = MEMBERS["alder"].sign(key_epoch_bytes(forged)).hex()
    return forged.model_copy(update={"signature": signature})


def take(text: bytes) -> KeyPackage:
    """Open the epoch as birch."""
    return open_key_epoch(
        sealed(text),
        MEMBERS["birch"],
        "birch",
        pinned=MEMBERS.pinned,
        insecure_allow_small_key=True,
    )


class Computed(Exception):  # noqa: N818 - not an error of the product
    """Something was computed with a number that nobody had looked at."""


@pytest.fixture
def computing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the sizes of all numbers that are tested for being prime or raised to a power."""
    sizes: list[int] = []

    def is_prime(candidate: gmpy2.mpz) -> bool:
        sizes.append(candidate.bit_length())
        if candidate.bit_length() > MAXIMUM_KEY_BITS:
            raise Computed
        return bool(gmpy2.is_prime(candidate, 25))

    monkeypatch.setattr(private_key, "is_certain_prime", is_prime)
    return sizes


def text_of(**changes: object) -> bytes:
    return json.dumps(FIELDS | changes).encode()


WRONG: dict[str, bytes] = {
    **{f"{name} is 0": text_of(**{name: "0"}) for name in ("P", "Q", "p", "q", "hs")},
    **{f"{name} is negative": text_of(**{name: "-" + FIELDS[name]}) for name in ("P", "p", "hs")},
    **{f"{name} is 1": text_of(**{name: "1"}) for name in ("P", "q", "hs")},
    **{f"{name} is empty": text_of(**{name: ""}) for name in ("P", "hs", "secret")},
    **{f"{name} is huge": text_of(**{name: MERSENNE}) for name in ("P", "p", "hs")},
    "P is of the largest size": text_of(P=format(2**4095 + 1, "x")),
    "P is Q": text_of(P=FIELDS["Q"]),
    "p is q": text_of(p=FIELDS["q"]),
    "p is even": text_of(p=format(int(FIELDS["p"], 16) - 1, "x")),
    "P is even": text_of(P=format(int(FIELDS["P"], 16) - 1, "x")),
    "p is P": text_of(p=FIELDS["P"]),
    "hs is beyond N^2": text_of(hs="f" * 300),
    "a number is a number": text_of(P=int(FIELDS["P"], 16)),
    "a number is a list": text_of(p=[1]),
    "a number is nothing": text_of(q=None),
    "a number has a sign": text_of(P="+" + FIELDS["P"]),
    "a number has a prefix": text_of(P="0x" + FIELDS["P"]),
    "a number has spaces": text_of(P=" " + FIELDS["P"]),
    "a number has underscores": text_of(P=FIELDS["P"][:4] + "_" + FIELDS["P"][4:]),
    "a number is in other digits": text_of(P="\uff11" * 64),
    "alpha_bits is infinite": text_of(alpha_bits=float("inf")),
    "alpha_bits is no number": text_of(alpha_bits=float("nan")),
    "alpha_bits is beyond a float": text_of().replace(
        b'"alpha_bits": %d' % FIELDS["alpha_bits"], b'"alpha_bits": 1e999'
    ),
    "alpha_bits is a float": text_of(alpha_bits=128.0),
    "alpha_bits is true": text_of(alpha_bits=True),
    "alpha_bits is negative": text_of(alpha_bits=-128),
    "alpha_bits is odd": text_of(alpha_bits=127),
    "alpha_bits is huge": text_of(alpha_bits=10**4000),
    "alpha_bits has too many digits": text_of().replace(
        b'"alpha_bits": %d' % FIELDS["alpha_bits"], b'"alpha_bits": ' + b"9" * 5000
    ),
    "the secret is short": text_of(secret="00"),
    "the fingerprint is another text": text_of(fingerprint="\u202eabc\n" * 100),
    "the version is a text": text_of(version="9" * 5000),
    "a field is there twice": text_of()[:-1] + b', "P": "3"}',
    "nested": b"[" * 60_000,
    "nested in objects": b'{"a":' * 12_000,
    "no text": b"\xff" * 100,
    "too long": b" " * 100_000,
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_key_is_refused_before_it_is_computed_with(
    case: str, computing: list[int]
) -> None:
    with pytest.raises(KeyMaterialError) as caught:
        take(WRONG[case])
    assert computing == []
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    for value in ("9" * 20, MERSENNE[:20], "\u202e", FIELDS["P"][:20], FIELDS["secret"][:20]):
        assert value not in message


def test_the_right_package_is_taken(computing: list[int]) -> None:
    assert take(text_of()).fingerprint == PACKAGE.fingerprint
    assert len(computing) == 6


def passes_cheap_checks(*primes: int) -> bool:
    """Tell whether numbers could be P and Q, as far as greatest common divisors tell."""
    if len(primes) < 2:
        return True
    first, second = primes
    orders = gmpy2.mpz(first - 1) * (second - 1)
    return (
        gmpy2.gcd(first - 1, second - 1) == 2 and gmpy2.gcd(gmpy2.mpz(first) * second, orders) == 1
    )


def test_control_without_the_sizes_a_huge_number_is_computed_with(
    computing: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """P = 2 p p' + 1 with a p' of 86,000 bits; ends where hours of computing would begin."""
    orders = {name: int(FIELDS[name], 16) for name in ("p", "q")}
    primes: list[int] = []
    for order in orders.values():
        # Just below a power of two, so that N has twice the bits of P and Q.
        cofactor = (199 << (86_000 + order.bit_length())) // (100 * order) | 1
        # Nothing that is cheaper to check than a prime is wrong, whatever the orders are.
        while not passes_cheap_checks(*primes, 2 * order * cofactor + 1):
            cofactor += 2
        primes.append(2 * order * cofactor + 1)
    wrong = {"P": format(primes[0], "x"), "Q": format(primes[1], "x")}

    def rebuild() -> None:
        private_key.PrivateKey.from_primes(
            *primes,
            **orders,
            hs=int(FIELDS["hs"], 16),
            alpha_bits=FIELDS["alpha_bits"],
            insecure_allow_small_key=True,
        )

    with pytest.raises(KeyMaterialError):
        take(text_of(**wrong))
    with pytest.raises(KeyMaterialError):
        rebuild()
    assert computing == []
    monkeypatch.setattr(private_key, "_check_sizes", lambda *parts, **named: None)
    monkeypatch.setattr(private_key.PublicKey, "__post_init__", lambda self: None)
    with pytest.raises(Computed):
        rebuild()
    assert max(computing) > 80_000


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(sorted(FIELDS)),
    json_values | st.from_regex(r"-?[0-9a-f]{1,300}", fullmatch=True),
)
def test_any_value_of_any_field_is_refused_or_changes_nothing(
    computing: list[int], name: str, value: object
) -> None:
    try:
        found = take(text_of(**{name: value}))
    except KeyMaterialError:
        return
    assert found.fingerprint == PACKAGE.fingerprint


def base64_of(number: int) -> str:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (base64_of(2**21701 - 1), base64_of(2**21701 - 1)),
        (base64_of(2**9689 - 1), base64_of(2**9689 - 1)),
        ("AA", "AA"),
        ("", ""),
        (base64_of(2**1279 - 1), base64_of(2**1279 - 1)),
        (base64_of(2**1279 - 1), base64_of(2**1023)),
        (base64_of(2**1023), base64_of(2**1023 + 2)),
    ],
)
def test_numbers_of_a_pheutil_file_are_looked_at_before_they_are_computed_with(
    p: str, q: str, computing: list[int]
) -> None:
    fields = {"kty": "DAJ", "key_ops": ["decrypt"], "p": p, "q": q, "pub": {"n": "AQ"}}
    with pytest.raises(KeyMaterialError, match=r"^file: "):
        read_pheutil_private_key(json.dumps(fields), source="file")
    assert computing == []
    with pytest.raises(KeyMaterialError):
        read_pheutil_public_key(json.dumps({"kty": "DAJ", "alg": "PAI-GN1", "n": p}), source="file")
