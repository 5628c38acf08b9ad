"""All work on one bank's rows, behind one protocol: compiled kernels with threads, or NumPy.

``protocol`` says what an engine answers, ``choice`` which one does, ``compiled`` and
``numpy_engine`` are the two there are.
"""
