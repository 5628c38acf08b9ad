"""``aggregator runs create`` and its like: what opens runs, by the kind of run.

``run_options`` are the options of every run, ``contract_options``, ``window_options`` and
``search_options`` those of what the banks' rows must be; ``like_run`` and ``from_search`` take a
description from a run that has ended.
"""

from aggregator.commands.creating.monitor import create_monitor_run
from aggregator.commands.creating.search import create_search_run
from aggregator.commands.creating.statistics import create_statistics_run
from aggregator.commands.creating.training import (
    create_risk_run,
    create_run,
    create_training,
    list_presets,
)

#: Commands of ``aggregator runs``.
CREATING = (
    *(create_run, create_training, create_risk_run, list_presets),
    *(create_statistics_run, create_monitor_run, create_search_run),
)

__all__ = ["CREATING"]
