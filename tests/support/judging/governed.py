"""What a governance folder must show of every figure of a record: that another one is another."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

from fraudfed.lab.governance.records import Records


def changed(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 90_000
    if isinstance(value, float):
        return value + 0.375
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return [*value, "x"]
    return {name: changed(each) for name, each in value.items()}


def with_another(records: Records, file: str, pointer: str) -> Records:
    """Return records in which the value of one place is another."""
    documents = deepcopy(dict(records.documents))
    *path, last = pointer.split("/")[1:]
    place = documents[file]
    for part in path:
        place = place[int(part) if isinstance(place, list) else _name(part)]
    key = int(last) if isinstance(place, list) else _name(last)
    place[key] = changed(place[key])
    return replace(records, documents=documents)


def _name(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
