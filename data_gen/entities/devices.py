"""Device codes: 64-bit numbers by owner, scrambled in the output so that they reveal nothing."""

from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from data_gen.rng import IntArray

# Devices a customer can have: first main device, second device, replacement of the main device.
SLOTS: Final = 4
# 2**48 devices per owner and bank: one-off devices take 2**28 per half block, and 4 million
# customers are fewer than 2**12 half blocks.
_OWNER_SHIFT: Final = 48
_BANK_SHIFT: Final = 52


class DeviceOwner(IntEnum):
    """Ranges of device codes."""

    CUSTOMER = 0
    ONE_OFF_EVERYDAY = 1
    ONE_OFF_OCCASION = 2
    ONE_OFF_FRAUD = 3
    CAMPAIGN = 4
    SHARED_PERSON = 5


def owned_device(bank: int, customer: npt.NDArray[np.integer]) -> IntArray:
    """Return the code of the first device of a customer with one bank."""
    return (bank << _BANK_SHIFT) + customer.astype(np.int64) * SLOTS


def shared_person_device(person: npt.NDArray[np.integer]) -> IntArray:
    """Return the code of the first device of a person with several banks, of ``SLOTS`` codes."""
    return unique_devices(DeviceOwner.SHARED_PERSON, 0, person.astype(np.int64) * SLOTS)


def unique_devices(owner: DeviceOwner, bank: int, number: npt.NDArray[np.integer]) -> IntArray:
    """Return the codes of devices numbered within ``owner`` and ``bank``."""
    return (bank << _BANK_SHIFT) + (int(owner) << _OWNER_SHIFT) + number.astype(np.int64)


def scramble(code: IntArray) -> npt.NDArray[np.uint64]:
    """Return the splitmix64 finaliser of each code: a bijection, so codes stay distinct.

    Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, with
    Stafford's mix 13.
    """
    z = code.astype(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
