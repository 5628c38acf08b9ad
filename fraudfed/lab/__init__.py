"""Demo, benchmarks, and comparisons with stock XGBoost.

It may import everything; only the command line imports it.
"""
