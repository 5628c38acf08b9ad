"""Keys made once for the whole area: small insecure ones for laws, real ones for the real thing."""

import phe
import pytest

from fraudfed.paillier.private_key import PrivateKey


@pytest.fixture(scope="session")
def small_key() -> PrivateKey:
    return PrivateKey.generate(512, insecure_allow_small_key=True)


@pytest.fixture(scope="session")
def other_small_key() -> PrivateKey:
    return PrivateKey.generate(512, insecure_allow_small_key=True)


@pytest.fixture(scope="session")
def plain_key() -> PrivateKey:
    _, private = phe.generate_paillier_keypair(n_length=512)
    return PrivateKey.from_phe_primes(private.p, private.q, insecure_allow_small_key=True)


@pytest.fixture(scope="session", params=[2048, 3072])
def real_key(request: pytest.FixtureRequest) -> PrivateKey:
    return PrivateKey.generate(request.param)
