"""policy.toml: what is done with a payment of a given probability."""

from bank_node.policy.policy import Action, Decided, Policy
from bank_node.policy.policy_file import read_policy

__all__ = ["Action", "Decided", "Policy", "read_policy"]
