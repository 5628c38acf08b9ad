"""docs/protocol.md written a second time, in plain Python, and the vectors that it makes.

Nothing here imports what it checks: the programs and this package meet only in the vectors.
"""
