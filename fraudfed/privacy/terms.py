"""What the banks of a training agree on about privacy: the bound, for whom, and how it is spent.

Public and the same at every bank. Nothing here depends on a bank's rows.
"""

from dataclasses import dataclass
from enum import StrEnum


class PrivacyUnit(StrEnum):
    """Whose presence the bound hides: add or remove one, all else unchanged."""

    ROW = "row"
    """One training row, features held fixed."""
    CUSTOMER = "customer"
    """All rows of one customer at one bank."""


class History(StrEnum):
    """Where features that hold other customers' payments come from."""

    DECLARED = "declared"
    """From payments as they are: the members declare that they accept these traces."""
    DP_TABLES = "dp-tables"
    """From shared tables that carry noise of their own."""
    NONE = "none"
    """There are no such features."""


class TrainingWay(StrEnum):
    """How the budget becomes trees."""

    HISTOGRAMS = "histograms"
    """Noised histograms: few features for each tree, splits by noised gains."""
    RANDOM_SPLITS = "random-splits"
    """Splits drawn before any row is seen, noised leaves (Maddock et al., CCS 2022)."""
    CYCLIC = "cyclic"
    """One feature for each tree, its bins noised once (Nori et al., ICML 2021)."""


class PrivateCuts(StrEnum):
    """Where the edges of bins come from."""

    CONTRACT = "contract"
    """From the data contract: declared, so they cost nothing."""
    NOISED = "noised"
    """From noised counts, for a share of the budget."""


@dataclass(frozen=True, kw_only=True)
class PrivacyTerms:
    """The terms of one training.

    Attributes
    ----------
    epsilon, delta : float
        The bound for one unit over the whole training.
    unit : PrivacyUnit
    history : History
    way : TrainingWay
    cuts : PrivateCuts
    tolerated_colluders : int
        Banks whose noise does not count, as they could subtract it; at least what each bank's own
        rules say.
    declared_rows : int
        No more training rows than this are there at all banks together; fixes the slots of sums.
    gradient_cap : float
        Unit customer only: most that one customer's rows may weigh in one tree (C), in gradients of
        full weight.
    row_cap : int
        Unit customer only: most rows of one customer that counts and metrics take (c).
    features_per_tree : int
        Way histograms only.
    cuts_share, counts_share, metric_share : float
        Shares of the budget for noised cuts, for the counts behind the base score, and for the
        metrics at the end; 0 leaves the release out.
    """

    epsilon: float
    delta: float = 1e-6
    unit: PrivacyUnit = PrivacyUnit.ROW
    history: History = History.DECLARED
    way: TrainingWay = TrainingWay.CYCLIC
    cuts: PrivateCuts = PrivateCuts.NOISED
    tolerated_colluders: int
    declared_rows: int
    gradient_cap: float = 4.0
    row_cap: int = 16
    features_per_tree: int = 4
    cuts_share: float = 0.07
    counts_share: float = 0.01
    metric_share: float = 0.05
