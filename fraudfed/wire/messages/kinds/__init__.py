"""What the description of a run holds besides, one module for each kind of run that needs more.

``privacy`` is of a training; ``monitor``, ``risk``, ``search`` and ``statistics`` of their kinds.
"""
