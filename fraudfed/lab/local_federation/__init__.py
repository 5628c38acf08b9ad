"""A federation of real programs on this machine: its processes, consortium, network and run.

The demo and the benchmarks both start one here.
"""
