"""What the columns of a data contract hold at all banks together, before anything is trained.

In the order in which data flow: ``layout`` says which columns and cells are counted, ``contents``
is what one bank brings, with the ``shapes`` of its identifiers; ``counts`` are its exact counts and
what it enters of them; ``rounds`` sums these over the banks, ``pooled`` is the result, with
``occupancy`` for identifiers of several banks; ``quantiles`` and ``summary`` read it. ``compare``
says how one bank differs from the others, and which mistake of a mapping would explain it.

Law: the result depends on what all banks enter together, not on how it is split over them, but for
the rounding of small counts, which each bank does on its own. These modules know no bank, no file
and no key package: callers pass rows and the hash key.
"""
