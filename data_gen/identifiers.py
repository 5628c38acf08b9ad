"""From codes to the published columns: identifiers are strings that reveal nothing but identity.

Strings are built as Arrow arrays, by dictionary or from a byte matrix. One by one they would take
most of the generator's time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_gen.categories import CATEGORY_NAMES
from data_gen.entities.devices import scramble
from data_gen.entities.world_parts import BankSide
from data_gen.events import CHANNEL_NAMES, KIND_NAMES, NONE, Channel, Events
from data_gen.rng import IntArray
from data_gen.schema.columns import ARROW_SCHEMA
from data_gen.schema.incoming import INCOMING_SCHEMA, MULE_SCHEMA

_HEX_DIGITS = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_ROW_DIGITS = 10
_ENTITY_DIGITS = 7
# Accounts and cards: several for each customer.
_ACCOUNT_DIGITS = 8


def to_table(
    side: BankSide, events: Events, label_time: IntArray, first_number: int = 0
) -> pa.Table:
    """Return sorted events of a bank in the published schema.

    Parameters
    ----------
    side : BankSide
    events : Events
        In the order of the output.
    label_time : ndarray of shape (n_events,), dtype=int64
        UTC epoch seconds.
    first_number : int
        Number of the first transaction among those of the bank; the others follow.
    """
    places = side.world.places
    at_terminal = events.terminal != NONE
    known_terminal = np.where(at_terminal, events.terminal, 0)
    no_place = ~at_terminal | ~side.world.banks.keeps_places[side.bank]
    device = events.device
    if not side.world.banks.keeps_devices[side.bank]:
        device = np.full(len(events), NONE, dtype=np.int64)
    number = first_number + np.arange(len(events))
    columns = [
        numbered_strings(f"{side.name}_t", number, _ROW_DIGITS),
        pa.array(events.time),
        pa.array(label_time),
        numbered_strings(f"{side.name}_c", events.customer, _ENTITY_DIGITS),
        numbered_strings("a", events.account, _ACCOUNT_DIGITS),
        numbered_strings(f"{side.name}_k", events.card, _ACCOUNT_DIGITS, nullable=True),
        numbered_strings("m", events.merchant, _ENTITY_DIGITS),
        numbered_strings("t", events.terminal, _ENTITY_DIGITS, nullable=True),
        numbered_strings("a", events.payee, _ACCOUNT_DIGITS, nullable=True),
        _device_strings(device),
        names_of(events.channel, CHANNEL_NAMES),
        names_of(places.merchant_category[events.merchant], CATEGORY_NAMES),
        pa.array(events.amount),
        pa.array(places.latitude[known_terminal], mask=no_place),
        pa.array(places.longitude[known_terminal], mask=no_place),
        pa.array(events.is_blocked),
        pa.array(events.is_fraud),
        names_of(events.kind, KIND_NAMES),
    ]
    return pa.table(columns, schema=ARROW_SCHEMA)


def incoming_table(
    side: BankSide, arrivals: Mapping[str, npt.NDArray[Any]], label_time: IntArray
) -> pa.Table:
    """Return what arrives at a bank in the published schema.

    Parameters
    ----------
    side : BankSide
        The receiving bank.
    arrivals : mapping of str to ndarray of shape (n,)
        The columns of ``world.incoming.Arrivals``, in the order of the output.
    label_time : ndarray of shape (n,), dtype=int64
        When the bank learns the labels, UTC epoch seconds.
    """
    world, payee = side.world, arrivals["payee"]
    n = len(payee)
    nothing = np.full(n, NONE, dtype=np.int64)
    no_text = numbered_strings("", nothing, _ENTITY_DIGITS, nullable=True)
    no_place = pa.array(np.zeros(n), mask=np.ones(n, dtype=np.bool_))
    payer = numbered_strings("a", arrivals["payer"], _ACCOUNT_DIGITS)
    columns = [
        _sent_numbers(world.banks.names, arrivals["sender"], arrivals["number"]),
        pa.array(arrivals["time"]),
        pa.array(label_time),
        numbered_strings(f"{side.name}_c", world.payees.customer_of(payee), _ENTITY_DIGITS),
        payer,
        no_text,
        numbered_strings("m", arrivals["merchant"], _ENTITY_DIGITS),
        no_text,
        numbered_strings("a", payee, _ACCOUNT_DIGITS),
        no_text,
        names_of(np.full(n, Channel.TRANSFER), CHANNEL_NAMES),
        no_text,
        pa.array(arrivals["amount"]),
        no_place,
        no_place,
        pa.array(np.zeros(n, dtype=np.int8)),
        pa.array(arrivals["is_fraud"]),
        names_of(arrivals["kind"], KIND_NAMES),
        names_of(np.zeros(n, dtype=np.int64), ("inbound",)),
        payer,
    ]
    return pa.table(columns, schema=INCOMING_SCHEMA.arrow)


def mule_table(
    side: BankSide,
    payee: IntArray,
    *,
    first_arrival: IntArray,
    first_report: IntArray,
    count: IntArray,
) -> pa.Table:
    """Return the accounts of a bank's customers that stolen money reached.

    Parameters
    ----------
    side : BankSide
    payee : ndarray of shape (n,), dtype=int64
        Accounts, in the order of the output.
    first_arrival, first_report : ndarray of shape (n,), dtype=int64
        UTC epoch seconds; ``first_report`` is -1 where there was none.
    count : ndarray of shape (n,), dtype=int64
        Payments of stolen money.
    """
    columns = [
        numbered_strings("a", payee, _ACCOUNT_DIGITS),
        numbered_strings(f"{side.name}_c", side.world.payees.customer_of(payee), _ENTITY_DIGITS),
        pa.array(first_arrival),
        pa.array(first_report, mask=first_report < 0),
        pa.array(count),
    ]
    return pa.table(columns, schema=MULE_SCHEMA)


def _sent_numbers(
    names: Sequence[str], sender: npt.NDArray[np.int32], number: IntArray
) -> pa.Array:
    """Return ``in-`` and the identifier that the sender's transaction has in its own file."""
    order = np.argsort(sender, kind="stable")
    texts = [
        numbered_strings(f"in-{name}_t", number[sender == bank], _ROW_DIGITS)
        for bank, name in enumerate(names)
    ]
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return pc.take(pa.concat_arrays(texts), pa.array(back))


def numbered_strings(
    prefix: str, number: npt.NDArray[np.integer], digits: int, *, nullable: bool = False
) -> pa.Array:
    """Return ``prefix`` followed by each number, zero-padded to ``digits``.

    Parameters
    ----------
    prefix : str
        ASCII.
    number : ndarray of shape (n,), dtype=integer
        Non-negative and below ``10 ** digits``; with ``nullable``, ``NONE`` gives null.
    digits : int
    nullable : bool
    """
    head = np.frombuffer(prefix.encode("ascii"), dtype=np.uint8)
    text = np.empty((len(number), len(head) + digits), dtype=np.uint8)
    text[:, : len(head)] = head
    # Half the width divides twice as fast, and is enough for all but the numbers of rows.
    rest = np.maximum(number, 0).astype(np.uint32 if digits <= 9 else np.uint64)
    for column in range(text.shape[1] - 1, len(head) - 1, -1):
        tens = rest // 10
        text[:, column] = rest - 10 * tens + ord("0")
        rest = tens
    return _from_bytes(text, None if not nullable else number != NONE)


def _device_strings(code: IntArray) -> pa.Array:
    """Return ``d`` and 16 hexadecimal digits per device code; ``NONE`` gives null."""
    present = code != NONE
    value = scramble(np.where(present, code, 0))
    text = np.empty((len(code), 17), dtype=np.uint8)
    text[:, 0] = ord("d")
    for position in range(16):
        nibble = (value >> np.uint64(60 - 4 * position)) & np.uint64(15)
        text[:, position + 1] = _HEX_DIGITS[nibble.astype(np.intp)]
    return _from_bytes(text, present)


def _from_bytes(text: npt.NDArray[np.uint8], present: npt.NDArray[np.bool_] | None) -> pa.Array:
    """Return an Arrow string array of the rows of ``text``; rows not present are null."""
    n, width = text.shape
    if present is None:
        lengths = np.full(n, width)
    else:
        text = text[present]
        lengths = np.where(present, width, 0)
    offsets = np.zeros(n + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    validity = None
    if present is not None:
        bits = np.packbits(present, bitorder="little")
        validity = pa.py_buffer(bits.tobytes())
    return pa.Array.from_buffers(
        pa.string(), n, [validity, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(text))]
    )


def names_of(code: npt.NDArray[np.integer], names: tuple[str, ...]) -> pa.Array:
    """Return the name of each code as an Arrow string; ``NONE`` gives null."""
    indices = pa.array(code.astype(np.int32), mask=code == NONE)
    return pc.take(pa.array(names, type=pa.string()), indices)
