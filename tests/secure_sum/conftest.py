"""Key packages made once for the whole area, and cohorts whose banks share real masks."""

import pytest

from fraudfed.consortium.key_package import KeyPackage


@pytest.fixture(scope="session")
def package_256() -> KeyPackage:
    return KeyPackage.generate(256, insecure_allow_small_key=True)


@pytest.fixture(scope="session")
def package() -> KeyPackage:
    return KeyPackage.generate(512, insecure_allow_small_key=True)


@pytest.fixture(scope="session")
def other_package() -> KeyPackage:
    return KeyPackage.generate(512, insecure_allow_small_key=True)
