"""The Dask engine: one bank's rows spread over the workers of a Dask cluster.

``options`` and ``addresses`` say which cluster, and which connections are safe enough for
customers' rows; ``cluster`` opens it, ``workers`` looks at what runs there, ``newcomers`` at what
joins later, and ``failures`` says in one line what went wrong. Nothing here imports ``distributed``
before a cluster is opened: the rest of the program works without the extra ``dask``.
"""
