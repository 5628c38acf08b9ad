"""A bank's own rows: read from its files, checked to the cell, and made into what a run wants.

``file`` reads columns, ``columns`` and ``transactions`` check them, ``contract`` makes the tables
that are trained on and scored, ``digest`` says whether they are still the same.
"""
