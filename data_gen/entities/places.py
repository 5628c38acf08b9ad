"""Towns, merchants and terminals: fixed places and categories, shared by all banks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_gen.categories import CATEGORIES, ONLINE_SHARE, POS_SHARE, category_index
from data_gen.events import NONE
from data_gen.rng import Draws, FloatArray, IntArray, Part, stream
from data_gen.settings.config import WorldConfig

# The country is a rectangle of invented towns in central European latitudes.
LATITUDE_RANGE = (46.0, 51.0)
LONGITUDE_RANGE = (5.0, 14.0)
# Standard deviation of places within a town, degrees (about 2.5 km).
TOWN_SPREAD_DEGREES = 0.025
# About 10 m; rounded so that files hold short decimal numbers.
PLACE_DECIMALS = 4

ATM_OPERATORS = 6
# Institutions outside the consortium that keep payees' accounts. An institution, outside or one
# of the banks, is the ``merchant_id`` of a transfer.
OUTSIDE_INSTITUTIONS = 14


@dataclass(frozen=True)
class Towns:
    """Towns: places and population shares (sum 1), each of shape (n_towns,)."""

    latitude: FloatArray
    longitude: FloatArray
    population: FloatArray

    def __len__(self) -> int:
        return len(self.population)


class Pool:
    """Members of groups, drawn within a group in proportion to their weights.

    Parameters
    ----------
    group : ndarray of shape (n_members,), dtype=int64
        Group of each member, 0 to n_groups - 1; every group has at least one member.
    weight : ndarray of shape (n_members,), dtype=float64
        Positive weights.
    member : ndarray of shape (n_members,), dtype=int64
        What a draw returns.
    n_groups : int
    """

    def __init__(
        self, group: IntArray, weight: FloatArray, member: IntArray, n_groups: int
    ) -> None:
        order = np.argsort(group, kind="stable")
        self._member = member[order]
        self._cumulative = np.cumsum(weight[order])
        counts = np.bincount(group, minlength=n_groups)
        self._end = np.cumsum(counts)
        self._start = self._end - counts
        padded = np.concatenate(([0.0], self._cumulative))
        self._low = padded[self._start]
        self._width = padded[self._end] - self._low

    def draw(self, group: IntArray, uniforms: FloatArray) -> IntArray:
        """Return one member of each ``group``; both arguments have the result's shape."""
        target = self._low[group] + uniforms * self._width[group]
        found = np.searchsorted(self._cumulative, target, side="right")
        # Rounding at a group's edge must not lead into the next group.
        inside = np.clip(found, self._start[group], self._end[group] - 1)
        drawn: IntArray = self._member[inside]
        return drawn


@dataclass(frozen=True)
class Places:
    """Merchants and terminals of the world.

    Merchants are numbered: with terminals, online, operators of cash machines, institutions of
    payees. Terminals: at merchants, then cash machines.

    Parameters
    ----------
    merchant_category : ndarray of shape (n_merchants,), dtype=int8
        Index into ``CATEGORIES``; ``NONE`` for institutions of payees.
    first_online, first_operator, first_institution : int
        Where each sort of merchant begins.
    terminal_merchant, terminal_town : ndarray of shape (n_terminals,), dtype=int64
    latitude, longitude : ndarray of shape (n_terminals,), dtype=float64
        Degrees, never changing.
    first_atm : int
        Number of the first cash machine.
    pos_pool, atm_pool : Pool
        Terminals by town.
    online_pool : Pool
        Online merchants in one group.
    online_by_category : Pool
        Online merchants by category; categories without any merchant fall back to all.
    """

    merchant_category: npt.NDArray[np.int8]
    first_online: int
    first_operator: int
    first_institution: int
    terminal_merchant: IntArray
    terminal_town: IntArray
    latitude: FloatArray
    longitude: FloatArray
    first_atm: int
    pos_pool: Pool
    atm_pool: Pool
    online_pool: Pool
    online_by_category: Pool

    @property
    def n_terminals(self) -> int:
        """Number of terminals, cash machines included."""
        return len(self.terminal_merchant)


def make_towns(config: WorldConfig) -> Towns:
    """Return the towns: about one per 150 customers, 8 to 80 of them."""
    draws = stream(config.seed, Part.TOWNS)
    n = min(max(config.customers // 150, 8), 80)
    population = np.arange(1, n + 1, dtype=np.float64) ** -0.8
    return Towns(
        latitude=draws.uniform(n, low=LATITUDE_RANGE[0], high=LATITUDE_RANGE[1]),
        longitude=draws.uniform(n, low=LONGITUDE_RANGE[0], high=LONGITUDE_RANGE[1]),
        population=population / population.sum(),
    )


def make_places(config: WorldConfig, towns: Towns) -> Places:
    """Return the merchants and terminals of a world; their number follows the customers."""
    n_towns = len(towns)
    n_physical = max(config.customers * 15 // 100, 3 * n_towns)
    n_online = max(config.customers * 6 // 100, 60)
    draws = stream(config.seed, Part.MERCHANTS)
    physical_category = draws.pick(POS_SHARE, n_physical)
    online_category = draws.pick(ONLINE_SHARE, n_online)
    physical_town = _one_each_then(n_towns, draws.pick(towns.population, n_physical))
    physical_weight = _popularity(draws, n_physical, exponent=0.5)
    online_weight = _popularity(draws, n_online, exponent=0.8)
    category = np.concatenate(
        (
            physical_category,
            online_category,
            np.full(ATM_OPERATORS, category_index("cash")),
            np.full(OUTSIDE_INSTITUTIONS + config.banks, NONE),
        )
    ).astype(np.int8)
    first_operator = n_physical + n_online

    draws = stream(config.seed, Part.TERMINALS)
    # One terminal, or up to four in larger shops.
    per_merchant = 1 + np.minimum((draws.exponential(n_physical) * 0.9).astype(np.int64), 3)
    pos_merchant = np.repeat(np.arange(n_physical), per_merchant)
    n_pos = len(pos_merchant)
    n_atm = max(config.customers * 3 // 100, 2 * n_towns)
    atm_town = _one_each_then(n_towns, draws.pick(towns.population, n_atm))
    atm_merchant = first_operator + draws.below(ATM_OPERATORS, n_atm)
    pos_town = physical_town[pos_merchant]
    town = np.concatenate((pos_town, atm_town))
    pos_weight = (physical_weight / per_merchant)[pos_merchant]
    # All terminals of a shop stand at the shop's place.
    shop_offset = TOWN_SPREAD_DEGREES * draws.normal(n_physical, 2)
    atm_offset = TOWN_SPREAD_DEGREES * draws.normal(n_atm, 2)
    offset = np.concatenate((shop_offset[pos_merchant], atm_offset))

    online = n_physical + np.arange(n_online)
    return Places(
        merchant_category=category,
        first_online=n_physical,
        first_operator=first_operator,
        first_institution=first_operator + ATM_OPERATORS,
        terminal_merchant=np.concatenate((pos_merchant, atm_merchant)),
        terminal_town=town,
        latitude=np.round(towns.latitude[town] + offset[:, 0], PLACE_DECIMALS),
        longitude=np.round(towns.longitude[town] + offset[:, 1], PLACE_DECIMALS),
        first_atm=n_pos,
        pos_pool=Pool(pos_town, pos_weight, np.arange(n_pos), n_towns),
        atm_pool=Pool(atm_town, np.ones(n_atm), n_pos + np.arange(n_atm), n_towns),
        online_pool=Pool(np.zeros(n_online, dtype=np.int64), online_weight, online, 1),
        online_by_category=_category_pool(online_category, online_weight, online),
    )


def _one_each_then(n_groups: int, drawn: IntArray) -> IntArray:
    """Return ``drawn`` with its first entries replaced so that every group occurs."""
    result = drawn.copy()
    result[:n_groups] = np.arange(n_groups)
    return result


def _popularity(draws: Draws, count: int, *, exponent: float) -> FloatArray:
    """Return heavy-tailed weights: Pareto with tail index ``1 / exponent``, at most 50."""
    return np.minimum((1.0 - draws.uniform(count)) ** -exponent, 50.0)


def _category_pool(category: IntArray, weight: FloatArray, member: IntArray) -> Pool:
    """Return the pool by category; an empty category offers every online merchant."""
    n = len(CATEGORIES)
    empty = np.setdiff1d(np.arange(n), category)
    return Pool(
        np.concatenate((category, np.repeat(empty, len(member)))),
        np.concatenate((weight, np.tile(weight, len(empty)))),
        np.concatenate((member, np.tile(member, len(empty)))),
        n,
    )
