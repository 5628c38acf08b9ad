"""The kinds of run that this program takes part in."""

from bank_node.jobs.monitor import MonitorJob
from bank_node.jobs.risk.run import RiskJob
from bank_node.jobs.search import SearchJob
from bank_node.jobs.statistics import StatisticsJob
from bank_node.jobs.training import TrainingJob
from bank_node.run.job import Jobs
from fraudfed.wire.messages import RunKind

JOBS: Jobs = {
    RunKind.TRAINING: TrainingJob(),
    RunKind.RISK: RiskJob(),
    RunKind.STATISTICS: StatisticsJob(),
    RunKind.SEARCH: SearchJob(),
    RunKind.MONITOR: MonitorJob(),
}
