"""Who holds which key: the only place that reads a bank's identity or a key package from disk.

Private keys of other kinds are read where they are used: the aggregator's audit key in
``aggregator.audit.key``, TLS keys in ``aggregator.service.server`` and in
``bank_node.http.transport``.
"""
