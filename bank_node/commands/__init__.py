"""The commands of ``bank-node``, and what they print."""
