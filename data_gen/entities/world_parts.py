"""The shared part of a world, and one bank's private part."""

from dataclasses import dataclass

from data_gen.entities.banks import Banks, make_banks
from data_gen.entities.customers import Customers, make_customers
from data_gen.entities.payees import Payees, make_payees
from data_gen.entities.places import Places, Towns, make_places, make_towns
from data_gen.entities.shared_people import SharedPeople, make_shared_people
from data_gen.settings.config import WorldConfig


@dataclass(frozen=True)
class SharedWorld:
    """What exists for all banks together."""

    config: WorldConfig
    towns: Towns
    places: Places
    payees: Payees
    banks: Banks
    shared_people: SharedPeople


@dataclass(frozen=True)
class BankSide:
    """One bank in the shared world, with its own customers."""

    world: SharedWorld
    bank: int
    customers: Customers

    @property
    def name(self) -> str:
        """The bank's name."""
        return self.world.banks.names[self.bank]


def make_shared_world(config: WorldConfig) -> SharedWorld:
    """Return the shared entities, a function of the configuration alone."""
    towns = make_towns(config)
    banks = make_banks(config, towns.population)
    places = make_places(config, towns)
    payees = make_payees(config, banks)
    return SharedWorld(
        config=config,
        towns=towns,
        places=places,
        payees=payees,
        banks=banks,
        shared_people=make_shared_people(config, banks, towns, places, payees),
    )


def make_bank_side(world: SharedWorld, bank: int) -> BankSide:
    """Return one bank with its customers."""
    customers = make_customers(
        world.config,
        world.banks,
        bank,
        world.towns,
        world.places,
        world.payees,
        world.shared_people,
    )
    return BankSide(world=world, bank=bank, customers=customers)
