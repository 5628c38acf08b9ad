"""The best split of a node, as XGBoost finds it."""
