"""Taking part in a run of any kind, in the order of its life.

``lifecycle`` is the whole of it: ``choose`` a run, agree to it (``agreement``), know it
(``context``), enter its ``generations`` with the work that was handed over (``handover``), make an
``attempt`` at the result over secure sums (``sums``), ``vote`` for it, and keep a ``record``.
``job`` is what a kind of run must bring; ``abort`` tells the others why this bank stops.
"""
