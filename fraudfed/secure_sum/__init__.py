"""An exact sum of integer vectors that nobody sees but the members.

Law: ``combine(open(product of seal_i(x_i))) = sum of x_i``, exactly, for every vector within its
bound; anything else is an error. Data flows: ``packing`` -> ``context`` -> ``session``.
"""
