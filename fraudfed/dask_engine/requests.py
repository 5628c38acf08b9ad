"""What is asked of the parts of a bank's rows: messages from this program to the workers.

Rows that grow trees change from request to request: margins, gradients, the order of rows. A worker
keeps them beside the part that they belong to, and they are nothing but a consequence of the part
and of what was done to it: a *step* is how many things were done. A request says what has been done
since the step that the worker should be at. If it is anywhere else - it is another worker, the
first one died, a part was thrown away for want of memory - it answers that it cannot, changes
nothing, and is sent everything that was ever done.
"""

import pickle
from dataclasses import dataclass
from typing import Any, TypeAlias

from fraudfed.boosting.shard.protocol import GradientCap, NodeSplit, RowDraw
from fraudfed.boosting.tree import Tree
from fraudfed.dtypes import Float32Array
from fraudfed.errors import FraudFedError


@dataclass(frozen=True, eq=False)
class Begin:
    """A tree begins (``BoostedRows.grow``)."""

    scale_pos_weight: float
    draw: RowDraw | None
    cap: GradientCap | None


@dataclass(frozen=True, eq=False)
class Divide:
    """Nodes are split (``GrowingRows.split``)."""

    splits: tuple[NodeSplit, ...]


@dataclass(frozen=True, eq=False)
class Finish:
    """A tree is done; values of shape (n_nodes,), dtype=float32 (``GrowingRows.finish``)."""

    values: Float32Array


@dataclass(frozen=True, eq=False)
class Add:
    """A tree that has grown elsewhere (``BoostedRows.add``)."""

    tree: Tree


Deed: TypeAlias = Begin | Divide | Finish | Add


@dataclass(frozen=True, eq=False)
class Question:
    """A call of a shard that returns something; its parts add up as ``adding`` says.

    Attributes
    ----------
    call : str
        Name of the method.
    arguments : tuple
        Positional.
    options : tuple of (str, object)
        By keyword.
    """

    call: str
    arguments: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class Request:
    """What is done to boosted rows, and what is asked of them then.

    Attributes
    ----------
    booster : str
        Which of the models that grow over the part; no two of any process have one name.
    base_score : float
        At which its rows begin.
    since, until : int
        Steps of the rows before and after ``deeds``. 0 is a beginning.
    deeds : tuple of Deed
    question : Question
    is_of_tree : bool
        Whether the tree that grows is asked, or the rows with their margins.
    forgotten : tuple of str
        Models that no longer grow.
    """

    booster: str
    base_score: float
    since: int
    until: int
    deeds: tuple[Deed, ...]
    question: Question
    is_of_tree: bool = False
    forgotten: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Answer:
    """What parts say together.

    Attributes
    ----------
    value : object
        None if no part has answered.
    astray : tuple of int
        Numbers of parts that are not at the step that they were asked at.
    refusal : FraudFedError or None
        Of the first part that has one: what is wrong with its rows. A value and not raised, since
        workers log what is raised, with what they were working on.
    refused_by : int
        Number of that part.
    """

    value: Any = None
    astray: tuple[int, ...] = ()
    refusal: FraudFedError | None = None
    refused_by: int = -1


def packed(message: object) -> bytes:
    """Return a message as it travels: made once for all parts, and nothing to look into on the way.

    Arrays that Dask itself sends arrive unaligned, and kernels do not take them.
    """
    return pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)


def unpacked(message: bytes) -> Any:
    """Return what ``packed`` has taken; on a worker, from the program that the worker serves."""
    return pickle.loads(message)  # noqa: S301 - Dask's own messages are pickles, too
