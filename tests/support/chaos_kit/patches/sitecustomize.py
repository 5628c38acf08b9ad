"""Changes a Python program under test before it begins: its clock and, on purpose, its defences.

In a directory of ``PYTHONPATH``, Python imports this before anything else.

The wall clock is shifted by what a file says, while the program runs. The programs under test read
it by ``time.time`` only, and that through the module at each call.

A real-time signal writes the stacks of all threads to standard error: where a program hangs.

``CHAOS_SABOTAGE`` takes a defence out (``chaos_sabotage``): the negative controls of the harness.
"""

import faulthandler
import os
import signal
import time
from pathlib import Path

_FILE = Path(os.environ["CHAOS_CLOCK_FILE"])
_true_time = time.time


def _shifted() -> float:
    try:
        shift = float(_FILE.read_text() or 0)
    except FileNotFoundError:
        shift = 0.0
    return _true_time() + shift


time.time = _shifted
faulthandler.register(signal.SIGRTMIN)

if (_sabotage := os.environ.get("CHAOS_SABOTAGE")) is not None:
    from chaos_sabotage import sabotage

    sabotage(_sabotage)
