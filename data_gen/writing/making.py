"""The first phase: parts of banks are made and stored in the spool."""

import functools
from dataclasses import dataclass
from pathlib import Path

from data_gen.entities.world_parts import BankSide, make_bank_side
from data_gen.settings.config import WorldConfig
from data_gen.world.making import World, make_part, make_world
from data_gen.writing.spool import spool_part
from data_gen.writing.workers import Advance


@dataclass(frozen=True)
class MakePart:
    """Job: make one part of a bank and store it in the spool; returns its rows."""

    config: WorldConfig
    bank: int
    part: int
    spool: Path

    def __call__(self, advance: Advance) -> int:
        """Make the part."""
        world, side = kept_bank(self.config, self.bank)
        rows = spool_part(
            self.spool / side.name,
            self.part,
            make_part(side, world, self.part),
            start_time=self.config.start_time,
            end_time=self.config.end_time,
        )
        advance(1)
        return rows


# Making the shared world takes milliseconds, less than sending it. A bank's customers take longer,
# and the jobs of one bank follow each other, so each process keeps the customers of its last bank.
@functools.lru_cache(maxsize=1)
def kept_world(config: WorldConfig) -> World:
    """Return the world of the last configuration, made once."""
    return make_world(config)


@functools.lru_cache(maxsize=1)
def kept_bank(config: WorldConfig, bank: int) -> tuple[World, BankSide]:
    """Return the world and the last bank, made once."""
    world = kept_world(config)
    return world, make_bank_side(world.shared, bank)


def forget_kept() -> None:
    """Free what this process keeps."""
    kept_bank.cache_clear()
    kept_world.cache_clear()
