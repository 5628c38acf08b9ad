"""Compiled modules of this installation: optional, and without influence on any result.

Every compiled function has a counterpart in Python that gives the same bytes. ``FRAUDFED_NO_EXT=1``
in the environment leaves all compiled modules unused, to compare the two or to rule them out.
"""

import importlib
import os
from dataclasses import dataclass
from types import ModuleType

DISABLING_VARIABLE = "FRAUDFED_NO_EXT"


@dataclass(frozen=True)
class NativeModule:
    """A compiled module, or why there is none.

    Attributes
    ----------
    module : module or None
    reason : str
        Why it is missing, in words for an operator; empty if it is there.
    """

    module: ModuleType | None
    reason: str = ""


def load_native(name: str) -> NativeModule:
    """Import a compiled module, if this installation has it and may use it.

    Parameters
    ----------
    name : str
        Its full name.

    Returns
    -------
    NativeModule
        It says why the module is missing; nothing is raised for that.
    """
    if os.environ.get(DISABLING_VARIABLE) == "1":
        return NativeModule(None, f"{DISABLING_VARIABLE}=1 is set")
    try:
        return NativeModule(importlib.import_module(name))
    except ImportError as error:
        if getattr(error, "name", None) == name and isinstance(error, ModuleNotFoundError):
            return NativeModule(None, "not built: no C compiler was there at installation")
        return NativeModule(None, f"cannot be loaded ({error})")
