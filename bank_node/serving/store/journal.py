"""Changes as bytes, so that they can be applied again after a crash."""

import json

from fraudfed.features.arrivals import Change, Insertion, Report


def pack_change(change: Change) -> bytes:
    """Return a change as JSON."""
    if isinstance(change, Report):
        values = [
            "r",
            change.customer.hex(),
            change.payment.hex(),
            change.counts_from,
            change.own,
            [key.hex() for key in change.entities],
        ]
    else:
        values = [
            "i",
            change.customer.hex(),
            change.time,
            change.amount,
            change.kind,
            None if change.other is None else change.other.hex(),
            [key.hex() for key in change.met],
            change.place,
            [key.hex() for key in change.entities],
            [(key.hex(), previous, following) for key, previous, following in change.linked],
        ]
    return json.dumps(values, separators=(",", ":")).encode("ascii")


def unpack_change(data: bytes) -> Change:
    """Return a change. Floats come back to the last bit: JSON has the shortest text of each."""
    values = json.loads(data)
    if values[0] == "r":
        _, customer, payment, counts_from, own, entities = values
        return Report(
            customer=bytes.fromhex(customer),
            payment=bytes.fromhex(payment),
            counts_from=counts_from,
            own=own,
            entities=tuple(map(bytes.fromhex, entities)),
        )
    _, customer, time, amount, kind, other, met, place, entities, linked = values
    return Insertion(
        customer=bytes.fromhex(customer),
        time=time,
        amount=amount,
        kind=kind,
        other=None if other is None else bytes.fromhex(other),
        met=tuple(map(bytes.fromhex, met)),
        place=None if place is None else (place[0], place[1], place[2], place[3]),
        entities=tuple(map(bytes.fromhex, entities)),
        linked=tuple((bytes.fromhex(key), before, after) for key, before, after in linked),
    )
