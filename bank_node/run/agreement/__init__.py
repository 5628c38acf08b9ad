"""What this bank agrees to before it contributes, whatever the aggregator says.

``partners`` decides with whom it computes, ``epoch_check`` under which key, ``pinning`` that the
run stays the one it first saw. ``facts`` is what all banks must have been told alike.
"""
