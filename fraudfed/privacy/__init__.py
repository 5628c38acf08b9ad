"""Differential privacy of what is opened: noise, what it costs, and what one person can change."""
