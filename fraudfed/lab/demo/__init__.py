"""The main job end to end on one machine: real processes, real HTTP, real keys.

Data flows: ``generated``, ``transactions`` or ``feature_table`` (rows and contract, as ``data``) ->
``local_federation`` (aggregator and banks train) -> ``comparison`` (own and pooled models) ->
``job`` (all of it, timed) -> ``summary`` and ``command``. Nothing here is imported by a bank node
or the aggregator: only a demo may see all banks' rows.
"""
