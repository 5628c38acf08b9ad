"""How one bank differs from the others, and which mistake of a mapping would explain it.

``finding`` is what is said, ``amounts`` looks for powers of ten, ``clock`` for shifted hours and
days, ``identifiers`` for other writings, ``filling`` for exchanged labels, and for columns and
categories without values. ``everything`` puts them together.

Banks differ: in size, in customers, in what they sell. A test that asks whether two samples have
one distribution says no for every two of them. So each test here compares two explanations of the
difference that is there: that the bank is another one, and that one named mistake was made. What
the mistake leaves unexplained measures how much banks differ.
"""
