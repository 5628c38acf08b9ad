"""Keys and cohorts of the attacks."""

from collections.abc import Callable

import pytest
from attack_kit.sums import AttackedSums

from fraudfed.consortium.key_package import KeyPackage


@pytest.fixture(scope="session")
def package() -> KeyPackage:
    """Make a key that protects nothing: the attacks here do not go against its size."""
    return KeyPackage.generate(512, insecure_allow_small_key=True)


@pytest.fixture
def make_sums(package: KeyPackage) -> Callable[..., AttackedSums]:
    def make(n_banks: int = 3, **options: object) -> AttackedSums:
        return AttackedSums(package, tuple(f"bank-{i}" for i in range(n_banks)), **options)

    return make
