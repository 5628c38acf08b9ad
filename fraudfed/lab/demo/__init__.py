"""The main job end to end on one machine: real processes, real HTTP, real keys.

Data flows: ``sources`` (rows and contract) -> ``processes`` + ``federation`` (aggregator and banks
train) -> ``references`` (own and pooled models) -> ``job`` (all of it, timed) -> ``command``.
Nothing here is imported by a bank node or the aggregator: only a demo may see all banks' rows.
"""
