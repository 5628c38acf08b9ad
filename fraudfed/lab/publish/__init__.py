"""Measure what docs/performance.md and docs/data.md publish, and write it there."""
