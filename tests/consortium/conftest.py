"""Keys are slow to make and never changed by a test: each kind is made once."""

import pytest
from cohorts.members import Members

from fraudfed.consortium.key_package import KeyPackage
from fraudfed.wire.messages import KeyEpoch


@pytest.fixture(scope="session")
def members() -> Members:
    return Members()


@pytest.fixture(scope="session")
def epoch_package() -> KeyPackage:
    return KeyPackage.generate(512, insecure_allow_small_key=True)


@pytest.fixture(scope="session")
def key_epoch(members: Members, epoch_package: KeyPackage) -> KeyEpoch:
    return members.seal(epoch_package)
