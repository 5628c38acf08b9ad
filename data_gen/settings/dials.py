"""Read any field of a configuration from the command line: ``--set NAME=VALUE``."""

import dataclasses
import types
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from fraudfed.errors import ConfigurationError

Config = TypeVar("Config")


def parse_dials(config: type, texts: tuple[str, ...]) -> dict[str, Any]:
    """Return fields and values of texts such as ``fraud_travel=0.5``.

    Commas separate the numbers of a list, which may be empty; ``none`` switches a dial off.

    Parameters
    ----------
    config : type
        Dataclass whose fields are the dials.
    texts : tuple of str

    Raises
    ------
    ConfigurationError
        No such dial, a value that is not of its type, or a dial given twice.
    """
    kinds = get_type_hints(config)
    names = [field.name for field in dataclasses.fields(config)]
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigurationError(f"--set: got {text!r}, expected NAME=VALUE")
        if name not in names:
            raise ConfigurationError(
                f"--set: there is no dial {name!r}, expected one of {', '.join(names)}"
            )
        if name in found:
            raise ConfigurationError(f"--set: {name} is given twice, expected once")
        found[name] = _parse(name, value, kinds[name])
    return found


def _parse(name: str, text: str, kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        options = [option for option in get_args(kind) if option is not types.NoneType]
        if text == "none":
            return None
        return _parse(name, text, options[0])
    try:
        if get_origin(kind) is tuple:
            item = get_args(kind)[0]
            return tuple(item(piece) for piece in text.split(",")) if text.strip() else ()
        if kind in (int, float, str):
            return kind(text)
    except ValueError:
        raise ConfigurationError(f"--set: {name}: got {text!r}, expected {_shown(kind)}") from None
    raise TypeError(f"{name} is of type {kind}, which --set cannot read")


def _shown(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"numbers with commas between them ({get_args(kind)[0].__name__})"
    return {int: "a whole number", float: "a number"}.get(kind, "a text")
