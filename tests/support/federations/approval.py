"""What banks approve in tests that are about something else."""

import tomllib

from bank_node.approval_rules import ApprovalRules
from bank_node.config import RulesFile
from fraudfed.lab.local_federation.consortium import BANK_RULES


def open_approval() -> ApprovalRules:
    """Return rules by which a bank approves every run alone, those of demos and benchmarks."""
    return RulesFile.model_validate(tomllib.loads(BANK_RULES)).approval
